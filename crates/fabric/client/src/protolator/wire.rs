//! Bytes to dynamic messages and back, with the leniency and the layout of upstream's library.
//!
//! Leniency: a field whose wire type is not the one it should have is an unknown field, not an error. Layout: fields in the order
//! of their numbers, maps in the order of their keys, every map entry with both its parts.

use prost::encoding::encode_varint;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};

use super::TranslateError;

/// Messages nested deeper than this are refused, as the decoder itself does.
const MAX_NESTING: usize = 100;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const DELIMITED: u64 = 2;
const GROUP: u64 = 3;
const END_GROUP: u64 = 4;
const FIXED32: u64 = 5;

fn malformed() -> TranslateError {
    TranslateError::new("proto: cannot parse invalid wire-format data")
}

fn varint(bytes: &mut &[u8]) -> Result<u64, TranslateError> {
    prost::encoding::decode_varint(bytes).map_err(|_| malformed())
}

fn take<'a>(bytes: &mut &'a [u8], count: u64) -> Result<&'a [u8], TranslateError> {
    if count > bytes.len() as u64 {
        return Err(malformed());
    }
    let (taken, rest) = bytes.split_at(count as usize);
    *bytes = rest;
    Ok(taken)
}

fn skip(bytes: &mut &[u8], wire_type: u64, number: u64, depth: usize) -> Result<(), TranslateError> {
    match wire_type {
        VARINT => varint(bytes).map(drop),
        FIXED64 => take(bytes, 8).map(drop),
        FIXED32 => take(bytes, 4).map(drop),
        DELIMITED => {
            let length = varint(bytes)?;
            take(bytes, length).map(drop)
        }
        GROUP if depth < MAX_NESTING => loop {
            let tag = varint(bytes)?;
            if tag & 7 == END_GROUP {
                return if tag >> 3 == number { Ok(()) } else { Err(malformed()) };
            }
            skip(bytes, tag & 7, tag >> 3, depth + 1)?;
        },
        _ => Err(malformed()),
    }
}

fn own_wire_type(kind: &Kind) -> u64 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes | Kind::Message(_) => DELIMITED,
        _ => VARINT,
    }
}

fn fits(field: &FieldDescriptor, wire_type: u64) -> bool {
    let own = own_wire_type(&field.kind());
    own == wire_type || (wire_type == DELIMITED && field.is_list() && own != DELIMITED)
}

/// The bytes without fields that the type does not have or that have another wire type.
fn known_part(descriptor: &MessageDescriptor, mut bytes: &[u8], depth: usize) -> Result<Vec<u8>, TranslateError> {
    if depth > MAX_NESTING {
        return Err(malformed());
    }
    let mut out = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let start = bytes;
        let tag = varint(&mut bytes)?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        if number == 0 || number >= 1 << 29 {
            return Err(malformed());
        }
        let field = descriptor.get_field(number as u32).filter(|field| fits(field, wire_type));
        match field.as_ref().map(FieldDescriptor::kind) {
            Some(Kind::Message(inner)) => {
                let length = varint(&mut bytes)?;
                let content = known_part(&inner, take(&mut bytes, length)?, depth + 1)?;
                delimited(&mut out, number as u32, &content);
            }
            known => {
                skip(&mut bytes, wire_type, number, depth)?;
                if known.is_some() {
                    out.extend_from_slice(&start[..start.len() - bytes.len()]);
                }
            }
        }
    }
    Ok(out)
}

/// Decodes a message.
pub(super) fn decode(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, TranslateError> {
    let known = known_part(descriptor, bytes, 0)?;
    DynamicMessage::decode(descriptor.clone(), known.as_slice()).map_err(|_| malformed())
}

fn delimited(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_varint(u64::from(number) << 3 | DELIMITED, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn zigzag32(value: i32) -> u64 {
    u64::from(((value << 1) ^ (value >> 31)) as u32)
}

fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A value without its tag; messages, texts and bytes without their length.
fn content(kind: &Kind, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match (kind, value) {
        (Kind::Sint32, Value::I32(number)) => encode_varint(zigzag32(*number), &mut out),
        (Kind::Sint64, Value::I64(number)) => encode_varint(zigzag64(*number), &mut out),
        (Kind::Sfixed32, Value::I32(number)) => out.extend(number.to_le_bytes()),
        (Kind::Sfixed64, Value::I64(number)) => out.extend(number.to_le_bytes()),
        (Kind::Fixed32, Value::U32(number)) => out.extend(number.to_le_bytes()),
        (Kind::Fixed64, Value::U64(number)) => out.extend(number.to_le_bytes()),
        (_, Value::Bool(flag)) => out.push(u8::from(*flag)),
        (_, Value::I32(number) | Value::EnumNumber(number)) => encode_varint(i64::from(*number) as u64, &mut out),
        (_, Value::I64(number)) => encode_varint(*number as u64, &mut out),
        (_, Value::U32(number)) => encode_varint(u64::from(*number), &mut out),
        (_, Value::U64(number)) => encode_varint(*number, &mut out),
        (_, Value::F32(number)) => out.extend(number.to_le_bytes()),
        (_, Value::F64(number)) => out.extend(number.to_le_bytes()),
        (_, Value::String(text)) => out.extend(text.as_bytes()),
        (_, Value::Bytes(bytes)) => out.extend(bytes),
        (_, Value::Message(message)) => out = encode(message),
        (_, Value::List(_) | Value::Map(_)) => {}
    }
    out
}

fn single(out: &mut Vec<u8>, number: u32, kind: &Kind, value: &Value) {
    let wire_type = own_wire_type(kind);
    let content = content(kind, value);
    if wire_type == DELIMITED {
        delimited(out, number, &content);
    } else {
        encode_varint(u64::from(number) << 3 | wire_type, out);
        out.extend(content);
    }
}

fn key_value(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(flag) => Value::Bool(*flag),
        MapKey::I32(number) => Value::I32(*number),
        MapKey::I64(number) => Value::I64(*number),
        MapKey::U32(number) => Value::U32(*number),
        MapKey::U64(number) => Value::U64(*number),
        MapKey::String(text) => Value::String(text.clone()),
    }
}

/// Encodes a message.
pub(super) fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut out = Vec::new();
    let mut fields: Vec<FieldDescriptor> =
        message.descriptor().fields().filter(|field| message.has_field(field)).collect();
    fields.sort_by_key(FieldDescriptor::number);
    for field in fields {
        let number = field.number();
        match (field.kind(), message.get_field(&field).as_ref()) {
            (Kind::Message(entry), Value::Map(map)) => {
                let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by(|(left, _), (right, _)| left.partial_cmp(right).unwrap_or(std::cmp::Ordering::Equal));
                for (key, value) in entries {
                    let mut encoded = Vec::new();
                    single(&mut encoded, 1, &key_kind, &key_value(key));
                    single(&mut encoded, 2, &value_kind, value);
                    delimited(&mut out, number, &encoded);
                }
            }
            (kind, Value::List(list)) if field.is_packed() => {
                let packed: Vec<u8> = list.iter().flat_map(|value| content(&kind, value)).collect();
                delimited(&mut out, number, &packed);
            }
            (kind, Value::List(list)) => list.iter().for_each(|value| single(&mut out, number, &kind, value)),
            (kind, value) => single(&mut out, number, &kind, value),
        }
    }
    out
}
