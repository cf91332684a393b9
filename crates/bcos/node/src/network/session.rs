//! One open connection: a task that reads and one that writes, with queues between them and the rest of the node.
//!
//! Nobody ever waits for a slow reader: what is sent goes into a queue, and a partner whose queue grows too long or whose
//! socket takes nothing for too long is dropped; it connects again and catches up by synchronisation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::handshake::Partner;

/// Bytes that may wait for a partner.
const MAX_QUEUED: usize = 128 << 20;
/// How long the socket may refuse to take more.
const STALL: Duration = Duration::from_secs(20);
/// After this much silence a ping is sent.
const PING: Duration = Duration::from_secs(5);
/// After this much silence the partner counts as gone.
const SILENCE: Duration = Duration::from_secs(20);
/// Frames are gathered to about this many bytes before the socket is asked to take them.
const GATHER: usize = 256 * 1024;

/// A session as the rest of the node holds it.
#[derive(Debug)]
pub(crate) struct Session {
    pub partner: Partner,
    pub endpoint: SocketAddr,
    /// Whether this node opened the connection.
    pub dialled: bool,
    /// Tells this connection from an earlier or later one with the same node.
    pub serial: u64,
    urgent: mpsc::UnboundedSender<Bytes>,
    bulk: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    pub closed: CancellationToken,
}

/// What the two tasks of a session need.
#[derive(Debug)]
pub(crate) struct Ends {
    urgent: mpsc::UnboundedReceiver<Bytes>,
    bulk: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
    closed: CancellationToken,
}

impl Session {
    pub(crate) fn new(partner: Partner, endpoint: SocketAddr, dialled: bool, serial: u64) -> (Arc<Self>, Ends) {
        let (urgent, urgent_end) = mpsc::unbounded_channel();
        let (bulk, bulk_end) = mpsc::unbounded_channel();
        let queued = Arc::<AtomicUsize>::default();
        let closed = CancellationToken::new();
        let ends = Ends { urgent: urgent_end, bulk: bulk_end, queued: Arc::clone(&queued), closed: closed.clone() };
        (Arc::new(Self { partner, endpoint, dialled, serial, urgent, bulk, queued, closed }), ends)
    }

    /// Queues a frame; false when the session is over, or ends now because its queue is full.
    pub(crate) fn send(&self, frame: Bytes, urgent: bool) -> bool {
        let size = frame.len();
        if self.queued.fetch_add(size, Ordering::Relaxed) + size > MAX_QUEUED {
            if !self.closed.is_cancelled() {
                tracing::warn!(node = %self.partner.node, "p2p: the node reads too slowly, {MAX_QUEUED} bytes wait for it; the connection is closed");
            }
            self.closed.cancel();
            return false;
        }
        let queue = if urgent { &self.urgent } else { &self.bulk };
        queue.send(frame).is_ok()
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("{0}")]
    Broken(#[from] std::io::Error),
    #[error("a frame of {0} bytes is longer than p2p.allow_max_msg_size allows")]
    TooLong(usize),
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error("it took no data for {} s", STALL.as_secs())]
    Stalled,
    #[error("closed by this node")]
    Closed,
}

/// Runs a session until it ends. `receive` must not block; it may be called with any bytes the partner likes.
pub(crate) async fn run<S>(stream: S, ends: Ends, max_frame: usize, mut receive: impl FnMut(Bytes) + Send) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (input, output) = tokio::io::split(stream);
    let Ends { urgent, bulk, queued, closed } = ends;
    let token = closed.clone();
    let writer = async move { write(output, urgent, bulk, queued).await };
    let reader = async move {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        loop {
            match tokio::time::timeout(SILENCE, read(&mut input, max_frame)).await {
                Err(_) => return Ended::Silent,
                Ok(Err(ended)) => return ended,
                // An empty frame is a ping.
                Ok(Ok(frame)) if frame.is_empty() => {}
                Ok(Ok(frame)) => receive(frame),
            }
        }
    };
    let ended = tokio::select! {
        () = token.cancelled() => Ended::Closed,
        ended = writer => ended,
        ended = reader => ended,
    };
    closed.cancel();
    ended
}

async fn read(input: &mut (impl AsyncRead + Unpin), max_frame: usize) -> Result<Bytes, Ended> {
    let length = input.read_u32().await? as usize;
    if length > max_frame {
        return Err(Ended::TooLong(length));
    }
    // Memory follows what really arrives, not what the length claims.
    let mut frame = BytesMut::with_capacity(length.min(1 << 20));
    while frame.len() < length {
        let missing = length - frame.len();
        if frame.capacity() == frame.len() {
            frame.reserve(missing.min(1 << 20));
        }
        let count = (&mut *input).take(missing as u64).read_buf(&mut frame).await?;
        if count == 0 {
            return Err(Ended::Broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(frame.freeze())
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut urgent: mpsc::UnboundedReceiver<Bytes>,
    mut bulk: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
) -> Ended {
    let mut gathered = BytesMut::with_capacity(GATHER);
    loop {
        let first = tokio::select! {
            biased;
            frame = urgent.recv() => frame,
            frame = bulk.recv() => frame,
            () = tokio::time::sleep(PING) => Some(Bytes::new()),
        };
        let Some(first) = first else { return Ended::Closed };
        let mut next = Some(first);
        while let Some(frame) = next {
            gathered.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            gathered.extend_from_slice(&frame);
            queued.fetch_sub(frame.len(), Ordering::Relaxed);
            next = if gathered.len() < GATHER { urgent.try_recv().or_else(|_| bulk.try_recv()).ok() } else { None };
        }
        let sent = tokio::time::timeout(STALL, async {
            output.write_all(&gathered).await?;
            output.flush().await
        });
        match sent.await {
            Err(_) => return Ended::Stalled,
            Ok(Err(error)) => return Ended::Broken(error),
            Ok(Ok(())) => {}
        }
        gathered.clear();
        if gathered.capacity() > 8 * GATHER {
            gathered = BytesMut::with_capacity(GATHER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcos_consensus::NodeId;

    fn partner() -> Partner {
        Partner { node: NodeId(Bytes::from_static(&[1; 64])), p2p_id: String::new(), groups: Vec::new() }
    }

    #[tokio::test]
    async fn frames_arrive_and_long_ones_end_the_session() {
        let (left, right) = tokio::io::duplex(1 << 16);
        let (session, ends) = Session::new(partner(), ([127, 0, 0, 1], 1).into(), true, 0);
        let (_other, other_ends) = Session::new(partner(), ([127, 0, 0, 1], 2).into(), false, 0);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let left = tokio::spawn(run(left, ends, 1000, |_| {}));
        let right = tokio::spawn(run(right, other_ends, 1000, move |frame| {
            let _ = sender.send(frame);
        }));
        assert!(session.send(Bytes::from_static(b"bulk"), false));
        assert_eq!(receiver.recv().await.unwrap(), Bytes::from_static(b"bulk"));
        session.send(vec![0; 1001].into(), true);
        assert!(matches!(right.await.unwrap(), Ended::TooLong(1001)));
        left.await.unwrap();
        assert!(session.closed.is_cancelled());
    }

    #[tokio::test]
    async fn a_partner_that_does_not_read_is_dropped_and_nobody_waits() {
        let (left, _right) = tokio::io::duplex(16);
        let (session, ends) = Session::new(partner(), ([127, 0, 0, 1], 1).into(), true, 0);
        let task = tokio::spawn(run(left, ends, 1000, |_| {}));
        let block = Bytes::from(vec![0; 16 << 20]);
        let mut accepted = 0;
        while session.send(block.clone(), false) {
            accepted += 1;
            tokio::task::yield_now().await;
        }
        assert!((8..=10).contains(&accepted), "{accepted}");
        assert!(matches!(task.await.unwrap(), Ended::Closed));
    }
}
