//! Logs faults of the store: the first failure of a call at once, further failures of the same call as a count once a
//! minute, and the end of the fault.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use wfe_core::{WfeError, logging, sync::lock};

/// How often a fault that lasts is logged again. Each line has the number of failures, so nothing is lost in between.
const AGAIN: Duration = Duration::from_mins(1);

/// A failed call of the engine is repeated sooner than this, unless its work was given up.
const REPEATED: Duration = Duration::from_secs(15);

/// The calls to the store that fail at the moment.
#[derive(Default)]
pub(crate) struct Faults {
    /// Whether any call fails. Checked first, because it is hardly ever true.
    is_any: AtomicBool,
    failing: Mutex<Vec<Fault>>,
}

/// A call that has failed, and has not succeeded since.
struct Fault {
    call: &'static str,
    code: &'static str,
    since: Instant,
    /// When the call last failed.
    last: Instant,
    /// When it was last logged.
    logged: Instant,
    /// How many failures there were, and how many of them no line has counted yet.
    failures: u64,
    unreported: u64,
    /// Whether it was logged as something that operators see.
    is_seen: bool,
}

/// Whether the error is a fault of the store, and says nothing about the call. Only such errors are counted here. The
/// loss of the store is not among them: its host ends, and logs the loss itself.
pub(crate) fn is_fault(error: &WfeError) -> bool {
    use WfeError::{Busy, CommitUnknown, Full, LockFailed, Persistence, Storage};
    matches!(
        error,
        Busy { .. } | LockFailed(_) | Full { .. } | Storage { .. } | Persistence(_) | CommitUnknown { .. }
    )
}

impl Faults {
    /// Takes note of the result of a call to the store. `error` is `None` if the call has succeeded.
    pub fn note(&self, call: &'static str, error: Option<&WfeError>) {
        match error {
            Some(error) if is_fault(error) => self.failed(call, error, Instant::now()),
            None if self.is_any.load(Relaxed) => self.works(call, Instant::now()),
            _ => {} // any other error is an answer to the call, which its caller handles
        }
    }

    fn failed(&self, call: &'static str, error: &WfeError, now: Instant) {
        let mut failing = lock(&self.failing);
        self.is_any.store(true, Relaxed);
        let known = failing.iter_mut().find(|fault| fault.call == call);
        let Some(fault) = known else {
            let is_seen = log_first(call, error);
            let (code, failures, unreported) = (error.code(), 1, 0);
            return failing.push(Fault {
                call,
                code,
                since: now,
                last: now,
                logged: now,
                failures,
                unreported,
                is_seen,
            });
        };
        (fault.failures, fault.last) = (fault.failures + 1, now);
        if fault.code != error.code() {
            fault.code = error.code();
            fault.is_seen |= log_first(call, error);
            return;
        }
        fault.unreported += 1;
        if now.saturating_duration_since(fault.logged) < AGAIN {
            return;
        }
        let failures = std::mem::take(&mut fault.unreported); // not among the fields, which are computed only if wanted
        (fault.logged, fault.is_seen) = (now, true);
        logging::warn!(
            call,
            code = fault.code,
            %error,
            failures,
            seconds = now.saturating_duration_since(fault.since).as_secs(),
            "the store still fails; the field `failures` counts the failures since the last such line"
        );
    }

    /// For how long a call has failed, if it fails at the moment. The failure of a call that is not repeated says nothing
    /// about the moment.
    pub fn fails_since(&self, call: &str, now: Instant) -> Option<Duration> {
        let failing = lock(&self.failing);
        let fault = failing.iter().find(|fault| fault.call == call)?;
        let is_recent = now.saturating_duration_since(fault.last) < REPEATED;
        is_recent.then(|| now.saturating_duration_since(fault.since))
    }

    fn works(&self, call: &'static str, now: Instant) {
        let mut failing = lock(&self.failing);
        let Some(at) = failing.iter().position(|fault| fault.call == call) else { return };
        let fault = failing.swap_remove(at);
        self.is_any.store(!failing.is_empty(), Relaxed);
        drop(failing);
        let (code, failures) = (fault.code, fault.failures);
        let seconds = now.saturating_duration_since(fault.since).as_secs();
        if fault.is_seen {
            logging::info!(call, code, failures, seconds, "the store works again");
        } else {
            logging::debug!(call, code, failures, seconds, "the store works again");
        }
    }
}

/// Logs the first failure of a call. Returns whether operators see the line.
fn log_first(call: &'static str, error: &WfeError) -> bool {
    let code = error.code();
    match error {
        // This soon resolves by itself. If it does not, the line after a minute reports it.
        WfeError::Busy { .. } | WfeError::LockFailed(_) => {
            logging::debug!(call, code, %error, "the store is busy");
            return false;
        }
        WfeError::Full { .. } => logging::warn!(call, code, %error, "the store is full"),
        WfeError::CommitUnknown { .. } => {
            logging::error!(call, code, %error, "the outcome of a commit is unknown");
        }
        _ => logging::error!(call, code, %error, "the store has failed"),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> WfeError {
        WfeError::Full { message: "no room".to_owned(), source: None }
    }

    fn busy() -> WfeError {
        WfeError::Busy { message: "others write".to_owned(), source: None }
    }

    /// The counts of the only fault: all failures, those that no line has counted yet, and whether it was seen.
    fn counts(faults: &Faults) -> (u64, u64, bool) {
        let failing = lock(&faults.failing);
        assert_eq!(failing.len(), 1);
        (failing[0].failures, failing[0].unreported, failing[0].is_seen)
    }

    #[test]
    fn a_call_fails_at_the_moment_if_it_has_failed_lately_and_not_succeeded_since() {
        let (faults, began) = (Faults::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let since = |now| faults.fails_since("commit_step", at(now));
        assert_eq!(since(0), None);
        faults.failed("commit_step", &busy(), at(0));
        faults.failed("claim", &busy(), at(11));
        faults.failed("commit_step", &busy(), at(11));
        assert_eq!((since(11), since(25)), (Some(Duration::from_secs(11)), Some(Duration::from_secs(25))));
        assert_eq!(since(26), None, "the call is not repeated any more");
        faults.works("commit_step", at(12));
        assert_eq!(since(12), None);
    }

    #[test]
    fn a_fault_is_logged_then_counted_and_logged_again_once_a_minute() {
        let (faults, began) = (Faults::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        faults.failed("commit_step", &full(), at(0));
        assert_eq!(counts(&faults), (1, 0, true));
        for second in 1..60 {
            faults.failed("commit_step", &full(), at(second));
        }
        assert_eq!(counts(&faults), (60, 59, true));
        faults.failed("commit_step", &full(), at(60));
        assert_eq!(counts(&faults), (61, 0, true), "a line with the number");
        faults.failed("commit_step", &full(), at(61));
        assert_eq!(counts(&faults), (62, 1, true));
        // Another error is logged at once.
        faults.failed("commit_step", &WfeError::Persistence("gone".to_owned()), at(62));
        assert_eq!(counts(&faults), (63, 1, true));
        assert!(faults.is_any.load(Relaxed));
        faults.works("load", at(63)); // another call
        assert_eq!(counts(&faults), (63, 1, true));
        faults.works("commit_step", at(63));
        assert!(!faults.is_any.load(Relaxed) && lock(&faults.failing).is_empty());
    }

    #[test]
    fn a_busy_store_is_reported_to_operators_only_if_it_lasts() {
        let (faults, began) = (Faults::default(), Instant::now());
        faults.failed("claim", &busy(), began);
        assert_eq!(counts(&faults), (1, 0, false));
        faults.failed("claim", &busy(), began + AGAIN);
        assert_eq!(counts(&faults), (2, 0, true));
    }

    #[test]
    fn errors_that_answer_the_call_are_no_faults_and_end_none() {
        let faults = Faults::default();
        faults.note("load", Some(&WfeError::WorkflowNotFound("i".to_owned())));
        assert!(!faults.is_any.load(Relaxed));
        faults.note("load", Some(&full()));
        faults.note("load", Some(&WfeError::WorkflowNotFound("i".to_owned())));
        assert!(faults.is_any.load(Relaxed));
        faults.note("load", None);
        assert!(!faults.is_any.load(Relaxed));
    }
}
