//! Which transactions stand in which proposals: sealing, reserving, giving back.

use std::hash::BuildHasher as _;

use alloy_primitives::B256;
use alloy_primitives::map::{B256Map, B256Set, HashSet};
use bcos_types::{TxKind, VerifiedTx};

use super::{Claim, Place, Seal, Waiting};
use crate::pool::web3_nonce;

impl Waiting {
    pub(in crate::pool) fn seal(
        &mut self,
        number: u64,
        timestamp_ms: u64,
        limit: usize,
        first: Option<&VerifiedTx>,
    ) -> Seal {
        let mut taken = Vec::new();
        let is_first = |hash: &B256| first.is_some_and(|first| first.hash == *hash);
        // A system transaction goes before all others, alone: it may change the rules for whatever follows.
        let system = self.ready_system.iter().find_map(|sequence| {
            let hash = self.ready.get(sequence)?;
            (!is_first(hash) && self.may_seal(hash, number)).then_some((*sequence, *hash))
        });
        if let Some(alone) = system {
            taken.push(alone);
        } else {
            for (sequence, hash) in &self.ready {
                if taken.len() >= limit {
                    break;
                }
                if !is_first(hash) && self.may_seal(hash, number) {
                    taken.push((*sequence, *hash));
                }
            }
        }
        let system = system.is_some() || first.is_some();
        let mut seal = Seal { transactions: Vec::with_capacity(taken.len() + 1), system };
        let mut hashes: Vec<B256> = Vec::with_capacity(taken.len() + 1);
        if let Some(first) = first {
            // Alone it is no reason for a block, unless it was in one that came to nothing and waits itself.
            let waits = self.entries.get(&first.hash).is_some_and(|entry| entry.place == Place::Ready);
            if taken.is_empty() && !waits {
                return Seal::default();
            }
            // Refused only when it is here already.
            let _known = self.insert(first.clone(), None, 0, true);
            hashes.push(first.hash);
        }
        hashes.extend(taken.iter().map(|(_, hash)| *hash));
        for hash in &hashes {
            seal.transactions.extend(self.reserve(number, hash));
        }
        if !hashes.is_empty() {
            self.note(number, timestamp_ms, &hashes);
        }
        seal
    }

    fn fingerprint(&self, number: u64, timestamp_ms: u64, hashes: &[B256]) -> u64 {
        self.fingerprints.hash_one((number, timestamp_ms, hashes))
    }

    /// Remembers that a proposal holds these transactions.
    fn note(&mut self, number: u64, timestamp_ms: u64, hashes: &[B256]) {
        let claimant = self.fingerprint(number, timestamp_ms, hashes);
        self.claims.entry(number).or_default().entry(claimant).or_insert_with(|| hashes.to_vec());
    }

    fn may_seal(&self, hash: &B256, number: u64) -> bool {
        self.entries.get(hash).is_some_and(|entry| entry.last_block >= number && self.is_tracked(&entry.tx))
    }

    /// Whether a transaction with the same nonce is in an earlier proposal.
    fn has_earlier_rival(&self, tx: &VerifiedTx, number: u64) -> bool {
        let tracked = match tx.tx.kind {
            TxKind::Bcos => self.nonces.get(&tx.tx.data.nonce),
            TxKind::Web3 => web3_nonce(tx).and_then(|nonce| self.accounts.get(&tx.sender)?.by_nonce.get(&nonce)),
        };
        tracked
            .filter(|tracked| **tracked != tx.hash)
            .and_then(|tracked| self.entries.get(tracked))
            .is_some_and(|rival| matches!(rival.place, Place::Sealed(other) if other <= number))
    }

    /// Lets the pool stand for its nonce with this transaction.
    fn track(&mut self, tx: &VerifiedTx) {
        match tx.tx.kind {
            TxKind::Bcos => {
                if let Some(tracked) = self.nonces.get_mut(&tx.tx.data.nonce) {
                    *tracked = tx.hash;
                }
            }
            TxKind::Web3 => {
                if let (Some(books), Some(nonce)) = (self.accounts.get_mut(&tx.sender), web3_nonce(tx)) {
                    books.by_nonce.insert(nonce, tx.hash);
                }
            }
        }
    }

    /// Reserves a proposal's transactions. `trusted` ones were found right by a quorum: they only have to be here.
    pub(in crate::pool) fn claim(
        &mut self,
        number: u64,
        timestamp_ms: u64,
        hashes: &[B256],
        system: bool,
        trusted: bool,
    ) -> Claim {
        let missing: Vec<B256> = hashes.iter().filter(|hash| !self.entries.contains_key(*hash)).copied().collect();
        if !missing.is_empty() {
            // What is here must not be sealed a second time while the rest is on its way.
            for hash in hashes {
                if self.entries.get(hash).is_some_and(|entry| !matches!(entry.place, Place::Sealed(_))) {
                    self.reserve(number, hash);
                }
            }
            self.note(number, timestamp_ms, hashes);
            return Claim::Missing(missing);
        }
        if !trusted && (!self.is_composed(hashes, system) || !self.is_claimable(number, hashes)) {
            return Claim::Conflict;
        }
        let mut found = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let Some(tx) = self.reserve(number, hash) else { continue };
            if !self.is_tracked(&tx) {
                self.track(&tx);
            }
            found.push(tx);
        }
        self.note(number, timestamp_ms, hashes);
        Claim::Found(found)
    }

    /// Marks a transaction as part of a proposal.
    fn reserve(&mut self, number: u64, hash: &B256) -> Option<VerifiedTx> {
        let entry = self.entries.get_mut(hash)?;
        let tx = entry.tx.clone();
        entry.place = Place::Sealed(number);
        let sequence = entry.sequence;
        self.unready(sequence);
        Some(tx)
    }

    /// System transactions stand alone, but for one of the leader's own before all others (whether it may be there is for
    /// agreement to say).
    fn is_composed(&self, hashes: &[B256], system: bool) -> bool {
        let is_system = |hash: &B256| self.entries.get(hash).is_some_and(|entry| entry.system);
        let count = hashes.iter().filter(|hash| is_system(hash)).count();
        match (system, hashes) {
            (false, _) => count == 0,
            (true, [first, rest @ ..]) => is_system(first) && (count == 1 || rest.len() == 1),
            (true, []) => false,
        }
    }

    fn is_claimable(&self, number: u64, hashes: &[B256]) -> bool {
        let mut seen = B256Set::default();
        let mut nonces: HashSet<&str> = HashSet::default();
        hashes.iter().all(|hash| {
            let Some(entry) = self.entries.get(hash) else { return false };
            let earlier = matches!(entry.place, Place::Sealed(other) if other < number);
            let rival = entry.tx.tx.kind == TxKind::Bcos && !nonces.insert(&entry.tx.tx.data.nonce);
            !earlier
                && !rival
                && entry.last_block >= number
                && seen.insert(*hash)
                && !self.has_earlier_rival(&entry.tx, number)
        })
    }

    /// Gives back the transactions of a proposal that was given up, but for those that others still hold.
    pub(in crate::pool) fn release(&mut self, number: u64, timestamp_ms: u64, hashes: &[B256]) {
        let claimant = self.fingerprint(number, timestamp_ms, hashes);
        let Some(claims) = self.claims.get_mut(&number) else { return };
        let Some(held) = claims.remove(&claimant) else { return };
        if claims.is_empty() {
            self.claims.remove(&number);
        }
        self.set_free(held);
    }

    pub(super) fn set_free(&mut self, held: Vec<B256>) {
        let mut others: B256Map<u64> = B256Map::default();
        for (number, claims) in &self.claims {
            for hash in claims.values().flatten() {
                others.entry(*hash).or_insert(*number);
            }
        }
        for hash in held {
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            if !matches!(entry.place, Place::Sealed(_)) {
                continue;
            }
            if let Some(number) = others.get(&hash) {
                entry.place = Place::Sealed(*number);
            } else {
                entry.place = Place::Ready;
                let (sequence, system) = (entry.sequence, entry.system);
                self.make_ready(sequence, hash, system);
            }
        }
    }
}
