//! Deployments: package, install on every peer, approve for every organisation, commit, first call.
//!
//! What is being deployed is written down in the network's folder by the first step (`deployment.json`, with the package beside it),
//! so that every later step, and a later member of the channel, knows package and sequence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_client::admin::ChaincodeDefinition;
use fabric_client::{AdminClient, Call, ClientError, collections, package};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::connect::{Net, refusal};
use super::layout::{Layout, io, organisation, organisation_of, read, write};
use super::steps::step;
use super::update::{once_led, within};
use crate::act::{Artifact, Deployment, StepPlan};
use crate::spec::{NetworkSpec, NodeSpec, OrganisationSpec};
use crate::{EngineError, Progress};

/// How long an approval or commit may take to reach every peer.
const COMMIT: Duration = Duration::from_mins(1);
/// How long a contract may take to answer its first call: a package is built then.
const FIRST_CALL: Duration = Duration::from_mins(10);
/// How often a transaction is tried again that met another one.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// Largest package that is read, as the nodes' messages allow it.
const MAX_PACKAGE: u64 = 100 << 20;
/// The function of upstream's contract API that describes a contract.
pub(super) const METADATA: &str = "org.hyperledger.fabric:GetMetadata";

/// A deployment as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Name on the channel.
    pub(super) name: String,
    /// Version text.
    pub(super) version: String,
    /// Sequence of the definition.
    pub(super) sequence: i64,
    /// Label of the package.
    pub(super) label: String,
    /// Id of the package.
    pub(super) package_id: String,
    /// Whether the first call must initialise.
    pub(super) init: bool,
    /// Endorsement policy in the policy language.
    pub(super) policy: Option<String>,
    /// Collections in upstream's JSON.
    pub(super) collections: Option<Value>,
}

impl Record {
    fn definition(&self) -> Result<ChaincodeDefinition, EngineError> {
        definition(
            &self.name,
            &self.version,
            self.sequence,
            self.init,
            self.policy.as_deref(),
            self.collections.as_ref(),
        )
    }
}

fn invalid(field: &str, why: impl Into<String>) -> EngineError {
    EngineError::Invalid { field: field.to_owned(), why: why.into() }
}

fn definition(
    name: &str,
    version: &str,
    sequence: i64,
    init: bool,
    policy: Option<&str>,
    wanted: Option<&Value>,
) -> Result<ChaincodeDefinition, EngineError> {
    let collections = match wanted {
        None => None,
        Some(list) => {
            Some(collections::from_json(list.to_string().as_bytes()).map_err(|error| invalid("collections", error))?)
        }
    };
    // The default is spelled out, so that what peers answer can be compared with what was asked for.
    let policy = policy.map(str::trim).unwrap_or_default();
    let default = if policy.is_empty() { "/Channel/Application/Endorsement" } else { "" };
    Ok(ChaincodeDefinition {
        name: name.to_owned(),
        version: version.to_owned(),
        sequence,
        init_required: init,
        validation_parameter: collections::policy_bytes(policy, default).map_err(|error| {
            invalid("policy", format!("{error}; write it as AND('Org1MSP.peer','Org2MSP.peer') or OR(…)"))
        })?,
        collections,
        ..ChaincodeDefinition::default()
    })
}

/// A chaincode name as the network accepts it.
fn check_name(name: &str) -> Result<(), EngineError> {
    let letters = |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric());
    if name.len() <= 128 && name.split(['-', '_']).all(letters) {
        return Ok(());
    }
    Err(invalid("name", "use letters and digits, divided by single dashes or underscores, such as asset-transfer"))
}

/// The label of a built-in package: what a version text holds beyond letters becomes dashes.
fn label_of(deployment: &Deployment) -> String {
    let version: String = deployment
        .version
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "_.+-".contains(letter) { letter } else { '-' })
        .collect();
    format!("{}_{version}", deployment.name)
}

/// The peers on which a contract of a channel is installed, in the specification's order.
fn peers<'a>(spec: &'a NetworkSpec, channel: &str) -> Vec<&'a NodeSpec> {
    let joined = spec.channel(channel).map(|known| known.nodes.clone()).unwrap_or_default();
    spec.nodes.iter().filter(|node| node.is_peer() && joined.contains(&node.id)).collect()
}

/// The organisations with peers on a channel, and their first one.
fn organisations<'a>(
    spec: &'a NetworkSpec,
    channel: &str,
) -> Result<Vec<(&'a OrganisationSpec, &'a NodeSpec)>, EngineError> {
    let mut found: Vec<(&OrganisationSpec, &NodeSpec)> = Vec::new();
    for node in peers(spec, channel) {
        if !found.iter().any(|(known, _)| known.name == node.organisation) {
            found.push((organisation_of(spec, node)?, node));
        }
    }
    Ok(found)
}

/// The steps of a deployment.
pub(super) fn steps(spec: &NetworkSpec, deployment: &Deployment) -> Result<Vec<StepPlan>, EngineError> {
    check_name(&deployment.name)?;
    let version = &deployment.version;
    let letters = version.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.+-".contains(letter));
    if version.is_empty() || version.len() > 64 || !letters {
        return Err(invalid(
            "version",
            "use 1 to 64 letters, digits, dots, dashes, plus signs and underscores, such as 1.0",
        ));
    }
    if matches!(deployment.artifact, Artifact::Evm { .. }) {
        return Err(invalid("artifact", "EVM code runs on BCOS networks; build a chaincode package for this one"));
    }
    let channel = &deployment.channel;
    spec.channel(channel).ok_or_else(|| EngineError::NotFound { what: format!("the channel {channel}") })?;
    // Policy and collections are read now, so that a mistake shows before anything is installed.
    let policy = deployment.policy.as_deref();
    definition(&deployment.name, &deployment.version, 1, deployment.init, policy, deployment.collections.as_ref())?;
    let name = &deployment.name;
    let mut steps = vec![step("package", format!("Package {name}"), format!("打包 {name}"))];
    steps.extend(peers(spec, channel).into_iter().map(|node| {
        step(format!("install {}", node.id), format!("Install on {}", node.id), format!("安装到 {}", node.id))
    }));
    for (organisation, _) in organisations(spec, channel)? {
        steps.push(step(
            format!("approve {}", organisation.msp()),
            format!("Approve for {}", organisation.name),
            format!("{} 批准", organisation.name),
        ));
    }
    steps.push(step("commit", format!("Commit the definition on {channel}"), format!("在 {channel} 提交合约定义")));
    if deployment.init {
        steps.push(step("init", "Initialise with the first call", "首次调用进行初始化"));
    }
    steps.push(step("answer", "Wait until the contract answers on every peer", "等待合约在所有节点应答"));
    Ok(steps)
}

impl Net<'_> {
    fn record(&self, channel: &str, name: &str) -> Result<Record, EngineError> {
        let path = self.layout().contract(channel, name).join("deployment.json");
        serde_json::from_slice(&read(&path)?).map_err(|error| EngineError::Io {
            what: format!("read {}", path.display()),
            source: std::io::Error::other(error),
        })
    }

    /// Runs one step of a deployment.
    pub(super) async fn deploy(
        &self,
        deployment: &Deployment,
        verb: &str,
        about: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Map<String, Value>, EngineError> {
        let (channel, name) = (&deployment.channel, &deployment.name);
        match (verb, about) {
            ("package", None) => self.package(deployment, progress).await,
            ("install", Some(id)) => {
                let node =
                    self.spec().node(id).ok_or_else(|| EngineError::NotFound { what: format!("the node {id}") })?;
                let record = self.record(channel, name)?;
                let bytes = read(&self.layout().contract(channel, name).join("package.tar.gz"))?;
                self.install(node, &record, bytes, progress).await?;
                Ok(Map::new())
            }
            ("approve", Some(msp)) => {
                let organisation = organisation(self.spec(), msp)?;
                let record = self.record(channel, name)?;
                self.approve(channel, organisation, &record, progress).await?;
                Ok(Map::new())
            }
            ("commit", None) => {
                let record = self.record(channel, name)?;
                self.commit(channel, &record, progress).await?;
                Ok(json_map(json!({"sequence": record.sequence, "package_id": record.package_id})))
            }
            ("init", None) => self.initialise(deployment).await,
            ("answer", None) => self.answering(channel, name, progress).await.map(|()| Map::new()),
            _ => Err(EngineError::Unsupported(format!("a deployment has no step {verb}"))),
        }
    }

    async fn package(
        &self,
        deployment: &Deployment,
        progress: Progress<'_>,
    ) -> Result<Map<String, Value>, EngineError> {
        let (channel, name) = (&deployment.channel, &deployment.name);
        let (label, bytes) = match &deployment.artifact {
            Artifact::Builtin { name: builtin } => {
                let label = label_of(deployment);
                let made = package::builtin(&label, builtin).map_err(|error| invalid("artifact", error.to_string()))?;
                (label, made)
            }
            Artifact::Package { path, .. } => {
                let length = std::fs::metadata(path).map_err(io("read", path))?.len();
                if length > MAX_PACKAGE {
                    return Err(invalid("artifact", "the package is larger than 100 MB"));
                }
                let bytes = read(path)?;
                // The label inside the package decides its id, whatever the request calls it.
                let metadata = package::metadata(&bytes).map_err(|error| invalid("artifact", error.to_string()))?;
                (metadata.label, bytes)
            }
            Artifact::Evm { .. } => return Err(invalid("artifact", "EVM code runs on BCOS networks")),
        };
        let package_id = package::package_id(&label, &bytes);
        let sequence = self.committed_sequence(channel, name).await? + 1;
        let record = Record {
            name: name.clone(),
            version: deployment.version.clone(),
            sequence,
            label,
            package_id: package_id.clone(),
            init: deployment.init,
            policy: deployment.policy.clone(),
            collections: deployment.collections.clone(),
        };
        let folder = self.layout().contract(channel, name);
        write(&folder.join("package.tar.gz"), &bytes)?;
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        write(&folder.join("deployment.json"), &text)?;
        progress(format!("{package_id}, sequence {sequence}"));
        Ok(json_map(json!({"package_id": package_id, "sequence": sequence})))
    }

    /// The sequence of the definition that is committed; 0 when there is none.
    async fn committed_sequence(&self, channel: &str, name: &str) -> Result<i64, EngineError> {
        self.ask(channel, None, |client| async move {
            match client.committed(channel, name).await {
                Ok(found) => Ok(found.sequence),
                Err(ClientError::Endorsement { message, .. }) if message.contains("is not defined") => Ok(0),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn install(
        &self,
        node: &NodeSpec,
        record: &Record,
        bytes: Vec<u8>,
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        let failed = |error| refusal(&node.id, error);
        let client = self.peer(node).await?;
        let installed = within(client.installed()).await.map_err(failed)?;
        if installed.installed_chaincodes.iter().any(|known| known.package_id == record.package_id) {
            progress(format!("{} has {} already", node.id, record.package_id));
            return Ok(());
        }
        progress(format!("building {} on {}", record.label, node.id));
        // Installing builds; that may take minutes.
        match tokio::time::timeout(FIRST_CALL, client.install(bytes)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(ClientError::Endorsement { message, .. })) if message.contains("already successfully installed") => {
                Ok(())
            }
            Ok(Err(ClientError::Endorsement { message, .. })) => {
                Err(EngineError::Refused { code: "BUILD_FAILED".into(), why: message })
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(EngineError::Unreachable {
                node: node.id.clone(),
                why: format!("the build did not end within {} min", FIRST_CALL.as_secs() / 60),
            }),
        }
    }

    async fn approve(
        &self,
        channel: &str,
        organisation: &OrganisationSpec,
        record: &Record,
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        let node = self.own_peer(channel, organisation)?;
        let client = self.peer(node).await?;
        let orderer = self.any_orderer(self.admin(organisation)?).await?;
        let definition = record.definition()?;
        let mut attempt = 0;
        loop {
            if self.has_approved(&client, channel, record).await? {
                if attempt == 0 {
                    progress(format!("{} has approved sequence {} already", organisation.name, record.sequence));
                }
                return Ok(());
            }
            attempt += 1;
            match once_led(|| client.approve(&orderer, channel, &definition, Some(&record.package_id), COMMIT)).await {
                Ok(_) => return Ok(()),
                Err(error) if attempt < ATTEMPTS && overtaken(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(refusal(&node.id, error)),
            }
        }
    }

    fn own_peer(&self, channel: &str, organisation: &OrganisationSpec) -> Result<&NodeSpec, EngineError> {
        peers(self.spec(), channel)
            .into_iter()
            .find(|node| node.organisation == organisation.name)
            .ok_or_else(|| EngineError::NotFound { what: format!("a peer of {} on {channel}", organisation.name) })
    }

    /// Whether an organisation has approved exactly this definition with this package.
    async fn has_approved(&self, client: &AdminClient, channel: &str, record: &Record) -> Result<bool, EngineError> {
        use fabric_proto::lifecycle::chaincode_source::Type;
        let Ok(found) = within(client.approved(channel, &record.name, record.sequence)).await else { return Ok(false) };
        let definition = record.definition()?;
        let package = found.source.and_then(|source| source.r#type).and_then(|kind| match kind {
            Type::LocalPackage(local) => Some(local.package_id),
            Type::Unavailable(_) => None,
        });
        Ok(found.version == definition.version
            && found.init_required == definition.init_required
            && found.validation_parameter == definition.validation_parameter
            && found.collections.unwrap_or_default() == definition.collections.unwrap_or_default()
            && package.as_deref() == Some(record.package_id.as_str()))
    }

    async fn commit(&self, channel: &str, record: &Record, progress: Progress<'_>) -> Result<(), EngineError> {
        let mut clients = Vec::new();
        for (_, node) in organisations(self.spec(), channel)? {
            match self.peer(node).await {
                Ok(client) => clients.push(client),
                // A majority suffices, which the channel's policy judges.
                Err(error) => progress(format!("{} is left out: {error}", node.id)),
            }
        }
        let first = clients
            .first()
            .ok_or_else(|| EngineError::NotFound { what: format!("a peer of {channel} that answers") })?;
        let orderer = self.any_orderer_for(first).await?;
        let definition = record.definition()?;
        let mut attempt = 0;
        loop {
            if self.committed_sequence(channel, &record.name).await? >= record.sequence {
                if attempt == 0 {
                    progress(format!("sequence {} is committed already", record.sequence));
                }
                return Ok(());
            }
            attempt += 1;
            match once_led(|| AdminClient::commit(&clients, &orderer, channel, &definition, COMMIT)).await {
                Ok(_) => return Ok(()),
                Err(error) if attempt < ATTEMPTS && overtaken(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(refusal(channel, error)),
            }
        }
    }

    async fn any_orderer_for(&self, client: &AdminClient) -> Result<fabric_client::OrdererClient, EngineError> {
        self.any_orderer(Arc::clone(client.signer())).await
    }

    async fn initialise(&self, deployment: &Deployment) -> Result<Map<String, Value>, EngineError> {
        let channel = &deployment.channel;
        let caller = self.caller(channel, None)?;
        let signer = self.signer(caller, deployment.signer.as_deref().unwrap_or("Admin"))?;
        let args: Vec<String> = deployment.arguments.iter().map(text_of).collect();
        let mut call = Call::new(channel.as_str(), deployment.name.as_str()).args(args).init();
        if call.args.is_empty() {
            call.args.push(Bytes::from_static(b"Init"));
        }
        match self.send(&call, caller, signer).await {
            Ok(sent) => Ok(json_map(json!({"first_transaction": sent.transaction}))),
            // A contract refuses to be initialised twice: that is what a repeated step meets.
            Err(EngineError::Refused { why, .. }) if why.contains("is already initialized") => Ok(Map::new()),
            Err(error) => Err(error),
        }
    }

    /// Waits until every peer runs the contract and knows of the others that they do.
    async fn answering(&self, channel: &str, name: &str, progress: Progress<'_>) -> Result<(), EngineError> {
        let call = Call::new(channel, name).args([METADATA]);
        let (call, until) = (&call, Instant::now() + FIRST_CALL);
        let waits = peers(self.spec(), channel).into_iter().map(|node| async move {
            let Ok(client) = self.peer(node).await else {
                progress(format!("{} does not answer and is left out", node.id));
                return Ok(());
            };
            loop {
                match tokio::time::timeout(Duration::from_mins(5), client.call(call)).await {
                    Ok(Ok(_)) => return Ok(()),
                    // Most answers come from a running contract, if only to say that it does not describe itself.
                    Ok(Err(ClientError::Endorsement { message, .. })) if is_of_contract(&message) => return Ok(()),
                    Ok(Err(error)) if Instant::now() > until || !is_transient(&error) => {
                        return Err(refusal(&node.id, error));
                    }
                    Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(_) => return Err(super::connect::silent(&node.id)),
                }
            }
        });
        try_join_all(waits).await?;
        self.endorsable(channel, name).await;
        Ok(())
    }

    /// Peers tell each other what they run; until that has gone round, gateways find too few of them. Waits a moment for it.
    async fn endorsable(&self, channel: &str, name: &str) {
        let call = Call::new(channel, name).args([METADATA]);
        let until = Instant::now() + Duration::from_secs(20);
        let Ok(first) = self.peers_of(channel, None) else { return };
        let Ok(organisation) = organisation_of(self.spec(), first[0]) else { return };
        let Ok(signer) = self.admin(organisation) else { return };
        let Ok(gateway) = self.gateway(first[0], signer).await else { return };
        while Instant::now() < until {
            match gateway.endorse(&call).await {
                Err(error) if not_yet(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => return,
            }
        }
    }

    /// Lets an organisation that came later take part in the contracts of a channel: installs what is deployed from here on its
    /// peers and approves it.
    pub(super) async fn approve_all(
        &self,
        channel: &str,
        organisation: &OrganisationSpec,
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        let own: Vec<&NodeSpec> =
            peers(self.spec(), channel).into_iter().filter(|node| node.organisation == organisation.name).collect();
        let Some(first) = own.first() else { return Ok(()) };
        // A peer that has just joined reads the channel first; it cannot approve what it does not know yet.
        self.read_along(channel, first).await?;
        for record in self.deployed(channel)? {
            let bytes = read(&self.layout().contract(channel, &record.name).join("package.tar.gz"))?;
            for node in &own {
                self.install(node, &record, bytes.clone(), progress).await?;
            }
            if self.committed_sequence(channel, &record.name).await? == record.sequence {
                self.approve(channel, organisation, &record, progress).await?;
            }
        }
        Ok(())
    }

    /// Installs what is deployed from here on a peer that joined later.
    pub(super) async fn install_all(&self, channel: &str, id: &str, progress: Progress<'_>) -> Result<(), EngineError> {
        let Some(node) = self.spec().node(id) else { return Ok(()) };
        for record in self.deployed(channel)? {
            let bytes = read(&self.layout().contract(channel, &record.name).join("package.tar.gz"))?;
            self.install(node, &record, bytes, progress).await?;
        }
        Ok(())
    }

    fn deployed(&self, channel: &str) -> Result<Vec<Record>, EngineError> {
        let Some(parent) = self.layout().contract(channel, "x").parent().map(std::path::Path::to_path_buf) else {
            return Ok(Vec::new());
        };
        let Ok(entries) = std::fs::read_dir(&parent) else { return Ok(Vec::new()) };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        let mut records = Vec::new();
        for name in names.iter().filter_map(|name| name.strip_prefix(&format!("{channel}."))) {
            let folder = Layout::new(self.place.folder).contract(channel, name);
            if folder.join("deployment.json").exists() {
                records.push(self.record(channel, name)?);
            }
        }
        Ok(records)
    }

    async fn read_along(&self, channel: &str, node: &NodeSpec) -> Result<(), EngineError> {
        let others = self.ask(channel, None, |client| async move { client.channel_info(channel).await }).await?;
        let client = self.peer(node).await?;
        let until = Instant::now() + COMMIT;
        loop {
            let problem = match within(client.channel_info(channel)).await {
                Ok(own) if own.height >= others.height => return Ok(()),
                Ok(own) => format!("it has {} of {} blocks of {channel}", own.height, others.height),
                // Until it has read of its own admission, a peer knows not even its own administrator on the channel.
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                let why = format!("{problem} after {} s; its log says what it waits for", COMMIT.as_secs());
                return Err(EngineError::Unreachable { node: node.id.clone(), why });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn json_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// An argument as chaincode takes it: texts as they are, everything else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a transaction met one of its own kind that an earlier, cut-off run of the same step had sent.
fn overtaken(error: &ClientError) -> bool {
    use fabric_proto::protos::TxValidationCode;
    match error {
        ClientError::Invalid { code, .. } => {
            matches!(code, TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict)
        }
        ClientError::Endorsement { message, .. } => {
            message.contains("with unchanged content")
                || message.contains("requested sequence is")
                || message.contains("attempted to redefine")
        }
        // Peers at different heights, one of which has committed already, come to different results.
        ClientError::Mismatch(_) => true,
        _ => false,
    }
}

/// Whether a complaint is the contract's own, not its peer's about the contract.
fn is_of_contract(message: &str) -> bool {
    let of_peer = ["is not installed", "is not defined", "could not launch chaincode", "failed to execute transaction"];
    !of_peer.iter().any(|words| message.contains(words))
}

/// Whether waiting helps: the peer has not committed the definition yet, or does not answer for a moment.
fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Endorsement { message, .. } => {
            message.contains("is not installed") || message.contains("is not defined")
        }
        other => not_yet(other),
    }
}

/// Whether a gateway found no peers for the endorsement policy, or none that answer.
pub(super) fn not_yet(error: &ClientError) -> bool {
    error.code().is_some_and(|code| matches!(konsort_node::code_name(code), "FailedPrecondition" | "Unavailable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_policies_are_checked() {
        for name in ["basic", "asset-transfer", "a_b-c1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a--b", "a/b", "合约", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(definition("a", "1", 1, false, Some("AND('Org1MSP.peer')"), None).is_ok());
        assert!(matches!(definition("a", "1", 1, false, Some("AND("), None),
            Err(EngineError::Invalid { field, .. }) if field == "policy"));
        let wrong = json!([{"name": "c", "policy": "nonsense"}]);
        assert!(matches!(definition("a", "1", 1, false, None, Some(&wrong)),
            Err(EngineError::Invalid { field, .. }) if field == "collections"));
    }
}
