//! Answers that come in the moment in which the time for them is over.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::{Value, json};
use wfe::{
    Result, WorkflowHost,
    clock::Clock,
    definition::{Activity, Definition, WorkflowBuilder},
    models::Event,
    steps::WorkerAnswer,
    traits::{Committed, Fence, PersistenceProvider, StepCommit},
};
use wfe_testkit::{Layer, Layered};

use crate::support::{Tally, Timed, completed, in_time, started, until};

const HOUR: Duration = Duration::from_hours(1);

/// A store in which somebody answers a wait right before a commit is stored.
struct JustBefore {
    below: Arc<dyn PersistenceProvider>,
    moment: fn(&StepCommit) -> Option<&String>,
    answer: Value,
    /// Whether the answer was accepted.
    accepted: Arc<Mutex<Option<bool>>>,
}

#[async_trait::async_trait]
impl Layer for JustBefore {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let steps = self.below.clone().step_store().unwrap();
        if let Some(wait) = (self.moment)(step).filter(|_| self.accepted.lock().unwrap().is_none()) {
            let loaded = steps.load(&step.instance_id).await?;
            let open = loaded.waits.iter().find(|open| open.id == *wait).unwrap();
            let data = serde_json::to_value(WorkerAnswer::Success(self.answer.clone()))?;
            let event = Event {
                event_time: open.subscribe_as_of,
                ..Event::new(&open.event_name, &open.event_key, data)
            };
            let answered = steps.answer_wait(wait, None, &event).await;
            *self.accepted.lock().unwrap() = Some(answered.is_ok());
        }
        steps.commit_step(fence, step).await
    }
}

/// The last moment in which the wait is somebody's to answer, and then in which it is not.
const FIRST: fn(&StepCommit) -> Option<&String> =
    |step| step.unanswerable.iter().chain(&step.unsubscribed).next();
const LAST: fn(&StepCommit) -> Option<&String> = |step| step.unsubscribed.first();

type Accepted = Arc<Mutex<Option<bool>>>;

async fn answered(
    place: &Timed,
    definition: &Definition<Tally>,
    moment: fn(&StepCommit) -> Option<&String>,
    answer: Value,
) -> (WorkflowHost, Accepted) {
    let accepted = Accepted::default();
    let below = place.provider().await;
    let store = JustBefore { below, moment, answer, accepted: accepted.clone() };
    let builder = WorkflowHost::builder_shared(Arc::new(Layered(store))).clock(place.clock.clone());
    (started(builder.poll_interval(HOUR * 100_000).build(), &[definition]).await, accepted)
}

async fn an_hour_later(place: &Timed) {
    let then = place.clock.now() + TimeDelta::hours(1);
    place.clock.wait_for(|deadlines| deadlines.contains(&then)).await;
    place.clock.set(then);
}

/// Adds what the worker says, or 100 if that does not come within an hour.
fn asking() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("w", 1)
        .activity("ask", Activity::<_, u32>::new("double"), |_| 0)
        .output(|n, tally| tally.sum += n)
        .on_timeout(|_| HOUR, |late| late.change("late", |tally| tally.sum += 100))
        .build()
        .unwrap()
}

in_time! {
    async fn an_answer_that_was_accepted_in_the_last_moment_counts(place: Timed) {
        let (host, accepted) = answered(&place, &asking(), FIRST, json!(7)).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        an_hour_later(&place).await;
        assert_eq!((completed(&host, &id).await.sum, *accepted.lock().unwrap()), (7, Some(true)));
    }

    async fn an_answer_that_comes_a_moment_later_is_refused(place: Timed) {
        let (host, accepted) = answered(&place, &asking(), LAST, json!(7)).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        an_hour_later(&place).await;
        assert_eq!((completed(&host, &id).await.sum, *accepted.lock().unwrap()), (100, Some(false)));
    }

    async fn a_task_that_was_answered_in_the_last_moment_goes_to_nobody_else(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .user_task("ask", |_| "well?")
            .assignee(|_| "anna")
            .plain_option("yes")
            .reassign(|_| HOUR, |_| "bo")
            .build()
            .unwrap();
        let yes = json!({"option": "yes"});
        let (host, accepted) = answered(&place, &definition, FIRST, yes).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        an_hour_later(&place).await;
        completed(&host, &id).await;
        assert_eq!(*accepted.lock().unwrap(), Some(true));
    }

    async fn a_task_that_is_only_escalated_stays_open_to_answers(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .user_task("ask", |_| "well?")
            .plain_option("yes")
            .escalate(|_| HOUR, |late| late.change("tell", |tally| tally.sum += 1))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        an_hour_later(&place).await;
        until(async || host.data::<Tally>(&id).await.unwrap().sum == 1).await;
        let open = host.user_tasks().open(None, None, 9).await.unwrap().rows;
        let yes = wfe::steps::UserAnswer::new("yes");
        host.user_tasks().answer(&open[0].id, &yes).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 1);
    }
}
