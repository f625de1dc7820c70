use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::world::{Step, World};
use crate::{
    definition::{Definition, OnFailure, Retry, WorkflowBuilder},
    steps::StepError,
    traits::Ending,
};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    numbers: Vec<u32>,
    seen: BTreeSet<u32>,
    sum: u32,
    leaves: BTreeMap<String, u32>,
    total: u32,
}

/// A definition with flaky steps, nested loops of several steps, and failures after which the instance continues. The
/// sums must be the same for every order of the results.
fn definition(outer: usize, inner: usize) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("w", 1)
        .call("before", |_, _| Ok(7))
        .output(|n, tally| tally.total += n)
        .for_each(
            "outer",
            |tally| tally.numbers.clone(),
            |body| {
                body.then("flaky", async |ctx, _, n| {
                    if n.is_multiple_of(3) && ctx.attempt() < 3 {
                        Err(StepError::retryable("not yet"))
                    } else {
                        Ok(n)
                    }
                })
                .retry(Retry::exponential().attempts(3))
                .output(|n, tally, _| {
                    tally.seen.insert(n);
                    tally.sum += n;
                })
                .then(
                    "unlucky",
                    async |_, _, n| {
                        if n.is_multiple_of(2) { Err(StepError::fatal("never")) } else { Ok(n) }
                    },
                )
                .on_failure(OnFailure::Continue)
                .output(|n, tally, _| tally.total += n)
                .for_each(
                    "inner",
                    |_, n| (0..*n % 4).collect(),
                    |leaf| {
                        leaf.then("leaf", async |ctx, _, n| Ok((ctx.idempotency_key(), n)))
                            .output(|(key, n), tally, _| *tally.leaves.entry(key).or_default() += n + 1)
                    },
                )
                .concurrent(inner)
            },
        )
        .concurrent(outer)
        .change("after", |tally| tally.total += tally.sum)
        .build()
        .unwrap()
}

fn end_of(world: &World) -> (Tally, BTreeSet<String>, usize) {
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.instance.execution_pointers.len(), 3);
    let finished: BTreeSet<_> = world.history.iter().map(|r| r.pointer.id.clone()).collect();
    assert_eq!(finished.len(), world.history.len(), "nothing is finished twice");
    (world.data(), finished, world.failures.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_end_is_the_same_whatever_the_order_of_results_and_wherever_the_process_died(
        numbers in prop::collection::vec(0_u32..12, 0..12),
        (outer, inner) in (1_usize..5, 1_usize..4),
        choices in prop::collection::vec((0_u8..8, any::<prop::sample::Index>()), 0..400),
    ) {
        let data = Tally { numbers, ..Tally::default() };
        let mut plain = World::new(&definition(outer, inner), &data);
        plain.play();
        let mut shuffled = World::new(&definition(outer, inner), &data);
        let mut choices = choices.into_iter();
        shuffled.play_with(|waiting| match choices.next() {
            None => Step::Finish(1),
            Some((0, _)) => Step::Crash,
            Some((1..=3, index)) => Step::Swap(index.index(waiting)),
            Some((_, index)) => Step::Finish(index.index(waiting) + 1),
        });
        prop_assert_eq!(end_of(&plain), end_of(&shuffled));
    }
}
