//! JSON values to ABI data.

use alloy_primitives::{Address, I256, U256};
use base64::Engine as _;
use serde_json::{Map, Value};

use super::{ValueError, problem};
use crate::interface::Parameter;
use crate::interface::schema::{AbiType, abi_type};

/// The most elements of one array.
const MAX_ELEMENTS: usize = 65_536;
/// The most bytes of one text or byte string.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The longest number, with sign and prefix.
const MAX_DIGITS: usize = 80;

/// A value in the form that the encoding needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encodable {
    Word([u8; 32]),
    Bytes(Vec<u8>),
    /// Of a tuple or fixed array.
    Parts(Vec<Encodable>),
    /// Of an array that says its length.
    Elements(Vec<Encodable>),
}

pub(super) fn is_dynamic(kind: &AbiType) -> bool {
    match kind {
        AbiType::Bytes | AbiType::Text | AbiType::Array(_) => true,
        AbiType::FixedArray(element, _) => is_dynamic(element),
        AbiType::Tuple(parts) => parts.iter().any(|(_, part)| is_dynamic(part)),
        _ => false,
    }
}

/// Encodes arguments for parameters.
pub(super) fn arguments(parameters: &[Parameter], given: &Value, root: &str) -> Result<Vec<u8>, ValueError> {
    let mut kinds = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let name = if parameter.name.is_empty() { index.to_string() } else { parameter.name.clone() };
        let kind = abi_type(parameter).map_err(|why| unsupported(&format!("{root}.{name}"), &why))?;
        kinds.push((name, kind));
    }
    // No arguments may be left out altogether.
    let empty = Value::Array(Vec::new());
    let given = if given.is_null() && kinds.is_empty() { &empty } else { given };
    let values = parts(&kinds, given, root)?;
    let mut out = Vec::new();
    sequence(&mut out, kinds.iter().map(|(_, kind)| kind).zip(&values).collect());
    Ok(out)
}

fn unsupported(field: &str, why: &str) -> ValueError {
    problem(field, "unsupported", why.to_owned(), format!("不支持的类型:{why}"))
}

/// Values of a tuple's parts or of a method's parameters, by name or by position.
fn parts(kinds: &[(String, AbiType)], given: &Value, field: &str) -> Result<Vec<Encodable>, ValueError> {
    match given {
        Value::Object(fields) => by_name(kinds, fields, field),
        Value::Array(items) if items.len() == kinds.len() => kinds
            .iter()
            .zip(items)
            .enumerate()
            .map(|(index, ((_, kind), item))| value(kind, item, &format!("{field}[{index}]")))
            .collect(),
        Value::Array(items) => {
            let names: Vec<&str> = kinds.iter().map(|(name, _)| name.as_str()).collect();
            let (has, needs, list) = (items.len(), kinds.len(), names.join(", "));
            Err(problem(
                field,
                "wrong_length",
                format!("has {has} values, {needs} are needed: {list}"),
                format!("给出了 {has} 个值,需要 {needs} 个:{list}"),
            ))
        }
        other => Err(wrong_type(field, "an object by name, or a list in order", "按名称的对象,或按顺序的列表", other)),
    }
}

fn by_name(
    kinds: &[(String, AbiType)],
    fields: &Map<String, Value>,
    field: &str,
) -> Result<Vec<Encodable>, ValueError> {
    let known = || kinds.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(stranger) = fields.keys().find(|key| !kinds.iter().any(|(name, _)| name == *key)) {
        let (path, known) = (format!("{field}.{stranger}"), known());
        return Err(problem(
            &path,
            "unknown_field",
            format!("is not known here; known are: {known}"),
            format!("没有这个字段;可用的字段:{known}"),
        ));
    }
    kinds
        .iter()
        .map(|(name, kind)| {
            let path = format!("{field}.{name}");
            let given = fields.get(name).ok_or_else(|| {
                let text = describe(kind);
                problem(&path, "missing", format!("is missing; {text} is needed"), format!("缺少该值;需要 {text}"))
            })?;
            value(kind, given, &path)
        })
        .collect()
}

fn value(kind: &AbiType, given: &Value, field: &str) -> Result<Encodable, ValueError> {
    match kind {
        AbiType::Bool => match given {
            Value::Bool(is) => Ok(number_word(U256::from(u8::from(*is)))),
            Value::String(text) if text == "true" => Ok(number_word(U256::from(1))),
            Value::String(text) if text == "false" => Ok(number_word(U256::ZERO)),
            other => Err(wrong_type(field, "true or false", "true 或 false", other)),
        },
        AbiType::Uint(bits) => unsigned(*bits, given, field).map(number_word),
        AbiType::Int(bits) => signed(*bits, given, field).map(number_word),
        AbiType::Address => address(given, field),
        AbiType::Text => match given {
            Value::String(text) => sized(text.clone().into_bytes(), field),
            other => Err(wrong_type(field, "a text", "文本", other)),
        },
        AbiType::Bytes => bytes(given, field).and_then(|(bytes, _)| sized(bytes, field)),
        AbiType::FixedBytes(length) => fixed(given, *length, field),
        AbiType::Function => fixed(given, 24, field),
        AbiType::Tuple(kinds) => parts(kinds, given, field).map(Encodable::Parts),
        AbiType::FixedArray(element, length) => {
            let items = list(given, field)?;
            if items.len() != *length {
                let has = items.len();
                return Err(problem(
                    field,
                    "wrong_length",
                    format!("has {has} elements, exactly {length} are needed"),
                    format!("有 {has} 个元素,必须正好 {length} 个"),
                ));
            }
            elements(element, items, field).map(Encodable::Parts)
        }
        AbiType::Array(element) => elements(element, list(given, field)?, field).map(Encodable::Elements),
    }
}

fn elements(kind: &AbiType, items: &[Value], field: &str) -> Result<Vec<Encodable>, ValueError> {
    items.iter().enumerate().map(|(index, item)| value(kind, item, &format!("{field}[{index}]"))).collect()
}

fn list<'a>(given: &'a Value, field: &str) -> Result<&'a [Value], ValueError> {
    match given {
        Value::Array(items) if items.len() <= MAX_ELEMENTS => Ok(items),
        Value::Array(items) => Err(too_large(field, items.len(), MAX_ELEMENTS)),
        other => Err(wrong_type(field, "a list", "列表", other)),
    }
}

fn too_large(field: &str, has: usize, most: usize) -> ValueError {
    problem(field, "too_large", format!("has a length of {has}; at most {most}"), format!("长度为 {has},上限 {most}"))
}

fn sized(bytes: Vec<u8>, field: &str) -> Result<Encodable, ValueError> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(field, bytes.len(), MAX_BYTES));
    }
    Ok(Encodable::Bytes(bytes))
}

fn number_word(number: U256) -> Encodable {
    Encodable::Word(number.to_be_bytes())
}

/// Sign and size of a number in decimal or 0x-hex.
fn magnitude(given: &Value, field: &str) -> Result<(bool, U256), ValueError> {
    let text = match given {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        other => {
            return Err(wrong_type(
                field,
                "a whole number, large ones as text (\"1000000000000000000\" or \"0x…\")",
                "整数,较大的数用文本表示(\"1000000000000000000\" 或 \"0x…\")",
                other,
            ));
        }
    };
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        _ if digits.len() > MAX_DIGITS => None,
        Some(hex) if !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            U256::from_str_radix(hex, 16).ok()
        }
        None if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            U256::from_str_radix(digits, 10).ok()
        }
        _ => {
            let shown = shorten(&text);
            return Err(problem(
                field,
                "wrong_type",
                format!("{shown:?} is no whole number; decimal digits or 0x and hex digits are needed"),
                format!("{shown:?} 不是整数;需要十进制数字,或 0x 加十六进制数字"),
            ));
        }
    };
    match parsed {
        Some(size) => Ok((negative && size != U256::ZERO, size)),
        None => Err(out_of_range(field, &text, "256 bits")),
    }
}

fn out_of_range(field: &str, text: &str, range: &str) -> ValueError {
    let shown = shorten(text);
    problem(
        field,
        "out_of_range",
        format!("{shown} does not fit; the range is {range}"),
        format!("{shown} 超出范围;允许 {range}"),
    )
}

fn unsigned(bits: usize, given: &Value, field: &str) -> Result<U256, ValueError> {
    let (negative, size) = magnitude(given, field)?;
    if negative || size.bit_len() > bits {
        let sign = if negative { "-" } else { "" };
        return Err(out_of_range(field, &format!("{sign}{size}"), &format!("0 … 2^{bits}-1 (uint{bits})")));
    }
    Ok(size)
}

fn signed(bits: usize, given: &Value, field: &str) -> Result<U256, ValueError> {
    let (negative, size) = magnitude(given, field)?;
    let half = U256::from(1) << (bits - 1);
    if (negative && size > half) || (!negative && size >= half) {
        let (sign, power) = (if negative { "-" } else { "" }, bits - 1);
        return Err(out_of_range(field, &format!("{sign}{size}"), &format!("-2^{power} … 2^{power}-1 (int{bits})")));
    }
    Ok(if negative { I256::from_raw(size).wrapping_neg().into_raw() } else { size })
}

fn address(given: &Value, field: &str) -> Result<Encodable, ValueError> {
    let Value::String(text) = given else {
        return Err(wrong_type(field, "an address (0x and 40 hex digits)", "地址(0x 加 40 位十六进制数字)", given));
    };
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let Ok(bytes) = hex::decode(digits).map_err(drop).and_then(|bytes| <[u8; 20]>::try_from(bytes).map_err(drop))
    else {
        let shown = shorten(text);
        return Err(problem(
            field,
            "bad_address",
            format!("{shown:?} is no address: 0x and 40 hex digits are needed"),
            format!("{shown:?} 不是地址:需要 0x 加 40 位十六进制数字"),
        ));
    };
    let address = Address::from(bytes);
    let mixed =
        digits.bytes().any(|byte| byte.is_ascii_uppercase()) && digits.bytes().any(|byte| byte.is_ascii_lowercase());
    if mixed && address.to_checksum(None) != text {
        return Err(problem(
            field,
            "bad_checksum",
            format!("{text} has a wrong checksum: a digit may be mistyped; write it in lower case if it is right"),
            format!("{text} 的校验和不对:可能输错了某一位;若确认无误,请全部用小写"),
        ));
    }
    let mut word = [0; 32];
    word[12..].copy_from_slice(&bytes);
    Ok(Encodable::Word(word))
}

/// Bytes, and whether they were given as text.
fn bytes(given: &Value, field: &str) -> Result<(Vec<u8>, bool), ValueError> {
    let bad = |what: &str, what_zh: &str| problem(field, "bad_hex", what.to_owned(), what_zh.to_owned());
    match given {
        Value::String(text) => {
            let digits = text.trim().strip_prefix("0x").ok_or_else(|| {
                bad(
                    "must begin with 0x, or be {\"text\": …} or {\"base64\": …}",
                    "必须以 0x 开头,或写成 {\"text\": …}、{\"base64\": …}",
                )
            })?;
            if digits.len() % 2 == 1 {
                return Err(bad("has an odd number of hex digits", "十六进制数字的个数必须是偶数"));
            }
            let bytes = hex::decode(digits).map_err(|_| bad("has digits that are not hex", "含有非十六进制字符"))?;
            Ok((bytes, false))
        }
        Value::Object(fields) if fields.len() == 1 => match (fields.get("text"), fields.get("base64")) {
            (Some(Value::String(text)), _) => Ok((text.clone().into_bytes(), true)),
            (_, Some(Value::String(text))) => base64::engine::general_purpose::STANDARD
                .decode(text.trim())
                .map(|bytes| (bytes, false))
                .map_err(|_| bad("is no base64", "不是有效的 base64")),
            _ => Err(wrong_type(field, "bytes as 0x-hex", "0x 开头的十六进制字节", given)),
        },
        other => Err(wrong_type(field, "bytes as 0x-hex", "0x 开头的十六进制字节", other)),
    }
}

/// Fixed bytes stand at the left of their word; texts may be shorter and are filled with zeros.
fn fixed(given: &Value, length: usize, field: &str) -> Result<Encodable, ValueError> {
    let (bytes, text) = bytes(given, field)?;
    let has = bytes.len();
    if has > length || (has < length && !text) {
        return Err(problem(
            field,
            "wrong_length",
            format!("has {has} bytes, exactly {length} are needed"),
            format!("有 {has} 个字节,必须正好 {length} 个"),
        ));
    }
    let mut word = [0; 32];
    word[..has].copy_from_slice(&bytes);
    Ok(Encodable::Word(word))
}

pub(super) fn wrong_type(field: &str, needed: &str, needed_zh: &str, given: &Value) -> ValueError {
    let (is, is_zh) = match given {
        Value::Null => ("null", "null"),
        Value::Bool(_) => ("a boolean", "布尔值"),
        Value::Number(_) => ("a number", "数字"),
        Value::String(_) => ("a text", "文本"),
        Value::Array(_) => ("a list", "列表"),
        Value::Object(_) => ("an object", "对象"),
    };
    problem(field, "wrong_type", format!("is {is}; {needed} is needed"), format!("给出的是{is_zh};需要{needed_zh}"))
}

fn describe(kind: &AbiType) -> String {
    match kind {
        AbiType::Uint(bits) => format!("uint{bits}"),
        AbiType::Int(bits) => format!("int{bits}"),
        AbiType::Address => "address".into(),
        AbiType::Bool => "bool".into(),
        AbiType::Text => "string".into(),
        AbiType::Bytes => "bytes".into(),
        AbiType::FixedBytes(length) => format!("bytes{length}"),
        AbiType::Function => "function".into(),
        AbiType::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(|(name, part)| format!("{name}: {}", describe(part))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        AbiType::Array(element) => format!("{}[]", describe(element)),
        AbiType::FixedArray(element, length) => format!("{}[{length}]", describe(element)),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 100 { text.to_owned() } else { text.chars().take(100).chain("…".chars()).collect() }
}

/// Heads, then tails: what is dynamic is in the tail, its offset in the head.
fn sequence(out: &mut Vec<u8>, items: Vec<(&AbiType, &Encodable)>) {
    let head: usize = items.iter().map(|(kind, _)| head_bytes(kind)).sum();
    let mut tail = Vec::new();
    for (kind, item) in items {
        if is_dynamic(kind) {
            out.extend_from_slice(&U256::from(head + tail.len()).to_be_bytes::<32>());
            encode(&mut tail, kind, item);
        } else {
            encode(out, kind, item);
        }
    }
    out.extend_from_slice(&tail);
}

/// Bytes of a value in the head.
pub(super) fn head_bytes(kind: &AbiType) -> usize {
    if is_dynamic(kind) {
        return 32;
    }
    match kind {
        AbiType::Tuple(parts) => parts.iter().map(|(_, part)| head_bytes(part)).sum(),
        AbiType::FixedArray(element, length) => head_bytes(element) * length,
        _ => 32,
    }
}

fn encode(out: &mut Vec<u8>, kind: &AbiType, item: &Encodable) {
    match (kind, item) {
        (_, Encodable::Word(word)) => out.extend_from_slice(word),
        (_, Encodable::Bytes(bytes)) => {
            out.extend_from_slice(&U256::from(bytes.len()).to_be_bytes::<32>());
            out.extend_from_slice(bytes);
            out.resize(out.len() + bytes.len().next_multiple_of(32) - bytes.len(), 0);
        }
        (AbiType::Tuple(kinds), Encodable::Parts(items)) => {
            sequence(out, kinds.iter().map(|(_, kind)| kind).zip(items).collect());
        }
        (AbiType::FixedArray(element, _), Encodable::Parts(items)) => {
            sequence(out, items.iter().map(|item| (element.as_ref(), item)).collect());
        }
        (AbiType::Array(element), Encodable::Elements(items)) => {
            out.extend_from_slice(&U256::from(items.len()).to_be_bytes::<32>());
            sequence(out, items.iter().map(|item| (element.as_ref(), item)).collect());
        }
        // `value` makes no other pairs.
        _ => {}
    }
}
