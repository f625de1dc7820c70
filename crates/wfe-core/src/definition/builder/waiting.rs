use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::Sequence;
use crate::{
    definition::{Await, Data, Every, Item, draft::Draft},
    program::{Delay, Recur, Schedule, Until, Verb, WaitFor, ask},
};

/// Steps that wait for a time or an event. However long it lasts, a wait costs nothing, and goes on over a crash.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Waits for this long, from the moment the step begins; at the longest until the year 2262, where the times that a store
    /// holds end. So it is with all pauses and limits.
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
        pause: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.leaf(id, Verb::Delay(Delay { until: Until::After(ask("the step's delay", pause)) }))
    }

    /// Waits until this time. If it has passed, the instance goes on at once.
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

    /// A side branch: the instance goes on at once, and `body` runs beside it after this long. Whatever is around the
    /// step (the instance, or an iteration of a loop) ends when its side branches have ended too.
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

    /// Another name of [`after`](Self::after). A schedule that starts instances is another thing: the host has those.
    #[must_use]
    pub fn schedule(
        self,
        id: impl Into<String>,
        delay: impl Fn(&D, &I) -> Duration + Send + Sync + 'static,
        body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>,
    ) -> Self {
        self.after(id, delay, body)
    }

    /// A side branch, again and again: the instance goes on at once, and `body` runs beside it each time `every` says so,
    /// until the condition holds. It is asked at each tick and whenever the data has changed; what runs then ends by
    /// itself.
    ///
    /// A tick comes although bodies of earlier ones still run. After a time in which no host ran, one tick catches up,
    /// however many were missed. If none is to come any more, because the years of a cron expression are over, the branch
    /// has ended.
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

    /// Waits for an event: the first of its name and key that the instance has not consumed yet. A second wait, or the
    /// same one in a loop, gets the next one. Waits of one instance for the same name and key that are open at the same
    /// time, in parallel branches, share it: each gets it.
    ///
    /// With a time limit ([`timeout`](Await::timeout), [`fail_after`](Await::fail_after)), an event dated before it has come
    /// in time, even if the instance was suspended or no host was there when it passed.
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
