//! The lifecycle transactions of a real network, endorsed again on the state they were endorsed on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fabric_chaincode::Settings;
use fabric_channel::msp::MspVersion;
use fabric_ledger::rwset::TxRwset;
use fabric_ledger::{BlockToCommit, Options, TxToCommit};
use fabric_proto::common::{Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_proto::lifecycle::{
    CheckCommitReadinessResult, QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryChaincodeDefinitionArgs, QueryInstalledChaincodesArgs, QueryInstalledChaincodesResult, chaincode_source,
};
use fabric_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ProposalResponsePayload, Transaction, TxValidationCode,
};
use fabric_validation::ChannelCollections;
use parking_lot::RwLock;

use super::*;
use crate::scc::SystemCall;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/fabric");

fn block(number: u64) -> Block {
    let bytes = std::fs::read(format!("{GOLDEN}/blocks/{number:03}.block")).unwrap();
    Block::decode(bytes.as_slice()).unwrap()
}

/// The crypto material of the golden network.
fn crypto() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = std::fs::File::open(format!("{GOLDEN}/crypto/crypto-config.tar.gz")).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(folder.path()).unwrap();
    folder
}

#[derive(Default)]
struct Channels(RwLock<Option<ChannelAccess>>);

impl ChannelDirectory for Channels {
    fn get(&self, channel: &str) -> Option<ChannelAccess> {
        self.0.read().clone().filter(|access| &*access.id == channel)
    }

    fn list(&self) -> Vec<String> {
        self.0.read().iter().map(|access| access.id.to_string()).collect()
    }

    fn join(&self, _genesis: Block) -> Result<(), String> {
        Err("not in this test".into())
    }
}

/// A chaincode call as it stands in a block.
struct Recorded {
    txid: String,
    chaincode: String,
    args: Vec<Bytes>,
    creator: Bytes,
    action: ChaincodeAction,
}

fn decoded<M: Message + Default>(bytes: impl Into<Bytes>) -> M {
    M::decode(bytes.into()).unwrap()
}

fn headers(envelope: &Bytes) -> (Payload, fabric_proto::common::ChannelHeader) {
    let payload: Payload = decoded(decoded::<Envelope>(envelope.clone()).payload);
    let channel_header = decoded(payload.header.clone().unwrap().channel_header);
    (payload, channel_header)
}

fn recorded(envelope: &Bytes) -> Recorded {
    let (payload, channel_header) = headers(envelope);
    let Header { signature_header, .. } = payload.header.unwrap();
    let creator = decoded::<SignatureHeader>(signature_header).creator;
    let transaction: Transaction = decoded(payload.data);
    let action: ChaincodeActionPayload = decoded(transaction.actions[0].payload.clone());
    let proposal: ChaincodeProposalPayload = decoded(action.chaincode_proposal_payload);
    let spec = decoded::<ChaincodeInvocationSpec>(proposal.input).chaincode_spec.unwrap();
    let response: ProposalResponsePayload = decoded(action.action.unwrap().proposal_response_payload);
    Recorded {
        txid: channel_header.tx_id,
        chaincode: spec.chaincode_id.unwrap().name,
        args: spec.input.unwrap().args,
        creator,
        action: decoded(response.extension),
    }
}

/// A peer of one organisation on the golden chain.
struct Peer {
    endorser: Endorser,
    channels: Arc<Channels>,
    collections: ChannelCollections,
    folder: tempfile::TempDir,
    crypto: PathBuf,
}

impl Peer {
    fn of(organization: &str, mspid: &str, crypto: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let msp = crypto.join(format!(
            "crypto-config/peerOrganizations/{organization}.example.com/peers/peer0.{organization}.example.com/msp"
        ));
        let channels = Arc::new(Channels::default());
        let parts = EndorserParts {
            local_msp: Msp::from_folder(&msp, mspid, MspVersion::V3_0).unwrap(),
            signer: SigningIdentity::from_folder(&msp, mspid).unwrap(),
            channels: Arc::clone(&channels) as Arc<dyn ChannelDirectory>,
            runtime: Runtime::open(Settings::new(folder.path().join("chaincode"), "localhost:7052", mspid)).unwrap(),
            private_values: Arc::new(PrivateValues::open(folder.path().join("private")).unwrap()),
            metrics: &Metrics::new(),
        };
        let settings = EndorserSettings { time_window: Duration::from_secs(1 << 33), ..EndorserSettings::default() };
        let endorser = Endorser::new(parts, settings);
        Self { endorser, channels, collections: ChannelCollections::default(), folder, crypto: crypto.to_path_buf() }
    }

    fn access(&self) -> ChannelAccess {
        self.channels.get("goldenchannel").unwrap()
    }

    fn commit(&self, number: u64) {
        let mut block = block(number);
        let codes = fabric_channel::protoutil::transactions_filter(&block);
        let mut transactions = Vec::new();
        for (envelope, code) in block.data.clone().unwrap_or_default().data.iter().zip(codes.iter()) {
            let (payload, channel_header) = headers(envelope);
            let is_config = channel_header.r#type == HeaderType::Config as i32;
            let code = TxValidationCode::try_from(i32::from(*code)).unwrap();
            let rwset = if is_config {
                self.reconfigure(&block);
                Some(TxRwset::config(payload.data))
            } else if code == TxValidationCode::Valid {
                Some(TxRwset::decode(&recorded(envelope).action.results).unwrap())
            } else {
                None
            };
            transactions.push(TxToCommit { txid: channel_header.tx_id, code, rwset });
        }
        block.metadata.as_mut().unwrap().metadata.truncate(4);
        if number > 0 {
            self.access().ledger.commit(BlockToCommit { block, transactions }).unwrap();
        }
    }

    fn reconfigure(&self, block: &Block) {
        let bundle = Arc::new(Bundle::from_config_block(block).unwrap());
        self.collections.update(&bundle);
        let mut current = self.channels.0.write();
        let ledger = current.take().map_or_else(
            || {
                let options = Options { collections: Arc::new(self.collections.clone()), ..Options::default() };
                Ledger::create(self.folder.path().join("ledger"), "goldenchannel", block, options).unwrap()
            },
            |access| access.ledger,
        );
        *current = Some(ChannelAccess {
            id: "goldenchannel".into(),
            ledger,
            bundle,
            known: Arc::new(KnownSignatures::new(16)),
        });
    }

    fn replay(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.commit(number);
        }
    }

    fn creator(&self, user: &str, organization: &str, mspid: &str) -> Bytes {
        let folder = self.crypto.join(format!(
            "crypto-config/peerOrganizations/{organization}.example.com/users/{user}@{organization}.example.com/msp"
        ));
        SigningIdentity::from_folder(&folder, mspid).unwrap().serialized().clone()
    }

    /// Runs a call on the channel and gives the answer with the simulation's results.
    async fn call(&self, txid: &str, chaincode: &str, args: Vec<Bytes>, creator: &Bytes) -> (Response, Bytes) {
        let access = self.access();
        let simulator = Arc::new(access.ledger.simulator(txid));
        let call = SystemCall {
            shared: Arc::clone(&self.endorser.0),
            name: chaincode.to_owned(),
            original: chaincode.to_owned(),
            args,
            creator: access.bundle.msp_manager().deserialize(creator).unwrap(),
            channel: Some(access),
            simulator: Some(Arc::clone(&simulator)),
        };
        let response = scc::invoke(call).await;
        let results = simulator.finish().unwrap();
        if let Some(private) = &results.private {
            self.endorser.0.private_values.keep("goldenchannel", private).unwrap();
        }
        (response, results.public)
    }

    async fn ask<M: Message + Default>(&self, function: &str, args: &impl Message) -> Result<M, Response> {
        let admin = self.creator("Admin", "org1", "Org1MSP");
        let args = vec![Bytes::copy_from_slice(function.as_bytes()), args.encode_to_vec().into()];
        let (response, _) = self.call("query", "_lifecycle", args, &admin).await;
        if response.status == 200 { Ok(decoded(response.payload)) } else { Err(response) }
    }
}

/// Approvals and definitions in the chain, by the organisation whose peer endorsed first.
fn lifecycle_transactions(number: u64) -> Vec<Recorded> {
    let block = block(number);
    let envelopes = block.data.unwrap().data;
    envelopes
        .iter()
        .filter(|envelope| headers(envelope).1.r#type == HeaderType::EndorserTransaction as i32)
        .map(recorded)
        .filter(|call| call.chaincode == "_lifecycle")
        .collect()
}

#[tokio::test]
async fn lifecycle_transactions_of_a_real_network_simulate_to_the_same_bytes() {
    let crypto = crypto();
    let org1 = Peer::of("org1", "Org1MSP", crypto.path());
    let org2 = Peer::of("org2", "Org2MSP", crypto.path());
    let mut functions = BTreeSet::new();
    let mut compared = 0;
    for number in 0..74 {
        for call in lifecycle_transactions(number) {
            let results = TxRwset::decode(&call.action.results).unwrap();
            let writes_of = |collection: &str| {
                results
                    .namespaces
                    .iter()
                    .flat_map(|namespace| &namespace.collections)
                    .any(|found| found.name == collection && !found.hashed.hashed_writes.is_empty())
            };
            // An approval is endorsed by a peer of the organisation it is for; anybody endorses a definition.
            let peer = if writes_of("_implicit_org_Org2MSP") {
                &org2
            } else if writes_of("_implicit_org_Org3MSP") {
                continue;
            } else {
                &org1
            };
            let function = String::from_utf8(call.args[0].to_vec()).unwrap();
            let (response, public) = peer.call(&call.txid, "_lifecycle", call.args.clone(), &call.creator).await;
            assert_eq!(Some(response), call.action.response, "block {number} {function}");
            assert_eq!(
                TxRwset::decode(&public).unwrap(),
                results,
                "block {number} {function}: the read-write sets differ"
            );
            assert_eq!(public, call.action.results, "block {number} {function}: the bytes differ");
            functions.insert(function);
            compared += 1;
        }
        org1.commit(number);
        org2.commit(number);
    }
    let expected = ["ApproveChaincodeDefinitionForMyOrg", "CommitChaincodeDefinition"];
    assert_eq!(functions.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(compared >= 10, "{compared}");
}

#[tokio::test]
async fn approvals_are_queried_compared_and_refused_in_the_words_of_the_original() {
    let crypto = crypto();
    let peer = Peer::of("org1", "Org1MSP", crypto.path());
    peer.replay(0..3);
    let query = QueryApprovedChaincodeDefinitionArgs { name: "kv".into(), sequence: 0 };
    let failure = peer
        .ask::<QueryApprovedChaincodeDefinitionResult>("QueryApprovedChaincodeDefinition", &query)
        .await
        .unwrap_err();
    assert_eq!(
        failure.message,
        "failed to invoke backing implementation of 'QueryApprovedChaincodeDefinition': could not fetch approved chaincode \
         definition (name: 'kv', sequence: '0') on channel 'goldenchannel'"
    );

    let approval = lifecycle_transactions(3).remove(0);
    let (response, _) = peer.call(&approval.txid, "_lifecycle", approval.args.clone(), &approval.creator).await;
    assert_eq!(response.status, 200, "{}", response.message);
    peer.replay(3..5);
    let approved: QueryApprovedChaincodeDefinitionResult =
        peer.ask("QueryApprovedChaincodeDefinition", &query).await.unwrap();
    let package = "kv_1.0:4884794547d51f7c5badf83eb6332e0f757f0674fd2c094cd5a68371ef5bb2f3";
    let source = approved.source.unwrap().r#type.unwrap();
    assert_eq!(source, chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id: package.into() }));
    assert_eq!((approved.sequence, approved.version.as_str()), (1, "1.0"));

    let (again, _) = peer.call("again", "_lifecycle", approval.args.clone(), &approval.creator).await;
    assert_eq!(
        again.message,
        "failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': attempted to redefine uncommitted \
         sequence (1) for namespace kv with unchanged content"
    );

    let commit = lifecycle_transactions(5).remove(0);
    let readiness: CheckCommitReadinessResult = {
        let args: fabric_proto::lifecycle::CheckCommitReadinessArgs = decoded(commit.args[1].clone());
        let changed = fabric_proto::lifecycle::CheckCommitReadinessArgs { version: "1.1".into(), ..args.clone() };
        let ready: CheckCommitReadinessResult = peer.ask("CheckCommitReadiness", &args).await.unwrap();
        assert!(ready.approvals["Org1MSP"] && ready.approvals["Org2MSP"] && ready.mismatches.is_empty());
        peer.ask("CheckCommitReadiness", &changed).await.unwrap()
    };
    assert!(!readiness.approvals["Org1MSP"]);
    assert_eq!(readiness.mismatches["Org1MSP"].items, ["EndorsementInfo"]);

    let missing = QueryChaincodeDefinitionArgs { name: "nocc".into() };
    let failure = peer
        .ask::<fabric_proto::lifecycle::QueryChaincodeDefinitionResult>("QueryChaincodeDefinition", &missing)
        .await
        .unwrap_err();
    assert_eq!((failure.status, failure.message.as_str()), (404, "namespace nocc is not defined"));
}

#[tokio::test]
async fn a_definition_without_the_peers_own_approval_is_not_endorsed() {
    let crypto = crypto();
    let peer = Peer::of("org2", "Org2MSP", crypto.path());
    peer.replay(0..4);
    let commit = lifecycle_transactions(5).remove(0);
    let (response, _) = peer.call(&commit.txid, "_lifecycle", commit.args, &commit.creator).await;
    assert_eq!(
        response.message,
        "failed to invoke backing implementation of 'CommitChaincodeDefinition': chaincode definition not agreed to by this \
         org (Org2MSP)"
    );
}

#[tokio::test]
async fn the_installed_package_is_found_even_when_another_peer_endorsed_the_approval() {
    let crypto = crypto();
    let peer = Peer::of("org1", "Org1MSP", crypto.path());
    peer.replay(0..9);
    let unknown = peer.endorser.active_chaincode(&peer.access(), "nocc").unwrap_err();
    assert_eq!(unknown, "chaincode nocc not found");
    let missing = peer.endorser.active_chaincode(&peer.access(), "kv").unwrap_err();
    assert_eq!(missing, "chaincode definition for 'kv' exists, but chaincode is not installed");

    let package = std::fs::read(format!("{GOLDEN}/packages/kv_1.0.tgz")).unwrap();
    let installed = peer.endorser.0.runtime.install(package.into()).await.unwrap();
    let active = peer.endorser.active_chaincode(&peer.access(), "kv").unwrap();
    assert_eq!(active.package_id, installed.package_id);
    assert_eq!((active.sequence, active.version.as_str(), active.init_required), (1, "1.0", false));

    let result: QueryInstalledChaincodesResult =
        peer.ask("QueryInstalledChaincodes", &QueryInstalledChaincodesArgs {}).await.unwrap();
    let used = &result.installed_chaincodes[0].references["goldenchannel"].chaincodes;
    assert_eq!((used[0].name.as_str(), used[0].version.as_str()), ("kv", "1.0"));
}

#[tokio::test]
async fn proposals_are_refused_with_the_originals_texts() {
    let crypto = crypto();
    let peer = Peer::of("org1", "Org1MSP", crypto.path());
    peer.replay(0..12);
    let read = |folder: &str| -> SignedProposal {
        decoded(std::fs::read(format!("{GOLDEN}/proposals/{folder}/signed_proposal.pb")).unwrap())
    };
    let good = read("01_put");
    let answer = peer.endorser.process_proposal(good.clone()).await.unwrap();
    let response = answer.response.unwrap();
    assert_eq!(
        (response.status, response.message.as_str()),
        (
            500,
            "make sure the chaincode kv has been successfully defined on channel goldenchannel and try again: chaincode \
             definition for 'kv' exists, but chaincode is not installed"
        )
    );

    let evaluated = peer.endorser.evaluate(good.clone()).await.unwrap();
    assert_eq!(evaluated.response.as_ref(), Some(&response));

    let mut forged = good.clone();
    let mut signature = forged.signature.to_vec();
    *signature.last_mut().unwrap() ^= 1;
    forged.signature = signature.into();
    let status = peer.endorser.process_proposal(forged).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unknown);
    assert_eq!(
        status.message(),
        "error validating proposal: access denied: channel [goldenchannel] creator org [Org1MSP]"
    );

    peer.commit(12);
    let status = peer.endorser.process_proposal(good).await.unwrap_err();
    assert!(
        status.message().starts_with(
            "duplicate transaction found [523cbb871f9242c7fb86e4e2e5021363dfb97abccb63bb1a0885fcad14ae01d6]. Creator ["
        ),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn blocks_and_channels_are_queried_through_system_chaincodes() {
    let crypto = crypto();
    let peer = Peer::of("org1", "Org1MSP", crypto.path());
    peer.replay(0..12);
    let user = peer.creator("User1", "org1", "Org1MSP");
    let admin = peer.creator("Admin", "org1", "Org1MSP");
    let text = |parts: &[&str]| parts.iter().map(|part| Bytes::copy_from_slice(part.as_bytes())).collect::<Vec<_>>();

    let (info, _) = peer.call("q1", "qscc", text(&["GetChainInfo", "goldenchannel"]), &user).await;
    let info: fabric_proto::common::BlockchainInfo = decoded(info.payload);
    assert_eq!(info.height, 12);
    let (found, _) = peer.call("q2", "qscc", text(&["GetBlockByNumber", "goldenchannel", "9"]), &user).await;
    let found: Block = decoded(found.payload);
    assert_eq!(found.header, block(9).header);
    let txid = headers(&block(9).data.unwrap().data[0]).1.tx_id;
    let (by_txid, _) = peer.call("q3", "qscc", text(&["GetBlockByTxID", "goldenchannel", &txid]), &user).await;
    assert_eq!(decoded::<Block>(by_txid.payload).header, found.header);
    let (transaction, _) = peer.call("q4", "qscc", text(&["GetTransactionByID", "goldenchannel", &txid]), &user).await;
    let transaction: fabric_proto::protos::ProcessedTransaction = decoded(transaction.payload);
    assert_eq!(transaction.validation_code, 0);
    let (unknown, _) = peer.call("q5", "qscc", text(&["GetChainInfo", "nochannel"]), &user).await;
    assert_eq!((unknown.status, unknown.message.as_str()), (500, "Invalid chain ID, nochannel"));
    let (missing, _) = peer.call("q6", "qscc", text(&["GetBlockByNumber", "goldenchannel"]), &user).await;
    assert_eq!(missing.message, "missing 3rd argument for GetBlockByNumber");

    let (channels, _) = peer.call("c1", "cscc", text(&["GetChannels"]), &user).await;
    let channels: fabric_proto::protos::ChannelQueryResponse = decoded(channels.payload);
    assert_eq!(channels.channels[0].channel_id, "goldenchannel");
    let (config, _) = peer.call("c2", "cscc", text(&["GetChannelConfig", "goldenchannel"]), &admin).await;
    let config: fabric_proto::common::Config = decoded(config.payload);
    assert_eq!(config.sequence, peer.access().bundle.sequence());
    let (config, _) = peer.call("c3", "cscc", text(&["GetConfigBlock", "goldenchannel"]), &admin).await;
    assert_eq!(decoded::<Block>(config.payload).header.unwrap().number, 2);
    let genesis = std::fs::read(format!("{GOLDEN}/genesis.block")).unwrap();
    let join = vec![Bytes::from_static(b"JoinChain"), genesis.into()];
    let (refused, _) = peer.call("c4", "cscc", join.clone(), &user).await;
    assert!(
        refused.message.starts_with(
            "access denied for [JoinChain][goldenchannel]: [Failed verifying that proposal's creator satisfies local MSP \
             principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP \
             [Org1MSP]"
        ),
        "{}",
        refused.message
    );
    let (joined, _) = peer.call("c5", "cscc", join, &admin).await;
    assert_eq!(joined.message, "not in this test");
}

#[tokio::test]
async fn a_channels_own_access_rules_replace_the_default_ones() {
    let crypto = crypto();
    let peer = Peer::of("org1", "Org1MSP", crypto.path());
    peer.replay(0..58);
    let user = peer.creator("User1", "org1", "Org1MSP");
    let args = |function: &str, argument: &str| {
        [function, "goldenchannel", argument]
            .iter()
            .map(|part| Bytes::copy_from_slice(part.as_bytes()))
            .collect::<Vec<_>>()
    };
    // Block 56 sets qscc/GetBlockByTxID to the administrators and leaves its neighbours alone.
    let (refused, _) = peer.call("a1", "qscc", args("GetBlockByTxID", "any"), &user).await;
    assert_eq!(refused.status, 500);
    assert!(
        refused.message.starts_with(
            "access denied for [GetBlockByTxID][goldenchannel]: [failed evaluating policy on signed data during check policy \
             [/Channel/Application/Admins]: [implicit policy evaluation failed - 0 sub-policies were satisfied"
        ),
        "{}",
        refused.message
    );
    let (allowed, _) = peer.call("a2", "qscc", args("GetBlockByNumber", "9"), &user).await;
    assert_eq!(allowed.status, 200, "{}", allowed.message);
}

/// The results of a simulation as far as they can be told from what was endorsed: no key had metadata before.
fn simulation_results(results: &Bytes) -> fabric_ledger::TxSimulationResults {
    let mut found = fabric_ledger::TxSimulationResults {
        public: results.clone(),
        private: None,
        private_reads: Vec::new(),
        write_metadata: fabric_ledger::WriteMetadata::new(),
    };
    for namespace in TxRwset::decode(results).unwrap().namespaces {
        let public = namespace.public.writes.iter().map(|write| (String::new(), write.key.clone()));
        let metadata = namespace.public.metadata_writes.iter().map(|write| (String::new(), write.key.clone()));
        let private = namespace.collections.iter().flat_map(|collection| {
            let keys = collection.hashed.hashed_writes.iter().map(|write| hex::encode(&write.key_hash));
            keys.map(|key| (collection.name.clone(), key)).collect::<Vec<_>>()
        });
        for (collection, key) in public.chain(metadata).chain(private) {
            let collections = found.write_metadata.entry(namespace.namespace.clone()).or_default();
            collections.entry(collection).or_default().entry(key).or_default();
        }
    }
    found
}

#[test]
fn endorsed_answers_of_a_real_network_are_built_again() {
    let mut compared = 0;
    for entry in std::fs::read_dir(format!("{GOLDEN}/proposals")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(folder.join("proposal_response_p1.pb")) else { continue };
        let golden: ProposalResponse = decoded(bytes);
        let unpacked =
            UnpackedProposal::unpack(decoded(std::fs::read(folder.join("signed_proposal.pb")).unwrap())).unwrap();
        let action: ChaincodeAction = decoded(decoded::<ProposalResponsePayload>(golden.payload.clone()).extension);
        let payload = protoutil::proposal_response_payload(
            &unpacked.proposal_hash,
            golden.response.clone().unwrap(),
            action.results.clone(),
            action.events,
            action.chaincode_id.unwrap(),
        );
        assert_eq!(payload, golden.payload, "{}", folder.display());
        let interest = interest::of_results(&simulation_results(&action.results)).unwrap();
        assert_eq!(Some(interest), golden.interest, "{}", folder.display());
        compared += 1;
    }
    assert_eq!(compared, 14);
}
