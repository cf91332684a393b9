//! From source to something a network can install, and from bytes back to what people read.
//!
//! ```
//! use konsort_workbench::interface::Interface;
//! use konsort_workbench::values::{self, Suite};
//! use serde_json::json;
//!
//! let abi = json!([{"type": "function", "name": "set", "stateMutability": "nonpayable", "outputs": [],
//!     "inputs": [{"name": "value", "type": "uint256"}]}]);
//! let contract = Interface::from_abi("Store", "1", &abi, None, None)?;
//! let method = contract.method("set", None)?;
//! let data = values::encode_call(method, &json!({"value": "7"}), Suite::Keccak)?;
//! assert_eq!(data.len(), 4 + 32);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`interface`]: one document for what a contract of either engine offers; from ABI, Fabric metadata, FFI or by hand.
//! * [`values`]: JSON values to call data or texts and back, with errors that name the field.
//! * [`project`]: files of a contract, immutable versions by content hash, zip in and out.
//! * [`compiler`]: Solidity compilers in a store, run in a separate process; [`builder`]: Fabric chaincode packages.
//! * [`samples`]: contracts to start from. [`trace`]: executed instructions to source lines. [`snippets`]: calls as code.
//!
//! What this crate does not do: it talks to no network and keeps no records; a project is files in a folder.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod builder;
pub mod compiler;
pub mod diagnostic;
pub mod interface;
pub mod project;
pub mod samples;
pub mod snippets;
pub mod tools;
pub mod trace;
pub mod values;

pub use diagnostic::{Diagnostic, Severity};
pub use interface::Interface;
pub use tools::Tools;
