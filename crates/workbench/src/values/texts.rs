//! Arguments and results of chaincode, which are texts.

use serde_json::Value;

use super::encode::wrong_type;
use super::{ValueError, problem};
use crate::interface::{Method, Parameter};

/// The deepest value that is compared with its schema.
const MAX_DEPTH: usize = 32;
/// Whole numbers up to here have one form only as floating point numbers (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn arguments(method: &Method, given: &Value) -> Result<Vec<String>, ValueError> {
    let name = |index: usize, parameter: &Parameter| {
        if parameter.name.is_empty() { index.to_string() } else { parameter.name.clone() }
    };
    let parameters = &method.parameters;
    match given {
        Value::Null if parameters.is_empty() => Ok(Vec::new()),
        Value::Array(items) => {
            if items.len() != parameters.len() {
                let (has, needs) = (items.len(), parameters.len());
                return Err(problem(
                    "arguments",
                    "wrong_length",
                    format!("has {has} values, {needs} are needed for {}", method.signature),
                    format!("给出了 {has} 个值,{} 需要 {needs} 个", method.signature),
                ));
            }
            let pairs = parameters.iter().zip(items).enumerate();
            pairs.map(|(index, (parameter, item))| text(parameter, item, &format!("arguments[{index}]"))).collect()
        }
        Value::Object(fields) => {
            let names: Vec<String> =
                parameters.iter().enumerate().map(|(index, parameter)| name(index, parameter)).collect();
            if let Some(stranger) = fields.keys().find(|key| !names.contains(key)) {
                let known = names.join(", ");
                return Err(problem(
                    &format!("arguments.{stranger}"),
                    "unknown_field",
                    format!("is not known here; known are: {known}"),
                    format!("没有这个参数;可用的参数:{known}"),
                ));
            }
            let pairs = parameters.iter().zip(&names);
            pairs
                .map(|(parameter, name)| {
                    let field = format!("arguments.{name}");
                    let item = fields.get(name).ok_or_else(|| {
                        let kind = &parameter.kind;
                        problem(
                            &field,
                            "missing",
                            format!("is missing; {kind} is needed"),
                            format!("缺少该值;需要 {kind}"),
                        )
                    })?;
                    text(parameter, item, &field)
                })
                .collect()
        }
        other => {
            Err(wrong_type("arguments", "an object by name, or a list in order", "按名称的对象,或按顺序的列表", other))
        }
    }
}

/// Arguments without an interface: texts as they are, everything else as JSON.
pub(super) fn untyped(given: &Value) -> Result<Vec<String>, ValueError> {
    match given {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            let texts = items.iter().enumerate().map(|(index, item)| plain(item, &format!("arguments[{index}]")));
            texts.collect()
        }
        other => Err(wrong_type(
            "arguments",
            "a list in order, since this method has no interface",
            "按顺序的列表(该方法没有接口文档)",
            other,
        )),
    }
}

fn plain(value: &Value, field: &str) -> Result<String, ValueError> {
    if has_rounded(value) {
        return Err(rounded(field));
    }
    Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Whether a number in it is a whole one that JSON's reader had no exact form for: digits may be lost already.
fn has_rounded(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() > EXACT)
        }
        Value::Array(items) => items.iter().any(has_rounded),
        Value::Object(fields) => fields.values().any(has_rounded),
        _ => false,
    }
}

fn rounded(field: &str) -> ValueError {
    problem(
        field,
        "out_of_range",
        "is too large to be exact as a JSON number; send it as a text".into(),
        "数值过大,作为 JSON 数字会失去精度;请以文本形式提供".into(),
    )
}

/// Whether reading a JSON text would change one of its numbers: those that are no 64-bit integers keep about 15 digits.
fn would_round(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_digit() || "+-.eE".contains(letter);
    // Every other piece is inside a text, as long as escaped quotes are none.
    let plain = text.replace("\\\\", "").replace("\\\"", "");
    let outside = plain.split('"').step_by(2);
    outside.flat_map(|piece| piece.split(|letter| !is_part(letter))).any(|number| {
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let digits = mantissa.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
        digits > 15 && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
    })
}

fn text(parameter: &Parameter, given: &Value, field: &str) -> Result<String, ValueError> {
    let schema = &parameter.schema;
    match schema["type"].as_str() {
        None => plain(given, field),
        Some("string") => match given {
            Value::String(text) => {
                check(schema, given, field, 0)?;
                Ok(text.clone())
            }
            other => Err(wrong_type(field, "a text", "文本", other)),
        },
        // Forms send texts; a text that is such a value in JSON is taken as it.
        Some(kind) => {
            if let Some(text) = given.as_str().map(str::trim)
                && let Ok(read) = serde_json::from_str::<Value>(text)
            {
                check(schema, &read, field, 0)?;
                // Numbers are left as they were written, since reading may round them.
                return Ok(if read.is_number() || would_round(text) { text.to_owned() } else { read.to_string() });
            }
            check(schema, given, field, 0)?;
            if has_rounded(given) {
                return Err(rounded(field));
            }
            Ok(match given.as_f64().filter(|_| kind == "integer") {
                // `5.0` is a whole number, but no reader of integers takes it.
                Some(number) if !given.is_i64() && !given.is_u64() => format!("{number:.0}"),
                _ => given.to_string(),
            })
        }
    }
}

/// The parts of JSON Schema that contract metadata uses: type, enum, required, properties, items, minimum, maximum.
fn check(schema: &Value, value: &Value, field: &str, depth: usize) -> Result<(), ValueError> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let (fits, needed, needed_zh) = match schema["type"].as_str() {
        Some("string") => (value.is_string(), "a text", "文本"),
        Some("number") => (value.is_number(), "a number", "数字"),
        Some("integer") => {
            let whole = value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0);
            (whole, "a whole number", "整数")
        }
        Some("boolean") => (value.is_boolean(), "true or false", "true 或 false"),
        Some("array") => (value.is_array(), "a list", "列表"),
        Some("object") => (value.is_object(), "an object", "对象"),
        Some("null") => (value.is_null(), "null", "null"),
        _ => (true, "", ""),
    };
    if !fits {
        return Err(wrong_type(field, needed, needed_zh, value));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let list: Vec<String> = allowed.iter().take(20).map(Value::to_string).collect();
        let list = list.join(", ");
        return Err(problem(field, "out_of_range", format!("must be one of {list}"), format!("只能是:{list}")));
    }
    if let Some(number) = value.as_f64() {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = format!("{} … {}", schema["minimum"], schema["maximum"]).replace("null", "");
            return Err(problem(
                field,
                "out_of_range",
                format!("{value} does not fit; the range is {range}"),
                format!("{value} 超出范围;允许 {range}"),
            ));
        }
    }
    if let Some(items) = value.as_array().filter(|_| schema["items"].is_object()) {
        for (index, item) in items.iter().enumerate() {
            check(&schema["items"], item, &format!("{field}[{index}]"), depth + 1)?;
        }
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(problem(&format!("{field}.{name}"), "missing", "is missing".into(), "缺少该值".into()));
        }
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, item) in fields {
        let path = format!("{field}.{name}");
        match properties.get(name) {
            Some(property) => check(property, item, &path, depth + 1)?,
            None if schema["additionalProperties"] == false => {
                return Err(problem(&path, "unknown_field", "is not known here".into(), "没有这个字段".into()));
            }
            None => {}
        }
    }
    Ok(())
}

pub(super) fn result(method: &Method, payload: &[u8]) -> Value {
    if payload.is_empty() {
        return match method.returns.first().map(|result| &result.schema["type"]) {
            Some(kind) if kind == "string" => Value::String(String::new()),
            _ => Value::Null,
        };
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        return Value::String(format!("0x{}", hex::encode(payload)));
    };
    let read: Option<Value> = serde_json::from_str(text).ok();
    let says_text = method.returns.first().is_some_and(|result| result.schema["type"] == "string");
    match read.filter(|_| !would_round(text)) {
        // A text that is only digits stays a text; a document in a text is shown as what it is.
        Some(read) if !says_text || read.is_object() || read.is_array() => read,
        _ => Value::String(text.to_owned()),
    }
}
