//! Metrics under upstream's names.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fabric_proto::protos::{ChaincodeMessage, chaincode_message::Type};
use konsort_node::{
    Metrics,
    metrics::{Counter, CounterFamily, Histogram, HistogramFamily},
};

/// Those of a runtime.
pub(crate) struct ChaincodeMetrics {
    launch_duration: HistogramFamily,
    launch_failures: CounterFamily,
    launch_timeouts: CounterFamily,
    execute_timeouts: CounterFamily,
    received: CounterFamily,
    completed: CounterFamily,
    duration: HistogramFamily,
}

impl ChaincodeMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Arc<Self> {
        let requests = ["type", "channel", "chaincode"];
        let results = ["type", "channel", "chaincode", "success"];
        Arc::new(Self {
            launch_duration: metrics.histogram(
                "chaincode_launch_duration",
                "The time to launch a chaincode.",
                &["chaincode", "success"],
            ),
            launch_failures: metrics.counter(
                "chaincode_launch_failures",
                "The number of chaincode launches that have failed.",
                &["chaincode"],
            ),
            launch_timeouts: metrics.counter(
                "chaincode_launch_timeouts",
                "The number of chaincode launches that have timed out.",
                &["chaincode"],
            ),
            execute_timeouts: metrics.counter(
                "chaincode_execute_timeouts",
                "The number of chaincode executions (Init or Invoke) that have timed out.",
                &["chaincode"],
            ),
            received: metrics.counter(
                "chaincode_shim_requests_received",
                "The number of chaincode shim requests received.",
                &requests,
            ),
            completed: metrics.counter(
                "chaincode_shim_requests_completed",
                "The number of chaincode shim requests completed.",
                &results,
            ),
            duration: metrics.histogram(
                "chaincode_shim_request_duration",
                "The time to complete chaincode shim requests.",
                &results,
            ),
        })
    }

    pub(crate) fn launched(&self, chaincode: &str, took: Duration, failed: bool, timed_out: bool) {
        self.launch_duration.with(&[chaincode, if failed { "false" } else { "true" }]).observe_duration(took);
        if timed_out {
            self.launch_timeouts.with(&[chaincode]).inc();
        } else if failed {
            self.launch_failures.with(&[chaincode]).inc();
        }
    }

    pub(crate) fn execution_timed_out(&self, chaincode: &str) {
        self.execute_timeouts.with(&[chaincode]).inc();
    }
}

/// The lines of one request type on one channel.
struct Lines {
    received: Counter,
    /// Failed, then successful.
    completed: [Counter; 2],
    duration: [Histogram; 2],
}

/// The lines that one stream has used, so that counting needs no search in the registry.
#[derive(Default)]
pub(crate) struct StreamMetrics {
    lines: HashMap<String, Vec<Option<Arc<Lines>>>>,
}

/// A request that is being answered.
pub(crate) struct Started {
    lines: Arc<Lines>,
    at: Instant,
}

impl StreamMetrics {
    pub(crate) fn start(&mut self, metrics: &ChaincodeMetrics, kind: Type, channel: &str, chaincode: &str) -> Started {
        if !self.lines.contains_key(channel) {
            self.lines.insert(channel.to_owned(), Vec::new());
        }
        let index = i32::from(kind) as usize;
        let lines = match self.lines.get_mut(channel) {
            Some(of_channel) => {
                if of_channel.len() <= index {
                    of_channel.resize_with(index + 1, || None);
                }
                of_channel[index].get_or_insert_with(|| Arc::new(Lines::new(metrics, kind, channel, chaincode)))
            }
            None => &mut Arc::new(Lines::new(metrics, kind, channel, chaincode)),
        };
        lines.received.inc();
        Started { lines: Arc::clone(lines), at: Instant::now() }
    }
}

impl Lines {
    fn new(metrics: &ChaincodeMetrics, kind: Type, channel: &str, chaincode: &str) -> Self {
        let kind = kind.as_str_name();
        let completed = |success: &str| metrics.completed.with(&[kind, channel, chaincode, success]);
        let duration = |success: &str| metrics.duration.with(&[kind, channel, chaincode, success]);
        Self {
            received: metrics.received.with(&[kind, channel, chaincode]),
            completed: [completed("false"), completed("true")],
            duration: [duration("false"), duration("true")],
        }
    }
}

impl Started {
    pub(crate) fn answered(&self, answer: &ChaincodeMessage) {
        let success = usize::from(answer.r#type != i32::from(Type::Error));
        self.lines.completed[success].inc();
        self.lines.duration[success].observe_since(self.at);
    }
}
