use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use serde::{Serialize, de::DeserializeOwned};
use wfe_core::Result;

use super::ActivityClaim;

/// A claim of an activity whose input is an `I` and whose result is an `O`.
/// [`Activities::claim`](super::Activities::claim) returns it. It dereferences to the [`ActivityClaim`], which has the
/// other calls: heartbeat, failure, token and idempotency key.
///
/// ```
/// use std::time::Duration;
/// use wfe::{prelude::*, steps::StepError};
///
/// const PRINT: Activity<String, u32> = Activity::new("print");
///
/// async fn print_one(host: &WorkflowHost) -> wfe::Result<()> {
///     let claim = host.activities().claim(PRINT, "printer 2", Duration::from_mins(1)).await?;
///     let Some(claim) = claim else { return Ok(()) };
///     match print(&claim.input()?) {
///         Ok(pages) => claim.succeed(&pages).await,
///         // Another printer may have paper: any worker can claim the activity again.
///         Err(Trouble::NoPaper) => claim.release().await,
///         // The step fails; its retry policy decides what follows. Fatal errors are not retried.
///         Err(Trouble::Unreadable) => claim.fail(&StepError::fatal("it cannot be read").with_code("unreadable")).await,
///     }
/// }
/// # enum Trouble { NoPaper, Unreadable }
/// # fn print(_: &str) -> Result<u32, Trouble> { Ok(1) }
/// ```
///
/// A result of another type does not compile:
///
/// ```compile_fail,E0308
/// use std::time::Duration;
/// use wfe::prelude::*;
///
/// const PRINT: Activity<String, u32> = Activity::new("print");
///
/// async fn print_one(host: &WorkflowHost) -> wfe::Result<()> {
///     let claim = host.activities().claim(PRINT, "printer 2", Duration::from_mins(1)).await?;
///     claim.unwrap().succeed("one").await
/// }
/// ```
pub struct Claim<I, O> {
    claim: ActivityClaim,
    types: PhantomData<fn(O) -> I>,
}

impl<I: DeserializeOwned, O: Serialize + Sync> Claim<I, O> {
    pub(in crate::external_tasks) fn new(claim: ActivityClaim) -> Self {
        Self { claim, types: PhantomData }
    }

    /// Returns the input for the worker.
    ///
    /// # Errors
    /// [`Serialization`](wfe_core::WfeError::Serialization): the input does not deserialize as `I`.
    pub fn input(&self) -> Result<I> {
        self.claim.input()
    }

    /// Answers the activity with a result; the instance continues. [`ActivityClaim::succeed`] has the rules.
    ///
    /// # Errors
    /// The errors of [`ActivityClaim::succeed`].
    pub async fn succeed(&self, result: &O) -> Result<()> {
        self.claim.succeed(result).await
    }

    /// Gives the activity back. The next worker can claim it at once.
    ///
    /// # Errors
    /// The errors of [`ActivityClaim::release`].
    pub async fn release(self) -> Result<()> {
        self.claim.release().await
    }
}

impl<I, O> Deref for Claim<I, O> {
    type Target = ActivityClaim;

    fn deref(&self) -> &ActivityClaim {
        &self.claim
    }
}

impl<I, O> DerefMut for Claim<I, O> {
    fn deref_mut(&mut self) -> &mut ActivityClaim {
        &mut self.claim
    }
}

// Derived, it would ask the same of the input and the result.
impl<I, O> fmt::Debug for Claim<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.claim.fmt(f)
    }
}
