use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use wfe_core::{
    Result, WfeError,
    clock::Clock,
    models::WorkflowInstance,
    traits::{Committed, Fence, Finished, Management, Owner, PersistenceProvider, StepCommit, StepStore},
};

use super::{
    Harness,
    checked::{Checked, Stop, unmet},
};
use crate::VirtualClock;

/// An open store.
pub(super) type Store = Arc<dyn PersistenceProvider>;

/// The environment of one case: an empty place and a clock, which no other case uses.
pub(super) struct Bench {
    pub clock: Arc<VirtualClock>,
    place: Box<dyn AnyPlace>,
}

impl Bench {
    pub async fn new<H: Harness>(harness: Arc<H>) -> Result<Self> {
        let place = harness.place().await?;
        Ok(Self { clock: Arc::new(VirtualClock::default()), place: Box::new(Bound { harness, place }) })
    }

    /// Opens the empty store. Each case calls this method once.
    pub async fn open(&self) -> Result<Store> {
        self.place.open(Arc::clone(&self.clock)).await
    }

    /// Drops the store and opens it again. Skips the case if the contents of the store do not outlive its
    /// provider.
    pub async fn reopen(&self, store: Store) -> Checked<Store> {
        if !self.place.lasts() {
            return Err(Stop::Skipped("the contents of the store do not outlive their provider"));
        }
        drop(store);
        Ok(self.open().await?)
    }

    /// Opens another provider while the others stay open. Skips the case if only one provider at a time can
    /// use a place.
    pub async fn open_another(&self) -> Checked<Store> {
        self.must_be_shared()?;
        Ok(self.open().await?)
    }

    /// Skips the case if providers cannot share a place.
    pub fn must_be_shared(&self) -> Checked<()> {
        if self.place.is_shared() {
            Ok(())
        } else {
            Err(Stop::Skipped("two providers cannot share this store"))
        }
    }

    /// Simulates a crash of this owner's process. Skips the case if the harness cannot do this.
    pub async fn kill(&self, owner: Owner) -> Checked<()> {
        if self.place.kill(owner).await? {
            Ok(())
        } else {
            Err(Stop::Skipped("the harness cannot simulate the death of a process"))
        }
    }

    /// Skips the case if the store does not notify hosts of changes by other hosts.
    pub fn must_tell_news(&self) -> Checked<()> {
        if self.place.tells_news() {
            Ok(())
        } else {
            Err(Stop::Skipped("the store does not notify hosts of changes by others"))
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

/// Returns the step store of a store. Skips the case if the store has no step store.
pub(super) fn steps(store: &Store) -> Checked<Arc<dyn StepStore>> {
    store.clone().step_store().ok_or(Stop::Skipped("the store has no step store"))
}

/// Returns the management interface of a store. Skips the case if the store has none, or no step store.
pub(super) fn management(store: &Store) -> Checked<Arc<dyn Management>> {
    steps(store)?;
    store.clone().management().ok_or(Stop::Skipped("the store has no management interface"))
}

/// Unwraps the result of an optional method. Skips the case if the store does not support the method.
pub(super) fn offered<T>(answer: Result<T>) -> Checked<T> {
    match answer {
        Err(WfeError::Unsupported(_)) => {
            Err(Stop::Skipped("the store does not support this optional method"))
        }
        answer => Ok(answer?),
    }
}

/// Skips the case if the store does not support scheduled commands.
pub(super) fn must_keep_commands(store: &Store) -> Checked<()> {
    if store.supports_scheduled_commands() {
        Ok(())
    } else {
        Err(Stop::Skipped("the store does not support scheduled commands"))
    }
}

/// Starts an instance under a new owner. Returns the owner, and the fencing token with which the owner writes
/// to the instance. The token is valid while the owner is alive.
pub(super) async fn owned(store: &Store, instance: &WorkflowInstance) -> Checked<(Owner, Fence)> {
    let steps = steps(store)?;
    let owner = steps.register().await?;
    let started = steps.start(Some(&owner), instance).await?;
    let Some(fence) = started.fence else { unmet("a new instance with an owner came without a fence") };
    Ok((owner, fence))
}

/// Makes a commit, and asserts that the store accepts it.
pub(super) async fn done(store: &Store, fence: Fence, commit: StepCommit) -> Checked<()> {
    assert_eq!(steps(store)?.commit_step(fence, &commit).await?, Committed::Done);
    Ok(())
}

/// Reads a page of history. Asserts that each row decodes, and that it contains the number that was returned
/// with it.
pub(super) async fn finished_rows(
    store: &Store,
    id: &str,
    container: &str,
    after: u64,
    limit: usize,
) -> Checked<Vec<Finished>> {
    let mut rows = Vec::new();
    for (number, row) in steps(store)?.finished(id, container, after, limit).await? {
        let row = row?;
        assert_eq!(row.number, number);
        rows.push(row);
    }
    Ok(rows)
}

/// A harness together with one of its places. The trait hides the types of both, so that the cases are
/// compiled only once, instead of once for each store.
trait AnyPlace: Send + Sync {
    fn open(&self, clock: Arc<VirtualClock>) -> BoxFuture<'_, Result<Store>>;
    fn kill(&self, owner: Owner) -> BoxFuture<'_, Result<bool>>;
    fn lasts(&self) -> bool;
    fn is_shared(&self) -> bool;
    fn tells_news(&self) -> bool;
}

struct Bound<H: Harness> {
    harness: Arc<H>,
    place: H::Place,
}

impl<H: Harness> AnyPlace for Bound<H> {
    fn open(&self, clock: Arc<VirtualClock>) -> BoxFuture<'_, Result<Store>> {
        self.harness.open(&self.place, clock)
    }

    fn kill(&self, owner: Owner) -> BoxFuture<'_, Result<bool>> {
        self.harness.kill(&self.place, owner)
    }

    fn lasts(&self) -> bool {
        self.harness.lasts()
    }

    fn is_shared(&self) -> bool {
        self.harness.is_shared()
    }

    fn tells_news(&self) -> bool {
        self.harness.tells_news()
    }
}
