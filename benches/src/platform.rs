//! The platform's server with many networks and a large index: how fast the index grows, how fast lists and searches answer.
//!
//! Networks, nodes and blocks come from an engine that makes them up; everything from there on is the real thing: operations,
//! followers, database, HTTP. A second part has the server follow real networks of both engines under full load.

mod client;
mod invented;
mod live;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use konsort_drivers::external::ExternalDriver;
use konsort_engines::Engine;
use konsort_node::Environment;
use konsort_platform::control::Adapters;
use konsort_platform::server::{Config, Server};
use serde_json::{Value, json};

use client::Client;
use invented::{Chain, Idle, Invented};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Networks
    #[arg(long, default_value_t = 20)]
    networks: u64,
    /// Nodes of each network
    #[arg(long, default_value_t = 10)]
    nodes: u32,
    /// Transactions in the index altogether
    #[arg(long, default_value_t = 1_000_000)]
    transactions: u64,
    /// Transactions of each block
    #[arg(long, default_value_t = 500)]
    block: u64,
    /// Requests of each kind
    #[arg(long, default_value_t = 400)]
    requests: usize,
    /// PostgreSQL to measure on, as `postgres://…`; default: SQLite
    #[arg(long)]
    database_url: Option<String>,
    /// Transactions of each engine in the part with real networks; 0 leaves it out
    #[arg(long, default_value_t = 20_000)]
    live: usize,
}

/// Measures and prints.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let chain = Chain {
        blocks: options.transactions / options.networks / options.block,
        transactions: options.block,
        nodes: options.nodes,
    };
    let engines: [Arc<dyn Engine>; 1] = [Arc::new(Invented(chain))];
    let adapters = Adapters {
        engines: engines.into_iter().map(|engine| (engine.kind(), engine)).collect(),
        drivers: vec![Arc::new(Idle)],
        external: Arc::new(ExternalDriver::new()),
    };
    let config = Config {
        data: folder.path().join("data"),
        listen: ([127, 0, 0, 1], 0).into(),
        database_url: options.database_url.clone(),
        program: PathBuf::from("konsort"),
        environment: Environment::from_pairs::<&str, &str>([]),
    };
    let server = Server::start_with(config, Some(adapters)).await?;
    let link = server.setup_link.clone().context("the database is not empty; give a new one")?;
    let token = link.split_once("token=").context("the link for the setup has no token")?.1.to_owned();
    let mut client = Client::connect(server.addr).await?;
    client.log_in(&first_admin(&token)).await?;

    let begun = Instant::now();
    let mut networks = Vec::new();
    for number in 0..options.networks {
        let request = json!({
            "name": format!("network {number}"), "engine": "bcos", "consensus": "pbft",
            "organisations": [{"name": "Agency", "nodes": options.nodes}],
        });
        let operation = client.post("/v1/networks", &request).await?;
        networks.push(operation["network"].as_str().context("no network was made")?.to_owned());
    }
    println!("{} networks with {} nodes each asked for", options.networks, options.nodes);
    let wanted = chain.blocks * chain.transactions * options.networks;
    let mut indexed = 0;
    let mut first = None;
    while indexed < wanted {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let list = client.get("/v1/networks?page_size=200").await?;
        indexed =
            list["items"].as_array().into_iter().flatten().filter_map(|network| network["transactions"].as_u64()).sum();
        if indexed > 0 {
            first.get_or_insert_with(|| (Instant::now(), indexed));
        }
        if begun.elapsed() > Duration::from_hours(1) {
            bail!("after an hour {indexed} of {wanted} transactions are in the index");
        }
    }
    let (since, before) = first.context("nothing was indexed")?;
    let throughput = (wanted - before) as f64 / since.elapsed().as_secs_f64().max(0.001);
    println!("index: {wanted} transactions in {:.1} s, {throughput:.0} per second", begun.elapsed().as_secs_f64());

    let mut figures = serde_json::Map::new();
    let mut worst: f64 = 0.0;
    for (what, paths) in questions(&networks, chain, options.requests) {
        let mut times = Vec::new();
        for path in &paths {
            let begun = Instant::now();
            let answer = client.get(path).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            if answer["items"].as_array().is_none_or(Vec::is_empty) {
                bail!("{path} found nothing");
            }
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{what:<28} p50 {:>7.2} ms   p95 {:>7.2} ms   max {:>7.2} ms", at(0.5), at(0.95), at(1.0));
        worst = worst.max(at(0.95));
        figures.insert(what.to_owned(), json!({ "p50_ms": at(0.5), "p95_ms": at(0.95), "max_ms": at(1.0) }));
    }
    server.stop().await;
    let live = if options.live > 0 { Some(live::run(options.live).await?) } else { None };
    let database = if options.database_url.is_some() { "postgresql" } else { "sqlite" };
    let report = json!({
        "database": database, "networks": options.networks, "nodes": options.networks * u64::from(options.nodes),
        "transactions": wanted, "index_transactions_per_second": throughput, "worst_p95_ms": worst, "requests": figures,
        "live": live,
    });
    println!("{report}");
    Ok(())
}

/// What makes the first administrator.
fn first_admin(token: &str) -> Value {
    json!({
        "token": token, "username": "root", "password": "a long enough password", "language": "en", "organisation": "First",
    })
}

/// Requests by kind.
fn questions(networks: &[String], chain: Chain, count: usize) -> Vec<(&'static str, Vec<String>)> {
    let mut number = 0_u64;
    // A walk over all networks, heights and places that is the same every time.
    let mut next = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number >> 20
    };
    let mut all: Vec<(&'static str, Vec<String>)> = Vec::new();
    let mut kind = |what: &'static str, path: &mut dyn FnMut(&str, u64, u64) -> String| {
        let paths = (0..count)
            .map(|_| {
                let network = &networks[(next() % networks.len() as u64) as usize];
                let (height, index) = (next() % chain.blocks, next() % chain.transactions);
                path(network, height, index)
            })
            .collect();
        all.push((what, paths));
    };
    kind("list networks", &mut |_, _, _| "/v1/networks".to_owned());
    kind("list nodes", &mut |network, _, _| format!("/v1/networks/{network}/nodes"));
    kind("list operations", &mut |_, _, _| "/v1/operations".to_owned());
    kind("list blocks", &mut |network, height, _| format!("/v1/networks/{network}/blocks?before={}", height + 1));
    kind("list transactions", &mut |network, _, _| format!("/v1/networks/{network}/transactions"));
    kind("list by contract", &mut |network, _, index| {
        format!("/v1/networks/{network}/transactions?contract={}", invented::contract(index))
    });
    kind("list by sender", &mut |network, _, index| {
        format!("/v1/networks/{network}/transactions?from={}", invented::sender(index))
    });
    kind("list failed", &mut |network, _, _| format!("/v1/networks/{network}/transactions?ok=false"));
    kind("search transaction", &mut |network, height, index| {
        format!("/v1/search?q={}", invented::id(network, height, index))
    });
    kind("search beginning of it", &mut |network, height, index| {
        format!("/v1/search?q={}", &invented::id(network, height, index)[..12])
    });
    kind("search height", &mut |_, height, _| format!("/v1/search?q={height}"));
    kind("search key", &mut |network, height, index| format!("/v1/search?q={}", invented::key(network, height, index)));
    kind("search beginning of a key", &mut |_, height, _| format!("/v1/search?q=asset-{height}"));
    kind("search address", &mut |_, _, index| format!("/v1/search?q={}", invented::sender(index)));
    kind("search name", &mut |_, height, _| format!("/v1/search?q=network%20{}", height % networks.len() as u64));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_ask_for_what_is_there() {
        let chain = Chain { blocks: 5, transactions: 7, nodes: 2 };
        let networks = ["net_a".to_owned()];
        let questions = questions(&networks, chain, 3);
        assert!(questions.len() > 12 && questions.iter().all(|(_, paths)| paths.len() == 3));
    }
}
