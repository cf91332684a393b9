//! Single rules of the core; whole clusters are simulated in the workspace's tests/sim.

use konsort_raft::{
    ConfState, Config, Effects, Entry, HardState, Input, Message, MessageType, Node, Recovered, Refusal, Role,
    Snapshot, SnapshotMetadata,
};

fn leader_of_three() -> Node {
    let mut effects = Effects::default();
    let mut node = Node::bootstrap(Config::new(1), &[1, 2, 3], &mut effects);
    node.step(Input::Campaign, &mut effects).unwrap();
    for kind in [MessageType::PreVoteResp, MessageType::VoteResp] {
        let answer = Message { message_type: kind as i32, from: 2, to: 1, term: 2, ..Message::default() };
        node.step(Input::Message(answer), &mut effects).unwrap();
    }
    assert_eq!(node.role(), Role::Leader);
    node
}

#[test]
fn entries_travel_before_they_are_written_but_votes_do_not() {
    let mut node = leader_of_three();
    let mut effects = Effects::default();
    node.step(Input::Propose(vec!["x".into()]), &mut effects).unwrap();
    assert!(effects.must_sync && effects.committed.is_empty());
    // Both followers are probed since the election, so nothing new goes out until they answer.
    assert!(effects.early.is_empty() && effects.messages.is_empty());
    let answer =
        Message { message_type: MessageType::AppResp as i32, from: 2, to: 1, term: 2, index: 4, ..Message::default() };
    let mut effects = Effects::default();
    node.step(Input::Message(answer), &mut effects).unwrap();
    assert!(effects.early.iter().any(|m| m.to == 2 && m.entries.iter().any(|e| &e.data[..] == b"x")));
    let mut effects = Effects::default();
    let mut follower = Node::bootstrap(Config::new(2), &[1, 2, 3], &mut effects);
    let mut effects = Effects::default();
    let request = Message {
        message_type: MessageType::Vote as i32,
        from: 1,
        to: 2,
        term: 2,
        index: 3,
        log_term: 1,
        ..Message::default()
    };
    follower.step(Input::Message(request), &mut effects).unwrap();
    assert!(effects.early.is_empty() && effects.must_sync);
    assert_eq!(effects.messages.iter().filter(|m| m.kind() == Some(MessageType::VoteResp) && !m.reject).count(), 1);
    assert_eq!(effects.hard_state.map(|h| (h.term, h.vote)), Some((2, 1)));
}

#[test]
fn a_follower_gives_proposals_back() {
    let mut effects = Effects::default();
    let mut node = Node::bootstrap(Config::new(2), &[1, 2], &mut effects);
    match node.step(Input::Propose(vec!["x".into()]), &mut effects) {
        Err(Refusal::NotLeader { leader: None, proposals }) => assert_eq!(proposals, ["x"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nonsense_from_the_network_is_refused() {
    let mut node = leader_of_three();
    let message = |kind: MessageType, term, index| Message {
        message_type: kind as i32,
        from: 2,
        to: 1,
        term,
        index,
        ..Message::default()
    };
    let mut unknown = message(MessageType::App, 3, 0);
    unknown.message_type = 99;
    let mut gap = message(MessageType::App, 3, 0);
    gap.entries = vec![Entry { index: 2, term: 3, ..Entry::default() }];
    let mut contradiction = message(MessageType::App, 3, 0);
    contradiction.entries = (1..=3).map(|index| Entry { index, term: 3, ..Entry::default() }).collect();
    let elsewhere = Message { to: 7, ..message(MessageType::App, 3, 0) };
    let from_self = Message { from: 1, ..message(MessageType::App, 3, 0) };
    let far = message(MessageType::AppResp, 2, u64::MAX);
    let no_snapshot = message(MessageType::Snap, 3, 0);
    for bad in [
        unknown,
        gap,
        elsewhere,
        from_self,
        far,
        no_snapshot,
        message(MessageType::Hup, 2, 0),
        message(MessageType::App, 0, 0),
    ] {
        let shown = format!("{bad:?}");
        let mut effects = Effects::default();
        assert!(matches!(node.step(Input::Message(bad), &mut effects), Err(Refusal::BadMessage { .. })), "{shown}");
        assert!(effects.committed.is_empty());
    }
    // Entries that would overwrite committed ones are answered with the commit index instead.
    let mut effects = Effects::default();
    node.step(Input::Message(contradiction), &mut effects).unwrap();
    assert_eq!(node.log().term(1), Some(1));
    assert_eq!(effects.messages.last().map(|m| m.index), Some(3));
}

#[test]
fn a_restart_knows_the_members_of_the_snapshot_and_after() {
    let metadata =
        SnapshotMetadata { conf_state: Some(ConfState { voters: vec![1, 2], learners: vec![] }), index: 10, term: 3 };
    let change = konsort_raft::ConfChange { node_id: 3, ..konsort_raft::ConfChange::default() };
    let entry = Entry { entry_type: 1, term: 3, index: 11, data: prost::Message::encode_to_vec(&change).into() };
    let recovered = Recovered {
        hard_state: HardState { term: 4, vote: 2, commit: 11 },
        snapshot: Snapshot { data: "state".into(), metadata: Some(metadata) },
        compacted: (10, 3),
        entries: vec![entry],
    };
    let node = Node::restart(Config::new(1), recovered.clone(), 11);
    assert_eq!(node.conf_state().voters, [1, 2, 3]);
    // What the application does not have yet is handed out by the first step.
    let mut node = Node::restart(Config::new(1), recovered, 10);
    assert_eq!(node.conf_state().voters, [1, 2]);
    let mut effects = Effects::default();
    node.step(Input::Tick, &mut effects).unwrap();
    assert_eq!(effects.committed.iter().map(|e| e.index).collect::<Vec<_>>(), [11]);
    assert_eq!(node.conf_state().voters, [1, 2, 3]);
}

#[test]
fn the_last_member_stays() {
    let mut effects = Effects::default();
    let mut node = Node::bootstrap(Config::new(1), &[1], &mut effects);
    node.step(Input::Campaign, &mut effects).unwrap();
    let refused = node.step(Node::change_member(1, false), &mut effects).unwrap_err();
    assert_eq!(refused.to_string(), "membership change of node 1 refused: the last member cannot be removed");
}

#[test]
fn explicit_zeros_of_the_original_decode() {
    // MsgHeartbeat from 2 to 1 in term 5 as the Go library writes it: every scalar present, an empty snapshot.
    let bytes = [8, 8, 16, 1, 24, 2, 32, 5, 40, 0, 48, 0, 64, 7, 74, 8, 18, 6, 10, 0, 16, 0, 24, 0, 80, 0, 88, 0];
    let message: Message = prost::Message::decode(&bytes[..]).unwrap();
    assert_eq!(
        (message.kind(), message.to, message.from, message.term, message.commit),
        (Some(MessageType::Heartbeat), 1, 2, 5, 7)
    );
}
