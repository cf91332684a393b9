//! The policy stage: is the transaction new, does the chaincode exist, do the endorsements satisfy every policy they must.
//!
//! State is read as it is after the previous block, so this stage of a block waits for the one before it. Inside the block,
//! transactions are judged in parallel; only those whose keys had their policy changed earlier in the same block are judged in
//! order, because whether that change itself was acceptable decides about them.

mod keys;
mod rules;

use std::collections::{BTreeSet, HashMap, HashSet};

use fabric_channel::config::Bundle;
use fabric_ledger::{Ledger, LedgerError, StateReader};
use fabric_proto::common::HeaderType;
use fabric_proto::protos::TxValidationCode as Code;
use rayon::prelude::*;

use crate::ValidationError;
use crate::decode::{DecodedBlock, DecodedTx, EndorserTx, TxBody};
use keys::{Dependencies, KeyPolicies, KeyPolicy, touched};
use rules::{CollectionRule, NamespaceRules, Rules, Verdict};

/// Knows which transaction ids are on the ledger already (in blocks before the one under validation).
pub trait TxIds: Sync {
    /// Whether a transaction of this id is in an earlier block, valid or not.
    fn exists(&self, txid: &str) -> Result<bool, LedgerError>;
}

impl TxIds for Ledger {
    fn exists(&self, txid: &str) -> Result<bool, LedgerError> {
        self.txid_exists(txid)
    }
}

/// Ids kept in memory, for tests and tools.
impl<S: std::hash::BuildHasher + Sync> TxIds for HashSet<String, S> {
    fn exists(&self, txid: &str) -> Result<bool, LedgerError> {
        Ok(self.contains(txid))
    }
}

/// Decides every transaction that the signature stage left open. Afterwards each one has a verdict, and the valid ones have
/// only concurrency control before them.
///
/// `state` is the world state after the previous block, `txids` the ids in all earlier blocks. An error means that no verdict is
/// possible here and that nothing of the block may be committed.
pub fn check_policies(
    block: &mut DecodedBlock,
    bundle: &Bundle,
    state: &dyn StateReader,
    txids: &dyn TxIds,
) -> Result<(), ValidationError> {
    let number = block.number();
    if let Some(index) = block.transactions.iter().position(|tx| tx.undecided() && tx.creator.is_some()) {
        return Err(ValidationError::Skipped { number, index });
    }
    let current_rules = bundle.application().is_some_and(|application| application.capabilities.v2_0_validation());
    if !current_rules && block.transactions.iter().any(|tx| open_endorser(tx).is_some()) {
        return Err(ValidationError::OldCapability { number, channel: bundle.channel_id().to_owned() });
    }
    reject_duplicates(number, &mut block.transactions, txids)?;
    let written: BTreeSet<&str> =
        block.transactions.iter().filter_map(open_endorser).flat_map(written_namespaces).collect();
    let rules = Rules::load(written.into_iter(), &block.transactions, bundle, state);
    let dependencies = Dependencies::of(&block.transactions);
    let judge =
        Judge { number, rules: &rules, dependencies: &dependencies, keys: KeyPolicies::new(state, bundle.policies()) };

    let (free, bound): (Vec<usize>, Vec<usize>) = (0..block.transactions.len())
        .filter(|index| open_endorser(&block.transactions[*index]).is_some())
        .partition(|index| !dependencies.bind(*index, &block.transactions[*index]));
    let nothing = HashMap::new();
    let one = |index: usize, before: &HashMap<usize, Outcome>| {
        let outcome = judge.transaction(index, &block.transactions[index], before);
        outcome.map(|outcome| (index, outcome))
    };
    let mut outcomes: HashMap<usize, Outcome> = if free.len() < 2 {
        free.into_iter().map(|index| one(index, &nothing)).collect::<Result<_, _>>()
    } else {
        let results: Vec<_> = free.into_par_iter().with_min_len(8).map(|index| one(index, &nothing)).collect();
        // The first failing transaction is named, whichever thread came first.
        results.into_iter().collect::<Result<_, _>>()
    }?;
    for index in bound {
        let (index, outcome) = one(index, &outcomes)?;
        outcomes.insert(index, outcome);
    }
    for (index, outcome) in outcomes {
        block.transactions[index].code = outcome.code;
    }
    settle(&mut block.transactions);
    Ok(())
}

/// An endorser transaction that nothing has decided yet.
fn open_endorser(tx: &DecodedTx) -> Option<&EndorserTx> {
    tx.endorser().filter(|_| tx.undecided())
}

/// The invoked chaincode and every namespace with writes, each once.
fn written_namespaces(endorser: &EndorserTx) -> BTreeSet<&str> {
    let writes = endorser.rwset.namespaces.iter().filter(|ns| ns.has_writes()).map(|ns| ns.namespace.as_str());
    std::iter::once(endorser.chaincode.as_str()).chain(writes).collect()
}

fn reject_duplicates(number: u64, transactions: &mut [DecodedTx], txids: &dyn TxIds) -> Result<(), ValidationError> {
    let check = |(index, tx): (usize, &mut DecodedTx)| {
        if !tx.undecided() || tx.header_type != HeaderType::EndorserTransaction as i32 {
            return Ok(());
        }
        let exists = txids.exists(&tx.txid).map_err(|source| ValidationError::Ledger { number, index, source })?;
        if exists {
            tx.code = Code::DuplicateTxid;
        } else if let Some(code) = tx.after_duplicate {
            tx.code = code;
        }
        Ok(())
    };
    let results: Vec<Result<(), ValidationError>> = if transactions.len() < 32 {
        transactions.iter_mut().enumerate().map(check).collect()
    } else {
        transactions.par_iter_mut().enumerate().with_min_len(16).map(check).collect()
    };
    results.into_iter().collect()
}

/// Valid so far are those still open and configurations; of two with one id only the first can stay.
fn settle(transactions: &mut [DecodedTx]) {
    let mut seen = HashSet::new();
    for tx in transactions {
        if tx.undecided() {
            tx.code = match tx.body {
                TxBody::Config(_) => Code::Valid,
                _ => Code::NotValidated,
            };
        }
        if tx.code == Code::Valid
            && tx.header_type == HeaderType::EndorserTransaction as i32
            && !tx.txid.is_empty()
            && !seen.insert(tx.txid.as_str())
        {
            tx.code = Code::DuplicateTxid;
        }
    }
}

/// The policy verdict on one transaction, and in which namespaces its writes were acceptable.
struct Outcome {
    code: Code,
    accepted: HashSet<String>,
}

struct Judge<'a> {
    number: u64,
    rules: &'a Rules,
    dependencies: &'a Dependencies,
    keys: KeyPolicies<'a>,
}

impl Judge<'_> {
    fn transaction(
        &self,
        index: usize,
        tx: &DecodedTx,
        before: &HashMap<usize, Outcome>,
    ) -> Result<Outcome, ValidationError> {
        let mut outcome = Outcome { code: Code::Valid, accepted: HashSet::new() };
        let Some(endorser) = tx.endorser() else { return Ok(outcome) };
        let depended_on = self.dependencies.has_changes(index);
        // The original takes the namespaces in random order. Where two fail in different ways its verdict varies; ours is the
        // first in name order.
        for namespace in written_namespaces(endorser) {
            let code = self.namespace(index, endorser, namespace, before)?;
            if code == Code::Valid {
                if depended_on {
                    outcome.accepted.insert(namespace.to_owned());
                }
            } else {
                if outcome.code == Code::Valid {
                    outcome.code = code;
                }
                if !depended_on {
                    break;
                }
            }
        }
        Ok(outcome)
    }

    fn namespace(
        &self,
        index: usize,
        endorser: &EndorserTx,
        namespace: &str,
        before: &HashMap<usize, Outcome>,
    ) -> Result<Code, ValidationError> {
        let number = self.number;
        let rules = match self.rules.of(namespace) {
            Verdict::Undefined => return Ok(Code::InvalidChaincode),
            Verdict::Broken(source) => {
                let (chaincode, source) = (namespace.to_owned(), source.clone());
                return Err(ValidationError::Definition { number, index, chaincode, source });
            }
            Verdict::Plugin(plugin) => {
                let (chaincode, plugin) = (namespace.to_owned(), plugin.clone());
                return Err(ValidationError::Plugin { number, index, plugin, chaincode });
            }
            Verdict::Rules(rules) => rules,
        };
        let mut check = Check { rules, endorser, chaincode: None, collections: HashMap::new(), any: false };
        for key in touched(&endorser.rwset, namespace) {
            if self.dependencies.changed_before(index, &key, |earlier| {
                before.get(&earlier).is_some_and(|outcome| outcome.accepted.contains(namespace))
            }) {
                return Ok(Code::EndorsementPolicyFailure);
            }
            let known = key.collection.is_none_or(|collection| rules.has_collection(collection));
            let own = if known {
                self.keys.policy(&key).map_err(|source| ValidationError::Ledger { number, index, source })?
            } else {
                KeyPolicy::Absent
            };
            let satisfied = match own {
                KeyPolicy::Own(policy) => check.key_policy(&policy),
                KeyPolicy::Broken => false,
                KeyPolicy::Absent => check.default_policy(key.collection),
            };
            if !satisfied {
                return Ok(Code::EndorsementPolicyFailure);
            }
        }
        // At least one policy must have been asked, even when nothing is written.
        if !check.any && !check.chaincode_policy() {
            return Ok(Code::EndorsementPolicyFailure);
        }
        Ok(Code::Valid)
    }
}

/// The policies asked so far for one transaction in one namespace.
struct Check<'a> {
    rules: &'a NamespaceRules,
    endorser: &'a EndorserTx,
    chaincode: Option<bool>,
    collections: HashMap<&'a str, bool>,
    any: bool,
}

impl<'a> Check<'a> {
    fn key_policy(&mut self, policy: &fabric_channel::policy::Policy) -> bool {
        let satisfied = policy.evaluate_identities(&self.endorser.endorsers).is_ok();
        self.any |= satisfied;
        satisfied
    }

    fn chaincode_policy(&mut self) -> bool {
        if let Some(answer) = self.chaincode {
            return answer;
        }
        let satisfied = self.rules.policy.evaluate(&self.endorser.endorsers);
        self.chaincode = Some(satisfied);
        self.any |= satisfied;
        satisfied
    }

    fn default_policy(&mut self, collection: Option<&'a str>) -> bool {
        let Some(name) = collection else { return self.chaincode_policy() };
        match self.rules.collection(name) {
            CollectionRule::Unknown => false,
            CollectionRule::Chaincode => self.chaincode_policy(),
            CollectionRule::Own(policy) => {
                if let Some(answer) = self.collections.get(name) {
                    return *answer;
                }
                let satisfied = policy.evaluate(&self.endorser.endorsers);
                self.collections.insert(name, satisfied);
                self.any |= satisfied;
                satisfied
            }
        }
    }
}
