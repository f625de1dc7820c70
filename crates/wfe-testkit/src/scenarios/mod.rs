//! Scenarios: whole workflows on any store. Each scenario tests one guarantee of the engine and the store together.
//!
//! The [conformance suite](crate::conformance) tests a store by itself; this suite tests it with the engine. Both
//! take the same [`Harness`]. [`main`] runs every scenario as a test of its own under `cargo test`. Scenarios are
//! independent of each other, and run under a virtual clock: none sleeps.
//!
//! A scenario is *skipped*, and the reason is shown, if it needs an optional part that the store does not have, such
//! as a step store, without which instances cannot wait for events.
//!
//! Nearly all scenarios take well under a second. A scenario that has not ended after a minute has *failed*: the
//! store hangs, or a notification that should wake an instance was lost. The other scenarios continue.

mod cases;
mod stage;
mod words;

use std::{process::ExitCode, sync::Arc};

use futures_util::{StreamExt, future::BoxFuture, stream};
use libtest_mimic::{Arguments, Trial};

use crate::conformance::{
    CaseReport, Harness, Outcome, Report,
    checked::Checked,
    runner::{judge, trial},
};
use stage::Stage;

/// How many scenarios [`run`] plays at once.
const AT_ONCE: usize = 4;

/// One scenario.
struct Scenario {
    noun: &'static str,
    /// A sentence, with underscores for spaces.
    rule: &'static str,
    play: fn(Stage) -> BoxFuture<'static, Checked<()>>,
}

impl Scenario {
    fn name(&self) -> String {
        format!("{}: {}", self.noun, self.rule.replace('_', " "))
    }
}

/// The suite as separate tests, for one or more stores. Pass it to [`main`].
#[derive(Default)]
pub struct Trials {
    trials: Vec<Trial>,
}

impl Trials {
    /// Adds the whole suite for one store. The names of its tests begin with `store`.
    #[must_use]
    pub fn of<H: Harness>(self, store: &str, harness: H) -> Self {
        self.add(store, harness, 1)
    }

    /// Adds the whole suite for one store that this many hosts share. Each host has its own provider, as if it were a
    /// process of its own. The harness must open [shared](Harness::is_shared) stores.
    #[must_use]
    pub fn of_shared<H: Harness>(self, store: &str, harness: H, hosts: usize) -> Self {
        self.add(store, harness, hosts)
    }

    fn add<H: Harness>(mut self, store: &str, harness: H, hosts: usize) -> Self {
        let harness = Arc::new(harness);
        self.trials.extend(cases::all().map(|scenario| {
            let harness = harness.clone();
            trial(format!("{store}: {}", scenario.name()), move || outcome(harness, hosts, scenario))
        }));
        self
    }
}

/// Runs the scenarios as the `main` function of a test target with `harness = false`. It understands the arguments of
/// `cargo test`, and shows each scenario as a test of its own.
#[must_use = "the exit code says whether the tests passed"]
pub fn main(trials: Trials) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials.trials).exit_code()
}

/// Plays the whole suite on a store that this many hosts share. Must be called on a multi-threaded tokio runtime.
pub async fn run<H: Harness>(harness: H, hosts: usize) -> Report {
    run_only(harness, hosts, |_| true).await
}

/// Plays only the scenarios for whose name `wanted` returns true; otherwise like [`run`]. An example of a name is
/// `events: only an event of its key reaches a wait`.
pub async fn run_only<H: Harness>(harness: H, hosts: usize, wanted: impl Fn(&str) -> bool + Send) -> Report {
    let harness = Arc::new(harness);
    let chosen: Vec<_> = cases::all().filter(|scenario| wanted(&scenario.name())).collect();
    let cases =
        stream::iter(chosen)
            .map(|scenario| {
                let harness = harness.clone();
                async move {
                    CaseReport { name: scenario.name(), outcome: outcome(harness, hosts, scenario).await }
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
    Report { cases }
}

async fn outcome<H: Harness>(harness: Arc<H>, hosts: usize, scenario: &'static Scenario) -> Outcome {
    judge(async move { (scenario.play)(Stage::new(harness, hosts).await?).await }).await
}
