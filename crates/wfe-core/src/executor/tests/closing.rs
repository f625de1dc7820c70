//! An instance that is to end, and undoes first what is open.

use super::scenario::{HOUR, begin, does, everywhere, line, world};
use crate::{
    definition::event,
    traits::{Control, Ending},
};

#[test]
fn a_saga_that_has_nothing_to_undo_does_not_end_the_instance_before_the_others_are_undone() {
    for deadline in [false, true] {
        let whole = everywhere(|| {
            let begin = if deadline { begin().deadline(HOUR) } else { begin() };
            let mut world = world(begin.parallel("all", |all| {
                all.branch(|b| {
                    b.saga("empty", |b| b.wait_for("w", event("e", |_: &super::scenario::Line, _| "k")))
                })
                .branch(|b| b.saga("full", |b| does(b, "a").delay("d", |_, _| 9 * HOUR)))
                .branch(|b| b.saga("last", |b| b.delay("d2", |_, _| 9 * HOUR)))
            }));
            if !deadline {
                world.plan_ask(HOUR, Control::Cancel);
            }
            world
        });
        let ending = if deadline { Ending::Failed } else { Ending::Cancelled };
        assert_eq!((line(&whole).as_str(), whole.ending), ("a -a", Some(ending)));
    }
}
