//! Definitions of contracts, and what is written down of deployments.
//!
//! Every deployment has a folder of its own, named after its sequence and its request, so that a deployment that fails leaves the
//! record of the running contract alone. Once a definition is committed, the file `current` names its folder.

use std::path::{Path, PathBuf};

use fabric_client::admin::ChaincodeDefinition;
use fabric_client::collections;
use fabric_proto::protos::CollectionConfigPackage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connect::Net;
use super::layout::{Layout, invalid, read, remove_folder, write};
use crate::EngineError;
use crate::act::Deployment;

const RECORD: &str = "deployment.json";
const PACKAGE: &str = "package.tar.gz";
const CURRENT: &str = "current";

/// A deployment as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Name on the channel.
    pub(super) name: String,
    /// Version text.
    pub(super) version: String,
    /// Sequence of the definition.
    pub(super) sequence: i64,
    /// Label of the package.
    pub(super) label: String,
    /// Id of the package.
    pub(super) package_id: String,
    /// Whether the first call must initialise.
    pub(super) init: bool,
    /// Endorsement policy in the policy language.
    pub(super) policy: Option<String>,
    /// Collections in upstream's JSON.
    pub(super) collections: Option<Value>,
}

impl Record {
    pub(super) fn definition(&self) -> Result<ChaincodeDefinition, EngineError> {
        definition(
            &self.name,
            &self.version,
            self.sequence,
            self.init,
            self.policy.as_deref(),
            self.collections.as_ref(),
        )
    }
}

/// What was asked for as organisations agree on it.
pub(super) fn definition(
    name: &str,
    version: &str,
    sequence: i64,
    init: bool,
    policy: Option<&str>,
    wanted: Option<&Value>,
) -> Result<ChaincodeDefinition, EngineError> {
    let collections = match wanted {
        None => None,
        Some(list) => {
            Some(collections::from_json(list.to_string().as_bytes()).map_err(|error| invalid("collections", error))?)
        }
    };
    // The default is spelled out, so that what peers answer can be compared with what was asked for.
    let policy = policy.map(str::trim).unwrap_or_default();
    let default = if policy.is_empty() { "/Channel/Application/Endorsement" } else { "" };
    Ok(ChaincodeDefinition {
        name: name.to_owned(),
        version: version.to_owned(),
        sequence,
        init_required: init,
        validation_parameter: collections::policy_bytes(policy, default).map_err(|error| {
            invalid("policy", format!("{error}; write it as AND('Org1MSP.peer','Org2MSP.peer') or OR(…)"))
        })?,
        collections,
        ..ChaincodeDefinition::default()
    })
}

/// Whether what a peer tells of a definition is this one.
pub(super) fn same(
    wanted: &ChaincodeDefinition,
    version: &str,
    init_required: bool,
    validation_parameter: &[u8],
    collections: Option<CollectionConfigPackage>,
) -> bool {
    wanted.version == version
        && wanted.init_required == init_required
        && wanted.validation_parameter == validation_parameter
        && wanted.collections.clone().unwrap_or_default() == collections.unwrap_or_default()
}

/// A chaincode name as the network accepts it.
pub(super) fn check_name(name: &str) -> Result<(), EngineError> {
    let letters = |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric());
    if name.len() <= 128 && name.split(['-', '_']).all(letters) {
        return Ok(());
    }
    Err(invalid("name", "use letters and digits, divided by single dashes or underscores, such as asset-transfer"))
}

/// A deployment that was written down.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) record: Record,
    folder: PathBuf,
}

impl Kept {
    fn open(folder: PathBuf) -> Result<Self, EngineError> {
        let path = folder.join(RECORD);
        let record = serde_json::from_slice(&read(&path)?).map_err(|error| EngineError::Io {
            what: format!("read {}", path.display()),
            source: std::io::Error::other(error),
        })?;
        Ok(Self { record, folder })
    }

    /// The package.
    pub(super) fn package(&self) -> Result<Vec<u8>, EngineError> {
        read(&self.folder.join(PACKAGE))
    }

    /// Notes that this is what runs now; what ran before is not needed any more.
    pub(super) fn commit(&self) -> Result<(), EngineError> {
        let (Some(parent), Some(name)) = (self.folder.parent(), self.folder.file_name()) else { return Ok(()) };
        write(&parent.join(CURRENT), name.as_encoded_bytes())?;
        for (sequence, folder) in folders(parent) {
            if sequence < self.record.sequence {
                remove_folder(&folder)?;
            }
        }
        Ok(())
    }
}

/// The deployments of a contract that were written down, with their sequences.
fn folders(contract: &Path) -> Vec<(i64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(contract) else { return Vec::new() };
    let mut found: Vec<(i64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let sequence = entry.file_name().to_str()?.split_once('-')?.0.parse().ok()?;
            Some((sequence, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// What tells one request from another.
fn mark(deployment: &Deployment) -> String {
    let text = serde_json::to_vec(deployment).unwrap_or_default();
    hex::encode(&konsort_crypto::hash::sha256(&text)[..8])
}

/// Writes a deployment down.
pub(super) fn keep(
    layout: &Layout,
    deployment: &Deployment,
    record: &Record,
    package: &[u8],
) -> Result<(), EngineError> {
    let contract = layout.contracts(&deployment.channel).join(&deployment.name);
    let folder = contract.join(format!("{}-{}", record.sequence, mark(deployment)));
    write(&folder.join(PACKAGE), package)?;
    write(&folder.join(RECORD), &serde_json::to_vec_pretty(record).unwrap_or_default())
}

/// A deployment that is under way, as its first step wrote it down.
pub(super) fn under_way(layout: &Layout, deployment: &Deployment) -> Result<Kept, EngineError> {
    let contract = layout.contracts(&deployment.channel).join(&deployment.name);
    let mark = format!("-{}", mark(deployment));
    let own = |(_, path): &(i64, PathBuf)| path.to_string_lossy().ends_with(&mark) && path.join(RECORD).exists();
    let newest = folders(&contract).into_iter().rfind(own).ok_or_else(|| EngineError::NotFound {
        what: format!("the package of {} on {}", deployment.name, deployment.channel),
    })?;
    Kept::open(newest.1)
}

/// What was deployed on a channel from here and runs.
pub(super) fn deployed(layout: &Layout, channel: &str) -> Result<Vec<Kept>, EngineError> {
    let Ok(entries) = std::fs::read_dir(layout.contracts(channel)) else { return Ok(Vec::new()) };
    let mut contracts: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    contracts.sort();
    let mut all = Vec::new();
    for contract in contracts {
        let pointer = contract.join(CURRENT);
        if pointer.exists() {
            let name = String::from_utf8_lossy(&read(&pointer)?).into_owned();
            if !folders(&contract).iter().any(|(_, folder)| folder.ends_with(&name)) {
                return Err(EngineError::NotFound { what: format!("{} in {}", name, contract.display()) });
            }
            all.push(Kept::open(contract.join(name))?);
        }
    }
    Ok(all)
}

impl Net<'_> {
    /// What was deployed on a channel from here and runs.
    pub(super) fn deployed(&self, channel: &str) -> Result<Vec<Kept>, EngineError> {
        deployed(&self.layout(), channel)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::act::Artifact;

    #[test]
    fn names_and_policies_are_checked() {
        for name in ["basic", "asset-transfer", "a_b-c1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a--b", "a/b", "合约", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(definition("a", "1", 1, false, Some("AND('Org1MSP.peer')"), None).is_ok());
        assert!(matches!(definition("a", "1", 1, false, Some("AND("), None),
            Err(EngineError::Invalid { field, .. }) if field == "policy"));
        let wrong = json!([{"name": "c", "policy": "nonsense"}]);
        assert!(matches!(definition("a", "1", 1, false, None, Some(&wrong)),
            Err(EngineError::Invalid { field, .. }) if field == "collections"));
    }

    fn deployment(version: &str) -> Deployment {
        Deployment {
            contract: "ctr_1".into(),
            name: "basic".into(),
            version: version.into(),
            channel: "mychannel".into(),
            artifact: Artifact::Builtin { name: "asset-transfer".into() },
            arguments: Vec::new(),
            init: false,
            policy: None,
            collections: None,
            signer: None,
        }
    }

    fn record(version: &str, sequence: i64) -> Record {
        Record {
            name: "basic".into(),
            version: version.into(),
            sequence,
            label: "basic".into(),
            package_id: format!("basic:{version}"),
            init: false,
            policy: None,
            collections: None,
        }
    }

    #[test]
    fn a_failed_upgrade_leaves_the_record_of_what_runs() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let first = deployment("1.0");
        keep(&layout, &first, &record("1.0", 1), b"one").unwrap();
        assert!(deployed(&layout, "mychannel").unwrap().is_empty());
        under_way(&layout, &first).unwrap().commit().unwrap();
        // An upgrade that goes no further than its first step.
        let second = deployment("2.0");
        keep(&layout, &second, &record("2.0", 2), b"two").unwrap();
        let running = deployed(&layout, "mychannel").unwrap();
        assert_eq!((running.len(), running[0].record.clone()), (1, record("1.0", 1)));
        assert_eq!(running[0].package().unwrap(), b"one");
        assert_eq!(under_way(&layout, &second).unwrap().package().unwrap(), b"two");
        // Another one at the same sequence is committed instead, and the first version once more after it.
        let third = deployment("2.1");
        keep(&layout, &third, &record("2.1", 2), b"three").unwrap();
        under_way(&layout, &third).unwrap().commit().unwrap();
        assert_eq!(deployed(&layout, "mychannel").unwrap()[0].record.version, "2.1");
        keep(&layout, &first, &record("1.0", 3), b"one").unwrap();
        assert_eq!(under_way(&layout, &first).unwrap().record.sequence, 3);
        under_way(&layout, &first).unwrap().commit().unwrap();
        assert_eq!(deployed(&layout, "mychannel").unwrap()[0].record.sequence, 3);
        assert!(under_way(&layout, &second).is_err(), "left behind by a later definition");
    }
}
