//! Keeps copies of stored instances. The `seq` and `revision` of a copy are compared with those of the stored row.
//!
//! A write has a guard that compares the `seq` and `revision` of the copy with those of the stored row. So a write from an
//! outdated copy costs a reload, but never causes a wrong result.
//!
//! A read uses a copy only if one of two things shows that the copy is up to date:
//!
//! * The stored row has the `seq` and `revision` of the copy. A statement reads them.
//! * Nothing was committed since the copy was up to date, except commits of this provider, which have replaced the copies
//!   of all instances that they have changed. No statement is needed: the [`LastCommit`] in the WAL index is the one that
//!   this provider has made. SQLite decides in the same way whether the pages in its own cache are up to date. After a
//!   commit of another connection, this holds again as soon as this provider has committed.

use std::sync::{Arc, Mutex};

use hashlink::LruCache;
use serde_json::Value;
use wfe_core::{
    models::{ExecutionPointer, WorkflowInstance},
    sync::lock,
};

use crate::file::LastCommit;

/// An instance as it is stored at one revision.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) revision: i64,
    /// The instance without its data and its pointers.
    pub(crate) instance: Arc<WorkflowInstance>,
    pub(crate) data: Arc<Value>,
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
        instance.data = Value::clone(&self.data);
        instance.execution_pointers =
            self.pointers.iter().map(|stored| ExecutionPointer::clone(&stored.pointer)).collect();
        instance
    }

    /// Like [`to_instance`](Self::to_instance), but copies only what the cache keeps.
    pub(crate) fn into_instance(self: Arc<Self>) -> WorkflowInstance {
        match Arc::try_unwrap(self) {
            Ok(this) => {
                let mut instance = Arc::unwrap_or_clone(this.instance);
                instance.data = Arc::unwrap_or_clone(this.data);
                instance.execution_pointers =
                    this.pointers.into_iter().map(|stored| Arc::unwrap_or_clone(stored.pointer)).collect();
                instance
            }
            Err(shared) => shared.to_instance(),
        }
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
    copies: LruCache<String, Entry>,
    weight: usize,
    /// The last commit that the copies take into account. `None` means that no copy is known to be up to date.
    last: Option<LastCommit>,
    /// The number of commits of this provider.
    commits: u64,
    /// Raised when copies may have become outdated. The copies of an earlier epoch are not known to be up to date.
    epoch: u64,
}

struct Entry {
    stored: Arc<Stored>,
    weight: usize,
    /// The copy was up to date in this epoch. `None` means that it was not known to be.
    epoch: Option<u64>,
}

/// The epoch and the number of this provider's commits when a read began. If both are unchanged when the result of the read
/// is kept, no commit was recorded during the read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadStart {
    epoch: u64,
    commits: u64,
}

impl Cache {
    /// Creates a cache of about `bound` bytes. If `bound` is 0, the cache keeps no copies.
    pub(crate) fn new(bound: usize) -> Self {
        let state = State { copies: LruCache::new_unbounded(), weight: 0, last: None, commits: 0, epoch: 0 };
        Self { state: Mutex::new(state), bound }
    }

    /// The copy of an instance, which may be outdated.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Stored>> {
        self.with(|state| state.copies.get(id).map(|entry| Arc::clone(&entry.stored)))
    }

    /// The copy of an instance, if it is up to date. `last` must be read after the caller's read began: an earlier value
    /// could hide a commit that was acknowledged before.
    pub(crate) fn if_current(&self, id: &str, last: LastCommit) -> Option<Arc<Stored>> {
        self.with(|state| {
            let entry = state.copies.get(id)?;
            (state.last == Some(last) && entry.epoch == Some(state.epoch)).then(|| Arc::clone(&entry.stored))
        })
    }

    /// Records that a read begins after `last` was read. `None` means that a commit was made that the cache does not take
    /// into account yet: by another connection, or by this provider a moment ago.
    pub(crate) fn read_begins(&self, last: LastCommit) -> Option<ReadStart> {
        self.with(|state| {
            let known = *state.last.get_or_insert(last);
            (known == last).then_some(ReadStart { epoch: state.epoch, commits: state.commits })
        })
    }

    /// Keeps a copy that was read, unless the cache has a newer one: a slow caller may have read an older revision.
    pub(crate) fn put(&self, stored: Arc<Stored>, start: Option<ReadStart>) {
        let bound = self.bound;
        self.with(|state| {
            // A commit that was made meanwhile, and is not counted yet, replaces this copy or raises the epoch.
            let now = ReadStart { epoch: state.epoch, commits: state.commits };
            let epoch = start.filter(|start| *start == now).map(|start| start.epoch);
            state.put(stored, epoch, bound);
        });
    }

    /// Records a commit of this provider that has changed no other instances than those of `copies`. `last` was read after
    /// the commit. `others_committed` says whether other connections have committed since the commit before. Called before
    /// any caller learns of the commit, and in the order of the commits.
    pub(crate) fn committed(
        &self,
        last: LastCommit,
        others_committed: bool,
        copies: impl Iterator<Item = Arc<Stored>>,
    ) {
        let bound = self.bound;
        self.with(|state| {
            if state.last.is_none() || others_committed {
                state.epoch += 1;
            }
            state.last = Some(last);
            state.commits += 1;
            // The commit of the other connection may have been the last one.
            let epoch = (!others_committed).then_some(state.epoch);
            for stored in copies {
                state.put(stored, epoch, bound);
            }
        });
    }

    /// From now on, no copy is known to be up to date. The copies stay, because writes can begin from them.
    pub(crate) fn invalidate(&self) {
        self.with(|state| {
            state.epoch += 1;
            state.last = None;
        });
    }

    /// Drops a copy.
    pub(crate) fn remove(&self, id: &str) {
        self.with(|state| state.remove(id));
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

impl State {
    fn put(&mut self, stored: Arc<Stored>, epoch: Option<u64>, bound: usize) {
        let (id, weight) = (&stored.instance.id, stored.total());
        if weight > bound {
            return self.remove(id);
        }
        let key = |stored: &Stored, epoch: Option<u64>| (stored.seq, stored.revision, epoch);
        if let Some(kept) = self.copies.peek(id)
            && key(&kept.stored, kept.epoch) > key(&stored, epoch)
        {
            return;
        }
        self.weight += weight;
        if let Some(old) = self.copies.insert(id.clone(), Entry { stored, weight, epoch }) {
            self.weight -= old.weight;
        }
        while self.weight > bound {
            let Some((_, old)) = self.copies.remove_lru() else { break };
            self.weight -= old.weight;
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(old) = self.copies.remove(id) {
            self.weight -= old.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: &str, revision: i64, weight: usize) -> Arc<Stored> {
        let mut instance = WorkflowInstance::new("d", 1, Value::Null);
        instance.id = id.to_owned();
        let (instance, data) = (Arc::new(instance), Arc::new(Value::Null));
        Arc::new(Stored { seq: 1, revision, instance, data, pointers: Vec::new(), weight })
    }

    #[test]
    fn the_least_recently_used_copies_go_when_the_weight_exceeds_the_bound() {
        let cache = Cache::new(100);
        cache.put(stored("a", 1, 40), None);
        cache.put(stored("b", 1, 40), None);
        cache.get("a").unwrap();
        cache.put(stored("c", 1, 40), None);
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
        cache.put(stored("a", 2, 101), None);
        assert!(cache.get("a").is_none(), "a copy heavier than the bound is not kept, nor its older one");
        assert_eq!(cache.state.lock().unwrap().weight, 40);
    }

    #[test]
    fn an_older_copy_does_not_replace_a_newer_one() {
        let cache = Cache::new(100);
        cache.put(stored("a", 2, 1), None);
        cache.put(stored("a", 1, 1), None);
        assert_eq!(cache.get("a").unwrap().revision, 2);
        cache.clear();
        assert!(cache.get("a").is_none());
    }

    #[test]
    fn a_copy_that_was_read_while_this_provider_committed_is_not_known_to_be_up_to_date() {
        let cache = Cache::new(100);
        let [zero, one] = [0, 1].map(|changes| LastCommit { changes, checksum: [0; 8] });
        let before = cache.read_begins(zero);
        cache.put(stored("a", 1, 1), before);
        assert!(cache.if_current("a", zero).is_some() && cache.if_current("a", one).is_none());
        let during = cache.read_begins(zero);
        cache.committed(one, false, std::iter::once(stored("b", 1, 1)));
        cache.put(stored("c", 1, 1), during);
        let current = |last| ["a", "b", "c"].map(|id| cache.if_current(id, last).is_some());
        assert_eq!(current(one), [true, true, false]);
        // What was read again keeps the stronger of both claims.
        cache.put(stored("b", 1, 1), None);
        assert_eq!(current(one), [true, true, false]);
    }

    #[test]
    fn a_commit_that_the_cache_does_not_know_makes_all_copies_doubtful() {
        let cache = Cache::new(100);
        let [one, two] = [1, 2].map(|changes| LastCommit { changes, checksum: [0; 8] });
        cache.committed(one, false, ["a", "b"].map(|id| stored(id, 1, 1)).into_iter());
        let current = |last| ["a", "b"].map(|id| cache.if_current(id, last).is_some());
        assert_eq!((current(one), cache.read_begins(two)), ([true; 2], None));
        cache.committed(two, true, std::iter::once(stored("b", 2, 1)));
        assert_eq!(current(two), [false; 2]);
        let after = cache.read_begins(two);
        cache.put(stored("a", 1, 1), after);
        assert_eq!(current(two), [true, false]);
        cache.invalidate();
        assert_eq!(current(two), [false; 2]);
        let after = cache.read_begins(two);
        cache.put(stored("b", 2, 1), after);
        assert_eq!(current(two), [false, true]);
    }
}
