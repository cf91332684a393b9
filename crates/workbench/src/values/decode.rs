//! ABI data to JSON values. What comes from a chain is outside input: every offset and length is checked, and the whole answer is
//! bounded, since offsets may point at the same bytes again and again.

use alloy_primitives::{I256, U256};
use serde_json::{Map, Value, json};

use super::encode::{head_bytes, is_dynamic};
use crate::interface::Parameter;
use crate::interface::schema::{AbiType, NUMBER_BITS, abi_type};

/// How much larger than the data its decoded values may be, and what is allowed in any case.
const AMPLIFICATION: usize = 4;
const BASE_BUDGET: usize = 64 * 1024;
/// The deepest nesting.
const MAX_DEPTH: usize = 32;

/// Field and fault.
pub(super) type Fault = (String, String);

struct Reader<'a> {
    data: &'a [u8],
    budget: usize,
}

/// Values of parameters, in order. Bytes after the last value are allowed, as in call data.
pub(super) fn parameters(parameters: &[&Parameter], data: &[u8], root: &str) -> Result<Vec<Value>, Fault> {
    let mut kinds = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let name = if parameter.name.is_empty() { index.to_string() } else { parameter.name.clone() };
        let kind = abi_type(parameter).map_err(|why| (format!("{root}.{name}"), why))?;
        kinds.push((name, kind));
    }
    let mut reader = Reader { data, budget: data.len().saturating_mul(AMPLIFICATION).saturating_add(BASE_BUDGET) };
    let kinds: Vec<(String, &AbiType)> = kinds.iter().map(|(name, kind)| (format!("{root}.{name}"), kind)).collect();
    reader.sequence(&kinds, 0, 0)
}

/// One word that is a value by itself: an indexed event parameter.
pub(super) fn word_value(parameter: &Parameter, word: &[u8]) -> Result<Value, Fault> {
    let fault = |why: String| (parameter.name.clone(), why);
    let kind = abi_type(parameter).map_err(fault)?;
    let by_hash = is_dynamic(&kind) || matches!(kind, AbiType::Tuple(_) | AbiType::FixedArray(..));
    if by_hash {
        return Ok(json!({ "hash": format!("0x{}", hex::encode(word)) }));
    }
    let word: [u8; 32] =
        word.try_into().map_err(|_| fault(format!("a topic has 32 bytes, this one {}", word.len())))?;
    elementary(&kind, &word).map_err(fault)
}

impl Reader<'_> {
    fn spend(&mut self, amount: usize, field: &str) -> Result<(), Fault> {
        match self.budget.checked_sub(amount) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err((field.to_owned(), "the data points at the same bytes too often to be shown".into())),
        }
    }

    fn word(&self, at: usize, field: &str) -> Result<[u8; 32], Fault> {
        let end = at.checked_add(32);
        let bytes = end.and_then(|end| self.data.get(at..end)).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.ok_or_else(|| {
            (field.to_owned(), format!("the data ends at byte {}, one at {at} is needed", self.data.len()))
        })
    }

    /// A length or offset, which cannot be larger than the data.
    fn size(&self, at: usize, field: &str) -> Result<usize, Fault> {
        let number = U256::from_be_bytes(self.word(at, field)?);
        let size = usize::try_from(number).ok().filter(|size| *size <= self.data.len());
        size.ok_or_else(|| (field.to_owned(), format!("a length or offset of {number} leads outside the data")))
    }

    /// Values in a row whose offsets count from `base`.
    fn sequence(&mut self, kinds: &[(String, &AbiType)], base: usize, depth: usize) -> Result<Vec<Value>, Fault> {
        let mut at = base;
        let mut values = Vec::new();
        for (field, kind) in kinds {
            values.push(self.value(kind, at, base, field, depth)?);
            at += head_bytes(kind);
        }
        Ok(values)
    }

    fn value(&mut self, kind: &AbiType, at: usize, base: usize, field: &str, depth: usize) -> Result<Value, Fault> {
        if depth > MAX_DEPTH {
            return Err((field.to_owned(), format!("is nested deeper than {MAX_DEPTH}")));
        }
        self.spend(32, field)?;
        let place = if is_dynamic(kind) { base.saturating_add(self.size(at, field)?) } else { at };
        match kind {
            AbiType::Bytes | AbiType::Text => {
                let length = self.size(place, field)?;
                self.spend(length, field)?;
                let start = place + 32;
                let bytes = start.checked_add(length).and_then(|end| self.data.get(start..end));
                let bytes = bytes
                    .ok_or_else(|| (field.to_owned(), format!("{length} bytes at {start} are not in the data")))?;
                Ok(if matches!(kind, AbiType::Text) {
                    Value::String(String::from_utf8_lossy(bytes).into_owned())
                } else {
                    Value::String(format!("0x{}", hex::encode(bytes)))
                })
            }
            AbiType::Array(element) => {
                let length = self.size(place, field)?;
                let start = place + 32;
                // Every element has a head of its own, so that the length cannot be made up.
                if length.saturating_mul(head_bytes(element)) > self.data.len().saturating_sub(start) {
                    return Err((field.to_owned(), format!("{length} elements are not in the data")));
                }
                self.elements(element, length, start, field, depth)
            }
            AbiType::FixedArray(element, length) => self.elements(element, *length, place, field, depth),
            AbiType::Tuple(parts) => {
                let kinds: Vec<(String, &AbiType)> =
                    parts.iter().map(|(name, part)| (format!("{field}.{name}"), part)).collect();
                let values = self.sequence(&kinds, place, depth + 1)?;
                let named: Map<String, Value> = parts.iter().map(|(name, _)| name.clone()).zip(values).collect();
                Ok(Value::Object(named))
            }
            plain => elementary(plain, &self.word(place, field)?).map_err(|why| (field.to_owned(), why)),
        }
    }

    fn elements(
        &mut self,
        kind: &AbiType,
        count: usize,
        base: usize,
        field: &str,
        depth: usize,
    ) -> Result<Value, Fault> {
        let mut values = Vec::new();
        for index in 0..count {
            let at = base + index * head_bytes(kind);
            values.push(self.value(kind, at, base, &format!("{field}[{index}]"), depth + 1)?);
        }
        Ok(Value::Array(values))
    }
}

/// A value of one word.
fn elementary(kind: &AbiType, word: &[u8; 32]) -> Result<Value, String> {
    let number = U256::from_be_bytes(*word);
    let stray = |what: &str| Err(format!("0x{} is no {what}", hex::encode(word)));
    match kind {
        AbiType::Bool => match word[31] {
            is @ (0 | 1) if word[..31] == [0; 31] => Ok(Value::Bool(is == 1)),
            _ => stray("bool"),
        },
        AbiType::Address => {
            if word[..12] != [0; 12] {
                return stray("address");
            }
            Ok(Value::String(format!("0x{}", hex::encode(&word[12..]))))
        }
        AbiType::Uint(bits) => {
            if number.bit_len() > *bits {
                return stray(&format!("uint{bits}"));
            }
            Ok(match u64::try_from(number) {
                Ok(small) if *bits <= NUMBER_BITS => small.into(),
                _ => number.to_string().into(),
            })
        }
        AbiType::Int(bits) => {
            let signed = I256::from_raw(number);
            let size = if signed.is_negative() { (!number).bit_len() } else { number.bit_len() };
            if size >= *bits {
                return stray(&format!("int{bits}"));
            }
            Ok(match i64::try_from(signed) {
                Ok(small) if *bits <= NUMBER_BITS => small.into(),
                _ => signed.to_string().into(),
            })
        }
        AbiType::FixedBytes(length) => fixed(word, *length),
        AbiType::Function => fixed(word, 24),
        _ => stray("single value"),
    }
}

fn fixed(word: &[u8; 32], length: usize) -> Result<Value, String> {
    if word[length..].iter().any(|byte| *byte != 0) {
        return Err(format!("0x{} has more than {length} bytes", hex::encode(word)));
    }
    Ok(Value::String(format!("0x{}", hex::encode(&word[..length]))))
}
