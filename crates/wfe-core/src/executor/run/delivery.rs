//! How events reach subscriptions.

use std::collections::BTreeSet;

use super::{Env, Run, pending::Delta, subscriptions::last_subscription};
use crate::{
    Result,
    models::{Event, EventSubscription, ExecutionPointer, PointerChange, WorkflowStatus},
    traits::{Consumed, Delivery, OWN_NAMES},
};

impl Run {
    /// Delivers events to open waits: those that [`Loaded::deliveries`](crate::traits::Loaded::deliveries) gives, read
    /// after the last commit of this `Run` was stored. An event whose wait is no longer open is passed over. While the
    /// instance is suspended, all are. Returns whether anything has changed.
    ///
    /// Waits that have reached their limit ([`has_overdue`](Self::has_overdue)), and get no event by this, time out.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn deliver(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<bool> {
        let (in_time, late) = self.hand_over(deliveries, env)?;
        let timed_out = self.meet_limits(env)?;
        // A wait whose limit the definition no longer has goes on.
        let late = if self.status == WorkflowStatus::Runnable { late } else { Vec::new() };
        let (after_all, _) = self.hand_over(late, env)?;
        Ok(in_time || timed_out || after_all)
    }

    /// Hands events to their waits. Returns whether anything has changed, and the deliveries that came too late.
    fn hand_over(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<(bool, Vec<Delivery>)> {
        let (mut changed, mut late) = (false, Vec::new());
        for delivery in deliveries {
            // Several waits may share an event. If one of them causes a suspension, the others still receive the event,
            // because it is consumed.
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

    /// Whether the event came after the limit of the wait. The end of a child and an accepted answer are never late:
    /// they are stored already, and would be lost.
    fn is_late(&self, at: &str, event: &Event, env: &Env<'_>) -> bool {
        let limit = self.waits_until(at).filter(|limit| *limit <= env.now);
        limit.is_some_and(|limit| event.event_time > limit) && !event.event_name.starts_with(OWN_NAMES)
    }

    /// The open waits for which an event may be stored after a commit: those that the commit opened, and others whose
    /// stream had an event consumed by it.
    pub(super) fn subscriptions_to_check(&self, delta: &Delta) -> Vec<String> {
        let is_open = |wait: &&EventSubscription| self.waits.is_open(&wait.id);
        let mut found: BTreeSet<String> =
            delta.subscribed.iter().filter(is_open).map(|wait| wait.id.clone()).collect();
        if !delta.streams.is_empty() {
            let has_moved = |pointer: &&ExecutionPointer| {
                let (Some(name), Some(key)) = (&pointer.event_name, &pointer.event_key) else { return false };
                delta.streams.get(name).is_some_and(|keys| keys.contains(key))
            };
            // Goes through the pointers in their order: with thousands of them, single look-ups would be slow.
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
