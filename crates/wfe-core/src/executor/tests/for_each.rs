use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::world::World;
use crate::{
    definition::{Definition, Event, OnFailure, WorkflowBuilder},
    models::{PointerStatus, WorkflowStatus, attributes},
    steps::StepError,
};

type Sums = Vec<u32>;

const COME: Event<()> = Event::new("come");

fn doubling(limit: usize) -> Definition<Sums> {
    WorkflowBuilder::<Sums>::new("w", 1)
        .for_each("all", Sums::clone, |body| body.then("double", async |_, _, n| Ok(n * 2)))
        .concurrent(limit)
        .then("after", async |_, _| Ok(()))
        .build()
        .unwrap()
}

#[test]
fn no_more_items_are_begun_at_once_than_the_limit_allows() {
    let mut world = World::new(&doubling(3), &(0..10).collect::<Sums>());
    let mut most = 0;
    world.play_with(|waiting| {
        most = most.max(waiting);
        super::world::Step::Finish(1)
    });
    assert_eq!(most, 3);
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
    assert_eq!(world.history.len(), 10);
}

#[test]
fn without_a_limit_items_go_one_after_the_other_in_order() {
    let definition = WorkflowBuilder::<Sums>::new("w", 1)
        .for_each("all", Sums::clone, |body| body.then("double", async |_, _, n| Ok(n * 2)))
        .build()
        .unwrap();
    let mut world = World::new(&definition, &vec![5_u32, 6, 7]);
    world.play();
    let order: Vec<_> = world.history.iter().map(|row| row.pointer.id.as_str()).collect();
    assert_eq!(order, ["all/0/double", "all/1/double", "all/2/double"]);
    assert_eq!(world.history[1].pointer.outcome, Some(json!(12)));
    assert_eq!(world.history[1].pointer.context_item, Some(json!(6)));
    assert_eq!(world.history[1].pointer.scope, ["all"]);
}

#[test]
fn an_empty_list_is_done_at_once_and_what_follows_runs() {
    let mut world = World::new(&doubling(3), &Sums::new());
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
    assert_eq!(world.pointer("all").status, PointerStatus::Complete);
    assert_eq!(world.pointer("after").status, PointerStatus::Complete);
}

#[test]
fn branches_that_end_together_leave_the_container_with_those_that_have_not() {
    let definition = WorkflowBuilder::<Sums>::new("w", 1)
        .for_each("all", Sums::clone, |body| body.wait_for("wait", COME, |_, n| (n % 2).to_string()))
        .concurrent(300)
        .build()
        .unwrap();
    let mut world = World::new(&definition, &(0..300).collect::<Sums>());
    world.play();
    let begun = world.commits.len();
    assert_eq!(world.waits.len(), 300);
    world.plan(Duration::ZERO, "come", "1", ());
    world.play();
    assert_eq!(world.commits.len(), begun + 1, "waits that share an event take it together");
    let expected: Vec<_> = (0..300).step_by(2).map(|n| format!("all/{n}/wait")).collect();
    assert_eq!(world.pointer("all").children, expected);
    world.plan(Duration::ZERO, "come", "0", ());
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
    assert!(world.pointer("all").children.is_empty());
    assert_eq!(world.history.len(), 300);
}

#[test]
fn after_a_commit_events_are_looked_for_where_they_may_be() {
    let definition = WorkflowBuilder::<Sums>::new("w", 1)
        .for_each("all", Sums::clone, |body| {
            body.wait_for("first", COME, |_, n| n.to_string()).wait_for("second", COME, |_, _| "0")
        })
        .concurrent(3)
        .build()
        .unwrap();
    let mut world = World::new(&definition, &vec![0_u32, 1, 2]);
    // Each wait that is opened, and after an event was consumed, others that stand in its stream.
    world.play();
    assert_eq!(world.looked_for, ["all/0/first", "all/1/first", "all/2/first"]);
    for (key, then) in
        [("1", &["all/1/second"][..]), ("2", &["all/2/second"]), ("0", &["all/0/second"]), ("0", &[])]
    {
        world.looked_for.clear();
        world.plan(Duration::ZERO, "come", key, ());
        world.play();
        assert_eq!(world.looked_for, then, "after {key}");
    }
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
}

#[test]
fn a_long_for_each_leaves_the_live_instance_and_every_commit_small() {
    let mut world = World::new(&doubling(4), &(0..1000).collect::<Sums>());
    let mut largest = 0;
    world.play_with(|_| super::world::Step::Finish(1));
    for commit in &world.commits {
        largest = largest.max(commit.upserted.len() + commit.finished.len());
        assert!(commit.data.is_none());
    }
    assert!(largest <= 5, "{largest} pointers in one commit");
    assert_eq!(world.instance.execution_pointers.len(), 2, "one for each step of the main path");
    assert_eq!(world.history.len(), 1000);
    let indices: BTreeSet<_> =
        world.history.iter().map(|r| r.pointer.number(attributes::INDEX).unwrap()).collect();
    assert_eq!(indices.len(), 1000);
}

#[test]
fn items_are_computed_once_even_if_the_data_changes_and_the_process_dies() {
    let listed = Arc::new(AtomicUsize::new(0));
    let count = listed.clone();
    let definition = WorkflowBuilder::<Sums>::new("w", 1)
        .then("all", move |_, data| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { Ok(data.to_vec()) }
        })
        .each(|body| body.then("grow", async |_, _, n| Ok(n)).output(|n, data, _| data.push(n + 100)))
        .build()
        .unwrap();
    let mut world = World::new(&definition, &vec![1_u32, 2, 3]);
    let mut crashes = 0;
    world.play_with(|_| {
        crashes += 1;
        if crashes % 2 == 0 { super::world::Step::Crash } else { super::world::Step::Finish(1) }
    });
    assert_eq!(listed.load(Ordering::Relaxed), 1);
    assert_eq!(world.data::<Sums>(), [1, 2, 3, 101, 102, 103]);
}

#[test]
fn bodies_of_several_steps_and_for_eaches_inside_one_another_work() {
    let definition = WorkflowBuilder::<Sums>::new("w", 1)
        .for_each("outer", Sums::clone, |outer| {
            outer
                .then("first", async |_, _, n| Ok(n))
                .for_each(
                    "inner",
                    |_, n| (0..*n).map(|i| (*n, i)).collect(),
                    |inner| {
                        inner
                            .then("leaf", async |_, _, (n, i)| Ok(n * 10 + i))
                            .output(|v, data, _| data.push(v))
                    },
                )
                .concurrent(2)
                .then("last", async |_, _, n| Ok(n))
        })
        .concurrent(2)
        .build()
        .unwrap();
    let mut world = World::new(&definition, &vec![3_u32, 0, 2]);
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
    let mut data = world.data::<Sums>();
    data.sort_unstable();
    assert_eq!(data, [0, 2, 3, 20, 21, 30, 31, 32]);
    let ended: BTreeSet<_> = world
        .history
        .iter()
        .filter(|r| r.pointer.has(attributes::LAST))
        .map(|r| r.pointer.id.as_str())
        .collect();
    let expected = [
        "outer/0/inner/0/leaf",
        "outer/0/inner/1/leaf",
        "outer/0/inner/2/leaf",
        "outer/0/last",
        "outer/1/last",
        "outer/2/inner/0/leaf",
        "outer/2/inner/1/leaf",
        "outer/2/last",
    ];
    assert_eq!(ended, BTreeSet::from(expected));
    assert_eq!(world.instance.execution_pointers.len(), 1);
}

#[test]
fn with_continue_a_failed_item_does_not_keep_the_others_from_ending() {
    let definition = WorkflowBuilder::<Sums>::new("w", 1)
        .for_each("all", Sums::clone, |body| {
            body.then("odd", async |_, _, n| {
                if n.is_multiple_of(2) { Err(StepError::fatal("even").with_code("even")) } else { Ok(n) }
            })
            .on_failure(OnFailure::Continue)
        })
        .concurrent(8)
        .build()
        .unwrap();
    let mut world = World::new(&definition, &(0..6).collect::<Sums>());
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
    assert_eq!(world.failures.len(), 3);
    let failed = world.history.iter().filter(|r| r.pointer.status == PointerStatus::Failed);
    for row in failed {
        let outcome = row.pointer.outcome.as_ref().unwrap();
        assert_eq!(*outcome, json!({"code": "even", "causes": ["even"], "attempts": 1}));
    }
}
