//! The workflow of an order. A large order needs an approval. Then a saga reserves, charges and ships. If one of these
//! steps fails, the saga compensates the completed steps.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wfe::{
    Result,
    definition::{Definition, Inline, Retry, Task, WorkflowBuilder, event, inline, step},
    steps::{Ctx, Next, Step, StepResult},
};

use super::shop::Shop;

pub const ORDER: &str = "order";
pub const APPROVED: &str = "order-approved";

/// Orders of this many cents or more need an approval.
const LARGE: u64 = 10_000;
const APPROVE_WITHIN: Duration = Duration::from_hours(48);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub cents: u64,
    pub address: String,
    pub approved_by: Option<String>,
    pub receipt: Option<String>,
    /// The completed steps and compensations, in order.
    pub log: Vec<String>,
    /// The result of the order.
    pub end: Option<String>,
}

pub fn order(shop: &Arc<Shop>) -> Result<Definition> {
    WorkflowBuilder::<Order>::new(ORDER, 1)
        .if_(
            "is-large",
            |order, ()| order.cents >= LARGE,
            |large| {
                large.wait_for(
                    "approval",
                    event(APPROVED, |order: &Order, ()| order.id.clone())
                        .output(|by: &String, order| order.approved_by = Some(by.clone()))
                        .timeout(
                            |_, ()| APPROVE_WITHIN,
                            |late| {
                                late.then(
                                    "reject",
                                    inline(|_, _| async { Ok(()) }).output(|(), order: &mut Order| {
                                        order.end = Some("rejected: not approved in time".to_owned());
                                    }),
                                )
                                .end("rejected")
                            },
                        ),
                )
            },
        )
        .saga("fulfil", |all| {
            all.then("reserve", reserve(shop))
                .compensate_with(|undo| undo.then("release", release(shop)))
                .then(
                    "charge",
                    step({
                        let shop = shop.clone();
                        move || Charge {
                            shop: shop.clone(),
                            order: String::new(),
                            cents: 0,
                            receipt: String::new(),
                        }
                    })
                    .input(|charge, order: &Order, ()| {
                        charge.order.clone_from(&order.id);
                        charge.cents = order.cents;
                    })
                    .output(|charge, order| {
                        order.receipt = Some(charge.receipt.clone());
                        order.log.push("charged".to_owned());
                    })
                    // A busy bank is a temporary error, so the step is retried. A refused card would be a fatal error,
                    // which is not retried.
                    .retry(Retry::up_to(5).initial(Duration::from_mins(1)).jitter(0.0)),
                )
                .compensate_with(|undo| undo.then("refund", refund(shop)))
                .then("ship", ship(shop))
        })
        // Runs after the saga was compensated.
        .fallback(|instead| {
            instead
                .then(
                    "apologise",
                    inline(|ctx: Ctx, _| async move {
                        Ok(ctx.failure().map(|why| why.causes.join(": ")).unwrap_or_default())
                    })
                    .output(|why: &String, order: &mut Order| {
                        order.end = Some(format!("not delivered: {why}"));
                    }),
                )
                .end("not-delivered")
        })
        .then(
            "close",
            inline(|_, _| async { Ok(()) }).output(|(), order: &mut Order| {
                order.end = Some("delivered".to_owned());
            }),
        )
        .build()
}

/// A step that is implemented as a struct. The fields hold the step's inputs and outputs, and the objects of the
/// program that the step needs.
struct Charge {
    shop: Arc<Shop>,
    order: String,
    cents: u64,
    receipt: String,
}

impl Step for Charge {
    async fn run(&mut self, ctx: &Ctx) -> StepResult {
        // The idempotency key lets the bank recognise a payment that it already made before a crash.
        self.receipt = self.shop.charge(&ctx.idempotency_key(), &self.order, self.cents, ctx.attempt())?;
        Ok(Next::Done)
    }
}

type Inlined<R> = Task<R, Order, (), Inline<R, Order, ()>>;

fn reserve(shop: &Arc<Shop>) -> Inlined<()> {
    let shop = shop.clone();
    inline(move |_, order: Arc<Order>| {
        let shop = shop.clone();
        async move { shop.reserve(&order.id) }
    })
    .output(|(), order| order.log.push("reserved".to_owned()))
}

fn release(shop: &Arc<Shop>) -> Inlined<()> {
    let shop = shop.clone();
    inline(move |_, order: Arc<Order>| {
        let shop = shop.clone();
        async move { shop.release(&order.id) }
    })
    .output(|(), order| order.log.push("released".to_owned()))
}

fn refund(shop: &Arc<Shop>) -> Inlined<()> {
    let shop = shop.clone();
    inline(move |_, order: Arc<Order>| {
        let shop = shop.clone();
        async move { shop.refund(order.receipt.as_deref().unwrap_or_default()) }
    })
    .output(|(), order| {
        order.receipt = None;
        order.log.push("refunded".to_owned());
    })
}

fn ship(shop: &Arc<Shop>) -> Inlined<()> {
    let shop = shop.clone();
    inline(move |_, order: Arc<Order>| {
        let shop = shop.clone();
        async move { shop.ship(&order.id, &order.address) }
    })
    .output(|(), order| order.log.push("shipped".to_owned()))
}
