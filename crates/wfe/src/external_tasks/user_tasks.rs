use serde::Deserialize;
use wfe_core::{
    Result, WfeError,
    definition::to_value,
    executor::USER_TASK,
    models::EventSubscription,
    redact,
    steps::{UserAnswer, UserTaskView, WorkerAnswer},
    traits::{Cursor, Page},
};

use super::{answer_to, refusal::refused};
use crate::{WorkflowHost, store::check_own};

/// Tasks looked through at once for those of one assignee: enough for few reads, little enough to hold.
const LOOKED_THROUGH: usize = 256;

/// Tasks for people; from [`WorkflowHost::user_tasks`]. It works on a host that is not started too.
///
/// ```
/// use wfe::{Outcome, WorkflowHost, definition::{WorkflowBuilder, user_task}, steps::UserAnswer};
/// use wfe_sqlite::SqlitePersistenceProvider;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let leave = WorkflowBuilder::<String>::new("leave", 1)
///     .user_task(
///         "decide",
///         user_task(|who: &String, _| format!("May {who} go on leave?"))
///             .assignee(|_, _| "the boss")
///             .plain_option("yes")
///             .plain_option("no")
///             .output(|answer, said| *said = answer.option.clone()),
///     )
///     .build()?;
/// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
/// host.register(leave)?;
/// host.start().await?;
/// let id = host.start_workflow("leave", &"Anna".to_owned()).await?;
///
/// let task = loop {
///     let mut open = host.user_tasks().open(Some("the boss"), None, 10).await?;
///     if let Some(task) = open.rows.pop() {
///         break task;
///     }
/// #   tokio::time::sleep(std::time::Duration::from_millis(1)).await;
/// };
/// assert_eq!(task.task.prompt, "May Anna go on leave?");
/// let answer = UserAnswer { option: "yes".into(), user: Some("Bo".into()), data: Default::default() };
/// host.user_tasks().answer(&task.id, &answer).await?;
///
/// assert_eq!(host.outcome::<String>(&id).await?, Outcome::Completed("yes".into()));
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct UserTasks(WorkflowHost);

/// A task that nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenTask {
    /// Its id: that of the wait. A task that is given to somebody else becomes another one.
    pub id: String,
    /// The instance that waits for it.
    pub instance_id: String,
    /// The step's pointer.
    pub pointer: String,
    /// What is asked, and whom.
    pub task: UserTaskView,
}

impl OpenTask {
    fn of(wait: &EventSubscription) -> Result<Self> {
        check_own(wait)?;
        let null = serde_json::Value::Null;
        let task = UserTaskView::deserialize(wait.subscription_data.as_ref().unwrap_or(&null));
        Ok(Self {
            id: wait.id.clone(),
            instance_id: wait.workflow_id.clone(),
            pointer: wait.execution_pointer_id.clone(),
            task: task.map_err(|source| WfeError::Corrupt {
                table: "event_subscriptions",
                column: "subscription_data",
                row: wait.id.clone(),
                message: "it is no user task".to_owned(),
                source: Some(Box::new(redact(source))),
            })?,
        })
    }
}

impl WorkflowHost {
    /// The tasks that people may answer.
    #[must_use]
    pub fn user_tasks(&self) -> UserTasks {
        UserTasks(self.clone())
    }
}

impl UserTasks {
    /// A page of the tasks that nobody has answered, oldest first: those of this assignee; `None`: all. It is shorter than
    /// `limit` only if there are no more.
    ///
    /// For one assignee, the open tasks of all are looked through until the page is full: what it costs grows with those of
    /// others that lie between, what is in memory does not. A task whose stored row does not decode, or contradicts its own
    /// id, is left out, and logged once.
    ///
    /// # Errors
    /// [`Unsupported`](WfeError::Unsupported): the store does not offer it.
    pub async fn open(
        &self,
        assignee: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenTask>> {
        let (mut rows, mut next) = (Vec::new(), after);
        while rows.len() < limit {
            let wanted = limit - rows.len();
            let page = self.some(assignee, next, wanted).await?;
            rows.extend(page.rows);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(Page { rows, next })
    }

    /// At most `limit` of them, of the next that are stored: perhaps none, although others follow.
    async fn some(
        &self,
        assignee: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenTask>> {
        let store = &self.0.shared().store;
        let mut size = if assignee.is_none() { limit } else { limit.max(LOOKED_THROUGH) };
        loop {
            let page = store.open_waits(USER_TASK, after, size).await?;
            let mut found = Vec::new();
            for (at, wait) in page.rows.iter().enumerate() {
                // One that is none is nobody's to answer, and hides no other.
                let Some(open) = self.0.shared().sound(OpenTask::of(wait))? else { continue };
                if assignee.is_some() && open.task.assignee.as_deref() != assignee {
                    continue;
                }
                if found.len() == limit {
                    // The next page begins with this one, so that a cursor just before it is needed. If others came in
                    // place of some that were answered meanwhile, it becomes less once more.
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

    /// Answers a task; the first answer counts.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](WfeError::SubscriptionNotFound): no task has this id.
    /// * [`TaskCompleted`](WfeError::TaskCompleted): it was answered already.
    /// * [`TaskCancelled`](WfeError::TaskCancelled): its instance no longer waits for it, or it was assigned to another
    ///   person, which makes another task of it.
    /// * [`Invalid`](WfeError::Invalid): the task has no such option, or this is no user task.
    /// * [`Corrupt`](WfeError::Corrupt): its stored row does not decode, or contradicts its own id.
    /// * [`Unsupported`](WfeError::Unsupported): the store does not offer it.
    /// * [`CommitUnknown`](WfeError::CommitUnknown): the answer may count. Look whether the task is still open.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn answer(&self, id: &str, answer: &UserAnswer) -> Result<()> {
        let shared = self.0.shared();
        let wait = shared.loss.seen(shared.provider.get_subscription(id).await)?;
        if wait.event_name != USER_TASK {
            return Err(WfeError::Invalid(format!("{id:?} is no user task")));
        }
        let task = OpenTask::of(&wait)?.task;
        if !task.options.contains(&answer.option) {
            let (option, options) = (&answer.option, &task.options);
            return Err(WfeError::Invalid(format!(
                "the task has no option {option:?}; choose one of {options:?}"
            )));
        }
        // An id of its own: another answer is another event.
        let answer = to_value(&WorkerAnswer::Success(to_value(answer)?))?;
        let event = answer_to(&wait, &format!("{:032x}", fastrand::u128(..)), answer);
        match shared.store.answer_wait(id, None, &event).await {
            Ok(_) => {
                self.0.answer_was_stored();
                Ok(())
            }
            Err(WfeError::SubscriptionNotFound(_)) => refused(shared, &wait, None).await,
            Err(error) => Err(error),
        }
    }
}
