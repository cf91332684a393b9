//! Which bytes hold which messages, and what depends on where a message is.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};

use super::{TranslateError, wire};

/// Where in the configuration tree a group belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// The root.
    Channel,
    /// The ordering service.
    Orderer,
    /// An organisation of the ordering service.
    OrdererOrg,
    /// The peers.
    Application,
    /// An organisation with peers.
    ApplicationOrg,
    /// The consortiums of a system channel.
    Consortiums,
    /// One consortium.
    Consortium,
    /// An organisation in a consortium.
    ConsortiumOrg,
}

/// What is known about a message beyond its type.
#[derive(Debug, Clone)]
pub(super) enum View {
    Plain,
    Group(GroupKind),
    /// A value of a group, with its key.
    Value(GroupKind, String),
    /// A namespace's part of a read-write set of the key-value kind.
    NamespaceRwset,
}

/// How a field is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// As the standard JSON form has it.
    Plain,
    /// A message, or messages, with opened bytes inside.
    Nested,
    /// Bytes that hold a message whose type is always the same.
    Opaque,
    /// Bytes that hold a message whose type other fields tell.
    Variable,
    /// A message, or messages, whose meaning depends on where it is.
    Dynamic,
}

const TIMESTAMP: &str = "google.protobuf.Timestamp";

fn is_message(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(message) if message.full_name() != TIMESTAMP)
}

fn nested(field: &FieldDescriptor) -> Treatment {
    let holds_messages = if field.is_map() {
        match field.kind() {
            Kind::Message(entry) => {
                entry.map_entry_key_field().kind() == Kind::String && is_message(&entry.map_entry_value_field().kind())
            }
            _ => false,
        }
    } else {
        is_message(&field.kind())
    };
    if holds_messages { Treatment::Nested } else { Treatment::Plain }
}

fn is_key_value_model(message: &DynamicMessage) -> bool {
    message.get_field_by_name("data_model").is_some_and(|model| model.as_enum_number() == Some(0))
}

/// How the field of the message is treated.
pub(super) fn treatment(view: &View, message: &DynamicMessage, field: &FieldDescriptor) -> Treatment {
    if field.containing_oneof().is_some() {
        return Treatment::Plain;
    }
    let descriptor = message.descriptor();
    match (view, descriptor.full_name(), field.name()) {
        (View::Group(_), _, "groups" | "values")
        | (_, "common.Config", "channel_group")
        | (_, "common.ConfigUpdate", "read_set" | "write_set") => Treatment::Dynamic,
        (_, "rwset.TxReadWriteSet", "ns_rwset") if is_key_value_model(message) => Treatment::Dynamic,
        // Values of a consortium are resolved late upstream, which makes no difference to the form.
        (View::Value(..), _, "value")
        | (View::NamespaceRwset, _, "rwset")
        | (_, "common.BlockData", "data")
        | (_, "common.Envelope", "payload")
        | (_, "common.Header", "channel_header" | "signature_header")
        | (_, "common.SignatureHeader", "creator")
        | (_, "common.ConfigUpdateEnvelope", "config_update")
        | (_, "common.ConfigSignature", "signature_header")
        | (_, "common.ConfigUpdate", "isolated_data")
        | (_, "protos.ChaincodeProposalPayload", "input")
        | (_, "protos.ChaincodeAction", "results" | "events")
        | (_, "protos.ProposalResponsePayload", "extension")
        | (_, "protos.TransactionAction", "header" | "payload")
        | (_, "protos.ChaincodeActionPayload", "chaincode_proposal_payload")
        | (_, "protos.ChaincodeEndorsedAction", "proposal_response_payload") => Treatment::Opaque,
        (_, "common.Payload", "data")
        | (_, "common.ChannelHeader", "extension")
        | (_, "common.Policy", "value")
        | (_, "msp.MSPConfig", "config")
        | (_, "common.MSPPrincipal", "principal")
        | (_, "orderer.ConsensusType", "metadata") => Treatment::Variable,
        _ => nested(field),
    }
}

fn integer(message: &DynamicMessage, field: &str) -> i32 {
    match message.get_field_by_name(field).as_deref() {
        Some(Value::I32(number) | Value::EnumNumber(number)) => *number,
        _ => 0,
    }
}

/// The type of the message in an opaque field. `None` is the empty message, which shows as `{}`.
pub(super) fn opaque_type(
    view: &View,
    message: &DynamicMessage,
    field: &str,
) -> Result<Option<&'static str>, TranslateError> {
    if let View::Value(kind, key) = view {
        return value_type(*kind, key).map(Some);
    }
    if let View::NamespaceRwset = view {
        return Ok(Some("kvrwset.KVRWSet"));
    }
    let descriptor = message.descriptor();
    Ok(Some(match (descriptor.full_name(), field) {
        ("common.BlockData", _) => "common.Envelope",
        ("common.Envelope", _) => "common.Payload",
        ("common.Header", "channel_header") => "common.ChannelHeader",
        ("common.Header" | "common.ConfigSignature", _) | ("protos.TransactionAction", "header") => {
            "common.SignatureHeader"
        }
        ("common.SignatureHeader", _) => "msp.SerializedIdentity",
        ("common.ConfigUpdateEnvelope", _) => "common.ConfigUpdate",
        ("protos.ChaincodeProposalPayload", _) => "protos.ChaincodeInvocationSpec",
        ("protos.ChaincodeAction", "results") => "rwset.TxReadWriteSet",
        ("protos.ChaincodeAction", _) => "protos.ChaincodeEvent",
        ("protos.ProposalResponsePayload", _) => "protos.ChaincodeAction",
        ("protos.TransactionAction", _) => "protos.ChaincodeActionPayload",
        ("protos.ChaincodeActionPayload", _) => "protos.ChaincodeProposalPayload",
        ("protos.ChaincodeEndorsedAction", _) => "protos.ProposalResponsePayload",
        ("common.Payload", _) => return payload_type(message).map(Some),
        ("common.ChannelHeader", _) => match integer(message, "type") {
            3 => "protos.ChaincodeHeaderExtension",
            _ => return Err(TranslateError::new("channel header extension only valid for endorser transactions")),
        },
        ("common.Policy", _) => match integer(message, "type") {
            1 => "common.SignaturePolicyEnvelope",
            3 => "common.ImplicitMetaPolicy",
            other => return Err(TranslateError::new(format!("unable to decode policy type: {other}"))),
        },
        ("msp.MSPConfig", _) => match integer(message, "type") {
            0 => "msp.FabricMSPConfig",
            1 => "msp.IdemixMSPConfig",
            other => return Err(TranslateError::new(format!("unable to decode MSP type: {other}"))),
        },
        ("common.MSPPrincipal", _) => match integer(message, "principal_classification") {
            0 => "common.MSPRole",
            1 => "common.OrganizationUnit",
            2 => "msp.SerializedIdentity",
            3 => return Err(TranslateError::new("unable to decode MSP type: ANONYMITY")),
            4 => return Err(TranslateError::new("unable to decode MSP type: COMBINED")),
            other => return Err(TranslateError::new(format!("unable to decode MSP type: {other}"))),
        },
        ("orderer.ConsensusType", _) => {
            let kind = message.get_field_by_name("type");
            match kind.as_ref().and_then(|kind| kind.as_str()) {
                Some("etcdraft") => "etcdraft.ConfigMetadata",
                Some("BFT") => "orderer.smartbft.Options",
                _ => return Ok(None),
            }
        }
        (_, other) => return Err(TranslateError::new(format!("not a marshaled field: {other}"))),
    }))
}

/// The type of an element of an opaque map field; there is none that is known.
pub(super) fn opaque_map_type(key: &str) -> TranslateError {
    TranslateError::new(format!("Unknown map key: {key}"))
}

fn payload_type(payload: &DynamicMessage) -> Result<&'static str, TranslateError> {
    let missing = || TranslateError::new("cannot determine payload type when header is missing");
    if !payload.has_field_by_name("header") {
        return Err(missing());
    }
    let header = payload.get_field_by_name("header").ok_or_else(missing)?;
    let header = header.as_message().ok_or_else(missing)?;
    let bytes = header.get_field_by_name("channel_header");
    let bytes = bytes.as_ref().and_then(|bytes| bytes.as_bytes()).cloned().unwrap_or_default();
    let channel_header = wire::decode(&super::descriptor("common.ChannelHeader")?, &bytes)
        .map_err(|error| error.within("corrupt channel header"))?;
    match integer(&channel_header, "type") {
        0 => Ok("common.ConfigValue"),
        1 => Ok("common.ConfigEnvelope"),
        2 => Ok("common.ConfigUpdateEnvelope"),
        3 => Ok("protos.Transaction"),
        4 => Ok("common.Envelope"),
        other => Err(TranslateError::new(format!("decoding type {other} is unimplemented"))),
    }
}

fn value_type(kind: GroupKind, key: &str) -> Result<&'static str, TranslateError> {
    let found = match (kind, key) {
        (GroupKind::Channel, "HashingAlgorithm") => "common.HashingAlgorithm",
        (GroupKind::Channel, "BlockDataHashingStructure") => "common.BlockDataHashingStructure",
        (GroupKind::Channel, "Consortium") => "common.Consortium",
        (GroupKind::Channel, "OrdererAddresses") | (GroupKind::OrdererOrg, "Endpoints") => "common.OrdererAddresses",
        (GroupKind::Channel | GroupKind::Orderer | GroupKind::Application, "Capabilities") => "common.Capabilities",
        (GroupKind::Orderer, "ConsensusType") => "orderer.ConsensusType",
        (GroupKind::Orderer, "BatchSize") => "orderer.BatchSize",
        (GroupKind::Orderer, "BatchTimeout") => "orderer.BatchTimeout",
        (GroupKind::Orderer, "KafkaBrokers") => "orderer.KafkaBrokers",
        (GroupKind::Orderer, "ChannelRestrictions") => "orderer.ChannelRestrictions",
        (GroupKind::Orderer, "Orderers") => "common.Orderers",
        (GroupKind::Application, "ACLs") => "protos.ACLs",
        (GroupKind::ApplicationOrg, "AnchorPeers") => "protos.AnchorPeers",
        (GroupKind::OrdererOrg | GroupKind::ApplicationOrg | GroupKind::ConsortiumOrg, "MSP") => "msp.MSPConfig",
        (GroupKind::Consortium, "ChannelCreationPolicy") => "common.Policy",
        _ => {
            let place = match kind {
                GroupKind::Channel => "unknown Channel",
                GroupKind::Orderer => "unknown Orderer",
                GroupKind::OrdererOrg => "unknown Orderer Org",
                GroupKind::Application => "Unknown Application",
                GroupKind::ApplicationOrg => "Unknown Application Org",
                GroupKind::Consortium | GroupKind::Consortiums => "unknown Consortium",
                GroupKind::ConsortiumOrg => "unknown Consortium Org",
            };
            return Err(TranslateError::new(format!("{place} ConfigValue name: {key}")));
        }
    };
    Ok(found)
}

/// What is known about the message in a dynamic field; `key` is its key when the field is a map.
pub(super) fn dynamic_view(view: &View, field: &str, key: &str) -> Result<View, TranslateError> {
    let View::Group(kind) = view else {
        return Ok(if field == "ns_rwset" { View::NamespaceRwset } else { View::Group(GroupKind::Channel) });
    };
    if field == "values" {
        if *kind == GroupKind::Consortiums {
            return Err(TranslateError::new("Consortiums currently support no config values"));
        }
        return Ok(View::Value(*kind, key.to_owned()));
    }
    let child = match (kind, key) {
        (GroupKind::Channel, "Consortiums") => GroupKind::Consortiums,
        (GroupKind::Channel, "Orderer") => GroupKind::Orderer,
        (GroupKind::Channel, "Application") => GroupKind::Application,
        (GroupKind::Channel, other) => {
            return Err(TranslateError::new(format!("unknown channel group sub-group '{other}'")));
        }
        (GroupKind::Consortiums, _) => GroupKind::Consortium,
        (GroupKind::Consortium, _) => GroupKind::ConsortiumOrg,
        (GroupKind::Orderer, _) => GroupKind::OrdererOrg,
        (GroupKind::Application, _) => GroupKind::ApplicationOrg,
        (GroupKind::ConsortiumOrg, _) => {
            return Err(TranslateError::new("ConsortiumOrg groups do not support sub groups"));
        }
        (GroupKind::OrdererOrg, _) => return Err(TranslateError::new("the orderer orgs do not support sub-groups")),
        (GroupKind::ApplicationOrg, _) => {
            return Err(TranslateError::new("The application orgs do not support sub-groups"));
        }
    };
    Ok(View::Group(child))
}
