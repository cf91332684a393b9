//! An orderer beside what a stock one answered, delivered and measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_client::tools::{self, Console, Outcome};
use fabric_proto::common::{Block, HeaderType, LastConfig, Metadata, OrdererBlockMetadata, Status};
use fabric_proto::etcdraft::BlockMetadata;
use prost::Message as _;
use serde_json::Value;

use crate::harness::{Keys, Place, Running, genesis, golden, message};

fn recorded(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden().join(format!("cli/{name}.json"))).unwrap()).unwrap()
}

fn place(keys: &Keys, data: &Path) -> Place {
    Place {
        data: data.to_path_buf(),
        tls: keys.orderer("tls"),
        msp: keys.orderer("msp"),
        port: 0,
        extra: String::new(),
    }
}

/// The genesis block of a second channel with the same members.
fn second_channel() -> Block {
    let mut block = genesis();
    let config = protoutil::config_envelope_of_block(&block).unwrap();
    let envelope =
        protoutil::signed_envelope(HeaderType::Config, "tempchannel", None, config.encode_to_vec().into(), None);
    let data = block.data.as_mut().unwrap();
    data.data = vec![envelope.encode_to_vec().into()];
    block.header.as_mut().unwrap().data_hash = Bytes::copy_from_slice(&protoutil::data_hash(&data.data));
    block
}

/// Runs a recorded command against our orderer. Upstream ran in its folder; here every file name becomes absolute instead.
async fn replay(case: &Value, folder: PathBuf, admin: &str) -> (String, String, i32) {
    let argv = case["argv"].as_array().unwrap().iter().skip(1).map(|argument| {
        let argument = argument.as_str().unwrap();
        let file = folder.join(argument);
        if file.exists() { file.display().to_string() } else { argument.replace("127.0.0.1:9443", admin) }
    });
    let argv: Vec<String> = argv.collect();
    let run = move || {
        let (mut stdin, mut stdout, mut stderr) = (&b""[..], Vec::new(), Vec::new());
        let mut console = Console { env: &|_| None, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr };
        let Outcome::Exit(code) = tools::run("osnadmin", &argv, &mut console) else {
            panic!("osnadmin starts no node")
        };
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), code)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn osnadmin_prints_what_it_printed_against_a_stock_orderer() {
    let keys = Keys::new();
    let folder = keys.0.path().to_path_buf();
    std::fs::write(folder.join("genesis.block"), genesis().encode_to_vec()).unwrap();
    std::fs::copy(golden().join("genesis.json"), folder.join("genesis.json")).unwrap();
    std::fs::write(folder.join("tmp.block"), second_channel().encode_to_vec()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let orderer = Running::start(&place(&keys, data.path())).await;
    for name in [
        "021_osnadmin_channel_list_empty",
        "022_osnadmin_channel_join_wrong_name",
        "023_osnadmin_channel_join_not_a_block",
        "024_osnadmin_channel_join",
        "025_osnadmin_channel_join_again",
        "026_osnadmin_channel_list",
        "027_osnadmin_channel_list_one",
        "028_osnadmin_channel_list_missing",
        "029_osnadmin_channel_remove_missing",
        "030_osnadmin_channel_list_no_client_cert",
        "031_osnadmin_channel_join_second",
        "032_osnadmin_channel_list_two",
        "033_osnadmin_channel_remove",
        "034_osnadmin_channel_list_after_remove",
    ] {
        let case = recorded(name);
        let (stdout, stderr, code) = replay(&case, folder.clone(), &orderer.admin).await;
        assert_eq!(
            (stdout.as_str(), stderr.as_str()),
            (case["stdout"].as_str().unwrap(), case["stderr"].as_str().unwrap()),
            "{name}"
        );
        assert_eq!(i64::from(code), case["exit_code"].as_i64().unwrap(), "{name}");
    }

    // The recorded channel had 105 blocks by then; here two do, and the rest of the text is the same.
    let user = keys.user(1, "User1");
    assert_eq!(orderer.broadcast(vec![message(&*user, "one")]).await[0].status, Status::Success as i32);
    orderer.blocks(&*user, 1, 1).await;
    for name in ["122_osnadmin_channel_list_one_later", "123_osnadmin_channel_list_no_status"] {
        let case = recorded(name);
        let (stdout, _, code) = replay(&case, folder.clone(), &orderer.admin).await;
        let expected = case["stdout"].as_str().unwrap().replace("\"height\": 105", "\"height\": 2");
        assert_eq!((stdout, code), (expected, 0), "{name}");
    }
    orderer.stop().await;
}

/// What a delivered block's metadata holds, slot by slot, without what differs from block to block.
fn shape(block: &Block) -> Vec<String> {
    let slots = &block.metadata.as_ref().unwrap().metadata;
    // A configuration in block 0 leaves the slot of its number empty.
    let in_slot = LastConfig::decode(Metadata::decode(slots[1].clone()).unwrap().value).unwrap().index;
    let signed = OrdererBlockMetadata::decode(Metadata::decode(slots[0].clone()).unwrap().value).unwrap();
    assert_eq!(signed.last_config.unwrap().index, in_slot);
    let consenter = BlockMetadata::decode(Metadata::decode(signed.consenter_metadata).unwrap().value).unwrap();
    assert_eq!((consenter.consenter_ids, consenter.next_consenter_id), (vec![1], 2));
    assert!(consenter.raft_index > 0);
    slots
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != 1)
        .map(|(_, slot)| {
            let metadata = Metadata::decode(slot.clone()).unwrap();
            let signatures: Vec<String> = metadata
                .signatures
                .iter()
                .map(|one| {
                    let header = fabric_proto::common::SignatureHeader::decode(one.signature_header.clone()).unwrap();
                    format!(
                        "creator {} nonce {} identifier {}",
                        header.creator.len(),
                        header.nonce.len(),
                        one.identifier_header.len()
                    )
                })
                .collect();
            format!("value {} signatures {signatures:?}", !metadata.value.is_empty())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_blocks_have_the_metadata_of_a_stock_orderers() {
    let stock = |number: u64| {
        let bytes = std::fs::read(golden().join(format!("blocks_orderer/{number:03}.block"))).unwrap();
        Block::decode(Bytes::from(bytes)).unwrap()
    };
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let orderer = Running::start(&place(&keys, data.path())).await;
    orderer.join(&genesis()).await;
    let user = keys.user(1, "User1");
    orderer.broadcast(vec![message(&*user, "one")]).await;
    let ours = orderer.blocks(&*user, 0, 1).await;
    assert_eq!(ours[0], stock(0));
    for number in [14, 57] {
        assert_eq!(shape(&ours[1]), shape(&stock(number)), "block {number}");
        // Filter and commit hash are the peers' business.
        assert!(stock(number).metadata.unwrap().metadata[2].is_empty());
    }
    orderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_health_and_log_levels_have_the_form_of_a_stock_orderers() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let orderer = Running::start(&place(&keys, data.path())).await;
    for path in ["version", "healthz", "logspec"] {
        let (ours, head) = {
            let answer = orderer.operation(&format!("/{path}")).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (body.to_owned(), head.to_ascii_lowercase())
        };
        let stock = std::fs::read_to_string(golden().join(format!("logs/orderer_{path}.txt"))).unwrap();
        let fields = |text: &str| {
            let values: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
            // Times and revisions are each node's own.
            values
                .into_iter()
                .map(
                    |(name, value)| {
                        if name == "time" || name == "CommitSHA" { (name, String::new()) } else { (name, value) }
                    },
                )
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(fields(&ours), fields(&stock), "{path}");
        assert_eq!(ours.ends_with('\n'), stock.ends_with('\n'), "{path}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }
    orderer.stop().await;
}

/// Names, kinds and labels of the metrics in a scrape.
fn families(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let with_labels = [name.to_owned(), format!("{name}_count")];
        let of = |line: &&str| {
            with_labels
                .iter()
                .any(|name| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with([' ', '{'])))
        };
        let first = text.lines().find(of).unwrap_or_default();
        let pairs = first.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels = pairs.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
        found.insert(name.to_owned(), (kind.to_owned(), labels.collect()));
    }
    found
}

/// Measures of a stock orderer that this one does not have.
const WITHOUT: &[(&str, &str)] = &[
    ("go_", "Go's runtime"),
    ("promhttp_", "Go's Prometheus handler"),
    ("etcd_", "the inside of etcd's log and snapshot files; consensus_etcdraft_data_persist_duration measures ours"),
    ("consensus_etcdraft_proposal_failures", "no proposal fails here: a message without a leader is refused before"),
];

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_kinds_and_labels_of_a_stock_orderers() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let orderer = Running::start(&place(&keys, data.path())).await;
    orderer.join(&genesis()).await;
    let user = keys.user(1, "User1");
    orderer.broadcast(vec![message(&*user, "one")]).await;
    orderer.blocks(&*user, 0, 1).await;
    let ours = families(&orderer.metrics().await);
    let text = std::fs::read_to_string(golden().join("logs/orderer_metrics.txt")).unwrap();
    let (mut missing, mut different, mut compared) = (Vec::new(), Vec::new(), 0);
    for (name, theirs) in families(&text) {
        if WITHOUT.iter().any(|(prefix, _)| name.starts_with(prefix)) {
            continue;
        }
        match ours.get(&name) {
            None => missing.push(name),
            Some(own) if *own != theirs => different.push(format!("{name}: {own:?} instead of {theirs:?}")),
            Some(_) => compared += 1,
        }
    }
    assert!(missing.is_empty() && different.is_empty(), "missing {missing:?}, different {different:?}");
    assert!(compared >= 30, "{compared}");
    orderer.stop().await;
}
