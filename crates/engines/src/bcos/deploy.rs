//! Deploying contracts: constructor arguments, creation, the name in the chain's address book.

use alloy_dyn_abi::{DynSolType, DynSolValue, JsonAbiExt as _, Specifier as _};
use alloy_json_abi::JsonAbi;
use alloy_sol_types::SolCall as _;
use bcos_types::{Address, B256, U256};
use konsort_crypto::hash::keccak256;
use serde_json::{Map, Value, json};

use super::plan::invalid;
use super::rpc::first;
use super::run::result;
use super::send::{Content, sent_path};
use super::{Bcos, accounts, contracts, files, words};
use crate::act::{Artifact, Deployment};
use crate::{EngineError, Place};

/// Code a chain takes at most, with its arguments; a transaction is not larger either.
const MOST_CODE: usize = 2 << 20;
/// Elements of one array among the arguments.
const MOST_ELEMENTS: usize = 10_000;

/// Reads an ABI as compilers write it.
pub(super) fn interface(abi: &Value) -> Result<JsonAbi, EngineError> {
    serde_json::from_value(abi.clone()).map_err(|error| invalid("artifact.abi", format!("this is no ABI: {error}")))
}

/// Creation code with the constructor's arguments behind it.
pub(super) fn code(bytecode: &str, abi: &Value, arguments: &[Value]) -> Result<Vec<u8>, EngineError> {
    let abi = interface(abi)?;
    let text = bytecode.trim();
    if text.contains("__$") || text.contains("__") {
        return Err(invalid(
            "artifact.bytecode",
            "the code has places for libraries that are not linked yet; link them when building",
        ));
    }
    let mut code =
        words::bytes(text).ok_or_else(|| invalid("artifact.bytecode", "creation code must be hex digits"))?;
    if code.is_empty() {
        return Err(invalid(
            "artifact.bytecode",
            "there is no code; an interface or an abstract contract cannot be deployed",
        ));
    }
    let inputs = abi.constructor.as_ref().map_or(&[][..], |constructor| constructor.inputs.as_slice());
    if inputs.len() != arguments.len() {
        let names: Vec<String> = inputs.iter().map(|input| format!("{} {}", input.ty, input.name)).collect();
        return Err(invalid(
            "arguments",
            format!("the constructor takes {} ({}), {} were given", inputs.len(), names.join(", "), arguments.len()),
        ));
    }
    let mut values = Vec::new();
    for (at, (input, argument)) in inputs.iter().zip(arguments).enumerate() {
        let field =
            if input.name.is_empty() { format!("arguments[{at}]") } else { format!("arguments.{}", input.name) };
        let kind = input.resolve().map_err(|error| invalid(&field, error.to_string()))?;
        let names: Vec<&alloy_json_abi::Param> = input.components.iter().collect();
        values.push(value(&field, &kind, &names, argument)?);
    }
    if let Some(constructor) = &abi.constructor {
        code.extend(constructor.abi_encode_input(&values).map_err(|error| invalid("arguments", error.to_string()))?);
    }
    if code.len() > MOST_CODE {
        return Err(invalid(
            "artifact.bytecode",
            format!("the code has {} bytes; a chain takes at most {MOST_CODE}", code.len()),
        ));
    }
    Ok(code)
}

/// A JSON value as a value of a Solidity type. Numbers may be texts, since JSON's own are too short; tuples may be objects.
fn value(
    field: &str,
    kind: &DynSolType,
    names: &[&alloy_json_abi::Param],
    json: &Value,
) -> Result<DynSolValue, EngineError> {
    let wrong = |what: &str| invalid(field, format!("{json} is not {what}"));
    let text = match json {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let elements = |kind: &DynSolType, wanted: Option<usize>| {
        let all = json.as_array().ok_or_else(|| wrong("a list"))?;
        if all.len() > MOST_ELEMENTS || wanted.is_some_and(|wanted| wanted != all.len()) {
            return Err(invalid(field, format!("{} elements do not fit", all.len())));
        }
        all.iter()
            .enumerate()
            .map(|(at, one)| value(&format!("{field}[{at}]"), kind, names, one))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match kind {
        DynSolType::String => DynSolValue::String(json.as_str().ok_or_else(|| wrong("a text"))?.to_owned()),
        DynSolType::Bool => match (json, text.as_deref()) {
            (Value::Bool(flag), _) => DynSolValue::Bool(*flag),
            (_, Some("true")) => DynSolValue::Bool(true),
            (_, Some("false")) => DynSolValue::Bool(false),
            _ => return Err(wrong("true or false")),
        },
        DynSolType::Uint(bits) => {
            let number = text.as_deref().and_then(|text| match text.trim().strip_prefix("0x") {
                Some(digits) => U256::from_str_radix(digits, 16).ok(),
                None => U256::from_str_radix(text.trim(), 10).ok(),
            });
            let number = number.filter(|number| number.bit_len() <= *bits);
            DynSolValue::Uint(number.ok_or_else(|| wrong(&format!("a whole number of at most {bits} bits")))?, *bits)
        }
        DynSolType::Array(inner) => DynSolValue::Array(elements(inner, None)?),
        DynSolType::FixedArray(inner, size) => DynSolValue::FixedArray(elements(inner, Some(*size))?),
        DynSolType::Tuple(kinds) => {
            let of = |at: usize| -> Option<&Value> {
                match json {
                    Value::Array(all) => all.get(at),
                    Value::Object(fields) => fields.get(&names.get(at)?.name),
                    _ => None,
                }
            };
            let mut values = Vec::new();
            for (at, kind) in kinds.iter().enumerate() {
                let name = names.get(at).map_or("", |param| param.name.as_str());
                let field = format!("{field}.{name}");
                let inner: Vec<&alloy_json_abi::Param> =
                    names.get(at).map(|param| param.components.iter().collect()).unwrap_or_default();
                let json = of(at).ok_or_else(|| invalid(&field, "it is missing"))?;
                values.push(value(&field, kind, &inner, json)?);
            }
            DynSolValue::Tuple(values)
        }
        DynSolType::Bytes => {
            DynSolValue::Bytes(text.as_deref().and_then(hex_bytes).ok_or_else(|| wrong("bytes as 0x and hex digits"))?)
        }
        DynSolType::FixedBytes(size) => {
            let bytes = text.as_deref().and_then(hex_bytes).filter(|bytes| bytes.len() == *size);
            let bytes = bytes.ok_or_else(|| wrong(&format!("0x and {} hex digits", 2 * size)))?;
            let mut word = B256::ZERO;
            word[..*size].copy_from_slice(&bytes);
            DynSolValue::FixedBytes(word, *size)
        }
        DynSolType::Address => {
            let address = text.as_deref().and_then(|text| text.trim().parse::<Address>().ok());
            DynSolValue::Address(address.ok_or_else(|| wrong("an address, 0x and 40 hex digits"))?)
        }
        other => {
            let text = text.ok_or_else(|| wrong(&format!("a {other}")))?;
            other.coerce_str(text.trim()).map_err(|error| invalid(field, error.to_string()))?
        }
    })
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.trim().strip_prefix("0x")?).ok()
}

/// The name under which a deployment's transaction is kept: another code, version, group or signer is another deployment.
fn kept_name(deployment: &Deployment, code: &[u8]) -> String {
    let mut text = code.to_vec();
    for part in [&deployment.contract, &deployment.name, &deployment.version, &deployment.channel] {
        text.extend_from_slice(part.as_bytes());
        text.push(0);
    }
    text.extend_from_slice(deployment.signer.as_deref().unwrap_or_default().as_bytes());
    format!("deploy-{}-{}", deployment.contract, &hex::encode(keccak256(&text))[..16])
}

impl Bcos {
    pub(super) async fn deploy(
        &self,
        place: Place<'_>,
        deployment: &Deployment,
    ) -> Result<Map<String, Value>, EngineError> {
        let (code, abi) = parts(deployment)?;
        let name = kept_name(deployment, &code);
        // A finished deployment of the same is another one.
        let linked = sent_path(place, &format!("{name}-linked"));
        if linked.exists() {
            files::remove_file(&sent_path(place, &name))?;
            files::remove_file(&linked)?;
        }
        let key = accounts::signer(place, None, deployment.signer.as_deref())?;
        let content = Content { to: String::new(), input: code, abi: abi.to_string() };
        let receipt = self.send_once(place, &deployment.channel, &key, &content, &name).await?;
        if receipt.status != 0 {
            // Sending it again is a new attempt.
            files::remove_file(&sent_path(place, &name))?;
        }
        let why =
            words::outcome(receipt.status, &receipt.output_bytes(), &receipt.message, interface(abi).ok().as_ref());
        if receipt.status != 0 {
            return Err(EngineError::Refused { code: bcos_types::status::name(receipt.status).into(), why });
        }
        let address = super::send::contract(&receipt.contract_address)?;
        let mut out = result("address", address.clone());
        out.insert("transaction".into(), receipt.transaction_hash.clone().into());
        out.insert("height".into(), receipt.block_number.into());
        if let Some(gas) = super::send::number(&json!(receipt.gas_used)) {
            out.insert("gas_used".into(), gas.into());
        }
        files::write(&sent_path(place, &format!("{name}-address")), address.as_bytes())?;
        Ok(out)
    }

    pub(super) async fn link(
        &self,
        place: Place<'_>,
        deployment: &Deployment,
    ) -> Result<Map<String, Value>, EngineError> {
        let (code, abi) = parts(deployment)?;
        let name = kept_name(deployment, &code);
        let address = files::read(&sent_path(place, &format!("{name}-address")))?;
        let path = format!("/apps/{}/{}", deployment.name, deployment.version);
        let group = deployment.channel.as_str();
        if self.linked(place, group, &path).await? != Some(address.clone()) {
            let key = accounts::signer(place, None, deployment.signer.as_deref())?;
            let call = contracts::linkCall {
                name: deployment.name.clone(),
                version: deployment.version.clone(),
                contractAddress: address.clone(),
                abi: abi.to_string(),
            };
            let content = Content { to: contracts::BFS.into(), input: call.abi_encode(), abi: String::new() };
            self.send(place, group, None, &key, &content).await?.succeeded(true)?;
        }
        files::write(&sent_path(place, &format!("{name}-linked")), b"\n")?;
        let mut out = result("address", address);
        out.insert("path".into(), path.into());
        Ok(out)
    }

    /// The address behind a path of the chain's address book.
    pub(super) async fn linked(
        &self,
        place: Place<'_>,
        group: &str,
        path: &str,
    ) -> Result<Option<String>, EngineError> {
        let input = &format!("0x{}", hex::encode(contracts::readlinkCall { path: path.to_owned() }.abi_encode()));
        let clients = self.clients.of_group(place, group, None)?;
        let answer: Value = first(&clients, |client| async move {
            client.call(group, "call", &[json!(contracts::BFS), json!(input)]).await
        })
        .await?;
        let output = answer["output"].as_str().and_then(words::bytes).unwrap_or_default();
        let address = contracts::readlinkCall::abi_decode_returns(&output).ok().filter(|address| !address.is_zero());
        Ok(address.map(|address| format!("0x{}", hex::encode(address))))
    }
}

fn parts(deployment: &Deployment) -> Result<(Vec<u8>, &Value), EngineError> {
    match &deployment.artifact {
        Artifact::Evm { bytecode, abi } => Ok((code(bytecode, abi, &deployment.arguments)?, abi)),
        _ => Err(invalid("artifact", "a BCOS network runs EVM contracts: creation code and ABI")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(inputs: &Value) -> Value {
        json!([{ "type": "constructor", "inputs": inputs, "stateMutability": "nonpayable" }])
    }

    #[test]
    fn arguments_of_every_kind_are_encoded() {
        let inputs = json!([
            { "name": "a", "type": "uint8" }, { "name": "b", "type": "string" }, { "name": "c", "type": "address[]" },
            { "name": "d", "type": "tuple", "components": [{ "name": "x", "type": "int256" }, { "name": "y", "type": "bytes4" }] },
            { "name": "e", "type": "bool" },
        ]);
        let address = "0x00000000000000000000000000000000000000aa";
        let arguments =
            [json!("0xff"), json!("hé"), json!([address]), json!({ "x": "-1", "y": "0x01020304" }), json!(true)];
        let code = code("0x6001", &abi(&inputs), &arguments).unwrap();
        assert_eq!(&code[..2], [0x60, 0x01]);
        let kinds =
            ["uint8", "string", "address[]", "(int256,bytes4)", "bool"].map(|kind| DynSolType::parse(kind).unwrap());
        let decoded = DynSolType::Tuple(kinds.to_vec()).abi_decode_params(&code[2..]).unwrap();
        let DynSolValue::Tuple(values) = decoded else { panic!() };
        assert_eq!(values[0], DynSolValue::Uint(U256::from(255), 8));
        assert_eq!(values[1], DynSolValue::String("hé".into()));
        assert_eq!(values[4], DynSolValue::Bool(true));
        // The same with the tuple as a list.
        let listed = [json!(255), json!("hé"), json!([address]), json!(["-1", "0x01020304"]), json!("true")];
        assert_eq!(super::code("6001", &abi(&inputs), &listed).unwrap(), code);
    }

    #[test]
    fn wrong_arguments_are_named() {
        let one = |kind: &str, argument: Value| {
            let error = code("0x00", &abi(&json!([{ "name": "p", "type": kind }])), &[argument]).unwrap_err();
            error.to_string()
        };
        assert!(one("uint8", json!(256)).starts_with("arguments.p: "));
        assert!(one("uint8", json!(-1)).contains("whole number"));
        assert!(one("int8", json!(128)).starts_with("arguments.p: "));
        assert!(one("bytes4", json!("0x0102")).contains("8 hex digits"));
        assert!(one("uint8[2]", json!([1])).contains("do not fit"));
        assert!(one("address", json!("me")).contains("an address"));
        assert!(one("bool", json!("yes")).contains("true or false"));
        assert!(
            code("0x00", &abi(&json!([])), &[json!(1)]).unwrap_err().to_string().contains("the constructor takes 0")
        );
        assert!(code("0x", &json!([]), &[]).unwrap_err().to_string().contains("no code"));
        assert!(code("0x60__$aa$__", &json!([]), &[]).unwrap_err().to_string().contains("libraries"));
        assert!(code("0x00", &json!({ "a": 1 }), &[]).unwrap_err().to_string().contains("no ABI"));
    }
}
