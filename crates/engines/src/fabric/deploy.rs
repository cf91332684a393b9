//! Deployments: package, install on every peer, approve for every organisation, commit, first call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_client::{AdminClient, ClientError, OrdererClient, Signer, package};
use fabric_proto::lifecycle::QueryChaincodeDefinitionResult;
use serde_json::{Map, Value, json};

use super::connect::{Net, peers_of, refusal};
use super::definition::{self, Kept, Record, check_name, definition};
use super::first_call::FIRST_CALL;
use super::layout::{failed, invalid, io, organisation, organisation_of, read};
use super::steps::step;
use super::update::{once_led, within};
use crate::act::{Artifact, Deployment, StepPlan};
use crate::spec::{NetworkSpec, NodeSpec, OrganisationSpec};
use crate::{EngineError, Progress};

/// How long an approval or commit may take to reach every peer.
const COMMIT: Duration = Duration::from_mins(1);
/// How often a transaction is tried again that met another one.
const ATTEMPTS: u32 = 10;
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// Largest package that is read, as the nodes' messages allow it.
const MAX_PACKAGE: u64 = 100 << 20;
/// The label of a built-in package: what a version text holds beyond letters becomes dashes.
fn label_of(deployment: &Deployment) -> String {
    let version: String = deployment
        .version
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "_.+-".contains(letter) { letter } else { '-' })
        .collect();
    format!("{}_{version}", deployment.name)
}

/// The peers of a channel, on which its contracts are installed, by organisation.
fn organisations<'a>(
    spec: &'a NetworkSpec,
    channel: &str,
) -> Result<Vec<(&'a OrganisationSpec, Vec<&'a NodeSpec>)>, EngineError> {
    let mut found: Vec<(&OrganisationSpec, Vec<&NodeSpec>)> = Vec::new();
    for node in peers_of(spec, channel)? {
        match found.iter_mut().find(|(known, _)| known.name == node.organisation) {
            Some((_, peers)) => peers.push(node),
            None => found.push((organisation_of(spec, node)?, vec![node])),
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
    let peers = peers_of(spec, channel)?;
    // Policy and collections are read now, so that a mistake shows before anything is installed.
    let policy = deployment.policy.as_deref();
    definition(&deployment.name, &deployment.version, 1, deployment.init, policy, deployment.collections.as_ref())?;
    let name = &deployment.name;
    let mut steps = vec![step("package", format!("Package {name}"), format!("打包 {name}"))];
    steps.extend(peers.into_iter().map(|node| {
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

impl<'a> Net<'a> {
    /// Runs one step of a deployment.
    pub(super) async fn deploy(
        &self,
        deployment: &Deployment,
        verb: &str,
        about: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Map<String, Value>, EngineError> {
        let channel = &deployment.channel;
        match (verb, about) {
            ("package", None) => self.package(deployment, progress).await,
            ("install", Some(id)) => {
                let node =
                    self.spec().node(id).ok_or_else(|| EngineError::NotFound { what: format!("the node {id}") })?;
                let kept = self.under_way(deployment)?;
                self.install(node, &kept.record, kept.package()?, progress).await?;
                Ok(Map::new())
            }
            ("approve", Some(msp)) => {
                let organisation = organisation(self.spec(), msp)?;
                let record = self.under_way(deployment)?.record;
                self.approve(channel, organisation, &record, progress).await?;
                Ok(Map::new())
            }
            ("commit", None) => {
                let kept = self.under_way(deployment)?;
                let record = &kept.record;
                self.commit(channel, record, progress).await?;
                kept.commit()?;
                Ok(json_map(json!({"sequence": record.sequence, "package_id": record.package_id})))
            }
            ("init", None) => self.initialise(deployment, progress).await,
            ("answer", None) => self.answering(channel, &deployment.name, progress).await.map(|()| Map::new()),
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
                let made = package::builtin(&label, builtin).map_err(failed("artifact"))?;
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
        let sequence = self.committed(channel, name).await?.map_or(0, |found| found.sequence) + 1;
        // A further version keeps the policy and the collections that it says nothing of.
        let mut before =
            self.deployed(channel)?.into_iter().map(|kept| kept.record).filter(|record| record.name == *name);
        let (policy, collections) = before.next().map_or((None, None), |record| (record.policy, record.collections));
        let record = Record {
            name: name.clone(),
            version: deployment.version.clone(),
            sequence,
            label,
            package_id: package_id.clone(),
            init: deployment.init,
            policy: deployment.policy.clone().or(policy),
            collections: deployment.collections.clone().or(collections),
        };
        definition::keep(&self.layout(), deployment, &record, &bytes)?;
        progress(format!("{package_id}, sequence {sequence}"));
        Ok(json_map(json!({"package_id": package_id, "sequence": sequence})))
    }

    fn under_way(&self, deployment: &Deployment) -> Result<Kept, EngineError> {
        definition::under_way(&self.layout(), deployment)
    }

    /// The definition that is committed, if there is one.
    async fn committed(
        &self,
        channel: &str,
        name: &str,
    ) -> Result<Option<QueryChaincodeDefinitionResult>, EngineError> {
        self.ask(channel, None, |client| async move {
            match client.committed(channel, name).await {
                Ok(found) => Ok(Some(found)),
                Err(ClientError::Endorsement { message, .. }) if message.contains("is not defined") => Ok(None),
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
        let own = peers_of(self.spec(), channel)?.into_iter().filter(|node| node.organisation == organisation.name);
        let (node, client) = self.answering_one(channel, own.collect()).await?;
        let admin = &self.admin(organisation)?;
        let (client, definition) = (&client, &record.definition()?);
        for attempt in 0.. {
            if self.has_approved(client, channel, record).await? {
                if attempt == 0 {
                    progress(format!("{} has approved sequence {} already", organisation.name, record.sequence));
                }
                break;
            }
            let approve = |orderer: OrdererClient| async move {
                client.approve(&orderer, channel, definition, Some(&record.package_id), COMMIT).await
            };
            if self.ordered(channel, admin.clone(), &node.id, attempt, approve).await? {
                break;
            }
        }
        Ok(())
    }

    /// The first of an organisation's peers that answers.
    async fn answering_one(
        &self,
        channel: &str,
        peers: Vec<&'a NodeSpec>,
    ) -> Result<(&'a NodeSpec, AdminClient), EngineError> {
        self.first_of(peers, |node| async move {
            let client = self.peer(node).await?;
            within(client.channel_info(channel)).await.map_err(|error| refusal(&node.id, error))?;
            Ok((node, client))
        })
        .await
    }

    /// Has a definition ordered by the first orderer that answers. Says whether that is done; if not, somebody else's
    /// transaction came first, which is to be looked at before the next attempt.
    async fn ordered<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        channel: &str,
        signer: Arc<dyn Signer>,
        about: &str,
        attempt: u32,
        act: impl Fn(OrdererClient) -> F,
    ) -> Result<bool, EngineError> {
        let (act, signer) = (&act, &signer);
        let done = self
            .first_of(self.orderers_of(channel, None), |node| async move {
                let orderer = self.orderer(node, signer.clone()).await?;
                match once_led(|| act(orderer.clone())).await {
                    Ok(_) => Ok(true),
                    Err(error) if attempt < ATTEMPTS && overtaken(&error) => Ok(false),
                    Err(error) => Err(refusal(about, error)),
                }
            })
            .await?;
        if !done {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(done)
    }

    /// Whether an organisation has approved exactly this definition with this package.
    async fn has_approved(&self, client: &AdminClient, channel: &str, record: &Record) -> Result<bool, EngineError> {
        use fabric_proto::lifecycle::chaincode_source::Type;
        let Ok(found) = within(client.approved(channel, &record.name, record.sequence)).await else { return Ok(false) };
        let package = found.source.and_then(|source| source.r#type).and_then(|kind| match kind {
            Type::LocalPackage(local) => Some(local.package_id),
            Type::Unavailable(_) => None,
        });
        let (wanted, parameter) = (record.definition()?, &found.validation_parameter);
        Ok(definition::same(&wanted, &found.version, found.init_required, parameter, found.collections)
            && package.as_deref() == Some(record.package_id.as_str()))
    }

    async fn commit(&self, channel: &str, record: &Record, progress: Progress<'_>) -> Result<(), EngineError> {
        let mut clients = Vec::new();
        for (organisation, peers) in organisations(self.spec(), channel)? {
            match self.answering_one(channel, peers).await {
                Ok((_, client)) => clients.push(client),
                // A majority suffices, which the channel's policy judges.
                Err(error) => progress(format!("{} is left out: {error}", organisation.name)),
            }
        }
        let first = clients
            .first()
            .ok_or_else(|| EngineError::NotFound { what: format!("a peer of {channel} that answers") })?;
        let signer = Arc::clone(first.signer());
        let (clients, wanted) = (clients.as_slice(), &record.definition()?);
        for attempt in 0.. {
            let found = self.committed(channel, &record.name).await?.filter(|found| found.sequence >= record.sequence);
            if let Some(found) = found {
                let parameter = &found.validation_parameter;
                let same = definition::same(wanted, &found.version, found.init_required, parameter, found.collections);
                if !same || found.sequence != record.sequence {
                    return Err(EngineError::Refused {
                        code: "SEQUENCE_TAKEN".into(),
                        why: format!(
                            "sequence {} of {} was committed with another definition (version {}, sequence {}); deploy \
                             again to go on from there",
                            record.sequence, record.name, found.version, found.sequence
                        ),
                    });
                }
                if attempt == 0 {
                    progress(format!("sequence {} is committed already", record.sequence));
                }
                break;
            }
            let commit = |orderer: OrdererClient| async move {
                AdminClient::commit(clients, &orderer, channel, wanted, COMMIT).await
            };
            if self.ordered(channel, signer.clone(), channel, attempt, commit).await? {
                break;
            }
        }
        Ok(())
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
            peers_of(self.spec(), channel)?.into_iter().filter(|node| node.organisation == organisation.name).collect();
        let Some(first) = own.first() else { return Ok(()) };
        // A peer that has just joined reads the channel first; it cannot approve what it does not know yet.
        self.read_along(channel, first).await?;
        for kept in self.deployed(channel)? {
            let (record, bytes) = (&kept.record, kept.package()?);
            for node in &own {
                self.install(node, record, bytes.clone(), progress).await?;
            }
            let running = self.committed(channel, &record.name).await?;
            if running.is_some_and(|found| found.sequence == record.sequence) {
                self.approve(channel, organisation, record, progress).await?;
            }
        }
        Ok(())
    }

    /// Installs what is deployed from here on a peer that joined later.
    pub(super) async fn install_all(&self, channel: &str, id: &str, progress: Progress<'_>) -> Result<(), EngineError> {
        let Some(node) = self.spec().node(id) else { return Ok(()) };
        for kept in self.deployed(channel)? {
            self.install(node, &kept.record, kept.package()?, progress).await?;
        }
        Ok(())
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

pub(super) fn json_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
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
