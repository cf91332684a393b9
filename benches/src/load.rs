//! Load: closed loop (each client sends the next call when the last is answered) or open loop (calls at a given rate).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fabric_client::GatewayClient;
use tokio::sync::{Mutex, Semaphore};

/// How calls are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// This many calls in flight.
    Closed(usize),
    /// This many calls per second, however long the answers take (at most 20,000 in flight).
    Open(f64),
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Calls that ended well.
    pub(crate) succeeded: usize,
    /// The first few errors.
    pub(crate) errors: Vec<String>,
    /// Number of failed calls.
    pub(crate) failed: usize,
    /// From the first call to the last answer.
    pub(crate) took: Duration,
    /// Milliseconds per call, ascending.
    latencies: Vec<f64>,
}

impl Outcome {
    /// Calls that ended well after so many milliseconds, and the texts of those that did not.
    pub(crate) fn of(mut latencies: Vec<f64>, mut errors: Vec<String>, took: Duration) -> Self {
        latencies.sort_by(f64::total_cmp);
        let failed = errors.len();
        errors.truncate(3);
        Self { succeeded: latencies.len(), errors, failed, took, latencies }
    }

    /// Takes in another run that came after this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.took += other.took;
        self.errors.extend(other.errors);
        self.errors.truncate(3);
        self.latencies.extend(other.latencies);
        self.latencies.sort_by(f64::total_cmp);
    }

    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.succeeded as f64 / self.took.as_secs_f64()
    }

    /// A latency percentile in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * percent / 100.0).round() as usize).copied().unwrap_or(0.0)
    }
}

/// Sends `count` calls, spread over the clients, and waits for all answers.
pub(crate) async fn run<F>(
    clients: &[GatewayClient],
    count: usize,
    pace: Pace,
    call: impl Fn(GatewayClient, usize) -> F + Send + Sync + 'static,
) -> Outcome
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let call = Arc::new(call);
    let latencies = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let errors = Arc::new(Mutex::new(Vec::new()));
    let failed = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let once = {
        let (latencies, errors, failed) = (latencies.clone(), errors.clone(), failed.clone());
        move |client: GatewayClient, index: usize| {
            let (call, latencies, errors, failed) = (call.clone(), latencies.clone(), errors.clone(), failed.clone());
            async move {
                let begun = Instant::now();
                match call(client, index).await {
                    Ok(()) => latencies.lock().await.push(begun.elapsed().as_secs_f64() * 1000.0),
                    Err(error) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let mut errors = errors.lock().await;
                        if errors.len() < 3 {
                            errors.push(format!("{error:#}"));
                        }
                    }
                }
            }
        }
    };
    let mut tasks = Vec::new();
    match pace {
        Pace::Closed(in_flight) => {
            let next = Arc::new(AtomicUsize::new(0));
            for worker in 0..in_flight.max(1) {
                let (once, next, client) = (once.clone(), next.clone(), clients[worker % clients.len()].clone());
                tasks.push(tokio::spawn(async move {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return;
                        }
                        once(client.clone(), index).await;
                    }
                }));
            }
        }
        Pace::Open(rate) => {
            let bound = Arc::new(Semaphore::new(20_000));
            for index in 0..count {
                tokio::time::sleep_until((started + Duration::from_secs_f64(index as f64 / rate)).into()).await;
                let permit = bound.clone().acquire_owned().await;
                let (once, client) = (once.clone(), clients[index % clients.len()].clone());
                tasks.push(tokio::spawn(async move {
                    once(client, index).await;
                    drop(permit);
                }));
            }
        }
    }
    for task in tasks {
        // A panicked call counts as failed through the totals below.
        let _ended = task.await;
    }
    let took = started.elapsed();
    let mut latencies = std::mem::take(&mut *latencies.lock().await);
    latencies.sort_by(f64::total_cmp);
    let errors = std::mem::take(&mut *errors.lock().await);
    Outcome { succeeded: latencies.len(), errors, failed: count - latencies.len(), took, latencies }
}
