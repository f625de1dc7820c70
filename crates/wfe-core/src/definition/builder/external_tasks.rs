//! Steps whose work an external worker, a person or a child workflow does.

use std::time::Duration;

use serde::Serialize;

use super::{App, Awaits, Branch, Each, Main, OfActivity, OfChild, OfTask, Sequence, waits::TIME};
use crate::{
    definition::{Activity, Data, Item, WorkflowName, draft::Draft},
    program::{ActivityStep, Ask, SubWorkflow, Unanswered, UserTaskStep, Verb, ask, ask_value},
    steps::UserAnswer,
};

macro_rules! external_tasks {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// Steps whose work others do.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
            /// Waits until an external worker has done this activity. The worker gets the input that the closure
            /// computes. If the worker fails, the step fails; if the step has a retry policy, the activity is then
            /// offered to workers again.
            pub fn activity<I: Serialize + 'static, O>(
                self,
                id: impl Into<String>,
                activity: Activity<I, O>,
                input: impl Fn(&D $(, $by)?) -> I + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Awaits<O, OfActivity>> {
                let input = ask_value("the activity's input", $on_data(input));
                let (name, limit, outputs) = (activity.into_name(), None, Vec::new());
                self.leaf(id, Verb::Activity(ActivityStep { name, input, limit, outputs }))
            }

            /// Waits until a person has answered this question, then runs the steps of the chosen
            /// [`option`](Sequence::option). The answer is the step's outcome. A task needs at least one option.
            pub fn user_task<Q: Into<String>>(
                self,
                id: impl Into<String>,
                prompt: impl Fn(&D $(, $by)?) -> Q + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Awaits<UserAnswer, OfTask>> {
                let prompt = $on_data(prompt);
                let prompt = ask("the prompt of the task", move |data: &D, item: &$item| prompt(data, item).into());
                let (assignee, options, limit, outputs) = (None, Vec::new(), None, Vec::new());
                let unanswered = Unanswered { escalate: None, reassign: None };
                self.leaf(id, Verb::UserTask(UserTaskStep { prompt, assignee, options, unanswered, limit, outputs }))
            }

            /// Runs a child workflow: an instance of this definition, with the data that the closure computes. Waits
            /// until it has ended.
            ///
            /// The child runs the newest version of the definition that is registered with the host that starts it,
            /// unless [`version`](Sequence::version) is set. If the child fails, the step fails. If the child is
            /// cancelled or terminated, the step fails with the fatal code
            /// [`CHILD_ENDED`](crate::steps::StepError::CHILD_ENDED).
            ///
            /// The step fails with the code [`DEFINITION`](crate::steps::StepError::DEFINITION) in two cases: the
            /// definition is not registered there (a retryable error), or its data type cannot read the data (a fatal
            /// error).
            pub fn sub_workflow<C: Data>(
                self,
                id: impl Into<String>,
                workflow: WorkflowName<C>,
                data: impl Fn(&D $(, $by)?) -> C + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Awaits<C, OfChild>> {
                let data = ask_value("the data of the child", $on_data(data));
                let data_name = std::any::type_name::<C>();
                let (definition, version, limit, outputs) = (workflow.into_name(), None, None, Vec::new());
                self.leaf(
                    id,
                    Verb::SubWorkflow(SubWorkflow { definition, version, data, data_name, limit, outputs }),
                )
            }
        }

        /// Settings of a user task.
        impl<D: Data, A: App, $($t: Item)?> Sequence<D, $place, A, Awaits<UserAnswer, OfTask>> {
            /// Sets the assignee: the person who should answer. By default, anyone may answer.
            pub fn assignee<N: Into<String>>(
                self,
                to: impl Fn(&D $(, $by)?) -> N + Send + Sync + 'static,
            ) -> Self {
                let to = $on_data(to);
                let to = ask("the assignee of the task", move |data: &D, item: &$item| to(data, item).into());
                self.own_once("`assignee`", |draft| change_task(draft, |task, _| task.assignee = Some(to)))
            }

            /// Sets an escalation: steps that run if there is no answer for this long. The time counts from the start
            /// of the step.
            ///
            /// The task stays open while the escalation runs, and an answer cancels the rest of the escalation. A task
            /// can have both an escalation and a [reassignment](Self::reassign), each with its own time. It cannot have
            /// an escalation and a time limit ([`on_timeout`](Self::on_timeout) or [`fail_after`](Self::fail_after)).
            pub fn escalate<B: Branch<D, $place, A>>(
                mut self,
                after: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Self {
                let branch = self.steps_of(body);
                self.escalation(ask(TIME, $on_data(after)), branch)
            }

            /// Sets a reassignment: if there is no answer for this long, the task gets a new assignee. The time counts
            /// from the start of the step.
            ///
            /// The reassigned task is a new task with a new id, so a claim of the first assignee ends. A task cannot
            /// have a reassignment and a time limit ([`on_timeout`](Self::on_timeout) or
            /// [`fail_after`](Self::fail_after)).
            pub fn reassign<N: Into<String>>(
                self,
                after: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
                to: impl Fn(&D $(, $by)?) -> N + Send + Sync + 'static,
            ) -> Self {
                let (after, to) = (ask(TIME, $on_data(after)), $on_data(to));
                let to: Ask<String> =
                    ask("the new assignee of the task", move |data: &D, item: &$item| to(data, item).into());
                self.own_once("`reassign`", |draft| {
                    change_task(draft, |task, _| task.unanswered.reassign = Some((after, to)));
                })
            }
        }
    };
}

at_both_places!(external_tasks);

/// Options of a user task.
impl<D: Data, P, A: App> Sequence<D, P, A, Awaits<UserAnswer, OfTask>> {
    /// Adds an option: a possible answer, with the steps that run if the option is chosen.
    pub fn option<B: Branch<D, P, A>>(
        mut self,
        value: impl Into<String>,
        body: impl FnOnce(Sequence<D, P, A>) -> B,
    ) -> Self {
        let branch = self.steps_of(body);
        self.task("`option`", |task, branches| {
            // The escalation stays the last branch: stored instances refer to branches by their index.
            let at = task.unanswered.escalate.as_ref().map_or(branches.len(), |(_, at)| *at);
            branches.insert(at, branch);
            task.branch_inserted(at);
            task.options.push((value.into(), Some(at)));
        })
    }

    /// Adds an option without steps. If this option is chosen, the instance continues after the step.
    pub fn plain_option(self, value: impl Into<String>) -> Self {
        self.task("`plain_option`", |task, _| task.options.push((value.into(), None)))
    }

    fn escalation(self, after: Ask<Duration>, branch: Vec<Draft>) -> Self {
        self.own_once("`escalate`", |draft| {
            change_task(draft, |task, branches| {
                branches.push(branch);
                task.unanswered.escalate = Some((after, branches.len() - 1));
            });
        })
    }

    /// Changes the last step, which is a user task.
    fn task(
        self,
        modifier: &'static str,
        change: impl FnOnce(&mut UserTaskStep, &mut Vec<Vec<Draft>>),
    ) -> Self {
        self.own(modifier, |draft| change_task(draft, change))
    }
}

/// Changes a user task and its branches.
fn change_task(draft: &mut Draft, change: impl FnOnce(&mut UserTaskStep, &mut Vec<Vec<Draft>>)) {
    if let Verb::UserTask(task) = &mut draft.verb {
        change(task, &mut draft.branches);
    }
}

/// The version of a child.
impl<D: Data, P, A: App, C> Sequence<D, P, A, Awaits<C, OfChild>> {
    /// Sets the version of the child's definition. By default, the newest registered version is used.
    pub fn version(self, version: u32) -> Self {
        self.own_once("`version`", |draft| {
            if let Verb::SubWorkflow(child) = &mut draft.verb {
                child.version = Some(version);
            }
        })
    }
}
