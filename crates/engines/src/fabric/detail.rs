//! Blocks as they come, one transaction in full, and why it had no effect.

use bytes::Bytes;
use fabric_channel::policy::SignedData;
use fabric_client::blocks::{self, Content, OpenBlock, OpenCall, OpenTransaction};
use fabric_client::envelope::Seek;
use fabric_client::{ClientError, protolator};
use fabric_proto::kvrwset::Version;
use fabric_proto::protos::TxValidationCode;
use futures::stream::BoxStream;
use prost::Message as _;
use serde_json::{Value, json};

use super::connect::{Net, refusal};
use super::update::within;
use super::{explain, record};
use crate::EngineError;
use crate::ledger::{BlockRecord, TransactionDetail};

/// Blocks that are searched for the transaction that a conflict was with.
const MAX_SEARCH: u64 = 500;
/// Conflicting keys that are named.
const MAX_CONFLICTS: usize = 16;

impl Net<'_> {
    /// Blocks of a channel from a height on, from the first peer that answers.
    pub(super) async fn blocks(
        &self,
        channel: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        let mut last = None;
        for node in self.peers_of(channel, None)? {
            let opened = async {
                let client = self.peer(node).await?;
                within(client.blocks(channel, from)).await.map_err(|error| refusal(&node.id, error))
            };
            match opened.await {
                Ok(stream) => {
                    let state = Some((stream, channel.to_owned(), node.id.clone()));
                    return Ok(Box::pin(futures::stream::unfold(state, |state| async move {
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
                    })));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| EngineError::NotFound { what: format!("a peer of {channel}") }))
    }

    /// The block that holds a transaction, and the transaction.
    async fn find(&self, channel: &str, id: &str) -> Result<(OpenBlock, OpenTransaction), EngineError> {
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
        let open = blocks::open(&block);
        let found = open.transactions.iter().find(|transaction| transaction.id == id).cloned().ok_or_else(missing)?;
        Ok((open, found))
    }

    /// One transaction in full.
    pub(super) async fn transaction(&self, channel: &str, id: &str) -> Result<TransactionDetail, EngineError> {
        let (block, found) = self.find(channel, id).await?;
        let mut detail = TransactionDetail {
            record: record::transaction(&found),
            height: block.number,
            block_hash: hex::encode(block.hash),
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
            "height": block.number,
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
            TxValidationCode::MvccReadConflict => {
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

    /// The keys that a transaction had read and somebody changed before it was committed, with who did.
    async fn conflicts(
        &self,
        channel: &str,
        block: &OpenBlock,
        found: &OpenTransaction,
        call: &OpenCall,
    ) -> Vec<Value> {
        let mut open: Vec<(String, String, Option<Version>)> = Vec::new();
        for namespace in &call.effects {
            for read in &namespace.public.reads {
                open.push((namespace.name.clone(), read.key.clone(), read.version));
            }
        }
        // Nobody can have changed what was read before the block in which the oldest read found it.
        let oldest =
            open.iter().map(|(_, _, version)| version.map_or(0, |version| version.block_num)).min().unwrap_or_default();
        let mut conflicts = Vec::new();
        let mut number = block.number;
        let mut searched = 0;
        let mut current = Some(block.clone());
        while let Some(at) = current {
            for transaction in at.transactions.iter().rev() {
                let earlier = at.number < block.number || transaction.index < found.index;
                if !earlier || transaction.code != TxValidationCode::Valid {
                    continue;
                }
                let Content::Call(other) = &transaction.content else { continue };
                open.retain(|(namespace, key, version)| {
                    let position = (at.number, transaction.index as u64);
                    let newer = version.is_none_or(|version| position > (version.block_num, version.tx_num));
                    let hit = newer && writes(other, namespace, key);
                    if hit && conflicts.len() < MAX_CONFLICTS {
                        conflicts.push(conflict(
                            namespace,
                            key,
                            version.as_ref(),
                            &transaction.id,
                            at.number,
                            transaction,
                        ));
                    }
                    !hit
                });
            }
            searched += 1;
            if number == 0
                || number <= oldest
                || searched >= MAX_SEARCH
                || conflicts.len() >= MAX_CONFLICTS
                || open.is_empty()
            {
                break;
            }
            number -= 1;
            let earlier = self
                .ask(channel, None, |client| async move { client.block(channel, Seek::Number(number), false).await })
                .await;
            current = earlier.ok().flatten().map(|block| blocks::open(&block));
        }
        conflicts
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

fn writes(call: &OpenCall, namespace: &str, key: &str) -> bool {
    call.effects
        .iter()
        .filter(|known| known.name == namespace)
        .any(|known| known.public.writes.iter().any(|write| write.key == key))
}

fn conflict(namespace: &str, key: &str, read: Option<&Version>, id: &str, height: u64, by: &OpenTransaction) -> Value {
    let key = record::shown_key(key);
    let before = read.map_or_else(|| "did not exist".to_owned(), |read| format!("came from block {}", read.block_num));
    let before_zh = read.map_or_else(|| "尚不存在".to_owned(), |read| format!("来自区块 {}", read.block_num));
    json!({
        "namespace": namespace,
        "key": key,
        "read": read.map(|read| json!({"block": read.block_num, "transaction": read.tx_num})),
        "changed_by": {"transaction": id, "height": height, "index": by.index, "from": by.creator.to_string()},
        "explanation": {
            "en": format!("key {key} {before} when it was read; transaction {id} in block {height} changed it"),
            "zh": format!("读取时键 {key} {before_zh}；区块 {height} 中的交易 {id} 修改了它"),
        },
    })
}

fn endorsements(call: &OpenCall) -> Vec<Value> {
    call.endorsements
        .iter()
        .map(|endorsement| {
            // A transaction carries one result, which all of its endorsers signed.
            json!({"mspid": endorsement.member.mspid, "subject": endorsement.member.name, "same_result": true})
        })
        .collect()
}

/// The whole transaction with everything inside it opened.
fn raw(found: &OpenTransaction) -> Value {
    let text = protolator::decode("common.Envelope", &found.envelope.encode_to_vec());
    text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}
