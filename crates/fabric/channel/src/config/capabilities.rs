//! Capabilities: what every node of the channel must be able to do, and what they switch on.

use std::collections::BTreeSet;

use fabric_proto::common::Capabilities;

use crate::msp::MspVersion;

/// A capability that the channel requires and this version does not have. A node that goes on would fork.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{group} capability {name} is required but not supported")]
pub struct CapabilityError {
    /// `Channel`, `Orderer` or `Application`.
    pub group: &'static str,
    /// The capability.
    pub name: String,
}

fn names(capabilities: &Capabilities) -> BTreeSet<String> {
    capabilities.capabilities.keys().cloned().collect()
}

fn supported(group: &'static str, required: &BTreeSet<String>, known: &[&str]) -> Result<(), CapabilityError> {
    match required.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(CapabilityError { group, name: name.clone() }),
        None => Ok(()),
    }
}

macro_rules! has_any {
    ($self:ident, $($name:literal),+) => { [$($name),+].iter().any(|name| $self.required.contains(*name)) };
}

/// The capabilities of the whole channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelCapabilities {
    required: BTreeSet<String>,
}

impl ChannelCapabilities {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { required: names(capabilities) }
    }

    /// The names of the required capabilities.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.required.iter().map(String::as_str)
    }

    /// Whether this version has all that is required.
    pub fn supported(&self) -> Result<(), CapabilityError> {
        supported("Channel", &self.required, &["V1_1", "V1_3", "V1_4_2", "V1_4_3", "V2_0", "V3_0"])
    }

    /// The version of the MSP rules.
    pub fn msp_version(&self) -> MspVersion {
        if has_any!(self, "V3_0") {
            MspVersion::V3_0
        } else if has_any!(self, "V1_4_3", "V2_0") {
            MspVersion::V1_4_3
        } else if has_any!(self, "V1_3", "V1_4_2") {
            MspVersion::V1_3
        } else if has_any!(self, "V1_1") {
            MspVersion::V1_1
        } else {
            MspVersion::V1_0
        }
    }

    /// Whether the consensus type may change.
    pub fn consensus_type_migration(&self) -> bool {
        has_any!(self, "V1_4_2", "V1_4_3", "V2_0", "V3_0")
    }

    /// Whether ordering organisations may have endpoints of their own.
    pub fn org_specific_orderer_endpoints(&self) -> bool {
        has_any!(self, "V1_4_2", "V1_4_3", "V2_0", "V3_0")
    }

    /// Whether BFT consensus (and Ed25519 identities) may be used.
    pub fn consensus_type_bft(&self) -> bool {
        has_any!(self, "V3_0")
    }
}

/// The capabilities of the ordering service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrdererCapabilities {
    required: BTreeSet<String>,
}

impl OrdererCapabilities {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { required: names(capabilities) }
    }

    /// The names of the required capabilities.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.required.iter().map(String::as_str)
    }

    /// Whether this version has all that is required.
    pub fn supported(&self) -> Result<(), CapabilityError> {
        supported("Orderer", &self.required, &["V1_1", "V1_4_2", "V2_0"])
    }

    /// Whether messages that were checked under an older configuration are checked and ordered again.
    pub fn resubmission(&self) -> bool {
        has_any!(self, "V1_1", "V1_4_2", "V2_0")
    }

    /// Whether broadcast refuses creators whose certificates have expired.
    pub fn expiration_check(&self) -> bool {
        has_any!(self, "V1_1", "V1_4_2", "V2_0")
    }

    /// Whether the consensus type may change.
    pub fn consensus_type_migration(&self) -> bool {
        has_any!(self, "V1_4_2", "V2_0")
    }
}

/// The capabilities of the peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationCapabilities {
    required: BTreeSet<String>,
}

impl ApplicationCapabilities {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { required: names(capabilities) }
    }

    /// The names of the required capabilities.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.required.iter().map(String::as_str)
    }

    /// Whether this version has all that is required.
    pub fn supported(&self) -> Result<(), CapabilityError> {
        let known = [
            "V1_1",
            "V1_2",
            "V1_3",
            "V1_4_2",
            "V2_0",
            "V2_5",
            "V1_1_PVTDATA_EXPERIMENTAL",
            "V1_1_RESOURCETREE_EXPERIMENTAL",
        ];
        supported("Application", &self.required, &known)
    }

    /// Whether access rules may be configured.
    pub fn acls(&self) -> bool {
        has_any!(self, "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether a transaction id may occur only once in a block.
    pub fn forbid_duplicate_tx_id_in_block(&self) -> bool {
        has_any!(self, "V1_1", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether private data collections may be used.
    pub fn private_channel_data(&self) -> bool {
        has_any!(self, "V1_1_PVTDATA_EXPERIMENTAL", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether collections may change with a chaincode's upgrade.
    pub fn collection_upgrade(&self) -> bool {
        has_any!(self, "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether the validation rules of 1.1 apply.
    pub fn v1_1_validation(&self) -> bool {
        has_any!(self, "V1_1", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether the validation rules of 1.2 apply.
    pub fn v1_2_validation(&self) -> bool {
        has_any!(self, "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether the validation rules of 1.3 apply.
    pub fn v1_3_validation(&self) -> bool {
        has_any!(self, "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether the validation rules of 2.0 apply.
    pub fn v2_0_validation(&self) -> bool {
        has_any!(self, "V2_0", "V2_5")
    }

    /// Whether chaincodes are defined by the lifecycle of 2.0.
    pub fn lifecycle_v20(&self) -> bool {
        has_any!(self, "V2_0", "V2_5")
    }

    /// Whether keys may have endorsement policies of their own.
    pub fn key_level_endorsement(&self) -> bool {
        has_any!(self, "V1_3", "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether private data of invalid transactions is kept.
    pub fn store_private_data_of_invalid_tx(&self) -> bool {
        has_any!(self, "V1_4_2", "V2_0", "V2_5")
    }

    /// Whether private data may be purged.
    pub fn purge_private_data(&self) -> bool {
        has_any!(self, "V2_5")
    }
}
