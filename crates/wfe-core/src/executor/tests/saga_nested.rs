//! Sagas inside of sagas.

use super::{
    scenario::{Body, HOUR, Line, broken, does, everywhere, line, mark, saga, world},
    world::World,
};
use crate::{
    definition::{Block, Branch, Main, OnFailure, Retry},
    models::PointerStatus,
    steps::StepError,
    traits::Ending,
};

/// Adds a step that fails until the word `undone` was written twice.
fn fails_twice(body: Body, id: &'static str, undone: &'static str) -> impl Branch<Line> {
    body.call(id, move |_, line| {
        let rounds = line.iter().filter(|word| *word == undone).count();
        if rounds < 2 { Err(StepError::retryable("not yet")) } else { Ok(()) }
    })
}

#[test]
fn two_inner_sagas_of_one_saga_are_undone_at_once() {
    let whole = everywhere(|| {
        world(saga(|b| {
            b.parallel("p", |all| {
                all.branch(|b| {
                    b.saga("l", |b| does(b, "a").step("x", broken())).on_failure(OnFailure::Continue)
                })
                .branch(|b| b.saga("r", |b| does(b, "c").step("y", broken())).on_failure(OnFailure::Continue))
            })
            .step("last", mark("last"))
        }))
    });
    assert_eq!(whole.ending, Some(Ending::Completed));
    let mut words: Vec<_> = line(&whole).split(' ').map(str::to_owned).collect();
    assert_eq!(words.pop().as_deref(), Some("last"));
    words.sort_unstable();
    assert_eq!(words, ["-a", "-c", "a", "c"]);
}

#[test]
fn inner_sagas_that_are_undone_and_tried_again_at_once_do_not_disturb_each_other() {
    let whole = everywhere(|| {
        let retry = || Retry::exponential().attempts(4).initial(HOUR).max(HOUR).jitter(0.0);
        world(
            saga(|b| {
                does(b, "before").parallel("p", |all| {
                    all.branch(|b| b.saga("l", |b| fails_twice(does(b, "a"), "x", "-a")).retry(retry()))
                        .branch(|b| b.saga("m", |b| fails_twice(does(b, "b"), "y", "-b")).retry(retry()))
                        .branch(|b| b.saga("r", |b| fails_twice(does(b, "c"), "z", "-c")).retry(retry()))
                })
            })
            .step("after", mark("after")),
        )
    });
    assert_eq!(whole.ending, Some(Ending::Completed));
    for word in ["a", "b", "c"] {
        let undone = format!("-{word}");
        let own: Vec<_> = whole.data::<Vec<String>>().into_iter().filter(|w| w.ends_with(word)).collect();
        assert_eq!(own, [word, &undone, word, &undone, word], "each in its own order");
    }
    assert!(!line(&whole).contains("-before"));
}

#[test]
fn an_entry_that_another_saga_has_undone_while_it_was_read_is_read_again() {
    let mut world = world(saga(|b| {
        b.parallel("p", |all| {
            all.branch(|b| b.saga("l", |b| does(b, "a").step("x", broken())).on_failure(OnFailure::Continue))
                .branch(|b| b.saga("r", |b| b.step("y", broken())).on_failure(OnFailure::Continue))
                .branch(|b| b.step("z", broken()))
        })
    }));
    let finish = |world: &mut World, body: &str| {
        let at = world.waiting().iter().position(|id| id.ends_with(body)).expect("it waits to be run");
        let job = world.jobs.remove(at);
        world.finish(vec![job]);
    };
    world.open();
    finish(&mut world, "/a");
    finish(&mut world, "/x");
    world.reads_slowly = true;
    // The right one looks at what the left one is just compensating; before it has read that, the outer one wants it
    // too.
    for body in ["/y", "/un-a", "/z"] {
        finish(&mut world, body);
    }
    assert_eq!(world.reading.len(), 1, "of one entry there is one read under way");
    world.reads_slowly = false;
    world.read();
    assert_eq!((line(&world).as_str(), world.ending), ("a -a", Some(Ending::Completed)));
    assert_eq!(world.pointer("saga").status, PointerStatus::Compensated);
}

#[test]
fn a_failing_fallback_of_an_inner_saga_has_the_outer_one_undone() {
    let whole = everywhere(|| {
        world(
            saga(|b| {
                does(b, "a")
                    .saga("inner", |b| does(b, "i").step("x", broken()))
                    .fallback(|f| does(f, "f").step("y", broken()))
                    .step("never", mark("never"))
            })
            .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a i -i f -f -a after", "what the fallback did is undone with the outer one");
    assert_eq!(whole.pointer("saga").status, PointerStatus::Compensated);
    assert_eq!(whole.failures.len(), 2);
}

#[test]
fn what_a_fallback_of_an_inner_saga_did_is_undone_when_the_outer_one_fails_later() {
    let whole = everywhere(|| {
        world(saga(|b| {
            let b = b
                .saga("inner", |b| does(b, "i").step("x", broken()))
                .fallback(|f| f.saga("again", |b| does(b, "j")));
            does(b, "b").step("y", broken())
        }))
    });
    assert_eq!(line(&whole), "i -i j b -b -j");
}

#[test]
fn a_saga_in_a_fallback_has_a_log_of_its_own_if_no_other_is_around() {
    let whole = everywhere(|| {
        world(
            saga(|b| does(b, "a").step("x", broken()))
                .fallback(|f| {
                    f.saga("again", |b| does(does(b, "c"), "d").step("y", broken()))
                        .step("then", mark("then"))
                })
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a -a c d -d -c then after");
}

#[test]
fn a_failed_inner_saga_undoes_itself_and_then_the_outer_one() {
    let make = |inner: fn(Body) -> Body<Main, Block>| {
        move || {
            world(
                saga(|b| does(inner(does(b, "a")).step("m", mark("m")), "b").step("x", broken()))
                    .step("after", mark("after")),
            )
        }
    };
    let both = everywhere(make(|b| b.saga("inner", |b| does(does(b, "i"), "j").step("y", broken()))));
    assert_eq!(line(&both), "a i j -j -i -a after");

    let inner_only = everywhere(make(|b| {
        b.saga("inner", |b| does(b, "i").step("y", broken())).on_failure(OnFailure::Continue)
    }));
    assert_eq!(line(&inner_only), "a i -i m b -b -a after", "what was undone is not undone again");

    let completed = everywhere(make(|b| b.saga("inner", |b| does(does(b, "i"), "j"))));
    assert_eq!(line(&completed), "a i j m b -b -j -i -a after");

    let retried =
        everywhere(make(|b| {
            b.saga("inner", |b| {
                does(b, "i").call("y", |_, line| {
                    if line.len() < 4 { Err(StepError::retryable("once")) } else { Ok(()) }
                })
            })
            .retry(Retry::exponential().attempts(2))
        }));
    assert_eq!(line(&retried), "a i -i i m b -b -i -a after");
}

#[test]
fn steps_of_parallel_inner_sagas_are_undone_in_the_order_of_all() {
    let mut world = world(saga(|b| {
        b.parallel("p", |all| {
            all.branch(|b| b.saga("left", |b| does(does(b, "l1"), "l2")))
                .branch(|b| b.saga("right", |b| does(does(b, "r1"), "r2")))
        })
        .step("x", broken())
    }));
    world.play();
    assert_eq!(line(&world), "l1 r1 l2 r2 -r2 -l2 -r1 -l1");
}

#[test]
fn an_inner_saga_that_fails_beside_another_undoes_only_itself_if_it_says_so() {
    let whole = everywhere(|| {
        world(saga(|b| {
            b.parallel("p", |all| {
                all.branch(|b| {
                    b.saga("left", |b| does(b, "l").delay("d", |_| HOUR).step("x", broken()))
                        .on_failure(OnFailure::Continue)
                })
                .branch(|b| {
                    b.saga("right", |b| does(b, "r1").delay("d2", |_| 2 * HOUR).step("r2", mark("r2")))
                })
            })
            .step("last", mark("last"))
        }))
    });
    assert_eq!(line(&whole), "l r1 -l r2 last");
}

#[test]
fn what_a_compensation_did_is_not_undone_by_a_saga_around() {
    let whole = everywhere(|| {
        world(saga(|b| {
            b.saga("inner", |b| {
                b.step("a", mark("a"))
                    .compensate_with(|undo| undo.saga("mend", |b| does(b, "m")))
                    .step("x", broken())
            })
            .on_failure(OnFailure::Continue)
            .step("y", broken())
        }))
    });
    assert_eq!(line(&whole), "a m");
}
