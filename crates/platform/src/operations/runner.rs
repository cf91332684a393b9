//! Runs operations: one at a time per network, each step recorded before and after.
//!
//! A step and the specification it leaves behind are stored in one database transaction. Whatever is running in the database when
//! the server starts was cut off, and its step is run again; engines look first at what has been done.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use konsort_engines::{Act, EngineError, act::StepPlan};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::log::Log;
use super::state::{Operation, OperationState, StepError, Work};
use super::{finish, store};
use crate::access::Caller;
use crate::control::{Control, Network, may_act, must_own};
use crate::db::{DbError, Kind, Repository};
use crate::events::{Telling, Topic};
use crate::ids;
use crate::networks::model::NetworkDoc;
use crate::problem::{Problem, kinds};
use crate::projects::artifacts::missing_package;
use crate::projects::build::{package_for, package_step};
use crate::time;

/// The longest that one step may take.
const LONGEST_STEP: Duration = Duration::from_mins(30);
/// Pause before the database is tried again.
const DATABASE_PAUSE: Duration = Duration::from_millis(500);

/// Which operations are being run.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    wake: Notify,
    lanes: Mutex<HashMap<String, Lane>>,
    /// Held while operations are picked or changed from outside, so that none is picked while it is cancelled.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Lane {
    operation: String,
    cancel: CancellationToken,
    ended: CancellationToken,
}

/// Why running a step ended without a result.
enum Stopped {
    /// Somebody cancelled the operation.
    Cancelled,
    /// The server ends; the step is run again at the next start.
    ServerEnds,
    /// Its record is gone.
    Gone,
}

/// One after the other: operations of the same network, builds of the same project.
fn lane_of(operation: &Operation) -> String {
    match (&operation.work, &operation.network) {
        (Work::Build { project, .. }, _) => project.clone(),
        (Work::Network { .. }, Some(network)) => network.clone(),
        (Work::Network { .. }, None) => operation.id.clone(),
    }
}

impl Runner {
    /// Something may be there to run.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether an operation of this lane is being run.
    pub(crate) fn busy(&self, lane: &str) -> bool {
        self.lanes.lock().contains_key(lane)
    }
}

/// Picks and runs operations until the server ends.
pub(crate) async fn run(control: Arc<Control>) {
    loop {
        if let Err(error) = pick(&control).await {
            tracing::warn!(%error, "operations cannot be read, trying again");
            tokio::select! {
                () = control.stop.cancelled() => return,
                () = tokio::time::sleep(DATABASE_PAUSE) => continue,
            }
        }
        tokio::select! {
            () = control.stop.cancelled() => return,
            () = control.runner.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => {}
        }
    }
}

async fn pick(control: &Arc<Control>) -> Result<(), DbError> {
    let _gate = control.runner.gate.lock().await;
    for operation in store::unfinished(control.db()).await? {
        let key = lane_of(&operation);
        let lane =
            Lane { operation: operation.id.clone(), cancel: CancellationToken::new(), ended: CancellationToken::new() };
        {
            let mut lanes = control.runner.lanes.lock();
            if lanes.contains_key(&key) {
                continue;
            }
            lanes.insert(key.clone(), lane.clone());
        }
        let control = Arc::clone(control);
        control.clone().tasks.spawn(async move {
            let id = operation.id.clone();
            if AssertUnwindSafe(work(&control, operation, &lane)).catch_unwind().await.is_err() {
                let error = StepError {
                    code: kinds::INTERNAL.code.to_owned(),
                    cause: "the step ended by a fault of the program; the server's log says where".to_owned(),
                    remedy: kinds::INTERNAL.hint[0].to_owned(),
                    remedy_zh: kinds::INTERNAL.hint[1].to_owned(),
                };
                if let Ok(mut operation) = store::get(control.db(), &id).await {
                    operation.fail(error, &time::rfc3339(time::now()));
                    let _ = persist(&control, &operation, None).await;
                }
            }
            control.runner.lanes.lock().remove(&key);
            lane.ended.cancel();
            control.runner.wake();
            control.changed.notify_one();
        });
    }
    Ok(())
}

/// Stores an operation with what follows from it, and where the network is after its step; waits for the database as long as it
/// takes.
async fn persist(
    control: &Arc<Control>,
    operation: &Operation,
    spec: Option<&konsort_engines::NetworkSpec>,
) -> Result<(), Stopped> {
    loop {
        let result = async {
            let mut telling = control.outbox.begin().await?;
            store::update(telling.connection(), operation).await?;
            if let Some(network) = &operation.network {
                finish::apply(&mut telling, operation, network, spec).await?;
            }
            tell(&mut telling, operation).await?;
            telling.commit().await
        }
        .await;
        match result {
            Ok(()) => return Ok(()),
            Err(DbError::NotFound { .. }) => return Err(Stopped::Gone),
            Err(error) => {
                tracing::warn!(operation = %operation.id, %error, "an operation cannot be stored, trying again");
            }
        }
        tokio::select! {
            () = control.stop.cancelled() => return Err(Stopped::ServerEnds),
            () = tokio::time::sleep(DATABASE_PAUSE) => {}
        }
    }
}

/// Tells readers where an operation is.
pub(crate) async fn tell(telling: &mut Telling, operation: &Operation) -> Result<(), DbError> {
    let doc = json!({ "operation": super::handlers::OperationView::of(operation) });
    telling.tell(Topic::Operation, operation.network.as_deref(), None, doc).await
}

async fn work(control: &Arc<Control>, operation: Operation, lane: &Lane) {
    let id = operation.id.clone();
    if let Err(Stopped::Gone) = advance(control, operation, lane).await {
        tracing::info!(operation = %id, "an operation is gone, it is not run any more");
    }
}

async fn advance(control: &Arc<Control>, mut operation: Operation, lane: &Lane) -> Result<(), Stopped> {
    let now = || time::rfc3339(time::now());
    if operation.untouched() {
        match plan(control, &operation).await {
            Ok(steps) => operation.plan(steps),
            Err(problem) if problem.kind().code == kinds::DATABASE_UNAVAILABLE.code => {
                // Its turn comes again; nothing has begun.
                tokio::time::sleep(DATABASE_PAUSE).await;
                return Ok(());
            }
            Err(problem) => {
                operation.fail(step_error(&problem), &now());
                return persist(control, &operation, None).await;
            }
        }
    }
    let mut log = Log::open(control, &operation.id).await;
    loop {
        let Some(index) = operation.begin(&now()) else {
            return persist(control, &operation, None).await;
        };
        persist(control, &operation, None).await?;
        let step = operation.steps[index].plan();
        let outcome = tokio::select! {
            outcome = log.keep(control, &operation, &step, |lines| run_step(control, &operation, &step, lines)) => outcome,
            () = lane.cancel.cancelled() => return Err(Stopped::Cancelled),
            () = control.stop.cancelled() => return Err(Stopped::ServerEnds),
        };
        match outcome {
            Ok((spec, result)) => {
                operation.succeed(result, &now());
                persist(control, &operation, spec.as_ref()).await?;
                control.changed.notify_one();
            }
            // The database went away while the step read its network: no fault of the step, which is run again.
            Err(problem) if problem.kind().code == kinds::DATABASE_UNAVAILABLE.code => {
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
            Err(problem) => {
                tracing::warn!(operation = %operation.id, step = %step.name, %problem, "a step failed");
                operation.fail(step_error(&problem), &now());
            }
        }
        if operation.state == OperationState::Failed {
            return persist(control, &operation, None).await;
        }
        if operation.ended() {
            settle(control, &operation).await;
            return Ok(());
        }
    }
}

/// What is left to do once an operation has ended well; the next start of the server would do it too.
async fn settle(control: &Arc<Control>, operation: &Operation) {
    let Some(network) = &operation.network else { return };
    control.contracts.forget(network);
    if operation.act() == Some(&Act::Delete) {
        control.forget_external(network);
    }
    // Nodes that were started before a crash of the server have been going on without anybody who starts them again.
    let starts = matches!(
        operation.act(),
        Some(Act::Create | Act::Start | Act::AddNode { .. } | Act::AddOrganisation { .. } | Act::Node { .. })
    );
    if let (true, Ok(network)) = (starts, control.network(network).await) {
        crate::supervise::adopt_network(&network).await;
    }
}

/// The steps of an act. Chaincode that is not packaged yet is packaged first.
pub(crate) fn steps_of(network: &Network, act: &Act) -> Result<Vec<StepPlan>, Problem> {
    let mut steps = network.engine.steps(network.spec(), act)?;
    if let Act::Deploy(deployment) = act
        && missing_package(deployment).is_some()
    {
        steps.insert(0, package_step());
    }
    Ok(steps)
}

/// The steps of an operation.
async fn plan(control: &Arc<Control>, operation: &Operation) -> Result<Vec<StepPlan>, Problem> {
    match (&operation.work, &operation.network) {
        (Work::Network { act }, Some(network)) => {
            let network = control.network(network).await?;
            steps_of(&network, act)
        }
        (Work::Network { .. }, None) => Err(Problem::not_found("network", "")),
        (Work::Build { .. }, _) => Ok(crate::projects::build::steps()),
    }
}

pub(super) type Outcome = (Option<konsort_engines::NetworkSpec>, Map<String, Value>);

/// Runs one step; what it says goes to `lines`.
async fn run_step(
    control: &Arc<Control>,
    operation: &Operation,
    step: &StepPlan,
    lines: mpsc::Sender<String>,
) -> Result<Outcome, Problem> {
    let progress = move |line: String| {
        let _lost_when_full = lines.try_send(line);
    };
    let run = async {
        match (&operation.work, &operation.network) {
            (Work::Network { act }, Some(id)) => {
                if let (Act::Deploy(deployment), true) = (act, *step == package_step()) {
                    return Ok((None, package_for(control, deployment, &progress).await?));
                }
                let network = control.network(id).await?;
                let outcome = network.engine.run(network.place(), act, step, &progress).await?;
                if operation.steps.last().is_some_and(|last| last.name == step.name) {
                    finish::before_end(control, operation).await?;
                }
                Ok((outcome.spec, outcome.result))
            }
            (Work::Network { .. }, None) => Err(Problem::not_found("network", "")),
            (Work::Build { project, version }, _) => {
                let result = crate::projects::build::run(control, project, *version, &progress).await?;
                Ok((None, result))
            }
        }
    };
    match tokio::time::timeout(LONGEST_STEP, run).await {
        Ok(outcome) => outcome,
        Err(_) => Err(EngineError::Unreachable {
            node: step.name.clone(),
            why: format!("the step did not end within {} minutes", LONGEST_STEP.as_secs() / 60),
        }
        .into()),
    }
}

/// A problem as a step shows it.
pub(crate) fn step_error(problem: &Problem) -> StepError {
    let kind = problem.kind();
    StepError {
        code: kind.code.to_owned(),
        cause: problem.to_string(),
        remedy: kind.hint[0].to_owned(),
        remedy_zh: kind.hint[1].to_owned(),
    }
}

impl Control {
    /// Stores a new operation as part of a transaction; [`Runner::wake`] once that is committed.
    pub(crate) async fn enqueue(
        telling: &mut Telling,
        operation: &Operation,
        organisation: Option<&str>,
    ) -> Result<(), DbError> {
        store::insert(telling.connection(), operation, organisation).await?;
        tell(telling, operation).await
    }

    /// Whether a caller may run an operation again or give it up: who could ask for it. A contract's deployment and a build are
    /// their maker's organisation's.
    async fn may_change(&self, operation: &Operation, by: &Caller) -> Result<(), Problem> {
        match (operation.act(), &operation.network) {
            (Some(act), Some(network)) if !matches!(act, Act::Deploy(_)) => {
                // A network that has been removed since cannot be worked on.
                may_act(&self.network(network).await?, by, act)
            }
            _ => must_own(by, store::organisation(self.db(), &operation.id).await?.as_deref()),
        }
    }

    /// Runs a failed operation again from the step that failed.
    pub(crate) async fn retry_operation(&self, id: &str, by: &Caller) -> Result<Operation, Problem> {
        let _gate = self.runner.gate.lock().await;
        let mut operation = store::get(self.db(), id).await?;
        operation.retry(&time::rfc3339(time::now())).map_err(refused)?;
        self.may_change(&operation, by).await?;
        let mut telling = self.outbox.begin().await?;
        if let Some(Act::Deploy(deployment)) = operation.act() {
            crate::contracts::record::must_be_next(telling.connection(), &operation.id, deployment).await?;
        }
        store::update(telling.connection(), &operation).await?;
        if let Some(network) = &operation.network {
            finish::apply(&mut telling, &operation, network, None).await?;
        }
        tell(&mut telling, &operation).await?;
        telling.commit().await?;
        self.runner.wake();
        Ok(operation)
    }

    /// Gives an operation up. A network that was being created is removed again, by an operation of its own, which is the second
    /// of the answer.
    pub(crate) async fn cancel_operation(
        &self,
        id: &str,
        by: &Caller,
    ) -> Result<(Operation, Option<Operation>), Problem> {
        let _gate = self.runner.gate.lock().await;
        let now = time::rfc3339(time::now());
        let mut operation = store::get(self.db(), id).await?;
        // Whether it can be given up is asked of a copy: it may end by itself until its step has been stopped.
        operation.clone().cancel(&now).map_err(refused)?;
        self.may_change(&operation, by).await?;
        let running = self.runner.lanes.lock().values().find(|lane| lane.operation == id).cloned();
        if let Some(lane) = running {
            lane.cancel.cancel();
            lane.ended.cancelled().await;
            operation = store::get(self.db(), id).await?;
        }
        let undo = operation.cancel(&now).map_err(refused)?;
        let mut telling = self.outbox.begin().await?;
        store::update(telling.connection(), &operation).await?;
        let mut removal = None;
        if let Some(network) = &operation.network {
            finish::apply(&mut telling, &operation, network, None).await?;
            if undo {
                let work = Work::Network { act: Act::Delete };
                let next = Operation::new(
                    ids::new("op"),
                    Some(network.clone()),
                    operation.subject.clone(),
                    work,
                    by.id.clone(),
                    &now,
                );
                Self::enqueue(&mut telling, &next, by.organisation.as_deref()).await?;
                removal = Some(next);
            }
        }
        tell(&mut telling, &operation).await?;
        telling.commit().await?;
        self.runner.wake();
        Ok((operation, removal))
    }

    /// Asks for an act on a network: an operation that waits for its turn.
    pub(crate) async fn submit_act(
        &self,
        network: &Network,
        act: Act,
        subject: &str,
        by: &Caller,
    ) -> Result<Operation, Problem> {
        let mut telling = self.outbox.begin().await?;
        let operation = Self::submit_act_in(&mut telling, network, act, subject, by).await?;
        telling.commit().await?;
        self.runner.wake();
        Ok(operation)
    }

    /// [`Control::submit_act`] as part of a transaction; [`Runner::wake`] once that is committed.
    pub(crate) async fn submit_act_in(
        telling: &mut Telling,
        network: &Network,
        act: Act,
        subject: &str,
        by: &Caller,
    ) -> Result<Operation, Problem> {
        // What the engine would refuse is refused now; the steps are worked out again when the turn has come.
        let preview = steps_of(network, &act)?;
        // Once it is asked for, the network's record must still be there.
        Repository::get_in::<NetworkDoc>(telling.connection(), Kind::Network, &network.record.id).await?;
        let mut operation = Operation::new(
            ids::new("op"),
            Some(network.record.id.clone()),
            subject.to_owned(),
            Work::Network { act },
            by.id.clone(),
            &time::rfc3339(time::now()),
        );
        operation.plan(preview);
        Self::enqueue(telling, &operation, by.organisation.as_deref()).await?;
        Ok(operation)
    }
}

fn refused(refusal: super::state::Refusal) -> Problem {
    use super::state::Refusal;
    let (english, chinese) = match refusal {
        Refusal::NotFailed => ("only a failed operation can be retried", "只有失败的操作可以重试"),
        Refusal::Ended => ("the operation has ended", "操作已结束"),
    };
    Problem::new(&kinds::CONFLICT).details(english, chinese)
}
