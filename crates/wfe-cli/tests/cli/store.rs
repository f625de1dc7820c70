//! A store with something of everything, made by a real host, once for all tests. Each test works on a copy.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wfe::{
    Operator,
    operator::{Face, NewEvent},
    prelude::*,
    schedules::{NewSchedule, Timetable},
};

/// The name of the file of each copy.
pub const DB: &str = "orders.db";

pub const APPROVED: Event<String> = Event::new("approved");
const DELIVERED: Event<()> = Event::new("delivered");
const RENDER: Activity<String, String> = Activity::new("render-pdf");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    pub number: String,
    pub lines: Vec<String>,
    /// What goes wrong.
    pub trouble: Option<String>,
    pub approved_by: Option<String>,
}

/// Waits for its approval, then charges (a failure suspends it) and ships (a failure ends it).
pub fn order(version: u32) -> Definition<Order> {
    let fails =
        |order: &Order, step: &str, code: &'static str, text: &'static str| -> Result<(), StepError> {
            if order.trouble.as_deref() == Some(step) {
                Err(StepError::fatal(text).with_code(code))
            } else {
                Ok(())
            }
        };
    let begin = WorkflowBuilder::<Order>::new("order", version).then("price", async |_, _| Ok(()));
    let priced = if version > 2 { begin.then("discount", async |_, _| Ok(())) } else { begin };
    priced
        .wait_for("approval", APPROVED, |order| order.number.clone())
        .output(|by, order| order.approved_by = Some(by))
        .then("charge", async move |_, order| {
            fails(&order, "charge", "card_declined", "the card was declined")
        })
        .on_failure(OnFailure::Suspend)
        .then("ship", async move |_, order| fails(&order, "ship", "no_stock", "nothing is left on the shelf"))
        .build()
        .unwrap()
}

fn invoice() -> Definition<u32> {
    WorkflowBuilder::<u32>::new("invoice", 1)
        .user_task("sign", |cents| format!("May we pay {cents} cents?"))
        .assignee(|_| "Mr Bell".to_owned())
        .plain_option("approve")
        .plain_option("reject")
        .build()
        .unwrap()
}

fn printing() -> Definition<String> {
    WorkflowBuilder::<String>::new("printing", 1)
        .activity("render", RENDER, |file: &String| file.clone())
        .build()
        .unwrap()
}

fn nap() -> Definition<u32> {
    WorkflowBuilder::<u32>::new("nap", 1).delay("sleep", |_| Duration::from_hours(720)).build().unwrap()
}

fn shipment() -> Definition<String> {
    WorkflowBuilder::<String>::new("shipment", 1)
        .wait_for("delivery", DELIVERED, String::clone)
        .build()
        .unwrap()
}

fn shop() -> Definition<String> {
    WorkflowBuilder::<String>::new("shop", 1)
        .sub_workflow("send", WorkflowName::<String>::new("shipment"), String::clone)
        .build()
        .unwrap()
}

/// A host on this file with all definitions, which has started.
pub async fn host(path: &Path) -> WorkflowHost {
    host_on(Arc::new(SqliteStore::file(path).open().await.unwrap())).await
}

async fn host_on(store: Arc<SqliteStore>) -> WorkflowHost {
    let host = WorkflowHost::builder_shared(store).build();
    for version in [2, 3] {
        host.register_any(order(version)).unwrap();
    }
    host.register_any(invoice()).unwrap();
    host.register_any(printing()).unwrap();
    host.register_any(nap()).unwrap();
    host.register_any(shipment()).unwrap();
    host.register_any(shop()).unwrap();
    host.start().await.unwrap();
    host
}

async fn fill(path: &Path) {
    let store = Arc::new(SqliteStore::file(path).open().await.unwrap());
    let host = host_on(store.clone()).await;
    let orders = host.workflow(WorkflowName::<Order>::new("order"));
    for number in [1, 2, 17, 18, 19, 21, 22, 23, 24] {
        let name = format!("order-{number}");
        let trouble = match number {
            21 | 22 => Some("charge".to_owned()),
            23 | 24 => Some("ship".to_owned()),
            _ => None,
        };
        let data = Order { number: name.clone(), trouble, ..Order::default() };
        orders.start(&data).reference(&name).await.unwrap();
        host.idle().await.unwrap();
        if !matches!(number, 17..=19) {
            host.publish(APPROVED, &name, "Ms Weber".to_owned()).await.unwrap();
            host.idle().await.unwrap();
        }
    }
    let invoices = host.workflow(WorkflowName::<u32>::new("invoice"));
    for number in 1..=3 {
        invoices.start(&(number * 100)).reference(format!("inv-{number}")).await.unwrap();
    }
    let printings = host.workflow(WorkflowName::<String>::new("printing"));
    for number in 1..=2 {
        printings.start(&format!("{number}.html")).reference(format!("print-{number}")).await.unwrap();
        host.idle().await.unwrap();
    }
    host.workflow(WorkflowName::<u32>::new("nap")).start(&0).reference("nap-1").await.unwrap();
    let shops = host.workflow(WorkflowName::<String>::new("shop"));
    shops.start(&"parcel-1".to_owned()).reference("shop-1").await.unwrap();
    for (id, cron) in [("nightly", "0 3 * * *"), ("monthly", "0 3 1 * *"), ("yearly", "0 3 1 1 *")] {
        let schedule = NewSchedule::new(id, "order", Timetable::cron(cron)).version(3);
        host.schedules().create(schedule, &Order::default()).await.unwrap();
    }
    host.idle().await.unwrap();
    // The worker dies with the activity of print-1.
    let claim = host.activities().claim_by_name("render-pdf", "printer 1", Duration::from_hours(1)).await;
    std::mem::forget(claim.unwrap().unwrap());
    host.stop().await.unwrap();
    let operator = Operator::shared(store.clone()).unwrap().acting_as("bob", Face::Program);
    let event = NewEvent::new("approved", "order-71").data("Ms Weber".into());
    operator.because("asked by the customer").publish(event).await.unwrap();
    // All of the log is in the file, which can be copied.
    store.close().await;
}

/// The file of the store that all tests copy.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let path = tempfile::tempdir().unwrap().keep().join(DB);
        let made = path.clone();
        // Tests may have a runtime of their own.
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(fill(&made));
        })
        .join()
        .unwrap();
        path
    })
}

/// A folder of its own with a copy of the store.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self::empty();
        fs::copy(template(), place.db()).unwrap();
        place
    }

    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn db(&self) -> PathBuf {
        self.path().join(DB)
    }
}
