//! An operation as a pure state machine: what it is made of, and which changes it allows.
//!
//! Time and storage are the caller's; every method is a plain change of the record, so that whole histories can be tested without
//! a server.

use konsort_engines::{Act, StepPlan};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Name of the step that stands for working out the steps, when that fails.
const PLANNING: &str = "(plan)";

/// What an operation works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum Work {
    /// A network.
    Network {
        /// What is done to it.
        act: Act,
    },
    /// A project: its sources become packages.
    Build {
        /// The project's id.
        project: String,
        /// Its version; absent: the files as they are now.
        version: Option<u32>,
    },
}

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Waits for its turn: one operation per network at a time.
    Pending,
    /// One of its steps runs.
    Running,
    /// Every step is done.
    Done,
    /// A step failed; it can be retried or given up.
    Failed,
    /// Given up.
    Cancelled,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun; after a crash of the server it is run again.
    Running,
    /// Ended well.
    Done,
    /// Ended with an error.
    Failed,
}

/// Why a step failed and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepError {
    /// Stable word for programs (`port_taken`, `node_unreachable`, `disk_full`).
    pub code: String,
    /// What went wrong.
    pub cause: String,
    /// What to do, English.
    pub remedy: String,
    /// What to do, Chinese.
    pub remedy_zh: String,
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Name, unique within the operation.
    pub name: String,
    /// What it does, English.
    pub title: String,
    /// What it does, Chinese.
    pub title_zh: String,
    /// Where it is.
    pub state: StepState,
    /// Start of its last attempt, RFC 3339.
    pub started_at: Option<String>,
    /// End of its last attempt, RFC 3339.
    pub ended_at: Option<String>,
    /// Why its last attempt failed.
    pub error: Option<StepError>,
    /// How often it was begun, runs cut off by a crash of the server included.
    pub attempts: u32,
}

impl From<StepPlan> for Step {
    fn from(plan: StepPlan) -> Self {
        Self {
            name: plan.name,
            title: plan.title,
            title_zh: plan.title_zh,
            state: StepState::Pending,
            started_at: None,
            ended_at: None,
            error: None,
            attempts: 0,
        }
    }
}

impl Step {
    /// The step as its engine planned it.
    pub fn plan(&self) -> StepPlan {
        StepPlan { name: self.name.clone(), title: self.title.clone(), title_zh: self.title_zh.clone() }
    }
}

/// A long act with its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// Its id, `op_…`.
    pub id: String,
    /// What it does, in one word: `create`, `add_node`, `deploy`, `build`, ….
    pub kind: String,
    /// The network it works on.
    pub network: Option<String>,
    /// What it is about, for lists: a network's, node's or contract's name.
    pub subject: String,
    /// What it does, with everything it was asked.
    pub work: Work,
    /// Its steps in order; computed when its turn comes, shown as a preview before.
    pub steps: Vec<Step>,
    /// Where it is.
    pub state: OperationState,
    /// What its steps produced.
    #[schema(value_type = Object)]
    pub result: Map<String, Value>,
    /// Id of who asked for it.
    pub created_by: String,
    /// When it was asked for, RFC 3339.
    pub created_at: String,
    /// When it last changed, RFC 3339.
    pub updated_at: String,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
}

/// Why a change of an operation is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Only failed operations are retried.
    #[error("only a failed operation can be retried")]
    NotFailed,
    /// It has ended.
    #[error("the operation has ended")]
    Ended,
}

impl Operation {
    /// A new operation that waits for its turn.
    pub fn new(
        id: String,
        network: Option<String>,
        subject: String,
        work: Work,
        created_by: String,
        now: &str,
    ) -> Self {
        Self {
            id,
            kind: kind_of(&work).to_owned(),
            network,
            subject,
            work,
            steps: Vec::new(),
            state: OperationState::Pending,
            result: Map::new(),
            created_by,
            created_at: now.to_owned(),
            updated_at: now.to_owned(),
            ended_at: None,
        }
    }

    /// Its act on a network.
    pub fn act(&self) -> Option<&Act> {
        match &self.work {
            Work::Network { act } => Some(act),
            Work::Build { .. } => None,
        }
    }

    /// Whether nothing more happens by itself.
    pub fn ended(&self) -> bool {
        matches!(self.state, OperationState::Done | OperationState::Failed | OperationState::Cancelled)
    }

    /// Whether it has never been begun.
    pub fn untouched(&self) -> bool {
        self.steps.iter().all(|step| step.attempts == 0)
    }

    /// Fixes its steps; before the first is begun only. Without a step it is done at the next [`Operation::begin`].
    pub fn plan(&mut self, steps: Vec<StepPlan>) {
        if self.untouched() {
            self.steps = steps.into_iter().map(Step::from).collect();
        }
    }

    /// Begins the next step and says which; `None`: every step is done, and so is the operation.
    ///
    /// A step that was running is begun again: its run was cut off by a crash.
    pub fn begin(&mut self, now: &str) -> Option<usize> {
        if self.ended() {
            return None;
        }
        now.clone_into(&mut self.updated_at);
        let Some(index) = self.steps.iter().position(|step| step.state != StepState::Done) else {
            self.state = OperationState::Done;
            self.ended_at = Some(now.to_owned());
            return None;
        };
        let step = &mut self.steps[index];
        step.state = StepState::Running;
        step.started_at = Some(now.to_owned());
        step.ended_at = None;
        step.error = None;
        step.attempts = step.attempts.saturating_add(1);
        self.state = OperationState::Running;
        Some(index)
    }

    /// The running step ended well; its results are kept. Says whether that was the last step.
    pub fn succeed(&mut self, result: Map<String, Value>, now: &str) -> bool {
        if self.state != OperationState::Running {
            return false;
        }
        if let Some(step) = self.running_step() {
            step.state = StepState::Done;
            step.ended_at = Some(now.to_owned());
        }
        self.result.extend(result);
        now.clone_into(&mut self.updated_at);
        let last = self.steps.iter().all(|step| step.state == StepState::Done);
        if last {
            self.state = OperationState::Done;
            self.ended_at = Some(now.to_owned());
        }
        last
    }

    /// The running step failed, or, when none runs, the operation could not be begun.
    pub fn fail(&mut self, error: StepError, now: &str) {
        if self.ended() {
            return;
        }
        if self.running_step().is_none() && self.steps.iter().all(|step| step.state == StepState::Done) {
            self.steps.push(Step::from(StepPlan {
                name: PLANNING.to_owned(),
                title: "Work out the steps".to_owned(),
                title_zh: "确定步骤".to_owned(),
            }));
        }
        let failing = self.steps.iter().position(|step| step.state != StepState::Done);
        if let Some(step) = failing.and_then(|index| self.steps.get_mut(index)) {
            step.state = StepState::Failed;
            step.ended_at = Some(now.to_owned());
            step.error = Some(error);
        }
        self.state = OperationState::Failed;
        now.clone_into(&mut self.updated_at);
        self.ended_at = Some(now.to_owned());
    }

    /// Queues a failed operation again; it goes on at the step that failed.
    pub fn retry(&mut self, now: &str) -> Result<(), Refusal> {
        if self.state != OperationState::Failed {
            return Err(Refusal::NotFailed);
        }
        for step in &mut self.steps {
            if step.state == StepState::Failed {
                step.state = StepState::Pending;
            }
        }
        // A failure to work out the steps left nothing that could be run.
        self.steps.retain(|step| step.name != PLANNING);
        self.state = OperationState::Pending;
        self.ended_at = None;
        now.clone_into(&mut self.updated_at);
        Ok(())
    }

    /// Gives it up. Says whether what it has made should be removed again: a network that was being created.
    pub fn cancel(&mut self, now: &str) -> Result<bool, Refusal> {
        if matches!(self.state, OperationState::Done | OperationState::Cancelled) {
            return Err(Refusal::Ended);
        }
        for step in &mut self.steps {
            if step.state == StepState::Running {
                step.state = StepState::Pending;
                step.ended_at = Some(now.to_owned());
            }
        }
        self.state = OperationState::Cancelled;
        now.clone_into(&mut self.updated_at);
        self.ended_at = Some(now.to_owned());
        Ok(matches!(self.act(), Some(Act::Create)))
    }

    fn running_step(&mut self) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.state == StepState::Running)
    }
}

/// The one word of a kind of work.
pub fn kind_of(work: &Work) -> &'static str {
    match work {
        Work::Build { .. } => "build",
        Work::Network { act } => match act {
            Act::Create => "create",
            Act::Start => "start",
            Act::Stop => "stop",
            Act::Delete => "delete",
            Act::AddNode { .. } => "add_node",
            Act::RemoveNode { .. } => "remove_node",
            Act::Node { .. } => "node",
            Act::SetRole { .. } => "set_role",
            Act::AddOrganisation { .. } => "add_organisation",
            Act::CreateChannel { .. } => "create_channel",
            Act::Configure { .. } => "configure",
            Act::Deploy(_) => "deploy",
            Act::IssueIdentity { .. } => "issue_identity",
            Act::RevokeIdentity { .. } => "revoke_identity",
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(name: &str) -> StepPlan {
        StepPlan { name: name.to_owned(), title: name.to_owned(), title_zh: name.to_owned() }
    }

    fn operation(steps: usize) -> Operation {
        let mut operation = Operation::new(
            "op_1".to_owned(),
            Some("net_1".to_owned()),
            "demo".to_owned(),
            Work::Network { act: Act::Create },
            "usr_1".to_owned(),
            "t0",
        );
        operation.plan((0..steps).map(|index| plan(&format!("s{index}"))).collect());
        operation
    }

    fn error() -> StepError {
        StepError { code: "x".to_owned(), cause: "y".to_owned(), remedy: "z".to_owned(), remedy_zh: "z".to_owned() }
    }

    #[test]
    fn runs_its_steps_in_order() {
        let mut operation = operation(2);
        assert_eq!(operation.begin("t1"), Some(0));
        assert!(!operation.succeed(Map::new(), "t2"));
        assert_eq!(operation.begin("t3"), Some(1));
        assert!(operation.succeed(Map::new(), "t4"));
        assert_eq!(operation.state, OperationState::Done);
        assert_eq!(operation.begin("t5"), None);
    }

    #[test]
    fn a_step_cut_off_by_a_crash_is_begun_again() {
        let mut operation = operation(2);
        operation.begin("t1");
        let text = serde_json::to_string(&operation).unwrap();
        let mut after: Operation = serde_json::from_str(&text).unwrap();
        assert_eq!(after.begin("t2"), Some(0));
        assert_eq!(after.steps[0].attempts, 2);
    }

    #[test]
    fn a_failed_plan_can_be_retried_and_planned_anew() {
        let mut operation = operation(0);
        operation.fail(error(), "t1");
        assert_eq!(operation.steps[0].state, StepState::Failed);
        operation.retry("t2").unwrap();
        assert!(operation.steps.is_empty() && operation.untouched());
        operation.plan(vec![plan("a")]);
        assert_eq!(operation.begin("t3"), Some(0));
    }

    #[test]
    fn cancelling_a_create_asks_for_removal_and_an_end_is_an_end() {
        let mut operation = operation(1);
        operation.begin("t1");
        assert_eq!(operation.cancel("t2"), Ok(true));
        assert_eq!(operation.cancel("t3"), Err(Refusal::Ended));
        assert_eq!(operation.retry("t3"), Err(Refusal::NotFailed));
        assert_eq!(operation.begin("t4"), None);
    }

    #[derive(Debug, Clone)]
    enum Input {
        Begin,
        Succeed,
        Fail,
        Retry,
        Cancel,
        Crash,
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            4 => Just(Input::Begin),
            4 => Just(Input::Succeed),
            1 => Just(Input::Fail),
            2 => Just(Input::Retry),
            1 => Just(Input::Cancel),
            2 => Just(Input::Crash),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: done steps come first and stay done, at most one step runs and only in a running
        /// operation, an ended operation names its end, and what was not cancelled can be brought to its end.
        #[test]
        fn histories_keep_their_rules(steps in 0usize..5, inputs in proptest::collection::vec(input(), 0..40)) {
            let mut operation = operation(steps);
            let mut done = 0;
            for input in inputs {
                match input {
                    Input::Begin => { operation.begin("t"); }
                    Input::Succeed => { operation.succeed(Map::new(), "t"); }
                    Input::Fail => operation.fail(error(), "t"),
                    Input::Retry => { let _ = operation.retry("t"); }
                    Input::Cancel => { let _ = operation.cancel("t"); }
                    Input::Crash => {
                        operation = serde_json::from_str(&serde_json::to_string(&operation).unwrap()).unwrap();
                    }
                }
                let now_done = operation.steps.iter().take_while(|step| step.state == StepState::Done).count();
                prop_assert!(now_done >= done);
                done = now_done;
                prop_assert!(operation.steps.iter().skip(done).all(|step| step.state != StepState::Done));
                let running = operation.steps.iter().filter(|step| step.state == StepState::Running).count();
                prop_assert!(running <= usize::from(operation.state == OperationState::Running));
                prop_assert_eq!(operation.ended(), operation.ended_at.is_some());
                if operation.state == OperationState::Done {
                    prop_assert_eq!(done, operation.steps.len());
                }
            }
            if operation.state != OperationState::Cancelled {
                let _ = operation.retry("t");
                while operation.begin("t").is_some() {
                    operation.succeed(Map::new(), "t");
                }
                prop_assert_eq!(operation.state, OperationState::Done);
            }
        }
    }
}
