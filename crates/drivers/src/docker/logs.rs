//! A container's log as lines, followed from one run of the container to the next.

use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::container::time_ms;
use crate::log::Splitter;

/// Pause before a log that ended is looked at again.
const PAUSE: Duration = Duration::from_millis(500);
/// Failures in a row after which a follower is let go.
const MOST_FAILURES: u32 = 240;

fn options(tail: &str, follow: bool, since: i32) -> LogsOptions {
    LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).follow(follow).since(since).tail(tail).build()
}

/// The last lines, then, when asked for, further ones. The stream ends when the container is gone or the engine for two minutes.
pub(super) fn lines(docker: Docker, container: String, tail: usize, follow: bool) -> BoxStream<'static, String> {
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        let mut tail = tail.min(1_000_000).to_string();
        let mut seen = Seen::default();
        let mut failures = 0;
        while failures < MOST_FAILURES {
            // The engine can only be asked by the second, so some lines come twice.
            seen.begin();
            let since = time_ms(&seen.newest).map_or(0, |time| i32::try_from(time / 1000).unwrap_or(0));
            let mut output = Box::pin(docker.logs(&container, Some(options(&tail, follow, since))));
            let mut pieces = [Splitter::default(), Splitter::default()];
            let mut failed = false;
            loop {
                let item = tokio::select! {
                    item = output.next() => item,
                    () = sender.closed() => return,
                };
                let item = match item {
                    Some(Ok(item)) => item,
                    Some(Err(_)) => {
                        failed = true;
                        break;
                    }
                    None => break,
                };
                let stream = usize::from(matches!(item, bollard::container::LogOutput::StdErr { .. }));
                for line in pieces[stream].take(item.as_ref()) {
                    let Some(line) = seen.untimed(&line) else { continue };
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
            for line in pieces.iter_mut().filter_map(Splitter::rest) {
                if let Some(line) = seen.untimed(&line)
                    && sender.send(line).await.is_err()
                {
                    return;
                }
            }
            if !follow {
                return;
            }
            failures = if failed { failures + 1 } else { 0 };
            "all".clone_into(&mut tail);
            // The container ended; its next run goes on in the same log.
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = sender.closed() => return,
            }
            let absent = docker.inspect_container(&container, None).await;
            if absent.is_err_and(|error| super::engine::is_absent(&error)) {
                return;
            }
        }
    });
    ReceiverStream::new(receiver).boxed()
}

/// Which lines were handed on.
#[derive(Debug, Default)]
struct Seen {
    /// The time of the newest of them.
    newest: String,
    /// How many have this time; podman tells the time in whole seconds.
    with_newest: u32,
    /// Until where lines of the present answer are known: their time, and how many of them have it.
    known: (String, u32),
}

impl Seen {
    /// From here on, lines that were handed on before may come again.
    fn begin(&mut self) {
        self.known = (self.newest.clone(), self.with_newest);
    }

    /// The line without its time, unless it was handed on before.
    fn untimed(&mut self, line: &str) -> Option<String> {
        let Some((time, text)) = line.split_once(' ').filter(|(time, _)| time_ms(time).is_some()) else {
            return Some(line.to_owned());
        };
        if time < self.known.0.as_str() {
            return None;
        }
        if time == self.known.0 && self.known.1 > 0 {
            self.known.1 -= 1;
            return None;
        }
        if time == self.newest {
            self.with_newest += 1;
        } else if time > self.newest.as_str() {
            time.clone_into(&mut self.newest);
            self.with_newest = 1;
        }
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_seen_before_are_left_out() {
        let mut seen = Seen::default();
        seen.begin();
        let first = ["2026-11-23T02:10:46Z one", "2026-11-23T02:10:47Z two", "2026-11-23T02:10:47Z two"];
        for line in first {
            assert!(seen.untimed(line).is_some(), "{line}");
        }
        // The same again, then more of the same second and later.
        seen.begin();
        for line in first {
            assert_eq!(seen.untimed(line), None, "{line}");
        }
        assert_eq!(seen.untimed("2026-11-23T02:10:47Z two").unwrap(), "two");
        assert_eq!(seen.untimed("2026-11-23T02:10:48.000000002Z two words").unwrap(), "two words");
        assert_eq!(seen.untimed("2026-11-23T02:10:48.000000002Z ").unwrap(), "");
        assert_eq!(seen.untimed("no time").unwrap(), "no time");
        // Two streams are not in the order of their times.
        assert_eq!(seen.untimed("2026-11-23T02:10:48.000000001Z late").unwrap(), "late");
    }
}
