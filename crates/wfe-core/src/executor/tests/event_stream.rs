use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::{
    models::{Event, EventSubscription},
    traits::{Delivery, StepCommit},
};

/// The position of an event in its stream: the time at which the event became due, and the number of events that were
/// stored before it.
type Position = (DateTime<Utc>, usize);

/// The events of a store, and for each instance the position of the last event that it has consumed in each stream.
#[derive(Default)]
pub struct Stream {
    events: Vec<(Position, Event)>,
    consumed: HashMap<(String, String, String), Position>,
    /// The ids of all waits that were ever opened. A store also keeps the ids of closed waits.
    opened: HashSet<String>,
}

impl Stream {
    pub fn publish(&mut self, event: Event, now: DateTime<Utc>) {
        if self.events.iter().all(|(_, e)| e.id != event.id) {
            let position = (event.event_time.max(now), self.events.len());
            self.events.push((position, event));
        }
    }

    fn next(&self, wait: &EventSubscription) -> Option<&(Position, Event)> {
        let stream = (wait.workflow_id.clone(), wait.event_name.clone(), wait.event_key.clone());
        let consumed = self.consumed.get(&stream);
        self.events
            .iter()
            .filter(|(at, e)| {
                e.event_name == wait.event_name
                    && e.event_key == wait.event_key
                    && consumed.map_or(e.event_time >= wait.subscribe_as_of, |consumed| at > consumed)
            })
            .min_by_key(|(at, _)| *at)
    }

    pub fn deliveries(&self, waits: &[EventSubscription], now: DateTime<Utc>) -> Vec<Delivery> {
        let next = |wait: &EventSubscription| {
            let (_, event) = self.next(wait).filter(|((due, _), _)| *due <= now)?;
            Some(Delivery { subscription_id: wait.id.clone(), event: event.clone() })
        };
        waits.iter().filter_map(next).collect()
    }

    /// The next time after `now` at which an event for one of these waits becomes due.
    pub fn next_due(&self, waits: &[EventSubscription], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        waits
            .iter()
            .filter_map(|wait| self.next(wait))
            .map(|((due, _), _)| *due)
            .filter(|due| *due > now)
            .min()
    }

    /// Applies the changes that a commit makes to events and waits. Panics if a real store would refuse the commit.
    pub fn store(
        &mut self,
        commit: &StepCommit,
        instance: &str,
        waits: &mut Vec<EventSubscription>,
        now: DateTime<Utc>,
    ) {
        let mut moved = Vec::new();
        for taken in &commit.consumed {
            let wait = waits.iter().find(|w| w.id == taken.subscription_id).expect("a consumed wait is open");
            let (position, event) = self.next(wait).expect("there is an event for a consumed wait");
            assert_eq!(event.id, taken.event_id, "the first event that it has not consumed");
            assert!(position.0 <= now, "no event is early");
            moved.push(((instance.to_owned(), wait.event_name.clone(), wait.event_key.clone()), *position));
        }
        self.consumed.extend(moved);
        waits.retain(|w| {
            !commit.unsubscribed.contains(&w.id) && commit.consumed.iter().all(|c| c.subscription_id != w.id)
        });
        for wait in &commit.subscribed {
            assert!(self.opened.insert(wait.id.clone()), "a wait is opened once: {:?}", wait.id);
            assert_eq!(wait.workflow_id, instance);
            waits.push(wait.clone());
        }
        for event in &commit.published {
            self.publish(event.clone(), now);
        }
    }
}
