//! The handles of the metrics of each definition and each step. They are made once; an actor keeps those of its definition.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use wfe_core::{
    clock::Clock,
    executor::{Follows, Job},
    metrics::{
        CounterHandle, Handle, HistogramHandle, INSTANCE_DURATION, INSTANCES_ENDED, INSTANCES_STARTED,
        START_DELAY, STEP_DURATION, STEP_FAILURES, STEP_RETRIES, Set, is_on,
    },
    models::{PointerStatus, WorkflowStatus},
    sync::lock,
    traits::{Claimed, Ending, Loaded, OWN_NAMES, StepFailure},
};

use super::since;

/// The metrics of all definitions, by id. As many as the program has definitions.
static DEFINITIONS: LazyLock<RwLock<HashMap<String, Arc<Handles>>>> = LazyLock::new(RwLock::default);

/// The metrics of one definition. Empty if metrics are not recorded, or if the definition is one of the engine's own.
#[derive(Clone, Default)]
pub(crate) struct Definition(Option<Arc<Handles>>);

struct Handles {
    id: String,
    started: Set<CounterHandle>,
    /// In the order of [`ENDINGS`].
    ended: [(Set<CounterHandle>, Set<HistogramHandle>); ENDINGS.len()],
    start_delay: Set<HistogramHandle>,
    steps: RwLock<HashMap<String, Arc<Step>>>,
}

const ENDINGS: [Ending; 4] = [Ending::Completed, Ending::Failed, Ending::Cancelled, Ending::Terminated];

struct Step {
    id: String,
    /// In the order of [`Outcome`].
    durations: [Set<HistogramHandle>; 3],
    retries: Set<CounterHandle>,
    /// By code and by what follows.
    failures: Mutex<HashMap<(String, &'static str), CounterHandle>>,
}

#[derive(Clone, Copy)]
enum Outcome {
    Success,
    Failure,
    Cancelled,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Finds the value of this key, or makes it.
fn find<V>(map: &RwLock<HashMap<String, Arc<V>>>, key: &str, make: impl FnOnce() -> V) -> Arc<V> {
    if let Some(found) = map.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return found.clone();
    }
    let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
    map.entry(key.to_owned()).or_insert_with(|| Arc::new(make())).clone()
}

impl Definition {
    /// The metrics of the definition with this id.
    pub fn of(id: &str) -> Self {
        if !is_on() || id.starts_with(OWN_NAMES) {
            return Self(None);
        }
        let handles = || Handles {
            id: id.to_owned(),
            started: Set::new(INSTANCES_STARTED),
            ended: ENDINGS.map(|_| (Set::new(INSTANCES_ENDED), Set::new(INSTANCE_DURATION))),
            start_delay: Set::new(START_DELAY),
            steps: RwLock::default(),
        };
        Self(Some(find(&DEFINITIONS, id, handles)))
    }

    /// These metrics, or those of the definition with this id if these are empty.
    pub fn or_of(self, id: &str) -> Self {
        if self.0.is_some() { self } else { Self::of(id) }
    }

    pub(super) fn started(&self) {
        if let Some(of) = &self.0 {
            of.started.get(&[&of.id]).increment(1);
        }
    }

    pub(super) fn ended(&self, ending: Ending, age: Duration) {
        self.ended_at_unknown_age(ending);
        if let Some((of, name, (_, durations))) = self.ending(ending) {
            durations.get(&[&of.id, &name]).record(age.as_secs_f64());
        }
    }

    pub(super) fn ended_at_unknown_age(&self, ending: Ending) {
        if let Some((of, name, (ended, _))) = self.ending(ending) {
            ended.get(&[&of.id, &name]).increment(1);
        }
    }

    #[expect(clippy::type_complexity, reason = "used by two functions, just above")]
    fn ending(
        &self,
        ending: Ending,
    ) -> Option<(&Handles, String, &(Set<CounterHandle>, Set<HistogramHandle>))> {
        let of = self.0.as_deref()?;
        let at = ENDINGS.iter().position(|one| *one == ending)?;
        Some((of, ending.to_string(), &of.ended[at]))
    }

    pub(super) fn failed(&self, failure: &StepFailure, follows: Follows) {
        let Some(of) = &self.0 else { return };
        let (step, kind) = (of.step(&failure.step), follows.name());
        if let Follows::Attempt(_) = follows {
            step.retries.get(&[&of.id, &step.id]).increment(1);
        }
        let mut failures = lock(&step.failures);
        // The recorder bounds the number of codes, but this map would grow with all of them.
        let code = wfe_core::metrics::bounded("code", &failure.code);
        let make = || CounterHandle::of(STEP_FAILURES, &[&of.id, &step.id, code, kind]);
        failures.entry((code.to_owned(), kind)).or_insert_with(make).increment(1);
    }

    /// Begins to measure a body of the definition, which could begin at `due`.
    pub fn body(&self, job: &Job, due: DateTime<Utc>) -> Body {
        Body(self.0.as_ref().map(|of| Measured {
            step: of.step(job.step_id()),
            definition: of.clone(),
            token: job.token().clone(),
            due,
            began: None,
        }))
    }
}

impl Handles {
    fn step(&self, id: &str) -> Arc<Step> {
        find(&self.steps, id, || Step {
            id: id.to_owned(),
            durations: [(); 3].map(|()| Set::new(STEP_DURATION)),
            retries: Set::new(STEP_RETRIES),
            failures: Mutex::default(),
        })
    }
}

/// The measurement of one body, from the moment when it could begin to its end.
pub(crate) struct Body(Option<Measured>);

struct Measured {
    definition: Arc<Handles>,
    step: Arc<Step>,
    token: CancellationToken,
    due: DateTime<Utc>,
    began: Option<Duration>,
}

impl Body {
    /// The body begins to run.
    pub fn begins(&mut self, clock: &dyn Clock) {
        if let Some(measured) = &mut self.0 {
            let delay = since(measured.due, clock.now());
            let of = &measured.definition;
            of.start_delay.get(&[&of.id]).record(delay.as_secs_f64());
            measured.began = Some(clock.monotonic());
        }
    }

    /// The body has ended with a result or an error. Only the first end counts, and only of a body that has begun.
    pub fn ended(&mut self, is_ok: bool, clock: &dyn Clock) {
        self.over(if is_ok { Outcome::Success } else { Outcome::Failure }, clock);
    }

    /// The body was dropped, if it has not ended before.
    pub fn dropped(&mut self, clock: &dyn Clock) {
        self.over(Outcome::Cancelled, clock);
    }

    fn over(&mut self, outcome: Outcome, clock: &dyn Clock) {
        let Some(Measured { definition, step, token, began: Some(began), .. }) = self.0.take() else {
            return;
        };
        // The result of a body that was cancelled is discarded.
        let outcome = if token.is_cancelled() { Outcome::Cancelled } else { outcome };
        let time = clock.monotonic().saturating_sub(began);
        let durations = &step.durations[outcome as usize];
        durations.get(&[&definition.id, &step.id, outcome.name()]).record(time.as_secs_f64());
    }
}

/// Since when an instance that a host has just claimed could have been run. It concerns the first bodies only.
#[derive(Default)]
pub(crate) struct Due(Option<DateTime<Utc>>);

impl Due {
    pub fn of(loaded: &Loaded, claimed: &Claimed) -> Self {
        let instance = &loaded.instance;
        // The stored time of an instance whose process has crashed is that of the crashed work.
        if !is_on() || instance.status != WorkflowStatus::Runnable || claimed.deaths.in_a_row > 0 {
            return Self(None);
        }
        let is_new =
            || instance.execution_pointers.iter().all(|pointer| pointer.status == PointerStatus::Pending);
        Self(match instance.next_execution {
            Some(millis) if millis > 0 => DateTime::from_timestamp_millis(millis),
            Some(_) if is_new() => Some(instance.create_time),
            Some(_) | None => None,
        })
    }

    /// The time since when the next bodies could begin; `now`, but for the first ones.
    pub fn take(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.0.take().map_or(now, |due| due.min(now))
    }
}
