//! How events reach subscriptions.

use std::collections::BTreeSet;

use super::{Env, Run, pending::Delta, subscriptions::last_subscription};
use crate::{
    Result,
    models::{Event, EventSubscription, ExecutionPointer, PointerChange, WorkflowStatus},
    traits::{Consumed, Delivery, OWN_NAMES},
};

impl Run {
    /// Events that reach open waits: what [`Loaded::deliveries`](crate::traits::Loaded::deliveries) tells, read after the
    /// last commit of this `Run` was stored. One whose wait is no longer open is passed over; while the instance
    /// stands still, all are. Whether anything has changed.
    ///
    /// Waits that have lasted too long ([`has_overdue`](Self::has_overdue)), and get nothing by this, have timed out.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn deliver(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<bool> {
        let (in_time, late) = self.hand_over(deliveries, env)?;
        let timed_out = self.meet_limits(env)?;
        // One whose limit is gone from the definition waits on.
        let late = if self.status == WorkflowStatus::Runnable { late } else { Vec::new() };
        let (after_all, _) = self.hand_over(late, env)?;
        Ok(in_time || timed_out || after_all)
    }

    /// Whether anything has changed, and what comes too late.
    fn hand_over(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<(bool, Vec<Delivery>)> {
        let (mut changed, mut late) = (false, Vec::new());
        for delivery in deliveries {
            // What one of the waits that share an event does with it may make the instance stand still; the others have
            // it too then, because it is spent.
            if self.status != WorkflowStatus::Runnable && !self.pending.is_consumed(&delivery.event.id) {
                continue;
            }
            let Some(at) = self.waits.pointer_of(&delivery.subscription_id).map(str::to_owned) else {
                continue;
            };
            if self.is_late(&at, &delivery.event, env) {
                late.push(delivery);
                continue;
            }
            let Delivery { subscription_id, event } = delivery;
            self.waits.close(&subscription_id);
            changed = true;
            let consumed = Consumed { subscription_id, event_id: event.id };
            self.pending.consume(consumed, event.event_name, event.event_key);
            self.clear_timer(&at)?;
            let pointer = self.pointers.edit(&at)?;
            pointer.status = pointer.status.after(PointerChange::Wake)?;
            pointer.event_published = true;
            pointer.event_data = Some(event.event_data.clone());
            let verb = self.verb_of(&at)?;
            self.guard(&at, env, |run, env| {
                verb.primitive().event_received(run, &at, event.event_data, env)
            })?;
        }
        Ok((changed, late))
    }

    /// Whether the wait had lasted too long before the event. The end of a child, and an answer that was accepted, are
    /// what was waited for however late: they are there, and would be lost.
    fn is_late(&self, at: &str, event: &Event, env: &Env<'_>) -> bool {
        let limit = self.waits_until(at).filter(|limit| *limit <= env.now);
        limit.is_some_and(|limit| event.event_time > limit) && !event.event_name.starts_with(OWN_NAMES)
    }

    /// The open waits for which an event may be there after a commit: those that it has opened, and others in the streams of
    /// which it has consumed one.
    pub(super) fn subscriptions_to_check(&self, delta: &Delta) -> Vec<String> {
        let is_open = |wait: &&EventSubscription| self.waits.is_open(&wait.id);
        let mut found: BTreeSet<String> =
            delta.subscribed.iter().filter(is_open).map(|wait| wait.id.clone()).collect();
        if !delta.streams.is_empty() {
            let has_moved = |pointer: &&ExecutionPointer| {
                let (Some(name), Some(key)) = (&pointer.event_name, &pointer.event_key) else { return false };
                delta.streams.get(name).is_some_and(|keys| keys.contains(key))
            };
            // By the pointers in their order: thousands of them would be many to look up one by one.
            let moved = self
                .pointers
                .iter()
                .filter(has_moved)
                .filter_map(|pointer| last_subscription(&self.id, pointer));
            found.extend(moved.filter(|wait| self.waits.is_open(wait)));
        }
        found.into_iter().collect()
    }
}
