//! The suites find what they are there to find: a store that breaks one rule is caught at that very rule.

// All of this is a test, and unwraps as one; clippy.toml allows that only inside test functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod faulty_store;
mod management;
mod scenarios;

use std::{path::PathBuf, sync::Arc};

use faulty_store::{Broken, Fault};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    Layered,
    conformance::{InFile, InMemory, Turns, run, run_only},
};

/// Each way to break a store, and the case that must find it.
const FAULTS: [(Fault, &str); 60] = [
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
    (Fault::IgnoresFences, "refused commits: a wrong fencing token is reported and nothing is written"),
    (
        Fault::IgnoresRequests,
        "control: a commit that does not name the pending request writes nothing and reports it",
    ),
    (Fault::AsksNobody, "control: a commit stores requests to other instances even to those that it creates"),
    (
        Fault::KeepsWaitsAnswerable,
        "work: a wait that takes no answer any more has the one that was accepted before",
    ),
    (
        Fault::ClosesClaimedWaits,
        "work: a wait is closed unless a worker has claimed it and its store says which",
    ),
    (Fault::ResumesInstead, "control: an intervention is a pending resume with details"),
    (Fault::AcceptsWhateverIsRequested, "control: a request after the end is refused and names the end"),
    (Fault::LeavesDatesToPublishers, "publishing: a published event is stored and delivered"),
    (Fault::MeetsNoWaits, "publishing: a new event tells how many open waits it met"),
    (
        Fault::ForgetsWhatWasConsumed,
        "publishing: a known event is not stored again and tells whether it was consumed",
    ),
    (
        Fault::StoresForAnyReceiver,
        "publishing: an event for one instance needs an instance that has not ended",
    ),
    (Fault::FinishesEveryEvent, "finishing events: an event that an open wait matches is not finished"),
    (Fault::DeliversTwice, "streams: waits in a loop get each event once and in order"),
    (Fault::GoesByDatesAlone, "a clock set back: an event published after the start is delivered"),
    (
        Fault::LeavesDatesToPublishers,
        "a clock set back: an event of now is delivered whatever date it is handed over with",
    ),
    (
        Fault::LeavesDatesToPublishers,
        "undated events: an event from before the start is not delivered though the clock does not move",
    ),
    (
        Fault::PassesOverWhateverHasTheId,
        "refused commits: an event under the id of one of another name or key is refused and nothing is written",
    ),
    (
        Fault::PassesOverWhateverHasTheId,
        "refused commits: a child under the id of another instance is refused and nothing is written",
    ),
    (Fault::ClaimsBeyondTheLimit, "claiming: no more than the limit are claimed"),
    (
        Fault::AcquiresAnyDefinition,
        "acquiring: an instance of another definition is not acquired and the answer names it",
    ),
    (Fault::IgnoresHeartbeats, "liveness: a heartbeat within the lease keeps the instances of an owner"),
    (Fault::NeverTakesFromTheFrozen, "liveness: an owner that is frozen for its lease loses what it has"),
    (
        Fault::ForgetsAttributesOfStarts,
        "attributes: an instance has the attributes with which it was started",
    ),
    (
        Fault::DropsAttributesOfCommits,
        "attributes: a commit replaces all attributes and one without them none",
    ),
    (Fault::KeepsItsFirstCard, "hosts: a card is read as it was written until the next one"),
    (Fault::AsksNoHost, "hosts: a question reaches every host and a mere look none"),
    (Fault::ListsOnePageOfWork, "work: open waits are listed in pages"),
    (Fault::GivesHeldWorkAway, "work: the oldest wait is claimed first and each once"),
    (Fault::TakesLateAnswers, "work: a late answer is refused whether or not another has the wait"),
    (Fault::TakesOtherAnswers, "work: another answer is refused"),
    (Fault::ReplacesWhatHasChanged, "replacing: an instance that changed since it was read is not replaced"),
    (Fault::ReplacesInTwoSteps, "replacing: a replacement that cannot be stored changes nothing"),
    (Fault::ListsOnePageOfNames, "replacing: instances are listed by their names in pages"),
    (Fault::RepeatsFailures, "errors: failures are read in pages"),
    (Fault::SeesNothingAhead, "news: the next future event is reported"),
    (
        Fault::GivesNoPositions,
        "positions of events: an event that became due is delivered once it has its position",
    ),
    (
        Fault::FinishesWhatIsNeeded,
        "finishing events: many events are finished at once but those that waits match",
    ),
    (Fault::StopsAtTheFirstPageOfEvents, "finishing events: many events are checked in pages"),
    (Fault::TellsOldNews, "news: a new subscriber is not notified of earlier changes"),
    (Fault::OverlooksWhatIsPending, "streams: what is pending equals a load"),
    (Fault::SeesNoRequestsForBusyInstances, "news: requests for busy instances are listed for their owner"),
    (
        Fault::RetriesWhateverHasChanged,
        "retries: an instance that has changed since it was read is not reopened",
    ),
    (Fault::KeepsEndsOfChildren, "retries: the end of a child is withdrawn while its parent waits for it"),
    (Fault::ReopensEveryChild, "retries: a child whose parent no longer waits for it is not reopened"),
    (Fault::ForgetsRestarts, "restarts: a restart links both instances and moves the reference"),
    (Fault::RestartsTwice, "restarts: an instance is restarted once"),
    (Fault::TakesKnownForExisting, "restarts: a known reference is refused with the stored id"),
    (
        Fault::RestartsWhateverHasEnded,
        "restarts: a failed instance is restarted by its reference and no other",
    ),
    (Fault::FindsNothing, "restarts: a reference that is not known is not found"),
    (Fault::TakesAllForEnded, "news: ended and missing instances are distinguished from running ones"),
];

/// Each way to judge deaths wrongly, and the case that must find it, on files: in memory no process dies.
const DEATHS: [(Fault, &str); 3] = [
    (Fault::CountsNoDeaths, "deaths: the deaths of a process are counted until a commit"),
    (Fault::CountsEveryClaim, "deaths: an instance that an owner loses in another way counts no death"),
    (Fault::NotesNoIsolation, "deaths: a death counts as alone if it ran alone under that fence"),
];

/// Each thing that a provider can keep to itself, and a case that finds it where two take turns. One provider alone
/// keeps the rule.
const KEPT: [(Fault, &str); 3] = [
    (Fault::TrustsItsCopies, "instances: persisting an older copy brings the older state back"),
    (Fault::CountsInMemory, "instances: a sequence counts each definition from one"),
    (
        Fault::KnowsOnlyItsOwnOwners,
        "refused commits: a wrong fencing token is reported and nothing is written",
    ),
];

fn faulty(fault: Fault) -> InMemory {
    InMemory::new(move |clock| async move {
        let below = SqlitePersistenceProvider::builder(":memory:").clock(clock).open().await?;
        Ok(Layered(Broken::new(Arc::new(below), fault)))
    })
    .tells_news(fault != Fault::HidesItsStepStore)
}

fn faulty_file(fault: Fault) -> InFile {
    InFile::new(move |path, clock| async move {
        let below = SqlitePersistenceProvider::file(path).clock(clock).open().await?;
        Ok(Layered(Broken::new(Arc::new(below), fault)))
    })
    .owner_file(|database, id| PathBuf::from(format!("{}-owner-{id}", database.display())))
    .shared()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_keeps_to_itself_is_found_where_two_take_turns() {
    for (fault, case) in KEPT {
        let only = |name: &str| name == case;
        let in_turns = run_only(Turns(faulty_file(fault)), only).await;
        assert_eq!(in_turns.failed().collect::<Vec<_>>(), [case], "{fault:?}: {in_turns}");
        for fine in
            [run_only(faulty_file(fault), only).await, run_only(Turns(faulty_file(Fault::None)), only).await]
        {
            assert!(fine.cases.len() == 1 && fine.to_string().starts_with("1 passed"), "{fault:?}: {fine}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_judgement_of_a_death_is_found_by_its_case() {
    for (fault, case) in DEATHS {
        let report = run_only(faulty_file(fault), |name| name == case).await;
        assert_eq!(report.failed().collect::<Vec<_>>(), [case], "{fault:?}: {report}");
        let sound = run_only(faulty_file(Fault::None), |name| name == case).await;
        assert!(sound.cases.len() == 1 && sound.to_string().starts_with("1 passed"), "{case}: {sound}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_shared_cannot_take_turns() {
    let report = run_only(Turns(faulty(Fault::None)), |name| name == FAULTS[0].1).await;
    assert_eq!(report.failed().collect::<Vec<_>>(), [FAULTS[0].1]);
    assert!(report.to_string().contains("shared"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_is_found_by_its_case() {
    for (fault, case) in FAULTS {
        let report = run_only(faulty(fault), |name| name == case).await;
        assert_eq!(report.failed().collect::<Vec<_>>(), [case], "{fault:?}: {report}");
        let sound = run_only(faulty(Fault::None), |name| name == case).await;
        assert!(sound.cases.len() == 1 && sound.to_string().starts_with("1 passed"), "{case}: {sound}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimal_store_without_a_step_store_runs_the_plain_part() {
    let report = run(faulty(Fault::HidesItsStepStore)).await;
    report.assert_passed();
    let about_steps = [
        "starts: ",
        "commits: ",
        "refused commits: ",
        "control: ",
        "history: ",
        "streams: ",
        "claiming: ",
        "liveness: ",
        "news: ",
    ];
    for noun in about_steps {
        let all = report.cases.iter().filter(|case| case.name.starts_with(noun)).count();
        assert_ne!(all, 0);
        assert_eq!(report.skipped().filter(|name| name.starts_with(noun)).count(), all, "{noun}");
    }
    let without_work = run_only(faulty(Fault::OffersNoWork), |name| name.starts_with("work: ")).await;
    without_work.assert_passed();
    assert_eq!(without_work.skipped().count(), without_work.cases.len());
    for noun in ["instances: ", "pointers: ", "events: ", "tokens: ", "commands: ", "exactness: ", "bounds: "]
    {
        assert_eq!(report.skipped().find(|name| name.starts_with(noun)), None);
    }
}
