//! The leader's draw at 0x1003, and verifiable random numbers at 0x100a.

use konsort_crypto::{SuiteKey, vrf};

use super::*;
use crate::rotation::{Draw, METHOD};

/// A group whose first two nodes work and whose other three wait.
struct Group {
    chain: Chain,
    keys: Vec<SuiteKey>,
}

impl Group {
    fn new(kind: SuiteKind) -> Self {
        let keys: Vec<SuiteKey> = (0..5).map(|_| SuiteKey::generate(kind)).collect();
        let node = |(index, key): (usize, &SuiteKey)| ConsensusNode {
            node_id: hex::encode(key.public_key()),
            kind: if index < 2 { NodeKind::Sealer } else { NodeKind::Candidate },
            weight: 1,
            term_weight: 0,
            enable_number: 0,
        };
        let mut group = Self { chain: Chain::new(kind), keys };
        let nodes = ConsensusNodes(group.keys.iter().enumerate().map(node).collect());
        group.chain.world.set(StateKey::row(CONSENSUS_TABLE, CONSENSUS_NODES_KEY.to_vec()), nodes.encode());
        for (key, value) in
            [("feature_rpbft", "1"), ("feature_rpbft_epoch_sealer_num", "2"), ("feature_rpbft_epoch_block_num", "5")]
        {
            group.set(key, value, 0);
        }
        group
    }

    fn set(&mut self, key: &str, value: &str, enable_number: u64) {
        let value = SystemValue { value: value.into(), enable_number };
        self.chain.world.set(StateKey::row(SYSTEM_CONFIG_TABLE, key.as_bytes().to_vec()), value.encode());
    }

    fn nodes(&self) -> Vec<ConsensusNode> {
        let row = self.chain.world.get(&StateKey::row(CONSENSUS_TABLE, CONSENSUS_NODES_KEY.to_vec()));
        ConsensusNodes::decode(&row.unwrap()).unwrap().0
    }

    fn working(&self) -> Vec<String> {
        self.nodes().into_iter().filter(|node| node.kind == NodeKind::Sealer).map(|node| node.node_id).collect()
    }

    /// What the key's owner sends in block `number`; true when anything but its account changed.
    fn rotate(&mut self, number: u64, owner: usize, draw: &Draw) -> (TxOutcome, bool) {
        let tx = TxInput {
            web3: false,
            sender: self.keys[owner].address().into(),
            to: Some(at(0x1003)),
            input: draw.call(self.chain.executor.suite()),
            value: U256::ZERO,
            nonce: 0,
            abi: String::new(),
        };
        let before = self.nodes();
        let outcome = self.chain.world.apply(&self.chain.executor, number, &tx, 0);
        (outcome, self.nodes() != before)
    }

    fn refused(&mut self, number: u64, owner: usize, draw: &Draw) -> String {
        let (outcome, changed) = self.rotate(number, owner, draw);
        assert!(outcome.status == bcos_types::status::PRECOMPILED_ERROR && !changed);
        <(Text,)>::abi_decode_params(&outcome.output[4..]).unwrap().0
    }
}

#[test]
fn a_working_sealer_s_draw_changes_the_committee_when_it_is_due() {
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let mut group = Group::new(kind);
        let sealer = |group: &Group| {
            let working = group.working();
            group.keys.iter().position(|key| working.contains(&hex::encode(key.public_key()))).unwrap()
        };
        let before = group.working();
        let draw = |group: &Group, owner: usize, number| Draw::new(&group.keys[owner], number);
        // Not due: nothing happens, and nothing is refused.
        let own = draw(&group, 0, 4);
        let (outcome, changed) = group.rotate(4, 0, &own);
        assert!(outcome.status == 0 && !changed);
        // Due: of a candidate, for another block, with another's proof.
        let (stranger, early, own) = (draw(&group, 3, 5), draw(&group, 0, 4), draw(&group, 0, 5));
        assert_eq!(group.refused(5, 3, &stranger), "ConsensusPrecompiled call undefined function!");
        assert_eq!(group.refused(5, 0, &early), "Invalid VRFInput, must be the parentHash!");
        let forged = Draw { proof: early.proof, ..own.clone() };
        assert_eq!(group.refused(5, 0, &forged), "Verify VRF proof failed!");
        // Where gas has its price, a sealer without an account pays nothing for its turn; another call is paid for.
        group.chain.world.gas_price = U256::from(10);
        let (outcome, changed) = group.rotate(4, 0, &draw(&group, 0, 4));
        assert!(outcome.status == bcos_types::status::NOT_ENOUGH_CASH && !changed);
        let (outcome, changed) = group.rotate(5, 0, &own);
        assert!(outcome.status == 0 && changed, "{outcome:?}");
        group.chain.world.gas_price = U256::ZERO;
        let now = group.working();
        assert_eq!((now.len(), now.iter().filter(|id| !before.contains(id)).count()), (2, 1));
        assert!(group.nodes().iter().all(|node| [0, 6].contains(&node.enable_number)));
        // A second one in the same block does nothing.
        let (outcome, changed) = group.rotate(5, 1, &draw(&group, 1, 5));
        assert!(outcome.status == 0 && !changed);
        // New sizes count from the block after their own.
        group.set("feature_rpbft_epoch_sealer_num", "4", 7);
        let owner = sealer(&group);
        let own = draw(&group, owner, 7);
        assert!(group.rotate(7, owner, &own).1);
        assert_eq!(group.working().len(), 4);
        // Without the feature there is no such method.
        group.set("feature_rpbft", "0", 0);
        let own = draw(&group, owner, 10);
        assert_eq!(group.refused(10, owner, &own), "ConsensusPrecompiled call undefined function!");
    }
}

#[test]
fn arguments_of_a_draw_that_cannot_be_read_are_refused() {
    let mut group = Group::new(SuiteKind::International);
    for arguments in [&[][..], &[0xff; 96], &[0; 31]] {
        assert_eq!(group.chain.refusal(at(0x1003), METHOD, arguments), "InternalPrecompiledFailed");
    }
}

#[test]
fn verifiable_random_numbers_are_checked() {
    type Arguments = (sol::Bytes, sol::Bytes, sol::Bytes);
    const SIGNATURE: &str = "curve25519VRFVerify(bytes,bytes,bytes)";
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let mut chain = Chain::new(kind);
        let (secret, message) = (b"secret", b"abcd");
        let (key, proof) = (vrf::public_key(secret), vrf::prove(secret, message));
        let mut answer = |message: &[u8], key: &[u8], proof: &[u8]| {
            let arguments = Arguments::abi_encode_params(&(message.to_vec(), key.to_vec(), proof.to_vec()));
            let outcome = chain.send(at(0x100a), SIGNATURE, &arguments);
            assert_eq!(outcome.status, 0);
            <(sol::Bool, Number)>::abi_decode_params(&outcome.output).unwrap()
        };
        let number = U256::from_be_bytes(vrf::output(&proof).unwrap());
        assert_eq!(answer(message, &key, &proof), (true, number));
        for (message, key, proof) in [
            (&b"abc^5%@@bc$"[..], &key[..], &proof[..]),
            (message, b"mismatchVRFPublicKey", &proof),
            (message, &key, &proof[..95]),
            (message, &key, &[]),
        ] {
            assert_eq!(answer(message, key, proof), (false, U256::ZERO));
        }
        // Upstream answers rather than refuses when the arguments cannot be read.
        let outcome = chain.send(at(0x100a), SIGNATURE, &[7; 40]);
        assert_eq!((outcome.status, U256::from_be_slice(&outcome.output[..32])), (0, U256::ZERO));
    }
}
