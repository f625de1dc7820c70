//! The suite finds what it is there to find: a store that breaks one rule is caught at that very rule.

// All of this is a test, and unwraps as one; clippy.toml allows that only inside test functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken;
mod broken_steps;

use std::sync::Arc;

use broken::{Broken, Fault};
use wfe_core::{Result, traits::PersistenceProvider};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    VirtualClock,
    conformance::{Harness, run, run_only},
};

/// Each way to break a store, and the case that must find it.
const FAULTS: [(Fault, &str); 15] = [
    (Fault::DelaysWakeUps, "commands: a due command runs once"),
    (
        Fault::RunsCommandsOnceWhateverComesOfIt,
        "commands: a failing handler keeps its command and the others still run",
    ),
    (Fault::IgnoresEarlyEvents, "early events: an early event meets a wait that is created"),
    (Fault::AgreesToEveryToken, "tokens: a live token keeps others out and nothing changes"),
    (Fault::SortsPointers, "pointers: pointers come back in their order"),
    (Fault::KeepsRemovedPointers, "pointers: all pointers can be removed"),
    (
        Fault::CreatesWhatItShouldReplace,
        "instances: persisting an unknown id is refused and nothing is written",
    ),
    (Fault::RoundsTimes, "exactness: times come back to the nanosecond"),
    (Fault::TakesNullForNothing, "exactness: null is not the same as nothing"),
    (Fault::IsDueEarly, "bounds: an instance is never due within the millisecond before"),
    (Fault::IgnoresFences, "refused commits: a wrong fence is told and nothing is written"),
    (
        Fault::IgnoresRequests,
        "control: a commit that does not name the waiting request writes nothing and reports it",
    ),
    (Fault::FinishesEveryEvent, "finishing events: an event that an open wait matches is not finished"),
    (Fault::DeliversTwice, "streams: waits in a loop get each event once and in order"),
    (Fault::ClaimsBeyondTheLimit, "claiming: no more than the limit are claimed"),
];

struct Faulty(Fault);

#[async_trait::async_trait]
impl Harness for Faulty {
    type Place = ();

    async fn place(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, (): &(), clock: Arc<VirtualClock>) -> Result<Arc<dyn PersistenceProvider>> {
        let inner = SqlitePersistenceProvider::builder(":memory:").clock(clock).open().await?;
        Ok(Arc::new(Broken { inner: Arc::new(inner), fault: self.0 }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_is_found_by_its_case() {
    for (fault, case) in FAULTS {
        let report = run_only(Faulty(fault), |name| name == case).await;
        assert_eq!(report.failed().collect::<Vec<_>>(), [case], "{fault:?}: {report}");
        let sound = run_only(Faulty(Fault::None), |name| name == case).await;
        assert!(sound.cases.len() == 1 && sound.to_string().starts_with("1 passed"), "{case}: {sound}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimal_store_without_a_step_store_runs_the_plain_part() {
    let report = run(Faulty(Fault::HidesItsStepStore)).await;
    report.assert_passed();
    let about_steps =
        ["starts: ", "commits: ", "refused commits: ", "control: ", "history: ", "streams: ", "claiming: "];
    for noun in about_steps {
        let all = report.cases.iter().filter(|case| case.name.starts_with(noun)).count();
        assert_ne!(all, 0);
        assert_eq!(report.skipped().filter(|name| name.starts_with(noun)).count(), all, "{noun}");
    }
    for noun in ["instances: ", "pointers: ", "events: ", "tokens: ", "commands: ", "exactness: ", "bounds: "]
    {
        assert_eq!(report.skipped().find(|name| name.starts_with(noun)), None);
    }
}
