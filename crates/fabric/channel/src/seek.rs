//! Reading blocks as a client asks for them: the rules of a deliver request, shared by peers and orderers.
//!
//! Nothing here waits, reads a clock or sends: [`parse`] takes a request apart, a [`Cursor`] says which block comes next at a
//! given height, a [`Session`] says when the caller's right to read must be looked at again.

use std::time::Duration;

use bytes::Bytes;
use fabric_proto::common::{Block, ChannelHeader, Envelope, Status};
use fabric_proto::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use fabric_proto::orderer::{SeekInfo, SeekPosition, seek_position};
use prost::Message;

use crate::policy::SignedData;
use crate::protoutil;

/// A deliver request taken apart.
#[derive(Debug, Clone)]
pub struct Request {
    /// The channel header, its time and binding checked.
    pub channel_header: ChannelHeader,
    /// Who asks, and what was signed.
    pub signed_data: SignedData,
    /// The bytes of the `orderer.SeekInfo`; see [`Request::seek_info`].
    pub data: Bytes,
}

impl Request {
    /// What is asked for; an error means status `BAD_REQUEST`.
    pub fn seek_info(&self) -> Result<SeekInfo, prost::DecodeError> {
        SeekInfo::decode(self.data.clone())
    }
}

/// Why a request cannot be read; the caller gets status `BAD_REQUEST`, the log this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A part does not decode.
    #[error("{0}")]
    Malformed(String),
    /// The header is missing.
    #[error("envelope has no header")]
    NoHeader,
    /// The time is missing.
    #[error("channel header in envelope must contain timestamp")]
    NoTimestamp,
    /// The caller's clock is too far from ours.
    #[error(
        "envelope timestamp {seconds}s is more than {window:?} apart from current server time {now}s; set the clocks"
    )]
    Timestamp {
        /// The envelope's time in seconds since the epoch.
        seconds: i64,
        /// What is tolerated.
        window: Duration,
        /// Our time.
        now: i64,
    },
    /// With mutual TLS, the request must be bound to the connection's certificate.
    #[error("client didn't include its TLS cert hash")]
    NoCertificateHash,
    /// With mutual TLS, there must be a certificate.
    #[error("client didn't send a TLS certificate")]
    NoCertificate,
    /// The request was made for another connection.
    #[error("claimed TLS cert hash is not that of the connection's certificate")]
    CertificateHash,
}

/// The connection's part in the check of a request.
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    /// Without mutual TLS nothing is checked.
    None,
    /// With mutual TLS: SHA-256 of the caller's TLS certificate, if it sent one.
    MutualTls(Option<&'a [u8]>),
}

/// Takes the request envelope apart and checks its time (nanoseconds since the epoch) and its binding to the connection.
pub fn parse(envelope: &Envelope, now: u64, window: Duration, binding: Binding<'_>) -> Result<Request, RequestError> {
    let malformed = |error: &dyn std::fmt::Display| RequestError::Malformed(error.to_string());
    let payload = protoutil::payload(envelope).map_err(|error| malformed(&error))?;
    let header = payload.header.ok_or(RequestError::NoHeader)?;
    let channel_header: ChannelHeader =
        protoutil::decode("ChannelHeader", &header.channel_header).map_err(|error| malformed(&error))?;
    let signature_header: fabric_proto::common::SignatureHeader =
        protoutil::decode("SignatureHeader", &header.signature_header).map_err(|error| malformed(&error))?;
    let time = channel_header.timestamp.as_ref().ok_or(RequestError::NoTimestamp)?;
    let sent = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    if (i128::from(now) - sent).unsigned_abs() > window.as_nanos() {
        return Err(RequestError::Timestamp { seconds: time.seconds, window, now: (now / 1_000_000_000) as i64 });
    }
    if let Binding::MutualTls(actual) = binding {
        if channel_header.tls_cert_hash.is_empty() {
            return Err(RequestError::NoCertificateHash);
        }
        let actual = actual.ok_or(RequestError::NoCertificate)?;
        if actual != channel_header.tls_cert_hash {
            return Err(RequestError::CertificateHash);
        }
    }
    let signed_data = SignedData {
        data: envelope.payload.clone(),
        identity: signature_header.creator,
        signature: envelope.signature.clone(),
    };
    Ok(Request { channel_header, signed_data, data: payload.data })
}

/// What a reader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the block with this number, then call [`Cursor::sent`].
    Send(u64),
    /// Wait until the chain has the block with this number, then ask again.
    Wait(u64),
    /// Send this status; with `Success` the next request may follow on the same stream.
    End(Status),
}

/// The place of one request in the chain.
#[derive(Debug, Clone)]
pub struct Cursor {
    next: u64,
    stop: u64,
    found: bool,
    done: bool,
    fail_if_not_ready: bool,
    best_effort: bool,
    headers_only: bool,
}

impl Cursor {
    /// Starts a request at the chain's present height (number of blocks); an error is the status to answer.
    pub fn new(seek: &SeekInfo, height: u64) -> Result<Self, Status> {
        let (Some(start), Some(stop)) = (&seek.start, &seek.stop) else { return Err(Status::BadRequest) };
        let (next, found) = first(start, height);
        let stop_number = match &stop.r#type {
            Some(seek_position::Type::Oldest(_)) => next,
            // Asking for exactly the newest block must not grow with the chain.
            Some(seek_position::Type::Newest(_)) if start == stop => next,
            Some(seek_position::Type::Newest(_)) => height.saturating_sub(1),
            Some(seek_position::Type::Specified(specified)) if specified.number < next => {
                return Err(Status::BadRequest);
            }
            Some(seek_position::Type::Specified(specified)) => specified.number,
            // Other forms leave the original's variable at zero: the request ends only at block 0.
            Some(seek_position::Type::NextCommit(_)) | None => 0,
        };
        Ok(Self {
            next,
            stop: stop_number,
            found,
            done: false,
            fail_if_not_ready: seek.behavior() == SeekBehavior::FailIfNotReady,
            best_effort: seek.error_response() == SeekErrorResponse::BestEffort,
            headers_only: seek.content_type() == SeekContentType::HeaderWithSig,
        })
    }

    /// What comes next when the chain has `height` blocks.
    pub fn step(&self, height: u64) -> Step {
        if self.done {
            Step::End(Status::Success)
        } else if !self.found || (self.fail_if_not_ready && self.next >= height) {
            Step::End(Status::NotFound)
        } else if self.next < height {
            Step::Send(self.next)
        } else {
            Step::Wait(self.next)
        }
    }

    /// Notes that the block of the last [`Step::Send`] was sent.
    pub fn sent(&mut self) {
        self.done = self.next == self.stop;
        self.next = self.next.saturating_add(1);
    }

    /// Whether trouble of the consensus must not end the request.
    pub fn best_effort(&self) -> bool {
        self.best_effort
    }

    /// Whether only headers and metadata are wanted.
    pub fn headers_only(&self) -> bool {
        self.headers_only
    }

    /// The block as this request wants it: configuration blocks always whole, others without data when only headers are wanted.
    pub fn shape(&self, mut block: Block) -> Block {
        if self.headers_only && !protoutil::is_config_block(&block) {
            block.data = None;
        }
        block
    }
}

/// Number of the first block, and whether there can be one: a start beyond the next block is not found.
fn first(start: &SeekPosition, height: u64) -> (u64, bool) {
    match &start.r#type {
        Some(seek_position::Type::Oldest(_)) => (0, true),
        Some(seek_position::Type::Newest(_)) => (height.saturating_sub(1), true),
        Some(seek_position::Type::NextCommit(_)) => (height, true),
        Some(seek_position::Type::Specified(specified)) if specified.number <= height => (specified.number, true),
        Some(seek_position::Type::Specified(_)) | None => (0, false),
    }
}

/// When a caller's right to read must be decided again.
#[derive(Debug, Clone, Default)]
pub struct Session {
    expires: Option<i64>,
    sequence: u64,
    checked: bool,
}

/// The caller's certificate has run out; the answer is status `FORBIDDEN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deliver client identity expired {0} s before")]
pub struct Expired(pub i64);

impl Session {
    /// A session of an identity whose certificate ends at `expires` (seconds since the epoch).
    pub fn new(expires: Option<i64>) -> Self {
        Self { expires, sequence: 0, checked: false }
    }

    /// Whether the policy must be evaluated now: at first, and whenever the channel's configuration changed.
    pub fn must_check(&mut self, sequence: u64, now: i64) -> Result<bool, Expired> {
        if let Some(expires) = self.expires
            && now > expires
        {
            return Err(Expired(now - expires));
        }
        let needed = !self.checked || sequence > self.sequence;
        self.checked = true;
        self.sequence = self.sequence.max(sequence);
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use fabric_proto::orderer::{SeekNewest, SeekNextCommit, SeekOldest, SeekSpecified};

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the message has it optional")]
    fn position(r#type: seek_position::Type) -> Option<SeekPosition> {
        Some(SeekPosition { r#type: Some(r#type) })
    }

    fn at(number: u64) -> Option<SeekPosition> {
        position(seek_position::Type::Specified(SeekSpecified { number }))
    }

    fn run(seek: &SeekInfo, height: u64) -> (Vec<u64>, Step) {
        let mut cursor = Cursor::new(seek, height).unwrap();
        let mut sent = Vec::new();
        loop {
            match cursor.step(height) {
                Step::Send(number) => {
                    sent.push(number);
                    cursor.sent();
                }
                end => return (sent, end),
            }
        }
    }

    fn seek(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> SeekInfo {
        SeekInfo { start, stop, ..SeekInfo::default() }
    }

    #[test]
    fn ranges() {
        let oldest = || position(seek_position::Type::Oldest(SeekOldest {}));
        let newest = || position(seek_position::Type::Newest(SeekNewest {}));
        let next = || position(seek_position::Type::NextCommit(SeekNextCommit {}));
        let done = Step::End(Status::Success);
        assert_eq!(run(&seek(oldest(), newest()), 3), (vec![0, 1, 2], done));
        assert_eq!(run(&seek(newest(), newest()), 3), (vec![2], done));
        assert_eq!(run(&seek(at(1), oldest()), 3), (vec![1], done));
        assert_eq!(run(&seek(at(1), at(u64::MAX)), 3), (vec![1, 2], Step::Wait(3)));
        assert_eq!(run(&seek(at(3), at(5)), 3), (vec![], Step::Wait(3)));
        assert_eq!(run(&seek(at(4), at(5)), 3), (vec![], Step::End(Status::NotFound)));
        assert_eq!(run(&seek(next(), at(u64::MAX)), 3), (vec![], Step::Wait(3)));
    }

    #[test]
    fn failing_instead_of_waiting() {
        let mut request = seek(at(2), at(5));
        request.behavior = SeekBehavior::FailIfNotReady.into();
        assert_eq!(run(&request, 4), (vec![2, 3], Step::End(Status::NotFound)));
    }

    #[test]
    fn wrong_requests() {
        assert_eq!(Cursor::new(&seek(at(2), at(1)), 5).unwrap_err(), Status::BadRequest);
        assert_eq!(Cursor::new(&seek(None, at(1)), 5).unwrap_err(), Status::BadRequest);
        assert_eq!(Cursor::new(&seek(at(1), None), 5).unwrap_err(), Status::BadRequest);
    }

    #[test]
    fn newest_is_where_it_was_when_asked() {
        let newest = || position(seek_position::Type::Newest(SeekNewest {}));
        let mut cursor = Cursor::new(&seek(at(1), newest()), 3).unwrap();
        cursor.sent();
        assert_eq!(cursor.step(10), Step::Send(2));
        cursor.sent();
        assert_eq!(cursor.step(10), Step::End(Status::Success));
    }

    #[test]
    fn a_session_is_looked_at_again_after_a_new_configuration() {
        let mut session = Session::new(Some(100));
        assert_eq!(session.must_check(4, 50), Ok(true));
        assert_eq!(session.must_check(4, 60), Ok(false));
        assert_eq!(session.must_check(5, 70), Ok(true));
        assert_eq!(session.must_check(5, 101), Err(Expired(1)));
    }
}
