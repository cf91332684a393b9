//! From messages to JSON.

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json};

use super::plain::{field_to_json, key_text};
use super::schema::{Treatment, View, dynamic_view, opaque_map_type, opaque_type, treatment};
use super::{MAX_DEPTH, TranslateError, wire};

type Tree = Map<String, Json>;

/// The message's fields, opened as far as they can be.
pub(super) fn tree(message: &DynamicMessage, view: &View, depth: usize) -> Result<Tree, TranslateError> {
    let name = message.descriptor();
    let name = name.full_name();
    if depth > MAX_DEPTH {
        return Err(TranslateError::new(format!("{name}: messages are nested too deeply")));
    }
    let mut tree = Tree::new();
    for field in message.descriptor().fields() {
        let value = match treatment(view, message, &field) {
            Treatment::Plain => field_to_json(message, &field)?,
            Treatment::Opaque | Treatment::Variable => {
                Some(opaque(message, view, &field, depth).map_err(|error| {
                    error.within(format!("*{name}: error in PopulateTo for field {}", field.name()))
                })?)
            }
            Treatment::Nested | Treatment::Dynamic => {
                Some(nested(message, view, &field, depth).map_err(|error| {
                    error.within(format!("*{name}: error in PopulateTo for field {}", field.name()))
                })?)
            }
        };
        if let Some(value) = value {
            tree.insert(field.name().to_owned(), value);
        }
    }
    Ok(tree)
}

fn opened(
    bytes: &[u8],
    message: &DynamicMessage,
    view: &View,
    field: &str,
    depth: usize,
) -> Result<Json, TranslateError> {
    // Bytes that are not there are no message.
    if bytes.is_empty() {
        return Ok(Json::Null);
    }
    let Some(type_name) = opaque_type(view, message, field)? else { return Ok(Json::Object(Tree::new())) };
    let inner = wire::decode(&super::descriptor(type_name)?, bytes)?;
    Ok(Json::Object(tree(&inner, &View::Plain, depth + 1)?))
}

fn opaque(
    message: &DynamicMessage,
    view: &View,
    field: &FieldDescriptor,
    depth: usize,
) -> Result<Json, TranslateError> {
    match message.get_field(field).as_ref() {
        Value::Bytes(bytes) => opened(bytes, message, view, field.name(), depth),
        Value::List(list) => {
            let items = list
                .iter()
                .map(|item| opened(item.as_bytes().map_or(&[], |bytes| bytes), message, view, field.name(), depth));
            Ok(Json::Array(items.collect::<Result<_, _>>()?))
        }
        Value::Map(map) => match map.keys().next() {
            Some(key) => Err(opaque_map_type(&key_text(key))),
            None => Ok(Json::Object(Tree::new())),
        },
        _ => Ok(Json::Null),
    }
}

fn nested(
    message: &DynamicMessage,
    view: &View,
    field: &FieldDescriptor,
    depth: usize,
) -> Result<Json, TranslateError> {
    let dynamic = treatment(view, message, field) == Treatment::Dynamic;
    let child = |key: &str, value: &Value| {
        let child_view = if dynamic { dynamic_view(view, field.name(), key)? } else { View::Plain };
        let inner = value.as_message().ok_or_else(|| TranslateError::new("not a message"))?;
        Ok(Json::Object(tree(inner, &child_view, depth + 1)?))
    };
    match message.get_field(field).as_ref() {
        Value::List(list) => Ok(Json::Array(list.iter().map(|item| child("", item)).collect::<Result<_, _>>()?)),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, item)| {
                let key = key_text(key);
                let value = child(&key, item).map_err(|error: TranslateError| error.within(format!("key {key}")))?;
                Ok((key, value))
            });
            Ok(Json::Object(entries.collect::<Result<_, TranslateError>>()?))
        }
        single if message.has_field(field) => child("", single),
        _ => Ok(Json::Null),
    }
}
