//! Containers with several branches. `then_decide.rs` has the decision by what the step before gave.

use std::{fmt, sync::Arc};

use super::{App, Block, Branch, Each, Main, Sequence, containers::CONDITION};
use crate::{
    definition::{Data, Item, draft::Draft},
    program::{Ask, Decide, Matches, Parallel, Race, Verb, ask},
};

/// The branches of a container, and what was found wrong with them. `X` is what each branch has besides its steps.
pub(super) struct BranchParts<X> {
    pub(super) extras: Vec<X>,
    labels: Vec<String>,
    drafts: Vec<Vec<Draft>>,
    otherwise: Vec<Vec<Draft>>,
    problems: Vec<String>,
}

impl<X> BranchParts<X> {
    fn new() -> Self {
        Self {
            extras: Vec::new(),
            labels: Vec::new(),
            drafts: Vec::new(),
            otherwise: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn add(&mut self, extra: X, label: String, drafts: Vec<Draft>) {
        self.extras.push(extra);
        self.labels.push(label);
        self.drafts.push(drafts);
    }

    fn label(&mut self, label: String) {
        if !self.otherwise.is_empty() {
            let problem =
                format!("the label {label:?} comes after `otherwise`, which has no label of its own");
            self.problems.push(problem);
            return;
        }
        match self.labels.last_mut() {
            Some(last) => *last = label,
            None => self.problems.push(format!(
                "the label {label:?} comes before the first branch; put it after the branch that it belongs to"
            )),
        }
    }

    /// The step that runs the branches that `matches` picks.
    fn decide(self, id: String, matches: Matches) -> (Draft, Vec<String>) {
        let Self { labels, mut drafts, otherwise, mut problems, .. } = self;
        if otherwise.len() > 1 {
            problems.push(format!("step {id:?} has more than one `otherwise` branch"));
        }
        let verb = Verb::Decide(Decide { matches, labels, has_otherwise: !otherwise.is_empty() });
        drafts.extend(otherwise.into_iter().next());
        (Draft { branches: drafts, ..Draft::new(id, verb) }, problems)
    }
}

macro_rules! branches {
    ($($(#[$doc:meta])* $name:ident<$extra:ty $(; $value:ident)?>;)*) => { $(
        $(#[$doc])*
        pub struct $name<D, P, A $(, $value)?> {
            pub(super) parts: BranchParts<$extra>,
            /// An empty branch, from which each branch begins.
            empty: Sequence<D, P, A>,
        }

        impl<D, P, A: Clone $(, $value)?> $name<D, P, A $(, $value)?> {
            pub(super) fn new(empty: Sequence<D, P, A>) -> Self {
                Self { parts: BranchParts::new(), empty }
            }

            fn steps<B: Branch<D, P, A>>(&mut self, body: impl FnOnce(Sequence<D, P, A>) -> B) -> Vec<Draft> {
                let drafts = self.empty.steps_of(body);
                self.parts.problems.append(&mut self.empty.parts.problems);
                drafts
            }
        }
    )* };
}

branches! {
    /// The branches of a [`parallel`](Sequence::parallel) or a [`race`](Sequence::race) step.
    Branches<()>;
    /// The branches of a [`decide`](Sequence::decide) step, each with a value.
    Decision<V; V>;
    /// The branches of a [`branch`](Sequence::branch) step, each with a condition.
    Choice<Ask<bool>>;
}

macro_rules! labels {
    ($($name:ident<D, P, A $(, $value:ident)?>: $default:literal, $if:literal;)*) => { $(
        impl<D, P, A: App $(, $value)?> $name<D, P, A $(, $value)?> {
            #[doc = concat!("Sets the label of the last added branch, which outlines and pictures show. By default, it is ", $default, ".")]
            #[must_use]
            pub fn label(mut self, label: impl Into<String>) -> Self {
                self.parts.label(label.into());
                self
            }

            #[doc = concat!("Adds a branch that runs if ", $if, ".")]
            #[must_use]
            pub fn otherwise<B: Branch<D, P, A>>(mut self, body: impl FnOnce(Sequence<D, P, A>) -> B) -> Self {
                let drafts = self.steps(body);
                self.parts.otherwise.push(drafts);
                self
            }
        }
    )* };
}

labels! {
    Decision<D, P, A, V>: "the branch's value", "the value equals that of no other branch";
    Choice<D, P, A>: "`condition` and the branch's number", "no condition holds";
}

impl<D, P, A: App> Branches<D, P, A> {
    /// Adds a branch.
    #[must_use]
    pub fn branch<B: Branch<D, P, A>>(mut self, body: impl FnOnce(Sequence<D, P, A>) -> B) -> Self {
        let drafts = self.steps(body);
        self.parts.add((), String::new(), drafts);
        self
    }
}

impl<D, P, A: App, V: fmt::Debug> Decision<D, P, A, V> {
    /// Adds a branch that runs for this value.
    #[must_use]
    pub fn when<B: Branch<D, P, A>>(mut self, value: V, body: impl FnOnce(Sequence<D, P, A>) -> B) -> Self {
        let drafts = self.steps(body);
        self.parts.add(value, String::new(), drafts);
        if let (Some(label), Some(value)) = (self.parts.labels.last_mut(), self.parts.extras.last()) {
            *label = format!("{value:?}");
        }
        self
    }
}

/// Branches that run at once.
impl<D: Data, P, A: App, L> Sequence<D, P, A, L> {
    /// Runs all branches at once. The instance continues when every branch has ended.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("both", 1)
    ///     .parallel("pack-and-bill", |all| {
    ///         all.branch(|one| one.then("pack", async |_, _| Ok(())))
    ///             .branch(|one| one.then("bill", async |_, _| Ok(())))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn parallel(
        self,
        id: impl Into<String>,
        branches: impl FnOnce(Branches<D, P, A>) -> Branches<D, P, A>,
    ) -> Sequence<D, P, A, Block> {
        self.at_once(id, branches, |branches| Verb::Parallel(Parallel { branches }))
    }

    /// Runs all branches at once. The first branch that ends wins: the others are cancelled, and the instance
    /// continues. The outcome of the step is the number of the branch that has won, counted from 1.
    ///
    /// **Time limit.** A race between the work and a [`delay`](Sequence::delay) limits the time of several steps
    /// together. To limit a single wait, [`on_timeout`](Sequence::on_timeout) is shorter.
    ///
    /// **Ties.** If several branches end in the same commit, all their steps have completed, and the first of these
    /// branches in the definition has won. An answer that a worker or a user gave before the others were cancelled
    /// counts: its branch continues with the answer, and wins if it ends with it and comes first.
    ///
    /// **The branches that lose** are cancelled as by a [cancel condition](Self::cancel_when): running bodies are
    /// notified by their token, waits are closed, claims of activities are refused from then on, and child workflows
    /// are requested to cancel. Sagas inside these branches are not compensated. If the race is inside a saga, the
    /// steps that the branches had completed are compensated when that saga is compensated, and not before.
    ///
    /// **Failures.** A branch that fails does not lose, and the race does not go on without it. If a step in a branch
    /// fails for good, it fails the instance or the enclosing saga, as in a [`parallel`](Self::parallel) step;
    /// [`on_failure`](Self::on_failure) and [`fallback`](Self::fallback) of that step change this. The race itself never
    /// fails, so [`build`](Sequence::build) refuses a retry policy, a fallback and an `on_failure` of it. It also refuses
    /// a race without branches.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{Event, WorkflowBuilder};
    ///
    /// const SIGNED: Event<()> = Event::new("signed");
    ///
    /// let definition = WorkflowBuilder::<String>::new("contract", 1)
    ///     .race("signed-in-time", |first| {
    ///         first
    ///             .branch(|sign| {
    ///                 sign.wait_for("signed-by-us", SIGNED, |id| format!("{id}/us"))
    ///                     .wait_for("signed-by-them", SIGNED, |id| format!("{id}/them"))
    ///             })
    ///             .branch(|late| {
    ///                 late.delay("a-week", |_| Duration::from_hours(7 * 24)).then("withdraw", async |_, _| Ok(()))
    ///             })
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn race(
        self,
        id: impl Into<String>,
        branches: impl FnOnce(Branches<D, P, A>) -> Branches<D, P, A>,
    ) -> Sequence<D, P, A, Block> {
        self.at_once(id, branches, |branches| Verb::Race(Race { branches }))
    }

    fn at_once(
        mut self,
        id: impl Into<String>,
        branches: impl FnOnce(Branches<D, P, A>) -> Branches<D, P, A>,
        verb: fn(usize) -> Verb,
    ) -> Sequence<D, P, A, Block> {
        let BranchParts { drafts: branches, problems, .. } = branches(Branches::new(self.inner())).parts;
        self.parts.problems.extend(problems);
        let verb = verb(branches.len());
        self.push(Draft { branches, ..Draft::new(id, verb) })
    }

    pub(super) fn decision<X>(
        mut self,
        id: impl Into<String>,
        parts: BranchParts<X>,
        matches: Matches,
    ) -> Sequence<D, P, A, Block> {
        let (draft, problems) = parts.decide(id.into(), matches);
        self.parts.problems.extend(problems);
        self.push(draft)
    }
}

const DECISION: &str = "the step's decision";

macro_rules! decisions {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// Branches that run by the data.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
            /// Runs the branches whose value equals the result of `value`. Several such branches run at once. If there
            /// is none, the [`otherwise`](Decision::otherwise) branch runs; without that branch, the instance
            /// continues.
            pub fn decide<V: PartialEq + fmt::Debug + Send + Sync + 'static>(
                self,
                id: impl Into<String>,
                value: impl Fn(&D $(, $by)?) -> V + Send + Sync + 'static,
                branches: impl FnOnce(Decision<D, $place, A, V>) -> Decision<D, $place, A, V>,
            ) -> Sequence<D, $place, A, Block> {
                let mut parts = branches(Decision::new(self.inner())).parts;
                let (value, values) = ($on_data(value), std::mem::take(&mut parts.extras));
                let matches = ask(DECISION, move |data: &D, item: &$item| {
                    let value = value(data, item);
                    values.iter().map(|when| *when == value).collect()
                });
                self.decision(id, parts, Matches::Asked(matches))
            }

            /// Runs the branches whose text equals the one that the closure borrows from the data. Otherwise like
            /// [`decide`](Self::decide), whose closure has to return a value of its own.
            ///
            /// ```
            /// use serde::{Deserialize, Serialize};
            /// use wfe_core::definition::WorkflowBuilder;
            ///
            /// #[derive(Clone, Serialize, Deserialize)]
            /// struct Order { kind: String, is_express: bool }
            ///
            /// let definition = WorkflowBuilder::<Order>::new("order", 1)
            ///     .decide_text("kind", |order| &order.kind, |by| {
            ///         by.when("express", |express| express.change("hurry", |order| order.is_express = true))
            ///             .otherwise(|other| other.end("later"))
            ///     })
            ///     .build()?;
            /// # Ok::<(), wfe_core::WfeError>(())
            /// ```
            pub fn decide_text(
                self,
                id: impl Into<String>,
                text: impl for<'a> Fn(&'a D $(, &'a $t)?) -> &'a str + Send + Sync + 'static,
                branches: impl FnOnce(
                    Decision<D, $place, A, &'static str>,
                ) -> Decision<D, $place, A, &'static str>,
            ) -> Sequence<D, $place, A, Block> {
                let mut parts = branches(Decision::new(self.inner())).parts;
                let texts = std::mem::take(&mut parts.extras);
                let matches = ask(DECISION, move |data: &D, _item: &$item| {
                    let text = text(data $(, _item as $by)?);
                    texts.iter().map(|when| *when == text).collect()
                });
                self.decision(id, parts, Matches::Asked(matches))
            }

            /// Runs the branches whose condition holds. Several such branches run at once. If there is none, the
            /// [`otherwise`](Choice::otherwise) branch runs; without that branch, the instance continues.
            pub fn branch(
                self,
                id: impl Into<String>,
                branches: impl FnOnce(Choice<D, $place, A>) -> Choice<D, $place, A>,
            ) -> Sequence<D, $place, A, Block> {
                let mut parts = branches(Choice::new(self.inner())).parts;
                let conditions = std::mem::take(&mut parts.extras);
                let matches: Ask<Vec<bool>> =
                    Arc::new(move |data, item| conditions.iter().map(|holds| holds(data, item)).collect());
                self.decision(id, parts, Matches::Asked(matches))
            }
        }

        impl<D: Data, A: App, $($t: Item)?> Choice<D, $place, A> {
            /// Adds a branch that runs if this condition holds.
            #[must_use]
            pub fn when<B: Branch<D, $place, A>>(
                mut self,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Self {
                let drafts = self.steps(body);
                let label = format!("condition {}", self.parts.drafts.len() + 1);
                self.parts.add(ask(CONDITION, $on_data(holds)), label, drafts);
                self
            }
        }
    };
}

at_both_places!(decisions);
