//! Pauses, and side branches that start later or again and again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{App, Block, Branch, Each, Main, Sequence, containers::CONDITION};
use crate::{
    definition::{Data, Every, Item},
    program::{Delay, Recur, Schedule, Until, Verb, ask},
};

const DELAY: &str = "the step's delay";

macro_rules! sides {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// Steps that wait for a time. Waiting costs nothing, however long it lasts, and a crash does not end it.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
            /// Waits for this duration, counted from the start of the step.
            ///
            /// The latest time that a store can hold is in the year 2262. A delay that would end later ends at that
            /// time. The same applies to all other durations and time limits.
            pub fn delay(
                self,
                id: impl Into<String>,
                delay: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Block> {
                self.leaf(id, Verb::Delay(Delay { until: Until::After(ask(DELAY, $on_data(delay))) }))
            }

            /// Waits until this time. If the time has passed, the instance continues immediately.
            pub fn delay_until(
                self,
                id: impl Into<String>,
                time: impl Fn(&D $(, $by)?) -> DateTime<Utc> + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Block> {
                self.leaf(id, Verb::Delay(Delay { until: Until::At(ask(DELAY, $on_data(time))) }))
            }

            /// Adds a side branch that starts after a delay. The instance continues immediately, and the steps of
            /// `body` run concurrently with it once the delay has passed.
            ///
            /// The instance, or the enclosing container, ends only when its side branches have ended too.
            pub fn after<B: Branch<D, $place, A>>(
                mut self,
                id: impl Into<String>,
                delay: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Sequence<D, $place, A, Block> {
                let branch = self.steps_of(body);
                let until = Until::After(ask(DELAY, $on_data(delay)));
                self.container(id, Verb::Schedule(Schedule { until }), branch)
            }

            /// Another name for [`after`](Self::after). This method is unrelated to the schedules of a host, which
            /// start instances.
            pub fn schedule<B: Branch<D, $place, A>>(
                self,
                id: impl Into<String>,
                delay: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Sequence<D, $place, A, Block> {
                self.after(id, delay, body)
            }

            /// Adds a recurring side branch. The instance continues immediately, and the steps of `body` run
            /// concurrently with it at each tick of `every`, until the condition `until` holds.
            ///
            /// The condition is evaluated at each tick and whenever the data has changed. When the condition holds,
            /// there are no further ticks, and runs of `body` that have started run to their end. The branch also ends
            /// when `every` has no further tick, such as after the last year of a cron expression.
            ///
            /// A tick starts `body` even if earlier runs of `body` have not ended. If no host was running for a while,
            /// a single tick replaces all the ticks that were missed.
            pub fn recur<B: Branch<D, $place, A>>(
                mut self,
                id: impl Into<String>,
                every: Every,
                until: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Sequence<D, $place, A, Block> {
                let branch = self.steps_of(body);
                self.container(id, Verb::Recur(Recur { every, until: ask(CONDITION, $on_data(until)) }), branch)
            }
        }
    };
}

at_both_places!(sides);
