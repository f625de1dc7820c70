use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::Sequence;
use crate::{
    definition::{Await, Data, Every, Item, draft::Draft},
    program::{Delay, Recur, Schedule, Until, Verb, WaitFor, ask},
};

/// Steps that wait for a time or an event. A wait costs nothing, however long it lasts, and a crash does not
/// end the wait.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Waits for this duration, counted from the start of the step.
    ///
    /// The latest time that a store can hold is in the year 2262. A delay that would end later ends at that
    /// time. The same applies to all other durations and time limits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u64>::new("later", 1)
    ///     .delay("cool-down", |minutes, _| Duration::from_mins(*minutes))
    ///     .then("go-on", inline(|_, _| async { Ok(()) }))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn delay(
        self,
        id: impl Into<String>,
        delay: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.leaf(id, Verb::Delay(Delay { until: Until::After(ask("the step's delay", delay)) }))
    }

    /// Waits until this time. If the time has passed, the instance continues immediately.
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<DateTime<Utc>>::new("at", 1)
    ///     .delay_until("opening", |opening, _| *opening)
    ///     .then("open", inline(|_, _| async { Ok(()) }))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn delay_until(
        self,
        id: impl Into<String>,
        time: impl Fn(&D, &I) -> DateTime<Utc> + Send + Sync + 'static,
    ) -> Self {
        self.leaf(id, Verb::Delay(Delay { until: Until::At(ask("the step's delay", time)) }))
    }

    /// Adds a side branch that starts after a delay. The instance continues immediately, and the steps of
    /// `body` run concurrently with it once the delay has passed.
    ///
    /// The instance, or the enclosing container, ends only when its side branches have ended too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("order", 1)
    ///     .after("ask-later", |_, _| Duration::from_hours(24 * 7), |later| {
    ///         later.then("ask-for-review", inline(|_, _| async { Ok(()) }))
    ///     })
    ///     .then("ship", inline(|_, _| async { Ok(()) }))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn after(
        self,
        id: impl Into<String>,
        delay: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        self.container(
            id,
            Verb::Schedule(Schedule { until: Until::After(ask("the step's delay", delay)) }),
            body,
        )
    }

    /// Another name for [`after`](Self::after). This method is unrelated to the schedules of a host, which
    /// start instances.
    #[must_use]
    pub fn schedule(
        self,
        id: impl Into<String>,
        delay: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
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
    ///
    /// ```
    /// use wfe_core::definition::{Every, WorkflowBuilder, event, inline};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Invoice { number: String, paid: bool }
    ///
    /// let definition = WorkflowBuilder::<Invoice>::new("invoice", 1)
    ///     .recur("remind", Every::cron("0 9 * * MON"), |invoice, _| invoice.paid, |tick| {
    ///         tick.then("send-reminder", inline(|_, _| async { Ok(()) }))
    ///     })
    ///     .wait_for(
    ///         "payment",
    ///         event("paid", |invoice: &Invoice, _| invoice.number.clone())
    ///             .output(|_: &serde_json::Value, invoice| invoice.paid = true),
    ///     )
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn recur(
        self,
        id: impl Into<String>,
        every: Every,
        until: impl Fn(&D, &I) -> bool + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        self.container(id, Verb::Recur(Recur { every, until: ask("the step's condition", until) }), body)
    }

    /// Waits for the first event of this name and key that the instance has not consumed yet.
    ///
    /// A later wait for the same name and key gets the next event. The same wait in the next iteration of a
    /// loop also gets the next event. If several waits of one instance for the same name and key are open at
    /// the same time, in parallel branches, each of them gets the same event.
    ///
    /// If the wait has a time limit ([`timeout`](Await::timeout) or [`fail_after`](Await::fail_after)), an
    /// event whose timestamp is at or before the limit is in time, even if the instance was suspended or no
    /// host was running when the limit passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{WorkflowBuilder, event, inline};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Order { id: String, approved_by: Option<String> }
    ///
    /// let definition = WorkflowBuilder::<Order>::new("order", 1)
    ///     .wait_for(
    ///         "approval",
    ///         event("approved", |order: &Order, _| order.id.clone())
    ///             .output(|by: &String, order| order.approved_by = Some(by.clone()))
    ///             .timeout(|_, _| Duration::from_hours(48), |late| {
    ///                 late.then("escalate", inline(|_, _| async { Ok(()) }))
    ///             }),
    ///     )
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn wait_for(mut self, id: impl Into<String>, event: Await<D, I>) -> Self {
        let (id, Await { name, key, effective, mut common, .. }) = (id.into(), event);
        self.problems.extend(common.problems(&id));
        let (limit, branches) = common.limit.split();
        let verb = Verb::WaitFor(WaitFor { name, key, effective, limit, outputs: Arc::new(common.outputs) });
        self.push(Draft { branches, ..Draft::new(id, verb) })
    }
}
