//! Loading the golden data, and the walk through it that the other tests share.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_ledger::{Ledger, Options};
use fabric_proto::common::Block;
use fabric_validation::ChannelCollections;
use prost::Message;
use serde_json::Value;

pub(crate) const CHANNEL: &str = "goldenchannel";
pub(crate) const BLOCKS: u64 = 105;

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric").join(name)
}

pub(crate) fn file(name: &str) -> Bytes {
    Bytes::from(std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}")))
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_slice(&file(name)).unwrap()
}

pub(crate) fn block_bytes(number: u64) -> Bytes {
    file(&format!("blocks/{number:03}.block"))
}

pub(crate) fn block(number: u64) -> Block {
    Block::decode(block_bytes(number)).unwrap()
}

/// The block as an orderer delivers it: without codes and commit hash.
pub(crate) fn as_ordered(number: u64) -> Bytes {
    let mut block = block(number);
    let metadata = block.metadata.as_mut().unwrap();
    metadata.metadata[2] = Bytes::new();
    metadata.metadata[4] = Bytes::new();
    Bytes::from(block.encode_to_vec())
}

pub(crate) struct Chain {
    pub(crate) ledger: Ledger,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) collections: ChannelCollections,
    _folder: tempfile::TempDir,
}

/// A ledger with the genesis block.
pub(crate) fn genesis() -> Chain {
    let folder = tempfile::tempdir().unwrap();
    let genesis = block(0);
    let bundle = Arc::new(Bundle::from_config_block(&genesis).unwrap());
    let collections = ChannelCollections::new(&bundle);
    let options = Options { collections: Arc::new(collections.clone()), ..Options::default() };
    let ledger = Ledger::create(folder.path().join("ledger"), CHANNEL, &genesis, options).unwrap();
    Chain { ledger, bundle, collections, _folder: folder }
}

impl Chain {
    /// Validates and stages one block, serially, and follows the configuration.
    pub(crate) fn stage(&mut self, bytes: &Bytes) -> fabric_validation::Committed {
        self.try_stage(bytes).unwrap()
    }

    pub(crate) fn try_stage(
        &mut self,
        bytes: &Bytes,
    ) -> Result<fabric_validation::Committed, fabric_validation::ValidationError> {
        let mut block = fabric_validation::decode_block(bytes)?;
        fabric_validation::verify_signatures(&mut block, &self.bundle, &fabric_validation::KnownSignatures::default());
        let committed = fabric_validation::pipeline::judge(&self.ledger, block, &self.bundle)?;
        if let Some(bundle) = &committed.new_config {
            self.bundle = bundle.clone();
            self.collections.update(bundle);
        }
        Ok(committed)
    }

    pub(crate) fn verify(&self, bytes: &Bytes, number: u64) {
        let previous = protoutil::header_hash(block(number - 1).header.as_ref().unwrap());
        let decoded = fabric_validation::decode_block(bytes).unwrap();
        fabric_validation::verify_block(&decoded, number, &previous, &self.bundle).unwrap();
    }

    /// The golden chain up to and including block `last`.
    pub(crate) fn up_to(last: u64) -> Self {
        let mut chain = genesis();
        for number in 1..=last {
            chain.stage(&as_ordered(number));
        }
        chain.ledger.flush().unwrap();
        chain
    }
}
