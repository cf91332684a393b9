//! Why a call was reverted, in words.

use serde_json::{Value, json};

use super::{Revert, Suite, decode, named};
use crate::interface::{Interface, Parameter};

/// What the compiler's checks mean: code, English, Chinese.
const PANICS: [(u64, &str, &str); 11] = [
    (0x00, "a generic check of the compiler failed", "编译器生成的检查失败"),
    (0x01, "an assertion is not true", "断言(assert)不成立"),
    (0x11, "an arithmetic operation overflows or underflows", "算术运算溢出"),
    (0x12, "division or modulo by zero", "除以零或对零取模"),
    (0x21, "a value is not one of its enumeration", "数值不属于该枚举类型"),
    (0x22, "a byte array in storage is encoded wrongly", "存储中的字节数组编码错误"),
    (0x31, "pop of an empty array", "对空数组执行 pop"),
    (0x32, "an array index is out of bounds", "数组下标越界"),
    (0x41, "too much memory is needed, or an array is too large", "需要的内存过多,或数组过大"),
    (0x51, "an uninitialised function variable was called", "调用了未初始化的函数变量"),
    (0x52, "a value that cannot be encoded", "无法编码的值"),
];

fn parameter(name: &str, kind: &str) -> Parameter {
    Parameter {
        name: name.to_owned(),
        kind: kind.to_owned(),
        schema: Value::Null,
        description: String::new(),
        components: Vec::new(),
        indexed: false,
        internal_type: String::new(),
    }
}

pub(super) fn read(contract: Option<&Interface>, data: &[u8], suite: Suite) -> Revert {
    if data.is_empty() {
        return made(
            "empty",
            "",
            "refused without a reason: a require or revert without text, or a call of something that is no contract"
                .into(),
            "被拒绝,未说明原因:没有文本的 require 或 revert,或调用的地址不是合约".into(),
            json!({}),
        );
    }
    for suite in [suite, super::other(suite)] {
        if let Some(found) = with(contract, data, suite) {
            return found;
        }
    }
    let shown = format!("0x{}", hex::encode(&data[..data.len().min(256)]));
    made(
        "unknown",
        "",
        format!("refused with data that the interface does not explain: {shown}"),
        format!("被拒绝,接口文档无法解释返回的数据:{shown}"),
        json!({ "data": shown }),
    )
}

fn with(contract: Option<&Interface>, data: &[u8], suite: Suite) -> Option<Revert> {
    let selector = data.get(..4)?;
    let rest = &data[4..];
    let is = |signature: &str| suite.hash(signature)[..4] == *selector;
    if is("Error(string)") {
        let values = decode::parameters(&[&parameter("message", "string")], rest, "error").ok()?;
        let text = values.first()?.as_str()?.to_owned();
        return Some(made("error", "Error", text.clone(), text.clone(), json!({ "message": text })));
    }
    if is("Panic(uint256)") {
        let values = decode::parameters(&[&parameter("code", "uint256")], rest, "panic").ok()?;
        let code: u64 = values.first()?.as_str()?.parse().ok()?;
        let known = PANICS.iter().find(|(known, _, _)| *known == code);
        let (text, text_zh) =
            known.map_or(("an unknown check failed", "未知的检查失败"), |(_, en, zh)| (*en, *zh));
        return Some(made(
            "panic",
            "Panic",
            format!("{text} (panic 0x{code:02x})"),
            format!("{text_zh}(panic 0x{code:02x})"),
            json!({ "code": format!("0x{code:02x}") }),
        ));
    }
    let error = contract?.errors.iter().find(|error| is(&error.signature))?;
    let parameters: Vec<&Parameter> = error.parameters.iter().collect();
    let values = decode::parameters(&parameters, rest, "error").ok()?;
    let listed: Vec<String> = error
        .parameters
        .iter()
        .zip(&values)
        .map(|(parameter, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if parameter.name.is_empty() { text } else { format!("{}: {text}", parameter.name) }
        })
        .collect();
    let call = format!("{}({})", error.name, listed.join(", "));
    let text = if error.description.is_empty() { call } else { format!("{call}: {}", error.description) };
    Some(made("custom", &error.name, text.clone(), text, named(&error.parameters, values)))
}

fn made(kind: &str, name: &str, message: String, message_zh: String, arguments: Value) -> Revert {
    Revert { kind: kind.to_owned(), name: name.to_owned(), message, message_zh, arguments }
}
