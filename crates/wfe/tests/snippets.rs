//! Six snippets as users write them: hello world, an order, items with a shared client, a wait with a timeout, helper
//! functions, and a step that is a struct. They run on a host, and their length is measured: the API should not get wordier
//! than it was designed.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use proc_macro2::{Spacing, TokenStream, TokenTree};
use serde::{Deserialize, Serialize};
use wfe::{error::BoxError, prelude::*};

#[derive(Clone, Serialize, Deserialize)]
struct Greeting {
    name: String,
    text: String,
}

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

#[derive(Clone, Default, Serialize, Deserialize)]
struct Basket {
    skus: Vec<u32>,
    total: u32,
    boxes: u32,
}

const ORDER: WorkflowName<Order> = WorkflowName::new("order");
const APPROVED: Event<Approval> = Event::new("order-approved");
const PACK: Activity<String, u32> = Activity::new("pack");

#[derive(Default)]
struct Shop {
    asked: AtomicU32,
}

#[expect(
    clippy::unused_async,
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "as in a program, where they do work"
)]
impl Shop {
    async fn reserve(&self, order: &Order) -> Result<(), io::Error> {
        if order.cents > 0 { Ok(()) } else { Err(io::Error::other("nothing to reserve")) }
    }

    async fn charge(&self, key: &str, cents: u64) -> Result<String, BoxError> {
        if self.asked.fetch_add(1, Relaxed) == 0 {
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

    async fn refund(&self, _receipt: Option<&str>) -> Result<(), io::Error> {
        Ok(())
    }
}

#[derive(Clone)]
struct Prices(Arc<[u32]>);

#[expect(clippy::unused_async, reason = "as in a program, where it asks a service")]
impl Prices {
    async fn of(&self, sku: u32) -> Result<u32, io::Error> {
        Ok(*self.0.get(sku as usize).ok_or(io::Error::from(io::ErrorKind::NotFound))?)
    }
}

#[derive(Clone, Default)]
struct Charge {
    shop: Arc<Shop>,
    cents: u64,
    receipt: String,
}

fn large_order() -> Order {
    Order { id: "17".into(), cents: 25_900, ..Order::default() }
}

// From here to `end` is measured.
// begin
async fn hello() -> Result<(), Error> {
    let greet = WorkflowBuilder::<Greeting>::new("greet", 1)
        .then("write", async |_, greeting| Ok(format!("hello, {}", greeting.name)))
        .output(|text, greeting| greeting.text = text)
        .build()?;

    let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    let greet = host.register(greet)?;
    host.start().await?;
    let greeting = greet
        .start(&Greeting { name: "world".into(), text: String::new() })
        .await?
        .outcome()
        .await?
        .completed()?;
    assert_eq!(greeting.text, "hello, world");
    host.stop().await
}

fn order(shop: Arc<Shop>) -> Result<Definition<Order>, Error> {
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
                        .initial(Duration::from_millis(2))
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
                .call("apologise", |ctx, _| Ok(ctx.failure().map(ToString::to_string)))
                .output(|why, order| order.end = why.unwrap_or_default())
                .end("undone")
        })
        .change("close", |order| order.end = "delivered".into())
        .build()
}

async fn program(host: WorkflowHost) -> Result<String, Error> {
    let orders = host.register(order(Arc::default())?)?;
    let large = orders.start(&large_order()).reference("order-17").await?;
    host.publish(APPROVED, "17", Approval { by: "Ms Weber".into() }).id("click-4711").await?;
    Ok(format!("{}: {}", large.is_new, large.outcome().await?.completed()?.end))
}

fn basket(prices: Prices) -> Result<Definition<Basket>, Error> {
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
            },
        )
        .concurrent(8)
        .build()
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

impl Step for Charge {
    async fn run(&mut self, ctx: &Ctx) -> StepResult {
        self.receipt = self.shop.charge(&ctx.idempotency_key(), self.cents).await?;
        Ok(Next::Done)
    }
}

fn helped() -> Result<Definition<Order>, Error> {
    WorkflowBuilder::<Order>::new("helped", 1)
        .step("begun", mark("begun"))
        .step("charge", Charge::default())
        .input(|charge, order| charge.cents = order.cents)
        .output(|charge, order| order.receipt = Some(charge.receipt))
        .retry(Retry::every(Duration::from_millis(1)))
        .step("break", broken("no luck"))
        .fallback(apologise)
        .build()
}
// end

async fn host() -> Result<WorkflowHost, Error> {
    let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    host.start().await?;
    Ok(host)
}

#[tokio::test]
async fn hello_world_says_hello() {
    hello().await.unwrap();
}

#[tokio::test]
async fn a_large_order_waits_for_its_approval_and_is_undone_if_it_cannot_be_shipped() {
    let host = host().await.unwrap();
    assert_eq!(program(host.clone()).await.unwrap(), "true: delivered");
    let far = Order { id: "18".into(), cents: 7, address: "the moon".into(), ..Order::default() };
    let order = host.workflow(ORDER).start(&far).await.unwrap().outcome().await.unwrap().completed().unwrap();
    assert_eq!((order.log, order.end), (vec!["reserved".to_owned()], "too far".to_owned()));
    host.stop().await.unwrap();
}

#[tokio::test]
async fn items_are_priced_and_packed_by_a_worker() {
    let host = host().await.unwrap();
    let baskets = host.register(basket(Prices([5, 250, 30].into())).unwrap()).unwrap();
    let worker = host.activities().worker(PACK, "worker 1").concurrent(2);
    let worker = tokio::spawn(worker.run(async |what, _| Ok(u32::from(what == "sku 2"))));
    let basket = baskets.start(&Basket { skus: vec![0, 1, 2], ..Basket::default() }).await.unwrap();
    let basket = basket.outcome().await.unwrap().completed().unwrap();
    assert_eq!((basket.total, basket.boxes), (285, 2));
    host.stop().await.unwrap();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn helpers_and_structs_are_steps() {
    let host = host().await.unwrap();
    let helped = host.register(helped().unwrap()).unwrap();
    let order = helped.start(&Order { cents: 7, ..Order::default() }).await.unwrap();
    let key = format!("7 by {}/charge", order.id());
    let order = order.outcome().await.unwrap().completed().unwrap();
    assert_eq!((order.log, order.end), (vec!["begun".to_owned(), "sorry".to_owned()], "sorry".to_owned()));
    assert_eq!(order.receipt, Some(key));
    host.stop().await.unwrap();
}

/// The bounds are those of the API's design: 1 252 tokens and 3 annotations. An annotation is a type that a user has to write
/// for the compiler: in the parameter of a closure, or between the angle brackets of a call.
#[test]
fn the_snippets_are_as_short_as_the_api_was_designed() {
    let source = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snippets.rs")).unwrap();
    let (_, measured) = source.split_once("// begin\n").unwrap();
    let (measured, _) = measured.split_once("// end\n").unwrap();
    let tokens = tokens(measured.parse().unwrap());
    let annotations = annotations(&measured.parse().unwrap());
    println!("{tokens} tokens, {annotations} annotations");
    assert!(tokens <= 1252, "{tokens} tokens");
    assert!(annotations <= 3, "{annotations} annotations");
}

/// How many tokens there are, delimiters included. An operator of several characters is one token.
fn tokens(stream: TokenStream) -> usize {
    let mut joined = false;
    let mut count = 0;
    for token in stream {
        count += match token {
            TokenTree::Group(group) => 2 + tokens(group.stream()),
            TokenTree::Punct(punct) => {
                let is_first = !joined;
                joined = punct.spacing() == Spacing::Joint && punct.as_char() != '\'';
                usize::from(is_first)
            }
            _ => {
                joined = false;
                1
            }
        };
    }
    count
}

/// How many calls name a type between angle brackets: `task::<Order>()`, `Err::<(), _>(…)`; and how many parameters of
/// closures have a type.
fn annotations(stream: &TokenStream) -> usize {
    let all: Vec<TokenTree> = stream.clone().into_iter().collect();
    let text = |at: usize| all.get(at).map(ToString::to_string).unwrap_or_default();
    let is_call = |at: usize| {
        // The path goes on behind the brackets of a type: `WorkflowBuilder::<Order>::new`.
        let close = (at..all.len()).find(|close| text(*close) == ">").unwrap_or(at);
        !text(close + 1).starts_with(':')
    };
    let calls = (0..all.len())
        .filter(|at| text(*at) == ":" && text(at + 1) == ":" && text(at + 2) == "<" && is_call(at + 2))
        .count();
    let mut in_parameters = false;
    let mut typed = 0;
    for at in 0..all.len() {
        match &*text(at) {
            "|" => in_parameters = !in_parameters,
            ":" if in_parameters => typed += 1,
            _ => {}
        }
    }
    let inner: usize = all
        .iter()
        .map(|token| if let TokenTree::Group(group) = token { annotations(&group.stream()) } else { 0 })
        .sum();
    calls + typed + inner
}
