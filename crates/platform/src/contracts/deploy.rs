//! Deploying and upgrading contracts.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use konsort_engines::Act;
use konsort_engines::act::Deployment;
use konsort_engines::spec::EngineKind;
use konsort_workbench::Interface;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::acting_organisation;
use super::record::{self, ContractDoc, ContractState, Made};
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::{Control, Network};
use crate::db::{DbError, Kind, New, Repository};
use crate::http::{AuditNote, DryRun, IfMatch, Json, Path, Query, audited};
use crate::ids;
use crate::networks::reads::channel_of;
use crate::networks::running;
use crate::operations::handlers::{ActPlan, OperationView, accepted};
use crate::operations::runner::steps_of;
use crate::problem::{Problem, kinds};
use crate::projects::artifacts::{self, Ready};

/// What to deploy, and how.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// Name on the network. Fabric: the chaincode's name. BCOS: any; default: the contract's name in its sources. Not on upgrades.
    #[serde(default)]
    pub name: Option<String>,
    /// Version in people's words; default: `1.0`, or one more than the present one.
    #[serde(default)]
    pub version: Option<String>,
    /// Channel or group; default: the network's first. Not on upgrades.
    #[serde(default)]
    pub channel: Option<String>,
    /// A project to compile or package.
    #[serde(default)]
    pub project: Option<String>,
    /// Its version; default: the files as they are now.
    #[serde(default)]
    pub project_version: Option<u32>,
    /// Solidity: which contract of the sources; default: the only one that can be deployed.
    #[serde(default)]
    pub contract_name: Option<String>,
    /// Instead of a project: something that is made already.
    #[serde(default)]
    pub artifact: Option<ArtifactRequest>,
    /// Arguments of the constructor (BCOS) or of Init (Fabric): an object by parameter name, or an array.
    #[serde(default)]
    pub arguments: Option<Value>,
    /// Fabric: whether the chaincode wants Init first.
    #[serde(default)]
    pub init: bool,
    /// Fabric: endorsement policy (`AND('Org1MSP.member','Org2MSP.member')`); default: the channel's.
    #[serde(default)]
    pub policy: Option<String>,
    /// Fabric: private data collections, in upstream's JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub collections: Option<Value>,
    /// Name of the identity or account that signs; default: the organisation's administrator.
    #[serde(default)]
    pub signer: Option<String>,
}

/// Something that is made already.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ArtifactRequest {
    /// EVM creation code and ABI.
    Evm {
        /// Creation code, hex.
        bytecode: String,
        /// The ABI.
        #[schema(value_type = Vec<Object>)]
        abi: Value,
    },
    /// A Fabric chaincode package.
    Package {
        /// The tar.gz file, base64.
        content: String,
    },
    /// The sample contract that is part of the program: `asset-transfer`.
    Builtin {
        /// Its name.
        name: String,
    },
}

/// Deploys a contract.
#[utoipa::path(post, path = "/v1/networks/{id}/contracts", tag = "contracts", operation_id = "deploy_contract",
    params(("id" = String, Path, description = "Network"), DryRun), request_body = DeployRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn deploy(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<DeployRequest>,
) -> Result<Response, Problem> {
    let network = running(&app, &id).await?;
    let channel = channel_of(&network.record.doc, request.channel.as_deref())
        .map_err(|_| Problem::invalid_in("channel", "a channel of the network", "必须是网络中的通道"))?;
    let version = request.version.clone().unwrap_or_else(|| "1.0".to_owned());
    let ready = artifacts::ready(&app, &caller, &network, &request, &version, dry_run).await?;
    let name = request.name.clone().unwrap_or_else(|| ready.name.clone());
    check_contract_name(network.spec().engine, &name)?;
    // Asked again below, together with storing it; here so that a dry run says it too.
    let found =
        record::named(&mut *app.db.read().acquire().await.map_err(DbError::from)?, &id, &channel, &name).await?;
    free(&name, &channel, found.as_ref())?;
    let wanted = Wanted { contract: None, name, channel, version, record_version: None };
    begin(&app, &caller, &network, wanted, ready, request, dry_run).await
}

/// A name can be used where it is not, or where deploying has failed, which is then taken up again.
fn free(name: &str, channel: &str, found: Option<&(String, ContractDoc)>) -> Result<(), Problem> {
    if found.is_none_or(|(_, doc)| doc.state == ContractState::Failed) {
        return Ok(());
    }
    Err(Problem::new(&kinds::ALREADY_EXISTS)
        .details(
            format!("there is a contract {name} on {channel}; upgrade it or choose another name"),
            format!("{channel} 上已有合约 {name}；请升级该合约或更换名称"),
        )
        .with("name", name))
}

/// Deploys a further version of a contract. BCOS: at a new address, which the contract then stands for.
#[utoipa::path(post, path = "/v1/contracts/{id}/upgrade", tag = "contracts", operation_id = "upgrade_contract",
    params(("id" = String, Path, description = "Contract"), DryRun), request_body = DeployRequest,
    responses((status = 200, description = "On a dry run: what would be done", body = ActPlan),
        (status = 202, body = OperationView)))]
async fn upgrade(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(DryRun { dry_run }): Query<DryRun>,
    IfMatch(expected): IfMatch,
    Json(request): Json<DeployRequest>,
) -> Result<Response, Problem> {
    let record = app.records.get::<ContractDoc>(Kind::Contract, &id).await?;
    for (field, given) in [("name", request.name.is_some()), ("channel", request.channel.is_some())] {
        if given {
            return Err(Problem::invalid_in(
                field,
                "cannot be changed by an upgrade; leave it out",
                "升级时不能修改，请省略",
            ));
        }
    }
    let network = running(&app, record.network.as_deref().unwrap_or_default()).await?;
    let version = request.version.clone().unwrap_or_else(|| next_version(&record.doc.made.version));
    let ready = artifacts::ready(&app, &caller, &network, &request, &version, dry_run).await?;
    let wanted = Wanted {
        contract: Some(id),
        name: record.name,
        channel: record.doc.channel,
        version,
        record_version: expected,
    };
    begin(&app, &caller, &network, wanted, ready, request, dry_run).await
}

struct Wanted {
    /// The one that gets a further version; none: one of this name is made.
    contract: Option<String>,
    name: String,
    channel: String,
    version: String,
    /// Which version of the record the caller has seen.
    record_version: Option<i64>,
}

async fn begin(
    app: &App,
    caller: &Caller,
    network: &Network,
    wanted: Wanted,
    ready: Ready,
    request: DeployRequest,
    dry_run: bool,
) -> Result<Response, Problem> {
    let organisation = acting_organisation(network, caller, None, request.signer.as_deref())?;
    let arguments = positional(ready.interface.as_ref(), request.arguments.as_ref(), request.init)?;
    // BCOS accounts are named with their organisation.
    let signer = match (&request.signer, &organisation, network.spec().engine) {
        (Some(signer), Some(organisation), EngineKind::Bcos) if !signer.starts_with("0x") => {
            Some(format!("{organisation}/{signer}"))
        }
        (signer, _, _) => signer.clone(),
    };
    let mut deployment = Deployment {
        contract: wanted.contract.clone().unwrap_or_default(),
        name: wanted.name.clone(),
        version: wanted.version.clone(),
        channel: wanted.channel.clone(),
        artifact: ready.artifact,
        arguments,
        init: request.init,
        policy: request.policy,
        collections: request.collections,
        signer,
    };
    if dry_run {
        // What was uploaded is there, though a dry run does not keep it.
        let packaged = ready.origin.is_none();
        let act = Act::Deploy(Box::new(deployment));
        let steps = if packaged { network.engine.steps(network.spec(), &act)? } else { steps_of(network, &act)? };
        return Ok(Json(ActPlan { steps }).into_response());
    }
    let interface = ready.interface.as_ref().and_then(|interface| serde_json::to_value(interface).ok());
    let made = Made { version: wanted.version, interface, origin: ready.origin, code_hash: ready.code_hash };
    let (name, channel) = (wanted.name, wanted.channel);
    let mut telling = app.control.outbox.begin().await?;
    let known = if wanted.contract.is_some() {
        wanted.contract
    } else {
        let found = record::named(telling.connection(), &network.record.id, &channel, &name).await?;
        free(&name, &channel, found.as_ref())?;
        found.map(|(contract, _)| contract)
    };
    let contract = known.clone().unwrap_or_else(|| ids::new("ctr"));
    deployment.contract.clone_from(&contract);
    let act = Act::Deploy(Box::new(deployment));
    let operation = Control::submit_act_in(&mut telling, network, act, &name, caller).await?;
    if known.is_some() {
        record::set_next(telling.connection(), &contract, wanted.record_version, &operation.id, made).await?;
    } else {
        let doc = ContractDoc {
            engine: network.spec().engine,
            channel,
            state: ContractState::Pending,
            address: None,
            package_id: None,
            made: Made::default(),
            next: Some((operation.id.clone(), made)),
            created_by: caller.id.clone(),
            deployed_at: None,
        };
        let new = New {
            id: &contract,
            network: Some(&network.record.id),
            organisation: caller.organisation.as_deref(),
            name: &name,
            doc: &doc,
        };
        Repository::create_in(telling.connection(), Kind::Contract, new).await?;
    }
    telling.commit().await?;
    app.control.runner.wake();
    app.control.contracts.forget(&network.record.id);
    let note = AuditNote { network: Some(network.record.id.clone()), target: Some(contract), ..AuditNote::default() };
    Ok(audited(note, accepted(&operation)))
}

/// Arguments in the constructor's order.
fn positional(interface: Option<&Interface>, given: Option<&Value>, init: bool) -> Result<Vec<Value>, Problem> {
    let wrong = |english: &str, chinese: &str| Err(Problem::invalid_in("arguments", english, chinese));
    let parameters = interface
        .and_then(|interface| interface.constructor.as_ref())
        .map_or(&[][..], |constructor| &constructor.parameters);
    match given {
        None | Some(Value::Null) if parameters.is_empty() || init => Ok(Vec::new()),
        None | Some(Value::Null) => {
            let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let names = names.join(", ");
            wrong(&format!("the constructor wants {names}"), &format!("构造函数需要参数 {names}"))
        }
        Some(Value::Array(values)) => Ok(values.clone()),
        Some(Value::Object(named)) => {
            let mut values = Vec::new();
            for parameter in parameters {
                if let Some(value) = named.get(&parameter.name) {
                    values.push(value.clone());
                } else {
                    let field = format!("arguments.{}", parameter.name);
                    return Err(Problem::invalid_in(&field, "is missing", "缺少该参数"));
                }
            }
            if let Some(unknown) = named.keys().find(|name| !parameters.iter().any(|known| known.name == **name)) {
                return Err(Problem::invalid_in(
                    &format!("arguments.{unknown}"),
                    "there is no such parameter",
                    "没有该参数",
                ));
            }
            Ok(values)
        }
        Some(_) => wrong("an object by parameter name, or an array", "应为按参数名的对象或数组"),
    }
}

pub(crate) fn check_contract_name(engine: EngineKind, name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let fine = match engine {
        // The chaincode name rule of upstream.
        EngineKind::Fabric => {
            name.split(['-', '_']).all(|part| !part.is_empty()) && name.chars().all(plain) && name.len() <= 64
        }
        EngineKind::Bcos => (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control),
    };
    if fine {
        return Ok(());
    }
    Err(Problem::invalid_in(
        "name",
        "letters, digits, single dashes and underscores between them, at most 64 characters",
        "字母、数字，以及其间的单个短横线或下划线，最长 64 个字符",
    ))
}

/// `1.0` gives `2.0`, `v7` gives `v8`, anything else gets a `.1`.
fn next_version(version: &str) -> String {
    let digits: String = version.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>().ok().and_then(|number| number.checked_add(1)) {
        Some(next) => version.replacen(&digits, &next.to_string(), 1),
        None => format!("{version}.1"),
    }
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(deploy)).routes(routes!(upgrade))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_count_on() {
        assert_eq!(["1.0", "v7", "first", ""].map(next_version), ["2.0", "v8", "first.1", ".1"]);
    }

    #[test]
    fn names_follow_the_engine() {
        for fine in ["basic", "asset-transfer", "a_b-1"] {
            assert!(check_contract_name(EngineKind::Fabric, fine).is_ok(), "{fine}");
        }
        for wrong in ["", "-a", "a--b", "a b", "证书"] {
            assert!(check_contract_name(EngineKind::Fabric, wrong).is_err(), "{wrong}");
        }
        assert!(check_contract_name(EngineKind::Bcos, "证书").is_ok());
    }

    #[test]
    fn constructor_arguments_are_named_or_in_order() {
        let abi = json!([{"type": "constructor", "stateMutability": "nonpayable",
            "inputs": [{"name": "owner", "type": "address"}, {"name": "limit", "type": "uint256"}]}]);
        let interface = Interface::from_abi("C", "1", &abi, None, None).unwrap();
        let named = json!({"limit": 5, "owner": "0x00"});
        assert_eq!(positional(Some(&interface), Some(&named), false).unwrap(), [json!("0x00"), json!(5)]);
        assert!(positional(Some(&interface), Some(&json!({"owner": 1})), false).is_err());
        assert!(positional(Some(&interface), Some(&json!({"owner": 1, "limit": 2, "x": 3})), false).is_err());
        assert!(positional(Some(&interface), None, false).is_err());
        assert!(positional(None, None, false).unwrap().is_empty());
    }
}
