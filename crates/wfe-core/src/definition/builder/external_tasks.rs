use std::sync::Arc;

use super::Sequence;
use crate::{
    definition::{Activity, Child, Data, Item, UserTask, draft::Draft},
    program::{ActivityStep, SubWorkflow, Unanswered, UserTaskStep, Verb},
};

/// Steps whose work an external worker, a person or a child workflow does.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Waits until an external worker has completed this activity. If the worker fails, the step fails; if the
    /// step has a retry policy, the activity is then offered to workers again.
    ///
    /// ```
    /// use wfe_core::definition::{Retry, WorkflowBuilder, activity};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Upload { path: String, thumbnail: Option<String> }
    ///
    /// let definition = WorkflowBuilder::<Upload>::new("upload", 1)
    ///     .activity(
    ///         "thumbnail",
    ///         activity("make-thumbnail", |upload: &Upload, _| upload.path.clone())
    ///             .output(|path: &String, upload| upload.thumbnail = Some(path.clone())),
    ///     )
    ///     .retry(Retry::up_to(3))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn activity(mut self, id: impl Into<String>, activity: Activity<D, I>) -> Self {
        let (id, Activity { name, input, mut common, .. }) = (id.into(), activity);
        self.problems.extend(common.problems(&id));
        let (limit, branches) = common.limit.split();
        let verb = Verb::Activity(ActivityStep { name, input, limit, outputs: Arc::new(common.outputs) });
        self.push(Draft { branches, ..Draft::new(id, verb) })
    }

    /// Waits until a person has answered this user task, then runs the steps of the chosen option. The answer
    /// is the step's outcome.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{WorkflowBuilder, inline, user_task};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Leave { who: String, boss: String, granted: bool }
    ///
    /// let definition = WorkflowBuilder::<Leave>::new("leave", 1)
    ///     .user_task(
    ///         "decide",
    ///         user_task(|leave: &Leave, _| format!("May {} go on leave?", leave.who))
    ///             .assignee(|leave, _| leave.boss.clone())
    ///             .option("yes", |yes| {
    ///                 yes.then("grant", inline(|_, _| async { Ok(()) }).output(|(), leave: &mut Leave| leave.granted = true))
    ///             })
    ///             .plain_option("no")
    ///             .escalate(|_, _| Duration::from_hours(24), |late| {
    ///                 late.then("nudge", inline(|_, _| async { Ok(()) }))
    ///             }),
    ///     )
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn user_task(mut self, id: impl Into<String>, task: UserTask<D, I>) -> Self {
        let (id, UserTask { prompt, assignee, options, escalate, reassign, mut common, .. }) =
            (id.into(), task);
        self.problems.extend(common.problems(&id));
        let (limit, mut branches) = common.limit.split();
        let mut add = |branch: Option<Vec<Draft>>| {
            branch.map(|branch| {
                branches.push(branch);
                branches.len() - 1
            })
        };
        let options = options.into_iter().map(|(value, branch)| (value, add(branch))).collect();
        // The escalation must stay the last branch: stored instances refer to branches by their index.
        let escalate = escalate.and_then(|(after, branch)| Some((after, add(Some(branch))?)));
        let unanswered = Unanswered { escalate, reassign };
        let outputs = Arc::new(common.outputs);
        let verb = Verb::UserTask(UserTaskStep { prompt, assignee, options, unanswered, limit, outputs });
        self.push(Draft { branches, ..Draft::new(id, verb) })
    }

    /// Runs a child workflow. The instance continues when the child has completed.
    ///
    /// **Start.** The child is created when the instance reaches the step. A wait of the child does not receive
    /// events that were published before the child was created, unless the wait has an [effective
    /// date](crate::definition::Await::effective).
    ///
    /// **Cancellation.** If the step is cancelled, the child is cancelled and compensates its open sagas. If
    /// the instance is terminated, the child is terminated and compensates nothing. If the step is inside a
    /// saga, the compensation of the saga starts only when the child has ended, however long the child takes.
    /// Nothing else waits for the end of a cancelled child. Suspending an instance does not suspend its
    /// children.
    ///
    /// **Failure.** If the child fails, the step fails with the child's error: the code, the causes and the
    /// retryability are the same. After a retryable error, the step's [retry policy](Self::retry) starts a new
    /// child. A new child is also started if the failed child has used up its own retries or has missed its
    /// deadline. A fatal error of the child is fatal for the step too. A child that an operator cancelled or
    /// terminated fails the step with the fatal error [`CHILD_ENDED`](crate::steps::StepError::CHILD_ENDED).
    /// After a fatal error, a new child starts only if
    /// [`Retry::even_if_fatal`](crate::definition::Retry::even_if_fatal) allows it.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, child};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Shipment { order: String, tracking: Option<String> }
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Order { id: String, tracking: Option<String> }
    ///
    /// let definition = WorkflowBuilder::<Order>::new("order", 1)
    ///     .sub_workflow(
    ///         "ship",
    ///         child("shipment", |order: &Order, _| Shipment { order: order.id.clone(), tracking: None })
    ///             .output(|shipment: &Shipment, order| order.tracking = shipment.tracking.clone()),
    ///     )
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn sub_workflow(mut self, id: impl Into<String>, child: Child<D, I>) -> Self {
        let (id, Child { definition, version, data, data_name, mut common, .. }) = (id.into(), child);
        self.problems.extend(common.problems(&id));
        let (limit, branches) = common.limit.split();
        let outputs = Arc::new(common.outputs);
        let verb = Verb::SubWorkflow(SubWorkflow { definition, version, data, data_name, limit, outputs });
        self.push(Draft { branches, ..Draft::new(id, verb) })
    }
}
