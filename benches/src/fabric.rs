//! Create, transfer and read through the gateway; then a peer that starts from nothing and catches up.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use fabric_client::{Call, GatewayClient};

use crate::cpu;
use crate::load::{self, Outcome, Pace};
use crate::network::{Description, Own};

/// Options of the bench.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Description of a running network (what `konsort up --output json` prints); without it a network of this build is used
    #[arg(long, value_name = "FILE")]
    network: Option<std::path::PathBuf>,
    /// Calls in flight (closed loop)
    #[arg(long, default_value_t = 256)]
    clients: usize,
    /// Calls per second (open loop) instead of a closed loop
    #[arg(long)]
    rate: Option<f64>,
    /// TLS connections that the calls share
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Transactions to commit per kind
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// Bytes per value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Endorsement policy of an own network
    #[arg(long)]
    policy: Option<String>,
    /// Most transactions in a block of an own network
    #[arg(long, default_value_t = 500)]
    batch_size: u32,
    /// Longest wait for a full block of an own network
    #[arg(long, default_value = "250ms")]
    batch_timeout: String,
}

/// Runs every part and prints the figures.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let (own, network) = if let Some(file) = &options.network {
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        (None, serde_json::from_slice::<Description>(&text)?)
    } else {
        let batch_size = options.batch_size.to_string();
        let mut arguments = vec!["--batch-size", &batch_size, "--batch-timeout", &options.batch_timeout];
        if let Some(policy) = &options.policy {
            arguments.extend(["--policy", policy]);
        }
        let (own, network) = Own::start(&arguments)?;
        (Some(own), network)
    };
    let pace = options.rate.map_or(Pace::Closed(options.clients), Pace::Open);
    let peer = network.peers().next().context("the network has no peer")?;
    let mut clients = Vec::new();
    for _ in 0..options.connections.max(1) {
        clients.push(network.gateway(peer).await?);
    }
    let value = "v".repeat(options.value_bytes);
    let base = Call::new(&network.channel, &network.chaincode);
    let run_name = format!("{:x}", std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis());

    // Warm connections, chaincode and caches, as a running network has them.
    let warm = measure("warm-up", &network, &clients, options.clients.min(200), Pace::Closed(16), {
        let (base, value, run_name) = (base.clone(), value.clone(), run_name.clone());
        move |index| (base.clone().args(["put", &format!("warm-{run_name}-{index}"), &value]), true)
    })
    .await?;
    ensure!(warm.0.failed == 0, "the warm-up failed: {}", warm.0.errors.join("; "));

    let (create, create_cpu) = measure("create", &network, &clients, options.count, pace, {
        let (base, value, run_name) = (base.clone(), value.clone(), run_name.clone());
        move |index| (base.clone().args(["put", &format!("key-{run_name}-{index}"), &value]), true)
    })
    .await?;
    let half = options.count / 2;
    let (_transfer, transfer_cpu) = measure("transfer", &network, &clients, half, pace, {
        let (base, run_name) = (base.clone(), run_name.clone());
        // Pairs do not overlap, so that no transfer conflicts with another.
        move |index| {
            let (from, to) = (format!("key-{run_name}-{}", 2 * index), format!("key-{run_name}-{}", 2 * index + 1));
            (base.clone().args(["move", &from, &to]), true)
        }
    })
    .await?;
    let (read, read_cpu) = measure("read", &network, &clients, options.count, pace, {
        let (base, run_name) = (base.clone(), run_name.clone());
        move |index| (base.clone().args(["get", &format!("key-{run_name}-{index}")]), false)
    })
    .await?;
    let catchup = match &own {
        Some(own) => Some(catch_up(own, &network, options.count + half).await?),
        None => None,
    };
    println!(
        "{}",
        serde_json::json!({
            "tps": round(create.rate()),
            "p50_ms": round(create.percentile(50.0)),
            "p95_ms": round(create.percentile(95.0)),
            "cpu_ms_per_tx": rounded(&create_cpu),
            "transfer_cpu_ms_per_tx": rounded(&transfer_cpu),
            "evaluate_per_s": round(read.rate()),
            "evaluate_cpu_ms": round(read_cpu.get("total").copied().unwrap_or_default()),
            "catchup_cpu_ms_per_tx": catchup.map(round),
            "first_commit_ms": network.first_commit_ms,
        })
    );
    Ok(())
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn rounded(values: &std::collections::BTreeMap<String, f64>) -> std::collections::BTreeMap<&str, f64> {
    values.iter().map(|(role, value)| (role.as_str(), round(*value))).collect()
}

/// One kind of load, with the CPU that the network's processes used for it.
async fn measure(
    name: &str,
    network: &Description,
    clients: &[GatewayClient],
    count: usize,
    pace: Pace,
    call: impl Fn(usize) -> (Call, bool) + Send + Sync + 'static,
) -> anyhow::Result<(Outcome, std::collections::BTreeMap<String, f64>)> {
    let processes = network.processes();
    let before = cpu::by_role(&processes);
    let outcome = load::run(clients, count, pace, move |client, index| {
        let (call, write) = call(index);
        async move {
            if write {
                client.submit_and_wait(&call).await?;
            } else {
                client.evaluate(&call).await?;
            }
            Ok(())
        }
    })
    .await;
    settle(network).await?;
    let cpu = cpu::difference(&before, &cpu::by_role(&processes), outcome.succeeded);
    println!(
        "{name:<10} {:>7} ok {:>5} failed  {:>9.1}/s  p50 {:>8.2} ms  p95 {:>8.2} ms  CPU ms each: {}",
        outcome.succeeded,
        outcome.failed,
        outcome.rate(),
        outcome.percentile(50.0),
        outcome.percentile(95.0),
        cpu.iter().map(|(role, value)| format!("{role} {value:.3}")).collect::<Vec<_>>().join("  ")
    );
    for error in &outcome.errors {
        println!("           {error}");
    }
    ensure!(outcome.succeeded > 0, "{name}: nothing succeeded");
    Ok((outcome, cpu))
}

/// Waits until all peers have the same height, so that the CPU of every one is counted.
async fn settle(network: &Description) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let mut heights = Vec::new();
        for peer in network.peers() {
            heights.push(network.admin(peer).await?.channel_info(&network.channel).await?.height);
        }
        if heights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the peers do not reach the same height: {heights:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Stops the last peer, removes its ledger, and measures what it uses to validate and commit everything again.
async fn catch_up(own: &Own, network: &Description, transactions: usize) -> anyhow::Result<f64> {
    let peer = network.peers().last().context("the network has no peer")?;
    let pid = peer.pid.context("the peer's process is not known")?;
    let target = network.admin(peer).await?.channel_info(&network.channel).await?.height;
    let status = Command::new("kill").arg(pid.to_string()).status()?;
    ensure!(status.success(), "cannot stop {}", peer.name);
    let folder = own.node_folder(peer);
    while std::fs::exists(format!("/proc/{pid}"))? && cpu::milliseconds(pid) > 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::remove_dir_all(folder.join("data"))?;
    let mut child = Command::new(own.program())
        .args(["peer", "node", "start"])
        .env("FABRIC_CFG_PATH", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = async {
        let until = Instant::now() + Duration::from_mins(5);
        let admin = loop {
            match network.admin(peer).await {
                Ok(admin) => break admin,
                Err(error) => ensure!(Instant::now() < until, "{} does not come back: {error:#}", peer.name),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let idle = cpu::milliseconds(child.id());
        let started = Instant::now();
        admin.join_channel(own.genesis()?).await?;
        loop {
            let height = admin.channel_info(&network.channel).await.map_or(0, |info| info.height);
            if height >= target {
                break;
            }
            ensure!(Instant::now() < until, "{} is at height {height} of {target}", peer.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let each = (cpu::milliseconds(child.id()) - idle) / transactions as f64;
        println!(
            "catch-up   {transactions:>7} transactions in {:.2} s ({:.1}/s)  CPU ms each: {each:.3}",
            started.elapsed().as_secs_f64(),
            transactions as f64 / started.elapsed().as_secs_f64()
        );
        Ok(each)
    }
    .await;
    child.kill()?;
    child.wait()?;
    outcome
}
