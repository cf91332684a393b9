//! `POST /v1/networks/import`: networks whose nodes somebody else runs.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use konsort_drivers::DriverKind;
use konsort_engines::spec::{ChannelSpec, EngineKind, NodeSpec, OrganisationSpec};
use konsort_engines::{NetworkSpec, NodeHealth, Trust};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::check_name;
use super::model::{NetworkDoc, NetworkState};
use super::view::NetworkView;
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::control::Network;
use crate::db::{Kind, New, Record, Repository};
use crate::http::{AuditNote, DryRun, Json, Query, Tagged, audited};
use crate::ids;
use crate::problem::Problem;
use crate::time;

/// Most organisations of an imported network.
const ORGANISATIONS: usize = 64;
/// Most nodes of an imported network.
const NODES: usize = 256;

/// A network that runs elsewhere.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Display name, any script, 1 to 64 characters.
    pub name: String,
    /// The engine.
    pub engine: EngineKind,
    /// How its nodes agree, for the record: `raft`, `pbft`, `rpbft`.
    pub consensus: String,
    /// BCOS: its chain id.
    #[serde(default)]
    pub chain_id: Option<String>,
    /// Its organisations with what proves who their nodes are.
    pub organisations: Vec<Trust>,
    /// Its channels or groups that are to be watched.
    pub channels: Vec<String>,
    /// Its nodes that the platform may use.
    pub nodes: Vec<ImportedNode>,
}

/// A node of an imported network.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedNode {
    /// A name, unique in the network: letters, digits, dash, dot.
    pub id: String,
    /// `peer`, `orderer`, `sealer` or `observer`.
    pub role: String,
    /// Name of its organisation.
    pub organisation: String,
    /// Host name in its certificate; default: the host of its first endpoint.
    #[serde(default)]
    pub hostname: Option<String>,
    /// `host:port` by name: Fabric `grpc`, `operations`; BCOS `rpc`, `web3`.
    pub endpoints: BTreeMap<String, String>,
}

/// What importing would find.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImportPlan {
    /// The network as it would be recorded.
    pub spec: NetworkSpec,
    /// What its nodes say of themselves.
    pub nodes: Vec<NodeHealth>,
}

fn invalid(field: &str, english: &str, chinese: &str) -> Problem {
    Problem::invalid_in(field, english, chinese)
}

/// A name that is safe as a file's and a host's.
fn plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !name.contains("..")
}

/// The domain of an organisation that names none.
fn domain_of(organisation: &str) -> String {
    organisation.to_ascii_lowercase()
}

fn endpoint(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let fine = !host.is_empty() && host.len() <= 253 && !host.contains(['/', '@', ' ', '?', '#']);
    Some((host.to_owned(), port.parse().ok().filter(|&port| port > 0)?)).filter(|_| fine)
}

/// The specification of an imported network.
fn spec_of(id: &str, request: &ImportRequest) -> Result<NetworkSpec, Problem> {
    check_name(&request.name)?;
    if !(1..=ORGANISATIONS).contains(&request.organisations.len()) {
        return Err(invalid("organisations", "1 to 64 organisations", "组织数量应为 1 至 64"));
    }
    if !(1..=NODES).contains(&request.nodes.len()) {
        return Err(invalid("nodes", "1 to 256 nodes", "节点数量应为 1 至 256"));
    }
    if !(1..=64).contains(&request.channels.len()) || !request.channels.iter().all(|name| plain(name)) {
        return Err(invalid("channels", "1 to 64 names of channels or groups", "通道或群组名称应为 1 至 64 个"));
    }
    let (mut names, mut domains) = (BTreeSet::new(), BTreeSet::new());
    for (index, organisation) in request.organisations.iter().enumerate() {
        let name = organisation.organisation.as_str();
        // Keys lie in a folder that is named after their organisation.
        if !plain(name) || !domains.insert(domain_of(name)) {
            let field = format!("organisations[{index}].organisation");
            return Err(invalid(
                &field,
                "letters, digits and dashes, each name once whatever its case",
                "仅限字母、数字和短横线，且不能重复（不区分大小写）",
            ));
        }
        names.insert(name);
    }
    let mut nodes = Vec::new();
    let mut ids = BTreeSet::new();
    // Numbers that stand for endpoints where a specification has ports.
    let mut number: u16 = 1;
    for (index, node) in request.nodes.iter().enumerate() {
        if !plain(&node.id) || !ids.insert(node.id.as_str()) {
            let field = format!("nodes[{index}].id");
            return Err(invalid(
                &field,
                "letters, digits, dash and dot, each name once",
                "仅限字母、数字、短横线和点，且不能重复",
            ));
        }
        if !names.contains(node.organisation.as_str()) {
            let field = format!("nodes[{index}].organisation");
            return Err(invalid(&field, "the name of one of the organisations", "必须是所列组织之一"));
        }
        let roles: &[&str] = match request.engine {
            EngineKind::Fabric => &["peer", "orderer"],
            EngineKind::Bcos => &["sealer", "observer"],
        };
        if !roles.contains(&node.role.as_str()) {
            let field = format!("nodes[{index}].role");
            return Err(invalid(&field, &roles.join(" or "), &roles.join(" 或 ")));
        }
        let mut ports = BTreeMap::new();
        let mut host = None;
        for (name, text) in &node.endpoints {
            let field = format!("nodes[{index}].endpoints.{name}");
            let Some((found, _)) = endpoint(text).filter(|_| plain(name)) else {
                return Err(invalid(&field, "an address as host:port", "地址格式应为 host:port"));
            };
            host.get_or_insert(found);
            ports.insert(name.clone(), number);
            number = number.saturating_add(1);
        }
        let Some(host) = host else {
            let field = format!("nodes[{index}].endpoints");
            return Err(invalid(&field, "at least one address", "至少需要一个地址"));
        };
        let hostname = node.hostname.clone().unwrap_or(host);
        // It becomes a folder's name; an address may be one of version 6.
        if !plain(&hostname) && hostname.parse::<std::net::IpAddr>().is_err() {
            let field = format!("nodes[{index}].hostname");
            return Err(invalid(&field, "a host name or address", "必须是主机名或地址"));
        }
        nodes.push(NodeSpec {
            id: node.id.clone(),
            hostname,
            role: node.role.clone(),
            organisation: node.organisation.clone(),
            ports,
            node_id: None,
            external: Some(node.endpoints.clone()),
        });
    }
    let organisations = request
        .organisations
        .iter()
        .map(|organisation| OrganisationSpec {
            id: None,
            name: organisation.organisation.clone(),
            mspid: organisation.mspid.clone(),
            domain: domain_of(&organisation.organisation),
            orders_only: {
                let mut own = nodes.iter().filter(|node| node.organisation == organisation.organisation).peekable();
                request.engine == EngineKind::Fabric && own.peek().is_some() && own.all(|node| node.role == "orderer")
            },
        })
        .collect();
    let members: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let channels = request
        .channels
        .iter()
        .map(|name| ChannelSpec {
            name: name.clone(),
            organisations: members.clone(),
            nodes: nodes.iter().map(|node| node.id.clone()).collect(),
        })
        .collect();
    Ok(NetworkSpec {
        id: id.to_owned(),
        name: request.name.clone(),
        engine: request.engine,
        driver: DriverKind::External,
        consensus: request.consensus.chars().filter(char::is_ascii_alphanumeric).take(16).collect(),
        chain_id: request.chain_id.clone(),
        organisations,
        channels,
        nodes,
        block_time_ms: 0,
        block_transactions: 0,
    })
}

/// Records a network that somebody else runs: it is watched and used, never started or stopped.
#[utoipa::path(post, path = "/v1/networks/import", tag = "networks", operation_id = "import_network",
    params(DryRun), request_body = ImportRequest,
    responses((status = 200, description = "On a dry run: what was found", body = ImportPlan),
        (status = 201, body = NetworkView)))]
async fn import(
    State(app): State<App>,
    caller: Caller,
    Query(DryRun { dry_run }): Query<DryRun>,
    Json(request): Json<ImportRequest>,
) -> Result<Response, Problem> {
    let id = ids::new("net");
    let mut spec = spec_of(&id, &request)?;
    if let (Some(own), Some(first)) = (&caller.organisation, spec.organisations.first_mut()) {
        first.id = Some(own.clone());
    }
    let control = &app.control;
    let doc = NetworkDoc {
        spec,
        state: NetworkState::Running,
        created_by: caller.id.clone(),
        stopped_nodes: BTreeSet::default(),
        imported: true,
    };
    control.place_external(&doc);
    let now = time::now();
    let record = Record {
        id: id.clone(),
        network: None,
        organisation: caller.organisation.clone(),
        name: request.name.clone(),
        version: 1,
        doc,
        created_at: now,
        updated_at: now,
    };
    let network = control.network_of(record)?;
    let made = take_in(&app, &caller, &network, &request, dry_run).await;
    if dry_run || made.is_err() {
        control.forget_external(&id);
        let _not_there_yet = tokio::fs::remove_dir_all(&network.folder).await;
    }
    let nodes = made?;
    if dry_run {
        return Ok(Json(ImportPlan { spec: network.record.doc.spec, nodes }).into_response());
    }
    control.changed.notify_one();
    let view = NetworkView::of(control, &network.record);
    let note = AuditNote { network: Some(id.clone()), target: Some(id.clone()), ..AuditNote::default() };
    Ok(audited(note, Tagged::created(1, format!("/v1/networks/{id}"), view)))
}

/// Looks at the nodes of a network that somebody else runs and, unless it is a dry run, records it.
async fn take_in(
    app: &App,
    caller: &Caller,
    network: &Network,
    request: &ImportRequest,
    dry_run: bool,
) -> Result<Vec<NodeHealth>, Problem> {
    private_folder(&network.folder).await?;
    network.engine.import(network.place(), &request.organisations)?;
    let answering = network.engine.health(network.place()).await;
    if dry_run {
        return Ok(answering);
    }
    if !answering.iter().any(|node| node.reachable) {
        let why: Vec<String> = answering
            .iter()
            .map(|node| format!("{}: {}", node.node, node.problem.as_deref().unwrap_or("no answer")))
            .collect();
        return Err(invalid(
            "nodes",
            &format!("no node answers ({}); check endpoints and certificates", why.join("; ")),
            &format!("没有节点响应（{}）；请检查地址与证书", why.join("；")),
        ));
    }
    let mut telling = app.control.outbox.begin().await?;
    let new = New {
        id: &network.record.id,
        network: None,
        organisation: caller.organisation.as_deref(),
        name: &request.name,
        doc: &network.record.doc,
    };
    Repository::create_in(telling.connection(), Kind::Network, new).await?;
    telling.commit().await?;
    Ok(answering)
}

/// Makes a network's folder, for nobody else's eyes.
pub(crate) async fn private_folder(folder: &std::path::Path) -> Result<(), Problem> {
    let folder = folder.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|source| {
            konsort_engines::EngineError::Io { what: format!("make the folder {}", folder.display()), source }
        })
    });
    match made.await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// The route.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(import))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut ImportRequest)) -> Result<NetworkSpec, Problem> {
        let mut request = ImportRequest {
            name: "partner".to_owned(),
            engine: EngineKind::Bcos,
            consensus: "pbft".to_owned(),
            chain_id: Some("chain0".to_owned()),
            organisations: vec![Trust { organisation: "agency".to_owned(), ..Trust::default() }],
            channels: vec!["group0".to_owned()],
            nodes: vec![ImportedNode {
                id: "node0".to_owned(),
                role: "sealer".to_owned(),
                organisation: "agency".to_owned(),
                hostname: None,
                endpoints: BTreeMap::from([("rpc".to_owned(), "10.0.0.1:20200".to_owned())]),
            }],
        };
        change(&mut request);
        spec_of("net_x", &request)
    }

    #[test]
    fn what_is_imported_is_checked_field_by_field() {
        let spec = request(|_| {}).unwrap();
        assert_eq!(spec.nodes[0].hostname, "10.0.0.1");
        assert_eq!(spec.driver, DriverKind::External);
        let field = |problem: Problem| problem.body(crate::language::Language::English, "").params["field"].clone();
        assert_eq!(field(request(|r| r.nodes[0].id = "../x".to_owned()).unwrap_err()), "nodes[0].id");
        assert_eq!(
            field(request(|r| r.nodes[0].organisation = "who".to_owned()).unwrap_err()),
            "nodes[0].organisation"
        );
        assert_eq!(field(request(|r| r.nodes[0].role = "peer".to_owned()).unwrap_err()), "nodes[0].role");
        for wrong in ["nowhere", "http://a:1/x", ":5", "a:0", "a:99999"] {
            let problem = request(|r| {
                r.nodes[0].endpoints.insert("rpc".to_owned(), wrong.to_owned());
            });
            assert_eq!(field(problem.unwrap_err()), "nodes[0].endpoints.rpc", "{wrong}");
        }
        assert_eq!(field(request(|r| r.organisations.clear()).unwrap_err()), "organisations");
        let hostname = request(|r| r.nodes[0].hostname = Some("../../up".to_owned()));
        assert_eq!(field(hostname.unwrap_err()), "nodes[0].hostname");
        let again = request(|r| {
            r.organisations.push(Trust { organisation: "Agency".to_owned(), ..Trust::default() });
        });
        assert_eq!(field(again.unwrap_err()), "organisations[1].organisation");
        let two = request(|r| {
            r.organisations.push(Trust { organisation: "Other".to_owned(), ..Trust::default() });
        });
        let domains: Vec<String> =
            two.unwrap().organisations.into_iter().map(|organisation| organisation.domain).collect();
        assert_eq!(domains, ["agency", "other"]);
        assert_eq!(field(request(|r| r.channels = vec!["a/b".to_owned()]).unwrap_err()), "channels");
    }
}
