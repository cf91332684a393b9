//! What is remembered of a contract and of each of its deployments.

use konsort_engines::act::Deployment;
use konsort_engines::spec::EngineKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Any, Row as _};
use utoipa::ToSchema;

use crate::db::{Connection, DbError, Kind, New, Repository};
use crate::operations::finish::result_text;
use crate::operations::{Operation, OperationState, store};
use crate::problem::{Problem, kinds};
use crate::time;

/// Where a contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContractState {
    /// Its first deployment runs.
    Pending,
    /// It can be called.
    Running,
    /// Its first deployment failed.
    Failed,
}

/// What it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The project.
    pub project: String,
    /// Its version; absent: the files as they were then.
    pub version: Option<u32>,
    /// Solidity: the contract's name in the sources.
    pub contract: Option<String>,
}

/// A version of a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Made {
    /// Version in people's words.
    pub version: String,
    /// The interface document; absent: what the network itself tells.
    pub interface: Option<Value>,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// Hash of the code, for comparison.
    #[serde(default)]
    pub code_hash: Option<String>,
}

/// A contract's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContractDoc {
    /// Engine.
    pub engine: EngineKind,
    /// Channel or group.
    pub channel: String,
    /// Where it is.
    pub state: ContractState,
    /// BCOS: its address.
    pub address: Option<String>,
    /// Fabric: id of the installed package.
    #[serde(default)]
    pub package_id: Option<String>,
    /// What is deployed, once something is.
    pub made: Made,
    /// What is being deployed, by operation.
    #[serde(default)]
    pub next: Option<(String, Made)>,
    /// Id of who deployed it first.
    pub created_by: String,
    /// When its present version came, milliseconds since 1970.
    #[serde(default)]
    pub deployed_at: Option<i64>,
}

impl ContractDoc {
    /// How the network calls it: address or chaincode name.
    pub fn target<'a>(&'a self, name: &'a str) -> &'a str {
        self.address.as_deref().unwrap_or(name)
    }
}

/// One deployment of a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentDoc {
    /// The contract.
    pub contract: String,
    /// Version in people's words.
    pub version: String,
    /// BCOS: its address.
    pub address: Option<String>,
    /// Fabric: id of the installed package.
    pub package_id: Option<String>,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// Hash of the code.
    pub code_hash: Option<String>,
    /// The operation.
    pub operation: String,
    /// Who asked for it.
    pub created_by: String,
}

/// Refuses to run a deployment again in whose place another one was asked for.
pub(crate) async fn must_be_next(
    connection: &mut Connection,
    operation: &str,
    deployment: &Deployment,
) -> Result<(), Problem> {
    let record = Repository::get_in::<ContractDoc>(connection, Kind::Contract, &deployment.contract).await?;
    if record.doc.next.is_some_and(|(next, _)| next == operation) {
        return Ok(());
    }
    Err(Problem::new(&kinds::CONFLICT)
        .details("a later deployment of this contract has taken its place", "该合约之后的部署已取代此操作"))
}

/// Takes up a further deployment of a contract, unless one is running.
pub(crate) async fn set_next(
    connection: &mut Connection,
    contract: &str,
    expected: Option<i64>,
    operation: &str,
    made: Made,
) -> Result<(), Problem> {
    let record = Repository::get_in::<ContractDoc>(connection, Kind::Contract, contract).await?;
    let mut doc = record.doc;
    if let Some((running, _)) = &doc.next
        && !store::ended_in(connection, running).await?
    {
        return Err(Problem::new(&kinds::CONFLICT)
            .details("a deployment of this contract is running; wait for its end", "该合约的部署正在进行，请等待其结束")
            .with("operation", running.clone()));
    }
    doc.next = Some((operation.to_owned(), made));
    if doc.deployed_at.is_none() {
        doc.state = ContractState::Pending;
    }
    let expected = expected.or(Some(record.version));
    Repository::update_in(connection, Kind::Contract, contract, expected, &record.name, &doc).await?;
    Ok(())
}

/// The contract of a name on a channel, if there is one.
pub(crate) async fn named(
    connection: &mut Connection,
    network: &str,
    channel: &str,
    name: &str,
) -> Result<Option<(String, ContractDoc)>, DbError> {
    let rows = sqlx::query::<Any>("SELECT id, doc FROM resources WHERE kind = $1 AND network = $2 AND name = $3")
        .bind(Kind::Contract.name())
        .bind(network.to_owned())
        .bind(name.to_owned())
        .fetch_all(connection)
        .await?;
    for row in rows {
        let (id, doc): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let doc: ContractDoc =
            serde_json::from_str(&doc).map_err(|error| DbError::Failed(format!("document of {id}: {error}")))?;
        if doc.channel == channel {
            return Ok(Some((id, doc)));
        }
    }
    Ok(None)
}

/// Notes where a deployment is: part of the transaction that stores the operation.
pub(crate) async fn deployed(
    connection: &mut Connection,
    operation: &Operation,
    deployment: &Deployment,
) -> Result<(), DbError> {
    let record = match Repository::get_in::<ContractDoc>(connection, Kind::Contract, &deployment.contract).await {
        Ok(record) => record,
        Err(DbError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut doc = record.doc.clone();
    let mine = doc.next.as_ref().is_some_and(|(of, _)| *of == operation.id);
    match operation.state {
        OperationState::Pending | OperationState::Running => {
            if doc.deployed_at.is_none() {
                doc.state = ContractState::Pending;
            }
        }
        OperationState::Failed | OperationState::Cancelled => {
            if doc.deployed_at.is_none() {
                doc.state = ContractState::Failed;
            }
        }
        OperationState::Done if mine => {
            doc.state = ContractState::Running;
            doc.address = result_text(operation, "address").or(doc.address);
            doc.package_id = result_text(operation, "package_id").or(doc.package_id);
            doc.deployed_at = Some(time::now());
            if let Some((_, made)) = doc.next.take() {
                doc.made = made;
            }
            let deployment_doc = DeploymentDoc {
                contract: record.id.clone(),
                version: doc.made.version.clone(),
                address: doc.address.clone(),
                package_id: doc.package_id.clone(),
                origin: doc.made.origin.clone(),
                code_hash: doc.made.code_hash.clone(),
                operation: operation.id.clone(),
                created_by: operation.created_by.clone(),
            };
            let id = operation.id.replacen("op_", "dep_", 1);
            let new = New {
                id: &id,
                network: record.network.as_deref(),
                organisation: record.organisation.as_deref(),
                // Named after its contract, by which its deployments are found.
                name: &record.id,
                doc: &deployment_doc,
            };
            Repository::create_in(connection, Kind::Deployment, new).await?;
        }
        OperationState::Done => {}
    }
    if doc != record.doc {
        Repository::update_in(connection, Kind::Contract, &record.id, Some(record.version), &record.name, &doc).await?;
    }
    Ok(())
}
