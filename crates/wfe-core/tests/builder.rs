//! The builder as programs use it: helper functions, structs, items, and what the last step leaves.

#![expect(
    clippy::unused_async,
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "the shop and its prices stand for clients, whose methods wait and fail"
)]

use std::{
    io,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wfe_core::{
    BoxError, Result,
    definition::{
        Activity, Branch, Definition, Event, IntoStep, Retry, Sequence, WorkflowBuilder, WorkflowName,
        item_task, task,
    },
    steps::{Blocking, BlockingStep, Ctx, Next, Step, StepError, StepResult, StepResultExt as _},
};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
    address: String,
    approved_by: Option<String>,
    receipt: Option<String>,
    log: Vec<String>,
    end: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Approval {
    by: String,
}

const ORDER: WorkflowName<Order> = WorkflowName::new("order");
const APPROVED: Event<Approval> = Event::new("order-approved");

#[derive(Default)]
struct Shop {
    asked: AtomicU32,
}

impl Shop {
    async fn reserve(&self, order: &Order) -> Result<(), io::Error> {
        if order.cents > 0 { Ok(()) } else { Err(io::Error::other("nothing to reserve")) }
    }
    async fn charge(&self, key: &str, cents: u64) -> Result<String, BoxError> {
        if self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            Err("the bank is busy".into())
        } else {
            Ok(format!("{cents} by {key}"))
        }
    }
    async fn ship(&self, to: &str) -> Result<(), io::Error> {
        if to == "the moon" { Err(io::Error::other("too far")) } else { Ok(()) }
    }
    fn release(&self, _: &Order) -> Result<(), io::Error> {
        Ok(())
    }
    async fn refund(&self, _: Option<&str>) -> Result<(), io::Error> {
        Ok(())
    }
}

fn order(shop: Arc<Shop>) -> Result<Definition<Order>> {
    ORDER
        .define(1)
        .with(shop)
        .if_(
            "is-large",
            |order| order.cents >= 10_000,
            |large| {
                large
                    .wait_for("approval", APPROVED, |order| order.id.clone())
                    .output(|approval, order| order.approved_by = Some(approval.by))
                    .on_timeout(
                        |_| Duration::from_hours(48),
                        |late| late.change("reject", |order| order.end = "rejected".into()).end("rejected"),
                    )
            },
        )
        .saga("fulfil", |all| {
            all.then("reserve", async |ctx, order| Ok(ctx.app.reserve(&order).await?))
                .output(|(), order| order.log.push("reserved".into()))
                .compensate_with(|undo| undo.call("release", |ctx, order| Ok(ctx.app.release(order)?)))
                .then("charge", async |ctx, order| {
                    Ok(ctx.app.charge(&ctx.idempotency_key(), order.cents).await?)
                })
                .output(|receipt, order| order.receipt = Some(receipt))
                .retry(
                    Retry::exponential()
                        .initial(Duration::from_secs(2))
                        .max(Duration::from_mins(1))
                        .attempts(5),
                )
                .compensate_with(|undo| {
                    undo.then("refund", async |ctx, order| {
                        Ok(ctx.app.refund(order.receipt.as_deref()).await?)
                    })
                })
                .then("ship", async |ctx, order| ctx.app.ship(&order.address).await.fatal())
        })
        .fallback(|instead| {
            instead
                .call("apologise", |ctx, _| {
                    Ok(ctx.failure().map(|why| why.causes.join(": ")).unwrap_or_default())
                })
                .output(|why, order| order.end = format!("undone: {why}"))
                .end("undone")
        })
        .change("close", |order| order.end = "delivered".into())
        .build()
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Basket {
    skus: Vec<u32>,
    total: u32,
    boxes: u32,
}

#[derive(Clone)]
struct Prices(Arc<[u32]>);

impl Prices {
    async fn of(&self, sku: u32) -> Result<u32, io::Error> {
        Ok(*self.0.get(sku as usize).ok_or(io::Error::from(io::ErrorKind::NotFound))?)
    }
}

const PACK: Activity<String, u32> = Activity::new("pack");

fn basket(prices: Prices) -> Result<Definition<Basket>> {
    WorkflowBuilder::<Basket>::new("basket", 1)
        .for_each(
            "price",
            |basket| basket.skus.clone(),
            |each| {
                each.then("look-up", async move |_, _, sku| Ok(prices.of(sku).await?))
                    .output(|cents, basket, _| basket.total += cents)
                    .if_(
                        "is-odd",
                        |_, sku| sku % 2 == 1,
                        |odd| odd.change("count", |basket, _| basket.boxes += 1),
                    )
                    .activity("pack", PACK, |_, sku| format!("sku {sku}"))
                    .output(|boxes, basket, _| basket.boxes += boxes)
                    .step("note", note())
                    .step("plain", nothing())
            },
        )
        .concurrent(8)
        .then("list", async |_, basket| Ok(basket.skus.clone()))
        .each(|each| each.call("one", |_, _, sku| Ok(sku + 1)).step("note-again", note()))
        .all_at_once()
        .build()
}

fn note() -> impl IntoStep<Basket, wfe_core::definition::Each<u32>> {
    item_task::<Basket, u32>().change(|basket, sku| basket.total += sku)
}

fn nothing() -> impl IntoStep<Basket> {
    task::<Basket>().then(async |_, _| Ok(()))
}

fn mark(text: &'static str) -> impl IntoStep<Order> {
    task::<Order>().change(move |order| order.log.push(text.into()))
}

fn broken(why: &'static str) -> impl IntoStep<Order> {
    task::<Order>()
        .call(move |_, _| Err::<(), _>(StepError::fatal(why).with_code("broken")))
        .retry(Retry::every(Duration::ZERO).attempts(3))
}

fn apologise(steps: Sequence<Order>) -> impl Branch<Order> {
    steps.step("mark", mark("sorry")).change("end", |order| order.end = "sorry".into())
}

#[derive(Clone, Default)]
struct Charge {
    shop: Arc<Shop>,
    cents: u64,
    receipt: String,
}

impl Step for Charge {
    async fn run(&mut self, ctx: &Ctx) -> StepResult {
        self.receipt = self.shop.charge(&ctx.idempotency_key(), self.cents).await?;
        Ok(Next::Done)
    }
}

#[derive(Clone, Default)]
struct Hash(u64);

impl BlockingStep for Hash {
    fn run(&mut self, _: &Ctx) -> StepResult {
        self.0 += 1;
        Ok(Next::Done)
    }
}

async fn pay(_: Ctx, order: Arc<Order>) -> Result<u64, StepError> {
    Ok(order.cents)
}

fn helped() -> Result<Definition<Order>> {
    WorkflowBuilder::<Order>::new("helped", 1)
        .step("begun", mark("begun"))
        .step("charge", Charge::default())
        .input(|charge, order| charge.cents = order.cents)
        .output(|charge, order| order.receipt = Some(charge.receipt))
        .retry(Retry::every(Duration::from_millis(1)))
        .step("hash", Blocking(Hash::default()))
        .output(|Blocking(hash), order| order.cents = hash.0)
        .then("pay", pay)
        .step("both", task::<Order>().change(|_| ()).change("more", |_| ()))
        .step("break", broken("no luck"))
        .fallback(apologise)
        .user_task("sign", |order| order.id.clone())
        .assignee(|_| "boss")
        .plain_option("no")
        .escalate(|_| Duration::from_secs(1), |late| late.change("late", |_| ()))
        .option("yes", |yes| yes.change("granted", |_| ()))
        .sub_workflow("again", ORDER, Order::clone)
        .output(|child, order| *order = child)
        .version(2)
        .decide(
            "by",
            |order| order.cents,
            |by| by.when(1, |one| one.change("one", |_| ())).otherwise(|o| o.end("o")),
        )
        .branch("if", |by| by.when(|order| order.cents > 1, |one| one.change("two", |_| ())).label("x"))
        .parallel("all", |all| all.branch(|a| a.change("a", |_| ())).branch(|b| b.change("b", |_| ())))
        .build()
}

#[test]
fn definitions_of_programs_build() -> Result<()> {
    let (order, basket, helped) = (order(Arc::default())?, basket(Prices([5, 250].into()))?, helped()?);
    assert_eq!(order.step_ids().count(), 13);
    assert_eq!(basket.step_ids().count(), 10);
    assert_eq!(helped.outline().step("both").map(|it| it.kind.clone()), Some("block".to_owned()));
    Ok(())
}
