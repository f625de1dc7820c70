//! How events reach subscriptions.

use std::collections::BTreeSet;

use super::{Env, Run, pending::Delta, subscriptions::last_subscription};
use crate::{
    Result,
    models::{Event, EventSubscription, ExecutionPointer, PointerChange, WorkflowStatus},
    traits::{Consumed, Delivery, OWN_NAMES},
};

impl Run {
    /// Delivers events to open subscriptions. `deliveries` are the
    /// [`Loaded::deliveries`](crate::traits::Loaded::deliveries) that were read after the last commit of this `Run` was
    /// stored. An event whose subscription is no longer open is skipped. While the instance is suspended, all events
    /// are skipped. Returns whether anything has changed.
    ///
    /// A subscription that has reached its time limit ([`has_overdue`](Self::has_overdue)) times out if `deliveries`
    /// has no event for it.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn deliver(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<bool> {
        let (in_time, late) = self.hand_over(deliveries, env)?;
        let timed_out = self.meet_limits(env)?;
        // A wait continues if the definition no longer has its time limit, and may then receive a late event.
        let late = if self.status == WorkflowStatus::Runnable { late } else { Vec::new() };
        let (after_all, _) = self.hand_over(late, env)?;
        let decided = self.answers_counted();
        Ok(in_time || timed_out || after_all || decided)
    }

    /// Hands events to their subscriptions. Returns whether anything has changed, and the deliveries that came too
    /// late.
    fn hand_over(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<(bool, Vec<Delivery>)> {
        let (mut changed, mut late) = (false, Vec::new());
        for delivery in deliveries {
            // Several subscriptions may receive the same event. If the first delivery suspends the instance, the other
            // subscriptions still receive the event, because the event is consumed.
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

    /// Whether the event came after the end of the wait's time limit. The end of a child and an accepted answer are
    /// never late. Both are already stored, and would be lost if they were late.
    fn is_late(&self, at: &str, event: &Event, env: &Env<'_>) -> bool {
        let limit = self.waits_until(at).filter(|limit| *limit <= env.now);
        limit.is_some_and(|limit| event.event_time > limit) && !event.event_name.starts_with(OWN_NAMES)
    }

    /// The open subscriptions for which the store may have an event after a commit. These are the subscriptions that
    /// the commit opened, and the subscriptions to each stream from which the commit consumed an event.
    pub(super) fn subscriptions_to_check(&self, delta: &Delta) -> Vec<String> {
        let is_open = |wait: &&EventSubscription| self.waits.is_open(&wait.id);
        let mut found: BTreeSet<String> =
            delta.subscribed.iter().filter(is_open).map(|wait| wait.id.clone()).collect();
        if !delta.streams.is_empty() {
            let has_moved = |pointer: &&ExecutionPointer| {
                let (Some(name), Some(key)) = (&pointer.event_name, &pointer.event_key) else { return false };
                delta.streams.get(name).is_some_and(|keys| keys.contains(key))
            };
            // The loop iterates over the pointers in their order, because thousands of single look-ups would be slow.
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
