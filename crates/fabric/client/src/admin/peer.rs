//! System chaincodes and filtered deliver of one peer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_proto::common::{Block, BlockchainInfo, Config};
use fabric_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, GetInstalledChaincodePackageArgs, GetInstalledChaincodePackageResult,
    InstallChaincodeArgs, InstallChaincodeResult, QueryApprovedChaincodeDefinitionArgs,
    QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionArgs, QueryChaincodeDefinitionResult,
    QueryChaincodeDefinitionsArgs, QueryChaincodeDefinitionsResult, QueryInstalledChaincodesArgs,
    QueryInstalledChaincodesResult, chaincode_source,
};
use fabric_proto::protos::{
    ChannelQueryResponse, CollectionConfigPackage, ProposalResponse, TxValidationCode, deliver_client::DeliverClient,
    deliver_response, endorser_client::EndorserClient,
};
use futures::future::try_join_all;
use prost::Message;
use tonic::transport::Channel;

use super::OrdererClient;
use super::orderer::status_name;
use crate::envelope::{self, Seek};
use crate::proposal::{Call, SignedCall};
use crate::transport::MAX_MESSAGE_BYTES;
use crate::{ClientError, Endpoint, Signer};

/// A chaincode definition as organisations agree on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChaincodeDefinition {
    /// Chaincode name on the channel.
    pub name: String,
    /// Version text.
    pub version: String,
    /// 1, 2, 3, …
    pub sequence: i64,
    /// Endorsement plugin; empty means `escc`.
    pub endorsement_plugin: String,
    /// Validation plugin; empty means `vscc`.
    pub validation_plugin: String,
    /// Serialized `protos.ApplicationPolicy`; empty means the channel's default endorsement policy.
    pub validation_parameter: Bytes,
    /// Private data collections.
    pub collections: Option<CollectionConfigPackage>,
    /// Whether the first call must be the initialising one.
    pub init_required: bool,
}

/// A committed administrative transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Transaction id.
    pub transaction_id: String,
    /// The verdict per peer that was waited for, in the order they answered.
    pub verdicts: Vec<(String, TxValidationCode)>,
}

/// A client of one peer's endorser and deliver services; clones share the connection.
#[derive(Clone)]
pub struct AdminClient {
    endorser: EndorserClient<Channel>,
    deliver: DeliverClient<Channel>,
    signer: Arc<dyn Signer>,
    address: String,
    tls_cert_hash: Bytes,
}

impl std::fmt::Debug for AdminClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AdminClient").field("address", &self.address).finish_non_exhaustive()
    }
}

impl AdminClient {
    /// Connects.
    pub async fn connect(endpoint: &Endpoint, signer: Arc<dyn Signer>) -> Result<Self, ClientError> {
        let channel = endpoint.connect().await?;
        Ok(Self::new(channel, endpoint, signer))
    }

    /// A client over an open connection.
    pub fn new(channel: Channel, endpoint: &Endpoint, signer: Arc<dyn Signer>) -> Self {
        let endorser = EndorserClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let deliver = DeliverClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            endorser,
            deliver,
            signer,
            address: endpoint.address().to_owned(),
            tls_cert_hash: endpoint.tls_cert_hash(),
        }
    }

    /// The peer's `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The identity that signs.
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// Sends a proposal and returns the peer's answer, whatever its status.
    pub async fn propose(&self, signed: &SignedCall) -> Result<ProposalResponse, ClientError> {
        let answer = self
            .endorser
            .clone()
            .process_proposal(signed.signed.clone())
            .await
            .map_err(|status| ClientError::refused("ProcessProposal", status))?;
        Ok(answer.into_inner())
    }

    /// Calls a function and returns the payload of a 200 answer.
    pub async fn call(&self, call: &Call) -> Result<Bytes, ClientError> {
        let answer = self.propose(&call.sign(&*self.signer)).await?;
        let response = answer.response.unwrap_or_default();
        if response.status != 200 {
            return Err(ClientError::Endorsement { status: response.status, message: response.message });
        }
        Ok(response.payload)
    }

    async fn lifecycle<R: Message + Default>(
        &self,
        channel: &str,
        function: &str,
        args: &impl Message,
    ) -> Result<R, ClientError> {
        let call = lifecycle_call(channel, function, args);
        let payload = self.call(&call).await?;
        self.decode("the lifecycle answer", payload)
    }

    fn decode<R: Message + Default>(&self, what: &'static str, payload: Bytes) -> Result<R, ClientError> {
        R::decode(payload).map_err(|error| ClientError::BadAnswer {
            what,
            address: self.address.clone(),
            reason: error.to_string(),
        })
    }

    /// Joins a channel with its genesis block.
    pub async fn join_channel(&self, block: impl Into<Bytes>) -> Result<(), ClientError> {
        let call = Call { args: vec![Bytes::from_static(b"JoinChain"), block.into()], ..Call::new("", "cscc") };
        self.call(&call).await?;
        Ok(())
    }

    /// The channels this peer has joined.
    pub async fn channels(&self) -> Result<Vec<String>, ClientError> {
        let payload = self.call(&Call::new("", "cscc").args(["GetChannels"])).await?;
        let answer: ChannelQueryResponse = self.decode("the channel list", payload)?;
        Ok(answer.channels.into_iter().map(|channel| channel.channel_id).collect())
    }

    /// Height and hashes of a channel's ledger.
    pub async fn channel_info(&self, channel: &str) -> Result<BlockchainInfo, ClientError> {
        let payload = self.call(&Call::new("", "qscc").args(["GetChainInfo", channel])).await?;
        self.decode("the chain info", payload)
    }

    /// A channel's configuration as this peer applies it.
    pub async fn channel_config(&self, channel: &str) -> Result<Config, ClientError> {
        let payload = self.call(&Call::new("", "cscc").args(["GetChannelConfig", channel])).await?;
        self.decode("the channel configuration", payload)
    }

    /// Installs a package; an `already successfully installed` refusal is an error as upstream has it.
    pub async fn install(&self, package: impl Into<Bytes>) -> Result<InstallChaincodeResult, ClientError> {
        let args = InstallChaincodeArgs { chaincode_install_package: package.into() };
        self.lifecycle("", "InstallChaincode", &args).await
    }

    /// The installed packages.
    pub async fn installed(&self) -> Result<QueryInstalledChaincodesResult, ClientError> {
        self.lifecycle("", "QueryInstalledChaincodes", &QueryInstalledChaincodesArgs {}).await
    }

    /// An installed package's bytes.
    pub async fn installed_package(&self, package_id: &str) -> Result<Bytes, ClientError> {
        let args = GetInstalledChaincodePackageArgs { package_id: package_id.to_owned() };
        let answer: GetInstalledChaincodePackageResult =
            self.lifecycle("", "GetInstalledChaincodePackage", &args).await?;
        Ok(answer.chaincode_install_package)
    }

    /// Approves a definition for this peer's organisation and waits until this peer has committed the approval.
    pub async fn approve(
        &self,
        orderer: &OrdererClient,
        channel: &str,
        definition: &ChaincodeDefinition,
        package_id: Option<&str>,
        timeout: Duration,
    ) -> Result<Commit, ClientError> {
        let call = definition.approve_call(channel, package_id);
        submit(&call, std::slice::from_ref(self), orderer, Some(timeout)).await
    }

    /// Which organisations have approved exactly this definition.
    pub async fn check_commit_readiness(
        &self,
        channel: &str,
        definition: &ChaincodeDefinition,
    ) -> Result<CheckCommitReadinessResult, ClientError> {
        self.lifecycle(channel, "CheckCommitReadiness", &definition.readiness_args()).await
    }

    /// Commits a definition with the endorsements of `peers` (one per organisation) and waits until all of them have it.
    pub async fn commit(
        peers: &[AdminClient],
        orderer: &OrdererClient,
        channel: &str,
        definition: &ChaincodeDefinition,
        timeout: Duration,
    ) -> Result<Commit, ClientError> {
        submit(&definition.commit_call(channel), peers, orderer, Some(timeout)).await
    }

    /// This organisation's approval; sequence 0 asks for the newest.
    pub async fn approved(
        &self,
        channel: &str,
        name: &str,
        sequence: i64,
    ) -> Result<QueryApprovedChaincodeDefinitionResult, ClientError> {
        let args = QueryApprovedChaincodeDefinitionArgs { name: name.to_owned(), sequence };
        self.lifecycle(channel, "QueryApprovedChaincodeDefinition", &args).await
    }

    /// A committed definition with its approvals.
    pub async fn committed(&self, channel: &str, name: &str) -> Result<QueryChaincodeDefinitionResult, ClientError> {
        let args = QueryChaincodeDefinitionArgs { name: name.to_owned() };
        self.lifecycle(channel, "QueryChaincodeDefinition", &args).await
    }

    /// All committed definitions.
    pub async fn all_committed(&self, channel: &str) -> Result<QueryChaincodeDefinitionsResult, ClientError> {
        self.lifecycle(channel, "QueryChaincodeDefinitions", &QueryChaincodeDefinitionsArgs {}).await
    }

    /// Fetches one block from this peer; `None` when the stream ends without one.
    pub async fn block(&self, channel: &str, at: Seek, best_effort: bool) -> Result<Option<Block>, ClientError> {
        let request = envelope::seek(&*self.signer, channel, at, at, best_effort, self.tls_cert_hash.clone());
        let mut answers = self
            .deliver
            .clone()
            .deliver(futures::stream::iter([request]))
            .await
            .map_err(|status| ClientError::refused("Deliver", status))?
            .into_inner();
        let answer = answers.message().await.map_err(|status| ClientError::refused("Deliver", status))?;
        match answer.and_then(|answer| answer.r#type) {
            Some(deliver_response::Type::Block(block)) => Ok(Some(block)),
            Some(deliver_response::Type::Status(status)) => Err(ClientError::BadAnswer {
                what: "the block",
                address: self.address.clone(),
                reason: format!("can't read the block: {}", status_name(status)),
            }),
            Some(_) => Err(ClientError::BadAnswer {
                what: "the block",
                address: self.address.clone(),
                reason: "response error: unknown type".into(),
            }),
            None => Ok(None),
        }
    }

    /// Blocks from a number on: those that are there, then each as it is committed.
    pub async fn blocks(&self, channel: &str, from: u64) -> Result<BlockStream, ClientError> {
        let requests = self.seek_on(channel, Seek::Number(from));
        let answers = self
            .deliver
            .clone()
            .deliver(requests)
            .await
            .map_err(|status| ClientError::refused("Deliver", status))?
            .into_inner();
        Ok(BlockStream { answers, address: self.address.clone() })
    }

    /// Asks for blocks from a place on, without end.
    fn seek_on(
        &self,
        channel: &str,
        from: Seek,
    ) -> impl futures::Stream<Item = fabric_proto::common::Envelope> + use<> {
        let hash = self.tls_cert_hash.clone();
        let request = envelope::seek(&*self.signer, channel, from, Seek::Number(u64::MAX), false, hash);
        // The request stream must stay open: a deliver session ends when the client closes its half.
        futures::StreamExt::chain(futures::stream::iter([request]), futures::stream::pending())
    }

    /// The block that holds a transaction.
    pub async fn block_of(&self, channel: &str, transaction_id: &str) -> Result<Block, ClientError> {
        let payload = self.call(&Call::new("", "qscc").args(["GetBlockByTxID", channel, transaction_id])).await?;
        self.decode("the block", payload)
    }

    /// Starts to watch this peer's commits; call before submitting what you wait for.
    pub async fn watch(&self, channel: &str) -> Result<Watch, ClientError> {
        let requests = self.seek_on(channel, Seek::Newest);
        let answers = self
            .deliver
            .clone()
            .deliver_filtered(requests)
            .await
            .map_err(|status| ClientError::refused("DeliverFiltered", status))?
            .into_inner();
        Ok(Watch { answers, address: self.address.clone() })
    }
}

/// An open block stream of one peer.
#[derive(Debug)]
pub struct BlockStream {
    answers: tonic::Streaming<fabric_proto::protos::DeliverResponse>,
    address: String,
}

impl BlockStream {
    /// The next block; waits until there is one. `None`: the peer has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Block>, ClientError> {
        let answer = self.answers.message().await.map_err(|status| ClientError::refused("Deliver", status))?;
        match answer.map(|answer| answer.r#type) {
            None => Ok(None),
            Some(Some(deliver_response::Type::Block(block))) => Ok(Some(block)),
            Some(Some(deliver_response::Type::Status(status))) => Err(ClientError::BadAnswer {
                what: "the block stream",
                address: self.address.clone(),
                reason: status_name(status),
            }),
            Some(_) => Err(ClientError::BadAnswer {
                what: "the block stream",
                address: self.address.clone(),
                reason: "response error: unknown type".into(),
            }),
        }
    }
}

/// An open filtered-block stream of one peer.
#[derive(Debug)]
pub struct Watch {
    answers: tonic::Streaming<fabric_proto::protos::DeliverResponse>,
    address: String,
}

impl Watch {
    /// The peer's `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the transaction stands in a block of this peer.
    pub async fn verdict(&mut self, transaction_id: &str) -> Result<TxValidationCode, ClientError> {
        loop {
            let answer = self.answers.message().await.map_err(|status| {
                ClientError::Input(format!(
                    "error receiving from deliver filtered at {}: rpc error: code = {} desc = {}",
                    self.address,
                    konsort_node::code_name(status.code()),
                    status.message()
                ))
            })?;
            let Some(answer) = answer else {
                return Err(ClientError::Input(format!(
                    "error receiving from deliver filtered at {}: EOF",
                    self.address
                )));
            };
            match answer.r#type {
                Some(deliver_response::Type::FilteredBlock(block)) => {
                    let found =
                        block.filtered_transactions.iter().find(|transaction| transaction.txid == transaction_id);
                    if let Some(transaction) = found {
                        return Ok(TxValidationCode::try_from(transaction.tx_validation_code)
                            .unwrap_or(TxValidationCode::InvalidOtherReason));
                    }
                }
                Some(deliver_response::Type::Status(status)) => {
                    return Err(ClientError::Input(format!(
                        "deliver completed with status ({}) before txid received",
                        status_name(status)
                    )));
                }
                _ => {
                    return Err(ClientError::BadAnswer {
                        what: "a filtered block",
                        address: self.address.clone(),
                        reason: "received unexpected response type".into(),
                    });
                }
            }
        }
    }
}

/// Endorses on all peers, orders, and waits for the verdict of every peer (when a timeout is given).
pub(crate) async fn submit(
    call: &Call,
    peers: &[AdminClient],
    orderer: &OrdererClient,
    wait: Option<Duration>,
) -> Result<Commit, ClientError> {
    let Some(first) = peers.first() else {
        return Err(ClientError::Input("no peer to endorse with".into()));
    };
    let signed = call.sign(&*first.signer);
    let responses = try_join_all(peers.iter().map(|peer| peer.propose(&signed))).await?;
    let transaction = signed.transaction(&*first.signer, &responses)?;
    let mut watches = Vec::new();
    if wait.is_some() {
        watches = try_join_all(peers.iter().map(|peer| peer.watch(&call.channel))).await?;
    }
    orderer.broadcast(transaction).await?;
    let mut verdicts = Vec::new();
    if let Some(timeout) = wait {
        let waiting = try_join_all(watches.iter_mut().map(|watch| async {
            let code = watch.verdict(&signed.transaction_id).await?;
            Ok::<_, ClientError>((watch.address.clone(), code))
        }));
        verdicts = tokio::time::timeout(timeout, waiting).await.map_err(|_| ClientError::Timeout {
            what: format!("transaction {} on all peers", signed.transaction_id),
            seconds: timeout.as_secs(),
        })??;
        if let Some((_, code)) = verdicts.iter().find(|(_, code)| *code != TxValidationCode::Valid) {
            return Err(ClientError::Invalid { transaction_id: signed.transaction_id, code: *code, block_number: 0 });
        }
    }
    Ok(Commit { transaction_id: signed.transaction_id, verdicts })
}

pub(crate) fn lifecycle_call(channel: &str, function: &str, args: &impl Message) -> Call {
    Call {
        args: vec![Bytes::copy_from_slice(function.as_bytes()), args.encode_to_vec().into()],
        ..Call::new(channel, "_lifecycle")
    }
}

impl ChaincodeDefinition {
    pub(crate) fn approve_call(&self, channel: &str, package_id: Option<&str>) -> Call {
        let source = match package_id.filter(|id| !id.is_empty()) {
            Some(id) => chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id: id.to_owned() }),
            None => chaincode_source::Type::Unavailable(chaincode_source::Unavailable {}),
        };
        let args = ApproveChaincodeDefinitionForMyOrgArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
            source: Some(ChaincodeSource { r#type: Some(source) }),
        };
        lifecycle_call(channel, "ApproveChaincodeDefinitionForMyOrg", &args)
    }

    pub(crate) fn commit_call(&self, channel: &str) -> Call {
        let args = CommitChaincodeDefinitionArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
        };
        lifecycle_call(channel, "CommitChaincodeDefinition", &args)
    }

    pub(crate) fn readiness_args(&self) -> CheckCommitReadinessArgs {
        CheckCommitReadinessArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
        }
    }
}
