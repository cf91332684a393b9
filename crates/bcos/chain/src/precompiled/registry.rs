//! Which contract lives where and which function answers which selector.

use std::collections::HashMap;
use std::sync::OnceLock;

use konsort_crypto::{CryptoSuite, SuiteKind, suite};

use super::{Answer, Call, Failure};

/// A method: arguments after the selector in, encoded return values out.
pub(crate) type Method = fn(&mut Call<'_, '_>, &[u8]) -> Answer;

/// Signature text and the function behind it.
pub(crate) type Methods = &'static [(&'static str, Method)];

/// The engine's own contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    SystemConfig,
    Table,
    TableManager,
    Consensus,
    KvTable,
    Crypto,
    DagTransfer,
    Bfs,
    Cast,
    CpuHeavy,
    SmallBank,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::SystemConfig,
        Self::Table,
        Self::TableManager,
        Self::Consensus,
        Self::KvTable,
        Self::Crypto,
        Self::DagTransfer,
        Self::Bfs,
        Self::Cast,
        Self::CpuHeavy,
        Self::SmallBank,
    ];

    pub(super) fn methods(self) -> Methods {
        match self {
            Self::SystemConfig => super::system_config::METHODS,
            Self::Table => super::table::METHODS,
            Self::TableManager => super::table_manager::METHODS,
            Self::Consensus => super::consensus::METHODS,
            Self::KvTable => super::kv_table::METHODS,
            Self::Crypto => super::crypto::METHODS,
            Self::DagTransfer => super::transfer::DAG_METHODS,
            Self::Bfs => super::bfs::METHODS,
            Self::Cast => super::cast::METHODS,
            Self::CpuHeavy => super::cpu_heavy::METHODS,
            Self::SmallBank => super::transfer::SMALL_BANK_METHODS,
        }
    }
}

/// Instances of each bench contract at consecutive addresses.
const BENCH_INSTANCES: u32 = 128;

/// The contract at a low address.
pub(crate) fn kind_of(number: u32) -> Option<Kind> {
    Some(match number {
        0x1000 => Kind::SystemConfig,
        0x1001 => Kind::Table,
        0x1002 => Kind::TableManager,
        0x1003 => Kind::Consensus,
        0x1009 => Kind::KvTable,
        0x100a => Kind::Crypto,
        0x100c => Kind::DagTransfer,
        0x100e => Kind::Bfs,
        0x100f => Kind::Cast,
        n if (0x5200..0x5200 + BENCH_INSTANCES).contains(&n) => Kind::CpuHeavy,
        n if (0x6200..0x6200 + BENCH_INSTANCES).contains(&n) => Kind::SmallBank,
        _ => return None,
    })
}

/// Methods of all contracts by selector.
#[derive(Debug)]
pub(crate) struct Registry {
    methods: HashMap<(Kind, [u8; 4]), Method>,
}

impl Registry {
    /// The registry of a suite, made once.
    pub(crate) fn of(kind: SuiteKind) -> &'static Self {
        static INTERNATIONAL: OnceLock<Registry> = OnceLock::new();
        static SM: OnceLock<Registry> = OnceLock::new();
        let cell = match kind {
            SuiteKind::International => &INTERNATIONAL,
            SuiteKind::Sm => &SM,
        };
        cell.get_or_init(|| Self::new(suite(kind)))
    }

    fn new(suite: &dyn CryptoSuite) -> Self {
        let mut methods = HashMap::new();
        for kind in Kind::ALL {
            for (signature, method) in kind.methods() {
                methods.insert((kind, selector(suite, signature)), *method);
            }
        }
        Self { methods }
    }

    pub(crate) fn find(&self, kind: Kind, selector: [u8; 4]) -> Option<Method> {
        self.methods.get(&(kind, selector)).copied()
    }
}

/// First four bytes of the hash of a signature.
pub(crate) fn selector(suite: &dyn CryptoSuite, signature: &str) -> [u8; 4] {
    let hash = suite.hash(signature.as_bytes());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// What a contract answers to a selector it does not know.
pub(crate) fn unknown_method(kind: Kind) -> Answer {
    let name = match kind {
        // These two leave the output empty.
        Kind::DagTransfer | Kind::SmallBank => return Ok(Vec::new()),
        Kind::SystemConfig => "SystemConfigPrecompiled",
        Kind::Table => "TablePrecompiled",
        Kind::TableManager => "TableManager",
        Kind::Consensus => "ConsensusPrecompiled",
        Kind::KvTable => "KVTablePrecompiled",
        Kind::Crypto => "CryptoPrecompiled",
        Kind::Bfs => "BFSPrecompiled",
        Kind::Cast => "CastPrecompiled",
        Kind::CpuHeavy => "CpuHeavyPrecompiled",
    };
    Err(Failure::Refused(format!("{name} call undefined function!")))
}
