use std::{fmt, marker::PhantomData, sync::Arc};

use super::Sequence;
use crate::{
    definition::{Data, Item, draft::Draft},
    program::{Ask, Decide, IfElse, Parallel, Verb, While, ask},
};

/// Branches that run on a condition, and branches that run in parallel.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Runs the steps of `then` if the condition holds.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("if", 1)
    ///     .if_("large", |n, _| *n > 100, |then| then.then("check", inline(|_, _| async { Ok(()) })))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn if_(
        self,
        id: impl Into<String>,
        holds: impl Fn(&D, &I) -> bool + Send + Sync + 'static,
        then: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        self.container(id, Verb::If(IfElse { holds: ask(CONDITION, holds) }), then)
    }

    /// Runs the steps of `then` if the condition holds, and the steps of `otherwise` if it does not.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("if-else", 1)
    ///     .if_else(
    ///         "even",
    ///         |n, _| n % 2 == 0,
    ///         |then| then.then("halve", inline(|_, _| async { Ok(()) })),
    ///         |otherwise| otherwise.then("triple", inline(|_, _| async { Ok(()) })),
    ///     )
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn if_else(
        mut self,
        id: impl Into<String>,
        holds: impl Fn(&D, &I) -> bool + Send + Sync + 'static,
        then: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
        otherwise: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        let mut draft = Draft::new(id, Verb::If(IfElse { holds: ask(CONDITION, holds) }));
        draft.branches = vec![self.body(then), self.body(otherwise)];
        self.push(draft)
    }

    /// Repeats the steps of `body` as long as the condition holds. The condition is evaluated before each
    /// iteration.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("count-down", 1)
    /// .while_("left", |n, _| *n > 0, |iteration| { iteration.then("take", inline(|_, _| async { Ok(())
    /// }).output(|(), n| *n -= 1))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn while_(
        self,
        id: impl Into<String>,
        holds: impl Fn(&D, &I) -> bool + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        self.container(id, Verb::While(While { holds: ask(CONDITION, holds) }), body)
    }

    /// Runs all branches concurrently. The instance continues when every branch has ended.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("both", 1)
    ///     .parallel("pack-and-bill", |all| {
    ///         all.branch(|one| one.then("pack", inline(|_, _| async { Ok(()) })))
    ///             .branch(|one| one.then("bill", inline(|_, _| async { Ok(()) })))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn parallel(
        mut self,
        id: impl Into<String>,
        branches: impl FnOnce(Branches<D, I>) -> Branches<D, I>,
    ) -> Self {
        let Branches { drafts, problems, .. } =
            branches(Branches { drafts: Vec::new(), problems: Vec::new(), types: PhantomData });
        self.problems.extend(problems);
        let mut draft = Draft::new(id, Verb::Parallel(Parallel { branches: drafts.len() }));
        draft.branches = drafts;
        self.push(draft)
    }

    /// Runs the branches whose value equals the result of `value`. If several branches match, they run
    /// concurrently. If no branch matches, the [`otherwise`](Decision::otherwise) branch runs. If there is no
    /// `otherwise` branch either, the instance continues.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<String>::new("route", 1)
    ///     .decide("country", |country, _| country.clone(), |by| {
    ///         by.when("DE".to_owned(), |one| one.then("german", inline(|_, _| async { Ok(()) })))
    ///             .when("FR".to_owned(), |one| one.then("french", inline(|_, _| async { Ok(()) })))
    ///             .otherwise(|one| one.then("english", inline(|_, _| async { Ok(()) })))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn decide<V: PartialEq + fmt::Debug + Send + Sync + 'static>(
        mut self,
        id: impl Into<String>,
        value: impl Fn(&D, &I) -> V + Send + Sync + 'static,
        branches: impl FnOnce(Decision<D, I, V>) -> Decision<D, I, V>,
    ) -> Self {
        let Decision { values, labels, drafts, otherwise, problems, .. } = branches(Decision::new());
        self.problems.extend(problems);
        let pick = ask("the step's decision", move |data: &D, item: &I| {
            let value = value(data, item);
            values.iter().map(|when| *when == value).collect()
        });
        self.decision(id, pick, labels, drafts, otherwise)
    }

    /// Runs the branches whose condition holds. If several conditions hold, their branches run concurrently. If
    /// no condition holds, the [`otherwise`](Choice::otherwise) branch runs. If there is no `otherwise` branch
    /// either, the instance continues.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("checks", 1)
    ///     .branch("what-is-needed", |by| {
    ///         by.when(|n, _| *n > 10, |one| one.then("count", inline(|_, _| async { Ok(()) })))
    ///             .when(|n, _| n % 2 == 1, |one| one.then("pair", inline(|_, _| async { Ok(()) })))
    ///             .otherwise(|one| one.then("wave-through", inline(|_, _| async { Ok(()) })))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn branch(
        mut self,
        id: impl Into<String>,
        branches: impl FnOnce(Choice<D, I>) -> Choice<D, I>,
    ) -> Self {
        let Choice { conditions, labels, drafts, otherwise, problems, .. } = branches(Choice::new());
        self.problems.extend(problems);
        let pick: Ask<Vec<bool>> =
            Arc::new(move |data, item| conditions.iter().map(|holds| holds(data, item)).collect());
        self.decision(id, pick, labels, drafts, otherwise)
    }

    fn decision(
        mut self,
        id: impl Into<String>,
        pick: Ask<Vec<bool>>,
        labels: Vec<String>,
        mut drafts: Vec<Vec<Draft>>,
        otherwise: Vec<Vec<Draft>>,
    ) -> Self {
        let id = id.into();
        if otherwise.len() > 1 {
            self.problems.push(format!("step {id:?} has more than one `otherwise` branch"));
        }
        let has_otherwise = !otherwise.is_empty();
        let verb = Verb::Decide(Decide { matches: pick, labels, has_otherwise });
        drafts.extend(otherwise.into_iter().next());
        let mut draft = Draft::new(id, verb);
        draft.branches = drafts;
        self.push(draft)
    }
}

const CONDITION: &str = "the step's condition";

fn early_label(label: &str) -> String {
    format!("the label {label:?} comes before the first branch; put it after the branch that it belongs to")
}

/// The branches of a [`parallel`](Sequence::parallel) step.
pub struct Branches<D, I> {
    drafts: Vec<Vec<Draft>>,
    problems: Vec<String>,
    types: PhantomData<fn(D, I)>,
}

impl<D: Data, I: Item> Branches<D, I> {
    /// Adds a branch.
    #[must_use]
    pub fn branch(mut self, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        self.drafts.push(body.drafts);
        self
    }
}

/// The branches of a [`decide`](Sequence::decide) step, each with a value.
pub struct Decision<D, I, V> {
    values: Vec<V>,
    labels: Vec<String>,
    drafts: Vec<Vec<Draft>>,
    otherwise: Vec<Vec<Draft>>,
    problems: Vec<String>,
    types: PhantomData<fn(D, I)>,
}

impl<D: Data, I: Item, V: fmt::Debug> Decision<D, I, V> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            labels: Vec::new(),
            drafts: Vec::new(),
            otherwise: Vec::new(),
            problems: Vec::new(),
            types: PhantomData,
        }
    }

    /// Adds a branch that runs for this value.
    #[must_use]
    pub fn when(mut self, value: V, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        self.labels.push(format!("{value:?}"));
        self.values.push(value);
        self.drafts.push(body.drafts);
        self
    }

    /// Sets the label of the last added branch. Outlines and diagrams show this label. By default, the label is
    /// the branch's value.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        match self.labels.last_mut() {
            Some(last) => *last = label.into(),
            None => self.problems.push(early_label(&label.into())),
        }
        self
    }

    /// Adds a branch that runs if no other branch has the computed value.
    #[must_use]
    pub fn otherwise(mut self, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        self.otherwise.push(body.drafts);
        self
    }
}

/// The branches of a [`branch`](Sequence::branch) step, each with a condition.
pub struct Choice<D, I> {
    conditions: Vec<Ask<bool>>,
    labels: Vec<String>,
    drafts: Vec<Vec<Draft>>,
    otherwise: Vec<Vec<Draft>>,
    problems: Vec<String>,
    types: PhantomData<fn(D, I)>,
}

impl<D: Data, I: Item> Choice<D, I> {
    fn new() -> Self {
        Self {
            conditions: Vec::new(),
            labels: Vec::new(),
            drafts: Vec::new(),
            otherwise: Vec::new(),
            problems: Vec::new(),
            types: PhantomData,
        }
    }

    /// Adds a branch that runs if this condition holds.
    #[must_use]
    pub fn when(
        mut self,
        holds: impl Fn(&D, &I) -> bool + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        self.conditions.push(ask(CONDITION, holds));
        self.labels.push(format!("condition {}", self.conditions.len()));
        self.drafts.push(body.drafts);
        self
    }

    /// Sets the label of the last added branch. Outlines and diagrams show this label. By default, the label is
    /// `condition` and the branch's number.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        match self.labels.last_mut() {
            Some(last) => *last = label.into(),
            None => self.problems.push(early_label(&label.into())),
        }
        self
    }

    /// Adds a branch that runs if no condition holds.
    #[must_use]
    pub fn otherwise(mut self, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        self.otherwise.push(body.drafts);
        self
    }
}
