//! The policies of the chaincodes that a block writes to, read once per block.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::msp::Identity;
use fabric_channel::policy::{Policy, PolicyManager, n_out_of, role_principal, signed_by};
use fabric_ledger::StateReader;
use fabric_proto::common::{SignaturePolicyEnvelope, msp_role::MspRoleType};
use fabric_proto::protos::{ApplicationPolicy, application_policy};
use prost::Message;

use super::open_endorser;
use crate::decode::DecodedTx;
use crate::lifecycle_state::{
    self, ChaincodeDefinition, DEFAULT_VALIDATION_PLUGIN, LIFECYCLE_ENDORSEMENT_POLICY, LIFECYCLE_NAMESPACE,
    LedgerNamespace, LifecycleStateError,
};

/// A policy, or the fact that there is none to satisfy because its bytes are no policy.
#[derive(Debug)]
pub(super) struct Prepared(Option<Policy>);

impl Prepared {
    pub(super) fn evaluate(&self, identities: &[Arc<Identity>]) -> bool {
        self.0.as_ref().is_some_and(|policy| policy.evaluate_identities(identities).is_ok())
    }
}

/// What is known about a namespace.
pub(super) enum Verdict {
    /// No chaincode of this name is defined, or its definition lacks plugin or policy.
    Undefined,
    /// The definition cannot be read.
    Broken(Arc<LifecycleStateError>),
    /// The definition names a validation plugin that is not built in.
    Plugin(String),
    /// Its policies.
    Rules(NamespaceRules),
}

/// The policies of one chaincode.
#[derive(Debug)]
pub(super) struct NamespaceRules {
    pub(super) policy: Prepared,
    collections: HashMap<String, CollectionRule>,
}

/// Which policy guards a collection.
#[derive(Debug)]
pub(super) enum CollectionRule {
    /// There is no such collection: nothing can be written to it.
    Unknown,
    /// The chaincode's own.
    Chaincode,
    /// One of its own, asked apart from the chaincode's even where it is the same.
    Own(Prepared),
}

impl NamespaceRules {
    pub(super) fn collection(&self, name: &str) -> &CollectionRule {
        self.collections.get(name).unwrap_or(&CollectionRule::Unknown)
    }

    pub(super) fn has_collection(&self, name: &str) -> bool {
        !matches!(self.collection(name), CollectionRule::Unknown)
    }
}

/// The rules of every namespace that the block writes to.
pub(super) struct Rules {
    namespaces: HashMap<String, Verdict>,
}

impl Rules {
    pub(super) fn load<'a>(
        namespaces: impl Iterator<Item = &'a str>,
        transactions: &[DecodedTx],
        bundle: &Bundle,
        state: &dyn StateReader,
    ) -> Self {
        let mut collections: HashMap<&str, HashSet<&str>> = HashMap::new();
        for ns in transactions.iter().filter_map(open_endorser).flat_map(|endorser| &endorser.rwset.namespaces) {
            for collection in &ns.collections {
                collections.entry(&ns.namespace).or_default().insert(&collection.name);
            }
        }
        let none = HashSet::new();
        let namespaces = namespaces
            .map(|name| {
                let used = collections.get(name).unwrap_or(&none);
                (name.to_owned(), verdict(name, used, bundle, state))
            })
            .collect();
        Self { namespaces }
    }

    pub(super) fn of(&self, namespace: &str) -> &Verdict {
        self.namespaces.get(namespace).unwrap_or(&Verdict::Undefined)
    }
}

fn verdict(name: &str, collections: &HashSet<&str>, bundle: &Bundle, state: &dyn StateReader) -> Verdict {
    let policies = bundle.policies();
    let (definition, policy) = if name == LIFECYCLE_NAMESPACE {
        (ChaincodeDefinition::default(), lifecycle_policy(bundle))
    } else {
        let getter = StateGetter(state);
        let definition = match lifecycle_state::definition(&LedgerNamespace { state: &getter }, name) {
            Err(error) => return Verdict::Broken(Arc::new(error)),
            Ok(None) => return Verdict::Undefined,
            Ok(Some(definition)) => definition,
        };
        let info = &definition.validation_info;
        if info.validation_plugin.is_empty() || info.validation_parameter.is_empty() {
            return Verdict::Undefined;
        }
        if info.validation_plugin != DEFAULT_VALIDATION_PLUGIN {
            return Verdict::Plugin(info.validation_plugin.clone());
        }
        let policy = application_policy(&info.validation_parameter, policies);
        (definition, policy)
    };
    let collections = collections
        .iter()
        .map(|collection| ((*collection).to_owned(), collection_rule(collection, &definition, bundle)))
        .collect();
    Verdict::Rules(NamespaceRules { policy, collections })
}

/// A reader seen through the narrower trait that definitions are read through.
struct StateGetter<'a>(&'a dyn StateReader);

impl fabric_ledger::StateGet for StateGetter<'_> {
    fn get_state(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, fabric_ledger::LedgerError> {
        Ok(self.0.get(namespace, key)?.map(|row| row.value))
    }
}

/// The channel's lifecycle policy; where it has none, a majority of the organisations' members.
fn lifecycle_policy(bundle: &Bundle) -> Prepared {
    if let Some(policy) = bundle.policies().get(LIFECYCLE_ENDORSEMENT_POLICY) {
        return Prepared(Some(policy.clone()));
    }
    let mspids: Vec<String> = organisations(bundle).into_iter().map(|(_, mspid)| mspid).collect();
    members_policy(bundle.policies(), mspids.len() / 2 + 1, &mspids)
}

fn members_policy(policies: &PolicyManager, needed: usize, mspids: &[String]) -> Prepared {
    let envelope = SignaturePolicyEnvelope {
        version: 0,
        rule: Some(n_out_of(needed as i32, (0..mspids.len()).map(|index| signed_by(index as i32)).collect())),
        identities: mspids.iter().map(|mspid| role_principal(mspid, MspRoleType::Member)).collect(),
    };
    Prepared(policies.signature_policy(envelope).ok())
}

fn application_policy(bytes: &Bytes, policies: &PolicyManager) -> Prepared {
    let Ok(policy) = fabric_ledger::tolerant::decode::<ApplicationPolicy>("protos.ApplicationPolicy", bytes) else {
        return Prepared(None);
    };
    Prepared(match policy.r#type {
        Some(application_policy::Type::SignaturePolicy(envelope)) => policies.signature_policy(envelope).ok(),
        Some(application_policy::Type::ChannelConfigPolicyReference(path)) => policies.get(&path).cloned(),
        None => None,
    })
}

fn collection_rule(name: &str, definition: &ChaincodeDefinition, bundle: &Bundle) -> CollectionRule {
    let policies = bundle.policies();
    if let Some(mspid) = lifecycle_state::implicit_collection_mspid(name) {
        let Some((group, _)) = organisations(bundle).into_iter().find(|(_, found)| found == mspid) else {
            return CollectionRule::Unknown;
        };
        let own = policies.get(&format!("/Channel/Application/{group}/Endorsement")).cloned();
        return CollectionRule::Own(match own {
            Some(policy) => Prepared(Some(policy)),
            None => members_policy(policies, 1, &[mspid.to_owned()]),
        });
    }
    let Some(collection) = definition.collection(name) else { return CollectionRule::Unknown };
    let bytes = match &collection.endorsement_policy {
        Some(policy) => Bytes::from(policy.encode_to_vec()),
        None => definition.validation_info.validation_parameter.clone(),
    };
    if bytes.is_empty() {
        return CollectionRule::Chaincode;
    }
    CollectionRule::Own(application_policy(&bytes, policies))
}

/// Group names and MSP ids of the channel's application organisations.
fn organisations(bundle: &Bundle) -> Vec<(String, String)> {
    crate::collections::organisations(bundle)
}
