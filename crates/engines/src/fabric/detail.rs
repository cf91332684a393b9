//! Blocks as they come, one transaction in full, and why it had no effect.

use bytes::Bytes;
use fabric_channel::policy::SignedData;
use fabric_channel::protoutil;
use fabric_client::blocks::{self, Content, Member, OpenCall, OpenTransaction};
use fabric_client::envelope::Seek;
use fabric_client::{ClientError, protolator};
use fabric_proto::common::Block;
use fabric_proto::protos::TxValidationCode;
use futures::stream::BoxStream;
use prost::Message as _;
use serde_json::{Value, json};

use super::conflict::Search;
use super::connect::{Net, refusal};
use super::update::within;
use super::{explain, record};
use crate::EngineError;
use crate::ledger::{BlockRecord, TransactionDetail};

/// Blocks that are searched for the transaction that a conflict was with.
const MAX_SEARCH: u64 = 500;

impl Net<'_> {
    /// Blocks of a channel from a height on, from the first peer that answers.
    pub(super) async fn blocks(
        &self,
        channel: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        let opened = self.first_of(self.peers_of(channel, None)?, |node| async move {
            let client = self.peer(node).await?;
            let stream = within(client.blocks(channel, from)).await.map_err(|error| refusal(&node.id, error))?;
            Ok((stream, channel.to_owned(), node.id.clone()))
        });
        let state = Some(opened.await?);
        Ok(Box::pin(futures::stream::unfold(state, |state| async move {
            let (mut stream, channel, node) = state?;
            match stream.next().await {
                Ok(Some(block)) => {
                    let made = record::block(&channel, &blocks::open(&block));
                    Some((Ok(made), Some((stream, channel, node))))
                }
                Ok(None) => {
                    let why = "it ended the stream of blocks; go on with the next one".to_owned();
                    Some((Err(EngineError::Unreachable { node, why }), None))
                }
                Err(error) => Some((Err(refusal(&node, error)), None)),
            }
        })))
    }

    /// The block that holds a transaction, and the transaction.
    async fn find(&self, channel: &str, id: &str) -> Result<(Block, OpenTransaction), EngineError> {
        let missing = || EngineError::NotFound { what: format!("the transaction {id} on {channel}") };
        if id.is_empty() || id.len() > 128 || id.contains('\0') {
            return Err(missing());
        }
        let block = self
            .ask(channel, None, |client| async move {
                match client.block_of(channel, id).await {
                    Ok(block) => Ok(Some(block)),
                    // The query's own words are about its index; all that matters is that there is none.
                    Err(ClientError::Endorsement { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .await?
            .ok_or_else(missing)?;
        let found = blocks::find(&block, id).ok_or_else(missing)?;
        Ok((block, found))
    }

    /// One transaction in full.
    pub(super) async fn transaction(&self, channel: &str, id: &str) -> Result<TransactionDetail, EngineError> {
        let (block, found) = self.find(channel, id).await?;
        let mut detail = TransactionDetail {
            record: record::transaction(&found),
            height: block.header.as_ref().map_or(0, |header| header.number),
            block_hash: block.header.as_ref().map(protoutil::header_hash).map(hex::encode).unwrap_or_default(),
            input: Value::Null,
            output: Value::Null,
            endorsements: Vec::new(),
            effects: json!({}),
            explanation: explain::verdict(found.code.as_str_name()).0.to_owned(),
            raw: raw(&found),
        };
        if let Content::Call(call) = &found.content {
            detail.input = record::arguments(&call.args);
            detail.output = json!({
                "status": call.response.status,
                "message": call.response.message,
                "payload": record::shown(&call.response.payload),
            });
            detail.endorsements = endorsements(call);
            detail.effects = record::effects(&call.effects);
        }
        Ok(detail)
    }

    /// What happened to a transaction, step by step, and why.
    pub(super) async fn trace(&self, channel: &str, id: &str) -> Result<Value, EngineError> {
        let (block, found) = self.find(channel, id).await?;
        let code = found.code.as_str_name();
        let (english, chinese) = explain::verdict(code);
        let mut trace = json!({
            "transaction": id,
            "height": block.header.as_ref().map_or(0, |header| header.number),
            "index": found.index,
            "code": code,
            "ok": found.code == TxValidationCode::Valid,
            "explanation": {"en": english, "zh": chinese},
        });
        let Content::Call(call) = &found.content else { return Ok(trace) };
        trace["chaincode"] = json!({"name": call.chaincode, "version": call.version});
        trace["input"] = record::arguments(&call.args);
        trace["effects"] = record::effects(&call.effects);
        trace["endorsements"] = Value::Array(endorsements(call));
        match found.code {
            TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict => {
                trace["conflicts"] = Value::Array(self.conflicts(channel, &block, &found, call).await);
            }
            TxValidationCode::EndorsementPolicyFailure => {
                trace["policy"] =
                    self.policy_failure(channel, call).await.unwrap_or_else(|error| json!([error.to_string()]));
            }
            _ => {}
        }
        Ok(trace)
    }

    /// The keys and ranges that a transaction had read and somebody changed before it was committed, with who did.
    async fn conflicts(&self, channel: &str, block: &Block, found: &OpenTransaction, call: &OpenCall) -> Vec<Value> {
        let mut search = Search::of(call);
        let mut current = Some(blocks::open(block));
        for _ in 0..MAX_SEARCH {
            let Some(at) = current else { break };
            search.look_at(&at, (block.header.as_ref().map_or(0, |header| header.number), found.index));
            let Some(number) = at.number.checked_sub(1).filter(|_| search.goes_on_before(at.number)) else { break };
            let earlier = self
                .ask(channel, None, |client| async move { client.block(channel, Seek::Number(number), false).await })
                .await;
            current = earlier.ok().flatten().map(|block| blocks::open(&block));
        }
        search.found
    }

    /// Why the endorsements of a transaction do not satisfy its contract's policy, as an outline. The policy is the present one.
    async fn policy_failure(&self, channel: &str, call: &OpenCall) -> Result<Value, EngineError> {
        let bundle = self.bundle(channel).await?;
        let policy = self.policy_of(&bundle, channel, &call.chaincode).await?;
        let set: Vec<SignedData> = call
            .endorsements
            .iter()
            .map(|endorsement| SignedData {
                data: Bytes::from([call.response_payload.as_ref(), endorsement.identity.as_ref()].concat()),
                identity: endorsement.identity.clone(),
                signature: endorsement.signature.clone(),
            })
            .collect();
        let explanation = policy.explain_signed(&set);
        Ok(json!({"satisfied": explanation.satisfied, "outline": explanation.lines()}))
    }
}

fn endorsements(call: &OpenCall) -> Vec<Value> {
    call.endorsements
        .iter()
        .map(|endorsement| {
            // A transaction carries one result, which all of its endorsers signed.
            let member = Member::of(&endorsement.identity);
            json!({"mspid": member.mspid, "subject": member.name, "same_result": true})
        })
        .collect()
}

/// The whole transaction with everything inside it opened.
fn raw(found: &OpenTransaction) -> Value {
    let text = protolator::decode("common.Envelope", &found.envelope.encode_to_vec());
    text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}
