use std::{any::Any, future::Future, process::ExitCode, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::{
    CaseReport, Harness, Outcome, Report,
    bench::Bench,
    case::Case,
    cases,
    checked::{Checked, Stop},
};

/// How long a case or a scenario may take. Each of them normally takes well under a second. The limit ensures that a
/// store that hangs does not make the suite hang.
const DEADLINE: Duration = Duration::from_mins(1);

/// How many cases [`run`] runs at once. There are enough of them that some can run while others wait for the disk.
const AT_ONCE: usize = 8;

/// Runs the whole suite on a store. Must be called on a tokio runtime, which should be multi-threaded.
pub async fn run<H: Harness>(harness: H) -> Report {
    run_only(harness, |_| true).await
}

/// Like [`run`], but runs only those cases for whose names `wanted` returns true. An example of a name is
/// `events: marking an event twice is fine`.
pub async fn run_only<H: Harness>(harness: H, wanted: impl Fn(&str) -> bool + Send) -> Report {
    let harness = Arc::new(harness);
    let chosen: Vec<_> = cases::all().filter(|case| wanted(&case.name())).collect();
    let cases = stream::iter(chosen)
        .map(|case| {
            let harness = Arc::clone(&harness);
            async move { CaseReport { name: case.name(), outcome: outcome(harness, case).await } }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    Report { cases }
}

/// The cases of the suite as separate tests, for one or more stores. Pass it to [`main`].
#[derive(Default)]
pub struct Trials {
    trials: Vec<Trial>,
}

impl Trials {
    /// Adds the whole suite for one store. The names of its tests begin with `store`.
    #[must_use]
    pub fn of<H: Harness>(mut self, store: &str, harness: H) -> Self {
        let harness = Arc::new(harness);
        self.trials.extend(cases::all().map(|case| {
            let harness = Arc::clone(&harness);
            trial(format!("{store}: {}", case.name()), move || outcome(harness, case))
        }));
        self
    }
}

/// Runs the cases as the `main` function of a test target with `harness = false`. It understands the arguments of
/// `cargo test`, and shows each case as a separate test.
#[must_use = "the exit code says whether the tests passed"]
pub fn main(trials: Trials) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials.trials).exit_code()
}

async fn outcome<H: Harness>(harness: Arc<H>, case: &'static Case) -> Outcome {
    judge(async move {
        let bench = Bench::new(harness).await?;
        (case.check)(bench).await
    })
    .await
}

/// Creates a test that runs on a separate runtime.
pub(crate) fn trial<F: Future<Output = Outcome>>(
    name: String,
    check: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(check());
        runtime.shutdown_background(); // a case may leave a blocking body behind
        match outcome {
            Outcome::Passed => Ok(Completion::Completed),
            Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
            Outcome::Failed(reason) => Err(Failed::from(reason)),
        }
    })
}

/// Runs a check in a separate task, so that a panic in the check does not end the suite.
pub(crate) async fn judge(check: impl Future<Output = Checked<()>> + Send + 'static) -> Outcome {
    judge_within(DEADLINE, check).await
}

async fn judge_within(limit: Duration, check: impl Future<Output = Checked<()>> + Send + 'static) -> Outcome {
    let mut task = tokio::spawn(check);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(Ok(()))) => Outcome::Passed,
        Ok(Ok(Err(Stop::Skipped(reason)))) => Outcome::Skipped(reason.to_owned()),
        Ok(Ok(Err(Stop::Failed(reason)))) => Outcome::Failed(reason),
        Ok(Err(ended)) => Outcome::Failed(match ended.try_into_panic() {
            Ok(payload) => message(payload.as_ref()),
            Err(cancelled) => cancelled.to_string(),
        }),
        Err(_) => {
            task.abort();
            Outcome::Failed(format!(
                "did not end within {limit:?}: a call of the store does not return, or each result leads to a further call"
            ))
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "panicked".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_hangs_or_goes_round_for_ever_fails_with_a_reason() {
        let hangs = judge_within(Duration::from_millis(10), std::future::pending()).await;
        let goes_round = judge_within(Duration::from_millis(10), async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        for outcome in [hangs, goes_round.await] {
            assert!(matches!(&outcome, Outcome::Failed(why) if why.starts_with("did not end within 10ms: ")));
        }
        let in_time = judge_within(Duration::from_mins(1), async { Ok(()) }).await;
        assert!(matches!(in_time, Outcome::Passed));
    }
}
