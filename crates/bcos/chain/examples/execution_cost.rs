//! What executing and committing costs per transaction: serial against parallel, spread accounts against one hot account.
//!
//! `cargo run --release -p bcos-chain --example execution_cost [blocks]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use alloy_primitives::{Address, B256, hex};
use bcos_chain::{Chain, ChainConfig, Order, Proposal};
use bcos_types::{Transaction, TransactionData, VerifiedTx};
use konsort_crypto::{SuiteKey, SuiteKind, suite};

const BLOCK: u64 = 1000;
/// A token in 28 bytes: `f(to, amount)` moves between slots named by addresses and logs.
const TOKEN: &str =
    "601c 600c 6000 39 601c 6000 f3 3354 602435 90 03 33 55 600435 54 602435 01 600435 55 33 6020 6000 a1 00";

fn account(number: u64) -> Address {
    Address::from_word(B256::left_padding_from(&(number + 1000).to_be_bytes()))
}

fn transaction(from: Address, nonce: u64, to: Option<Address>, input: Vec<u8>) -> VerifiedTx {
    let data = TransactionData {
        nonce: nonce.to_string(),
        to: to.map_or_else(String::new, |to| format!("{to:#x}")),
        input: input.into(),
        ..TransactionData::default()
    };
    let hash = data.hash(suite(SuiteKind::International));
    let signature = vec![1; 65].into();
    let transaction = Transaction { data, sender: from.0.0.into(), signature, ..Transaction::default() };
    VerifiedTx::from_store(hash, transaction.encode().into()).unwrap()
}

fn transfer(to: Address) -> Vec<u8> {
    let mut input = vec![0xa9, 0x05, 0x9c, 0xbb];
    input.extend(to.into_word());
    input.extend(B256::with_last_byte(1));
    input
}

fn next(chain: &Chain, transactions: Vec<VerifiedTx>) -> Proposal {
    let tip = chain.tip();
    Proposal { number: tip.number() + 1, parent: tip.hash(), timestamp_ms: 1, sealer: 0, transactions }
}

/// CPU time of all threads of this process, seconds.
fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() / 1e9
}

/// Time on the wall and on all cores together.
#[derive(Default)]
struct Spent {
    wall: f64,
    cpu: f64,
}

impl Spent {
    fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (began, cpu_before) = (Instant::now(), cpu());
        let done = work();
        self.wall += began.elapsed().as_secs_f64();
        self.cpu += cpu() - cpu_before;
        done
    }

    fn per(&self, transactions: u64) -> String {
        let each = |seconds: f64| seconds * 1e6 / transactions as f64;
        format!("{:.1} us (CPU {:.1})", each(self.wall), each(self.cpu))
    }
}

fn main() {
    let blocks: u64 = std::env::args().nth(1).map_or(20, |text| text.parse().unwrap());
    let node = hex::encode(SuiteKey::generate(SuiteKind::International).public_key());
    let folder = std::env::temp_dir().join(format!("bcos-chain-cost-{}", std::process::id()));
    let chain = Chain::create_or_open(&folder, &ChainConfig::new(SuiteKind::International, vec![(node, 1)])).unwrap();
    let deploy = transaction(account(0), 0, None, hex::decode(TOKEN.replace(' ', "")).unwrap());
    let first = chain.execute(&next(&chain, vec![deploy])).unwrap();
    let token = first.receipts()[0].contract_address.unwrap();
    chain.commit(&first, vec![]).unwrap();
    let mut nonce = 0_u64;
    for (name, recipients) in
        [("spread over 2,000 accounts", 2_000), ("half of it to one account", 0), ("all to one account", 1)]
    {
        let (mut serial, mut parallel, mut commit) = (Spent::default(), Spent::default(), Spent::default());
        let mut stats = bcos_chain::scheduler::RunStats::default();
        for _ in 0..blocks {
            let one = |_| {
                nonce += 1;
                let number = nonce * 7919;
                let to = match recipients {
                    0 if nonce.is_multiple_of(2) => 1,
                    0 => number % 2_000,
                    recipients => number % recipients,
                };
                transaction(account(nonce % 2_000 + 10_000), nonce, Some(token), transfer(account(to)))
            };
            let proposal = next(&chain, (0..BLOCK).map(one).collect());
            let a = serial.on(|| chain.execute_in(&proposal, Order::Serial).unwrap());
            let b = parallel.on(|| chain.execute(&proposal).unwrap());
            assert_eq!(a.hash(), b.hash());
            if std::env::var_os("KONSORT_EACH_BLOCK").is_some() {
                println!("{:?}", b.stats());
            }
            stats.speculated += b.stats().speculated;
            stats.conflicts += b.stats().conflicts;
            stats.direct += b.stats().direct;
            commit.on(|| chain.commit(&b, vec![]).unwrap());
        }
        let all = blocks * BLOCK;
        println!(
            "{name}: serial {}, parallel {}, commit {} per transaction; {stats:?}",
            serial.per(all),
            parallel.per(all),
            commit.per(all)
        );
    }
    drop(chain);
    std::fs::remove_dir_all(&folder).unwrap();
}
