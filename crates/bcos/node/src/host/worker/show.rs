//! What a worker shows: metrics and the status services answer with.

use konsort_node::Metrics;
use konsort_node::metrics::{Counter, Gauge};

use super::Worker;
use crate::api::{ConsensusMember, ConsensusStatus};

#[derive(Debug)]
pub(super) struct Gauges {
    height: Gauge,
    view: Gauge,
    pool: Gauge,
    leader: Gauge,
    pub(super) view_changes: Counter,
    pub(super) misbehaviour: Counter,
}

impl Gauges {
    pub(super) fn new(metrics: &Metrics, group: &str) -> Self {
        let gauge = |name: &str, help: &str| metrics.gauge(name, help, &["group"]).with(&[group]);
        let counter = |name: &str, help: &str| metrics.counter(name, help, &["group"]).with(&[group]);
        Self {
            height: gauge("bcos_block_number", "Number of the last committed block."),
            view: gauge("bcos_pbft_view", "The view of consensus."),
            pool: gauge("bcos_txpool_pending", "Transactions in the pool."),
            leader: gauge("bcos_pbft_is_leader", "1 while this node proposes the next block."),
            view_changes: counter("bcos_pbft_view_changes", "View changes this node took part in."),
            misbehaviour: counter("bcos_pbft_misbehaviour", "Messages only a faulty node sends."),
        }
    }
}

impl Worker {
    pub(super) fn show(&self) {
        let status = self.parts.consensus.status();
        self.gauges.height.set(status.number as f64);
        self.gauges.view.set(status.view as f64);
        self.gauges.pool.set(self.parts.pool.len() as f64);
        self.gauges.leader.set(if status.index == Some(status.leader) { 1.0 } else { 0.0 });
        self.parts.status.send_if_modified(|shown| {
            let same = shown.block_number == status.number
                && shown.view == status.view
                && shown.timeout != status.entered
                && shown.leader_index == status.leader
                && shown.index == status.index
                && shown.connected == self.connected()
                && !shown.node_id.is_empty();
            if !same {
                *shown = ConsensusStatus {
                    node_id: status.node.to_hex(),
                    index: status.index,
                    leader_index: status.leader,
                    max_faulty_quorum: status.max_faulty,
                    min_required_quorum: status.quorum,
                    block_number: status.number,
                    hash: hex::encode(status.header_hash),
                    timeout: !status.entered,
                    change_cycle: status.change_cycle,
                    view: status.view,
                    connected: self.connected(),
                    nodes: self.members(),
                };
            }
            !same
        });
    }

    fn connected(&self) -> u64 {
        let me = self.parts.consensus.status().node;
        let members = &self.parts.consensus.settings().members;
        members.iter().filter(|m| m.node_id == me || self.reachable.contains(&m.node_id)).count() as u64
    }

    fn members(&self) -> Vec<ConsensusMember> {
        let members = &self.parts.consensus.settings().members;
        let member = |(index, member): (usize, &bcos_consensus::Member)| ConsensusMember {
            node_id: member.node_id.to_hex(),
            weight: member.weight,
            term_weight: self.parts.ledger.term_weight(&member.node_id),
            index: index as u64,
        };
        members.iter().enumerate().map(member).collect()
    }
}
