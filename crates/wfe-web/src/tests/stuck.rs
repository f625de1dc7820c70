//! Failures, tasks, activities and events, of instances that a host has run. Times are those of a virtual clock.

mod events;
mod failures;
mod people;

use std::{sync::Arc, time::Duration};

use axum::Router;
use wfe::{
    Operator,
    definition::{Activity, AnyDefinition, Event, OnFailure, WorkflowBuilder},
    external_tasks::ActivityClaim,
    operator::Role,
    sqlite::SqliteStore,
    steps::StepError,
    traits::{AuditFilter, AuditRecord},
};
use wfe_testkit::{TestHost, VirtualClock};

use crate::{Dashboard, Visitor};

/// What a name may be.
const EVIL: &str = "\"><img src=x onerror=alert(1)>'/../?&#\u{202e}";
const DAY: Duration = Duration::from_hours(24);

/// A host whose instances fail and wait, and a dashboard beside it.
struct Scene {
    clock: Arc<VirtualClock>,
    host: TestHost,
    operator: Operator,
}

fn fails(id: &'static str, code: &'static str, on_failure: OnFailure) -> AnyDefinition {
    let built = WorkflowBuilder::<String>::new(id, 1)
        .then("charge", async move |_, says| Err::<(), _>(StepError::fatal(says.as_str()).with_code(code)))
        .on_failure(on_failure)
        .build();
    built.unwrap().into()
}

impl Scene {
    async fn start() -> Self {
        let clock = Arc::new(VirtualClock::default());
        let store = SqliteStore::builder(":memory:").clock(clock.clone()).open().await.unwrap();
        let waits = WorkflowBuilder::<String>::new("waits", 1).wait_for(
            "hear",
            Event::<()>::new("approved"),
            String::clone,
        );
        let packs = WorkflowBuilder::<String>::new("packs", 1).activity(
            "pack",
            Activity::<String, ()>::new("pack"),
            String::clone,
        );
        let asks = WorkflowBuilder::<String>::new("asks", 1)
            .user_task("decide", String::clone)
            .assignee(|_| "Mr Bell")
            .option("approve", |yes| yes.change("glad", |_| ()))
            .label("Yes, pay it")
            .plain_option("reject")
            .escalate(|_| DAY, |late| late.change("late", |_| ()));
        let host = TestHost::builder(store, clock.clone())
            .define(fails("order", "card_declined", OnFailure::Suspend))
            .define(fails("refund", "http_503", OnFailure::Fail))
            .define(fails("late refund", "http_503", OnFailure::Fail))
            .define(waits.build().unwrap())
            .define(packs.build().unwrap())
            .define(asks.build().unwrap())
            .start()
            .await
            .unwrap();
        let operator = host.host().operator().unwrap();
        Self { clock, host, operator }
    }

    /// Starts an instance, and lets the host run until it has nothing to do.
    async fn run(&self, definition: &str, data: &str) -> String {
        let id = self.host.start_workflow(definition, &data.to_owned()).await.unwrap();
        self.host.idle().await.unwrap();
        id
    }

    /// A worker claims a parcel to pack.
    async fn claim(&self) -> ActivityClaim {
        let activities = self.host.host().activities();
        activities.claim_by_name("pack", "worker-7", Duration::from_mins(5)).await.unwrap().unwrap()
    }

    fn router(&self, role: Role) -> Router {
        self.dashboard(&self.operator, role)
    }

    fn dashboard(&self, operator: &Operator, role: Role) -> Router {
        let dashboard = Dashboard::of(operator.clone()).clock(self.clock.clone());
        dashboard.access(move |_| Some(Visitor::new("weber", role))).into_router()
    }

    /// What was done so far, the last first.
    async fn audit(&self) -> Vec<AuditRecord> {
        self.operator.audit(&AuditFilter::default(), None, 50).await.unwrap().rows
    }

    async fn stop(self) {
        self.host.stop().await.unwrap();
    }
}

/// A value, as it stands in an address.
fn part(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A page that shows nothing of a name but its text.
#[track_caller]
fn is_harmless(path: &str, page: &super::Answered) {
    assert!(page.status.is_success(), "{path}: {} {}", page.status, page.body);
    assert!(!page.body.contains("<img"), "{path}: {}", page.body);
    assert!(!page.body.contains("style="), "{path} has a style of its own: {}", page.body);
}
