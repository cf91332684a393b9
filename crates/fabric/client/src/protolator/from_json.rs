//! From JSON to messages.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde_json::{Map, Value as Json};

use super::plain::{field_named, set_field};
use super::schema::{Treatment, View, dynamic_view, opaque_map_type, opaque_type, treatment};
use super::{MAX_DEPTH, TranslateError, wire};

/// The message that a tree describes. Fields are filled in an order that lets the type of one depend on others: plain ones,
/// messages, bytes of known types, bytes of types that other fields tell, and last what depends on the place in the tree.
pub(super) fn message(
    mut tree: Map<String, Json>,
    descriptor: &MessageDescriptor,
    view: &View,
    depth: usize,
) -> Result<DynamicMessage, TranslateError> {
    let name = descriptor.full_name();
    if depth > MAX_DEPTH {
        return Err(TranslateError::new(format!("{name}: messages are nested too deeply")));
    }
    let mut result = DynamicMessage::new(descriptor.clone());
    // What is plain can be told without any field set, but for read-write sets, whose model is a plain field itself.
    let unset = result.clone();
    let special = |tree: &Map<String, Json>, wanted: Treatment, message: &DynamicMessage| -> Vec<FieldDescriptor> {
        descriptor
            .fields()
            .filter(|field| tree.contains_key(field.name()) && treatment(view, message, field) == wanted)
            .collect()
    };
    let is_plain = |name: &str| {
        field_named(descriptor, name).map(|field| {
            // In the other spelling only the standard form is understood, as upstream.
            field.name() != name || treatment(view, &unset, &field) == Treatment::Plain
        })
    };
    let names: Vec<String> = tree.keys().cloned().collect();
    for key in names {
        if is_plain(&key).map_err(|error| error.within(name))?
            && let Some(json) = tree.remove(&key)
        {
            let field = field_named(descriptor, &key)?;
            set_field(&mut result, &field, json).map_err(|error| error.within(name))?;
        }
    }
    for wanted in [Treatment::Nested, Treatment::Opaque, Treatment::Variable, Treatment::Dynamic] {
        for field in special(&tree, wanted, &result) {
            let Some(json) = tree.remove(field.name()) else { continue };
            let value = match wanted {
                Treatment::Opaque | Treatment::Variable => opaque(&result, view, &field, json, depth),
                _ => nested(&result, view, &field, json, depth),
            }
            .map_err(|error| error.within(format!("*{name}: error in PopulateFrom for field {}", field.name())))?;
            if let Some(value) = value {
                result
                    .try_set_field(&field, value)
                    .map_err(|error| TranslateError::new(format!("*{name}: field {}: {error}", field.name())))?;
            }
        }
    }
    Ok(result)
}

fn object(json: Json, field: &FieldDescriptor) -> Result<Map<String, Json>, TranslateError> {
    match json {
        Json::Object(tree) => Ok(tree),
        _ => Err(TranslateError::new(format!("expected field {} to be an object but was not", field.name()))),
    }
}

fn closed(
    message_so_far: &DynamicMessage,
    view: &View,
    field: &FieldDescriptor,
    json: Json,
    depth: usize,
) -> Result<Vec<u8>, TranslateError> {
    let tree = object(json, field)?;
    let Some(type_name) = opaque_type(view, message_so_far, field.name())? else { return Ok(Vec::new()) };
    let inner = message(tree, &super::descriptor(type_name)?, &View::Plain, depth + 1)?;
    Ok(wire::encode(&inner))
}

fn opaque(
    message_so_far: &DynamicMessage,
    view: &View,
    field: &FieldDescriptor,
    json: Json,
    depth: usize,
) -> Result<Option<Value>, TranslateError> {
    if field.is_map() {
        return match object(json, field)?.keys().next() {
            Some(key) => Err(opaque_map_type(key)),
            None => Ok(None),
        };
    }
    if field.is_list() {
        let Json::Array(items) = json else {
            return Err(TranslateError::new(format!("expected field {} to be a list but was not", field.name())));
        };
        let items = items.into_iter().map(|item| {
            let bytes = if item.is_null() { Vec::new() } else { closed(message_so_far, view, field, item, depth)? };
            Ok(Value::Bytes(bytes.into()))
        });
        return Ok(Some(Value::List(items.collect::<Result<_, TranslateError>>()?)));
    }
    if json.is_null() {
        return Ok(None);
    }
    Ok(Some(Value::Bytes(closed(message_so_far, view, field, json, depth)?.into())))
}

fn nested(
    message_so_far: &DynamicMessage,
    view: &View,
    field: &FieldDescriptor,
    json: Json,
    depth: usize,
) -> Result<Option<Value>, TranslateError> {
    let dynamic = treatment(view, message_so_far, field) == Treatment::Dynamic;
    let not_a_message = || TranslateError::new(format!("field {} holds no messages", field.name()));
    let child = |descriptor: &MessageDescriptor, key: &str, json: Json| {
        let child_view = if dynamic { dynamic_view(view, field.name(), key)? } else { View::Plain };
        message(object(json, field)?, descriptor, &child_view, depth + 1).map(Value::Message)
    };
    let Kind::Message(descriptor) = field.kind() else { return Err(not_a_message()) };
    if field.is_map() {
        let Kind::Message(value) = descriptor.map_entry_value_field().kind() else { return Err(not_a_message()) };
        let mut map = HashMap::new();
        for (key, json) in object(json, field)? {
            let inner = child(&value, &key, json).map_err(|error| error.within(format!("key {key}")))?;
            map.insert(MapKey::String(key), inner);
        }
        return Ok(Some(Value::Map(map)));
    }
    if field.is_list() {
        let Json::Array(items) = json else {
            return Err(TranslateError::new(format!("expected field {} to be a list but was not", field.name())));
        };
        let items = items.into_iter().map(|item| child(&descriptor, "", item)).collect::<Result<_, _>>()?;
        return Ok(Some(Value::List(items)));
    }
    if json.is_null() {
        return Ok(None);
    }
    child(&descriptor, "", json).map(Some)
}
