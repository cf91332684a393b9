//! Storage slots to variables, by the compiler's storage layout and the hashes that the execution itself made.

use std::collections::BTreeMap;

use alloy_primitives::{I256, U256};
use serde_json::Value;

/// How far behind a hash a slot may be and still belong to it: large structs and arrays.
const NEAR: u64 = 1 << 20;
/// The deepest nesting of mappings, arrays and structs.
const MAX_DEPTH: usize = 8;

/// A variable or a part of one in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    type_id: String,
    /// Byte in the slot, from the right.
    offset: usize,
}

/// What was hashed, by hash.
pub(super) type Preimages = BTreeMap<U256, Vec<u8>>;

#[derive(Debug)]
pub(super) struct Layout<'a> {
    storage: &'a [Value],
    types: &'a Value,
}

impl<'a> Layout<'a> {
    pub(super) fn new(layout: &'a Value) -> Self {
        Self { storage: layout["storage"].as_array().map(Vec::as_slice).unwrap_or_default(), types: &layout["types"] }
    }

    /// Slots of the mappings at the top, for trying keys.
    pub(super) fn mappings(&self) -> Vec<U256> {
        let mapping = |variable: &&Value| self.kind(text(variable, "type"))["encoding"] == "mapping";
        self.storage.iter().filter(mapping).filter_map(|variable| number(&variable["slot"])).collect()
    }

    fn kind(&self, id: &str) -> &'a Value {
        &self.types[id]
    }

    fn bytes(&self, id: &str) -> usize {
        self.kind(id)["numberOfBytes"].as_str().and_then(|bytes| bytes.parse().ok()).unwrap_or(32).max(1)
    }

    /// The type in words.
    pub(super) fn label(&self, variable: &Variable) -> String {
        text(self.kind(&variable.type_id), "label").to_owned()
    }

    /// Everything in a slot.
    pub(super) fn find(&self, slot: U256, preimages: &Preimages) -> Vec<Variable> {
        self.find_deep(slot, preimages, 0)
    }

    fn find_deep(&self, slot: U256, preimages: &Preimages, depth: usize) -> Vec<Variable> {
        let mut found = Vec::new();
        if depth > MAX_DEPTH {
            return found;
        }
        for variable in self.storage {
            let (Some(start), id) = (number(&variable["slot"]), text(variable, "type")) else { continue };
            let slots = U256::from(self.bytes(id).div_ceil(32));
            if slot >= start && slot - start < slots {
                let offset = variable["offset"].as_u64().unwrap_or(0) as usize;
                self.inside(id, text(variable, "label"), start, offset, slot, depth, &mut found);
            }
        }
        if !found.is_empty() {
            return found;
        }
        // The nearest hash at or before the slot.
        let Some((hash, preimage)) = preimages.range(..=slot).next_back() else { return found };
        if slot - hash >= U256::from(NEAR) || preimage.len() < 32 {
            return found;
        }
        let (key, parent) = preimage.split_at(preimage.len() - 32);
        let parent = U256::from_be_slice(parent);
        for owner in self.find_deep(parent, preimages, depth + 1) {
            let kind = self.kind(&owner.type_id);
            match text(kind, "encoding") {
                "mapping" if !key.is_empty() => {
                    let name = format!("{}[{}]", owner.name, self.key(text(kind, "key"), key));
                    self.inside(text(kind, "value"), &name, *hash, 0, slot, depth + 1, &mut found);
                }
                "dynamic_array" if key.is_empty() => {
                    self.elements(text(kind, "base"), &owner.name, *hash, slot, depth + 1, &mut found);
                }
                "bytes" if key.is_empty() => {
                    let part = slot - hash;
                    found.push(Variable {
                        name: format!("{}[32*{part}…]", owner.name),
                        type_id: String::new(),
                        offset: 0,
                    });
                }
                _ => {}
            }
        }
        found
    }

    /// The parts of a value that begins at a slot which are in the slot asked for.
    #[expect(clippy::too_many_arguments, reason = "one walk over a value's place, its name and what is looked for")]
    fn inside(
        &self,
        id: &str,
        name: &str,
        start: U256,
        offset: usize,
        slot: U256,
        depth: usize,
        found: &mut Vec<Variable>,
    ) {
        let kind = self.kind(id);
        if depth > MAX_DEPTH || text(kind, "encoding") != "inplace" {
            if slot == start {
                found.push(Variable { name: name.to_owned(), type_id: id.to_owned(), offset });
            }
            return;
        }
        if let Some(members) = kind["members"].as_array() {
            for member in members {
                let (Some(at), id) = (number(&member["slot"]), text(member, "type")) else { continue };
                let (first, slots) = (start.wrapping_add(at), U256::from(self.bytes(id).div_ceil(32)));
                if slot >= first && slot - first < slots {
                    let name = format!("{name}.{}", text(member, "label"));
                    let offset = member["offset"].as_u64().unwrap_or(0) as usize;
                    self.inside(id, &name, first, offset, slot, depth + 1, found);
                }
            }
            return;
        }
        if kind["base"].is_string() {
            self.elements(text(kind, "base"), name, start, slot, depth + 1, found);
            return;
        }
        if slot == start {
            found.push(Variable { name: name.to_owned(), type_id: id.to_owned(), offset });
        }
    }

    /// The elements of an array whose data begin at a slot.
    fn elements(&self, id: &str, name: &str, start: U256, slot: U256, depth: usize, found: &mut Vec<Variable>) {
        let distance = slot.wrapping_sub(start);
        let Ok(distance) = u64::try_from(distance) else { return };
        let bytes = self.bytes(id);
        if bytes <= 16 {
            let each = 32 / bytes;
            for part in 0..each {
                let index = distance * each as u64 + part as u64;
                self.inside(id, &format!("{name}[{index}]"), slot, part * bytes, slot, depth + 1, found);
            }
            return;
        }
        let slots = bytes.div_ceil(32) as u64;
        let index = distance / slots;
        let first = start.wrapping_add(U256::from(index * slots));
        self.inside(id, &format!("{name}[{index}]"), first, 0, slot, depth + 1, found);
    }

    /// A mapping's key as it is written in sources.
    fn key(&self, id: &str, key: &[u8]) -> String {
        match text(self.kind(id), "encoding") {
            "bytes" => match std::str::from_utf8(key) {
                Ok(words) => format!("{words:?}"),
                Err(_) => format!("0x{}", hex::encode(key)),
            },
            _ => match <[u8; 32]>::try_from(key) {
                Ok(word) => self.decode_word(id, &word, 0),
                Err(_) => format!("0x{}", hex::encode(key)),
            },
        }
    }

    /// A variable's value in a slot's content.
    pub(super) fn decode(&self, variable: &Variable, content: U256) -> String {
        let word: [u8; 32] = content.to_be_bytes();
        match text(self.kind(&variable.type_id), "encoding") {
            "dynamic_array" => format!("length {content}"),
            "bytes" => {
                // Short ones stand in the slot itself with twice their length, long ones have twice their length plus one.
                if word[31] & 1 == 1 {
                    return format!("length {}", content >> 1_usize);
                }
                let length = usize::from(word[31] / 2).min(31);
                match std::str::from_utf8(&word[..length]) {
                    Ok(words) if text(self.kind(&variable.type_id), "label") == "string" => format!("{words:?}"),
                    _ => format!("0x{}", hex::encode(&word[..length])),
                }
            }
            _ => self.decode_word(&variable.type_id, &word, variable.offset),
        }
    }

    fn decode_word(&self, id: &str, word: &[u8; 32], offset: usize) -> String {
        let kind = self.kind(id);
        let bytes = self.bytes(id).min(32);
        let end = 32_usize.saturating_sub(offset);
        let part = &word[end.saturating_sub(bytes)..end];
        let label = text(kind, "label");
        let number = U256::from_be_slice(part);
        if label == "bool" {
            return (!number.is_zero()).to_string();
        }
        if label.starts_with("uint") || label.starts_with("enum") {
            return number.to_string();
        }
        if label.starts_with("int") {
            let shift = 256 - part.len() * 8;
            return (I256::from_raw(number << shift).asr(shift)).to_string();
        }
        // Keys of fixed bytes stand at the left of their word.
        if label.starts_with("bytes") && offset == 0 && bytes < 32 && word[..bytes].iter().any(|byte| *byte != 0) {
            return format!("0x{}", hex::encode(&word[..bytes]));
        }
        format!("0x{}", hex::encode(part))
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn number(value: &Value) -> Option<U256> {
    match value {
        Value::String(text) => U256::from_str_radix(text, 10).ok(),
        Value::Number(number) => number.as_u64().map(U256::from),
        _ => None,
    }
}
