//! What a contract says of itself, and what an application needs to connect.

use serde_json::{Value, json};

use super::connect::Net;
use super::first_call::METADATA;
use super::layout::{organisation, organisation_of};
use crate::EngineError;
use crate::call::Download;

/// Larger descriptions are not believed.
const MAX_METADATA: usize = 4 << 20;

impl Net<'_> {
    /// The metadata of a deployed contract, with its definition.
    pub(super) async fn interface(&self, channel: &str, contract: &str) -> Result<Value, EngineError> {
        let committed =
            self.ask(channel, None, |client| async move { client.committed(channel, contract).await }).await?;
        let metadata = match self.read(channel, contract, METADATA).await {
            Ok(bytes) if bytes.len() <= MAX_METADATA => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            // Contracts that are not written with a contract API do not describe themselves.
            Ok(_) | Err(EngineError::Refused { .. }) => Value::Null,
            Err(error) => return Err(error),
        };
        Ok(json!({
            "metadata": metadata,
            "definition": {
                "name": contract,
                "version": committed.version,
                "sequence": committed.sequence,
                "init_required": committed.init_required,
                "approvals": committed.approvals,
            },
        }))
    }

    /// The connection profile of an organisation in the shape that upstream's test network writes.
    pub(super) fn connection_profile(&self, name: &str) -> Result<Download, EngineError> {
        let own = organisation(self.spec(), name)?;
        let roots = |organisation| self.tls_roots(organisation).map(|pem| String::from_utf8_lossy(&pem).into_owned());
        let mut profile = json!({
            "name": format!("{}-{}", self.spec().name, own.name),
            "version": "1.0.0",
            "client": {
                "organization": own.name,
                "connection": {"timeout": {"peer": {"endorser": "300"}}},
            },
            "organizations": {},
            "peers": {},
            "orderers": {},
            "channels": {},
        });
        for organisation in &self.spec().organisations {
            let peers: Vec<&str> = self
                .spec()
                .nodes
                .iter()
                .filter(|node| node.is_peer() && node.organisation == organisation.name)
                .map(|node| node.hostname.as_str())
                .collect();
            if organisation.name == own.name {
                profile["organizations"][&own.name] =
                    json!({"mspid": own.msp(), "peers": peers, "certificateAuthorities": []});
            }
        }
        for node in &self.spec().nodes {
            let of = organisation_of(self.spec(), node)?;
            let part = if node.is_orderer() { "orderers" } else { "peers" };
            if node.is_peer() && of.name != own.name {
                continue;
            }
            profile[part][&node.hostname] = json!({
                "url": format!("grpcs://{}", self.address(node, "grpc")),
                "tlsCACerts": {"pem": roots(of)?},
                "grpcOptions": {"ssl-target-name-override": node.hostname, "hostnameOverride": node.hostname},
            });
        }
        for channel in self.spec().channels.iter().filter(|channel| channel.organisations.contains(&own.name)) {
            let on = |role: bool| -> Vec<&str> {
                self.spec()
                    .nodes
                    .iter()
                    .filter(|node| node.is_orderer() == role && channel.nodes.contains(&node.id))
                    .filter(|node| role || node.organisation == own.name)
                    .map(|node| node.hostname.as_str())
                    .collect()
            };
            let peers: serde_json::Map<String, Value> =
                on(false).into_iter().map(|peer| (peer.to_owned(), json!({}))).collect();
            profile["channels"][&channel.name] = json!({"orderers": on(true), "peers": peers});
        }
        let bytes = serde_json::to_vec_pretty(&profile).unwrap_or_default();
        Ok(Download {
            name: format!("connection-{}.json", own.name.to_ascii_lowercase()),
            media_type: "application/json".into(),
            bytes,
        })
    }
}
