use super::Sequence;
use crate::{
    definition::{Data, Each, Item, Task, draft::Draft, task::Source},
    program::{ForEach, RunBody, Verb},
};

/// Steps with bodies.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Adds a step with a body.
    ///
    /// ```
    /// use wfe_core::{definition::{WorkflowBuilder, step}, steps::{Ctx, Next, Step, StepResult}};
    ///
    /// struct Add { to: u32, sum: u32 }
    /// impl Step for Add {
    ///     async fn run(&mut self, _: &Ctx) -> StepResult {
    ///         self.sum = self.to + 1;
    ///         Ok(Next::Done)
    ///     }
    /// }
    ///
    /// let add = step(|| Add { to: 0, sum: 0 })
    ///     .input(|step, data: &u32, _| step.to = *data)
    ///     .output(|step, data| *data = step.sum);
    /// let definition = WorkflowBuilder::<u32>::new("count", 1).then("add", add).build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn then<S: Send + 'static, K: Source<S, D, I>>(
        self,
        id: impl Into<String>,
        task: Task<S, D, I, K>,
    ) -> Self {
        let (policy, name) = (task.policy.clone(), task.name.clone());
        let draft = Draft::new(id, Verb::RunBody(RunBody { body: task.into_body() }));
        self.push(Draft { name, policy, ..draft })
    }

    /// Adds a step that may start branches. If the step returns values
    /// ([`Next::branch`](crate::steps::Next::branch)), the steps of `body` run once for each value, all
    /// concurrently.
    ///
    /// The instance continues when every branch has ended. If the step returns anything else, it behaves like a
    /// step that was added with [`then`](Self::then).
    ///
    /// ```
    /// use wfe_core::{definition::{WorkflowBuilder, inline, inline_item}, steps::Next};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("fan-out", 1)
    ///     .then_each("split", inline(|_, _| async { Next::branch(["a", "b"]) }), |part| {
    ///         part.then("work", inline_item(|_, _, part: String| async move { Ok(part.len()) }))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn then_each<S: Send + 'static, K: Source<S, D, I>, T: Item>(
        self,
        id: impl Into<String>,
        task: Task<S, D, I, K>,
        body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>,
    ) -> Self {
        let (policy, name) = (task.policy.clone(), task.name.clone());
        let step = RunBody { body: task.into_body() };
        let verb = Verb::ForEach(ForEach { step, limit: usize::MAX });
        self.container(id, verb, body).modify_last(|draft| {
            draft.policy = policy;
            draft.name = name;
        })
    }

    /// Runs the steps of `body` once for each item: one item after the other, or several concurrently with
    /// [`Each::parallel`]. If there are no items, the instance continues immediately.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, each, inline_item};
    ///
    /// let definition = WorkflowBuilder::<Vec<u32>>::new("sum", 1)
    ///     .for_each("all", each(|data: &Vec<u32>| data.clone()).parallel(4), |one| {
    ///         one.then("double", inline_item(|_, _, n: u32| async move { Ok(n * 2) }))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn for_each<T: Item>(
        self,
        id: impl Into<String>,
        items: Each<D, I, T>,
        body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>,
    ) -> Self {
        let (source, limit, policy, name) = items.into_parts();
        let verb = Verb::ForEach(ForEach { step: RunBody { body: source }, limit });
        self.container(id, verb, body).modify_last(|draft| {
            draft.policy = policy;
            draft.name = name;
        })
    }

    /// Changes the last added step.
    pub(super) fn modify_last(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        match self.drafts.last_mut() {
            Some(draft) => change(draft),
            None => self.problems.push(
                "a name, a retry, a fallback or another setting comes before the first step; put it after the step that \
                 it belongs to"
                    .to_owned(),
            ),
        }
        self
    }
}
