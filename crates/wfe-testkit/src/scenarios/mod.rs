//! Whole workflows on any store: what the engine and the store below it do together, one scenario for each promise.
//!
//! The [conformance suite](crate::conformance) proves a store by itself; this one proves it with the engine. It takes the
//! same [`Harness`]; [`main`] runs every scenario as a test of its own under `cargo test`. Scenarios are independent of
//! each other, and their time is that of a virtual clock: none sleeps.
//!
//! A scenario that needs something which a store need not have (a step store, to wait for events) is *skipped*, with the
//! reason shown, where the store does not have it.
//!
//! Nearly all take well under a second. One that has not ended after a minute, because the store hangs or because what should
//! wake an instance is lost, has *failed*, and says so; the others go on.

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

/// How many scenarios [`run`] has under way at once.
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

/// The suite as tests of their own, for one or more stores; hand it to [`main`].
#[derive(Default)]
pub struct Trials {
    trials: Vec<Trial>,
}

impl Trials {
    /// Adds the whole suite for one store. `store` begins the names of its tests.
    #[must_use]
    pub fn of<H: Harness>(self, store: &str, harness: H) -> Self {
        self.add(store, harness, 1)
    }

    /// Adds the whole suite for one store that so many hosts share, each with a provider of its own, as if each were a
    /// process. The harness must be one of a store that [is shared](Harness::is_shared).
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

/// The `main` function of a test target with `harness = false`: understands the arguments of `cargo test`, plays the
/// scenarios that they ask for, and shows each as a test of its own.
#[must_use = "the exit code says whether the tests passed"]
pub fn main(trials: Trials) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials.trials).exit_code()
}

/// Plays the whole suite on a store that so many hosts share; call it inside a tokio runtime of several threads.
pub async fn run<H: Harness>(harness: H, hosts: usize) -> Report {
    run_only(harness, hosts, |_| true).await
}

/// As [`run`], only the scenarios whose name (such as `events: only an event of its key reaches a wait`) is `wanted`.
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
