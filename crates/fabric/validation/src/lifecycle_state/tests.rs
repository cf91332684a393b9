use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

#[derive(Default)]
struct Memory {
    rows: RefCell<BTreeMap<String, Bytes>>,
    writes: RefCell<Vec<String>>,
}

impl ReadState for Memory {
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        Ok(self.rows.borrow().get(key).cloned())
    }
}

impl WriteState for Memory {
    fn put_state(&self, key: &str, value: Bytes) -> Result<(), StateError> {
        self.writes.borrow_mut().push(key.to_owned());
        self.rows.borrow_mut().insert(key.to_owned(), value);
        Ok(())
    }

    fn delete_state(&self, key: &str) -> Result<(), StateError> {
        self.writes.borrow_mut().push(format!("-{key}"));
        self.rows.borrow_mut().remove(key);
        Ok(())
    }
}

impl HashedState for Memory {
    fn get_state_hash(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        Ok(self.rows.borrow().get(key).map(|value| Bytes::copy_from_slice(&sha256(value))))
    }
}

impl RangeState for Memory {
    fn get_state_range(&self, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateError> {
        Ok(self
            .rows
            .borrow()
            .range(start.to_owned()..end.to_owned())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

fn sample(sequence: i64, version: &str) -> ChaincodeDefinition {
    let mut definition = ChaincodeDefinition { sequence, ..ChaincodeDefinition::default() };
    version.clone_into(&mut definition.endorsement_info.version);
    DEFAULT_VALIDATION_PLUGIN.clone_into(&mut definition.validation_info.validation_plugin);
    definition
}

#[test]
fn a_definition_comes_back_and_only_changed_fields_are_written_again() {
    let state = Memory::default();
    write(NAMESPACES, "mycc", &sample(1, "1.0"), &state).unwrap();
    assert_eq!(definition(&state, "mycc").unwrap(), Some(sample(1, "1.0")));
    assert_eq!(definition(&state, "other").unwrap(), None);
    state.writes.borrow_mut().clear();
    write(NAMESPACES, "mycc", &sample(2, "1.0"), &state).unwrap();
    assert_eq!(*state.writes.borrow(), ["namespaces/fields/mycc/Sequence"]);
}

#[test]
fn a_record_of_another_type_replaces_fields_and_metadata() {
    let state = Memory::default();
    write(NAMESPACES, "mycc", &sample(1, "1.0"), &state).unwrap();
    state.writes.borrow_mut().clear();
    write(NAMESPACES, "mycc", &ChaincodeLocalPackage { package_id: "p".to_owned() }, &state).unwrap();
    let writes = state.writes.borrow().clone();
    assert_eq!(writes.iter().filter(|key| key.starts_with('-')).count(), 4);
    assert!(writes.contains(&"namespaces/metadata/mycc".to_owned()));
    assert!(matches!(definition(&state, "mycc"), Err(LifecycleStateError::NotAChaincode(_))));
}

#[test]
fn approvals_are_compared_by_hash_and_name_their_differences() {
    let state = Memory::default();
    let approved = sample(1, "1.0").parameters();
    let name = private_name("mycc", 1);
    assert_eq!(matches(NAMESPACES, &name, &approved, &state).unwrap(), ["ChaincodeParameters"]);
    write(NAMESPACES, &name, &approved, &state).unwrap();
    assert!(matches(NAMESPACES, &name, &approved, &state).unwrap().is_empty());
    let other = sample(1, "2.0").parameters();
    assert_eq!(matches(NAMESPACES, &name, &other, &state).unwrap(), ["EndorsementInfo"]);
    assert_eq!(approved.difference(&other).unwrap(), "expected Version '1.0' does not match passed Version '2.0'");
    assert_eq!(list(NAMESPACES, &state).unwrap()[0].0, "mycc#1");
}

#[test]
fn only_sequence_keys_announce_an_update() {
    assert_eq!(updated_chaincode("namespaces/fields/mycc/Sequence"), Some("mycc"));
    assert_eq!(updated_chaincode("namespaces/fields/mycc/Collections"), None);
    assert_eq!(updated_chaincode("namespaces/fields/a/b/Sequence"), None);
    assert_eq!(implicit_collection_mspid(&implicit_collection("Org1MSP")), Some("Org1MSP"));
}
