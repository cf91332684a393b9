//! The index behind real networks of both engines at full load: how far it is behind, and when it has everything.

use std::convert::Infallible;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fabric_client::{AdminClient, Call, GatewayClient};
use serde_json::{Value, json};

use super::client::Client;
use crate::bcos::chain::Chain;
use crate::bcos::native::{Case, Signer};
use crate::bcos::wire;
use crate::cpu;
use crate::load::{self, Outcome, Pace};
use crate::network::{Description, Own};

/// Calls in flight on Fabric, and on the chain.
const CLIENTS: usize = 256;
const CONNECTIONS: usize = 512;
/// Longest wait for the index after the last answer.
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures each engine alone, then both together; a figure for each.
pub(super) async fn run(transactions: usize) -> anyhow::Result<Value> {
    let (own, fabric) = Own::start(&[])?;
    let chain = Chain::start(4)?;
    let server = Server::start(own.program())?;
    let mut client = Client::connect(server.address).await?;
    client.log_in(&super::first_admin(&server.token)).await?;
    let networks = [
        client.post("/v1/networks/import", &fabric_request(&fabric)?).await?,
        client.post("/v1/networks/import", &chain.import_request()?).await?,
    ];
    let mut ids = Vec::new();
    for network in &networks {
        ids.push(network["id"].as_str().context("the network has no id")?.to_owned());
    }
    let peer = fabric.peers().next().context("the network has no peer")?;
    let peer = fabric.admin(peer).await?;
    let mut followed = Followed { client, ids, peer, channel: &fabric.channel, chain: &chain };
    let mut loads = Loads::prepare(&fabric, &chain).await?;
    let mut figures = serde_json::Map::new();
    for (name, on) in [("fabric", [true, false]), ("bcos", [false, true]), ("both", [true, true])] {
        let begin = followed.level().await?;
        let used = cpu::milliseconds(server.child.id());
        let mut behind = 0;
        let outcomes = tokio::select! {
            outcomes = loads.drive(&chain, on, transactions) => outcomes?,
            failed = followed.watch(&mut behind) => match failed? {},
        };
        let answered = Instant::now();
        // The old connection was cut off in the middle of an answer.
        followed.client = followed.client.again().await?;
        let end = followed.level().await?;
        let late = answered.elapsed().as_secs_f64() * 1000.0;
        let indexed = end.saturating_sub(begin);
        let sent: usize = outcomes.iter().map(|outcome| outcome.succeeded).sum();
        ensure!(indexed >= sent as u64, "{name}: {sent} transactions were answered, {indexed} are in the index");
        let each = (cpu::milliseconds(server.child.id()) - used) / indexed.max(1) as f64;
        let rates: Vec<String> = outcomes.iter().map(|outcome| format!("{:.0}/s", outcome.rate())).collect();
        println!(
            "{name:<7} {sent} transactions at {}  furthest behind {behind} blocks  everything indexed {late:.0} ms after the last \
             answer  server's CPU ms each {each:.3}",
            rates.join(" + ")
        );
        for error in outcomes.iter().flat_map(|outcome| &outcome.errors) {
            println!("        {error}");
        }
        figures.insert(
            name.to_owned(),
            json!({
                "transactions": sent,
                "tps": outcomes.iter().map(|outcome| outcome.rate().round()).collect::<Vec<_>>(),
                "furthest_behind_blocks": behind, "complete_after_ms": late.round(), "server_cpu_ms_per_tx": each,
            }),
        );
    }
    Ok(Value::Object(figures))
}

/// The program's server.
#[derive(Debug)]
struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .args(["--output", "json", "server", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).context("the server did not start")?;
        let link = told["console"].as_str().unwrap_or_default();
        let (address, token) = link
            .trim_start_matches("http://")
            .split_once("/setup?token=")
            .with_context(|| format!("{link:?} is no link for the setup"))?;
        Ok(Self { child, address: address.parse()?, token: token.to_owned(), _folder: folder })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
    }
}

/// What imports the Fabric network: its organisations with their roots, and a user of each.
fn fabric_request(network: &Description) -> anyhow::Result<Value> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let only = |folder: &Path| -> anyhow::Result<String> {
        let entry = std::fs::read_dir(folder)?.next().with_context(|| format!("{} is empty", folder.display()))??;
        read(&entry.path())
    };
    let mut organisations: Vec<Value> = Vec::new();
    for node in network.peers() {
        let known = |organisation: &Value| organisation["organisation"] == node.mspid.as_str();
        if organisations.iter().any(known) {
            continue;
        }
        let msp = network.msp(node, "Admin")?;
        organisations.push(json!({
            "organisation": node.mspid, "mspid": node.mspid, "ca": only(&msp.join("cacerts"))?, "tls_ca": read(&node.tls_ca)?,
            "certificate": only(&msp.join("signcerts"))?, "key": only(&msp.join("keystore"))?,
        }));
    }
    let nodes: Vec<Value> = network
        .peers()
        .map(|node| {
            json!({ "id": node.name, "role": "peer", "organisation": node.mspid, "hostname": node.name,
                "endpoints": { "grpc": node.endpoint } })
        })
        .collect();
    Ok(json!({ "name": "fabric under load", "engine": "fabric", "consensus": "raft", "organisations": organisations,
        "channels": [network.channel], "nodes": nodes }))
}

/// Both networks and what the server knows of them.
struct Followed<'a> {
    client: Client,
    /// Of the networks on the server.
    ids: Vec<String>,
    peer: AdminClient,
    channel: &'a str,
    chain: &'a Chain,
}

/// Blocks of a network's nodes, blocks and transactions of the index.
#[derive(Debug)]
struct Heights {
    blocks: u64,
    indexed: u64,
    transactions: u64,
}

impl Followed<'_> {
    async fn heights(&mut self) -> anyhow::Result<Vec<Heights>> {
        let fabric = self.peer.channel_info(self.channel).await?.height.saturating_sub(1);
        let mut all = Vec::new();
        for (id, blocks) in self.ids.iter().zip([fabric, self.chain.height().await?]) {
            let network = self.client.get(&format!("/v1/networks/{id}")).await?;
            let number = |name: &str| network[name].as_u64().unwrap_or_default();
            all.push(Heights { blocks, indexed: number("height"), transactions: number("transactions") });
        }
        Ok(all)
    }

    /// Notes how many blocks the index of either network is behind its nodes at most, until that cannot be asked.
    async fn watch(&mut self, behind: &mut u64) -> anyhow::Result<Infallible> {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            for network in self.heights().await? {
                *behind = network.blocks.saturating_sub(network.indexed).max(*behind);
            }
        }
    }

    /// Waits until the index has every block; its transactions then.
    async fn level(&mut self) -> anyhow::Result<u64> {
        let until = Instant::now() + PATIENCE;
        loop {
            let all = self.heights().await?;
            if all.iter().all(|network| network.indexed >= network.blocks) {
                return Ok(all.iter().map(|network| network.transactions).sum());
            }
            ensure!(Instant::now() < until, "the index does not reach the nodes: {all:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What sends to both.
struct Loads {
    fabric: Vec<GatewayClient>,
    base: Call,
    signer: Signer,
    first: usize,
}

impl Loads {
    async fn prepare(network: &Description, chain: &Chain) -> anyhow::Result<Self> {
        let peer = network.peers().next().context("the network has no peer")?;
        let mut fabric = Vec::new();
        for _ in 0..4 {
            fabric.push(network.gateway(peer).await?);
        }
        let mut connections = wire::connect(&chain.native()?, CONNECTIONS).await?;
        let signer = Signer::prepare(chain, &mut connections).await?;
        Ok(Self { fabric, base: Call::new(&network.channel, &network.chaincode), signer, first: 0 })
    }

    /// Sends to the engines that are on; what came of it.
    async fn drive(&mut self, chain: &Chain, on: [bool; 2], count: usize) -> anyhow::Result<Vec<Outcome>> {
        let first = self.first;
        self.first += count;
        let base = self.base.clone();
        let fabric = load::run(&self.fabric, count, Pace::Closed(CLIENTS), move |client, index| {
            let call = base.clone().args(["put", &format!("live-{}", first + index), "a value of some length"]);
            async move {
                client.submit_and_wait(&call).await?;
                Ok(())
            }
        });
        let height = chain.height().await?;
        let bcos = async {
            if !on[1] {
                return Ok(None);
            }
            let transactions = self.signer.slice(Case::Erc20, height, first, count);
            let work = self.signer.requests(&transactions, CONNECTIONS);
            // New ones each time: nodes close what was idle while the other engine was measured.
            let mut connections = wire::connect(&chain.native()?, CONNECTIONS).await?;
            wire::drive(&mut connections, work, Case::Erc20.good_answer()).await.map(Some)
        };
        let fabric = async { if on[0] { Some(fabric.await) } else { None } };
        let (fabric, bcos) = tokio::join!(fabric, bcos);
        Ok(fabric.into_iter().chain(bcos?).collect())
    }
}
