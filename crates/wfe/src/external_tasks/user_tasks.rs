use std::fmt;

use serde::Serialize;
use wfe_core::{
    Result, WfeError,
    definition::to_value,
    executor::{USER_TASK, view},
    models::EventSubscription,
    redact,
    steps::{UserAnswer, UserTaskView, WorkerAnswer},
    traits::{Cursor, Page},
};

use super::{answer_to, refusal::refused};
use crate::{WorkflowHost, store::check_own};

/// How many tasks are read at once when the tasks of one assignee are searched. More tasks at once would need more
/// memory; fewer would need more reads.
const SCANNED_TASKS: usize = 256;

/// Lists and answers user tasks, the questions that workflows ask people. [`WorkflowHost::user_tasks`] returns this
/// type. The host need not be started.
///
/// ```
/// use wfe::{prelude::*, steps::UserAnswer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let leave = WorkflowBuilder::<String>::new("leave", 1)
///     .user_task("decide", |who| format!("May {who} go on leave?"))
///     .assignee(|_| "the boss")
///     .plain_option("yes")
///     .plain_option("no")
///     .output(|answer, said| *said = answer.option)
///     .build()?;
/// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// let leave = host.register(leave)?;
/// host.start().await?;
/// let instance = leave.start(&"Anna".to_owned()).await?;
///
/// let task = loop {
///     let mut open = host.user_tasks().open(Some("the boss"), None, 10).await?;
///     if let Some(task) = open.rows.pop() {
///         break task;
///     }
/// #   tokio::time::sleep(std::time::Duration::from_millis(1)).await;
/// };
/// assert_eq!(task.task.prompt, "May Anna go on leave?");
/// let answer = UserAnswer::new("yes").by("Bo");
/// host.user_tasks().answer(&task.id, &answer).await?;
///
/// assert_eq!(instance.outcome().await?.completed()?, "yes");
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct UserTasks(WorkflowHost);

/// A user task that has not been answered yet.
///
/// Its text is one line: `task "0193…" of step decide in instance "0192…", for "Mr Bell": "May Ann travel?" ("approve",
/// "reject")`. Its JSON, in which `assignee` is left out if anyone may answer, and `labels` if no option has a label:
///
/// ```json
/// {
///   "id": "0193…", "instance_id": "0192…", "pointer": "decide", "step": "decide",
///   "prompt": "May Ann travel?", "assignee": "Mr Bell", "options": ["approve", "reject"],
///   "labels": { "approve": "Yes, have a good time" }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OpenTask {
    /// The id of the task. If the task is reassigned, it gets a new id.
    pub id: String,
    /// The id of the instance that waits for the answer.
    pub instance_id: String,
    /// The id of the step's execution pointer.
    pub pointer: String,
    /// The question, its options and its assignee.
    #[serde(flatten)]
    pub task: UserTaskView,
}

impl fmt::Display for OpenTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, instance_id, task, .. } = self;
        write!(f, "task {id:?} of step {} in instance {instance_id:?}, for ", task.step.escape_debug())?;
        match &task.assignee {
            Some(assignee) => write!(f, "{assignee:?}")?,
            None => f.write_str("anyone")?,
        }
        write!(f, ": {:?} (", task.prompt)?;
        for (at, option) in task.options.iter().enumerate() {
            write!(f, "{}{option:?}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl OpenTask {
    pub(crate) fn of(wait: &EventSubscription) -> Result<Self> {
        check_own(wait)?;
        let task = view::user_task(wait);
        Ok(Self {
            id: wait.id.clone(),
            instance_id: wait.workflow_id.clone(),
            pointer: wait.execution_pointer_id.clone(),
            task: task.map_err(|source| WfeError::Corrupt {
                table: "event_subscriptions",
                column: "subscription_data",
                row: wait.id.clone(),
                message: "not a user task".to_owned(),
                source: Some(Box::new(redact(source))),
            })?,
        })
    }
}

impl WorkflowHost {
    /// Returns the user tasks, the questions that workflows ask people.
    #[must_use]
    pub fn user_tasks(&self) -> UserTasks {
        UserTasks(self.clone())
    }
}

impl UserTasks {
    /// Returns a page of the open tasks of this assignee, oldest first. If `assignee` is `None`, the page has the
    /// tasks of all assignees. The page has fewer than `limit` rows only if no more tasks follow.
    ///
    /// To fill a page for one assignee, this reads the open tasks of all assignees. The time that it takes grows with
    /// the number of other tasks in between; the memory that it needs does not. A task whose stored row does not
    /// decode, or contradicts its own id, is left out and logged once.
    ///
    /// # Errors
    /// [`Unsupported`](WfeError::Unsupported): the store cannot list open tasks.
    pub async fn open(
        &self,
        assignee: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenTask>> {
        let (mut rows, mut next) = (Vec::new(), after);
        while rows.len() < limit {
            let wanted = limit - rows.len();
            let page = self.scan(assignee, next, wanted).await?;
            rows.extend(page.rows);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(Page { rows, next })
    }

    /// Reads one batch of tasks and returns at most `limit` tasks of the assignee. The result may be empty although
    /// more tasks of the assignee follow.
    async fn scan(
        &self,
        assignee: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenTask>> {
        let store = self.0.store();
        let mut size = if assignee.is_none() { limit } else { limit.max(SCANNED_TASKS) };
        loop {
            let page = store.open_waits(USER_TASK, after, size).await?;
            let mut found = Vec::new();
            for (at, wait) in page.rows.iter().enumerate() {
                // A row that is not a user task cannot be answered. It must not hide the other tasks.
                let Some(open) = store.sound(OpenTask::of(wait))? else { continue };
                if assignee.is_some() && open.task.assignee.as_deref() != assignee {
                    continue;
                }
                if found.len() == limit {
                    // The next page has to begin with this task. Read again, up to just before this task, to get the
                    // cursor for that page. If tasks were answered and other tasks created meanwhile, `size` may have
                    // to shrink once more.
                    size = at;
                    break;
                }
                found.push(open);
            }
            if size >= page.rows.len() {
                return Ok(Page { rows: found, next: page.next });
            }
        }
    }

    /// Answers a task. Only the first answer counts.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](WfeError::SubscriptionNotFound): no task has this id.
    /// * [`TaskCompleted`](WfeError::TaskCompleted): the task has already been answered.
    /// * [`TaskCancelled`](WfeError::TaskCancelled): the instance does not wait for the task any more, or the task
    ///   was reassigned, which has given it a new id.
    /// * [`Invalid`](WfeError::Invalid): the task has no such option, or the id does not belong to a user task.
    /// * [`Corrupt`](WfeError::Corrupt): the stored row of the task does not decode, or contradicts its own id.
    /// * [`Unsupported`](WfeError::Unsupported): the store does not support answers.
    /// * [`CommitUnknown`](WfeError::CommitUnknown): the answer may or may not be stored. Check whether the task is
    ///   still open.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn answer(&self, id: &str, answer: &UserAnswer) -> Result<()> {
        let store = self.0.store();
        let wait = store.loss.seen(store.provider.get_subscription(id).await)?;
        if wait.event_name != USER_TASK {
            return Err(WfeError::Invalid(format!("{id:?} is not the id of a user task")));
        }
        let task = OpenTask::of(&wait)?.task;
        if !task.options.contains(&answer.option) {
            let (option, options) = (&answer.option, &task.options);
            return Err(WfeError::Invalid(format!(
                "the task has no option {option:?}; choose one of {options:?}"
            )));
        }
        // Each answer is an event with its own id.
        let answer = to_value(&WorkerAnswer::Success(to_value(answer)?))?;
        let event = answer_to(&wait, &format!("{:032x}", fastrand::u128(..)), answer);
        match store.answer_wait(id, None, &event).await {
            Ok(_) => {
                self.0.answer_was_stored();
                Ok(())
            }
            Err(WfeError::SubscriptionNotFound(_)) => refused(&self.0, &wait, None).await,
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_open_task_has_a_text_and_a_json() {
        let mut json = json!({
            "id": "t", "instance_id": "i", "pointer": "decide", "step": "decide", "prompt": "Go?",
            "options": ["yes", "no"],
        });
        let task = UserTaskView::deserialize(&json).unwrap();
        let pointer = "decide".to_owned();
        let open = OpenTask { id: "t".to_owned(), instance_id: "i".to_owned(), pointer, task };
        let text = "task \"t\" of step decide in instance \"i\", for";
        assert_eq!(open.to_string(), format!("{text} anyone: \"Go?\" (\"yes\", \"no\")"));
        assert_eq!(serde_json::to_value(&open).unwrap(), json);
        json["assignee"] = "Mr Bell".into();
        json["labels"] = json!({ "yes": "Go ahead" });
        let open = OpenTask { task: UserTaskView::deserialize(&json).unwrap(), ..open };
        assert_eq!(open.to_string(), format!("{text} \"Mr Bell\": \"Go?\" (\"yes\", \"no\")"));
        assert_eq!(serde_json::to_value(&open).unwrap(), json);
    }
}
