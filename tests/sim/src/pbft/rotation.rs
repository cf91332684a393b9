//! Which candidates seal in an epoch of a simulated chain.
//!
//! A real chain draws them by a verifiable random function (see `bcos_chain::rotation`). Here a window slides over the
//! candidates: a change per epoch that everybody can compute is all that agreement gets to see.

use bcos_consensus::{Member, NodeId};

/// A node that may seal: a working sealer or a candidate sealer of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its public key.
    pub(super) node_id: NodeId,
    /// What its vote counts.
    pub(super) weight: u64,
    /// How often it serves compared with others; 0 counts as 1.
    pub(super) term_weight: u64,
}

/// Turns one candidate may take in a row of turns; larger term weights are cut to it.
const MAX_TERM_WEIGHT: u64 = 1000;

/// The committee of an epoch, in the candidates' order: `epoch_sealer_num` different candidates (all, when there
/// are not more), of whom one changes from epoch to epoch.
pub(super) fn working(candidates: &[Candidate], epoch_sealer_num: usize, epoch: u64) -> Vec<Member> {
    let turns = turns(candidates);
    let mut chosen = vec![false; candidates.len()];
    let mut left = epoch_sealer_num.clamp(1, candidates.len().max(1));
    if let Some(start) = epoch.checked_rem(turns.len() as u64) {
        for index in turns.iter().cycle().skip(start as usize).take(turns.len()) {
            if left > 0 && !std::mem::replace(&mut chosen[*index], true) {
                left -= 1;
            }
        }
    }
    candidates
        .iter()
        .zip(chosen)
        .filter(|(_, chosen)| *chosen)
        .map(|(c, _)| Member { node_id: c.node_id.clone(), weight: c.weight.max(1) })
        .collect()
}

/// The epoch a block belongs to: the committee changes for the block after the one that ends the epoch
/// (see [`Settings::ends_epoch`](bcos_consensus::Settings::ends_epoch)).
pub(super) fn epoch_of(number: u64, first: u64, length: u64) -> u64 {
    match number.checked_sub(first.saturating_add(1)) {
        Some(blocks) => blocks / length.max(1) + 1,
        None => 0,
    }
}

/// One round of turns: candidate `i` appears as often as its term weight, spread evenly.
fn turns(candidates: &[Candidate]) -> Vec<usize> {
    let count = candidates.len() as u64;
    let mut order: Vec<(u64, usize)> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let weight = candidate.term_weight.clamp(1, MAX_TERM_WEIGHT);
        // The k-th of w turns stands at (k + own place among the candidates) / w of the round.
        order.extend((0..weight).map(|k| (((k * 2 * count + 2 * index as u64 + 1) << 24) / weight, index)));
    }
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(term_weights: &[u64]) -> Vec<Candidate> {
        term_weights
            .iter()
            .enumerate()
            .map(|(i, w)| Candidate { node_id: NodeId(vec![i as u8; 64].into()), weight: 1, term_weight: *w })
            .collect()
    }

    fn ids(members: &[Member]) -> Vec<u8> {
        members.iter().map(|m| m.node_id.0[0]).collect()
    }

    #[test]
    fn one_member_changes_per_epoch_and_everybody_serves() {
        let all = candidates(&[1; 6]);
        let mut served = [0; 6];
        for epoch in 0..60 {
            let (now, next) = (ids(&working(&all, 4, epoch)), ids(&working(&all, 4, epoch + 1)));
            assert_eq!(now.len(), 4);
            assert_eq!(next.iter().filter(|id| !now.contains(id)).count(), 1, "{now:?} {next:?}");
            for id in &now {
                served[*id as usize] += 1;
            }
        }
        assert_eq!(served, [40; 6]);
    }

    #[test]
    fn term_weights_decide_how_often() {
        let all = candidates(&[3, 1, 1, 1, 0]);
        let mut served = [0; 5];
        for epoch in 0..70 {
            let now = ids(&working(&all, 2, epoch));
            assert_eq!(now.len(), 2);
            for id in &now {
                served[*id as usize] += 1;
            }
        }
        assert!(served[0] > 2 * served[1] - 10 && served.iter().all(|n| *n > 0), "{served:?}");
    }

    #[test]
    fn odd_numbers_are_taken_as_they_can_be() {
        assert_eq!(working(&[], 4, 9), []);
        let all = candidates(&[1, u64::MAX, 1]);
        assert_eq!(working(&all, 0, u64::MAX).len(), 1);
        assert_eq!(ids(&working(&all, 9, 5)), [0, 1, 2]);
    }

    #[test]
    fn epochs_begin_after_the_block_that_ends_one() {
        assert_eq!((0..9).map(|n| epoch_of(n, 2, 3)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
        assert_eq!(epoch_of(5, 0, 0), 5);
    }
}
