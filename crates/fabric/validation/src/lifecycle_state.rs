//! The layout of chaincode definitions in the world state, shared by everyone who reads or writes it.
//!
//! A record is spread over one key per field, so that a redefinition writes only what changed and so that other organisations
//! can compare approvals through private-data hashes. Keys of the public `_lifecycle` namespace:
//!
//! ```text
//! namespaces/metadata/NAME              StateMetadata { datatype, fields }
//! namespaces/fields/NAME/FIELD          StateData { int64 | bytes | string }
//! ```
//!
//! In the implicit collection `_implicit_org_MSPID` of the same namespace `NAME` is `chaincode#sequence`, and the installed package
//! is named below `chaincode-sources` instead of `namespaces`.
//!
//! [`read`], [`write`], [`matches`] and [`list`] work on any [`Record`] over the small key-value traits below;
//! [`definition`] is the shortcut that validation and endorsement use.

mod records;

use bytes::Bytes;
use fabric_ledger::StateGet;
use fabric_proto::lifecycle::{StateData, StateMetadata, state_data};
use konsort_crypto::hash::sha256;
use prost::Message;

pub use records::{
    ApprovedSource, ChaincodeDefinition, ChaincodeLocalPackage, ChaincodeParameters, DEFAULT_ENDORSEMENT_PLUGIN,
    DEFAULT_VALIDATION_PLUGIN,
};

/// The namespace of the lifecycle system chaincode.
pub const LIFECYCLE_NAMESPACE: &str = "_lifecycle";
/// The first part of the keys of definitions and approvals.
pub const NAMESPACES: &str = "namespaces";
/// The first part of the keys that say which installed package an organisation uses.
pub const CHAINCODE_SOURCES: &str = "chaincode-sources";
/// What the name of an organisation's implicit collection starts with.
pub const IMPLICIT_COLLECTION_PREFIX: &str = "_implicit_org_";
/// The channel policy that a definition without a policy of its own refers to.
pub const DEFAULT_ENDORSEMENT_POLICY: &str = "/Channel/Application/Endorsement";
/// The channel policy that guards writes to [`LIFECYCLE_NAMESPACE`].
pub const LIFECYCLE_ENDORSEMENT_POLICY: &str = "/Channel/Application/LifecycleEndorsement";

const METADATA: &str = "metadata";
const FIELDS: &str = "fields";

/// The store behind the key-value traits failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StateError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

impl StateError {
    /// Wraps whatever the store reports.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Reads one namespace (or one collection of it).
pub trait ReadState {
    /// The value of `key`, or `None` when it was never written or is deleted.
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError>;
}

/// Reads and writes one namespace (or one collection of it); interior mutability, as a simulator has it.
pub trait WriteState: ReadState {
    /// Sets `key`.
    fn put_state(&self, key: &str, value: Bytes) -> Result<(), StateError>;
    /// Removes `key`.
    fn delete_state(&self, key: &str) -> Result<(), StateError>;
}

/// Reads the value hashes of one private collection, as every peer of the channel may.
pub trait HashedState {
    /// SHA-256 of the value of `key`, or `None` when it was never written or is deleted.
    fn get_state_hash(&self, key: &str) -> Result<Option<Bytes>, StateError>;
}

/// Reads a run of keys of one namespace (or one collection of it).
pub trait RangeState: ReadState {
    /// Every key in the half-open range `start..end`, in key order.
    fn get_state_range(&self, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateError>;
}

/// The public `_lifecycle` namespace of a ledger, as [`ReadState`].
#[derive(Clone, Copy)]
pub struct LedgerNamespace<'a> {
    /// The world state, or a simulator (whose read set then records what is read).
    pub state: &'a dyn StateGet,
}

impl std::fmt::Debug for LedgerNamespace<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LedgerNamespace(_lifecycle)")
    }
}

impl ReadState for LedgerNamespace<'_> {
    fn get_state(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        self.state.get_state(LIFECYCLE_NAMESPACE, key).map_err(StateError::new)
    }
}

/// Why lifecycle state could not be read or written. The texts are those that users of the original know.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleStateError {
    /// The metadata row could not be read.
    #[error("could not query metadata for namespace {namespace}/{name}: {source}")]
    Metadata {
        /// First key part.
        namespace: String,
        /// Record name.
        name: String,
        /// The store's error.
        source: StateError,
    },
    /// A metadata row that is no `StateMetadata`.
    #[error("could not unmarshal metadata for namespace {namespace}/{name}: {source}")]
    MetadataBytes {
        /// First key part.
        namespace: String,
        /// Record name.
        name: String,
        /// The decoder's error.
        source: prost::DecodeError,
    },
    /// A key could not be read or written.
    #[error("could not get state for key {key}: {source}")]
    State {
        /// The key.
        key: String,
        /// The store's error.
        source: StateError,
    },
    /// A field row that is no `StateData`, or whose bytes are not the message they should be.
    #[error("could not unmarshal state for key {key}: {source}")]
    FieldBytes {
        /// The key.
        key: String,
        /// The decoder's error.
        source: prost::DecodeError,
    },
    /// A field row of another kind than the record's field.
    #[error("expected key {key} to encode a value of type {expected}, but was {found}")]
    FieldKind {
        /// The key.
        key: String,
        /// What the record's field is.
        expected: &'static str,
        /// What the row holds.
        found: &'static str,
    },
    /// A record of another type stands under this name.
    #[error("type name mismatch '{expected}' != '{found}'")]
    TypeName {
        /// The type asked for.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// The name is taken by something that is not a chaincode.
    #[error("not a chaincode type: {0}")]
    NotAChaincode(String),
}

/// One field's value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A signed number.
    Int64(i64),
    /// Text.
    Text(String),
    /// Bytes, or an encoded message (empty for an absent one).
    Bytes(Bytes),
}

impl Field {
    fn encode(&self) -> Bytes {
        let value = match self {
            Self::Int64(number) => state_data::Type::Int64(*number),
            Self::Text(text) => state_data::Type::String(text.clone()),
            Self::Bytes(bytes) => state_data::Type::Bytes(bytes.clone()),
        };
        Bytes::from(StateData { r#type: Some(value) }.encode_to_vec())
    }
}

/// A struct that is stored one key per field. Field names and their order are part of the format.
pub trait Record: Sized {
    /// The type name in the metadata row.
    const TYPE_NAME: &'static str;
    /// The fields' names, in order.
    const FIELDS: &'static [&'static str];
    /// The fields' values, in the order of [`Self::FIELDS`].
    fn to_fields(&self) -> Vec<Field>;
    /// Reads the record field by field; `fields` decodes the row of the named field.
    fn from_fields(fields: &FieldReader<'_>) -> Result<Self, LifecycleStateError>;
}

/// Reads the fields of one record.
pub struct FieldReader<'a> {
    namespace: &'a str,
    name: &'a str,
    state: &'a dyn ReadState,
}

impl std::fmt::Debug for FieldReader<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FieldReader({}/{})", self.namespace, self.name)
    }
}

impl FieldReader<'_> {
    fn row(&self, field: &str) -> Result<(String, Option<state_data::Type>), LifecycleStateError> {
        let key = field_key(self.namespace, self.name, field);
        match self.state.get_state(&key) {
            Err(source) => Err(LifecycleStateError::State { key, source }),
            Ok(None) => Ok((key, None)),
            Ok(Some(value)) => match StateData::decode(value) {
                Err(source) => Err(LifecycleStateError::FieldBytes { key, source }),
                Ok(data) => Ok((key, data.r#type)),
            },
        }
    }

    /// A number; zero when the row is absent.
    pub fn int64(&self, field: &str) -> Result<i64, LifecycleStateError> {
        match self.row(field)? {
            (_, None) => Ok(0),
            (_, Some(state_data::Type::Int64(number))) => Ok(number),
            (key, Some(other)) => Err(kind_error(key, "Int64", &other)),
        }
    }

    /// Text; empty when the row is absent.
    pub fn text(&self, field: &str) -> Result<String, LifecycleStateError> {
        match self.row(field)? {
            (_, None) => Ok(String::new()),
            (_, Some(state_data::Type::String(text))) => Ok(text),
            (key, Some(other)) => Err(kind_error(key, "String", &other)),
        }
    }

    /// A message; the default one when the row is absent.
    pub fn message<M: Message + Default>(&self, field: &str) -> Result<M, LifecycleStateError> {
        match self.row(field)? {
            (_, None) => Ok(M::default()),
            (key, Some(state_data::Type::Bytes(bytes))) => {
                M::decode(bytes).map_err(|source| LifecycleStateError::FieldBytes { key, source })
            }
            (key, Some(other)) => Err(kind_error(key, "[]byte", &other)),
        }
    }
}

fn kind_error(key: String, expected: &'static str, found: &state_data::Type) -> LifecycleStateError {
    let found = match found {
        state_data::Type::Int64(_) => "Int64",
        state_data::Type::String(_) => "String",
        state_data::Type::Bytes(_) => "[]byte",
    };
    LifecycleStateError::FieldKind { key, expected, found }
}

/// `namespace/metadata/name`.
pub fn metadata_key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{METADATA}/{name}")
}

/// `namespace/fields/name/field`.
pub fn field_key(namespace: &str, name: &str, field: &str) -> String {
    format!("{namespace}/{FIELDS}/{name}/{field}")
}

/// The name under which an organisation keeps its approval of `sequence` of `chaincode`.
pub fn private_name(chaincode: &str, sequence: i64) -> String {
    format!("{chaincode}#{sequence}")
}

/// The implicit collection of an organisation.
pub fn implicit_collection(mspid: &str) -> String {
    format!("{IMPLICIT_COLLECTION_PREFIX}{mspid}")
}

/// The organisation whose implicit collection this is, if the name has that form.
pub fn implicit_collection_mspid(collection: &str) -> Option<&str> {
    collection.strip_prefix(IMPLICIT_COLLECTION_PREFIX)
}

/// The chaincode whose definition changes when this public `_lifecycle` key is written (`namespaces/fields/NAME/Sequence`).
pub fn updated_chaincode(key: &str) -> Option<&str> {
    let name = key.strip_prefix("namespaces/fields/")?.strip_suffix("/Sequence")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// The metadata row of a record, or `None` when there is no record of that name.
pub fn metadata(
    namespace: &str,
    name: &str,
    state: &dyn ReadState,
) -> Result<Option<StateMetadata>, LifecycleStateError> {
    let row = state.get_state(&metadata_key(namespace, name)).map_err(|source| LifecycleStateError::Metadata {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source,
    })?;
    row.map(|bytes| {
        StateMetadata::decode(bytes).map_err(|source| LifecycleStateError::MetadataBytes {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            source,
        })
    })
    .transpose()
}

/// Reads a record, or `None` when there is none of that name. A record of another type is an error.
pub fn read<R: Record>(namespace: &str, name: &str, state: &dyn ReadState) -> Result<Option<R>, LifecycleStateError> {
    let Some(metadata) = metadata(namespace, name, state)? else { return Ok(None) };
    if metadata.datatype != R::TYPE_NAME {
        return Err(LifecycleStateError::TypeName { expected: R::TYPE_NAME, found: metadata.datatype });
    }
    R::from_fields(&FieldReader { namespace, name, state }).map(Some)
}

/// One number field of a record, zero when absent (the metadata row is not read, which keeps read sets as the original's).
pub fn read_int64(namespace: &str, name: &str, field: &str, state: &dyn ReadState) -> Result<i64, LifecycleStateError> {
    FieldReader { namespace, name, state }.int64(field)
}

/// Writes a record: only the fields that changed, the metadata row when the type or field list changed, and deletes for
/// fields that are no longer part of it. Reads happen in the original's order, because they end up in the read set.
pub fn write<R: Record>(
    namespace: &str,
    name: &str,
    record: &R,
    state: &dyn WriteState,
) -> Result<(), LifecycleStateError> {
    let state_error = |key: &str| {
        let key = key.to_owned();
        move |source| LifecycleStateError::State { key, source }
    };
    let mut metadata = metadata(namespace, name, state)?.unwrap_or_default();
    let mut existing = std::collections::BTreeMap::new();
    for field in &metadata.fields {
        let key = field_key(namespace, name, field);
        let value = state.get_state(&key).map_err(state_error(&key))?;
        existing.insert(key, value);
    }
    for (field, value) in R::FIELDS.iter().zip(record.to_fields()) {
        let key = field_key(namespace, name, field);
        let encoded = value.encode();
        let unchanged = existing.remove(&key).is_some_and(|old| old.unwrap_or_default() == encoded);
        if !unchanged {
            state.put_state(&key, encoded).map_err(state_error(&key))?;
        }
    }
    if !existing.is_empty() || metadata.datatype != R::TYPE_NAME || metadata.fields.len() != R::FIELDS.len() {
        metadata = metadata_for::<R>();
        let key = metadata_key(namespace, name);
        state.put_state(&key, Bytes::from(metadata.encode_to_vec())).map_err(state_error(&key))?;
    }
    for key in existing.keys() {
        state.delete_state(key).map_err(state_error(key))?;
    }
    Ok(())
}

fn metadata_for<R: Record>() -> StateMetadata {
    StateMetadata {
        datatype: R::TYPE_NAME.to_owned(),
        fields: R::FIELDS.iter().map(|field| (*field).to_owned()).collect(),
    }
}

/// Compares a record with the hashes of another organisation's copy. An empty list means equal; otherwise the names of the
/// fields that differ, or only the type name when the metadata row differs or is absent.
pub fn matches<R: Record>(
    namespace: &str,
    name: &str,
    record: &R,
    state: &dyn HashedState,
) -> Result<Vec<&'static str>, LifecycleStateError> {
    let hash_of = |key: String| match state.get_state_hash(&key) {
        Ok(hash) => Ok(hash),
        Err(source) => Err(LifecycleStateError::State { key, source }),
    };
    let metadata_hash = hash_of(metadata_key(namespace, name))?;
    let mut field_hashes = Vec::with_capacity(R::FIELDS.len());
    for field in R::FIELDS {
        field_hashes.push(hash_of(field_key(namespace, name, field))?);
    }
    let equal = |found: &Option<Bytes>, bytes: &[u8]| found.as_deref() == Some(sha256(bytes).as_slice());
    if !equal(&metadata_hash, &metadata_for::<R>().encode_to_vec()) {
        return Ok(vec![R::TYPE_NAME]);
    }
    Ok(R::FIELDS
        .iter()
        .zip(record.to_fields())
        .zip(&field_hashes)
        .filter(|((_, value), found)| !equal(found, &value.encode()))
        .map(|((field, _), _)| *field)
        .collect())
}

/// Every record below `namespace`: name and metadata, in key order.
pub fn list(namespace: &str, state: &dyn RangeState) -> Result<Vec<(String, StateMetadata)>, LifecycleStateError> {
    let prefix = format!("{namespace}/{METADATA}/");
    // Names are limited to ASCII up to `~`, so DEL closes the range, as in the original's range reads.
    let rows = state
        .get_state_range(&prefix, &format!("{prefix}\x7f"))
        .map_err(|source| LifecycleStateError::State { key: prefix.clone(), source })?;
    rows.into_iter()
        .map(|(key, value)| {
            let name = key.get(prefix.len()..).unwrap_or_default().to_owned();
            match StateMetadata::decode(value) {
                Ok(metadata) => Ok((name, metadata)),
                Err(source) => {
                    Err(LifecycleStateError::MetadataBytes { namespace: namespace.to_owned(), name, source })
                }
            }
        })
        .collect()
}

/// The committed definition of a chaincode, or `None` when the channel has none of that name.
pub fn definition(state: &dyn ReadState, chaincode: &str) -> Result<Option<ChaincodeDefinition>, LifecycleStateError> {
    match read::<ChaincodeDefinition>(NAMESPACES, chaincode, state) {
        Err(LifecycleStateError::TypeName { found, .. }) => Err(LifecycleStateError::NotAChaincode(found)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
