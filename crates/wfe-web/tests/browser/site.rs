//! A host with instances in many states, and its dashboard on a socket.

use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;
use wfe::{
    Operator,
    operator::{NewEvent, NewInstance, Role},
    prelude::*,
    schedules::Timetable,
    traits::{InstanceState, Order as ListOrder, Query},
};
use wfe_web::{Dashboard, Visitor};

use crate::harness::Server;

const APPROVED: Event<String> = Event::new("approved");
const PACK: Activity<String, String> = Activity::new("pack");
/// A message that is a script, for pages that do not escape what they show.
const HOSTILE: &str = "the bank said <script>alert(1)</script> & \"no\"";
/// The address of the database of a process that starts an instance in it: see [`Site::other_process`].
const WRITER: &str = "WFE_BROWSER_WRITER";

#[derive(Clone, Default, Serialize, Deserialize)]
struct Order {
    id: String,
    log: Vec<String>,
}

/// A host with its dashboard below the path `/ops/wfe`.
pub struct Site {
    host: WorkflowHost,
    server: Server,
    folder: TempDir,
    /// Whether the bank takes cards. At first it does not.
    bank: Arc<AtomicBool>,
}

impl Site {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::new(&url(&folder)).await.unwrap();
        let host = WorkflowHost::new(store);
        let bank = Arc::new(AtomicBool::new(false));
        define(&host, &bank).await;
        host.start().await.unwrap();
        fill(&host).await;
        let dashboard = Dashboard::new(&host).unwrap().title("orders.db");
        let dashboard = dashboard.access(|_| Some(Visitor::new("Ms Weber", Role::Admin)));
        let server = Server::start(Router::new().nest("/ops/wfe", dashboard.into_router())).await;
        Self { host, server, folder, bank }
    }

    /// The address of the dashboard.
    pub fn base(&self) -> String {
        self.server.url("/ops/wfe/")
    }

    pub fn operator(&self) -> Operator {
        self.host.operator().unwrap()
    }

    /// From now on, the bank takes cards.
    pub fn open_the_bank(&self) {
        self.bank.store(true, Ordering::Relaxed);
    }

    /// The id of the instance with this reference.
    pub async fn id(&self, definition: &str, reference: &str) -> String {
        self.operator().find(definition, reference).await.unwrap().unwrap()
    }

    /// Another process starts an order with this reference, and approves it if it is told to.
    pub async fn other_process(&self, reference: &str) {
        let mut process = Command::new(env::current_exe().unwrap());
        process.arg(reference).env(WRITER, url(&self.folder));
        let done = tokio::task::spawn_blocking(move || process.status()).await.unwrap().unwrap();
        assert!(done.success(), "{done}");
    }

    pub async fn stop(self) {
        drop(self.server);
        self.host.stop().await.unwrap();
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("orders.db").display())
}

/// What the other process does. `None` in the process of the tests.
pub fn write_for_another() -> Option<()> {
    let url = env::var(WRITER).ok()?;
    let reference = env::args().nth(1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let operator = Operator::new(SqliteStore::new(&url).await.unwrap()).unwrap();
        let order =
            NewInstance::new("order", json!({ "id": reference, "log": [] })).version(1).reference(&reference);
        let started = operator.start(order).await.unwrap();
        assert!(started.is_new);
    });
    Some(())
}

async fn define(host: &WorkflowHost, bank: &Arc<AtomicBool>) {
    let bank = Arc::clone(bank);
    let order = WorkflowBuilder::<Order>::new("order", 1)
        .with(bank)
        .then("price", async |_, _| Ok(2250))
        .output(|cents: u32, order: &mut Order| order.log.push(format!("{cents} cents")))
        .wait_for("approval", APPROVED, |order| order.id.clone())
        .output(|by, order| order.log.push(by))
        .then("charge", async |ctx, _| {
            if ctx.app.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err(StepError::fatal(HOSTILE).with_code("card_declined"))
            }
        })
        .on_failure(OnFailure::Suspend)
        .build();
    host.register(order.unwrap()).unwrap();
    let refund = WorkflowBuilder::<Order>::new("refund", 1)
        .then("notify", async |_, _| {
            Err::<(), _>(StepError::fatal("the mail server answered 503").with_code("http_503"))
        })
        .build();
    host.register(refund.unwrap()).unwrap();
    let parcel = WorkflowBuilder::<Order>::new("parcel", 1)
        .activity("pack", PACK, |order| order.id.clone())
        .output(|by, order| order.log.push(by))
        .build();
    host.register(parcel.unwrap()).unwrap();
    let expense = WorkflowBuilder::<Order>::new("expense", 1)
        .user_task("decide", |order| format!("May we pay {}?", order.id))
        .assignee(|_| "Mr Bell")
        .plain_option("approve")
        .plain_option("reject")
        .build();
    host.register(expense.unwrap()).unwrap();
    let report =
        WorkflowBuilder::<Order>::new("report", 1).delay("wait", |_| Duration::from_hours(24)).build();
    let report = host.register(report.unwrap()).unwrap();
    let nightly = Timetable::cron("0 3 * * *").in_zone("Europe/Berlin");
    report.schedule("nightly", nightly, &Order::default()).await.unwrap();
}

/// What is started, and the state in which it comes to stand.
const INSTANCES: [(&str, &str, InstanceState); 7] = [
    ("order", "order-17", InstanceState::Waiting),
    ("order", "order-22", InstanceState::Suspended),
    ("order", "order-23", InstanceState::Suspended),
    ("refund", "refund-4", InstanceState::Failed),
    ("parcel", "parcel-8", InstanceState::Waiting),
    ("expense", "taxi-1", InstanceState::Waiting),
    ("report", "may", InstanceState::Asleep),
];

async fn fill(host: &WorkflowHost) {
    let operator = host.operator().unwrap();
    for (definition, reference, _) in INSTANCES {
        let data = json!({ "id": reference, "log": [] });
        operator
            .start(
                NewInstance::new(definition, data)
                    .version(1)
                    .reference(reference)
                    .attribute("customer", "acme"),
            )
            .await
            .unwrap();
    }
    for key in ["order-22", "order-23", "nobody"] {
        operator.publish(NewEvent::new("approved", key).data(json!("Ms Weber"))).await.unwrap();
    }
    let query = Query { order: ListOrder::Oldest, ..Query::default() };
    loop {
        let rows = operator.list(&query, None, 50).await.unwrap().rows;
        if rows.iter().map(|row| row.state).eq(INSTANCES.map(|(_, _, state)| state)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
