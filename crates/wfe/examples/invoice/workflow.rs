//! The workflow of an invoice: it is checked, a large invoice needs an approval, and a saga pays and books it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfe::{definition::Main, prelude::*};

use super::office::Office;

/// The activity of the worker that transfers money. The worker need not know the workflow.
pub const TRANSFER: Activity<Transfer, String> = Activity::new("transfer");

pub const APPROVE: &str = "approve";
pub const REJECT: &str = "reject";
/// The person who decides if the clerk does not.
pub const DIRECTOR: &str = "Ms Grant";
/// Invoices of this many cents or more need an approval.
const LARGE: u64 = 10_000;
const ANSWER_WITHIN: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Invoice {
    pub id: String,
    pub supplier: String,
    pub cents: u64,
    /// The person who approves the invoice if it is large.
    pub clerk: String,
    pub approved_by: Option<String>,
    /// The bank's number of the transfer. It is empty until the invoice is paid.
    pub transfer: String,
    /// The completed steps and compensations, in order.
    pub log: Vec<String>,
}

/// The input of the activity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transfer {
    pub invoice: String,
    pub supplier: String,
    pub cents: u64,
}

pub fn invoice(office: Office) -> Result<Definition<Invoice>, Error> {
    WorkflowBuilder::<Invoice>::new("invoice", 1)
        .with(office)
        .call("check", |ctx, invoice| ctx.app.check(&invoice.supplier, ctx.attempt()))
        .retry(Retry::exponential().attempts(4).initial(Duration::from_mins(1)).jitter(0.0))
        .if_("is-large", |invoice| invoice.cents >= LARGE, approval)
        .saga("pay", |all| {
            all.call("reserve", |ctx, invoice| ctx.app.reserve(&invoice.id, invoice.cents))
                .output(|(), invoice| invoice.log.push("reserved".into()))
                .compensate_with(|undo| {
                    undo.call("release", |ctx, invoice| ctx.app.release(&invoice.id))
                        .output(|(), invoice| invoice.log.push("released".into()))
                })
                .activity("transfer", TRANSFER, |invoice| Transfer {
                    invoice: invoice.id.clone(),
                    supplier: invoice.supplier.clone(),
                    cents: invoice.cents,
                })
                .output(|number, invoice| {
                    invoice.transfer = number;
                    invoice.log.push("paid".into());
                })
                .compensate_with(|undo| {
                    undo.call("recall", |ctx, invoice| ctx.app.recall(&invoice.transfer))
                        .output(|(), invoice| invoice.log.push("recalled".into()))
                })
                .call("book", |ctx, invoice| ctx.app.book(&invoice.id))
                .output(|(), invoice| invoice.log.push("booked".into()))
        })
        // By default, an instance continues after a compensated saga. An invoice that is not paid must not look done.
        .on_failure(OnFailure::Fail)
        .build()
}

/// The clerk decides. If the clerk does not answer in time, the director decides.
fn approval(large: Sequence<Invoice, Main, Office>) -> impl Branch<Invoice, Main, Office> {
    large
        .user_task("approve", |invoice| format!("Pay {} cents to {}?", invoice.cents, invoice.supplier))
        .assignee(|invoice| invoice.clerk.clone())
        .output(|answer, invoice| invoice.approved_by = answer.user)
        .plain_option(APPROVE)
        .option(REJECT, |rejected| rejected.end("rejected"))
        .reassign(|_| ANSWER_WITHIN, |_| DIRECTOR)
}
