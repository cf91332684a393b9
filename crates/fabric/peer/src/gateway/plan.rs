//! An endorsement plan in progress: which peers are still to be asked, what has been collected, which layouts can still be met.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::gateway::ErrorDetail;
use fabric_proto::protos::{Endorsement, ProposalResponse};
use parking_lot::Mutex;

use super::errors::detail;
use super::peers::{Candidate, Node};

/// The text of the detail for a peer whose simulation gave something else.
const MISMATCH: &str = "ProposalResponsePayloads do not match";

/// One way to satisfy the policies.
#[derive(Debug, Default)]
struct Layout {
    required: BTreeMap<String, u32>,
    endorsements: Vec<Endorsement>,
}

/// Peers in groups, and layouts that want so many of each group.
#[derive(Debug)]
pub(super) struct Plan(Mutex<State>);

#[derive(Debug)]
struct State {
    layouts: Vec<Option<Layout>>,
    groups: BTreeMap<String, VecDeque<Arc<Node>>>,
    group_of: BTreeMap<String, String>,
    next: usize,
    payload: Option<(Bytes, Arc<Node>)>,
    completed: Option<Vec<Endorsement>>,
    errors: Vec<ErrorDetail>,
}

/// Nodes are told apart by where they are.
fn key(node: &Node) -> String {
    node.endpoint.as_ref().map_or_else(String::new, |endpoint| endpoint.address.clone())
}

impl Plan {
    /// From layouts in the order in which they are tried, and the peers of each group in the order in which they are asked.
    pub(super) fn new(layouts: Vec<BTreeMap<String, u32>>, groups: BTreeMap<String, Vec<Candidate>>) -> Self {
        let mut group_of = BTreeMap::new();
        let groups = groups
            .into_iter()
            .map(|(group, candidates)| {
                for candidate in &candidates {
                    group_of.insert(key(&candidate.node), group.clone());
                }
                (group, candidates.into_iter().map(|candidate| candidate.node).collect())
            })
            .collect();
        let layouts = layouts.into_iter().map(|required| Some(Layout { required, endorsements: Vec::new() })).collect();
        Self(Mutex::new(State {
            layouts,
            groups,
            group_of,
            next: 0,
            payload: None,
            completed: None,
            errors: Vec::new(),
        }))
    }

    /// One group of which one peer is enough.
    pub(super) fn any_of(candidates: Vec<Candidate>) -> Self {
        let group = "g1".to_owned();
        Self::new(vec![BTreeMap::from([(group.clone(), 1)])], BTreeMap::from([(group, candidates)]))
    }

    /// The peers to ask for the next layout that can still be met; empty when there is none.
    pub(super) fn endorsers(&self) -> Vec<Arc<Node>> {
        let mut state = self.0.lock();
        let state = &mut *state;
        while let Some(slot) = state.layouts.get_mut(state.next) {
            let Some(layout) = slot else {
                state.next += 1;
                continue;
            };
            let groups = &mut state.groups;
            let possible = layout
                .required
                .iter()
                .all(|(group, count)| groups.get(group).is_some_and(|peers| peers.len() >= *count as usize));
            if !possible {
                *slot = None;
                state.next += 1;
                continue;
            }
            let mut chosen: Vec<Arc<Node>> = Vec::new();
            for (group, count) in &layout.required {
                if let Some(peers) = groups.get_mut(group) {
                    chosen.extend(peers.drain(..*count as usize));
                }
            }
            return chosen;
        }
        Vec::new()
    }

    /// Takes an endorsement; false when its payload differs from what others gave.
    pub(super) fn endorsed(&self, node: &Arc<Node>, response: &ProposalResponse) -> bool {
        let mut state = self.0.lock();
        let state = &mut *state;
        let group = state.group_of.get(&key(node)).cloned().unwrap_or_default();
        if let Some(peers) = state.groups.get_mut(&group) {
            peers.retain(|peer| key(peer) != key(node));
        }
        match &state.payload {
            None => state.payload = Some((response.payload.clone(), Arc::clone(node))),
            Some((payload, first)) if *payload != response.payload => {
                tracing::warn!(
                    "{MISMATCH}: {} ({}) answered {} bytes, {} ({}) {} other bytes",
                    first.label,
                    first.mspid,
                    payload.len(),
                    node.label,
                    node.mspid,
                    response.payload.len()
                );
                state.errors.push(detail(node, MISMATCH));
                return false;
            }
            Some(_) => {}
        }
        for layout in state.layouts.iter_mut().skip(state.next).flatten() {
            let Some(count) = layout.required.get_mut(&group) else { continue };
            *count -= 1;
            layout.endorsements.extend(response.endorsement.clone());
            if *count == 0 {
                layout.required.remove(&group);
                if layout.required.is_empty() {
                    state.completed = Some(layout.endorsements.clone());
                    return true;
                }
            }
        }
        true
    }

    /// After a failure: another peer of the same group, or the group for which there is none.
    pub(super) fn next_in_group(&self, node: &Node) -> Result<Arc<Node>, String> {
        let mut state = self.0.lock();
        let group = state.group_of.get(&key(node)).cloned().unwrap_or_default();
        state.groups.get_mut(&group).and_then(VecDeque::pop_front).ok_or(group)
    }

    /// Gives up the layouts that need these groups, and goes on to the next layout.
    pub(super) fn abandon(&self, groups: &BTreeSet<String>) {
        let mut state = self.0.lock();
        let next = state.next;
        for slot in state.layouts.iter_mut().skip(next) {
            if slot.as_ref().is_some_and(|layout| groups.iter().any(|group| layout.required.contains_key(group))) {
                *slot = None;
            }
        }
        state.next += 1;
    }

    /// Keeps what went wrong for the client.
    pub(super) fn failed(&self, error: ErrorDetail) {
        self.0.lock().errors.push(error);
    }

    /// What went wrong so far.
    pub(super) fn errors(&self) -> Vec<ErrorDetail> {
        self.0.lock().errors.clone()
    }

    /// The payload and the endorsements of a satisfied layout, each endorser once.
    pub(super) fn completed(&self) -> Option<(Bytes, Vec<Endorsement>)> {
        let state = self.0.lock();
        let endorsements = state.completed.as_ref()?;
        let mut seen = BTreeSet::new();
        let unique =
            endorsements.iter().filter(|endorsement| seen.insert(endorsement.endorser.clone())).cloned().collect();
        Some((state.payload.as_ref()?.0.clone(), unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Endpoint;

    fn candidate(name: &str) -> Candidate {
        let endpoint = Endpoint { address: name.to_owned(), mspid: "M".into(), roots: Vec::new() };
        let node = Node { mspid: "M".into(), label: name.into(), endpoint: Some(endpoint) };
        Candidate { node: Arc::new(node), height: 1 }
    }

    fn response(endorser: &str, payload: &'static str) -> ProposalResponse {
        ProposalResponse {
            payload: payload.into(),
            endorsement: Some(Endorsement { endorser: endorser.to_owned().into(), signature: Bytes::new() }),
            ..ProposalResponse::default()
        }
    }

    fn two_groups() -> Plan {
        let layouts = vec![
            BTreeMap::from([("A".to_owned(), 1), ("B".to_owned(), 1)]),
            BTreeMap::from([("A".to_owned(), 1), ("C".to_owned(), 1)]),
        ];
        let groups = BTreeMap::from([
            ("A".to_owned(), vec![candidate("a1"), candidate("a2")]),
            ("B".to_owned(), vec![candidate("b1")]),
            ("C".to_owned(), vec![candidate("c1")]),
        ]);
        Plan::new(layouts, groups)
    }

    fn names(nodes: &[Arc<Node>]) -> Vec<&str> {
        nodes.iter().map(|node| node.label.as_str()).collect()
    }

    #[test]
    fn a_layout_is_completed() {
        let plan = two_groups();
        let asked = plan.endorsers();
        assert_eq!(names(&asked), ["a1", "b1"]);
        assert!(plan.endorsed(&asked[0], &response("a1", "p")) && plan.completed().is_none());
        assert!(plan.endorsed(&asked[1], &response("b1", "p")));
        assert_eq!(plan.completed().unwrap().1.len(), 2);
    }

    #[test]
    fn a_failed_group_leads_to_the_next_layout_and_keeps_what_was_collected() {
        let plan = two_groups();
        let asked = plan.endorsers();
        assert!(plan.endorsed(&asked[0], &response("a1", "p")));
        assert_eq!(plan.next_in_group(&asked[1]).unwrap_err(), "B");
        plan.abandon(&BTreeSet::from(["B".to_owned()]));
        let asked = plan.endorsers();
        assert_eq!(names(&asked), ["c1"]);
        assert!(plan.endorsed(&asked[0], &response("c1", "p")));
        let endorsers: Vec<Bytes> = plan.completed().unwrap().1.into_iter().map(|e| e.endorser).collect();
        assert_eq!(endorsers, [Bytes::from("a1"), Bytes::from("c1")]);
    }

    #[test]
    fn another_peer_of_the_group_takes_over() {
        let plan = two_groups();
        let asked = plan.endorsers();
        assert_eq!(plan.next_in_group(&asked[0]).unwrap().label, "a2");
    }

    #[test]
    fn different_payloads_are_told() {
        let plan = two_groups();
        let asked = plan.endorsers();
        assert!(plan.endorsed(&asked[0], &response("a1", "p")));
        assert!(!plan.endorsed(&asked[1], &response("b1", "q")));
        assert_eq!(plan.errors()[0].message, MISMATCH);
    }
}
