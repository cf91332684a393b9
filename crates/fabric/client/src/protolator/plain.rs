//! The standard JSON form of fields that are not opened, in both directions.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json};

use super::TranslateError;

const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// A message with no field opened; unset fields are shown with their defaults.
pub(super) fn message_to_json(message: &DynamicMessage) -> Result<Json, TranslateError> {
    if message.descriptor().full_name() == TIMESTAMP {
        return timestamp_to_json(message);
    }
    let mut tree = Map::new();
    for field in message.descriptor().fields() {
        if let Some(value) = field_to_json(message, &field)? {
            tree.insert(field.name().to_owned(), value);
        }
    }
    Ok(Json::Object(tree))
}

/// A field; `None` for a part of a one-of that is not the one.
pub(super) fn field_to_json(message: &DynamicMessage, field: &FieldDescriptor) -> Result<Option<Json>, TranslateError> {
    if !message.has_field(field) {
        if field.containing_oneof().is_some() {
            return Ok(None);
        }
        if !field.is_list() && !field.is_map() && matches!(field.kind(), Kind::Message(_)) {
            return Ok(Some(Json::Null));
        }
    }
    let value = message.get_field(field);
    Ok(Some(match value.as_ref() {
        Value::List(list) => {
            Json::Array(list.iter().map(|item| value_to_json(&field.kind(), item)).collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let Kind::Message(entry) = field.kind() else { return Ok(Some(Json::Null)) };
            let kind = entry.map_entry_value_field().kind();
            let entries = map.iter().map(|(key, item)| Ok((key_text(key), value_to_json(&kind, item)?)));
            Json::Object(entries.collect::<Result<_, TranslateError>>()?)
        }
        single => value_to_json(&field.kind(), single)?,
    }))
}

pub(super) fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(flag) => flag.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}

fn value_to_json(kind: &Kind, value: &Value) -> Result<Json, TranslateError> {
    Ok(match value {
        Value::Bool(flag) => Json::Bool(*flag),
        Value::I32(number) => Json::from(*number),
        Value::U32(number) => Json::from(*number),
        Value::I64(number) => Json::String(number.to_string()),
        Value::U64(number) => Json::String(number.to_string()),
        Value::F32(number) => Json::from(*number),
        Value::F64(number) => Json::from(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(names) => names
                .get_value(*number)
                .map_or_else(|| Json::from(*number), |name| Json::String(name.name().to_owned())),
            _ => Json::from(*number),
        },
        Value::Message(message) => message_to_json(message)?,
        Value::List(_) | Value::Map(_) => Json::Null,
    })
}

/// Bytes in base64 of either alphabet, with or without padding.
fn bytes_from(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    let url_safe = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    standard.decode(text).or_else(|_| url_safe.decode(text)).ok()
}

/// Sets a field from the standard form; `null` leaves it unset.
pub(super) fn set_field(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    json: Json,
) -> Result<(), TranslateError> {
    if json.is_null() {
        return Ok(());
    }
    let wrong = || TranslateError::new(format!("proto: invalid value for field {}", field.name()));
    let value = if field.is_map() {
        let (Json::Object(entries), Kind::Message(entry)) = (json, field.kind()) else { return Err(wrong()) };
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut map = std::collections::HashMap::new();
        for (key, item) in entries {
            let key = key_from(&key_kind, &key).ok_or_else(wrong)?;
            map.insert(key, value_from(&value_kind, item, field)?);
        }
        Value::Map(map)
    } else if field.is_list() {
        let Json::Array(items) = json else { return Err(wrong()) };
        Value::List(items.into_iter().map(|item| value_from(&field.kind(), item, field)).collect::<Result<_, _>>()?)
    } else {
        value_from(&field.kind(), json, field)?
    };
    message.try_set_field(field, value).map_err(|_| wrong())
}

fn key_from(kind: &Kind, text: &str) -> Option<MapKey> {
    Some(match kind {
        Kind::String => MapKey::String(text.to_owned()),
        Kind::Bool => MapKey::Bool(text.parse().ok()?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(text.parse().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(text.parse().ok()?),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(text.parse().ok()?),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(text.parse().ok()?),
        _ => return None,
    })
}

/// A number, or a text that holds one.
fn number<T: std::str::FromStr>(json: &Json) -> Option<T> {
    match json {
        Json::Number(number) => number.to_string().parse().ok(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn value_from(kind: &Kind, json: Json, field: &FieldDescriptor) -> Result<Value, TranslateError> {
    let found = match (kind, &json) {
        (Kind::Message(descriptor), _) => return message_from(descriptor, json).map(Value::Message),
        (Kind::Bool, Json::Bool(flag)) => Some(Value::Bool(*flag)),
        (Kind::String, Json::String(text)) => Some(Value::String(text.clone())),
        (Kind::Bytes, Json::String(text)) => bytes_from(text).map(|bytes| Value::Bytes(bytes.into())),
        (Kind::Int32 | Kind::Sint32 | Kind::Sfixed32, _) => number(&json).map(Value::I32),
        (Kind::Int64 | Kind::Sint64 | Kind::Sfixed64, _) => number(&json).map(Value::I64),
        (Kind::Uint32 | Kind::Fixed32, _) => number(&json).map(Value::U32),
        (Kind::Uint64 | Kind::Fixed64, _) => number(&json).map(Value::U64),
        (Kind::Float, _) => number(&json).map(Value::F32),
        (Kind::Double, _) => number(&json).map(Value::F64),
        (Kind::Enum(names), Json::String(text)) => {
            names.get_value_by_name(text).map(|value| Value::EnumNumber(value.number()))
        }
        (Kind::Enum(_), _) => number(&json).map(Value::EnumNumber),
        _ => None,
    };
    found.ok_or_else(|| {
        let text: String = json.to_string().chars().take(80).collect();
        TranslateError::new(format!("proto: invalid value for field {}: {text}", field.name()))
    })
}

/// The field of that name, in either spelling.
pub(super) fn field_named(descriptor: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, TranslateError> {
    descriptor
        .get_field_by_name(name)
        .or_else(|| descriptor.get_field_by_json_name(name))
        .ok_or_else(|| TranslateError::new(format!("proto: unknown field \"{name}\"")))
}

fn message_from(descriptor: &MessageDescriptor, json: Json) -> Result<DynamicMessage, TranslateError> {
    if descriptor.full_name() == TIMESTAMP {
        return timestamp_from(descriptor, &json);
    }
    let Json::Object(tree) = json else {
        return Err(TranslateError::new(format!("proto: {} must be an object", descriptor.full_name())));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in tree {
        let field = field_named(descriptor, &name)?;
        set_field(&mut message, &field, value)?;
    }
    Ok(message)
}

const NANOSECONDS: i32 = 1_000_000_000;

fn timestamp_to_json(message: &DynamicMessage) -> Result<Json, TranslateError> {
    let part = |name: &str| message.get_field_by_name(name);
    let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
    let out_of_range = || TranslateError::new("proto: google.protobuf.Timestamp: seconds out of range");
    if !(0..NANOSECONDS).contains(&nanos) || !(-62_135_596_800..=253_402_300_799).contains(&seconds) {
        return Err(out_of_range());
    }
    let text = prost_types::Timestamp { seconds, nanos: 0 }.to_string();
    let text = text.strip_suffix('Z').ok_or_else(out_of_range)?;
    let fraction = format!("{nanos:09}");
    let digits = match nanos {
        0 => 0,
        nanos if nanos % 1_000_000 == 0 => 3,
        nanos if nanos % 1_000 == 0 => 6,
        _ => 9,
    };
    let point = if digits == 0 { "" } else { "." };
    Ok(Json::String(format!("{text}{point}{}Z", &fraction[..digits])))
}

fn timestamp_from(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, TranslateError> {
    let parsed = json.as_str().and_then(|text| text.parse::<prost_types::Timestamp>().ok());
    let timestamp =
        parsed.ok_or_else(|| TranslateError::new(format!("proto: invalid google.protobuf.Timestamp value {json}")))?;
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_name("seconds", Value::I64(timestamp.seconds));
    message.set_field_by_name("nanos", Value::I32(timestamp.nanos));
    Ok(message)
}
