//! Committees in one thread, with hosts that answer at once.

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::B256;
use bcos_consensus::{
    Consensus, Effect, HeaderSignature, Input, Keys, Member, NodeId, NodeKeys, Pbft, PbftConfig, Raft, RaftConfig,
    RecordKey, Sealed, Settings, Verdict,
};
use bytes::Bytes;
use konsort_crypto::{SuiteKey, SuiteKind, suite};

fn keccak(data: &[u8]) -> [u8; 32] {
    suite(SuiteKind::International).hash(data)
}

struct Cluster {
    ids: Vec<NodeId>,
    settings: Settings,
    nodes: Vec<Option<Box<dyn Consensus>>>,
    queue: VecDeque<(usize, Input)>,
    records: Vec<BTreeMap<RecordKey, Bytes>>,
    blocks: Vec<Vec<(B256, Vec<HeaderSignature>)>>,
    views: Vec<u64>,
    blamed: Vec<&'static str>,
    now: u64,
    limit: u64,
    /// Whether every block changes the chain's settings, so that the next one has to wait for it.
    system: bool,
}

impl Cluster {
    fn new(count: usize, kind: SuiteKind, raft: bool) -> Self {
        let keys: Vec<SuiteKey> = (0..count).map(|_| SuiteKey::generate(kind)).collect();
        let ids: Vec<NodeId> = keys.iter().map(|k| NodeId(Bytes::copy_from_slice(k.public_key()))).collect();
        let settings = Settings::new(ids.iter().map(|id| Member { node_id: id.clone(), weight: 1 }).collect());
        let node = |key: SuiteKey| -> Box<dyn Consensus> {
            let keys = Box::new(NodeKeys::new(key));
            if raft {
                Box::new(Raft::new(RaftConfig::new(B256::ZERO), keys, settings.clone(), vec![], []).unwrap())
            } else {
                Box::new(Pbft::new(PbftConfig::new(B256::ZERO), keys, settings.clone(), vec![], []).unwrap())
            }
        };
        let nodes = keys.into_iter().map(|key| Some(node(key))).collect();
        Self {
            queue: (0..count).map(|i| (i, Input::Tick)).collect(),
            nodes,
            records: vec![BTreeMap::new(); count],
            blocks: vec![Vec::new(); count],
            views: vec![0; count],
            blamed: Vec::new(),
            ids,
            settings,
            now: 0,
            limit: 3,
            system: false,
        }
    }

    /// Until nothing is left to do at this time.
    fn run(&mut self) {
        while let Some((id, input)) = self.queue.pop_front() {
            let Some(node) = self.nodes[id].as_mut() else { continue };
            let mut effects = Vec::new();
            node.step(self.now, input, &mut effects);
            for effect in effects {
                self.effect(id, effect);
            }
        }
    }

    fn effect(&mut self, id: usize, effect: Effect) {
        let from = self.ids[id].clone();
        match effect {
            Effect::Persist { key, value: Some(value) } => drop(self.records[id].insert(key, value)),
            Effect::Persist { key, value: None } => drop(self.records[id].remove(&key)),
            Effect::Send { to, bytes } => {
                let to = self.ids.iter().position(|i| *i == to).unwrap();
                self.queue.push_back((to, Input::Message { from, bytes }));
            }
            Effect::Broadcast { bytes } => {
                for to in (0..self.ids.len()).filter(|to| *to != id) {
                    self.queue.push_back((to, Input::Message { from: from.clone(), bytes: bytes.clone() }));
                }
            }
            Effect::WantProposal { number, view } => {
                if number <= self.limit {
                    let transactions = vec![B256::from(keccak(&number.to_be_bytes()))];
                    let sealed = Sealed { number, view, timestamp_ms: self.now, system: self.system, transactions };
                    self.queue.push_back((id, Input::Sealed(sealed)));
                }
            }
            Effect::Verify { proposal, digest, .. } => {
                let verdict = Verdict::Valid;
                self.queue.push_back((id, Input::Verified { number: proposal.number, digest, verdict }));
            }
            Effect::Execute { proposal, digest } => {
                let header_hash = B256::from(keccak(digest.as_slice()));
                self.queue.push_back((id, Input::Executed { number: proposal.number, header_hash }));
            }
            Effect::Commit { number, header_hash, signatures } => {
                self.blocks[id].push((header_hash, signatures));
                assert_eq!(self.blocks[id].len() as u64, number);
                self.queue.push_back((id, Input::Committed { number, next: self.settings.clone() }));
            }
            Effect::View { view, .. } => self.views[id] = view,
            Effect::Misbehaviour { what, .. } => self.blamed.push(what),
            Effect::Diverged { .. } => panic!("node {id} diverged"),
            Effect::Abandon { .. } | Effect::Timer { .. } | Effect::CatchUp { .. } => {}
        }
    }

    fn check(&self, living: std::ops::Range<usize>, kind: SuiteKind, raft: bool) {
        let keys = NodeKeys::new(SuiteKey::generate(kind));
        for id in living.clone() {
            assert_eq!(self.blocks[id].len() as u64, self.limit, "node {id}");
            for ((hash, signatures), (other, _)) in self.blocks[id].iter().zip(&self.blocks[living.start]) {
                assert_eq!(hash, other);
                assert!(self.settings.is_final(&keys, raft, hash, signatures));
                // A list that is one short, or has one twice, is not enough.
                let needed = if raft { self.settings.majority() } else { self.settings.quorum() } as usize;
                assert!(!self.settings.is_final(&keys, raft, hash, &signatures[..needed - 1]));
                let twice = vec![signatures[0].clone(); needed];
                assert!(needed == 1 || !self.settings.is_final(&keys, raft, hash, &twice));
            }
        }
    }
}

#[test]
fn four_members_agree_with_the_keys_of_either_suite() {
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let mut cluster = Cluster::new(4, kind, false);
        cluster.run();
        cluster.check(0..4, kind, false);
        assert_eq!((cluster.views, cluster.blamed), (vec![0; 4], vec![]));
        // What was final is not kept.
        assert!(cluster.records.iter().all(BTreeMap::is_empty));
    }
}

#[test]
fn one_member_agrees_with_itself() {
    let mut cluster = Cluster::new(1, SuiteKind::International, false);
    cluster.run();
    cluster.check(0..1, SuiteKind::International, false);
}

#[test]
fn a_dead_leader_is_replaced_at_once_when_the_network_says_so_and_after_the_time_out_otherwise() {
    for told in [true, false] {
        // Block 3 is node 3's in view 0.
        let mut cluster = Cluster::new(4, SuiteKind::International, false);
        cluster.nodes[3] = None;
        for id in 0..3 {
            cluster.queue.push_back((id, Input::Work { pending: true }));
            if told {
                cluster.queue.push_back((id, Input::Reachable { node: cluster.ids[3].clone(), reachable: false }));
            }
        }
        cluster.run();
        let patience = if told { 0 } else { 3000 };
        if !told {
            assert!(cluster.blocks.iter().all(|b| b.len() <= 2));
        }
        while cluster.now < patience + 2900 && cluster.blocks[..3].iter().any(|b| b.len() < 3) {
            assert!(told || cluster.now >= patience || cluster.views == [0; 4]);
            cluster.now += 100;
            cluster.queue.extend((0..3).map(|id| (id, Input::Tick)));
            cluster.run();
        }
        cluster.check(0..3, SuiteKind::International, false);
        assert!(cluster.views[..3].iter().all(|view| *view > 0), "{:?}", cluster.views);
    }
}

#[test]
fn nonsense_is_refused_and_named() {
    let mut cluster = Cluster::new(4, SuiteKind::International, false);
    let from = cluster.ids[1].clone();
    for bytes in [&b""[..], b"\x01", b"\x07nonsense", &[1; 300]] {
        let bytes = Bytes::copy_from_slice(bytes);
        cluster.queue.push_back((0, Input::Message { from: from.clone(), bytes }));
    }
    cluster.run();
    cluster.check(0..4, SuiteKind::International, false);
    assert_eq!(cluster.blamed, ["a malformed message"; 4]);
}

#[test]
fn a_damaged_record_is_refused_by_name() {
    let key = SuiteKey::generate(SuiteKind::International);
    let member = Member { node_id: NodeKeys::new(key.clone()).me().clone(), weight: 1 };
    let settings = Settings::new(vec![member]);
    let records = [(RecordKey::Voted(3), Bytes::from_static(b"short"))];
    let keys = Box::new(NodeKeys::new(key));
    let error = Pbft::new(PbftConfig::new(B256::ZERO), keys, settings, vec![], records).unwrap_err();
    assert!(error.to_string().starts_with("consensus record Voted(3) is damaged"), "{error}");
}

#[test]
fn members_under_raft_elect_a_leader_and_sign_what_it_orders() {
    let mut cluster = Cluster::new(3, SuiteKind::International, true);
    cluster.nodes[2] = None;
    // Elections are drawn by lot, and with fresh keys a few may end without a winner.
    for _ in 0..1200 {
        cluster.now += 100;
        cluster.queue.extend((0..2).map(|id| (id, Input::Tick)));
        cluster.run();
        if cluster.blocks[..2].iter().all(|blocks| blocks.len() as u64 == cluster.limit) {
            break;
        }
    }
    cluster.check(0..2, SuiteKind::International, true);
    assert!(cluster.records[0].contains_key(&RecordKey::Term));
}

#[test]
fn a_member_alone_under_raft_goes_on_after_a_change_of_settings() {
    let mut cluster = Cluster::new(1, SuiteKind::International, true);
    cluster.system = true;
    for _ in 0..100 {
        cluster.now += 100;
        cluster.queue.push_back((0, Input::Tick));
        cluster.run();
    }
    assert_eq!(cluster.blocks[0].len(), 3);
}
