//! Stores a worker's answer, and tries again if the store fails for a while.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wfe_core::{Advice, Family, WfeError, limits::later, logging, steps::StepError};

use super::ActivityClaim;
use crate::store::loss::warn_unless_lost;

/// The initial backoff before an answer is stored again. It is real time, because a store is no faster under a
/// virtual clock.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
/// The maximum backoff. The backoff grows only while the store reports an error that retries do not resolve.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// The time by which the store's clock may be behind the host's clock.
pub(super) const CLOCK_SKEW: Duration = Duration::from_millis(10);

/// The answer of a body, in the form in which it is stored.
pub(super) type Answer = std::result::Result<Value, StepError>;

/// Stores the answer. If the store fails, this tries again until the grace time is `over`. Returns `true` if the
/// answer was stored, or if the store refused it. Returns `false` if the answer is not stored and the caller has to
/// give the activity back.
pub(super) async fn store(
    claim: &ActivityClaim,
    mut answer: Answer,
    mut expiry: DateTime<Utc>,
    over: &CancellationToken,
) -> bool {
    let (host, activity) = (claim.host(), &*claim.activity().name);
    let mut backoff = INITIAL_BACKOFF;
    loop {
        let stored = match &answer {
            Ok(result) => claim.succeed(result).await,
            Err(error) => claim.fail(error).await,
        };
        let Err(error) = stored else { return true };
        let error = match error {
            // The result can never be stored: the activity fails instead.
            WfeError::Serialization(_) | WfeError::Unstorable { .. } if answer.is_ok() => {
                answer = Err(StepError::fatal(error).with_code(StepError::UNSTORABLE));
                continue;
            }
            // The lease expired while the store was busy, but perhaps no other worker has claimed the activity.
            WfeError::LeaseExpired(_) if expiry <= later(host.engine().now(), CLOCK_SKEW) => {
                match claim.renew().await {
                    Ok(later) => {
                        expiry = later;
                        continue;
                    }
                    Err(error) => error,
                }
            }
            error => error,
        };
        let is_lasting = error.advice() == Advice::GiveUp || error.family() == Family::Worker;
        if is_lasting && (is_final(&error) || expiry <= host.engine().now()) {
            // If the activity were given back, it would be done again at once, only to be refused again. The rest
            // of the lease serves as the backoff.
            warn_unless_lost!(
                host.store().loss,
                activity,
                %error,
                "an answer was refused; the activity becomes available to other workers when the lease expires"
            );
            return true;
        }
        if over.is_cancelled() {
            warn_unless_lost!(
                host.store().loss,
                activity,
                %error,
                "the grace time is over; an answer could not be stored"
            );
            return false;
        }
        logging::debug!(activity, %error, "an answer could not be stored; the worker tries again");
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = over.cancelled() => {}
        }
        if is_lasting {
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }
}

/// Whether this error means that the store has refused the answer. Any other error means that the store failed.
fn is_final(error: &WfeError) -> bool {
    !matches!(error, WfeError::Storage { .. } | WfeError::Persistence(_) | WfeError::Other(_))
}
