//! Transfers, ERC-20 transfers, DagTransfer and a hot account over JSON-RPC, against one node and against four; ERC-20
//! by Ethereum's transactions against anvil in the same run.

pub(crate) mod chain;
mod ethereum;
pub(crate) mod native;
pub(crate) mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::cpu;
use crate::load::Outcome;
use chain::{Chain, Used};
use ethereum::{Anvil, Ethereum};
use native::{Case, Signer};

/// Options of the bench.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Connections, each with one transaction in flight (closed loop), spread over the nodes
    #[arg(long, default_value_t = 512)]
    clients: usize,
    /// Transactions per case
    #[arg(long, default_value_t = 12_000)]
    count: usize,
    /// Transactions that are signed, then sent, at a time; only sending is measured
    #[arg(long, default_value_t = 4_000)]
    slice: usize,
    /// Cases: transfer, erc20, dag, hot
    #[arg(long, value_delimiter = ',', default_value = "transfer,erc20,dag,hot")]
    cases: Vec<String>,
    /// Chains: numbers of PBFT nodes
    #[arg(long, value_delimiter = ',', default_value = "1,4")]
    nodes: Vec<usize>,
    /// Leave the comparison with anvil out
    #[arg(long)]
    no_anvil: bool,
    /// Turns of each side in the comparison
    #[arg(long, default_value_t = 2)]
    turns: usize,
    /// Transactions of a turn; with several thousand waiting at once anvil stops making blocks
    #[arg(long, default_value_t = 1_000)]
    turn: usize,
    /// Further options for anvil, as --block-time=1
    #[arg(long, allow_hyphen_values = true)]
    anvil_option: Vec<String>,
}

/// Runs every part and prints the figures.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let cases: Vec<Case> =
        Case::ALL.into_iter().filter(|case| options.cases.iter().any(|name| name == case.name())).collect();
    ensure!(!cases.is_empty() || options.cases.iter().all(String::is_empty), "--cases names no case");
    let mut figures = Map::new();
    for &nodes in &options.nodes {
        measure(options, &cases, nodes, &mut figures).await?;
    }
    let ratio = if options.no_anvil { None } else { Some(compare(options, &mut figures).await?) };
    figures.insert("anvil_ratio".into(), json!(ratio.map(round)));
    println!("{}", Value::Object(figures));
    Ok(())
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// All cases against a chain of its own.
async fn measure(
    options: &Options,
    cases: &[Case],
    nodes: usize,
    figures: &mut Map<String, Value>,
) -> anyhow::Result<()> {
    if cases.is_empty() {
        return Ok(());
    }
    let chain = Chain::start(nodes)?;
    println!("{nodes} PBFT node(s), nothing to first receipt: {} ms", chain.about.first_receipt_ms.unwrap_or_default());
    // Handshakes come before the clock.
    let mut connections = wire::connect(&chain.native()?, options.clients).await?;
    let signer = Signer::prepare(&chain, &mut connections).await?;
    let pids = chain.pids()?;
    for &case in cases {
        let mut first = 0;
        let height = chain.settle().await?;
        let warm = signer.slice(case, height, first, options.clients.min(options.count));
        first += warm.len();
        let mut hot = first as u64;
        signer.send(&mut connections, warm, case.good_answer()).await?;

        let (mut total, mut cpu) = (Outcome::default(), vec![0.0; nodes]);
        let begin = chain.settle().await?;
        let disk = chain.disk();
        let mut left = options.count;
        while left > 0 {
            let slice = left.min(options.slice.max(1));
            let height = chain.settle().await?;
            let transactions = signer.slice(case, height, first, slice);
            let work = signer.requests(&transactions, options.clients);
            let before = Used::by(&pids);
            let outcome = wire::drive(&mut connections, work, case.good_answer()).await?;
            chain.settle().await?;
            // What goes on in the background after the last answer belongs to it.
            tokio::time::sleep(Duration::from_millis(200)).await;
            for (sum, used) in cpu.iter_mut().zip(Used::by(&pids).since(&before)) {
                *sum += used;
            }
            hot += outcome.succeeded as u64;
            total.add(outcome);
            first += slice;
            left -= slice;
        }
        let blocks = chain.settle().await?.saturating_sub(begin);
        ensure!(total.succeeded > 0, "{}: nothing succeeded: {}", case.name(), total.errors.join("; "));
        if case == Case::Hot && total.failed == 0 {
            let has = signer.hot_balance(&chain.ethereum()[0]).await?;
            ensure!(has == hot, "the hot account has {has} tokens after {hot} transfers");
        }
        let each: Vec<f64> = cpu.iter().map(|used| used / total.succeeded as f64).collect();
        let written: u64 = chain.disk().iter().zip(&disk).map(|(after, before)| after.saturating_sub(*before)).sum();
        let written = written as f64 / total.succeeded as f64 / nodes as f64;
        let memory: Vec<f64> = pids.iter().map(|pid| round(cpu::resident_mib(*pid))).collect();
        show(case, nodes, &total, &each, written, blocks, &memory);
        figures.insert(
            format!("{}_{nodes}", case.name()),
            json!({
                "tps": round(total.rate()),
                "p50_ms": round(total.percentile(50.0)),
                "p95_ms": round(total.percentile(95.0)),
                "cpu_ms_per_tx": round(each.iter().sum()),
                "cpu_ms_per_tx_by_node": each.iter().map(|value| round(*value)).collect::<Vec<_>>(),
                "rss_mib_by_node": memory,
                "disk_bytes_per_tx": written.round(),
                "blocks": blocks,
                "failed": total.failed,
            }),
        );
    }
    Ok(())
}

fn show(case: Case, nodes: usize, total: &Outcome, each: &[f64], written: f64, blocks: u64, memory: &[f64]) {
    println!(
        "{:<10} {:>7} ok {:>5} failed  {:>9.1}/s  p50 {:>8.2} ms  p95 {:>8.2} ms  CPU ms each: {:.3} ({})  disk {written:.0} B each  {blocks} blocks  RSS {} MiB",
        format!("{}_{nodes}", case.name()),
        total.succeeded,
        total.failed,
        total.rate(),
        total.percentile(50.0),
        total.percentile(95.0),
        each.iter().sum::<f64>(),
        each.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(" "),
        memory.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(" "),
    );
    for error in &total.errors {
        println!("           {error}");
    }
}

/// The Ethereum part: one node of this build and anvil in turns; anvil's CPU per transaction divided by ours.
async fn compare(options: &Options, figures: &mut Map<String, Value>) -> anyhow::Result<f64> {
    let folder = std::env::current_exe()?.parent().and_then(|path| path.parent()).map(|path| path.join("bench/anvil"));
    let anvil =
        Anvil::start(&folder.unwrap_or_else(|| PathBuf::from("target/bench/anvil")), &options.anvil_option).await?;
    let chain = Chain::start(1)?;
    let mut ours = Ethereum::prepare("ours", chain.ethereum()[0].clone(), chain.pids()?[0]).await?;
    let mut theirs = Ethereum::prepare("anvil", anvil.target.clone(), anvil.pid()).await?;
    println!("ERC-20 by eth_sendRawTransaction, in turns");
    // Warm both.
    ours.turn(512).await?;
    theirs.turn(512).await?;
    let (mut our_turns, mut their_turns) = (Vec::new(), Vec::new());
    for _ in 0..options.turns.max(1) {
        our_turns.push(ours.turn(options.turn).await?);
        their_turns.push(theirs.turn(options.turn).await?);
    }
    let mut mean = |name: &str, turns: &[ethereum::Turn]| {
        let of = |field: fn(&ethereum::Turn) -> f64| turns.iter().map(field).sum::<f64>() / turns.len() as f64;
        let cpu = of(|turn| turn.cpu_ms_per_tx);
        figures.insert(name.into(), json!({ "tps": round(of(|turn| turn.tps)), "cpu_ms_per_tx": round(cpu) }));
        cpu
    };
    let (our_cpu, their_cpu) = (mean("eth_erc20_1", &our_turns), mean("anvil_erc20", &their_turns));
    Ok(their_cpu / our_cpu.max(f64::EPSILON))
}
