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
        // The time of the newest line handed on; the engine can only be asked by the second.
        let mut newest = String::new();
        let mut failures = 0;
        while failures < MOST_FAILURES {
            let since = time_ms(&newest).map_or(0, |time| i32::try_from(time / 1000).unwrap_or(0));
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
                    let Some(line) = untimed(&line, &mut newest) else { continue };
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
            for line in pieces.iter_mut().filter_map(Splitter::rest) {
                if let Some(line) = untimed(&line, &mut newest)
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

/// The line without its time, unless it is not newer than what was handed on.
fn untimed(line: &str, newest: &mut String) -> Option<String> {
    let Some((time, text)) = line.split_once(' ').filter(|(time, _)| time_ms(time).is_some()) else {
        return Some(line.to_owned());
    };
    if time <= newest.as_str() {
        return None;
    }
    time.clone_into(newest);
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_seen_before_are_left_out() {
        let mut newest = String::new();
        let first = "2026-11-23T02:10:46.000000001Z one";
        assert_eq!(untimed(first, &mut newest).unwrap(), "one");
        assert_eq!(untimed(first, &mut newest), None);
        assert_eq!(untimed("2026-11-23T02:10:46.000000002Z two words", &mut newest).unwrap(), "two words");
        assert_eq!(untimed("no time", &mut newest).unwrap(), "no time");
        assert_eq!(untimed("2026-11-23T02:10:47.000000002Z ", &mut newest).unwrap(), "");
    }
}
