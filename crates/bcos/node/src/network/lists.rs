//! Who may connect: the lists of `config.ini`, read again whenever the file changes.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Network;
use super::handshake::{HandshakeError, Partner};
use crate::config::{self, NodeConfig};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Ids, each a node id or a certificate's modulus in lower-case hex.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    deny: HashSet<String>,
    allow: HashSet<String>,
}

impl Lists {
    pub(crate) fn new(deny: &[String], allow: &[String]) -> Self {
        Self { deny: deny.iter().cloned().collect(), allow: allow.iter().cloned().collect() }
    }

    /// The deny list goes before the allow list; an empty allow list allows everybody.
    pub(crate) fn check(&self, partner: &Partner) -> Result<(), HandshakeError> {
        let node = partner.node.to_hex();
        let has = |list: &HashSet<String>| list.contains(&node) || list.contains(&partner.p2p_id);
        if has(&self.deny) {
            return Err(HandshakeError::Denied(partner.node.clone()));
        }
        if !self.allow.is_empty() && !has(&self.allow) {
            return Err(HandshakeError::NotAllowed(partner.node.clone()));
        }
        Ok(())
    }
}

fn changed(path: &Path, seen: &mut Option<SystemTime>) -> bool {
    let now = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let changed = now.is_some() && now != *seen;
    if changed {
        *seen = now;
    }
    changed
}

/// Follows `config.ini` (lists) and `nodes.json` (partners) while the node runs.
pub(super) async fn watch(network: Network) {
    let (ini, nodes) = (network.0.config_file.clone(), network.0.nodes_file.clone());
    let (mut ini_seen, mut nodes_seen) = (None, None);
    // What is there now was read at the start.
    changed(&ini, &mut ini_seen);
    changed(&nodes, &mut nodes_seen);
    loop {
        tokio::time::sleep(LOOK).await;
        if changed(&ini, &mut ini_seen) {
            match NodeConfig::reload_lists(&ini) {
                Ok((deny, allow)) => {
                    tracing::info!("p2p: {} nodes are denied, {} allowed by name", deny.len(), allow.len());
                    network.set_lists(Lists::new(&deny, &allow));
                }
                Err(error) => tracing::error!("the lists of nodes stay as they are: {error}"),
            }
        }
        if changed(&nodes, &mut nodes_seen) {
            match config::nodes(&nodes) {
                Ok(addresses) => network.dial_all(&addresses),
                Err(error) => tracing::error!("the nodes to dial stay as they are: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcos_consensus::NodeId;

    #[test]
    fn denied_goes_before_allowed_and_both_kinds_of_id_count() {
        let partner = Partner { node: NodeId(vec![0xab; 64].into()), p2p_id: "cd".repeat(256), groups: Vec::new() };
        let id = "ab".repeat(64);
        let check = |deny: &[String], allow: &[String]| Lists::new(deny, allow).check(&partner);
        assert!(check(&[], &[]).is_ok());
        assert!(check(&[], std::slice::from_ref(&partner.p2p_id)).is_ok());
        assert!(matches!(check(&[], &["ef".repeat(64)]), Err(HandshakeError::NotAllowed(_))));
        assert!(matches!(check(std::slice::from_ref(&id), std::slice::from_ref(&id)), Err(HandshakeError::Denied(_))));
    }
}
