//! What a chain is founded with.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use bcos_types::genesis::GenesisSettings;
use konsort_crypto::SuiteKind;

/// Features and fixes a chain may have switched on, in upstream's order; each is a system setting that is "1" or absent.
pub const FEATURES: [&str; 48] = [
    "bugfix_revert",
    "bugfix_statestorage_hash",
    "bugfix_evm_create2_delegatecall_staticcall_codecopy",
    "bugfix_event_log_order",
    "bugfix_call_noaddr_return",
    "bugfix_precompiled_codehash",
    "bugfix_dmc_revert",
    "bugfix_keypage_system_entry_hash",
    "bugfix_internal_create_redundant_storage",
    "bugfix_internal_create_permission_denied",
    "bugfix_sharding_call_in_child_executive",
    "bugfix_empty_abi_reset",
    "bugfix_eip55_addr",
    "bugfix_eoa_as_contract",
    "bugfix_eoa_match_failed",
    "bugfix_evm_exception_gas_used",
    "bugfix_dmc_deploy_gas_used",
    "bugfix_staticcall_noaddr_return",
    "bugfix_support_transfer_receive_fallback",
    "bugfix_set_row_with_dirty_flag",
    "bugfix_rpbft_vrf_blocknumber_input",
    "bugfix_delete_account_code",
    "bugfix_policy1_empty_code_address",
    "bugfix_precompiled_gasused",
    "bugfix_nonce_not_increase_when_revert",
    "bugfix_set_contract_nonce_when_create",
    "bugfix_precompiled_gascalc",
    "bugfix_method_auth_sender",
    "bugfix_precompiled_evm_status",
    "bugfix_delegatecall_transfer",
    "bugfix_nonce_initialize",
    "bugfix_v1_timestamp",
    "bugfix_revert_logs",
    "feature_dmc2serial",
    "feature_sharding",
    "feature_rpbft",
    "feature_paillier",
    "feature_balance",
    "feature_balance_precompiled",
    "feature_balance_policy1",
    "feature_paillier_add_raw",
    "feature_evm_cancun",
    "feature_evm_timestamp",
    "feature_evm_address",
    "feature_rpbft_term_weight",
    "feature_raw_address",
    "feature_rpbft_vrf_type_secp256k1",
    "feature_balance_policy2",
];

/// An account that exists from the beginning (`[alloc]` of config.genesis).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocation {
    /// Its address.
    pub address: Address,
    /// Its balance.
    pub balance: U256,
    /// Its nonce.
    pub nonce: u64,
    /// Its code; empty for none.
    pub code: Bytes,
    /// Its storage.
    pub storage: Vec<(B256, B256)>,
}

/// How a chain is founded and executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainConfig {
    /// What the genesis text says.
    pub genesis: GenesisSettings,
    /// How often a sealer serves compared with others when term weights are on (`feature_rpbft_term_weight`), by node id; those
    /// not named have 0. Not part of the genesis text.
    pub term_weights: BTreeMap<String, u64>,
    /// `[web3] chain_id`; not part of the genesis text.
    pub web3_chain_id: u64,
    /// `[executor] version`; 1 is the only one there is.
    pub executor_version: u32,
    /// Accounts that exist from the beginning; not part of the genesis text.
    pub alloc: Vec<Allocation>,
    /// Threads that execute one block, this node's own choice: results do not depend on it.
    pub threads: usize,
}

impl ChainConfig {
    /// A chain with upstream's defaults and these sealers (node id in hex, weight).
    pub fn new(suite: SuiteKind, sealers: Vec<(String, u64)>) -> Self {
        let genesis = GenesisSettings {
            sm_crypto: suite == SuiteKind::Sm,
            chain_id: "chain0".into(),
            group_id: "group0".into(),
            consensus_type: "pbft".into(),
            block_tx_count_limit: 1000,
            leader_period: 1,
            compatibility_version: "3.16.4".into(),
            gas_limit: 3_000_000_000,
            is_wasm: false,
            is_auth_check: false,
            auth_admin_account: String::new(),
            is_serial_execute: true,
            epoch_sealer_num: 4,
            epoch_block_num: 1000,
            features: None,
            sealers,
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            genesis,
            term_weights: BTreeMap::new(),
            web3_chain_id: 20200,
            executor_version: 1,
            alloc: Vec::new(),
            threads,
        }
    }

    /// The suite the chain is founded with.
    pub fn suite(&self) -> SuiteKind {
        if self.genesis.sm_crypto { SuiteKind::Sm } else { SuiteKind::International }
    }
}
