//! JSON-RPC of nodes: connections that stay open, one request on each at a time, and what failures mean.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use konsort_node::{ClientTls, DialOptions, Roots, TlsIdentity, dial_stream};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::files;
use crate::spec::{NetworkSpec, NodeSpec};
use crate::{EngineError, Place};

/// Longest answer that is read: a full block with its receipts fits.
const MOST_BYTES: usize = 256 << 20;
/// Connections kept for the next requests.
const IDLE: usize = 64;
/// How long reads may take.
pub(super) const READ: Duration = Duration::from_secs(20);
/// How long traces and searches may take.
pub(super) const LONG: Duration = Duration::from_mins(1);
/// How long a node that did not answer is asked last.
const AVOID_MS: i64 = 3_000;
/// How long a height is recent.
const RECENT_MS: i64 = 2_000;

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// One listener of a node.
#[derive(Debug)]
struct Port {
    address: String,
    options: DialOptions,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// A node as a server of JSON-RPC.
#[derive(Debug)]
pub(super) struct Client {
    /// The node's id in the specification.
    pub node: String,
    /// The organisation that runs it.
    pub organisation: String,
    rpc: Option<Port>,
    web3: Option<Port>,
    serial: AtomicU64,
    failed_at: AtomicI64,
    /// Heights by group, with the time of the question.
    heights: Mutex<HashMap<String, (u64, i64)>>,
}

/// An error in an answer.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failure {
    pub code: i64,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub data: Value,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum RpcError {
    /// The node did not answer, or with something else than JSON-RPC.
    Unreachable(EngineError),
    /// It refused.
    Refused(Failure),
    /// No other node would do better.
    Final(EngineError),
}

pub(super) type RpcResult<T> = Result<T, RpcError>;

impl From<RpcError> for EngineError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Unreachable(error) | RpcError::Final(error) => error,
            RpcError::Refused(failure) => {
                Self::Refused { code: super::words::refusal_code(&failure), why: super::words::refusal(&failure) }
            }
        }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Value,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Failure>,
}

impl Port {
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = dial_stream(&self.address, &self.options).await.map_err(|error| error.to_string())?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        Ok(sender)
    }

    async fn post(&self, body: Bytes) -> Result<Bytes, String> {
        loop {
            let kept = self.idle.lock().pop();
            let reused = kept.is_some();
            let mut sender = match kept {
                Some(sender) if sender.is_closed() => continue,
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let request = http::Request::post("/")
                .header(http::header::HOST, &self.address)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()))
                .map_err(|error| error.to_string())?;
            if let Err(error) = sender.ready().await {
                if reused {
                    continue;
                }
                return Err(error.to_string());
            }
            let answer = match sender.send_request(request).await {
                // The node may have closed the connection while it lay there; all that is sent here may be sent twice.
                Err(_) if reused => continue,
                answer => answer.map_err(|error| error.to_string())?,
            };
            let body = Limited::new(answer.into_body(), MOST_BYTES)
                .collect()
                .await
                .map_err(|error| error.to_string())?
                .to_bytes();
            let mut idle = self.idle.lock();
            if idle.len() < IDLE {
                idle.push(sender);
            }
            return Ok(body);
        }
    }
}

impl Client {
    /// A client of a node; `None` when the node has no listener for it.
    fn new(place: Place<'_>, node: &NodeSpec) -> Result<Self, EngineError> {
        let address = |name: &str| {
            if let Some(external) = &node.external {
                return external.get(name).cloned();
            }
            let reference = super::reference(place.spec, &node.id);
            node.ports.get(name).map(|port| place.driver.reachable(&reference, *port))
        };
        let port = |address: String, options: DialOptions| Port { address, options, idle: Mutex::default() };
        let rpc = match address("rpc") {
            Some(address) => Some(port(address, options(place, &node.organisation)?)),
            None => None,
        };
        let web3 = address("web3").map(|address| port(address, DialOptions::default()));
        Ok(Self {
            node: node.id.clone(),
            organisation: node.organisation.clone(),
            rpc,
            web3,
            serial: AtomicU64::new(1),
            failed_at: AtomicI64::new(0),
            heights: Mutex::default(),
        })
    }

    /// Whether the Ethereum surface is there.
    pub(super) fn has_web3(&self) -> bool {
        self.web3.is_some()
    }

    fn unreachable(&self, why: impl std::fmt::Display) -> RpcError {
        self.failed_at.store(now_ms(), Ordering::Relaxed);
        let port = self.rpc.as_ref().or(self.web3.as_ref());
        let address = port.map_or("no address", |port| port.address.as_str());
        RpcError::Unreachable(EngineError::Unreachable {
            node: format!("{} ({address})", self.node),
            why: why.to_string(),
        })
    }

    async fn exchange(&self, web3: bool, body: String, timeout: Duration) -> RpcResult<Bytes> {
        let port = if web3 { &self.web3 } else { &self.rpc };
        let Some(port) = port else {
            return Err(self.unreachable(if web3 {
                "it offers no Ethereum JSON-RPC"
            } else {
                "it offers no JSON-RPC"
            }));
        };
        match tokio::time::timeout(timeout, port.post(body.into())).await {
            Ok(Ok(answer)) => {
                self.failed_at.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(why)) => Err(self.unreachable(why)),
            Err(_) => Err(self.unreachable(format!("no answer within {} s", timeout.as_secs()))),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: Answer<'_>) -> RpcResult<T> {
        if let Some(failure) = answer.error {
            return Err(RpcError::Refused(failure));
        }
        let text = answer.result.map_or("null", RawValue::get);
        serde_json::from_str(text).map_err(|error| self.unreachable(format!("its answer is not understood: {error}")))
    }

    async fn one<T: DeserializeOwned>(
        &self,
        web3: bool,
        method: &str,
        params: Value,
        timeout: Duration,
    ) -> RpcResult<T> {
        let id = self.serial.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let bytes = self.exchange(web3, body, timeout).await?;
        let answer: Answer<'_> = serde_json::from_slice(&bytes)
            .map_err(|error| self.unreachable(format!("{method}: its answer is no JSON-RPC: {error}")))?;
        self.read(answer)
    }

    /// A method of the chain's own surface; group and node name go before the parameters.
    pub(super) async fn call<T: DeserializeOwned>(&self, group: &str, method: &str, params: &[Value]) -> RpcResult<T> {
        self.call_within(group, method, params, READ).await
    }

    pub(super) async fn call_within<T: DeserializeOwned>(
        &self,
        group: &str,
        method: &str,
        params: &[Value],
        timeout: Duration,
    ) -> RpcResult<T> {
        let mut all = vec![json!(group), json!("")];
        all.extend_from_slice(params);
        self.one(false, method, Value::Array(all), timeout).await
    }

    /// A method of the Ethereum surface, which speaks of the first group.
    pub(super) async fn eth<T: DeserializeOwned>(&self, method: &str, params: Value) -> RpcResult<T> {
        self.one(true, method, params, LONG).await
    }

    /// Many calls of one method of the chain's own surface in one request; the answers are in the order of the parameters.
    pub(super) async fn batch<T: DeserializeOwned>(
        &self,
        group: &str,
        calls: &[(&str, Vec<Value>)],
    ) -> RpcResult<Vec<RpcResult<T>>> {
        let requests: Vec<Value> = calls
            .iter()
            .enumerate()
            .map(|(at, (method, params))| {
                let mut all = vec![json!(group), json!("")];
                all.extend_from_slice(params);
                json!({ "jsonrpc": "2.0", "id": at, "method": method, "params": all })
            })
            .collect();
        let bytes = self.exchange(false, Value::Array(requests).to_string(), READ).await?;
        let answers: Vec<Answer<'_>> = serde_json::from_slice(&bytes)
            .map_err(|error| self.unreachable(format!("its answer is no batch: {error}")))?;
        let mut sorted: Vec<Option<RpcResult<T>>> = calls.iter().map(|_| None).collect();
        for answer in answers {
            let place = answer.id.as_u64().and_then(|id| usize::try_from(id).ok()).and_then(|at| sorted.get_mut(at));
            if let Some(place) = place {
                *place = Some(self.read(answer));
            }
        }
        sorted.into_iter().map(|answer| answer.ok_or_else(|| self.unreachable("its batch lacks an answer"))).collect()
    }

    /// The number of the newest block.
    pub(super) async fn height(&self, group: &str) -> RpcResult<u64> {
        let height = self.call(group, "getBlockNumber", &[]).await?;
        self.heights.lock().insert(group.to_owned(), (height, now_ms()));
        Ok(height)
    }

    /// The number of the newest block as it was a moment ago, which is good enough to date a transaction.
    pub(super) async fn recent_height(&self, group: &str) -> RpcResult<u64> {
        let known = self.heights.lock().get(group).copied();
        match known {
            Some((height, asked)) if now_ms() - asked < RECENT_MS => Ok(height),
            _ => self.height(group).await,
        }
    }
}

/// How the nodes of an organisation are called: with its SDK's certificate, trusting every organisation's authority.
fn options(place: Place<'_>, organisation: &str) -> Result<DialOptions, EngineError> {
    let sdk = files::sdk(place.folder, organisation);
    if !sdk.join("ca.crt").exists() {
        return Ok(DialOptions::default());
    }
    let read = |path: &Path| std::fs::read(path).map_err(files::io("read", path));
    let failed = |error: konsort_node::TlsError| EngineError::Io {
        what: format!("use the certificates in {}", sdk.display()),
        source: std::io::Error::other(error.to_string()),
    };
    let mut trusted: Vec<PathBuf> = vec![sdk.join("ca.crt")];
    trusted.extend(place.spec.organisations.iter().map(|other| files::sdk(place.folder, &other.name).join("ca.crt")));
    let trusted: Vec<Vec<u8>> = trusted.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    let roots = Roots::from_pem(trusted).map_err(failed)?;
    let (certificate, key) = (sdk.join("sdk.crt"), sdk.join("sdk.key"));
    let identity = if certificate.exists() {
        Some(TlsIdentity::from_pem(&read(&certificate)?, &read(&key)?).map_err(failed)?)
    } else {
        None
    };
    Ok(DialOptions::tls(ClientTls { roots: roots.nameless(), identity, server_name_override: None }))
}

/// Clients that were made so far, by network and node.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<(String, String, String), Arc<Client>>>);

impl Clients {
    /// The client of a node.
    pub(super) fn of(&self, place: Place<'_>, node: &NodeSpec) -> Result<Arc<Client>, EngineError> {
        // Another address or another set of organisations asks for another client.
        let endpoints = format!(
            "{} {:?} {:?} {}",
            node.organisation,
            node.ports,
            node.external,
            place
                .spec
                .organisations
                .iter()
                .map(|organisation| organisation.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        );
        let key = (place.folder.display().to_string(), node.id.clone(), endpoints);
        if let Some(known) = self.0.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Client::new(place, node)?);
        let mut all = self.0.lock();
        all.retain(|(folder, id, _), _| *folder != key.0 || *id != key.1);
        all.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// Forgets the clients of a network that is gone.
    pub(super) fn forget(&self, folder: &Path) {
        let folder = folder.display().to_string();
        self.0.lock().retain(|(known, _, _), _| *known != folder);
    }

    /// The clients of a group's nodes: those of the wished organisation first, those that did not answer a moment ago last.
    pub(super) fn of_group(
        &self,
        place: Place<'_>,
        group: &str,
        organisation: Option<&str>,
    ) -> Result<Vec<Arc<Client>>, EngineError> {
        let nodes = members(place.spec, group)?;
        let mut clients = nodes.into_iter().map(|node| self.of(place, node)).collect::<Result<Vec<_>, _>>()?;
        let now = now_ms();
        clients.sort_by_key(|client| {
            let failed = now - client.failed_at.load(Ordering::Relaxed) < AVOID_MS;
            (failed, organisation.is_some_and(|wish| wish != client.organisation))
        });
        if clients.is_empty() {
            return Err(EngineError::NotFound { what: format!("a node of the group {group} (add one first)") });
        }
        Ok(clients)
    }
}

/// The nodes of a group, sealers first.
pub(super) fn members<'a>(spec: &'a NetworkSpec, group: &str) -> Result<Vec<&'a NodeSpec>, EngineError> {
    let channel = spec.channel(group).ok_or_else(|| EngineError::NotFound { what: format!("the group {group}") })?;
    let mut nodes: Vec<&NodeSpec> = channel.nodes.iter().filter_map(|id| spec.node(id)).collect();
    nodes.sort_by_key(|node| node.role != "sealer");
    Ok(nodes)
}

/// Asks one node after the other until one answers.
pub(super) async fn first<T, F>(clients: &[Arc<Client>], ask: impl Fn(Arc<Client>) -> F) -> Result<T, EngineError>
where
    F: Future<Output = RpcResult<T>> + Send,
{
    let mut last = None;
    for client in clients {
        match ask(Arc::clone(client)).await {
            Err(RpcError::Unreachable(error)) => last = Some(error),
            other => return other.map_err(EngineError::from),
        }
    }
    Err(last.unwrap_or_else(|| EngineError::NotFound { what: "a node to ask".into() }))
}
