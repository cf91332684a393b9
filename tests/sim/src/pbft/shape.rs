//! How rough a world is.

use std::sync::Arc;

use bcos_consensus::{Member, Settings};

use super::hostile::Kind;
use super::keys::node_id;
use super::machine::Block;
use super::rotation::{Candidate, epoch_of, working};

/// Which protocol the nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// PBFT.
    Pbft,
    /// Raft with checkpoint signatures.
    Raft,
}

/// Who is in the committee.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// Always these weights; nodes beyond them observe.
    Fixed(Vec<u64>),
    /// System transactions choose among these weights (0: not a member).
    Chosen(Vec<Vec<u64>>),
    /// So many of all nodes at once, one changing after every so many blocks and with the block after a system transaction.
    Rotating(usize, u64),
}

/// How rough the world is. Percentages are per event they concern.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Which protocol.
    pub agreement: Agreement,
    /// Nodes, members or not.
    pub nodes: usize,
    /// The committee.
    pub scheme: Scheme,
    /// Hostile nodes: so many of the first ones, each of one of these kinds.
    pub hostile: usize,
    /// What hostile nodes may be.
    pub kinds: Vec<Kind>,
    /// Milliseconds of trouble before the healing.
    pub duration_ms: u64,
    /// Messages lost.
    pub loss: u64,
    /// Messages delivered twice.
    pub duplication: u64,
    /// Messages that take up to 400 ms instead of up to 20.
    pub delay: u64,
    /// Chance of a crash per 100 ms.
    pub crashes: u64,
    /// Chance of a new partition per 100 ms.
    pub partitions: u64,
    /// Blocks that take up to a second to execute.
    pub slow: u64,
    /// Clocks differ in speed (up to a tenth) and by hours.
    pub skew: bool,
    /// Honest nodes lose their records in crashes: this must break something, or the checks see nothing.
    pub amnesia: bool,
}

impl Shape {
    /// Four members, and nothing goes wrong.
    pub fn calm() -> Self {
        Self {
            agreement: Agreement::Pbft,
            nodes: 4,
            scheme: Scheme::Fixed(vec![1; 4]),
            hostile: 0,
            kinds: Kind::ALL.to_vec(),
            duration_ms: 1500,
            loss: 0,
            duplication: 0,
            delay: 0,
            crashes: 0,
            partitions: 0,
            slow: 0,
            skew: false,
            amnesia: false,
        }
    }

    /// Messages get lost, doubled and overtaken; clocks differ.
    pub fn rough_network() -> Self {
        Self { loss: 10, duplication: 15, delay: 10, skew: true, ..Self::calm() }
    }

    /// Nodes lose power in the middle of writes.
    pub fn power_failures() -> Self {
        Self { crashes: 40, duration_ms: 2500, ..Self::calm() }
    }

    /// The network falls apart again and again, and some execute slowly.
    pub fn partitions() -> Self {
        Self { partitions: 25, slow: 10, duration_ms: 2500, ..Self::calm() }
    }

    /// As many hostile members as there may be.
    pub fn hostile() -> Self {
        Self { hostile: 1, delay: 3, ..Self::calm() }
    }

    /// Seven members, two of them hostile, on a bad network, with crashes.
    pub fn seven() -> Self {
        Self { nodes: 7, scheme: Scheme::Fixed(vec![1; 7]), hostile: 2, ..Self::everything() }
    }

    /// Members of different weights; the first is hostile.
    pub fn weights() -> Self {
        Self { nodes: 5, scheme: Scheme::Fixed(vec![2, 3, 1, 1, 2]), hostile: 1, ..Self::everything() }
    }

    /// Members come, go and change their weights by system transactions.
    pub fn membership() -> Self {
        let committees =
            vec![vec![1, 1, 1, 1, 0, 0], vec![1, 1, 1, 1, 1, 0], vec![1, 2, 1, 1, 1, 1], vec![0, 1, 1, 1, 0, 1]];
        Self { nodes: 6, scheme: Scheme::Chosen(committees), hostile: 1, ..Self::everything() }
    }

    /// Four of six seal, one changes every five blocks.
    pub fn rotation() -> Self {
        Self { nodes: 6, scheme: Scheme::Rotating(4, 5), hostile: 1, ..Self::everything() }
    }

    /// Five members under Raft, with everything that may go wrong there.
    pub fn raft() -> Self {
        Self { agreement: Agreement::Raft, nodes: 5, scheme: Scheme::Fixed(vec![1; 5]), ..Self::everything() }
    }

    /// Members under Raft come and go.
    pub fn raft_membership() -> Self {
        let committees = vec![vec![1, 1, 1, 0, 0], vec![1, 1, 1, 1, 0], vec![1, 1, 1, 1, 1], vec![0, 1, 1, 1, 0]];
        Self { scheme: Scheme::Chosen(committees), ..Self::raft() }
    }

    /// Everything but hostile members, at once.
    pub fn everything() -> Self {
        Self {
            loss: 5,
            duplication: 8,
            delay: 5,
            crashes: 15,
            partitions: 10,
            slow: 3,
            skew: true,
            duration_ms: 2500,
            ..Self::calm()
        }
    }
}

impl Scheme {
    fn settings(weights: &[u64], period: u64) -> Settings {
        let members = weights.iter().enumerate().filter(|(_, w)| **w > 0);
        let members = members.map(|(i, w)| Member { node_id: node_id(i), weight: *w }).collect();
        Settings { leader_period: period, ..Settings::new(members) }
    }

    /// What holds for the block after the last one of this chain.
    pub fn next(&self, nodes: usize, chain: &[Block]) -> Settings {
        match self {
            Self::Fixed(weights) => Self::settings(weights, 1),
            Self::Chosen(committees) => {
                let choice = chain.iter().rev().find_map(Block::choice).unwrap_or(0);
                let choice = choice as usize % committees.len();
                Self::settings(&committees[choice], 1 + choice as u64)
            }
            Self::Rotating(size, length) => {
                let number = chain.len() as u64 + 1;
                let all: Vec<Candidate> = (0..nodes)
                    .map(|i| Candidate { node_id: node_id(i), weight: 1, term_weight: 1 + i as u64 % 2 })
                    .collect();
                // The block after a system transaction rotates out of turn, as with new rules on a real chain.
                let ruled = |at: &u64| chain[*at as usize - 2].choice().is_some();
                let out_of_turn = (2..number).filter(ruled).count() as u64;
                let members = working(&all, *size, epoch_of(number, 1, *length) + out_of_turn);
                let rotate_at = (number > 1).then_some(number).filter(ruled);
                Settings { epoch: Some((1, *length)), rotate_at, ..Settings::new(members) }
            }
        }
    }

    /// The same, shared.
    pub fn next_shared(&self, nodes: usize, chain: &[Block]) -> Arc<Settings> {
        Arc::new(self.next(nodes, chain))
    }
}
