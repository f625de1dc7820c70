//! Random definitions, nested at random: they end, however often the process dies, always in the same way; and a saga is
//! undone in full or not at all.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    scenario::End,
    world::{Step, World},
};
use crate::{
    definition::{
        Definition, Inline, OnFailure, Retry, Sequence, Task, WorkflowBuilder, each, event, inline,
    },
    models::{Event, PointerStatus},
    steps::{Ctx, StepError},
};

#[derive(Debug, Clone)]
enum Tree {
    Work,
    Broken,
    Flaky,
    Delay,
    Wait,
    If(bool, Vec<Tree>, Vec<Tree>),
    While(usize, Vec<Tree>),
    Parallel(Vec<Vec<Tree>>),
    ForEach(u8, usize, Vec<Tree>),
    Saga(u32, bool, Vec<Tree>),
    Schedule(Vec<Tree>),
    Fallback(Vec<Tree>),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Log {
    /// The pointers of the steps that have completed, and of those that were undone, in order.
    done: Vec<String>,
    undone: Vec<String>,
}

type Body = Sequence<Log, u8>;

fn trees() -> impl Strategy<Value = Vec<Tree>> {
    let leaf = prop_oneof![
        6 => Just(Tree::Work),
        1 => Just(Tree::Broken),
        1 => Just(Tree::Flaky),
        1 => Just(Tree::Delay),
        1 => Just(Tree::Wait),
    ];
    let tree = leaf.prop_recursive(4, 24, 3, |inner| {
        let body = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (any::<bool>(), body(), body()).prop_map(|(holds, a, b)| Tree::If(holds, a, b)),
            (0_usize..3, body()).prop_map(|(rounds, body)| Tree::While(rounds, body)),
            prop::collection::vec(body(), 1..4).prop_map(Tree::Parallel),
            (0_u8..4, 1_usize..3, body()).prop_map(|(items, limit, body)| Tree::ForEach(items, limit, body)),
            (0_u32..2, any::<bool>(), body()).prop_map(|(retries, on, body)| Tree::Saga(retries, on, body)),
            body().prop_map(Tree::Schedule),
            body().prop_map(Tree::Fallback),
        ]
    });
    prop::collection::vec(tree, 1..5)
}

fn work() -> Task<String, Log, u8, Inline<String, Log, u8>> {
    inline(|ctx: Ctx, _| async move { Ok(ctx.idempotency_key()) })
        .output(|key: &String, log: &mut Log| log.done.push(key.clone()))
}

fn broken() -> Task<(), Log, u8, Inline<(), Log, u8>> {
    inline(|_, _| async { Err(StepError::fatal("broken")) })
}

/// Every step that writes what it has done is undone by one that writes that, where there is a saga.
fn undone(body: Body, id: &str, in_saga: bool) -> Body {
    if !in_saga {
        return body;
    }
    body.compensate_with(|undo| {
        let pointer = inline(|ctx: Ctx, _| async move {
            let place = (ctx.instance_id().to_owned(), ctx.undone().map(|step| step.pointer.clone()));
            Ok(format!("{}/{}", place.0, place.1.unwrap_or_default()))
        });
        undo.then(
            format!("un-{id}"),
            pointer.output(|key: &String, log: &mut Log| log.undone.push(key.clone())),
        )
    })
}

fn add(mut body: Body, trees: &[Tree], count: &mut u32, in_saga: bool) -> Body {
    for tree in trees {
        *count += 1;
        let id = format!("s{count}");
        body = match tree {
            Tree::Work => undone(body.then(id.clone(), work()), &id, in_saga),
            Tree::Broken => body.then(id, broken()),
            Tree::Flaky => {
                let flaky = inline(|ctx: Ctx, _| async move {
                    if ctx.attempt() == 1 {
                        Err(StepError::retryable("once"))
                    } else {
                        Ok(ctx.idempotency_key())
                    }
                });
                let flaky = flaky.output(|key: &String, log: &mut Log| log.done.push(key.clone()));
                undone(body.then(id.clone(), flaky.retry(Retry::up_to(1))), &id, in_saga)
            }
            Tree::Delay => body.delay(id, |_, _| Duration::from_secs(7)),
            Tree::Wait => body.wait_for(id, event("tick", |_: &Log, _| "k")),
            Tree::If(holds, then, otherwise) => {
                let holds = *holds;
                let (mut a, mut b) = (None, None);
                add_to(&mut a, then, count, in_saga);
                add_to(&mut b, otherwise, count, in_saga);
                body.if_else(id, move |_, _| holds, |_| a.unwrap(), |_| b.unwrap())
            }
            Tree::While(rounds, inner) => {
                let (rounds, prefix) = (*rounds, format!("{id}-count"));
                let marker = prefix.clone();
                let mut inside = None;
                add_to(&mut inside, inner, count, in_saga);
                let counts =
                    move |log: &Log, _: &u8| log.done.iter().filter(|w| **w == prefix).count() < rounds;
                let counting = inline(|_, _| async { Ok(()) })
                    .output(move |(), log: &mut Log| log.done.push(marker.clone()));
                body.while_(id.clone(), counts, |_| inside.unwrap().then(format!("{id}-count"), counting))
            }
            Tree::Parallel(branches) => body.parallel(id, |mut all| {
                for branch in branches {
                    all = all.branch(|b| add(b, branch, count, in_saga));
                }
                all
            }),
            Tree::ForEach(items, limit, inner) => {
                let items = *items;
                body.for_each(id, each(move |_: &Log| (0..items).collect()).parallel(*limit), |b| {
                    add(b, inner, count, in_saga)
                })
            }
            Tree::Saga(retries, on, inner) => {
                let body = body.saga(id, |b| add(b, inner, count, true)).retry(Retry::up_to(*retries));
                if *on { body.on_failure(OnFailure::Continue) } else { body }
            }
            Tree::Schedule(inner) => {
                body.schedule(id, |_, _| Duration::from_secs(3), |b| add(b, inner, count, in_saga))
            }
            Tree::Fallback(inner) => body.then(id, broken()).fallback(|b| add(b, inner, count, in_saga)),
        };
    }
    body
}

fn add_to(into: &mut Option<Body>, trees: &[Tree], count: &mut u32, in_saga: bool) {
    *into = Some(add(Sequence::inside(), trees, count, in_saga));
}

fn definition(trees: &[Tree]) -> Definition {
    WorkflowBuilder::<Log>::new("w", 1)
        .for_each("top", each(|_: &Log| vec![0_u8]), |b| add(b, trees, &mut 0, false))
        .build()
        .unwrap()
}

fn world(definition: &Definition) -> World {
    let mut world = World::new(definition, &Log::default());
    for at in 1..40 {
        let at = world.now + Duration::from_secs(5 * at);
        let id = format!("tick {at}");
        world
            .planned
            .push((at, Event { id, event_time: at, ..Event::new("tick", "k", serde_json::json!(0)) }));
    }
    world.sorted = true;
    world
}

/// What holds at the end of every story.
fn check(world: &World) {
    let ended = world.ending.is_some();
    // A wait may be for a tick that never comes.
    let waits = world.instance.execution_pointers.iter().any(|p| p.status == PointerStatus::WaitingForEvent);
    assert!(ended || waits, "it stands at {:?}", world.instance.execution_pointers);
    assert!(world.run.is_none());
    let log: Log = world.data();
    let done: Vec<_> = log.done.iter().filter(|key| !key.ends_with("-count")).collect();
    let undone: BTreeSet<_> = log.undone.iter().collect();
    assert_eq!(undone.len(), log.undone.len(), "nothing is undone twice");
    let all: BTreeSet<_> = done.iter().copied().collect();
    assert_eq!(all.len(), done.len(), "nothing is done twice");
    assert!(undone.is_subset(&all), "only what was done is undone");
    let history = world.history.iter().map(|row| &row.pointer).chain(&world.instance.execution_pointers);
    for saga in history.filter(|p| p.status == PointerStatus::Compensated) {
        let path = format!("it/{}/", saga.id);
        let left: Vec<_> =
            done.iter().filter(|key| key.starts_with(&path) && !undone.contains(*key)).collect();
        assert!(left.is_empty(), "of {path} this is not undone: {left:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_nesting_ends_and_ends_the_same_way_wherever_the_process_died(
        trees in trees(),
        deaths in prop::collection::btree_set(1_usize..60, 0..20),
    ) {
        let definition = definition(&trees);
        let mut whole = world(&definition);
        whole.play();
        check(&whole);
        let mut killed = world(&definition);
        for death in deaths {
            if death > killed.commits.len() {
                killed.dies_after = Some(death);
                killed.play_with(|_| Step::Finish(1));
            }
        }
        killed.play();
        check(&killed);
        prop_assert_eq!(End::of(&whole), End::of(&killed));
    }

    #[test]
    fn any_nesting_ends_in_any_order_of_results(
        trees in trees(),
        choices in prop::collection::vec((0_u8..6, any::<prop::sample::Index>()), 0..200),
    ) {
        let mut world = world(&definition(&trees));
        world.sorted = false;
        let mut choices = choices.into_iter();
        world.play_with(|waiting| match choices.next() {
            None => Step::Finish(1),
            Some((0, _)) => Step::Crash,
            Some((1..=2, index)) => Step::Swap(index.index(waiting)),
            Some((_, index)) => Step::Finish(index.index(waiting) + 1),
        });
        check(&world);
    }
}
