//! Native transactions: what the four cases send, signed before any clock runs.

use bcos_types::{Address, Transaction, TransactionData, U256};
use konsort_crypto::{SuiteKey, SuiteKind, random_bytes};
use serde_json::{Value, json};

use super::chain::Chain;
use super::wire::{self, Connection, Expect, Target};
use crate::load::Outcome;

/// Accounts that send, and users of DagTransfer.
pub(crate) const ACCOUNTS: usize = 2000;
/// Accounts that get tokens by one transaction.
const MINTED_AT_ONCE: usize = 200;
/// Blocks after which an unsealed transaction is void; the nodes allow 600.
const BLOCK_LIMIT: i64 = 590;
const DAG_TRANSFER: &str = "0x000000000000000000000000000000000000100c";
/// `token/Token.sol`, compiled with solc 0.8.30, EVM Paris, 200 optimiser runs, without a metadata hash.
pub(crate) const TOKEN: &str = include_str!("token/Token.bin");

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// A transaction with value 0 and no input to an account without code.
    Transfer,
    /// `transfer` of a token between accounts that hold it.
    Erc20,
    /// `userTransfer` of the precompiled contract DagTransfer between users that are there.
    Dag,
    /// `transfer` of a token from many accounts to one.
    Hot,
}

impl Case {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Transfer, Self::Erc20, Self::Dag, Self::Hot];

    /// Its name in the figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Erc20 => "erc20",
            Self::Dag => "dag",
            Self::Hot => "hot",
        }
    }

    /// What a good answer looks like.
    pub(crate) fn good_answer(self) -> Expect {
        if self == Self::Dag { Expect::Zero } else { Expect::Receipt }
    }
}

/// The 32 bytes of an address as an argument.
pub(crate) fn word(address: [u8; 20]) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&address);
    word
}

fn number(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

/// The input of `transfer(to, 1)`.
pub(crate) fn token_transfer(to: [u8; 20]) -> Vec<u8> {
    [&[0xa9, 0x05, 0x9c, 0xbb][..], &word(to), &number(1)].concat()
}

/// The input of `mint(accounts, each)`.
pub(crate) fn token_mint(accounts: &[[u8; 20]]) -> Vec<u8> {
    let mut input =
        [&[0xea, 0x66, 0x69, 0x6c][..], &number(64), &number(1 << 40), &number(accounts.len() as u64)].concat();
    for account in accounts {
        input.extend_from_slice(&word(*account));
    }
    input
}

/// A text's length and bytes, padded.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = number(text.len() as u64).to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}

fn user(index: usize) -> String {
    format!("user-{index}")
}

/// Signs transactions for one chain.
#[derive(Debug)]
pub(crate) struct Signer {
    chain_id: String,
    group_id: String,
    keys: Vec<SuiteKey>,
    token: String,
    hot: [u8; 20],
    dag_add: [u8; 4],
    dag_transfer: [u8; 4],
}

impl Signer {
    /// Deploys the token, gives tokens to all accounts, and adds the users of DagTransfer.
    pub(crate) async fn prepare(chain: &Chain, connections: &mut Vec<Connection>) -> anyhow::Result<Self> {
        let suite = konsort_crypto::suite(SuiteKind::International);
        let mut signer = Self {
            chain_id: chain.about.chain_id.clone(),
            group_id: chain.about.group_id.clone(),
            keys: (0..ACCOUNTS).map(|_| SuiteKey::generate(SuiteKind::International)).collect(),
            token: String::new(),
            hot: SuiteKey::generate(SuiteKind::International).address(),
            dag_add: bcos_types::selector(suite, "userAdd(string,uint256)"),
            dag_transfer: bcos_types::selector(suite, "userTransfer(string,string,uint256)"),
        };
        let height = chain.settle().await?;
        let target: &Target = &chain.native()?[0];
        let deploy = signer.signed(height, 0, "", hex::decode(TOKEN.trim())?);
        let receipt = target.call("sendTransaction", signer.params(&deploy)).await?;
        anyhow::ensure!(receipt["status"] == 0, "deploying the token: {receipt}");
        receipt["contractAddress"].as_str().unwrap_or_default().clone_into(&mut signer.token);

        let addresses: Vec<[u8; 20]> = signer.keys.iter().map(SuiteKey::address).collect();
        let mints: Vec<_> = addresses
            .chunks(MINTED_AT_ONCE)
            .map(|some| signer.signed(height, 0, &signer.token, token_mint(some)))
            .collect();
        let minted = signer.send(connections, mints, Expect::Receipt).await?;
        let adds = (0..ACCOUNTS)
            .map(|index| {
                let input = [&signer.dag_add[..], &number(64), &number(1 << 40), &text(&user(index))].concat();
                signer.signed(height, index, DAG_TRANSFER, input)
            })
            .collect();
        let added = signer.send(connections, adds, Expect::Zero).await?;
        for outcome in [minted, added] {
            anyhow::ensure!(outcome.failed == 0, "preparing: {} failed: {}", outcome.failed, outcome.errors.join("; "));
        }
        Ok(signer)
    }

    /// A slice of a case's transactions, signed; `first` tells it from the slices before.
    pub(crate) fn slice(&self, case: Case, height: u64, first: usize, count: usize) -> Vec<Transaction> {
        let make = |index: usize| {
            let from = index % ACCOUNTS;
            // A pairing without a pattern: the step has no factor in common with the number of accounts.
            let to = (index * 787 + 1) % ACCOUNTS;
            let to = if to == from { (to + 1) % ACCOUNTS } else { to };
            match case {
                Case::Transfer => {
                    let to = Address::from(self.keys[to].address());
                    self.signed(height, from, &format!("{to:#x}"), Vec::new())
                }
                Case::Erc20 => self.signed(height, from, &self.token, token_transfer(self.keys[to].address())),
                Case::Hot => self.signed(height, from, &self.token, token_transfer(self.hot)),
                Case::Dag => {
                    let (from_text, to_text) = (text(&user(from)), text(&user(to)));
                    let offset = 96 + from_text.len() as u64;
                    let input =
                        [&self.dag_transfer[..], &number(96), &number(offset), &number(1), &from_text, &to_text]
                            .concat();
                    self.signed(height, from, DAG_TRANSFER, input)
                }
            }
        };
        (first..first + count).map(make).collect()
    }

    fn signed(&self, height: u64, from: usize, to: &str, input: Vec<u8>) -> Transaction {
        let data = TransactionData {
            chain_id: self.chain_id.clone(),
            group_id: self.group_id.clone(),
            block_limit: height as i64 + BLOCK_LIMIT,
            nonce: hex::encode(random_bytes::<16>()),
            to: to.to_owned(),
            input: input.into(),
            ..TransactionData::default()
        };
        Transaction::signed(data, &self.keys[from])
    }

    fn params(&self, transaction: &Transaction) -> Value {
        json!([self.group_id, "", format!("0x{}", hex::encode(transaction.encode())), false])
    }

    /// The bytes to send, dealt out to the connections.
    pub(crate) fn requests(&self, transactions: &[Transaction], lanes: usize) -> Vec<Vec<Vec<u8>>> {
        let mut work = vec![Vec::new(); lanes.min(transactions.len())];
        let lanes = work.len().max(1);
        for (index, transaction) in transactions.iter().enumerate() {
            work[index % lanes].push(wire::request("sendTransaction", &self.params(transaction)));
        }
        work
    }

    /// Sends transactions and waits until all are in blocks.
    pub(crate) async fn send(
        &self,
        connections: &mut Vec<Connection>,
        transactions: Vec<Transaction>,
        expect: Expect,
    ) -> anyhow::Result<Outcome> {
        let work = self.requests(&transactions, connections.len());
        wire::drive(connections, work, expect).await
    }

    /// Tokens of the hot account.
    pub(crate) async fn hot_balance(&self, target: &Target) -> anyhow::Result<u64> {
        let input = [&[0x70, 0xa0, 0x82, 0x31][..], &word(self.hot)].concat();
        let call = json!({ "to": self.token, "data": format!("0x{}", hex::encode(input)) });
        let answer = target.call("eth_call", json!([call, "latest"])).await?;
        Ok(U256::from_str_radix(answer.as_str().unwrap_or_default().trim_start_matches("0x"), 16)?.to::<u64>())
    }
}
