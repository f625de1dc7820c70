//! Order fulfilment: a saga of payment, stock and shipping, approval by an event with a time limit, retries.
//!
//! ```text
//! cargo run -p wfe --example order -- [--db FILE]
//! ```
//!
//! It processes three orders: one is delivered, one is not approved in time, and one cannot be shipped and is
//! compensated. With a database file, the program may be killed at any moment. After a restart, the program continues
//! where it stopped.

#[path = "../common/attend.rs"]
mod attend;
#[path = "../common/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
mod shop;
mod workflow;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use wfe::{prelude::*, status::Waits};

use crate::{
    attend::attend,
    calendar::Calendar,
    common::{Options, Result},
    shop::Shop,
    workflow::{APPROVED, Order},
};

const USAGE: &str = "\
usage: order [--db FILE]

Fulfils three orders: one is delivered, one is not approved in time, one cannot be shipped.

  --db FILE    the database, created if missing; by default in memory";

#[tokio::main]
async fn main() -> ExitCode {
    common::main("order", USAGE, &["db"], run).await
}

async fn run(options: Options) -> Result {
    let db = options.path("db");
    let calendar = Calendar::open(db.as_deref())?;
    let store = common::open(db.as_deref(), calendar.clock()).await?;
    let host = WorkflowHost::builder_shared(store).clock(calendar.clock()).build();
    let workflow = host.register(workflow::order(Shop)?)?;
    host.start().await?;
    let placed = "2030-01-01T00:00:00Z".parse()?;
    for (order, approver) in orders(placed) {
        println!("{} is placed: {} cents, to {}", order.id, order.cents, order.address);
        // The reference makes the start idempotent: after a crash, this returns the instance that is already stored.
        let instance = workflow.start(&order).reference(&order.id).name(&order.id).await?;

        attend(&instance, &order.id, async |position| {
            match (&position.waits, approver) {
                (Waits::Event { key, .. }, Some(by)) => {
                    println!("  {by} approves");
                    // The id, derived from what is approved, makes publishing idempotent too.
                    host.publish(APPROVED, key, by.to_owned()).id(format!("{key} approved")).await?;
                }
                (Waits::Event { until: Some(time), .. } | Waits::Retry { at: time, .. }, _) => {
                    calendar.turn_to(*time)?;
                }
                _ => {}
            }
            Ok(())
        })
        .await?;

        let order = instance.outcome().await?.completed()?;
        println!("{}: {}; done: {}", order.id, order.end, order.log.join(", "));
    }
    host.stop().await?;
    Ok(())
}

/// The orders, each with the person who approves the order, if any.
fn orders(placed: DateTime<Utc>) -> [(Order, Option<&'static str>); 3] {
    let order = |id: &str, cents, address: &str| Order {
        id: id.into(),
        placed,
        cents,
        address: address.into(),
        ..Order::default()
    };
    [
        (order("order-1", 25_900, "12 Elm Street"), Some("Ms Weber")),
        (order("order-2", 12_500, "3 Oak Lane"), None),
        (order("order-3", 4_900, "the moon"), None),
    ]
}
