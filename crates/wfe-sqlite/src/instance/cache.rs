//! Keeps copies of stored instances. The `seq` and `revision` of a copy are compared with those of the stored row.
//!
//! No copy is used without this comparison. A read passes the `seq` and `revision` of the copy to its query, which
//! returns the stored rows only if one of the two values differs. A write has a guard that compares the same two
//! values. So an outdated copy costs a reload, but never causes a wrong result.

use std::sync::{Arc, Mutex};

use hashlink::LruCache;
use wfe_core::models::{ExecutionPointer, WorkflowInstance};
use wfe_core::sync::lock;

/// An instance as it is stored at one revision.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) revision: i64,
    /// The instance without its pointers.
    pub(crate) instance: Arc<WorkflowInstance>,
    /// The live pointers, in the order of their positions.
    pub(crate) pointers: Vec<StoredPointer>,
    /// The estimated size of the instance without its pointers, in bytes.
    pub(crate) weight: usize,
}

/// A live pointer as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredPointer {
    pub(crate) position: i64,
    pub(crate) pointer: Arc<ExecutionPointer>,
    /// The estimated size of the pointer in bytes.
    pub(crate) weight: usize,
}

impl Stored {
    /// The instance with its pointers, as a model of `wfe-core`.
    pub(crate) fn to_instance(&self) -> WorkflowInstance {
        let mut instance = WorkflowInstance::clone(&self.instance);
        instance.execution_pointers =
            self.pointers.iter().map(|stored| ExecutionPointer::clone(&stored.pointer)).collect();
        instance
    }

    fn total(&self) -> usize {
        self.weight + self.pointers.iter().map(|pointer| pointer.weight).sum::<usize>()
    }
}

/// How many bytes of memory a decoded value is estimated to take for each byte of its JSON text. A decoded JSON value
/// is several times larger than its text. An estimate that is too high only makes the cache smaller.
pub(crate) const WEIGHT_OF_TEXT: usize = 6;
/// The estimated size, in bytes, of a pointer or an instance, not counting its text values.
pub(crate) const WEIGHT_OF_ROW: usize = 640;

/// The cached copies. The least recently used copies are dropped when the total estimated size exceeds the
/// bound.
pub(crate) struct Cache {
    state: Mutex<State>,
    bound: usize,
}

struct State {
    copies: LruCache<String, (usize, Arc<Stored>)>,
    weight: usize,
}

impl Cache {
    /// Creates a cache of about `bound` bytes. If `bound` is 0, the cache keeps no copies.
    pub(crate) fn new(bound: usize) -> Self {
        Self { state: Mutex::new(State { copies: LruCache::new_unbounded(), weight: 0 }), bound }
    }

    /// The copy of an instance.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Stored>> {
        self.with(|state| state.copies.get(id).map(|(_, stored)| Arc::clone(stored)))
    }

    /// Keeps a copy, unless the cache has a newer copy of the same instance: a slow caller may have read an older
    /// revision.
    pub(crate) fn put(&self, stored: Arc<Stored>) {
        let weight = stored.total();
        if weight > self.bound {
            self.remove(&stored.instance.id);
            return;
        }
        self.with(|state| {
            let id = &stored.instance.id;
            if let Some((_, kept)) = state.copies.peek(id)
                && (kept.seq, kept.revision) > (stored.seq, stored.revision)
            {
                return;
            }
            state.weight += weight;
            if let Some((old, _)) = state.copies.insert(id.clone(), (weight, stored)) {
                state.weight -= old;
            }
            while state.weight > self.bound {
                let Some((_, (old, _))) = state.copies.remove_lru() else { break };
                state.weight -= old;
            }
        });
    }

    /// Drops a copy.
    pub(crate) fn remove(&self, id: &str) {
        self.with(|state| {
            if let Some((weight, _)) = state.copies.remove(id) {
                state.weight -= weight;
            }
        });
    }

    /// Drops all copies.
    pub(crate) fn clear(&self) {
        self.with(|state| {
            state.copies.clear();
            state.weight = 0;
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in `work` can panic in the middle of a change of the state.
        work(&mut lock(&self.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn stored(id: &str, revision: i64, weight: usize) -> Arc<Stored> {
        let mut instance = WorkflowInstance::new("d", 1, Value::Null);
        instance.id = id.to_owned();
        Arc::new(Stored { seq: 1, revision, instance: Arc::new(instance), pointers: Vec::new(), weight })
    }

    #[test]
    fn the_least_recently_used_copies_go_when_the_weight_exceeds_the_bound() {
        let cache = Cache::new(100);
        cache.put(stored("a", 1, 40));
        cache.put(stored("b", 1, 40));
        cache.get("a").unwrap();
        cache.put(stored("c", 1, 40));
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
        cache.put(stored("a", 2, 101));
        assert!(cache.get("a").is_none(), "a copy heavier than the bound is not kept, nor its older one");
        assert_eq!(cache.state.lock().unwrap().weight, 40);
    }

    #[test]
    fn an_older_copy_does_not_replace_a_newer_one() {
        let cache = Cache::new(100);
        cache.put(stored("a", 2, 1));
        cache.put(stored("a", 1, 1));
        assert_eq!(cache.get("a").unwrap().revision, 2);
        cache.clear();
        assert!(cache.get("a").is_none());
    }
}
