//! The waits of a step for an event, an activity, a child workflow or a person.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Data, Item, Sequence, draft::Draft};
use crate::{
    program::{Ask, Receive, TimeLimit, ask, ask_value, receive},
    steps::UserAnswer,
};

/// The time limit of a wait.
#[derive(Default)]
pub(crate) struct Limit {
    pub after: Option<Ask<Duration>>,
    /// The steps that run when the limit has passed. If this is `None`, the step fails instead.
    pub branch: Option<Vec<Draft>>,
}

impl Limit {
    /// Returns the time limit for the verb, and the branch that runs when the limit has passed. This branch is
    /// the first branch of the step.
    pub fn split(self) -> (Option<TimeLimit>, Vec<Vec<Draft>>) {
        let has_branch = self.branch.is_some();
        let limit = self.after.map(|after| TimeLimit { after, has_branch });
        (limit, self.branch.into_iter().collect())
    }
}

/// The settings that all kinds of waits have in common.
#[derive(Default)]
pub(crate) struct Common {
    pub limit: Limit,
    pub outputs: Vec<Receive>,
    /// The errors found in the steps of the wait's branches.
    problems: Vec<String>,
    /// A setting that was made twice. It becomes an error once the id of the step is known.
    duplicate: Option<&'static str>,
}

impl Common {
    /// Takes and returns the errors that were found. `id` is the id of the step.
    pub fn problems(&mut self, id: &str) -> Vec<String> {
        let mut problems = std::mem::take(&mut self.problems);
        let problem = |what| format!("step {id:?}: it has two {what}; the first one would have no effect");
        problems.extend(self.duplicate.map(problem));
        problems
    }

    fn limit(&mut self, limit: Limit) {
        if std::mem::replace(&mut self.limit, limit).after.is_some() {
            self.duplicate = Some("time limits");
        }
    }

    fn body<D: Data, I: Item>(&mut self, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Vec<Draft> {
        let (drafts, problems) = Sequence::built(body);
        self.problems.extend(problems);
        drafts
    }
}

macro_rules! waits {
    ($($name:ident<D, I>),*) => {
        $(impl<D: Data, I: Item> $name<D, I> {
            /// Limits the time of the wait. When the limit has passed, the wait ends, and anything that arrives
            /// later is ignored. The steps of `body` run, and then the instance continues with the next step.
            ///
            /// If the instance is suspended when the limit passes, or no host is running, the limit takes
            /// effect when the instance runs again. The engine first checks what the store has received in the
            /// meantime. An event whose timestamp is at or before the limit is in time, and an event with a
            /// later timestamp is too late. The answer of a worker or a person, and the end of a child, have no
            /// timestamp. They are in time if they are stored before the limit takes effect.
            #[must_use]
            pub fn timeout(
                mut self,
                after: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
            ) -> Self {
                let branch = self.common.body(body);
                self.common.limit(Limit { after: Some(ask(TIME, after)), branch: Some(branch) });
                self
            }

            /// Limits the time of the wait. When the limit has passed, the step fails with the code `timeout`;
            /// its retry policy and its `on_failure` setting decide what follows. [`timeout`](Self::timeout)
            /// describes which events and answers are in time.
            #[must_use]
            pub fn fail_after(mut self, after: impl Fn(&D, &I) -> Duration + Send + Sync + 'static) -> Self {
                self.common.limit(Limit { after: Some(ask(TIME, after)), branch: None });
                self
            }
        })*
    };
}

macro_rules! outputs {
    ($($name:ident: $what:literal, $again:literal;)*) => {
        $(impl<D: Data, I: Item> $name<D, I> {
            #[doc = concat!("Adds an output closure, which writes ", $what, " into the newest data.")]
            ///
            #[doc = concat!("If ", $what, " cannot be read as a `T`, or the closure panics, the data stays unchanged and ")]
            /// the step fails.
            #[doc = $again]
            #[must_use]
            pub fn output<T: DeserializeOwned + Send + 'static>(
                mut self,
                write: impl Fn(&T, &mut D) + Send + Sync + 'static,
            ) -> Self {
                self.common.outputs.push(receive(OUTPUT, write));
                self
            }
        })*
    };
}

const TIME: &str = "the step's time limit";
const OUTPUT: &str = "the step's output";

/// An event that a step waits for. [`event`] creates an `Await`.
pub struct Await<D, I> {
    pub(super) name: String,
    pub(super) key: Ask<String>,
    pub(super) effective: Option<Ask<DateTime<Utc>>>,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// A wait for the first event of this name and key that the instance has not consumed yet. The closure computes
/// the key from the data.
///
/// The event may be published before the wait begins, but not before the instance was created. Which of them
/// was first is decided by the order in which the store received the instance and the event, not by the clock.
/// Only an event that was published with an explicit timestamp is compared by that timestamp.
///
/// A child workflow is created when its parent reaches the sub-workflow step. The child does not receive events
/// that were published earlier, unless the wait has an [effective date](Await::effective).
pub fn event<D: Data, I: Item, K: Into<String>>(
    name: impl Into<String>,
    key: impl Fn(&D, &I) -> K + Send + Sync + 'static,
) -> Await<D, I> {
    Await {
        name: name.into(),
        key: ask("the key of the event", move |data: &D, item: &I| key(data, item).into()),
        effective: None,
        common: Common::default(),
        types: std::marker::PhantomData,
    }
}

impl<D: Data, I: Item> Await<D, I> {
    /// Sets the effective date: events with an earlier timestamp are ignored. By default, events published
    /// before the creation of the instance are ignored.
    ///
    /// The effective date has no effect once the instance has consumed an event of this name and key. The wait
    /// then gets the next event after the consumed event. A date that no store can hold is replaced by the
    /// nearest date that a store can hold, so `MIN_UTC` accepts all events.
    ///
    /// If an event may be published before a child workflow is created, the parent can pass an effective date
    /// to the child in its data:
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use wfe_core::definition::{WorkflowBuilder, child, event};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Order { id: String, ordered: DateTime<Utc>, is_paid: bool }
    ///
    /// let payment = WorkflowBuilder::<Order>::new("payment", 1)
    ///     .wait_for(
    ///         "paid",
    ///         event("paid", |order: &Order, _| order.id.clone())
    /// .effective(|order, _| order.ordered) // instead of the creation of this child
    ///             .output(|(), order| order.is_paid = true),
    ///     )
    ///     .build()?;
    /// let order = WorkflowBuilder::<Order>::new("order", 1)
    ///     .sub_workflow("payment", child("payment", |order: &Order, _| order.clone()))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn effective(mut self, from: impl Fn(&D, &I) -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.effective = Some(ask("the effective date of the event", from));
        self
    }
}

/// An activity: work for an external worker. [`activity`] creates an `Activity`.
pub struct Activity<D, I> {
    pub(super) name: String,
    pub(super) input: Ask<Value>,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// An activity of this name. External workers find the activity by its name, and get the input that the closure
/// computes.
///
/// Names that begin with `wfe.` are reserved for the engine, and building the definition fails if an activity
/// uses one of them.
pub fn activity<D: Data, I: Item, P: Serialize>(
    name: impl Into<String>,
    input: impl Fn(&D, &I) -> P + Send + Sync + 'static,
) -> Activity<D, I> {
    Activity {
        name: name.into(),
        input: ask_value("the activity's input", input),
        common: Common::default(),
        types: std::marker::PhantomData,
    }
}

/// A child workflow that a step runs. [`child`] creates a `Child`.
pub struct Child<D, I> {
    pub(super) definition: String,
    pub(super) version: Option<u32>,
    pub(super) data: Ask<Value>,
    pub(super) data_name: &'static str,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// A child workflow: an instance of this definition, with the data that the closure computes.
///
/// The child runs the newest version of the definition that is registered with the host that starts it, unless
/// [`version`](Child::version) is set.
///
/// The step fails with the code [`DEFINITION`](crate::steps::StepError::DEFINITION) in two cases: the
/// definition is not registered with the host that starts the child (a retryable error), or the definition's
/// data type cannot read the data (a fatal error).
pub fn child<D: Data, I: Item, C: Data>(
    definition: impl Into<String>,
    data: impl Fn(&D, &I) -> C + Send + Sync + 'static,
) -> Child<D, I> {
    Child {
        definition: definition.into(),
        version: None,
        data: ask_value("the data of the child", data),
        data_name: std::any::type_name::<C>(),
        common: Common::default(),
        types: std::marker::PhantomData,
    }
}

impl<D: Data, I: Item> Child<D, I> {
    /// Sets the version of the child's definition. By default, the newest registered version is used.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{Every, WorkflowBuilder, child, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("parent", 1)
    ///     // Runs concurrently with the child, every five minutes, until the condition holds.
    ///     .recur("tick", Every::interval(Duration::from_mins(5)), |n, _| *n >= 3, |tick| {
    ///         tick.then("count", inline(|_, _| async { Ok(()) }).output(|(), n| *n += 1))
    ///     })
    ///     .sub_workflow("pinned", child("import", |n: &u32, _| n.to_string()).version(2))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }
}

/// A user task: a question that a person answers. [`user_task`] creates a `UserTask`.
pub struct UserTask<D, I> {
    pub(super) prompt: Ask<String>,
    pub(super) assignee: Option<Ask<String>>,
    pub(super) options: Vec<(String, Option<Vec<Draft>>)>,
    /// The escalation: a duration, and the steps that run if there is no answer within this duration.
    pub(super) escalate: Option<(Ask<Duration>, Vec<Draft>)>,
    /// The reassignment: a duration, and the new assignee if there is no answer within this duration.
    pub(super) reassign: Option<(Ask<Duration>, Ask<String>)>,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// A user task with this prompt: the question that the person sees. A user task needs at least one
/// [option](UserTask::option).
pub fn user_task<D: Data, I: Item, P: Into<String>>(
    prompt: impl Fn(&D, &I) -> P + Send + Sync + 'static,
) -> UserTask<D, I> {
    UserTask {
        prompt: ask("the prompt of the task", move |data: &D, item: &I| prompt(data, item).into()),
        assignee: None,
        options: Vec::new(),
        escalate: None,
        reassign: None,
        common: Common::default(),
        types: std::marker::PhantomData,
    }
}

impl<D: Data, I: Item> UserTask<D, I> {
    /// Sets the assignee: the person who should answer. By default, anyone may answer.
    #[must_use]
    pub fn assignee<A: Into<String>>(mut self, to: impl Fn(&D, &I) -> A + Send + Sync + 'static) -> Self {
        self.assignee =
            Some(ask("the assignee of the task", move |data: &D, item: &I| to(data, item).into()));
        self
    }

    /// Adds an option: a possible answer, with the steps that run if the option is chosen.
    #[must_use]
    pub fn option(
        mut self,
        value: impl Into<String>,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        let branch = self.common.body(body);
        self.options.push((value.into(), Some(branch)));
        self
    }

    /// Adds an option without steps. If this option is chosen, the instance continues after the step.
    #[must_use]
    pub fn plain_option(mut self, value: impl Into<String>) -> Self {
        self.options.push((value.into(), None));
        self
    }

    /// Sets an escalation: steps that run if there is no answer within this duration. The duration counts from
    /// the start of the step.
    ///
    /// The task stays open while the escalation runs, and an answer cancels the rest of the escalation. A task
    /// can have both an escalation and a [reassignment](Self::reassign), each with its own time. A task cannot
    /// have both an escalation and a time limit ([`timeout`](Self::timeout) or
    /// [`fail_after`](Self::fail_after)).
    #[must_use]
    pub fn escalate(
        mut self,
        after: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        let branch = self.common.body(body);
        if self.escalate.replace((ask(TIME, after), branch)).is_some() {
            self.common.duplicate = Some("escalations");
        }
        self
    }

    /// Sets a reassignment: if there is no answer within this duration, the task gets a new assignee. The
    /// duration counts from the start of the step.
    ///
    /// The reassigned task is a new task with a new id, so a claim of the first assignee ends. A task cannot
    /// have both a reassignment and a time limit ([`timeout`](Self::timeout) or
    /// [`fail_after`](Self::fail_after)).
    #[must_use]
    pub fn reassign<A: Into<String>>(
        mut self,
        after: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        to: impl Fn(&D, &I) -> A + Send + Sync + 'static,
    ) -> Self {
        let to: Ask<String> =
            ask("the new assignee of the task", move |data: &D, item: &I| to(data, item).into());
        if self.reassign.replace((ask(TIME, after), to)).is_some() {
            self.common.duplicate = Some("reassignments");
        }
        self
    }

    /// Adds an output closure, which writes the answer into the newest data.
    ///
    /// If the closure panics, the data stays unchanged and the step fails. A retry, or a resume of the
    /// instance, opens a new task with the same question.
    #[must_use]
    pub fn output(mut self, write: impl Fn(&UserAnswer, &mut D) + Send + Sync + 'static) -> Self {
        self.common.outputs.push(receive(OUTPUT, write));
        self
    }
}

waits!(Await<D, I>, Activity<D, I>, Child<D, I>, UserTask<D, I>);
outputs! {
    Await: "the event's data", "A retry, or a resume of the instance, reads the same event again.";
    Activity: "the worker's result", "A retry, or a resume of the instance, offers the activity to workers again.";
    Child: "the child's final data", "A retry, or a resume of the instance, starts a new child.";
}
