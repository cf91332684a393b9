//! Joining, committing and opening again, with the chain of a real network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_peer::channel::{Channel, Channels};
use fabric_proto::common::Block;
use fabric_proto::protos::TxValidationCode;
use fabric_validation::{KnownSignatures, Pipeline, PipelineOptions};
use konsort_node::Metrics;
use prost::Message as _;

fn block(number: u64) -> Bytes {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../../tests/golden/fabric/blocks/{number:03}.block"));
    std::fs::read(&file).unwrap().into()
}

fn open(folder: &Path, metrics: &Metrics) -> Channels {
    Channels::open(folder, true, Arc::new(KnownSignatures::default()), metrics).unwrap().0
}

pub(crate) fn join(channels: &Channels) -> Channel {
    channels.join(&Block::decode(block(0)).unwrap()).unwrap()
}

/// Commits the chain up to and without `until`.
pub(crate) fn commit(channel: &Channel, until: u64) {
    let target = channel.clone();
    let options = PipelineOptions { collections: channel.collections().clone(), ..PipelineOptions::default() };
    let sink = move |result: Result<fabric_validation::Committed, fabric_validation::ValidationError>| {
        target.committed(&result.unwrap());
    };
    let pipeline = Pipeline::start(channel.ledger().clone(), channel.bundle(), options, sink).unwrap();
    for number in channel.ledger().height()..until {
        pipeline.submit(block(number)).unwrap();
    }
    pipeline.finish();
}

#[test]
fn a_channel_is_joined_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let channels = open(folder.path(), &metrics);
    let refused = channels.join(&Block::decode(block(1)).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("block 1") || refused.contains("configuration"), "{refused}");
    let channel = join(&channels);
    assert_eq!((channel.id(), channel.ledger().height()), ("goldenchannel", 1));
    let twice = channels.join(&Block::decode(block(0)).unwrap()).unwrap_err().to_string();
    assert_eq!(twice, "ledger [goldenchannel] already exists with state [ACTIVE]");
    drop((channel, channels));
    // What a crash in the middle of a join leaves behind.
    let remains = folder.path().join("half");
    std::fs::create_dir_all(remains.join("ledger")).unwrap();
    let channels = open(folder.path(), &metrics);
    assert!(!remains.exists());
    assert_eq!(channels.list().iter().map(|channel| channel.id().to_owned()).collect::<Vec<_>>(), ["goldenchannel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_reach_those_who_wait_and_configurations_take_effect() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let channels = open(folder.path(), &metrics);
    let channel = join(&channels);
    let before = channel.bundle().sequence();
    let mut configs = channel.config_watch();
    let json =
        std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric/blocks.json"))
            .unwrap();
    let text = String::from_utf8(json).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let found = find_transaction(&recorded, 12).expect("block 12 has transactions");
    let waiting = tokio::spawn({
        let channel = channel.clone();
        let txid = found.clone();
        async move { channel.wait_for(&txid).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let committing = channel.clone();
    tokio::task::spawn_blocking(move || commit(&committing, 60)).await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!((status.code, status.block), (TxValidationCode::Valid, 12));
    assert_eq!(channel.status(&found).unwrap(), Some(status));
    assert!(configs.has_changed().unwrap());
    let after = configs.borrow_and_update().sequence();
    assert!(after > before, "{before} {after}");
    assert!(channel.definitions_version() > 0);
    let text = metrics.render();
    assert!(text.contains("ledger_blockchain_height{channel=\"goldenchannel\"} 60"), "{text}");
    let invalid = "validation_code=\"MVCC_READ_CONFLICT\"";
    assert!(text.lines().any(|line| line.starts_with("ledger_transaction_count") && line.contains(invalid)), "{text}");
    drop((channel, channels));
    let reopened = open(folder.path(), &metrics).get("goldenchannel").unwrap();
    assert_eq!((reopened.ledger().height(), reopened.bundle().sequence()), (60, after));
}

/// The id of the first transaction of a block, wherever the record keeps it.
fn find_transaction(recorded: &serde_json::Value, number: u64) -> Option<String> {
    let blocks = recorded.as_array().cloned().or_else(|| recorded.get("blocks")?.as_array().cloned())?;
    let block =
        blocks.into_iter().find(|block| block.get("number").and_then(serde_json::Value::as_u64) == Some(number))?;
    let transactions = block.get("transactions").or_else(|| block.get("txs"))?.as_array()?.clone();
    transactions.first()?.get("txid")?.as_str().map(str::to_owned)
}
