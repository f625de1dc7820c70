//! User tasks and activities.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use wfe_core::{
    Result, WfeError,
    definition::to_value,
    executor::{USER_TASK, view},
    models::ExecutionPointer,
    steps::{UserAnswer, WorkerAnswer},
    traits::{Acted, Action, Cursor, Loaded, MAX_PAGE, MAX_ROWS, OpenWait, Page, WaitFilter},
};

use super::{
    ActionKind, ActivityView, Operator, Place, TaskView,
    rights::{Of, unexpected},
};
use crate::{
    external_tasks::{OpenTask, answer_to},
    status::Held,
};

/// How many waits are read at once when some of them are searched.
const SCANNED: usize = 256;

impl Operator {
    /// A page of the open user tasks of this assignee, oldest first. `None` means the tasks of everybody. A page may have
    /// fewer rows than asked for, or none, although more follow.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn tasks(
        &self,
        assignee: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<TaskView>> {
        let take = |wait: &OpenWait| {
            let Some(task) = self.store.sound(self.task_of(wait))? else { return Ok(None) };
            let is_theirs = assignee.is_none() || task.task.assignee.as_deref() == assignee;
            Ok(Some(task).filter(|_| is_theirs))
        };
        let mut page = self.scan(Some(&WaitFilter::Task), after, limit, take).await?;
        let loaded = self.loaded(page.rows.iter().map(|task| &task.instance)).await?;
        for task in &mut page.rows {
            let pointer = pointer_of(&loaded, &task.instance, &task.pointer);
            task.since = pointer.and_then(|pointer| pointer.start_time);
            task.until = pointer.and_then(|pointer| pointer.sleep_until);
        }
        Ok(page)
    }

    /// These instances, each once. One that does not decode is left out.
    async fn loaded<'i>(&self, ids: impl Iterator<Item = &'i String>) -> Result<HashMap<String, Loaded>> {
        let ids: HashSet<&String> = ids.collect();
        let ids: Vec<String> = ids.into_iter().cloned().collect();
        let mut loaded = HashMap::new();
        for (id, read) in self.store.load_many(&ids).await? {
            loaded.extend(self.store.sound(read)?.map(|read| (id, read)));
        }
        Ok(loaded)
    }

    /// Reads open waits until `limit` of them were taken, or until as many were read as a store reads in one call.
    async fn scan<T>(
        &self,
        filter: Option<&WaitFilter>,
        after: Option<Cursor>,
        limit: usize,
        take: impl Fn(&OpenWait) -> Result<Option<T>>,
    ) -> Result<Page<T>> {
        let (mut found, mut next, mut looked_at) = (Vec::new(), after, 0);
        let limit = limit.min(MAX_PAGE);
        'pages: while found.len() < limit && looked_at < MAX_ROWS {
            let mut size = limit.max(SCANNED);
            loop {
                let page = self.seen(self.management.waits(filter, next, size).await)?;
                let mut taken = Vec::new();
                let mut rows = page.rows.iter().enumerate();
                // The page has to end before the first row that does not fit.
                let too_many = rows.find_map(|(at, wait)| {
                    if !wait.is_answerable {
                        return None;
                    }
                    match take(wait) {
                        Ok(Some(_)) if found.len() + taken.len() == limit => Some(Ok(at)),
                        Ok(row) => {
                            taken.extend(row);
                            None
                        }
                        Err(error) => Some(Err(error)),
                    }
                });
                match too_many.transpose()? {
                    // Read again, up to this row, for the cursor of the page.
                    Some(at) if at < size => size = at,
                    _ => {
                        looked_at += page.rows.len().max(1) as u64;
                        found.extend(taken);
                        next = page.next;
                        if next.is_none() {
                            break 'pages;
                        }
                        break;
                    }
                }
            }
        }
        Ok(Page { rows: found, next })
    }

    /// The user task with this id.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](WfeError::SubscriptionNotFound): no open task has this id.
    /// * [`Invalid`](WfeError::Invalid): the id is not that of a user task.
    pub async fn task(&self, id: &str) -> Result<TaskView> {
        let wait = self.seen(self.store.provider.get_subscription(id).await)?;
        if wait.event_name != USER_TASK {
            return Err(WfeError::Invalid(format!("{id:?} is not the id of a user task")));
        }
        let loaded = match self.store.inspect(&wait.workflow_id).await {
            Err(WfeError::WorkflowNotFound(_)) => return Err(WfeError::SubscriptionNotFound(id.to_owned())),
            loaded => loaded?,
        };
        let Some(wait) = loaded.waits.iter().find(|open| open.id == id) else {
            return Err(WfeError::SubscriptionNotFound(id.to_owned()));
        };
        let mut pointers = loaded.instance.execution_pointers.iter();
        let pointer = pointers.find(|pointer| pointer.id == wait.execution_pointer_id);
        let mut task = self.task_of(&OpenWait {
            subscription: wait.clone(),
            definition: loaded.instance.workflow_definition_id.clone(),
            version: loaded.instance.version,
            is_answerable: true,
        })?;
        task.since = pointer.and_then(|pointer| pointer.start_time);
        task.until = pointer.and_then(|pointer| pointer.sleep_until);
        Ok(task)
    }

    fn task_of(&self, wait: &OpenWait) -> Result<TaskView> {
        let OpenTask { id, instance_id, pointer, mut task } = OpenTask::of(&wait.subscription)?;
        self.hide_task(&wait.definition, &mut task);
        Ok(TaskView {
            id,
            instance: instance_id,
            definition: wait.definition.clone(),
            version: wait.version,
            pointer,
            task,
            held: Held::of(&wait.subscription),
            since: None,
            until: None,
        })
    }

    /// Answers a user task in the name of the operator. Returns `false` if this answer was stored before.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`SubscriptionNotFound`](WfeError::SubscriptionNotFound): no open task has this id: it never was one, was
    ///   answered, cancelled or reassigned.
    /// * [`Invalid`](WfeError::Invalid): the task has no such option, or the id is not that of a user task.
    /// * The errors of the store.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn answer_task(&self, id: &str, option: &str, data: Option<Value>) -> Result<bool> {
        self.check_role(ActionKind::Answer)?;
        let wait = self.seen(self.store.provider.get_subscription(id).await)?;
        if wait.event_name != USER_TASK {
            return Err(WfeError::Invalid(format!("{id:?} is not the id of a user task")));
        }
        let permit = self.permit(ActionKind::Answer, Of::Instance(&wait.workflow_id)).await?;
        let options = OpenTask::of(&wait)?.task.options;
        if !options.iter().any(|known| known == option) {
            return Err(WfeError::Invalid(format!(
                "the task has no option {option:?}; choose one of {options:?}"
            )));
        }
        let mut answer = UserAnswer::new(option).by(&*self.actor);
        if let Some(data) = data {
            answer = answer.data(data);
        }
        let answer = to_value(&WorkerAnswer::Success(to_value(&answer)?))?;
        let event = answer_to(&wait, &format!("{:032x}", fastrand::u128(..)), answer);
        let permit = permit.detail(json!({ "task": id, "option": option }));
        match permit.act(Action::Answer { wait: id, token: None, event: &event }).await? {
            Acted::Answered(is_new) => Ok(is_new),
            other => unexpected(&other),
        }
    }

    /// A page of the open activities with this name, or of all activities, oldest first. A page may have fewer rows than
    /// asked for, or none, although more follow.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn activities(
        &self,
        name: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ActivityView>> {
        let filter = name.map(|name| WaitFilter::Activity { name: name.to_owned() });
        let take = |wait: &OpenWait| {
            let mut activity = ActivityView::of(wait);
            if let Some(ActivityView { definition, input, .. }) = &mut activity {
                self.hide(Place::Data, definition, input);
            }
            Ok(activity)
        };
        let mut page = self.scan(filter.as_ref(), after, limit, take).await?;
        let loaded = self.loaded(page.rows.iter().map(|activity| &activity.instance)).await?;
        for activity in &mut page.rows {
            let pointer = pointer_of(&loaded, &activity.instance, &activity.pointer);
            activity.since = pointer.and_then(|pointer| pointer.start_time);
            activity.until = pointer.and_then(|it| view::activity_limit(it, activity.held.is_some()));
        }
        Ok(page)
    }

    /// Ends the claim of an activity or a user task, so that the next worker gets it at once. The answer of the worker
    /// that had claimed it is then refused. Returns `false` if no worker had.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`SubscriptionNotFound`](WfeError::SubscriptionNotFound): no open activity or task has this id.
    /// * The errors of the store.
    pub async fn release(&self, wait: &str) -> Result<bool> {
        self.check_role(ActionKind::Release)?;
        let held = self.seen(self.store.provider.get_subscription(wait).await)?;
        let permit = self.permit(ActionKind::Release, Of::Instance(&held.workflow_id)).await?;
        let detail = json!({ "task": wait, "worker": held.external_worker_id });
        match permit.detail(detail).act(Action::Release { wait }).await? {
            Acted::Released(was_held) => Ok(was_held),
            other => unexpected(&other),
        }
    }
}

fn pointer_of<'l>(
    loaded: &'l HashMap<String, Loaded>,
    instance: &str,
    pointer: &str,
) -> Option<&'l ExecutionPointer> {
    loaded.get(instance)?.instance.execution_pointers.iter().find(|it| it.id == pointer)
}
