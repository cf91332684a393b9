//! What happens once the log has an entry: blocks are written, configurations adopted, snapshots caught up.

use super::super::settings::Timing;
use super::super::{Change, Members};
use super::{KEPT_ENTRIES, Worker};
use crate::channel::decode_block;
use crate::consenter::Activity;
use crate::error::ChannelError;
use crate::writer;
use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_proto::common::Block;
use konsort_raft::{ConfChange, ConfChangeType, Entry, Input};
use prost::Message as _;

impl Worker {
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), ChannelError> {
        if let Some(change) = entry.conf_change() {
            self.applied_change(&change);
            return Ok(());
        }
        if entry.data.is_empty() {
            return Ok(());
        }
        self.bytes_since_snapshot += entry.data.len() as u64;
        let block = decode_block(entry.data.clone())?;
        let number = block.header.as_ref().map_or(0, |h| h.number);
        if number > self.tip.0 + 1 {
            return Err(ChannelError::unusable(format!("got block [{number}], expect block [{}]", self.tip.0 + 1)));
        }
        if number == self.tip.0 + 1 {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.write(block, entry.index)?;
        }
        if self.bytes_since_snapshot >= self.timing.snapshot_interval {
            self.snapshot(entry, number)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, mut block: Block, index: u64) -> Result<(), ChannelError> {
        let header = block.header.clone().unwrap_or_default();
        let number = header.number;
        let mut metadata = self.shared.members.lock().metadata.clone();
        let mut change = None;
        let mut bundle = None;
        if protoutil::is_config_block(&block) {
            let next = Bundle::from_config_block(&block)?;
            let settings = super::super::metadata_of(&next)?;
            let members = self.shared.members.lock().clone();
            let found = Change::between(&members, &settings.consenters).map_err(ChannelError::Unusable)?;
            metadata = found.next.metadata.clone();
            self.timing.snapshot_interval = Timing::new(&settings)?.snapshot_interval;
            self.last_config = number;
            self.config_in_flight = false;
            change = Some(found);
            bundle = Some(next);
        }
        metadata.raft_index = index;
        if let Some(bundle) = bundle {
            crate::channel::check_bundle(&bundle)?;
            self.node.cluster.trust(&bundle);
            self.channel.set_bundle(bundle);
        }
        writer::complete(&mut block, self.last_config, metadata.encode_to_vec().into(), self.channel.signer());
        tracing::info!(
            channel = self.channel.id(),
            node = self.id,
            "Writing block [{number}] (Raft index: {index}) to ledger"
        );
        self.store(&block)?;
        self.tip = (number, Bytes::copy_from_slice(&protoutil::header_hash(&header)));
        match change {
            None => self.shared.members.lock().metadata = metadata,
            Some(change) => {
                let changed = change.changed();
                let conf_change = change.raft;
                *self.shared.members.lock() = Members { metadata, consenters: change.next.consenters };
                if let Some(conf_change) = conf_change {
                    // Nobody else proposes it: followers' proposals are refused by the node itself.
                    self.config_in_flight = true;
                    self.conf_change = Some(conf_change.clone());
                    if conf_change.change_type == ConfChangeType::AddNode as i32 {
                        self.connect();
                    }
                    self.step(Input::ProposeConfChange(conf_change));
                } else if changed {
                    self.connect();
                }
                // A configuration block is rare and decides who may sync whom: it is made durable at once.
                self.channel.blocks().sync()?;
            }
        }
        Ok(())
    }

    pub(super) fn connect(&self) {
        let members = self.shared.members.lock().clone();
        self.node.cluster.configure(self.channel.id(), self.id, &members.consenters);
        self.node.metrics.cluster_size.with(&[self.channel.id()]).set(members.consenters.len() as f64);
    }

    pub(super) fn applied_change(&mut self, change: &ConfChange) {
        let ours = self
            .conf_change
            .as_ref()
            .is_some_and(|c| c.node_id == change.node_id && c.change_type == change.change_type);
        if ours {
            self.conf_change = None;
            self.config_in_flight = false;
            self.connect();
        }
        let removal = change.change_type == ConfChangeType::RemoveNode as i32;
        if removal && change.node_id == self.id && !self.shared.members.lock().consenters.contains_key(&self.id) {
            tracing::info!(channel = self.channel.id(), "This node is being removed from replica set");
            self.evicted = true;
        }
    }

    pub(super) fn snapshot(&mut self, entry: &Entry, number: u64) -> Result<(), ChannelError> {
        tracing::info!(
            channel = self.channel.id(),
            "Accumulated {} bytes since last snapshot, taking snapshot at block [{number}] (index: {})",
            self.bytes_since_snapshot,
            entry.index
        );
        // The log is what makes blocks durable; it may forget them only when the ledger has them for good.
        self.channel.blocks().sync()?;
        self.bytes_since_snapshot = 0;
        match self.replica.compact(entry.index, entry.data.clone(), KEPT_ENTRIES) {
            Ok(()) => {}
            Err(konsort_raft::ReplicaError::Wal(error)) => return Err(error.into()),
            Err(konsort_raft::ReplicaError::Refused(refusal)) => {
                tracing::warn!(channel = self.channel.id(), "{refusal}");
            }
        }
        self.node.metrics.snapshot_block_number.with(&[self.channel.id()]).set(number as f64);
        Ok(())
    }

    /// Fetches what a snapshot found in the log covers and the ledger lacks.
    pub(super) async fn catch_up_with_log(&mut self) -> Result<(), ChannelError> {
        let snapshot = self.replica.node().snapshot().clone();
        if snapshot.index() > 0 { self.install(&snapshot).await } else { Ok(()) }
    }

    pub(super) async fn install(&mut self, snapshot: &konsort_raft::Snapshot) -> Result<(), ChannelError> {
        let target = decode_block(snapshot.data.clone())?;
        let number = target.header.as_ref().map_or(0, |h| h.number);
        if self.tip.0 >= number {
            return Ok(());
        }
        tracing::info!(
            channel = self.channel.id(),
            "Catching up with snapshot taken at block [{number}], starting from block [{}]",
            self.tip.0 + 1
        );
        self.shared.state.lock().1 = Activity::Onboarding;
        let mut puller = crate::pull::Puller::new(self.channel.clone(), self.node.clone());
        while self.tip.0 < number {
            let block = puller.next(self.tip.0 + 1).await;
            self.adopt(&block)?;
        }
        self.channel.blocks().sync()?;
        self.shared.state.lock().1 = Activity::Active;
        tracing::info!(
            channel = self.channel.id(),
            "Finished syncing with cluster up to and including block [{number}]"
        );
        Ok(())
    }

    /// Writes a block that another orderer completed.
    pub(super) fn adopt(&mut self, block: &Block) -> Result<(), ChannelError> {
        let header = block.header.clone().unwrap_or_default();
        let metadata = protoutil::decode("etcdraft.BlockMetadata", &protoutil::consenter_metadata(block)?.value)?;
        if protoutil::is_config_block(block) {
            let bundle = Bundle::from_config_block(block)?;
            crate::channel::check_bundle(&bundle)?;
            let settings = super::super::metadata_of(&bundle)?;
            let consenters = super::super::consenters_of(&metadata, &settings)?;
            self.node.cluster.trust(&bundle);
            self.channel.set_bundle(bundle);
            self.last_config = header.number;
            *self.shared.members.lock() = Members { metadata, consenters };
            self.connect();
        } else {
            self.shared.members.lock().metadata = metadata;
        }
        self.store(block)?;
        self.tip = (header.number, Bytes::copy_from_slice(&protoutil::header_hash(&header)));
        Ok(())
    }

    /// Writes a complete block and shows it in the figures.
    pub(super) fn store(&self, block: &Block) -> Result<(), ChannelError> {
        let (channel, metrics) = (self.channel.id(), &self.node.metrics);
        let started = std::time::Instant::now();
        self.channel.append(block)?;
        metrics.block_commit_time.with(&[channel]).observe_since(started);
        let height = self.channel.blocks().height();
        metrics.height.with(&[channel]).set(height as f64);
        metrics.committed_block_number.with(&[channel]).set(height.saturating_sub(1) as f64);
        Ok(())
    }
}
