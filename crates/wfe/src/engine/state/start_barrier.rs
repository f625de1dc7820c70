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
