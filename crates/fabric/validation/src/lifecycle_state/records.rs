//! The records themselves.

use bytes::Bytes;
use fabric_proto::lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo};
use fabric_proto::protos::{CollectionConfigPackage, StaticCollectionConfig, collection_config};
use prost::Message;

use super::{Field, FieldReader, LifecycleStateError, Record};

/// The endorsement plugin of a definition that names none.
pub const DEFAULT_ENDORSEMENT_PLUGIN: &str = "escc";
/// The validation plugin of a definition that names none.
pub const DEFAULT_VALIDATION_PLUGIN: &str = "vscc";

/// A committed chaincode definition, in the public state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChaincodeDefinition {
    /// Grows by one with every redefinition; the first is 1.
    pub sequence: i64,
    /// Version, endorsement plugin, whether initialisation is required.
    pub endorsement_info: ChaincodeEndorsementInfo,
    /// Validation plugin and the bytes of its policy.
    pub validation_info: ChaincodeValidationInfo,
    /// Private data collections.
    pub collections: CollectionConfigPackage,
}

impl ChaincodeDefinition {
    /// Everything but the sequence, as organisations approve it.
    pub fn parameters(&self) -> ChaincodeParameters {
        ChaincodeParameters {
            endorsement_info: self.endorsement_info.clone(),
            validation_info: self.validation_info.clone(),
            collections: self.collections.clone(),
        }
    }

    /// The configuration of an explicit collection.
    pub fn collection(&self, name: &str) -> Option<&StaticCollectionConfig> {
        self.collections.config.iter().find_map(|config| match &config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(collection)) if collection.name == name => {
                Some(collection)
            }
            _ => None,
        })
    }
}

impl Record for ChaincodeDefinition {
    const TYPE_NAME: &'static str = "ChaincodeDefinition";
    const FIELDS: &'static [&'static str] = &["Sequence", "EndorsementInfo", "ValidationInfo", "Collections"];

    fn to_fields(&self) -> Vec<Field> {
        vec![
            Field::Int64(self.sequence),
            encoded(&self.endorsement_info),
            encoded(&self.validation_info),
            encoded(&self.collections),
        ]
    }

    fn from_fields(fields: &FieldReader<'_>) -> Result<Self, LifecycleStateError> {
        Ok(Self {
            sequence: fields.int64("Sequence")?,
            endorsement_info: fields.message("EndorsementInfo")?,
            validation_info: fields.message("ValidationInfo")?,
            collections: fields.message("Collections")?,
        })
    }
}

/// An organisation's approval, in its implicit collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChaincodeParameters {
    /// Version, endorsement plugin, whether initialisation is required.
    pub endorsement_info: ChaincodeEndorsementInfo,
    /// Validation plugin and the bytes of its policy.
    pub validation_info: ChaincodeValidationInfo,
    /// Private data collections.
    pub collections: CollectionConfigPackage,
}

impl ChaincodeParameters {
    /// The first difference between the expected parameters (`self`) and those passed, in the original's words.
    pub fn difference(&self, passed: &Self) -> Option<String> {
        let (ours, theirs) = (&self.endorsement_info, &passed.endorsement_info);
        let differs = |name: &str, expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
            Some(format!("expected {name} '{expected}' does not match passed {name} '{found}'"))
        };
        if ours.version != theirs.version {
            return differs("Version", &ours.version, &theirs.version);
        }
        if ours.endorsement_plugin != theirs.endorsement_plugin {
            return differs("EndorsementPlugin", &ours.endorsement_plugin, &theirs.endorsement_plugin);
        }
        if ours.init_required != theirs.init_required {
            return differs("InitRequired", &ours.init_required, &theirs.init_required);
        }
        let (ours, theirs) = (&self.validation_info, &passed.validation_info);
        if ours.validation_plugin != theirs.validation_plugin {
            return differs("ValidationPlugin", &ours.validation_plugin, &theirs.validation_plugin);
        }
        if ours.validation_parameter != theirs.validation_parameter {
            return differs(
                "ValidationParameter",
                &hex::encode(&ours.validation_parameter),
                &hex::encode(&theirs.validation_parameter),
            );
        }
        (self.collections != passed.collections).then(|| "Collections do not match".to_owned())
    }
}

impl Record for ChaincodeParameters {
    const TYPE_NAME: &'static str = "ChaincodeParameters";
    const FIELDS: &'static [&'static str] = &["EndorsementInfo", "ValidationInfo", "Collections"];

    fn to_fields(&self) -> Vec<Field> {
        vec![encoded(&self.endorsement_info), encoded(&self.validation_info), encoded(&self.collections)]
    }

    fn from_fields(fields: &FieldReader<'_>) -> Result<Self, LifecycleStateError> {
        Ok(Self {
            endorsement_info: fields.message("EndorsementInfo")?,
            validation_info: fields.message("ValidationInfo")?,
            collections: fields.message("Collections")?,
        })
    }
}

/// Which installed package an organisation runs for an approved definition; an empty id means none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChaincodeLocalPackage {
    /// `label:hash`.
    pub package_id: String,
}

impl Record for ChaincodeLocalPackage {
    const TYPE_NAME: &'static str = "ChaincodeLocalPackage";
    const FIELDS: &'static [&'static str] = &["PackageID"];

    fn to_fields(&self) -> Vec<Field> {
        vec![Field::Text(self.package_id.clone())]
    }

    fn from_fields(fields: &FieldReader<'_>) -> Result<Self, LifecycleStateError> {
        Ok(Self { package_id: fields.text("PackageID")? })
    }
}

/// An approval as the lifecycle queries answer it: parameters and the package behind them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApprovedSource {
    /// The approved parameters.
    pub parameters: ChaincodeParameters,
    /// The package, `None` when the organisation approved without one.
    pub package_id: Option<String>,
}

fn encoded(message: &impl Message) -> Field {
    Field::Bytes(Bytes::from(message.encode_to_vec()))
}
