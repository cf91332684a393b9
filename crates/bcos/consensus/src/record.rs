//! What must survive a crash.

/// Where a record stands. The host keeps them in any ordered or unordered map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKey {
    /// The view this node is in or changes to.
    View,
    /// The last prepare vote for a number.
    Voted(u64),
    /// The certificate of a prepared proposal of a number, with the proposal.
    Prepared(u64),
    /// Raft: term and vote.
    Term,
    /// Raft: a log entry.
    Entry(u64),
    /// Raft: what replaces the log's beginning.
    Snapshot,
}

impl RecordKey {
    /// As bytes for a store: nine, ordered like the keys.
    pub fn to_bytes(self) -> [u8; 9] {
        let (kind, number) = match self {
            Self::View => (0, 0),
            Self::Voted(number) => (1, number),
            Self::Prepared(number) => (2, number),
            Self::Term => (3, 0),
            Self::Entry(number) => (4, number),
            Self::Snapshot => (5, 0),
        };
        let mut out = [kind; 9];
        out[1..].copy_from_slice(&u64::to_be_bytes(number));
        out
    }

    /// Reads [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, number) = bytes.split_first()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        Some(match (kind, number) {
            (0, 0) => Self::View,
            (1, _) => Self::Voted(number),
            (2, _) => Self::Prepared(number),
            (3, 0) => Self::Term,
            (4, _) => Self::Entry(number),
            (5, 0) => Self::Snapshot,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_keep_their_order() {
        let keys = [
            RecordKey::View,
            RecordKey::Voted(7),
            RecordKey::Voted(700),
            RecordKey::Prepared(3),
            RecordKey::Term,
            RecordKey::Entry(1),
            RecordKey::Snapshot,
        ];
        for key in keys {
            assert_eq!(RecordKey::from_bytes(&key.to_bytes()), Some(key));
        }
        assert!(keys.windows(2).all(|pair| pair[0].to_bytes() < pair[1].to_bytes()));
        assert_eq!((RecordKey::from_bytes(&[9; 9]), RecordKey::from_bytes(&[])), (None, None));
    }
}
