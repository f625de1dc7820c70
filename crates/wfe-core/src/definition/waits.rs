//! What a step waits for, outside of the workflow.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Data, Item, Sequence, draft::Draft};
use crate::{
    program::{Ask, Receive, TimeLimit, ask, ask_value, receive},
    steps::UserAnswer,
};

/// How long a wait may last.
#[derive(Default)]
pub(crate) struct Limit {
    pub after: Option<Ask<Duration>>,
    /// What runs then; `None`: the step has failed.
    pub branch: Option<Vec<Draft>>,
}

impl Limit {
    /// What the step needs of it, and its branch, which is the first one of the step.
    pub fn split(self) -> (Option<TimeLimit>, Vec<Vec<Draft>>) {
        let has_branch = self.branch.is_some();
        let limit = self.after.map(|after| TimeLimit { after, has_branch });
        (limit, self.branch.into_iter().collect())
    }
}

/// What all waits have in common, before they are steps.
#[derive(Default)]
pub(crate) struct Common {
    pub limit: Limit,
    pub outputs: Vec<Receive>,
    /// What makes no sense about the steps of its branches.
    problems: Vec<String>,
    /// What is said twice of the step itself, which has its id only later.
    twice: Option<&'static str>,
}

impl Common {
    /// What makes no sense; `id` is that of the step.
    pub fn problems(&mut self, id: &str) -> Vec<String> {
        let mut problems = std::mem::take(&mut self.problems);
        let problem = |twice| format!("step {id:?}: it {twice}; the first one would have no effect");
        problems.extend(self.twice.map(problem));
        problems
    }

    fn limit(&mut self, limit: Limit) {
        if std::mem::replace(&mut self.limit, limit).after.is_some() {
            self.twice = Some("has two time limits");
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
            /// How long the wait lasts at most, and what runs then in its place; after that the instance goes on behind the
            /// step. What comes later is not taken.
            ///
            /// The limit takes effect when it passes. If the instance is suspended then, or no host is there, it does so
            /// afterwards, once what the store has by then was looked at. An event whose date is not after the limit has
            /// come in time; one that is dated later is too late, then as always. A worker's or a person's
            /// answer, and the end of a child, have no such date: one that is there counts.
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

            /// How long the wait lasts at most; then the step has failed, with the code `timeout`, and its retry policy and
            /// error behaviour say what follows. What has come in time is said at [`timeout`](Self::timeout).
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
            #[doc = concat!("Writes ", $what, " into the newest data. If it is of another type than `T`, or this panics, ")]
            /// nothing is changed and the step has failed.
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

/// An event that a step waits for. Made by [`event`].
pub struct Await<D, I> {
    pub(super) name: String,
    pub(super) key: Ask<String>,
    pub(super) effective: Option<Ask<DateTime<Utc>>>,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// An event of this name, with the key that the data gives: the first one that the instance has not consumed yet, whether it
/// was published before or comes later.
///
/// *Before* begins with the creation of the instance: in the order in which the store was told of the two, whatever the
/// clock showed, unless the event was published with a date of its own. A child workflow is created when its parent comes to
/// the step: an event published earlier, while the parent already ran, does not reach the child unless
/// [`effective`](Await::effective) says from when on events count.
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
    /// Events dated earlier are passed over; by default those from before the creation of the instance. It counts until the
    /// instance has consumed an event of this name and key: then the next one is that which comes after it. A date that no
    /// store can hold is the nearest that one can: `MIN_UTC` is *from the beginning*.
    ///
    /// A child workflow whose event may come before the child does takes a date from its parent:
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
    ///             .effective(|order, _| order.ordered) // not from when this child began
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

/// Work for somebody outside. Made by [`activity`].
pub struct Activity<D, I> {
    pub(super) name: String,
    pub(super) input: Ask<Value>,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// Work for an external worker, which finds it by this name and is given the input. Names that begin with `wfe.` are the
/// engine's, and are refused when the definition is built.
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

/// A child workflow. Made by [`child`].
pub struct Child<D, I> {
    pub(super) definition: String,
    pub(super) version: Option<u32>,
    pub(super) data: Ask<Value>,
    pub(super) data_name: &'static str,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// An instance of the definition of this id, with this data: of its newest version known to the host that begins it,
/// unless [`version`](Child::version) says otherwise.
///
/// If no version of it is registered there, or its data type cannot read the data, the step fails with the code
/// [`DEFINITION`](crate::steps::StepError::DEFINITION): in the second case fatally.
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
    /// This version of the definition.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{Every, WorkflowBuilder, child, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("parent", 1)
    ///     // Beside the child, at an interval, until the data says that it is enough.
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

/// A question to a person. Made by [`user_task`].
pub struct UserTask<D, I> {
    pub(super) prompt: Ask<String>,
    pub(super) assignee: Option<Ask<String>>,
    pub(super) options: Vec<(String, Option<Vec<Draft>>)>,
    /// What runs when nobody answers for so long.
    pub(super) escalate: Option<(Ask<Duration>, Vec<Draft>)>,
    /// Whom it goes to when nobody answers for so long.
    pub(super) reassign: Option<(Ask<Duration>, Ask<String>)>,
    pub(super) common: Common,
    types: std::marker::PhantomData<fn(D, I)>,
}

/// A question to a person, with this prompt. It has at least one [option](UserTask::option).
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
    /// Whom it is for; by default whoever comes.
    #[must_use]
    pub fn assignee<A: Into<String>>(mut self, to: impl Fn(&D, &I) -> A + Send + Sync + 'static) -> Self {
        self.assignee =
            Some(ask("the assignee of the task", move |data: &D, item: &I| to(data, item).into()));
        self
    }

    /// What can be answered, and what runs then.
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

    /// What can be answered; the instance just goes on then, with the answer as the step's outcome.
    #[must_use]
    pub fn plain_option(mut self, value: impl Into<String>) -> Self {
        self.options.push((value.into(), None));
        self
    }

    /// What runs when nobody has answered for so long. The task stays open meanwhile; an answer takes away what is left of
    /// the escalation. It excludes [`timeout`](Self::timeout) and [`fail_after`](Self::fail_after), and goes with
    /// [`reassign`](Self::reassign), which has a time of its own.
    #[must_use]
    pub fn escalate(
        mut self,
        after: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        let branch = self.common.body(body);
        if self.escalate.replace((ask(TIME, after), branch)).is_some() {
            self.common.twice = Some("is escalated twice");
        }
        self
    }

    /// Whom the task is for when nobody has answered for so long. It becomes a new task, so that a claim of the first
    /// assignee ends. It excludes what [`escalate`](Self::escalate) excludes. Both times count from when the step begins.
    #[must_use]
    pub fn reassign<A: Into<String>>(
        mut self,
        after: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        to: impl Fn(&D, &I) -> A + Send + Sync + 'static,
    ) -> Self {
        let to: Ask<String> =
            ask("the new assignee of the task", move |data: &D, item: &I| to(data, item).into());
        if self.reassign.replace((ask(TIME, after), to)).is_some() {
            self.common.twice = Some("is reassigned twice");
        }
        self
    }

    /// Writes the answer into the newest data. If this panics, nothing is changed and the step has failed. A retry, or a
    /// resume, asks again.
    #[must_use]
    pub fn output(mut self, write: impl Fn(&UserAnswer, &mut D) + Send + Sync + 'static) -> Self {
        self.common.outputs.push(receive(OUTPUT, write));
        self
    }
}

waits!(Await<D, I>, Activity<D, I>, Child<D, I>, UserTask<D, I>);
outputs! {
    Await: "what the event carries",
        "The event stays with the step: a retry, or a resume, reads the same one again.";
    Activity: "the worker's result", "A retry, or a resume, offers the work again.";
    Child: "the child's data at its end", "A retry, or a resume, begins a new child.";
}
