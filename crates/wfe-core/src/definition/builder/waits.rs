//! Waits for events, and what all kinds of waits have in common.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::{App, Awaits, Branch, Each, Main, OfEvent, Sequence};
use crate::{
    definition::{Data, Event, Item, draft::Draft},
    program::{self, Ask, AskAt, TimeLimit, Verb, WaitFor, anywhere, ask, ask_at},
    steps::StepInfo,
};

pub(super) const TIME: &str = "the step's time limit";
const KEY: &str = "the key of the event";

macro_rules! waits {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// Waits for events.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
            /// Waits for the first event of this name and key that the instance has not consumed yet.
            ///
            /// A later wait for the same name and key gets the next event. The same wait in the next iteration of a
            /// loop also gets the next event. If several waits of one instance for the same name and key are open at
            /// the same time, in parallel branches, each of them gets the same event.
            ///
            /// If the wait has a time limit ([`on_timeout`](Sequence::on_timeout) or
            /// [`fail_after`](Sequence::fail_after)), an event whose timestamp is at or before the limit is in time,
            /// even if the instance was suspended or no host was running when the limit passed.
            pub fn wait_for<V, K: Into<String>>(
                self,
                id: impl Into<String>,
                event: Event<V>,
                key: impl Fn(&D $(, $by)?) -> K + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Awaits<V, OfEvent>> {
                let key = $on_data(key);
                let key = ask(KEY, move |data: &D, item: &$item| key(data, item).into());
                self.wait(id.into(), event.into_name(), anywhere(key))
            }

            /// Waits for an event whose key depends on the instance. Otherwise like [`wait_for`](Self::wait_for).
            ///
            /// The closure also takes the [step](StepInfo), which knows the id and the reference of its instance. Programs
            /// that publish through the handle of an instance use the id of the instance as the key.
            ///
            /// ```
            /// use wfe_core::definition::{Event, WorkflowBuilder};
            ///
            /// const APPROVED: Event<bool> = Event::new("approved");
            ///
            /// let definition = WorkflowBuilder::<u32>::new("order", 1)
            ///     .wait_for_keyed("approval", APPROVED, |step, _| step.instance_id())
            ///     .build()?;
            /// # Ok::<(), wfe_core::WfeError>(())
            /// ```
            pub fn wait_for_keyed<V, K: Into<String>>(
                self,
                id: impl Into<String>,
                event: Event<V>,
                key: impl Fn(&StepInfo, &D $(, $by)?) -> K + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Awaits<V, OfEvent>> {
                let key = ask_at(KEY, move |step: &StepInfo, data: &D, _item: &$item| {
                    key(step, data $(, _item as $by)?).into()
                });
                self.wait(id.into(), event.into_name(), key)
            }
        }

        /// The start position of a wait.
        impl<D: Data, A: App, V, $($t: Item)?> Sequence<D, $place, A, Awaits<V, OfEvent>> {
            /// Sets the effective time: events with an earlier timestamp are ignored. By default, events published
            /// before the creation of the instance are ignored.
            ///
            /// The effective time has no effect once the instance has consumed an event of this name and key. The wait
            /// then gets the next event after the consumed event. A date that no store can hold is replaced by the
            /// nearest date that a store can hold, so `MIN_UTC` accepts all events.
            ///
            /// If an event may be published before a child workflow is created, the parent can pass an effective time
            /// to the child in its data:
            ///
            /// ```
            /// use chrono::{DateTime, Utc};
            /// use wfe_core::definition::{Event, WorkflowName};
            ///
            /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
            /// struct Order { id: String, ordered: DateTime<Utc>, is_paid: bool }
            ///
            /// const PAYMENT: WorkflowName<Order> = WorkflowName::new("payment");
            /// const PAID: Event<()> = Event::new("paid");
            ///
            /// let payment = PAYMENT
            ///     .define(1)
            ///     .wait_for("paid", PAID, |order| order.id.clone())
            ///     .effective(|order| order.ordered) // instead of the creation of this child
            ///     .output(|(), order| order.is_paid = true)
            ///     .build()?;
            /// let order = WorkflowName::<Order>::new("order")
            ///     .define(1)
            ///     .sub_workflow("payment", PAYMENT, |order| order.clone())
            ///     .build()?;
            /// # Ok::<(), wfe_core::WfeError>(())
            /// ```
            pub fn effective(
                self,
                from: impl Fn(&D $(, $by)?) -> DateTime<Utc> + Send + Sync + 'static,
            ) -> Self {
                let from = ask("the effective time of the event", $on_data(from));
                self.own_once("`effective`", |draft| {
                    if let Verb::WaitFor(wait) = &mut draft.verb {
                        wait.effective = Some(from);
                    }
                })
            }
        }

        /// Outputs and time limits of waits.
        impl<D: Data, A: App, V: DeserializeOwned + Send + 'static, W, $($t: Item)?>
            Sequence<D, $place, A, Awaits<V, W>>
        {
            /// Writes what the wait has received into the newest data: the event's data, the worker's result, the
            /// child's final data, or the person's answer. It may be set several times: all of these closures run, in
            /// this order.
            ///
            /// If it cannot be read as a `V`, or the closure panics, the data stays unchanged and the step fails. A
            /// retry, or a resume of the instance, reads the same event again; it offers the activity again, starts a
            /// new child, or opens a new task.
            pub fn output(self, write: impl Fn(V, &mut D $(, $by)?) + Send + Sync + 'static) -> Self {
                let output = program::receive::<D, $item, V>($on_left(write));
                self.own("`output`", |draft| if let Some(all) = draft.verb.outputs_mut() { all.push(output) })
            }

            /// Limits the time of the wait. When the limit has passed, the wait is over, and takes nothing that arrives
            /// later. The steps of `late` run, and then the instance continues after the step.
            ///
            /// If the instance is suspended when the limit passes, or no host is running, the limit takes effect
            /// afterwards. The engine first checks what the store has received in the meantime. An event dated at or
            /// before the limit is in time, and an event dated after it is too late. The answer of a worker or a
            /// person, and the end of a child, have no date: each is in time if it is stored before the limit takes
            /// effect.
            pub fn on_timeout<B: Branch<D, $place, A>>(
                mut self,
                after: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
                late: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Self {
                let late = self.steps_of(late);
                self.time_limit(ask(TIME, $on_data(after)), Some(late))
            }

            /// Limits the time of the wait. When the limit has passed, the step fails with the code `timeout`; its
            /// retry policy and its `on_failure` setting decide what follows. [`on_timeout`](Self::on_timeout)
            /// describes what is in time.
            pub fn fail_after(
                self,
                after: impl Fn(&D $(, $by)?) -> Duration + Send + Sync + 'static,
            ) -> Self {
                self.time_limit(ask(TIME, $on_data(after)), None)
            }
        }
    };
}

at_both_places!(waits);

impl<D, P, A, L> Sequence<D, P, A, L> {
    fn wait<V>(self, id: String, name: String, key: AskAt<String>) -> Sequence<D, P, A, Awaits<V, OfEvent>> {
        let (effective, limit, outputs) = (None, None, Vec::new());
        self.leaf(id, Verb::WaitFor(WaitFor { name, key, effective, limit, outputs }))
    }

    /// Gives the last step, which is a wait, a time limit. The branch of a limit is the first one of its step.
    fn time_limit(self, after: Ask<Duration>, late: Option<Vec<Draft>>) -> Self {
        self.own_once("a time limit (`on_timeout` or `fail_after`)", |draft| {
            let limit = TimeLimit { after, has_branch: late.is_some() };
            if let Some(it) = draft.verb.limit_mut() {
                *it = Some(limit);
            }
            if let Some(late) = late {
                draft.branches.insert(0, late);
                if let Verb::UserTask(task) = &mut draft.verb {
                    task.branch_inserted(0);
                }
            }
        })
    }
}
