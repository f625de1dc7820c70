//! The scenarios find a broken store too, by what becomes of the workflows on it.

use wfe_testkit::scenarios::run_only;

use crate::{
    faulty, faulty_file,
    faulty_store::Fault::{self, *},
};

/// Each way to break a store, and a scenario that must find it.
const FAULTS: [(Fault, &str); 21] = [
    (LosesNewPointers, "control: an event for a suspended instance is kept"),
    (LosesData, "branching: an if takes the branch that its condition names"),
    (LosesFinishedPointers, "loops: the results of a for each can be read by what follows"),
    (LosesItems, "sagas: a saga that fails is compensated in reverse order of completion"),
    (LosesOutcomesOfTheUndone, "sagas: a compensation knows what it compensates"),
    (LosesWaits, "events: an event reaches a wait that came before it"),
    (KeepsWaitsOpen, "external tasks: an activity of a cancelled instance is not offered any more"),
    (ConsumesNothing, "events: waits in a loop take each event once and in order"),
    (DeliversTwice, "events: an event of the same id is accepted and has no effect"),
    (LosesEvents, "events: an event reaches a wait that comes after it"),
    (LosesWhatACommitPublishes, "sub-workflows: a child gives its data back to its parent"),
    (CreatesNoChildren, "sub-workflows: children have children"),
    (AsksNobody, "sub-workflows: a cancelled parent cancels its child which compensates its saga"),
    (LosesFailures, "failures: every failure is stored with its causes"),
    (LosesEndings, "failures: a step out of retries ends the instance with its cause"),
    (LosesCauses, "failures: a step out of retries ends the instance with its cause"),
    (DropsRequests, "control: a waiting instance can be terminated"),
    (NeverGivesBack, "control: a suspended instance starts no step until it is resumed"),
    (StartsAnew, "versions: a start with a reference creates one instance"),
    (LosesAnswers, "external tasks: an activity continues with its worker s result"),
    (TakesOtherAnswers, "external tasks: a user task takes the branch of the option chosen"),
];

/// What shows only once the host that has trusted its store is gone.
const KEPT: [(Fault, &str); 1] = [(LosesDueTimes, "control: an instance outlives its host")];

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_store_is_found_by_a_scenario() {
    for (fault, scenario) in FAULTS {
        let only = |name: &str| name == scenario;
        let report = run_only(faulty(fault), 1, only).await;
        assert_eq!(report.failed().collect::<Vec<_>>(), [scenario], "{fault:?}: {report}");
        let sound = run_only(faulty(Fault::None), 1, only).await;
        assert!(sound.cases.len() == 1 && sound.to_string().starts_with("1 passed"), "{scenario}: {sound}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_store_would_be_asked_for_by_the_next_host_is_found_too() {
    for (fault, scenario) in KEPT {
        let only = |name: &str| name == scenario;
        let report = run_only(faulty_file(fault), 1, only).await;
        assert_eq!(report.failed().collect::<Vec<_>>(), [scenario], "{fault:?}: {report}");
        let sound = run_only(faulty_file(Fault::None), 1, only).await;
        assert!(sound.cases.len() == 1 && sound.to_string().starts_with("1 passed"), "{scenario}: {sound}");
    }
}
