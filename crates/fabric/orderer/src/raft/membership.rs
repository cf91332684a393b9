//! Who is a consenter, under which number, and what a configuration changes about it.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::etcdraft::{BlockMetadata, ConfigMetadata, Consenter};
use konsort_pki::Certificate;
use konsort_raft::{ConfChange, ConfChangeType};

use super::Members;
use crate::error::ChannelError;

/// The consenters' numbers from the last block, or those a new channel begins with.
pub(super) fn block_metadata(recorded: &Bytes, settings: &ConfigMetadata) -> Result<BlockMetadata, ChannelError> {
    if recorded.is_empty() {
        let count = settings.consenters.len() as u64;
        return Ok(BlockMetadata { consenter_ids: (1..=count).collect(), next_consenter_id: count + 1, raft_index: 0 });
    }
    Ok(protoutil::decode("etcdraft.BlockMetadata", recorded)?)
}

/// The consenters by number.
pub(crate) fn consenters_of(
    metadata: &BlockMetadata,
    settings: &ConfigMetadata,
) -> Result<BTreeMap<u64, Consenter>, ChannelError> {
    if metadata.consenter_ids.len() != settings.consenters.len() {
        return Err(ChannelError::unusable(format!(
            "its last block numbers {} consenters, its configuration has {}",
            metadata.consenter_ids.len(),
            settings.consenters.len()
        )));
    }
    Ok(metadata.consenter_ids.iter().copied().zip(settings.consenters.iter().cloned()).collect())
}

/// The public key in a certificate, as it is compared: certificates may be renewed, keys identify.
pub(crate) fn key_of_pem(pem: &[u8]) -> Option<Bytes> {
    Certificate::from_pem(pem).ok().map(|c| Bytes::copy_from_slice(c.public_key().spki_der()))
}

/// The public key in a DER certificate.
pub(crate) fn key_of_der(der: &[u8]) -> Option<Bytes> {
    Certificate::from_der(der).ok().map(|c| Bytes::copy_from_slice(c.public_key().spki_der()))
}

/// The number of the node whose server certificate this is.
pub(crate) fn own_id(consenters: &BTreeMap<u64, Consenter>, certificate: &[u8]) -> Option<u64> {
    let key = key_of_der(certificate)?;
    consenters.iter().find(|(_, c)| key_of_pem(&c.server_tls_cert).as_ref() == Some(&key)).map(|(id, _)| *id)
}

/// What a configuration changes about the consenters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub next: Members,
    /// What the Raft cluster has to do about it.
    pub raft: Option<ConfChange>,
    /// The node whose certificates were replaced.
    pub rotated: Option<u64>,
    /// Consenters that are new.
    pub added: Vec<Consenter>,
}

impl Change {
    /// Compares the present consenters with those of a new configuration; more than one at a time is refused.
    pub(crate) fn between(now: &Members, next: &[Consenter]) -> Result<Self, String> {
        let mut metadata = now.metadata.clone();
        metadata.consenter_ids = vec![0; next.len()];
        let mut consenters = BTreeMap::new();
        let mut added = Vec::new();
        for (position, consenter) in next.iter().enumerate() {
            // The client certificate tells consenters apart; the last of two with the same one wins upstream, too.
            let known = now.consenters.iter().rev().find(|(_, c)| c.client_tls_cert == consenter.client_tls_cert);
            if let Some((id, _)) = known {
                metadata.consenter_ids[position] = *id;
                consenters.insert(*id, consenter.clone());
            } else {
                added.push((position, consenter.clone()));
            }
        }
        let kept = |old: &Consenter| next.iter().any(|n| n.client_tls_cert == old.client_tls_cert);
        let removed: Vec<u64> = now.consenters.iter().filter(|(_, c)| !kept(c)).map(|(id, _)| *id).collect();
        let conf_change = |id: u64, kind: ConfChangeType| ConfChange {
            node_id: id,
            change_type: kind as i32,
            ..ConfChange::default()
        };
        let mut change = Self { added: added.iter().map(|(_, c)| c.clone()).collect(), ..Self::default() };
        match (added.as_slice(), removed.as_slice()) {
            ([], []) => {}
            ([(position, consenter)], [id]) => {
                metadata.consenter_ids[*position] = *id;
                consenters.insert(*id, consenter.clone());
                change.rotated = Some(*id);
            }
            ([(position, consenter)], []) => {
                let id = metadata.next_consenter_id;
                metadata.next_consenter_id += 1;
                metadata.consenter_ids[*position] = id;
                consenters.insert(id, consenter.clone());
                change.raft = Some(conf_change(id, ConfChangeType::AddNode));
            }
            ([], [id]) => change.raft = Some(conf_change(*id, ConfChangeType::RemoveNode)),
            (added, removed) => {
                return Err(format!(
                    "update of more than one consenter at a time is not supported, requested changes: add {} node(s), remove {} node(s)",
                    added.len(),
                    removed.len()
                ));
            }
        }
        change.next = Members { metadata, consenters };
        Ok(change)
    }

    /// Whether anything changed about who the consenters are.
    pub(crate) fn changed(&self) -> bool {
        self.raft.is_some() || self.rotated.is_some()
    }

    /// Whether the cluster would be left without a majority of living nodes although it need not be.
    pub(crate) fn loses_quorum(&self, active: &[u64]) -> bool {
        let size = self.next.consenters.len();
        let quorum = size / 2 + 1;
        let alive_without = |gone: u64| active.iter().filter(|id| **id != gone).count();
        match (&self.raft, self.rotated) {
            (Some(change), _) if change.change_type == ConfChangeType::AddNode as i32 => {
                size > 2 && active.len() < quorum
            }
            (Some(change), _) => alive_without(change.node_id) < quorum,
            (None, Some(rotated)) => size > 2 && alive_without(rotated) < quorum,
            (None, None) => false,
        }
    }
}

/// The change that brings the Raft cluster in line with the consenters of the last block, when they differ.
pub(super) fn outstanding(metadata: &BlockMetadata, voters: &[u64]) -> Option<ConfChange> {
    let ids = &metadata.consenter_ids;
    let (kind, id) = if let Some(id) = ids.iter().find(|id| !voters.contains(id)) {
        (ConfChangeType::AddNode, *id)
    } else {
        (ConfChangeType::RemoveNode, *voters.iter().find(|id| !ids.contains(id))?)
    };
    Some(ConfChange { node_id: id, change_type: kind as i32, ..ConfChange::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consenter(name: &'static str) -> Consenter {
        Consenter {
            host: name.to_owned(),
            client_tls_cert: name.into(),
            server_tls_cert: name.into(),
            ..Consenter::default()
        }
    }

    fn three() -> Members {
        let metadata = BlockMetadata { consenter_ids: vec![1, 2, 3], next_consenter_id: 4, raft_index: 9 };
        Members { metadata, consenters: [(1, consenter("a")), (2, consenter("b")), (3, consenter("c"))].into() }
    }

    #[test]
    fn a_new_consenter_gets_the_next_number() {
        let change =
            Change::between(&three(), &[consenter("d"), consenter("a"), consenter("b"), consenter("c")]).unwrap();
        assert_eq!(change.next.metadata.consenter_ids, [4, 1, 2, 3]);
        assert_eq!(change.next.metadata.next_consenter_id, 5);
        assert_eq!(change.raft.as_ref().map(|c| (c.node_id, c.change_type)), Some((4, 0)));
        assert!(change.loses_quorum(&[1, 2]) && !change.loses_quorum(&[1, 2, 3]));
    }

    #[test]
    fn a_removed_consenter_takes_its_number_along() {
        let change = Change::between(&three(), &[consenter("a"), consenter("c")]).unwrap();
        assert_eq!(change.next.metadata.consenter_ids, [1, 3]);
        assert_eq!(change.raft.as_ref().map(|c| (c.node_id, c.change_type)), Some((2, 1)));
        assert!(change.loses_quorum(&[1, 2]) && !change.loses_quorum(&[1, 3]));
    }

    #[test]
    fn replaced_certificates_keep_the_number() {
        let change = Change::between(&three(), &[consenter("a"), consenter("B"), consenter("c")]).unwrap();
        assert_eq!((change.rotated, change.raft.is_none()), (Some(2), true));
        assert_eq!(change.next.metadata.consenter_ids, [1, 2, 3]);
        assert_eq!(change.next.consenters[&2].host, "B");
    }

    #[test]
    fn two_at_once_are_refused() {
        let error = Change::between(&three(), &[consenter("a")]).unwrap_err();
        assert_eq!(
            error,
            "update of more than one consenter at a time is not supported, requested changes: add 0 node(s), remove 2 node(s)"
        );
    }

    #[test]
    fn an_outstanding_change_is_found() {
        let metadata = |ids: &[u64]| BlockMetadata { consenter_ids: ids.to_vec(), ..BlockMetadata::default() };
        assert!(outstanding(&metadata(&[1, 2]), &[1, 2]).is_none());
        assert_eq!(outstanding(&metadata(&[1, 2]), &[1, 2, 3]).map(|c| (c.node_id, c.change_type)), Some((3, 1)));
        assert_eq!(outstanding(&metadata(&[1, 2]), &[1]).map(|c| (c.node_id, c.change_type)), Some((2, 0)));
    }
}
