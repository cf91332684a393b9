//! What can be done to a network, as acts with resumable steps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::spec::OrganisationRequest;

/// Something that changes a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Act {
    /// Make it: files, start of every node, first channel or group.
    Create,
    /// Start every node.
    Start,
    /// Stop every node.
    Stop,
    /// Stop and remove everything.
    Delete,
    /// Add a node to an organisation.
    AddNode {
        /// Its organisation's name.
        organisation: String,
        /// `peer`, `orderer`, `sealer` or `observer`.
        role: String,
        /// Channels or groups to join.
        channels: Vec<String>,
    },
    /// Take a node out of the network and remove it.
    RemoveNode {
        /// The node's id.
        node: String,
    },
    /// Start, stop or restart one node.
    Node {
        /// The node's id.
        node: String,
        /// `start`, `stop` or `restart`.
        what: String,
    },
    /// BCOS: change a node's role or weight in consensus.
    SetRole {
        /// The node's id.
        node: String,
        /// `sealer` or `observer`.
        role: String,
        /// Weight as a sealer.
        weight: Option<u64>,
    },
    /// Bring an organisation into the network and its channels.
    AddOrganisation {
        /// The organisation and its nodes.
        organisation: OrganisationRequest,
        /// Channels to join.
        channels: Vec<String>,
    },
    /// Make a further channel or group.
    CreateChannel {
        /// Its name.
        name: String,
        /// Names of its organisations.
        organisations: Vec<String>,
    },
    /// Change a setting of a channel: Fabric batch settings, BCOS system configuration.
    Configure {
        /// Channel or group.
        channel: String,
        /// The key.
        key: String,
        /// The new value.
        value: String,
    },
    /// Deploy or upgrade a contract.
    Deploy(Box<Deployment>),
    /// Issue an identity for a person or application of an organisation.
    IssueIdentity {
        /// The organisation's name.
        organisation: String,
        /// Name in the identity.
        name: String,
        /// `client`, `admin` or `auditor` (Fabric: a client that may read only by policy); BCOS: an account key.
        role: String,
    },
    /// Revoke an identity.
    RevokeIdentity {
        /// The organisation's name.
        organisation: String,
        /// Name in the identity.
        name: String,
    },
}

/// A contract to deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// The platform's id of the contract, `ctr_…`.
    pub contract: String,
    /// Name on the network: Fabric chaincode name, BCOS address book name.
    pub name: String,
    /// Version in people's words.
    pub version: String,
    /// Channel or group.
    pub channel: String,
    /// What to install.
    pub artifact: Artifact,
    /// Constructor arguments (BCOS) as JSON values of the interface's types; Fabric: the Init function's arguments, when `init`.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub arguments: Vec<serde_json::Value>,
    /// Fabric: whether the chaincode wants Init first.
    #[serde(default)]
    pub init: bool,
    /// Fabric: endorsement policy in the policy language; default: the channel's.
    #[serde(default)]
    pub policy: Option<String>,
    /// Fabric: private data collections, in upstream's JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub collections: Option<serde_json::Value>,
    /// Who signs (BCOS account, Fabric identity); default: the organisation's administrator.
    #[serde(default)]
    pub signer: Option<String>,
}

/// What a contract is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Artifact {
    /// EVM creation code and ABI.
    Evm {
        /// Creation code, hex.
        bytecode: String,
        /// The ABI.
        #[schema(value_type = Vec<Object>)]
        abi: serde_json::Value,
    },
    /// A Fabric chaincode package (tar.gz) as a file on the server.
    Package {
        /// Path on the server.
        #[schema(value_type = String)]
        path: std::path::PathBuf,
        /// Its label.
        label: String,
    },
    /// The sample contract that is part of the program (Fabric `asset-transfer`).
    Builtin {
        /// Its name.
        name: String,
    },
}

/// One step of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepPlan {
    /// Name, unique within the operation: `files`, `start peer0-org1`, `approve Org1MSP`.
    pub name: String,
    /// What it does, English.
    pub title: String,
    /// What it does, Chinese.
    pub title_zh: String,
}
