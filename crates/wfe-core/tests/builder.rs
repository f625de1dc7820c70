//! Forms of the builder that the snippets of the `wfe` crate do not use. They run there; here, a definition of each form builds
//! into the steps it names.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wfe_core::{
    Result,
    definition::{Definition, Each, IntoStep, WorkflowBuilder, WorkflowName, item_task, task},
    steps::{Blocking, BlockingStep, Ctx, Next, StepError, StepResult},
};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
    log: Vec<String>,
}

const ORDER: WorkflowName<Order> = WorkflowName::new("order");

#[derive(Clone, Default, Serialize, Deserialize)]
struct Basket {
    skus: Vec<u32>,
    total: u32,
}

fn note() -> impl IntoStep<Basket, Each<u32>> {
    item_task::<Basket, u32>().change(|basket, sku| basket.total += sku)
}

fn nothing() -> impl IntoStep<Basket> {
    task::<Basket>().then(async |_, _| Ok(()))
}

/// A helper of the items and a helper of the data are steps in the branch of an item.
fn basket() -> Result<Definition<Basket>> {
    WorkflowBuilder::<Basket>::new("basket", 1)
        .for_each(
            "price",
            |basket| basket.skus.clone(),
            |each| each.step("note", note()).step("plain", nothing()),
        )
        .then("list", async |_, basket| Ok(basket.skus.clone()))
        .each(|each| each.call("one", |_, _, sku| Ok(sku + 1)).step("note-again", note()))
        .all_at_once()
        .build()
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

fn payment() -> Result<Definition<Order>> {
    WorkflowBuilder::<Order>::new("payment", 1)
        .step("hash", Blocking(Hash::default()))
        .output(|Blocking(hash), order| order.cents = hash.0)
        .then("pay", pay)
        .step("both", task::<Order>().change(|_| ()).change("more", |_| ()))
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
            |by| by.when(1, |one| one.change("one", |_| ())).otherwise(|other| other.end("other")),
        )
        .branch("if", |by| {
            by.when(|order| order.cents > 1, |two| two.change("two", |_| ())).label("more than one")
        })
        .parallel("all", |all| all.branch(|a| a.change("a", |_| ())).branch(|b| b.change("b", |_| ())))
        .build()
}

#[test]
fn definitions_of_programs_build() -> Result<()> {
    let (basket, payment) = (basket()?, payment()?);
    assert_eq!(
        basket.step_ids().collect::<Vec<_>>(),
        ["price", "note", "plain", "list", "one", "note-again"]
    );
    assert_eq!(
        payment.step_ids().collect::<Vec<_>>(),
        [
            "hash",
            "pay",
            "both",
            "both.1",
            "both.more",
            "sign",
            "granted",
            "late",
            "again",
            "by",
            "one",
            "other",
            "if",
            "two",
            "all",
            "a",
            "b"
        ]
    );
    assert_eq!(payment.outline().step("both").map(|it| it.kind.clone()), Some("block".to_owned()));
    Ok(())
}
