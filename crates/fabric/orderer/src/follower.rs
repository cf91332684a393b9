//! A channel this node does not order: its blocks are fetched until the node is one of the consenters.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fabric_channel::config::Bundle;
use fabric_channel::protoutil::{self, Signer};
use fabric_proto::common::Block;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::channel::{Channel, check_bundle};
use crate::consenter::{Activity, Relation};
use crate::error::ChannelError;
use crate::pull::Puller;
use crate::raft::{RaftNode, is_member};

/// Fetches one channel's blocks.
pub(crate) struct Follower {
    name: String,
    folder: PathBuf,
    channel: Mutex<Option<Arc<Channel>>>,
    /// The block the channel was joined with, until the ledger has reached it.
    join_block: Option<Block>,
    signer: Arc<dyn Signer>,
    node: RaftNode,
    member: AtomicBool,
    height: AtomicU64,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("name", &self.name).field("height", &self.height).finish_non_exhaustive()
    }
}

impl Follower {
    pub(crate) fn new(
        name: &str,
        folder: PathBuf,
        channel: Option<Arc<Channel>>,
        join_block: Option<Block>,
        signer: Arc<dyn Signer>,
        node: RaftNode,
    ) -> Result<Self, ChannelError> {
        let member = match &join_block {
            Some(block) => {
                node.cluster.trust(&Bundle::from_config_block(block)?);
                is_member(block, &node.certificate)?
            }
            None => false,
        };
        let height = channel.as_ref().map_or(0, |c| c.blocks().height());
        Ok(Self {
            name: name.to_owned(),
            folder,
            channel: Mutex::new(channel),
            join_block,
            signer,
            node,
            member: AtomicBool::new(member),
            height: AtomicU64::new(height),
            task: Mutex::new(None),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn set_task(&self, task: JoinHandle<()>) {
        *self.task.lock() = Some(task);
    }

    pub(crate) fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    pub(crate) fn height(&self) -> u64 {
        self.height.load(Ordering::Acquire)
    }

    pub(crate) fn report(&self) -> (Relation, Activity) {
        let relation = if self.member.load(Ordering::Acquire) { Relation::Consenter } else { Relation::Follower };
        let joined_at = self.join_block.as_ref().and_then(|b| b.header.as_ref()).map(|h| h.number);
        let behind = joined_at.is_some_and(|number| self.height() <= number);
        (relation, if behind { Activity::Onboarding } else { Activity::Active })
    }

    /// Fetches until the last configuration makes this node a consenter; then it returns.
    pub(crate) async fn run(&self) {
        loop {
            match self.follow().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(channel = self.name, "cannot follow the channel: {error}");
                    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                }
            }
        }
    }

    async fn follow(&self) -> Result<(), ChannelError> {
        let target = self.join_block.as_ref().and_then(|b| b.header.clone());
        let present = self.channel.lock().clone();
        let channel = match present {
            Some(channel) => channel,
            None => self.first().await?,
        };
        let mut puller = Puller::new(channel.clone(), self.node.clone());
        loop {
            let number = channel.blocks().height();
            let block = puller.next(number).await;
            let header = block.header.clone().unwrap_or_default();
            // The administrator vouched for the join block: the chain must run through it.
            if let Some(target) = target.as_ref().filter(|t| t.number == number)
                && protoutil::header_hash(target) != protoutil::header_hash(&header)
            {
                return Err(ChannelError::unusable(format!(
                    "block [{number}] of the other orderers is not the block the channel was joined with"
                )));
            }
            let config = protoutil::is_config_block(&block);
            if config {
                let bundle = Bundle::from_config_block(&block)?;
                check_bundle(&bundle)?;
                self.node.cluster.trust(&bundle);
                channel.set_bundle(bundle);
            }
            channel.append(&block)?;
            self.height.store(number + 1, Ordering::Release);
            let reached = target.as_ref().is_none_or(|t| number >= t.number);
            if config {
                self.member.store(is_member(&block, &self.node.certificate)?, Ordering::Release);
            }
            if config && reached && self.member.load(Ordering::Acquire) {
                channel.blocks().sync()?;
                tracing::info!(channel = self.name, "this node is a consenter as of block [{number}]");
                *self.channel.lock() = None;
                return Ok(());
            }
        }
    }

    /// Fetches the channel's first block, which nothing but the join block's chain can vouch for.
    async fn first(&self) -> Result<Arc<Channel>, ChannelError> {
        let Some(join_block) = &self.join_block else {
            return Err(ChannelError::unusable("its ledger is empty and it has no join block"));
        };
        let block = crate::pull::genesis(&self.name, join_block, &*self.signer, &self.node).await?;
        let channel = Arc::new(Channel::open(&self.folder, Some(&block), self.signer.clone(), true)?);
        if channel.id() != self.name {
            return Err(ChannelError::unusable(format!(
                "the other orderers' first block is of channel {}",
                channel.id()
            )));
        }
        self.height.store(channel.blocks().height(), Ordering::Release);
        *self.channel.lock() = Some(channel.clone());
        Ok(channel)
    }
}
