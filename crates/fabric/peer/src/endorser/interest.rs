//! Which chaincodes, collections and key-level policies a transaction touched: what a gateway plans the other endorsements with.

use std::collections::{BTreeMap, BTreeSet};

use fabric_ledger::TxSimulationResults;
use fabric_ledger::rwset::TxRwset;
use fabric_proto::common::SignaturePolicyEnvelope;
use fabric_proto::protos::{ChaincodeCall, ChaincodeInterest};
use prost::Message;

use crate::scc;

/// The metadata name of a key-level policy.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// Collection (empty for the public part) to whether its own policy is needed.
type Needs = BTreeMap<String, bool>;

/// Builds the interest from the results of a simulation. Order is by name, so that equal transactions give equal answers.
pub(super) fn of_results(results: &TxSimulationResults) -> Result<ChaincodeInterest, String> {
    let mut needs: BTreeMap<String, Needs> = BTreeMap::new();
    let mut key_policies: BTreeMap<&str, Vec<SignaturePolicyEnvelope>> = BTreeMap::new();
    for (namespace, collections) in &results.write_metadata {
        let entry = needs.entry(namespace.clone()).or_default();
        entry.insert(String::new(), false);
        for (collection, keys) in collections {
            for metadata in keys.values() {
                match metadata.get(VALIDATION_PARAMETER) {
                    Some(bytes) => {
                        let policy = SignaturePolicyEnvelope::decode(bytes.clone())
                            .map_err(|error| format!("error unmarshalling SignaturePolicy: {error}"))?;
                        key_policies.entry(namespace).or_default().push(policy);
                    }
                    None => {
                        entry.insert(collection.clone(), true);
                    }
                }
            }
        }
    }
    let public = TxRwset::decode(&results.public).map_err(|error| error.to_string())?;
    for namespace in &public.namespaces {
        if !scc::is_system(&namespace.namespace) && !needs.contains_key(&namespace.namespace) {
            // Read, but not written.
            needs.insert(namespace.namespace.clone(), Needs::from([(String::new(), true)]));
        }
    }
    let private_reads: BTreeSet<(&str, &str)> =
        results.private_reads.iter().map(|(namespace, collection)| (namespace.as_str(), collection.as_str())).collect();
    for (namespace, collection) in &private_reads {
        needs.entry((*namespace).to_owned()).or_default().insert((*collection).to_owned(), true);
    }

    let mut chaincodes = Vec::new();
    for (namespace, collections) in needs.iter().filter(|(namespace, _)| !scc::is_system(namespace)) {
        for (collection, required) in collections {
            let mut call = ChaincodeCall { name: namespace.clone(), ..ChaincodeCall::default() };
            if collection.is_empty() {
                let policies = key_policies.get(namespace.as_str()).cloned().unwrap_or_default();
                if policies.is_empty() && !required {
                    continue;
                }
                call.disregard_namespace_policy = !policies.is_empty() && !required;
                call.key_policies = policies;
            } else {
                call.no_private_reads = !private_reads.contains(&(namespace.as_str(), collection.as_str()));
                call.collection_names = vec![collection.clone()];
            }
            chaincodes.push(call);
        }
    }
    Ok(ChaincodeInterest { chaincodes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fabric_ledger::Metadata;

    fn results(
        writes: &[(&str, &str, Option<&SignaturePolicyEnvelope>)],
        reads: &[(&str, &str)],
    ) -> TxSimulationResults {
        let mut results = TxSimulationResults {
            public: Bytes::new(),
            private: None,
            private_reads: reads.iter().map(|(ns, coll)| ((*ns).to_owned(), (*coll).to_owned())).collect(),
            write_metadata: BTreeMap::default(),
        };
        for (index, (namespace, collection, policy)) in writes.iter().enumerate() {
            let metadata: Metadata = policy
                .map(|policy| (VALIDATION_PARAMETER.to_owned(), Bytes::from(policy.encode_to_vec())))
                .into_iter()
                .collect();
            results
                .write_metadata
                .entry((*namespace).to_owned())
                .or_default()
                .entry((*collection).to_owned())
                .or_default()
                .insert(format!("key{index}"), metadata);
        }
        results
    }

    #[test]
    fn a_plain_write_needs_the_chaincode_policy() {
        let interest = of_results(&results(&[("kv", "", None)], &[])).unwrap();
        assert_eq!(interest.chaincodes, [ChaincodeCall { name: "kv".into(), ..ChaincodeCall::default() }]);
    }

    #[test]
    fn keys_with_a_policy_of_their_own_replace_the_chaincode_policy() {
        let policy = SignaturePolicyEnvelope {
            version: 0,
            rule: None,
            identities: vec![fabric_proto::common::MspPrincipal::default()],
        };
        let interest = of_results(&results(&[("kv", "", Some(&policy))], &[])).unwrap();
        assert_eq!(interest.chaincodes.len(), 1);
        assert!(interest.chaincodes[0].disregard_namespace_policy);
        assert_eq!(interest.chaincodes[0].key_policies, std::slice::from_ref(&policy));
        let interest = of_results(&results(&[("kv", "", Some(&policy)), ("kv", "", None)], &[])).unwrap();
        assert!(!interest.chaincodes[0].disregard_namespace_policy);
        assert_eq!(interest.chaincodes[0].key_policies.len(), 1);
    }

    #[test]
    fn collections_are_entries_of_their_own_and_system_chaincodes_are_left_out() {
        let writes = [("kv", "collA", None), ("_lifecycle", "_implicit_org_Org1MSP", None)];
        let interest = of_results(&results(&writes, &[("kv", "collB")])).unwrap();
        let summary: Vec<(&str, Vec<String>, bool)> = interest
            .chaincodes
            .iter()
            .map(|call| (call.name.as_str(), call.collection_names.clone(), call.no_private_reads))
            .collect();
        assert_eq!(summary, [("kv", vec!["collA".to_owned()], true), ("kv", vec!["collB".to_owned()], false)]);
    }
}
