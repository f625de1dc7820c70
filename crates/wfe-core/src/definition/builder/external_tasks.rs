//! Steps whose work an external worker, a person or a child workflow does.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::{App, Awaits, Branch, Each, Main, OfActivity, OfChild, OfTask, Sequence, waits::TIME};
use crate::{
    definition::{Activity, Data, Item, WorkflowName, draft::Draft},
    program::{
        ActivityName, ActivityStep, Ask, SubWorkflow, Unanswered, UserTaskStep, Verb, ask, ask_at, ask_value,
    },
    steps::{StepInfo, UserAnswer},
};

const INPUT: &str = "the activity's input";

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
                let input = ask_value(INPUT, $on_data(input));
                self.work(id.into(), ActivityName::Fixed(activity.into_name()), input)
            }

            /// Waits until an external worker has done an activity whose name is computed, such as one for each tenant or
            /// each machine. Otherwise like [`activity`](Self::activity).
            ///
            /// The closure for the name also takes the [step](StepInfo). Each execution of the step, and each retry,
            /// computes the name. An empty name, or one that is reserved for the engine, fails the step with the fatal
            /// code [`DEFINITION`](crate::steps::StepError::DEFINITION).
            ///
            /// ```
            /// use wfe_core::definition::{Activity, WorkflowBuilder};
            ///
            /// let definition = WorkflowBuilder::<String>::new("print", 1)
            ///     .activity_named(
            ///         "print",
            ///         |_, room| Activity::<String, u32>::named(format!("print-in-{room}")),
            ///         |room| format!("a page for {room}"),
            ///     )
            ///     .output(|pages, room| *room = format!("{pages} pages"))
            ///     .build()?;
            /// # Ok::<(), wfe_core::WfeError>(())
            /// ```
            pub fn activity_named<I: Serialize + 'static, O: 'static>(
                self,
                id: impl Into<String>,
                activity: impl Fn(&StepInfo, &D $(, $by)?) -> Activity<I, O> + Send + Sync + 'static,
                input: impl Fn(&D $(, $by)?) -> I + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Awaits<O, OfActivity>> {
                let name = ask_at("the name of the activity", move |step: &StepInfo, data: &D, _item: &$item| {
                    activity(step, data $(, _item as $by)?).into_name()
                });
                let input = ask_value(INPUT, $on_data(input));
                self.work(id.into(), ActivityName::Computed(name), input)
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
                let (assignee, options, labels, limit, outputs) =
                    (None, Vec::new(), BTreeMap::new(), None, Vec::new());
                let unanswered = Unanswered { escalate: None, reassign: None };
                self.leaf(id, Verb::UserTask(UserTaskStep { prompt, assignee, options, labels, unanswered, limit, outputs }))
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

        /// The claim limit of an activity.
        impl<D: Data, A: App, O, $($t: Item)?> Sequence<D, $place, A, Awaits<O, OfActivity>> {
            /// Limits the time until a worker claims the activity, counted from the start of the step.
            ///
            /// If no worker has claimed the activity within this time, the wait is over: the activity is withdrawn, so no
            /// worker can claim it any more. If the step has [`on_timeout`](Sequence::on_timeout), the steps of that branch
            /// run. Otherwise, the step fails with the code [`TIMEOUT`](crate::steps::StepError::TIMEOUT); a retry offers
            /// the activity again, with a new limit.
            ///
            /// The first claim ends this limit for good, even if the lease of the claim expires later, because the worker
            /// has died. A claim that the worker has given back counts as none. If the instance is suspended when the
            /// limit passes, or no host is running, the limit takes effect afterwards; a claim is in time if it is stored
            /// before that. If the instance fails before the limit has passed, and is retried, the activity is offered
            /// again and must be claimed again; the time in which the instance was ended does not count. The step's
            /// other time limit, of [`on_timeout`](Sequence::on_timeout) or [`fail_after`](Sequence::fail_after), counts
            /// from the start of the step too, whether or not a worker has claimed the activity.
            ///
            /// ```
            /// use std::time::Duration;
            /// use wfe_core::definition::{Activity, WorkflowBuilder};
            ///
            /// const PRINT: Activity<String, ()> = Activity::new("print");
            ///
            /// let definition = WorkflowBuilder::<String>::new("letter", 1)
            ///     .activity("print", PRINT, |text| text.clone())
            ///     .claim_within(|_| Duration::from_mins(5)) // no printer is on
            ///     .on_timeout(|_| Duration::from_hours(1), |late| late.then("send-by-mail", async |_, _| Ok(())))
            ///     .build()?;
            /// # Ok::<(), wfe_core::WfeError>(())
            /// ```
            pub fn claim_within(
                self,
                limit: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
            ) -> Self {
                let limit = ask("the claim limit of the activity", $on_data(limit));
                self.own_once("`claim_within`", |draft| {
                    if let Verb::Activity(activity) = &mut draft.verb {
                        activity.claim_within = Some(limit);
                    }
                })
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

impl<D, P, A, L> Sequence<D, P, A, L> {
    fn work<O>(
        self,
        id: String,
        name: ActivityName,
        input: Ask<Value>,
    ) -> Sequence<D, P, A, Awaits<O, OfActivity>> {
        self.leaf(
            id,
            Verb::Activity(ActivityStep {
                name,
                input,
                claim_within: None,
                limit: None,
                outputs: Vec::new(),
            }),
        )
    }
}

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

    /// Sets the label of the last added option, for user interfaces. By default, it is the option's value.
    ///
    /// The value is what an answer names and what instances store, so it stays the same when the label changes. The open
    /// task has the label that the definition had when the task was opened.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<String>::new("leave", 1)
    ///     .user_task("decide", |who| format!("May {who} go on leave?"))
    ///     .option("yes", |yes| yes.change("grant", |who| who.push_str(" is off")))
    ///     .label("Yes, have a good time")
    ///     .plain_option("no")
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn label(self, label: impl Into<String>) -> Self {
        let label = label.into();
        self.own("`label`", |draft| {
            let Verb::UserTask(task) = &mut draft.verb else { return };
            match task.options.last() {
                Some((option, _)) if !task.labels.contains_key(option) => {
                    task.labels.insert(option.clone(), label);
                }
                Some((option, _)) => {
                    let problem = format!("its option {option:?} has `label` twice; keep one of them");
                    draft.problem(|| problem);
                }
                None => draft.problem(|| {
                    format!("the label {label:?} comes before the first option; put it after the option that it belongs to")
                }),
            }
        })
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
