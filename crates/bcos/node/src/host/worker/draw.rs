//! The leader's own transaction in blocks with which the committee rotates.

use alloy_primitives::Address;
use bcos_chain::rotation::{CONTRACT, Draw};
use bcos_consensus::{NodeId, Proposal, Settings};
use bcos_types::{Transaction, TransactionData, VerifiedTx};
use konsort_crypto::{CryptoSuite, SuiteKey, random_bytes, suite};

use super::wall_ms;

/// For so many blocks the transaction may wait, should its own block come to nothing (upstream's number).
const BLOCK_LIMIT: u64 = 600;

/// Makes this node's draws.
#[derive(Debug)]
pub(crate) struct Drawer {
    pub key: SuiteKey,
    pub chain_id: String,
    pub group_id: String,
    /// The last one made: a number may have to be sealed more than once.
    pub made: Option<(u64, VerifiedTx)>,
}

impl Drawer {
    /// The transaction that goes first in block `number`; `None` only when the node's own signature does not hold.
    pub(super) fn transaction(&mut self, number: u64) -> Option<VerifiedTx> {
        if let Some((of, made)) = &self.made
            && *of == number
        {
            return Some(made.clone());
        }
        let suite = suite(self.key.kind());
        let data = TransactionData {
            chain_id: self.chain_id.clone(),
            group_id: self.group_id.clone(),
            block_limit: i64::try_from(number.saturating_add(BLOCK_LIMIT)).unwrap_or(i64::MAX),
            nonce: u128::from_be_bytes(random_bytes()).to_string(),
            to: format!("{CONTRACT:040x}"),
            input: Draw::new(&self.key, number).call(suite),
            ..TransactionData::default()
        };
        let mut transaction = Transaction::signed(data, &self.key);
        transaction.import_time = wall_ms() as i64;
        let verified = VerifiedTx::verify(transaction, suite)
            .inspect_err(|error| tracing::error!("the draw for block {number} cannot be signed: {error}"))
            .ok()?;
        self.made = Some((number, verified.clone()));
        Some(verified)
    }
}

/// Whether the proposal rotates the committee exactly when it has to, by a valid draw of the one who sealed it.
pub(super) fn is_right(
    suite: &dyn CryptoSuite,
    settings: &Settings,
    proposal: &Proposal,
    transactions: &[VerifiedTx],
) -> bool {
    if !settings.ends_epoch(proposal.number) {
        return !proposal.system || transactions.len() == 1;
    }
    let sealer = usize::try_from(proposal.sealer).ok().and_then(|sealer| settings.members.get(sealer));
    let (true, Some(first), Some(sealer)) = (proposal.system, transactions.first(), sealer) else { return false };
    let from = address(suite, &sealer.node_id);
    let to = first.tx.data.to_address().ok().flatten();
    let draw = Draw::of_call(suite, &first.tx.data.input);
    from == Some(first.sender)
        && to == Some(Address::left_padding_from(&CONTRACT.to_be_bytes()))
        && draw.is_some_and(|draw| draw.check(proposal.number).is_ok())
}

fn address(suite: &dyn CryptoSuite, node: &NodeId) -> Option<Address> {
    let key: &[u8; 64] = node.0[..].try_into().ok()?;
    Some(suite.address(key).into())
}

#[cfg(test)]
mod tests {
    use bcos_consensus::Member;
    use konsort_crypto::SuiteKind;

    use super::*;

    fn drawer(key: &SuiteKey) -> Drawer {
        Drawer { key: key.clone(), chain_id: "chain0".into(), group_id: "group0".into(), made: None }
    }

    #[test]
    fn only_the_sealer_s_own_draw_for_this_block_is_right() {
        for kind in [SuiteKind::International, SuiteKind::Sm] {
            let keys: Vec<SuiteKey> = (0..2).map(|_| SuiteKey::generate(kind)).collect();
            let member = |key: &SuiteKey| Member { node_id: NodeId(key.public_key().to_vec().into()), weight: 1 };
            let settings = Settings { epoch: Some((0, 5)), ..Settings::new(keys.iter().map(member).collect()) };
            let suite = suite(kind);
            let judge = |number: u64, sealer: u64, system: bool, transactions: &[VerifiedTx]| {
                let proposal = Proposal {
                    number,
                    timestamp_ms: 1,
                    sealer,
                    system,
                    parent: alloy_primitives::B256::ZERO,
                    transactions: transactions.iter().map(|tx| tx.hash).collect(),
                };
                is_right(suite, &settings, &proposal, transactions)
            };
            let mut drawers: Vec<Drawer> = keys.iter().map(drawer).collect();
            let fifth = drawers[0].transaction(5).unwrap();
            assert_eq!(drawers[0].transaction(5).unwrap().hash, fifth.hash, "made once");
            let other = drawers[1].transaction(5).unwrap();
            let later = drawers[0].transaction(10).unwrap();
            assert!(judge(5, 0, true, std::slice::from_ref(&fifth)));
            assert!(judge(5, 0, true, &[fifth.clone(), other.clone()]));
            assert!(judge(5, 1, true, std::slice::from_ref(&other)));
            // No draw, another's, one for another block, not first, not said to be a system block, an unknown sealer.
            assert!(!judge(5, 0, true, &[]));
            assert!(!judge(5, 0, true, &[other.clone(), fifth.clone()]));
            assert!(!judge(5, 0, true, &[later]));
            assert!(!judge(5, 0, false, std::slice::from_ref(&fifth)));
            assert!(!judge(5, 2, true, std::slice::from_ref(&fifth)));
            // In other blocks nothing goes before the others.
            assert!(judge(6, 0, true, std::slice::from_ref(&fifth)));
            assert!(!judge(6, 0, true, &[fifth.clone(), other.clone()]));
            assert!(judge(6, 0, false, &[fifth, other]));
        }
    }
}
