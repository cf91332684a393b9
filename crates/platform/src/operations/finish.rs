//! What follows from an operation for the records of its network: stored in the same transaction as the operation.

use konsort_engines::{Act, EngineError, NetworkSpec};
use serde_json::{Value, json};
use sqlx::Any;

use super::state::{Operation, OperationState};
use crate::control::Control;
use crate::db::{Connection, DbError, Kind, Repository};
use crate::events::{Telling, Topic};
use crate::index::write;
use crate::live;
use crate::networks::model::{NetworkDoc, NetworkState};
use crate::problem::Problem;

/// Changes the records: the specification after a step, the network's state, the contract that was deployed.
pub(crate) async fn apply(
    telling: &mut Telling,
    operation: &Operation,
    network: &str,
    spec: Option<&NetworkSpec>,
) -> Result<(), DbError> {
    let Some(act) = operation.act() else { return Ok(()) };
    let record = match Repository::get_in::<NetworkDoc>(telling.connection(), Kind::Network, network).await {
        Ok(record) => record,
        // Removed, by this operation's own first attempt to store its end.
        Err(DbError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    if matches!((act, operation.state), (Act::Delete, OperationState::Done)) {
        Repository::delete_in(telling.connection(), Kind::Network, network, None).await?;
        remove_all_of(telling.connection(), network).await?;
        let doc = json!({ "network": network, "state": "deleted" });
        return telling.tell(Topic::Node, Some(network), None, doc).await;
    }
    let mut doc = record.doc.clone();
    if let Some(spec) = spec {
        doc.spec = spec.clone();
    }
    // It may have been renamed while the step ran.
    doc.spec.name.clone_from(&record.name);
    change_state(&mut doc, act, operation.state);
    if doc != record.doc {
        Repository::update_in(telling.connection(), Kind::Network, network, Some(record.version), &record.name, &doc)
            .await?;
        if doc.state != record.doc.state {
            let told = json!({ "network": network, "state": doc.state });
            telling.tell(Topic::Node, Some(network), None, told).await?;
        }
    }
    if let Act::Deploy(deployment) = act {
        crate::contracts::record::deployed(telling.connection(), operation, deployment).await?;
    }
    Ok(())
}

/// What an act means for what the network is meant to do.
fn change_state(doc: &mut NetworkDoc, act: &Act, state: OperationState) {
    use OperationState::{Cancelled, Done, Failed, Pending, Running};
    match (act, state) {
        (Act::Create, Pending | Running) => doc.state = NetworkState::Pending,
        (Act::Create, Failed | Cancelled) => doc.state = NetworkState::Failed,
        // A removal that never began has changed nothing.
        (Act::Delete, Failed | Cancelled) if doc.state == NetworkState::Deleting => doc.state = NetworkState::Failed,
        (Act::Create, Done) => doc.state = NetworkState::Running,
        (Act::Start, Done) => {
            doc.state = NetworkState::Running;
            doc.stopped_nodes.clear();
        }
        (Act::Stop, Done) => doc.state = NetworkState::Stopped,
        (Act::Delete, Running) => doc.state = NetworkState::Deleting,
        (Act::Node { node, what }, Done) => {
            if what == "stop" {
                doc.stopped_nodes.insert(node.clone());
            } else {
                doc.stopped_nodes.remove(node);
            }
        }
        (Act::RemoveNode { node }, Done) => {
            doc.stopped_nodes.remove(node);
        }
        _ => {}
    }
}

/// Removes what belongs to a network. Its rows in the index go bit by bit later, as they may be millions.
async fn remove_all_of(connection: &mut Connection, network: &str) -> Result<(), DbError> {
    for statement in [
        "DELETE FROM calls WHERE contract IN (SELECT id FROM resources WHERE kind = 'contract' AND network = $1)",
        "DELETE FROM operation_log WHERE operation IN (SELECT id FROM operations WHERE network = $1 AND kind <> 'delete')",
        "DELETE FROM resources WHERE network = $1",
        "DELETE FROM memberships WHERE network = $1",
    ] {
        sqlx::query::<Any>(statement).bind(network.to_owned()).execute(&mut *connection).await?;
    }
    write::disown(connection, network).await?;
    Ok(())
}

/// What must be so before the last step of an operation may be called done; after a crash the step is run again, and this too.
/// The folder of a network has its keys: one that stays would be a removal that has not happened. Nodes that an operation has
/// started or stopped are looked at, as whoever waits for it asks for them next.
pub(crate) async fn before_end(control: &Control, operation: &Operation) -> Result<(), Problem> {
    let (Some(act), Some(network)) = (operation.act(), &operation.network) else { return Ok(()) };
    match act {
        Act::Delete => {
            let folder = control.network_folder(network);
            match tokio::fs::remove_dir_all(&folder).await {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    let what = format!("remove the folder {}", folder.display());
                    return Err(EngineError::Io { what, source }.into());
                }
                _ => {}
            }
        }
        Act::Create
        | Act::Start
        | Act::Stop
        | Act::AddNode { .. }
        | Act::RemoveNode { .. }
        | Act::Node { .. }
        | Act::AddOrganisation { .. } => live::refresh(control, network).await,
        Act::SetRole { .. }
        | Act::CreateChannel { .. }
        | Act::Configure { .. }
        | Act::Deploy(_)
        | Act::IssueIdentity { .. }
        | Act::RevokeIdentity { .. } => {}
    }
    Ok(())
}

/// The result of an operation as a text, when it has this name.
pub(crate) fn result_text(operation: &Operation, name: &str) -> Option<String> {
    operation.result.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use konsort_drivers::DriverKind;
    use konsort_engines::spec::EngineKind;

    use super::*;

    fn doc() -> NetworkDoc {
        NetworkDoc {
            spec: NetworkSpec {
                id: "net_1".to_owned(),
                name: "demo".to_owned(),
                engine: EngineKind::Bcos,
                driver: DriverKind::Process,
                consensus: "pbft".to_owned(),
                chain_id: None,
                organisations: Vec::new(),
                channels: Vec::new(),
                nodes: Vec::new(),
                block_time_ms: 500,
                block_transactions: 100,
            },
            state: NetworkState::Running,
            created_by: String::new(),
            stopped_nodes: BTreeSet::new(),
            imported: false,
        }
    }

    #[test]
    fn only_what_was_asked_for_changes_what_a_network_is_meant_to_do() {
        let mut doc = doc();
        let stop = Act::Node { node: "node0".to_owned(), what: "stop".to_owned() };
        change_state(&mut doc, &stop, OperationState::Running);
        assert!(doc.stopped_nodes.is_empty());
        change_state(&mut doc, &stop, OperationState::Done);
        assert!(doc.stopped_nodes.contains("node0") && doc.state == NetworkState::Running);
        change_state(&mut doc, &Act::Stop, OperationState::Failed);
        assert_eq!(doc.state, NetworkState::Running);
        change_state(&mut doc, &Act::Stop, OperationState::Done);
        assert_eq!(doc.state, NetworkState::Stopped);
        change_state(&mut doc, &Act::Start, OperationState::Done);
        assert!(doc.state == NetworkState::Running && doc.stopped_nodes.is_empty());
        change_state(&mut doc, &Act::Delete, OperationState::Cancelled);
        assert_eq!(doc.state, NetworkState::Running, "it never began");
        change_state(&mut doc, &Act::Delete, OperationState::Running);
        change_state(&mut doc, &Act::Delete, OperationState::Failed);
        assert_eq!(doc.state, NetworkState::Failed);
        change_state(&mut doc, &Act::Create, OperationState::Pending);
        change_state(&mut doc, &Act::Create, OperationState::Failed);
        assert_eq!(doc.state, NetworkState::Failed);
    }
}
