//! What a leader does with submissions: checks that are left, batches, blocks, proposals.

use super::super::{Change, Declined};
use super::Worker;
use crate::writer;
use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_proto::common::Envelope;
use konsort_raft::{Input, Role};
use prost::Message as _;
use std::time::Instant;

impl Worker {
    pub(super) fn take(&mut self, submission: super::super::Submission) -> Result<(), Declined> {
        let node = self.replica.node();
        if node.role() != Role::Leader {
            let leader = if node.role() == Role::Follower { node.leader_id().unwrap_or(0) } else { 0 };
            return Err(Declined::Leader(leader));
        }
        let sequence = self.channel.bundle().sequence();
        let stale = submission.config_sequence < sequence;
        if submission.is_config {
            let check = |now: &Bundle, next: &Bundle| {
                let members = self.shared.members.lock().clone();
                let active = self.shared.active.lock().clone();
                super::super::settings::check_update(now, next, &members, &active)
            };
            let envelope = if stale {
                let again = self.channel.process_config(&submission.envelope, &check);
                again.map_err(|e| Declined::Invalid(format!("bad config message: {e}")))?.0
            } else {
                submission.envelope
            };
            if self.concerns_this_node(&envelope)
                && let Some(successor) = self.replica.node().best_successor()
            {
                tracing::info!(
                    channel = self.channel.id(),
                    "a configuration update replaces this leader, handing over to node {successor}"
                );
                self.step(Input::TransferLeader(successor));
                return Err(Declined::HandOver);
            }
            self.cut_batch();
            self.propose(vec![envelope]);
            self.config_in_flight = true;
            return Ok(());
        }
        if stale {
            self.channel
                .process_normal(&submission.envelope)
                .map_err(|e| Declined::Invalid(format!("bad normal message: {e}")))?;
        }
        let bundle = self.channel.bundle();
        let Some(orderer) = bundle.orderer() else {
            return Err(Declined::Invalid("the channel has no orderer configuration".to_owned()));
        };
        let began = *self.batch_began.get_or_insert_with(Instant::now);
        let cut = self.cutter.ordered(submission.envelope, &orderer.batch_size);
        for batch in cut.batches {
            self.node.metrics.block_fill_duration.with(&[self.channel.id()]).observe_since(began);
            self.batch_began = cut.pending.then(Instant::now);
            self.propose(batch);
        }
        if !cut.pending {
            self.batch_began = None;
        }
        Ok(())
    }

    /// Whether a configuration transaction removes this node or replaces its certificates.
    pub(super) fn concerns_this_node(&self, transaction: &Envelope) -> bool {
        let members = self.shared.members.lock().clone();
        let next = Bundle::from_envelope(transaction).ok().and_then(|b| super::super::metadata_of(&b).ok());
        let change = next.and_then(|settings| Change::between(&members, &settings.consenters).ok());
        change.is_some_and(|c| c.rotated == Some(self.id) || !c.next.consenters.contains_key(&self.id))
    }

    pub(super) fn cut_batch(&mut self) {
        let batch = self.cutter.cut();
        if let Some(began) = self.batch_began.take() {
            self.node.metrics.block_fill_duration.with(&[self.channel.id()]).observe_since(began);
        }
        if !batch.is_empty() {
            self.propose(batch);
        }
    }

    pub(super) fn propose(&mut self, batch: Vec<Envelope>) {
        let Some((number, hash)) = self.made.clone() else { return };
        let data = batch.into_iter().map(|envelope| envelope.encode_to_vec().into()).collect();
        let block = writer::next_block(number + 1, hash, data);
        let header = block.header.clone().unwrap_or_default();
        self.made = Some((number + 1, Bytes::copy_from_slice(&protoutil::header_hash(&header))));
        self.in_flight += 1;
        tracing::info!(
            channel = self.channel.id(),
            node = self.id,
            "Created block [{}], there are {} blocks in flight",
            number + 1,
            self.in_flight - 1
        );
        self.step(Input::Propose(vec![block.encode_to_vec().into()]));
    }
}
