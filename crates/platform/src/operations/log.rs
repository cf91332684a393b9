//! What steps say while they run.

use std::time::Duration;

use konsort_engines::act::StepPlan;
use serde_json::json;
use tokio::sync::mpsc;

use super::runner::Outcome;
use super::state::Operation;
use super::store;
use crate::control::Control;
use crate::db::DbError;
use crate::events::Topic;
use crate::problem::Problem;

/// Most lines that wait to be stored.
const WAITING: usize = 2000;
/// Most lines that are told at once; the log itself has the others.
const TOLD: usize = 100;

/// The log of a running operation.
pub(super) struct Log {
    next: i64,
}

impl Log {
    pub(super) async fn open(control: &Control, operation: &str) -> Self {
        Self { next: store::log_end(control.db(), operation).await.unwrap_or(0) }
    }

    /// Runs a step and keeps what it says, a few times per second.
    pub(super) async fn keep<F: Future<Output = Result<Outcome, Problem>>>(
        &mut self,
        control: &Control,
        operation: &Operation,
        step: &StepPlan,
        run: impl FnOnce(mpsc::Sender<String>) -> F,
    ) -> Result<Outcome, Problem> {
        // What is said faster than it can be stored is lost.
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let mut run = std::pin::pin!(run(sender));
        let mut lines = Vec::new();
        let mut flush = tokio::time::interval(Duration::from_millis(300));
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome,
                Some(line) = receiver.recv() => self.push(&mut lines, step, line),
                _ = flush.tick(), if !lines.is_empty() => self.write(control, operation, step, std::mem::take(&mut lines)).await,
            }
        };
        while let Ok(line) = receiver.try_recv() {
            self.push(&mut lines, step, line);
        }
        if !lines.is_empty() {
            self.write(control, operation, step, lines).await;
        }
        outcome
    }

    /// Takes a line, as it is stored, while the log has room and not too many wait.
    fn push(&self, lines: &mut Vec<(String, String)>, step: &StepPlan, line: String) {
        if lines.len() < WAITING && self.next + (lines.len() as i64) < store::LONGEST_LOG {
            lines.push((step.name.clone(), store::cut(&line)));
        }
    }

    /// A log is help, not a record: when the database is gone its lines are dropped rather than held back.
    async fn write(&mut self, control: &Control, operation: &Operation, step: &StepPlan, lines: Vec<(String, String)>) {
        let result = async {
            let mut telling = control.outbox.begin().await?;
            let next = store::log(telling.connection(), &operation.id, self.next, &lines).await?;
            let shown: Vec<&str> = lines.iter().take(TOLD).map(|(_, line)| line.as_str()).collect();
            let doc = json!({ "operation_id": operation.id, "step": step.name, "lines": shown });
            telling.tell(Topic::Operation, operation.network.as_deref(), None, doc).await?;
            telling.commit().await?;
            Ok::<i64, DbError>(next)
        };
        match result.await {
            Ok(next) => self.next = next,
            Err(error) => tracing::warn!(operation = %operation.id, %error, "lines of a log are lost"),
        }
    }
}
