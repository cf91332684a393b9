//! One channel: its blocks, its configuration, and what it lets in.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil::{self, Signer};
use fabric_ledger::BlockStore;
use fabric_proto::common::{Block, Envelope, HeaderType};
use fabric_proto::orderer::consensus_type::State;
use parking_lot::RwLock;
use prost::Message as _;
use tokio::sync::watch;

use crate::error::ChannelError;
use crate::filters::{self, Rejection};

/// What broadcast, deliver and the consenter of one channel share.
pub struct Channel {
    id: String,
    blocks: BlockStore,
    bundle: RwLock<Bundle>,
    height: watch::Sender<u64>,
    signer: Arc<dyn Signer>,
    check_expiration: bool,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("id", &self.id).field("height", &*self.height.borrow()).finish_non_exhaustive()
    }
}

pub(crate) fn decode_block(bytes: Bytes) -> Result<Block, ChannelError> {
    Ok(protoutil::decode("Block", &bytes)?)
}

/// Reads a block that must be there.
pub(crate) fn stored_block(blocks: &BlockStore, number: u64) -> Result<Block, ChannelError> {
    let bytes = blocks
        .block(number)?
        .ok_or_else(|| ChannelError::unusable(format!("block {number} is missing from its ledger")))?;
    decode_block(bytes)
}

/// The newest configuration block of a ledger that is not empty.
pub(crate) fn last_config_block(blocks: &BlockStore) -> Result<Block, ChannelError> {
    let last = stored_block(blocks, blocks.height().saturating_sub(1))?;
    let number = last.header.as_ref().map_or(0, |h| h.number);
    if number == 0 || protoutil::is_config_block(&last) {
        return Ok(last);
    }
    stored_block(blocks, protoutil::last_config_index(&last)?)
}

impl Channel {
    /// Opens the channel whose blocks are in `folder`; `first` is its first block when the folder is still empty.
    pub fn open(
        folder: &Path,
        first: Option<&Block>,
        signer: Arc<dyn Signer>,
        check_expiration: bool,
    ) -> Result<Self, ChannelError> {
        let blocks = BlockStore::open(folder)?;
        if blocks.height() == 0 {
            let Some(first) = first else { return Err(ChannelError::unusable("its ledger is empty")) };
            blocks.append(first)?;
            blocks.sync()?;
        }
        let bundle = Bundle::from_config_block(&last_config_block(&blocks)?)?;
        check_bundle(&bundle)?;
        let (height, _) = watch::channel(blocks.height());
        Ok(Self {
            id: bundle.channel_id().to_owned(),
            blocks,
            bundle: RwLock::new(bundle),
            height,
            signer,
            check_expiration,
        })
    }

    /// The channel's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its blocks.
    pub fn blocks(&self) -> &BlockStore {
        &self.blocks
    }

    /// Its present configuration.
    pub fn bundle(&self) -> Bundle {
        self.bundle.read().clone()
    }

    /// Follows the number of blocks.
    pub fn height_watch(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// The orderer's own identity.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    pub(crate) fn set_bundle(&self, bundle: Bundle) {
        *self.bundle.write() = bundle;
    }

    /// Writes a complete block and tells whoever waits for it.
    pub(crate) fn append(&self, block: &Block) -> Result<(), ChannelError> {
        self.blocks.append(block)?;
        self.height.send_replace(self.blocks.height());
        Ok(())
    }

    /// Lets a normal transaction in; the configuration sequence it was checked at.
    pub fn process_normal(&self, envelope: &Envelope) -> Result<u64, Rejection> {
        let bundle = self.bundle();
        let orderer = filters::orderer(&bundle)?;
        if orderer.capabilities.consensus_type_migration() && orderer.state != State::Normal {
            return Err(Rejection::Maintenance("normal transactions are rejected".to_owned()));
        }
        filters::apply(envelope, &bundle, self.check_expiration)?;
        Ok(bundle.sequence())
    }

    /// Turns a configuration update into the configuration transaction to order.
    pub fn process_config_update(
        &self,
        envelope: &Envelope,
        consenter_check: filters::ConsenterCheck<'_>,
    ) -> Result<(Envelope, u64), Rejection> {
        let bundle = self.bundle();
        let initial = |error: Rejection| error.within("config update for existing channel did not pass initial checks");
        filters::apply(envelope, &bundle, self.check_expiration).map_err(initial)?;
        let applying = |error: String| {
            Rejection::Refused(format!("error applying config update to existing channel '{}': {error}", self.id))
        };
        let proposed = bundle.propose_update(envelope).map_err(|e| applying(e.to_string()))?;
        let config = proposed.config.clone().ok_or_else(|| applying("it has no configuration".to_owned()))?;
        let next = Bundle::from_config(&self.id, config).map_err(|e| applying(e.to_string()))?;
        check_bundle(&next).map_err(|e| applying(format!("config update is not compatible: {e}")))?;
        bundle.validate_new(&next).map_err(|e| applying(e.to_string()))?;
        consenter_check(&bundle, &next)
            .map_err(|e| applying(format!("consensus metadata update for channel config update is invalid: {e}")))?;
        let transaction = protoutil::signed_envelope(
            HeaderType::Config,
            &self.id,
            Some(self.signer()),
            proposed.encode_to_vec().into(),
            None,
        );
        let last = |error: Rejection| error.within("config update for existing channel did not pass final checks");
        filters::apply(&transaction, &bundle, self.check_expiration).map_err(last)?;
        filters::maintenance(&proposed, &bundle, &next).map_err(|e| {
            e.within("config transaction inspection failed")
                .within("config update for existing channel did not pass maintenance checks")
        })?;
        Ok((transaction, bundle.sequence()))
    }

    /// Checks a configuration transaction again that was made from an older configuration.
    pub fn process_config(
        &self,
        envelope: &Envelope,
        consenter_check: filters::ConsenterCheck<'_>,
    ) -> Result<(Envelope, u64), Rejection> {
        let update =
            protoutil::config_envelope(envelope)
                .map_err(|e| Rejection::Refused(e.to_string()))?
                .last_update
                .ok_or_else(|| Rejection::Refused("the configuration transaction has no last update".to_owned()))?;
        self.process_config_update(&update, consenter_check)
    }
}

/// Refuses configurations this orderer must not run with.
pub(crate) fn check_bundle(bundle: &Bundle) -> Result<(), ChannelError> {
    bundle.check_orderer_capabilities()?;
    if bundle.orderer().is_none() {
        return Err(ChannelError::unusable("config does not contain orderer config"));
    }
    Ok(())
}
