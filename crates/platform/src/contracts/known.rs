//! Contracts by what the network calls them, with their interfaces at hand to decode what is on the ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use konsort_engines::spec::EngineKind;
use konsort_workbench::Interface;
use konsort_workbench::values::{self, Suite};
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::record::ContractDoc;
use crate::control::Control;
use crate::db::{Filter, Kind, Page};
use crate::problem::Problem;

/// How long a network's contracts are remembered.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most contracts of a network that ledgers are decoded with.
const MOST: usize = 2000;

/// A contract as ledgers name it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) interface: Option<Interface>,
    /// Hash of its code, by which its compilation is kept.
    pub(crate) code_hash: Option<String>,
    /// Its name in its sources.
    pub(crate) source_name: Option<String>,
    /// Methods by selector.
    methods: HashMap<String, String>,
}

/// Contracts of a network by channel and target.
pub(crate) type KnownByTarget = HashMap<(String, String), Arc<Known>>;

/// Contracts of every network that was asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Contracts {
    networks: RwLock<HashMap<String, (Instant, Arc<KnownByTarget>)>>,
}

impl Contracts {
    /// Forgets what is remembered of a network.
    pub(crate) fn forget(&self, network: &str) {
        self.networks.write().remove(network);
    }

    /// The contracts of a network.
    pub(crate) async fn of(&self, control: &Control, network: &str) -> Result<Arc<KnownByTarget>, Problem> {
        if let Some((at, known)) = self.networks.read().get(network)
            && at.elapsed() < REMEMBERED
        {
            return Ok(Arc::clone(known));
        }
        let filter = Filter { network: Some(network.to_owned()), ..Filter::default() };
        let mut page = Page { size: 200, ..Page::default() };
        let mut found = KnownByTarget::new();
        loop {
            let part = control.repository.list::<ContractDoc>(Kind::Contract, &filter, &page).await?;
            for record in part.items {
                if record.doc.deployed_at.is_none() {
                    continue;
                }
                let interface = record.doc.made.interface.as_ref().and_then(|doc| Interface::from_document(doc).ok());
                let methods = interface.iter().flat_map(|interface| &interface.methods);
                let methods = match record.doc.engine {
                    EngineKind::Fabric => HashMap::new(),
                    EngineKind::Bcos => {
                        methods.map(|method| (Suite::Keccak.selector(&method.signature), method.name.clone())).collect()
                    }
                };
                let source_name = record.doc.made.origin.as_ref().and_then(|origin| origin.contract.clone());
                let code_hash = record.doc.made.code_hash.clone();
                let target = record.doc.target(&record.name).to_lowercase();
                let known = Known { id: record.id, name: record.name, interface, code_hash, source_name, methods };
                found.insert((record.doc.channel, target), Arc::new(known));
            }
            match part.next_page_token {
                Some(token) if found.len() < MOST => page.token = Some(token),
                _ => break,
            }
        }
        let found = Arc::new(found);
        let mut networks = self.networks.write();
        networks.retain(|_, (at, _)| at.elapsed() < REMEMBERED * 20);
        networks.insert(network.to_owned(), (Instant::now(), Arc::clone(&found)));
        Ok(found)
    }
}

/// The contract that a ledger names.
pub(crate) fn find<'a>(known: &'a KnownByTarget, channel: &str, target: &str) -> Option<&'a Arc<Known>> {
    known.get(&(channel.to_owned(), target.to_lowercase()))
}

impl Known {
    /// A method's name, given what the ledger has: a name already, or a selector.
    pub(crate) fn method_name(&self, method: &str) -> Option<&str> {
        self.methods.get(method).map(String::as_str)
    }

    /// An event in words, when the interface knows it.
    pub(crate) fn event(&self, payload: &Value) -> Option<Value> {
        let interface = self.interface.as_ref()?;
        let topics = payload.get("topics")?.as_array()?;
        let topics: Vec<Vec<u8>> = topics.iter().filter_map(|topic| bytes(topic.as_str()?)).collect();
        let data = bytes(payload.get("data")?.as_str()?)?;
        let event = values::decode_event(interface, &topics, &data, Suite::Keccak)?;
        Some(json!({ "name": event.name, "arguments": event.arguments }))
    }

    /// A call in words, when the interface knows it.
    pub(crate) fn call(&self, input: &Value) -> Option<Value> {
        let interface = self.interface.as_ref()?;
        match interface.engine {
            konsort_workbench::interface::Engine::Bcos => {
                let call = values::decode_call(interface, &bytes(input.as_str()?)?, Suite::Keccak)?;
                Some(json!({ "method": call.method, "arguments": call.arguments }))
            }
            konsort_workbench::interface::Engine::Fabric => {
                // The function's name, then its arguments.
                let texts = input.as_array()?;
                let (name, arguments) = texts.split_first()?;
                let name = name.as_str()?.rsplit(':').next()?;
                let method = interface.method(name, Some(arguments.len())).ok()?;
                let named: serde_json::Map<String, Value> = method
                    .parameters
                    .iter()
                    .zip(arguments)
                    .map(|(parameter, value)| {
                        let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
                        let text = parameter.kind == "string";
                        (parameter.name.clone(), parsed.filter(|_| !text).unwrap_or_else(|| value.clone()))
                    })
                    .collect();
                Some(json!({ "method": method.name, "arguments": named }))
            }
        }
    }

    /// An output in words, when the interface knows the method.
    pub(crate) fn output(&self, method: &str, output: &Value) -> Option<Value> {
        let interface = self.interface.as_ref()?;
        let method = interface.method(method, None).ok()?;
        let text = output.as_str()?;
        match interface.engine {
            konsort_workbench::interface::Engine::Bcos => values::decode_output(method, &bytes(text)?).ok(),
            konsort_workbench::interface::Engine::Fabric => Some(values::fabric_result(method, text.as_bytes())),
        }
    }
}

/// Bytes of 0x-hex.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()
}
