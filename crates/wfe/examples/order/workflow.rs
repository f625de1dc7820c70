//! The workflow of an order. A large order needs an approval. Then a saga reserves, charges and ships. If one of these
//! steps fails, the saga compensates the completed steps.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wfe::prelude::*;

use super::shop::Shop;

pub const APPROVED: Event<String> = Event::new("order-approved");

/// Orders of this many cents or more need an approval.
const LARGE: u64 = 10_000;
const APPROVE_WITHIN: Duration = Duration::from_hours(48);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub placed: DateTime<Utc>,
    pub cents: u64,
    pub address: String,
    pub approved_by: Option<String>,
    /// The receipt of the bank. It is empty until the order is charged.
    pub receipt: String,
    /// The completed steps and compensations, in order.
    pub log: Vec<String>,
    /// The result of the order. It is empty until the order has ended.
    pub end: String,
}

pub fn order(shop: Shop) -> Result<Definition<Order>, Error> {
    WorkflowBuilder::<Order>::new("order", 1)
        .with(shop)
        .if_(
            "is-large",
            |order| order.cents >= LARGE,
            |large| {
                large
                    .wait_for("approval", APPROVED, |order| order.id.clone())
                    .effective(|order| order.placed) // an approval counts even if it came before the instance
                    .output(|by, order| order.approved_by = Some(by))
                    .on_timeout(
                        |_| APPROVE_WITHIN,
                        |late| {
                            late.change("reject", |order| order.end = "rejected: not approved in time".into())
                                .end("rejected")
                        },
                    )
            },
        )
        .saga("fulfil", |all| {
            all.then("reserve", async |ctx, order| ctx.app.reserve(&order.id).await)
                .output(|(), order| order.log.push("reserved".into()))
                .compensate_with(|undo| {
                    undo.then("release", async |ctx, order| ctx.app.release(&order.id).await)
                        .output(|(), order| order.log.push("released".into()))
                })
                .then("charge", async |ctx, order| {
                    // The idempotency key lets the bank recognise a payment that it already made before a crash.
                    ctx.app.charge(&ctx.idempotency_key(), &order.id, order.cents, ctx.attempt()).await
                })
                .output(|receipt, order| {
                    order.receipt = receipt;
                    order.log.push("charged".into());
                })
                // A busy bank is a temporary error, so the step is retried. A refused card would be a fatal error,
                // which is not retried.
                .retry(Retry::exponential().attempts(6).initial(Duration::from_mins(1)).jitter(0.0))
                .compensate_with(|undo| {
                    undo.then("refund", async |ctx, order| ctx.app.refund(&order.receipt).await)
                        .output(|(), order| order.log.push("refunded".into()))
                })
                .then("ship", async |ctx, order| ctx.app.ship(&order.id, &order.address).await)
                .output(|(), order| order.log.push("shipped".into()))
        })
        // Runs after the saga was compensated.
        .fallback(|instead| {
            instead
                .call("apologise", |ctx, _| {
                    Ok(ctx.failure().map(|why| why.causes.join(": ")).unwrap_or_default())
                })
                .output(|why, order| order.end = format!("not delivered: {why}"))
                .end("not-delivered")
        })
        .change("close", |order| order.end = "delivered".into())
        .build()
}
