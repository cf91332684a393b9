//! What frames hold: a list of records, each a kind, a length and a message.

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;

use super::Recovered;
use crate::message::{Entry, HardState, MAX_POSITION, Snapshot};

/// One thing to remember.
#[derive(Debug)]
pub(super) enum Record<'a> {
    /// First in a file: index and term before the first entry.
    Begin((u64, u64)),
    /// A snapshot that replaces everything before it.
    Snapshot(&'a Snapshot),
    /// One entry; an index already there cuts the tail from it.
    Entry(&'a Entry),
    /// Term, vote and commit.
    HardState(HardState),
    /// The checkpoint at the head of the file is whole.
    Complete,
}

const BEGIN: u8 = 1;
const SNAPSHOT: u8 = 2;
const ENTRY: u8 = 3;
const HARD_STATE: u8 = 4;
const COMPLETE: u8 = 5;

impl Record<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        fn message(out: &mut Vec<u8>, kind: u8, message: &impl prost::Message) {
            out.put_u8(kind);
            out.put_u32_le(message.encoded_len() as u32);
            // Encoding into a Vec has no way to fail.
            message.encode_raw(out);
        }
        match self {
            Self::Begin((index, term)) => {
                out.put_u8(BEGIN);
                out.put_u32_le(16);
                out.put_u64_le(*index);
                out.put_u64_le(*term);
            }
            Self::Snapshot(snapshot) => message(out, SNAPSHOT, *snapshot),
            Self::Entry(entry) => message(out, ENTRY, *entry),
            Self::HardState(state) => message(out, HARD_STATE, state),
            Self::Complete => {
                out.put_u8(COMPLETE);
                out.put_u32_le(0);
            }
        }
    }
}

type Fault = (usize, &'static str);

/// Plays the records of a file; none when its checkpoint is not whole.
pub(super) fn replay(payloads: &[Bytes]) -> Result<Option<Recovered>, Fault> {
    let mut state = Recovered::default();
    let mut complete = false;
    for (frame, payload) in payloads.iter().enumerate() {
        let mut rest = payload.clone();
        while rest.has_remaining() {
            complete |= record(&mut rest, &mut state, complete).map_err(|reason| (frame, reason))?;
        }
    }
    if !complete {
        return Ok(None);
    }
    check(&state).map_err(|reason| (payloads.len().saturating_sub(1), reason))?;
    Ok(Some(state))
}

/// Whether the parts fit together; only a file that this code did not write fails here.
fn check(state: &Recovered) -> Result<(), &'static str> {
    let last = state.compacted.0 + state.entries.len() as u64;
    if !(state.compacted.0..=last).contains(&state.snapshot.index()) {
        return Err("the snapshot does not fit the entries");
    }
    if state.hard_state.term > MAX_POSITION || state.snapshot.term() > MAX_POSITION {
        return Err("a term is beyond any real one");
    }
    let mut term = state.compacted.1;
    for entry in &state.entries {
        if entry.term < term || entry.term > MAX_POSITION {
            return Err("the entries' terms are out of order");
        }
        term = entry.term;
    }
    Ok(())
}

/// Plays one record; true when it completes the checkpoint.
fn record(rest: &mut Bytes, state: &mut Recovered, complete: bool) -> Result<bool, &'static str> {
    if rest.remaining() < 5 {
        return Err("a record is cut short inside an intact frame");
    }
    let kind = rest.get_u8();
    let length = rest.get_u32_le() as usize;
    if rest.remaining() < length {
        return Err("a record is longer than its frame");
    }
    let mut body = rest.split_to(length);
    match kind {
        BEGIN if length == 16 && !complete => {
            state.compacted = (body.get_u64_le(), body.get_u64_le());
            if state.compacted.0 > MAX_POSITION {
                return Err("the log begins beyond any real index");
            }
        }
        SNAPSHOT => {
            state.snapshot = Snapshot::decode(body).map_err(|_| "a snapshot record does not decode")?;
            if state.snapshot.index() > MAX_POSITION {
                return Err("a snapshot stands beyond any real index");
            }
            // Received snapshots replace the log; the checkpoint's own leaves the kept entries to follow.
            if complete {
                state.entries.clear();
                state.compacted = (state.snapshot.index(), state.snapshot.term());
            }
        }
        ENTRY => {
            let entry = Entry::decode(body).map_err(|_| "an entry record does not decode")?;
            let next = state.compacted.0 + state.entries.len() as u64 + 1;
            if entry.index > next || entry.index <= state.compacted.0 {
                return Err("an entry does not continue the log");
            }
            state.entries.truncate((entry.index - state.compacted.0 - 1) as usize);
            state.entries.push(entry);
        }
        HARD_STATE => state.hard_state = HardState::decode(body).map_err(|_| "a hard state record does not decode")?,
        COMPLETE => return Ok(true),
        _ => return Err("a record of a kind this version does not know"),
    }
    Ok(false)
}
