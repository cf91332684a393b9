//! One document for what a contract of either engine offers: it drives forms, REST per method, client code and decoding.

mod abi;
mod ffi;
mod metadata;
pub(crate) mod openapi;
pub(crate) mod schema;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use schema::json_schema;

/// Why something is not an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// A part of the input is wrong.
    #[error("{path}: {why}")]
    Malformed {
        /// Where in the input (`[3].inputs[0].type`).
        path: String,
        /// What is wrong and what is right.
        why: String,
    },
    /// No such method.
    #[error("the contract {contract} has no method {method}; it has: {known}")]
    NoMethod {
        /// The contract.
        contract: String,
        /// What was asked for.
        method: String,
        /// What there is.
        known: String,
    },
    /// Several methods have the name.
    #[error("{method} is overloaded in {contract}; name one by its signature: {signatures}")]
    Ambiguous {
        /// The contract.
        contract: String,
        /// What was asked for.
        method: String,
        /// What it could be.
        signatures: String,
    },
}

pub(crate) fn malformed(path: impl Into<String>, why: impl Into<String>) -> InterfaceError {
    InterfaceError::Malformed { path: path.into(), why: why.into() }
}

/// The engine a contract runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Chaincode: arguments and results are texts.
    Fabric,
    /// EVM: arguments and results are ABI data.
    Bcos,
}

/// The interface document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interface {
    /// Name of the contract.
    pub name: String,
    /// Version in people's words; may be empty.
    #[serde(default)]
    pub version: String,
    /// Where it runs.
    pub engine: Engine,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What can be called.
    #[serde(default)]
    pub methods: Vec<Method>,
    /// What it announces.
    #[serde(default)]
    pub events: Vec<Event>,
    /// How it can refuse (custom errors of Solidity).
    #[serde(default)]
    pub errors: Vec<ErrorShape>,
    /// How it is created; absent when it takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constructor: Option<Constructor>,
    /// What only one engine knows (Fabric: contract classes and the default one).
    #[serde(default)]
    #[schema(value_type = Object)]
    pub engine_details: Value,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Method {
    /// Its name; Fabric: with the class in front when it is not the default one (`Admin:Close`).
    pub name: String,
    /// Name and types: `transfer(address,uint256)`. Tells overloads apart.
    #[serde(default)]
    pub signature: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// Whether it changes nothing, so that it is evaluated and not sent.
    #[serde(default)]
    pub read_only: bool,
    /// What it takes, in order.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// What it gives, in order.
    #[serde(default)]
    pub returns: Vec<Parameter>,
    /// What only one engine knows (`selector`, `selector_sm3`, `payable`, `tags`).
    #[serde(default)]
    #[schema(value_type = Object)]
    pub details: Value,
}

/// A parameter, a result, or a part of a tuple.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Parameter {
    /// Its name; may be empty for results.
    #[serde(default)]
    pub name: String,
    /// Its type in the engine's words: `uint256`, `tuple[2][]`, `string`, `number`, `Asset`.
    #[serde(rename = "type")]
    pub kind: String,
    /// JSON Schema of its values.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub schema: Value,
    /// What it means.
    #[serde(default)]
    pub description: String,
    /// Parts of a tuple, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub components: Vec<Parameter>,
    /// Event parameters that are topics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub indexed: bool,
    /// The type as the source names it (`struct Shop.Order`), when it differs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub internal_type: String,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Name and types.
    #[serde(default)]
    pub signature: String,
    /// When it happens.
    #[serde(default)]
    pub description: String,
    /// What it carries.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Whether its first topic is not the hash of its signature.
    #[serde(default)]
    pub anonymous: bool,
}

/// A custom error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorShape {
    /// Its name.
    pub name: String,
    /// Name and types.
    #[serde(default)]
    pub signature: String,
    /// When it happens.
    #[serde(default)]
    pub description: String,
    /// What it carries.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
}

/// The constructor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Constructor {
    /// What to know.
    #[serde(default)]
    pub description: String,
    /// What it takes, in order.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
}

impl Interface {
    /// From a Solidity ABI and, when there, its `NatSpec` documents.
    pub fn from_abi(
        name: &str,
        version: &str,
        abi: &Value,
        devdoc: Option<&Value>,
        userdoc: Option<&Value>,
    ) -> Result<Self, InterfaceError> {
        abi::read(name, version, abi, devdoc, userdoc)
    }

    /// From what `org.hyperledger.fabric:GetMetadata` answers in chaincode written with the Node, Java or Go contract API.
    pub fn from_fabric_metadata(name: &str, version: &str, metadata: &Value) -> Result<Self, InterfaceError> {
        metadata::read(name, version, metadata)
    }

    /// Checks a document that a person or program wrote, and fills in what follows from the rest (signatures, schemas, selectors).
    pub fn from_document(document: &Value) -> Result<Self, InterfaceError> {
        schema::complete(document)
    }

    /// From a FireFly interface (FFI).
    pub fn from_ffi(ffi: &Value, engine: Engine) -> Result<Self, InterfaceError> {
        ffi::read(ffi, engine)
    }

    /// As a FireFly interface (FFI).
    pub fn to_ffi(&self) -> Value {
        ffi::write(self)
    }

    /// As a Solidity ABI; empty for chaincode.
    pub fn to_abi(&self) -> Value {
        abi::write(self)
    }

    /// An OpenAPI 3.1 document with one path per method below `base` (`/v1/contracts/ctr_…/methods`).
    pub fn to_openapi(&self, base: &str) -> Value {
        openapi::write(self, base)
    }

    /// A method by its name, or by its signature when the name is overloaded; `count` of arguments settles most overloads.
    pub fn method(&self, name: &str, count: Option<usize>) -> Result<&Method, InterfaceError> {
        if let Some(found) = self.methods.iter().find(|method| method.signature == name) {
            return Ok(found);
        }
        let named: Vec<&Method> = self.methods.iter().filter(|method| method.name == name).collect();
        match named[..] {
            [] => Err(InterfaceError::NoMethod {
                contract: self.name.clone(),
                method: name.to_owned(),
                known: self.methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", "),
            }),
            [only] => Ok(only),
            _ => {
                let fitting: Vec<&&Method> =
                    named.iter().filter(|method| count == Some(method.parameters.len())).collect();
                if let [only] = fitting[..] {
                    return Ok(only);
                }
                Err(InterfaceError::Ambiguous {
                    contract: self.name.clone(),
                    method: name.to_owned(),
                    signatures: named.iter().map(|method| method.signature.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    }
}
