use std::{panic::AssertUnwindSafe, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::StepExecution;
use crate::{
    models::WorkflowInstance,
    program::{AnyData, Body, BodyEnd, Work},
    steps::{Ctx, Place, StepError},
    traits::{Ending, StepFailure, StepStore},
};

/// What is to be done once a commit is stored, and not before.
#[derive(Default)]
pub struct Effects {
    /// Bodies to run. Each one's end goes to [`Run::ended`](super::Run::ended); of one that is dropped without a result, to
    /// [`Run::body_over`](super::Run::body_over).
    pub jobs: Vec<Job>,
    /// Items to read. They go to [`Run::items`](super::Run::items).
    pub requests: Vec<ItemRequest>,
    /// Events may be there for waits that the commit has opened, that were passed over until now, or whose time limit has
    /// passed: if the `Run` goes
    /// on, read what the store has and hand its deliveries to [`Run::deliver`](super::Run::deliver); if it was released, acquire the
    /// instance again (which comes to nothing if no event is there).
    pub listen: bool,
    /// For which of the open waits they may be there; `None`: for any of them.
    pub waits: Option<Vec<String>>,
    /// Ids of the events that the commit consumed: they can be marked as processed, unless another wait needs them
    /// ([`finish_event`](StepStore::finish_event)).
    pub consumed: Vec<String>,
    /// Other instances that have something to do now: children that were begun or asked to end, the parent of one that has
    /// ended. They are found without this too, but later.
    pub wakes: Vec<String>,
    /// More follows by itself: commit again at once, whatever else happens.
    pub again: bool,
    /// To publish, in this order: what has happened to the instance, and the starts of children.
    pub events: Vec<LifecycleEvent>,
    /// Tokens of bodies whose results are no longer wanted, to fire.
    pub cancelled: Vec<CancellationToken>,
    /// The commit gave the ownership back: the `Run` is done. Inside, when to look at the instance again, in
    /// milliseconds (`None`: it waits for something other than time, or has ended).
    pub released: Option<Option<i64>>,
}

/// Items that a for-each, or a saga that is undone, needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRequest {
    /// Under what they are stored: a pointer, or an entry of a log.
    pub container: String,
    /// Position of the first one.
    pub from: u64,
    /// How many at most.
    pub limit: usize,
}

/// A body that is to be run, once.
pub struct Job {
    pub(super) place: Arc<Place>,
    pub(super) body: Body,
    pub(super) data: AnyData,
    pub(super) item: Option<Value>,
    pub(super) token: CancellationToken,
    pub(super) number: u64,
    pub(super) is_limited: bool,
}

impl Job {
    /// Its number: unique within its [`Run`]. A pointer has several jobs, one after the other.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The pointer whose body it is.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.place.pointer
    }

    /// Where it stands, for whoever tells a later `Run` that it has not ended.
    #[must_use]
    pub fn place(&self) -> StepExecution {
        StepExecution(self.place.clone())
    }

    /// Whether its attempt may take so long and no longer: then [`Run::begun`](super::Run::begun) has to be told when it begins.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// The stable id of the step.
    #[must_use]
    pub fn step_id(&self) -> &str {
        &self.place.step
    }

    /// Which attempt it is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.place.attempt
    }

    /// Whether it blocks its thread: then [`run_blocking`](Self::run_blocking) is the way to run it.
    #[must_use]
    pub fn is_blocking(&self) -> bool {
        self.body.blocking
    }

    /// Fired when the result is no longer wanted.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// What the body is told about its run.
    #[must_use]
    pub fn context(&self, store: Option<Arc<dyn StepStore>>) -> Ctx {
        Ctx::new(self.place.clone(), self.token.child_token(), store)
    }

    /// Runs the body; a panic is caught. All of the user's code runs inside the future, none before.
    pub async fn run(self, store: Option<Arc<dyn StepStore>>) -> BodyEnd {
        let job = self.number;
        let ended = AssertUnwindSafe(async move {
            match self.start(store)? {
                Work::Async(work) => work.await,
                Work::Blocking(work) => work(),
            }
        });
        let answer = ended.catch_unwind().await.unwrap_or_else(|payload| Err(panicked(payload)));
        BodyEnd { job, answer }
    }

    /// Runs a blocking body on this thread; a panic is caught.
    #[must_use]
    pub fn run_blocking(self, store: Option<Arc<dyn StepStore>>) -> BodyEnd {
        let job = self.number;
        let ended = std::panic::catch_unwind(AssertUnwindSafe(move || match self.start(store)? {
            Work::Blocking(work) => work(),
            Work::Async(_) => Err(StepError::fatal("an asynchronous body was run as a blocking one")),
        }));
        BodyEnd { job, answer: ended.unwrap_or_else(|payload| Err(panicked(payload))) }
    }

    fn start(self, store: Option<Arc<dyn StepStore>>) -> Result<Work<crate::program::Answer>, StepError> {
        (self.body.start)(Ctx::new(self.place, self.token.child_token(), store), &self.data, self.item)
    }
}

fn panicked(payload: Box<dyn std::any::Any + Send>) -> StepError {
    StepError::from_panic("the step", payload)
}

/// Something that happened to an instance, told after it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct LifecycleEvent {
    /// The instance.
    pub instance_id: Arc<str>,
    /// The definition that it runs; empty, if the instance cannot be read.
    pub definition_id: Arc<str>,
    /// The version of that definition; 0, if the instance cannot be read.
    pub version: u32,
    /// When.
    pub time: DateTime<Utc>,
    /// What.
    pub what: Lifecycle,
}

impl LifecycleEvent {
    /// That this instance, which has its id, was started.
    #[must_use]
    pub fn started(instance: &WorkflowInstance) -> Self {
        Self {
            instance_id: instance.id.as_str().into(),
            definition_id: instance.workflow_definition_id.as_str().into(),
            version: instance.version,
            time: instance.create_time,
            what: Lifecycle::Started,
        }
    }
}

/// What can happen to an instance.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// It was started. Told once, after the commit that stored it, by the host that stored it: the one that was asked to
    /// start it, whose schedule it was, or that runs its parent. What else becomes of it is told by the hosts that run it; one
    /// that tells both tells this first.
    Started,
    /// A step's body begins. It has no commit of its own: after a crash it may be told again.
    StepStarted {
        /// The stable id of the step.
        step: String,
        /// Its pointer.
        pointer: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A step ended well.
    StepCompleted {
        /// The stable id of the step.
        step: String,
        /// Its pointer.
        pointer: String,
    },
    /// An attempt of a step failed, or the instance does not fit its definition.
    Error(Box<StepFailure>),
    /// It ran to its end.
    Completed,
    /// It stands still.
    Suspended,
    /// It goes on.
    Resumed,
    /// It ended before its end.
    Terminated {
        /// How.
        ending: Ending,
    },
}
