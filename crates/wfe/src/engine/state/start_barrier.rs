use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;
use wfe_core::{models::WorkflowInstance, sync::lock};

/// The starts that are in progress. If the instance of such a start is already stored, this host may claim it before
/// the start is published. The actor of a new instance waits here, so that the lifecycle event of its start is
/// published before any event of its first step.
#[derive(Default)]
pub(crate) struct StartBarrier {
    pending: Mutex<Pending>,
    /// Notified when a start in progress is over.
    over: Notify,
}

#[derive(Default)]
struct Pending {
    last: u64,
    starts: BTreeMap<u64, New>,
}

/// What is known about an instance before it is stored.
#[derive(PartialEq, Eq)]
enum New {
    /// The instance is a child workflow with this id.
    Child(String),
    /// The instance belongs to this definition. Its id is unknown, because the store assigns the id later.
    Of(String),
}

impl New {
    fn is(&self, instance: &WorkflowInstance) -> bool {
        match self {
            Self::Child(id) => *id == instance.id,
            Self::Of(definition) => *definition == instance.workflow_definition_id,
        }
    }
}

/// The start of an instance. It is in progress from before the instance is stored until its lifecycle event is
/// published, or until it is certain that no event will be published.
pub(crate) struct PendingStart {
    barrier: Arc<StartBarrier>,
    number: u64,
}

impl StartBarrier {
    pub fn of_definition(self: &Arc<Self>, definition: &str) -> PendingStart {
        self.begin(New::Of(definition.to_owned()))
    }

    pub fn of_child(self: &Arc<Self>, id: &str) -> PendingStart {
        self.begin(New::Child(id.to_owned()))
    }

    fn begin(self: &Arc<Self>, new: New) -> PendingStart {
        let mut pending = self.lock();
        pending.last += 1;
        let number = pending.last;
        pending.starts.insert(number, new);
        PendingStart { barrier: self.clone(), number }
    }

    /// Waits as long as a start is in progress that may be the start of this stored instance. A start that begins later
    /// belongs to another instance.
    pub async fn passed(&self, instance: &WorkflowInstance) {
        let mut over = std::pin::pin!(self.over.notified());
        let last = self.lock().last;
        loop {
            // The wait is enabled before the check. Otherwise a start that ends in between would be missed.
            over.as_mut().enable();
            if !self.lock().starts.range(..=last).any(|(_, new)| new.is(instance)) {
                return;
            }
            over.as_mut().await;
            over.set(self.over.notified());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }
}

impl Drop for PendingStart {
    fn drop(&mut self) {
        self.barrier.lock().starts.remove(&self.number);
        self.barrier.over.notify_waiters();
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
        let barrier = Arc::new(StartBarrier::default());
        let (kid, other) = (instance("kid", "one"), instance("other", "two"));
        let _another_child = barrier.of_child("three");
        assert!(barrier.passed(&kid).now_or_never().is_some());
        let begins: [fn(&Arc<StartBarrier>) -> PendingStart; 2] =
            [|all| all.of_definition("kid"), |all| all.of_child("one")];
        for begin in begins {
            let start = begin(&barrier);
            assert!(barrier.passed(&kid).now_or_never().is_none());
            assert!(barrier.passed(&other).now_or_never().is_some());
            drop(start);
            assert!(barrier.passed(&kid).now_or_never().is_some());
        }
    }

    #[test]
    fn an_instance_waits_for_all_starts_that_were_under_way_when_it_was_taken_up_and_for_none_that_begins_later()
     {
        let barrier = Arc::new(StartBarrier::default());
        let (first, second) = (barrier.of_definition("w"), barrier.of_definition("w"));
        let kid = instance("w", "one");
        let mut passed = std::pin::pin!(barrier.passed(&kid));
        assert!(passed.as_mut().now_or_never().is_none());
        let _later = barrier.of_definition("w");
        drop(first);
        assert!(passed.as_mut().now_or_never().is_none());
        drop(second);
        assert!(passed.as_mut().now_or_never().is_some());
    }
}
