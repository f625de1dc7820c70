//! The definitions of a shop, and the host that runs them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wfe::{clock::Clock, prelude::*};
use wfe_sqlite::SqlitePersistenceProvider;

pub const ORDER: WorkflowName<Case> = WorkflowName::new("order");
pub const REFUND: WorkflowName<Case> = WorkflowName::new("refund");
pub const INVOICE: WorkflowName<Case> = WorkflowName::new("invoice");
pub const DELIVERY: WorkflowName<Case> = WorkflowName::new("delivery");
pub const LABEL: WorkflowName<Case> = WorkflowName::new("label");
pub const GIFT: WorkflowName<Case> = WorkflowName::new("gift");
pub const IMPORT: WorkflowName<Case> = WorkflowName::new("import");
pub const REPORT: WorkflowName<Case> = WorkflowName::new("report");
pub const TRIAL: WorkflowName<Case> = WorkflowName::new("trial");

pub const PAID: Event<String> = Event::new("paid");
/// The worker of the host does this activity.
pub const PICK: Activity<Vec<String>, String> = Activity::new("pick-goods");
/// No worker does these two.
pub const PRINT: Activity<String, String> = Activity::new("print-label");
pub const WRAP: Activity<String, String> = Activity::new("wrap-gift");

/// How long refunds of the first version wait for the next day of the bank.
const BANK_DAY: Duration = Duration::from_mins(23 * 60 + 30);

/// The steps that fail.
pub const BANK: &str = "charge";
pub const STOCK: &str = "reserve";

/// The data of all workflows here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Case {
    pub number: String,
    pub customer: String,
    pub cents: u64,
    pub lines: Vec<String>,
    /// The step that fails.
    pub trouble: Option<String>,
    pub receipt: Option<String>,
}

/// Which systems and programs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// While the store is filled: the bank cannot be reached, and the first version of refunds is still in use.
    Past,
    /// Now: the bank answers, and only the second version of refunds is left.
    Present,
}

/// A host that has all definitions of this time, and has started.
pub async fn host(
    store: &Arc<SqlitePersistenceProvider>,
    clock: Arc<dyn Clock>,
    epoch: Epoch,
) -> wfe::Result<WorkflowHost> {
    let host = WorkflowHost::builder_shared(store.clone()).clock(clock).build();
    for version in 1..=3 {
        host.register_any(order(version, epoch)?)?;
    }
    if epoch == Epoch::Past {
        host.register_any(refund(1)?)?;
    }
    host.register_any(refund(2)?)?;
    for definition in [invoice()?, label()?, delivery()?, gift()?, import()?, report()?, trial()?] {
        host.register_any(definition)?;
    }
    host.start().await?;
    Ok(host)
}

fn order(version: u32, epoch: Epoch) -> wfe::Result<Definition<Case>> {
    let begin = ORDER.define(version).then("price", async |_, _| Ok(()));
    let priced = if version > 2 { begin.then("discount", async |_, _| Ok(())) } else { begin };
    priced
        .wait_for("payment", PAID, |order| order.number.clone())
        .output(|receipt, order| order.receipt = Some(receipt))
        .then("charge", async move |_, order| {
            if epoch == Epoch::Past && order.trouble.as_deref() == Some(BANK) {
                return Err(StepError::fatal("the bank does not answer").with_code("bank_unreachable"));
            }
            Ok(())
        })
        .on_failure(OnFailure::Suspend)
        .saga("fulfil", |all| {
            all.then("reserve", async |_, order| {
                if order.trouble.as_deref() == Some(STOCK) {
                    return Err(StepError::fatal("nothing is left on the shelf").with_code("no_stock"));
                }
                Ok(())
            })
            .compensate_with(|undo| undo.then("release", async |_, _| Ok(())))
            .activity("pick", PICK, |order| order.lines.clone())
        })
        .on_failure(OnFailure::Fail)
        .then("ship", async |_, _| Ok(()))
        .build()
}

/// The first version waits until the next day of the bank.
fn refund(version: u32) -> wfe::Result<Definition<Case>> {
    let begin = REFUND.define(version).then("check", async |_, _| Ok(()));
    let booked = if version == 1 {
        begin.delay("bank-day", |_| BANK_DAY).closed()
    } else {
        begin.change("book", |refund| refund.receipt = Some(format!("booked {}", refund.number))).closed()
    };
    booked.then("pay-back", async |_, _| Ok(())).build()
}

fn invoice() -> wfe::Result<Definition<Case>> {
    INVOICE
        .define(1)
        .then("check", async |_, _| Ok(()))
        .user_task("approve", |invoice| {
            format!("May we pay {} cents to {}?", invoice.cents, invoice.customer)
        })
        .assignee(|invoice| if invoice.cents.is_multiple_of(2) { "Mr Bell" } else { "Ms Grant" })
        .plain_option("approve")
        .option("reject", |rejected| rejected.end("rejected"))
        .then("pay", async |_, _| Ok(()))
        .build()
}

fn label() -> wfe::Result<Definition<Case>> {
    LABEL
        .define(1)
        .activity("print", PRINT, |parcel| parcel.number.clone())
        .then("stick", async |_, _| Ok(()))
        .build()
}

fn delivery() -> wfe::Result<Definition<Case>> {
    DELIVERY
        .define(1)
        .then("pack", async |_, _| Ok(()))
        .sub_workflow("label", LABEL, Case::clone)
        .then("hand-over", async |_, _| Ok(()))
        .build()
}

fn gift() -> wfe::Result<Definition<Case>> {
    GIFT.define(1)
        .activity("wrap", WRAP, |gift| gift.number.clone())
        .then("add-card", async |_, _| Ok(()))
        .build()
}

pub fn import() -> wfe::Result<Definition<Case>> {
    IMPORT.define(1).then("read", async |_, _| Ok(())).then("store", async |_, _| Ok(())).build()
}

fn report() -> wfe::Result<Definition<Case>> {
    REPORT
        .define(1)
        .for_each(
            "regions",
            |report: &Case| report.lines.clone(),
            |region| region.then("add-up", async |_, _, _| Ok(())),
        )
        .concurrent(2)
        .then("send", async |_, _| Ok(()))
        .build()
}

fn trial() -> wfe::Result<Definition<Case>> {
    TRIAL
        .define(1)
        .delay("trial", |_| Duration::from_hours(24 * 30))
        .then("remind", async |_, _| Ok(()))
        .build()
}
