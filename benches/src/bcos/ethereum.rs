//! The same token driven by Ethereum's transactions, against a node of this build and against anvil in turns.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alloy_rlp::{Encodable, Header};
use anyhow::{Context as _, bail, ensure};
use bcos_types::{Bytes, U256};
use konsort_crypto::{SuiteKey, SuiteKind, hash::keccak256};
use serde_json::{Value, json};

use super::chain::Used;
use super::native::{TOKEN, token_mint, token_transfer, word};
use super::wire::{self, Connection, Expect, Target};
use crate::load::Outcome;

/// The release that is compared with.
const ANVIL: &str = "@foundry-rs/anvil@1.7.1";
/// Accounts that send.
const SENDERS: usize = 256;
/// Accounts that receive; none of them sends.
const RECEIVERS: usize = 1000;
/// Connections; each has senders of its own, so that their numbers arrive in order.
const LANES: usize = 64;
/// Accounts that get tokens by one transaction, well within a block's gas everywhere.
const MINTED_AT_ONCE: usize = 64;
/// Enough for a transfer that writes two new slots.
const TRANSFER_GAS: u64 = 100_000;

/// A node that speaks Ethereum's JSON-RPC, with the token on it.
#[derive(Debug)]
pub(crate) struct Ethereum {
    name: &'static str,
    target: Target,
    pid: u32,
    chain_id: u64,
    connections: Vec<Connection>,
    keys: Vec<SuiteKey>,
    nonces: Vec<u64>,
    receivers: Vec<[u8; 20]>,
    token: String,
}

/// A node's figures of one turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// CPU milliseconds of the node per committed transaction.
    pub(crate) cpu_ms_per_tx: f64,
    /// Transactions per second, from the first one sent until the last one is in a block.
    pub(crate) tps: f64,
}

impl Ethereum {
    /// Connects, deploys the token and gives tokens to all senders.
    pub(crate) async fn prepare(name: &'static str, target: Target, pid: u32) -> anyhow::Result<Self> {
        let chain_id = quantity(&target.call("eth_chainId", json!([])).await?)?;
        let make = || SuiteKey::generate(SuiteKind::International);
        let mut node = Self {
            name,
            pid,
            chain_id,
            connections: wire::connect(std::slice::from_ref(&target), LANES).await?,
            keys: (0..SENDERS).map(|_| make()).collect(),
            nonces: vec![0; SENDERS],
            receivers: (0..RECEIVERS).map(|_| make().address()).collect(),
            token: String::new(),
            target,
        };
        let deploy = node.signed(0, None, hex::decode(TOKEN.trim())?, 3_000_000);
        let deployed = node.receipt(&deploy).await?;
        deployed["contractAddress"].as_str().context("no contract")?.clone_into(&mut node.token);
        let addresses: Vec<_> = node.keys.iter().map(SuiteKey::address).collect();
        for some in addresses.chunks(MINTED_AT_ONCE) {
            let mint = node.signed(0, Some(node.token.clone()), token_mint(some), 5_000_000);
            node.receipt(&mint).await?;
        }
        Ok(node)
    }

    /// Signs a legacy transaction with the chain's id (EIP-155), price 0; counts the sender's number up.
    fn signed(&mut self, from: usize, to: Option<String>, input: Vec<u8>, gas: u64) -> Vec<u8> {
        let nonce = self.nonces[from];
        self.nonces[from] += 1;
        let to: Bytes = to.and_then(|to| to.parse().ok()).unwrap_or_default();
        let input = Bytes::from(input);
        let list = |last: [&dyn Encodable; 3]| {
            let fields: [&dyn Encodable; 6] = [&nonce, &0_u64, &gas, &to, &0_u64, &input];
            let all = fields.into_iter().chain(last);
            let payload_length = all.clone().map(Encodable::length).sum();
            let mut out = Vec::with_capacity(payload_length + 9);
            Header { list: true, payload_length }.encode(&mut out);
            all.for_each(|field| field.encode(&mut out));
            out
        };
        let signature = self.keys[from].sign(&keccak256(&list([&self.chain_id, &0_u64, &0_u64])));
        let v = 35 + 2 * self.chain_id + u64::from(signature[64]);
        let (r, s) = (U256::from_be_slice(&signature[..32]), U256::from_be_slice(&signature[32..64]));
        list([&v, &r, &s])
    }

    fn params(raw: &[u8]) -> Value {
        json!([format!("0x{}", hex::encode(raw))])
    }

    /// Sends one transaction and waits for its receipt.
    async fn receipt(&self, raw: &[u8]) -> anyhow::Result<Value> {
        let hash = self.target.call("eth_sendRawTransaction", Self::params(raw)).await?;
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let receipt = self.target.call("eth_getTransactionReceipt", json!([hash])).await?;
            if receipt.is_object() {
                ensure!(receipt["status"] == "0x1", "{}: {receipt}", self.name);
                return Ok(receipt);
            }
            ensure!(Instant::now() < until, "{}: no receipt of {hash}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One turn: transfers signed, then sent by all connections at once, then waited for until the last is in a block.
    pub(crate) async fn turn(&mut self, count: usize) -> anyhow::Result<Turn> {
        let lanes = self.connections.len();
        let mut work = vec![Vec::new(); lanes];
        for index in 0..count {
            let from = index % SENDERS;
            let to = self.receivers[(index * 787) % RECEIVERS];
            let raw = self.signed(from, Some(self.token.clone()), token_transfer(to), TRANSFER_GAS);
            work[from % lanes].push(wire::request("eth_sendRawTransaction", &Self::params(&raw)));
        }
        let before_tokens = self.received().await?;
        let before = Used::by(&[self.pid]);
        let started = Instant::now();
        let sent = wire::drive(&mut self.connections, work, Expect::Result).await?;
        ensure!(sent.failed == 0, "{}: {} failed: {}", self.name, sent.failed, sent.errors.join("; "));
        self.all_in_blocks().await?;
        let took = started.elapsed();
        let cpu: f64 = Used::by(&[self.pid]).since(&before).iter().sum();
        let committed = self.received().await? - before_tokens;
        ensure!(committed == count as u64, "{}: {committed} of {count} transfers happened", self.name);
        let turn = Turn { cpu_ms_per_tx: cpu / count as f64, tps: count as f64 / took.as_secs_f64() };
        self.show(&turn, &sent);
        Ok(turn)
    }

    fn show(&self, turn: &Turn, sent: &Outcome) {
        println!(
            "{:<10} {:>7} ok {:>5} failed  {:>9.1}/s  p50 {:>8.2} ms  p95 {:>8.2} ms to the pool's answer  CPU ms each: {:.3}",
            self.name,
            sent.succeeded,
            sent.failed,
            turn.tps,
            sent.percentile(50.0),
            sent.percentile(95.0),
            turn.cpu_ms_per_tx
        );
    }

    async fn all_in_blocks(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_mins(2);
        for (key, wanted) in self.keys.iter().zip(&self.nonces) {
            let question = wire::request(
                "eth_getTransactionCount",
                &json!([format!("0x{}", hex::encode(key.address())), "latest"]),
            );
            let connection = self.connections.first_mut().context("no connection")?;
            loop {
                let answer: Value = serde_json::from_slice(&connection.call(&question).await?)?;
                if quantity(&answer["result"])? >= *wanted {
                    break;
                }
                ensure!(Instant::now() < until, "{}: transactions are still not in a block", self.name);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Tokens that all receivers have: what was sent minus what failed.
    async fn received(&mut self) -> anyhow::Result<u64> {
        let mut sum = 0;
        let connection = self.connections.first_mut().context("no connection")?;
        for receiver in &self.receivers {
            let input = [&[0x70, 0xa0, 0x82, 0x31][..], &word(*receiver)].concat();
            let call = json!({ "to": self.token, "data": format!("0x{}", hex::encode(input)) });
            let answer = connection.call(&wire::request("eth_call", &json!([call, "latest"]))).await?;
            sum += quantity(&serde_json::from_slice::<Value>(&answer)?["result"])?;
        }
        Ok(sum)
    }
}

fn quantity(value: &Value) -> anyhow::Result<u64> {
    let digits = value.as_str().with_context(|| format!("{value} is no quantity"))?.trim_start_matches("0x");
    Ok(U256::from_str_radix(digits, 16)?.to::<u64>())
}

/// A running anvil.
#[derive(Debug)]
pub(crate) struct Anvil {
    child: Child,
    /// Its JSON-RPC.
    pub(crate) target: Target,
}

impl Anvil {
    /// Installs the release into `folder` unless it is there, and starts it on a free port.
    pub(crate) async fn start(folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let program = installed(folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        // Prices of 0 as on our chain, so that senders need no funds; blocks as large as ours.
        let child = Command::new(program)
            .args(["--quiet", "--port", &port.to_string(), "--gas-price", "0", "--base-fee", "0"])
            .args(["--disable-min-priority-fee", "--gas-limit", "3000000000"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut anvil = Self { child, target: Target::plain(format!("127.0.0.1:{port}")) };
        let until = Instant::now() + Duration::from_secs(20);
        while anvil.target.call("eth_chainId", json!([])).await.is_err() {
            if let Some(status) = anvil.child.try_wait()? {
                bail!("anvil ended with {status}");
            }
            ensure!(Instant::now() < until, "anvil does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(anvil)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The program itself, not the script around it, so that its process can be measured.
fn installed(folder: &Path) -> anyhow::Result<PathBuf> {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let program = folder.join(format!("node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil"));
    if !program.exists() {
        std::fs::create_dir_all(folder)?;
        let status = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--silent", ANVIL, "--prefix"])
            .arg(folder)
            .status()
            .context("cannot run npm; leave anvil out with --no-anvil")?;
        ensure!(status.success() && program.exists(), "npm install {ANVIL} ended with {status}");
    }
    Ok(program)
}
