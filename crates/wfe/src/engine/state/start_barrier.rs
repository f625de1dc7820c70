use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use wfe_core::models::WorkflowInstance;

/// New instances that are being stored, and that this host may come to run as it runs any other: before whoever stores one
/// has said that it was started. Who takes one up waits for that, so that nobody hears of its first step before its start.
#[derive(Default)]
pub(crate) struct Births {
    open: Mutex<Open>,
    told: Notify,
}

#[derive(Default)]
struct Open {
    last: u64,
    births: BTreeMap<u64, Newborn>,
}

/// What is known of an instance before it is stored.
#[derive(PartialEq, Eq)]
enum Newborn {
    /// Its id: a child.
    Child(String),
    /// Its definition: the store gives it its id.
    Of(String),
}

impl Newborn {
    fn is(&self, instance: &WorkflowInstance) -> bool {
        match self {
            Self::Child(id) => *id == instance.id,
            Self::Of(definition) => *definition == instance.workflow_definition_id,
        }
    }
}

/// From before an instance is stored until it was told that it was started, or will not be told.
pub(crate) struct Birth {
    births: Arc<Births>,
    number: u64,
}

impl Births {
    pub fn of_definition(self: &Arc<Self>, definition: &str) -> Birth {
        self.begin(Newborn::Of(definition.to_owned()))
    }

    pub fn of_child(self: &Arc<Self>, id: &str) -> Birth {
        self.begin(Newborn::Child(id.to_owned()))
    }

    fn begin(self: &Arc<Self>, newborn: Newborn) -> Birth {
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        open.births.insert(number, newborn);
        Birth { births: self.clone(), number }
    }

    /// Once all has been told that may be the start of this instance, which is stored. What begins later is another one.
    pub async fn told(&self, instance: &WorkflowInstance) {
        let mut told = std::pin::pin!(self.told.notified());
        let last = self.lock().last;
        loop {
            // Before the look: else what ends in between would be missed.
            told.as_mut().enable();
            if !self.lock().births.range(..=last).any(|(_, newborn)| newborn.is(instance)) {
                return;
            }
            told.as_mut().await;
            told.set(self.told.notified());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while holding it; if it did, the map would still be whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.births.lock().births.remove(&self.number);
        self.births.told.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::Value;

    use super::*;

    fn instance(definition: &str, id: &str) -> WorkflowInstance {
        WorkflowInstance { id: id.to_owned(), ..WorkflowInstance::new(definition, 1, Value::Null) }
    }

    #[test]
    fn an_instance_waits_for_the_start_of_its_definition_and_of_its_own_id_and_for_no_other() {
        let barrier = Arc::new(Births::default());
        let (kid, other) = (instance("kid", "one"), instance("other", "two"));
        let _another_child = barrier.of_child("three");
        assert!(barrier.told(&kid).now_or_never().is_some());
        let begins: [fn(&Arc<Births>) -> Birth; 2] =
            [|all| all.of_definition("kid"), |all| all.of_child("one")];
        for begin in begins {
            let start = begin(&barrier);
            assert!(barrier.told(&kid).now_or_never().is_none());
            assert!(barrier.told(&other).now_or_never().is_some());
            drop(start);
            assert!(barrier.told(&kid).now_or_never().is_some());
        }
    }

    #[test]
    fn an_instance_waits_for_all_starts_that_were_under_way_when_it_was_taken_up_and_for_none_that_begins_later()
     {
        let barrier = Arc::new(Births::default());
        let (first, second) = (barrier.of_definition("w"), barrier.of_definition("w"));
        let kid = instance("w", "one");
        let mut told = std::pin::pin!(barrier.told(&kid));
        assert!(told.as_mut().now_or_never().is_none());
        let _later = barrier.of_definition("w");
        drop(first);
        assert!(told.as_mut().now_or_never().is_none());
        drop(second);
        assert!(told.as_mut().now_or_never().is_some());
    }
}
