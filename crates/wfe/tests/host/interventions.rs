//! Skipping failed steps, and going on from another one, on stores. How it works in each verb is tested with the executor.

use wfe::{
    WfeError, WorkflowHost,
    definition::{Definition, OnFailure, WorkflowBuilder},
    error::NoEffectReason,
    status::State,
    steps::StepError,
    traits::Ending,
};

use crate::support::{Store, Tally, completed, no_effect, until};

/// Adds 1, then fails while the sum is below 3, then adds 10.
fn definition() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("w", 1)
        .change("add", |tally| tally.sum += 1)
        .call("fail", |_, tally| if tally.sum < 3 { Err(StepError::fatal("too little")) } else { Ok(()) })
        .output(|(), tally| tally.numbers.push(1))
        .on_failure(OnFailure::Suspend)
        .change("after", |tally| tally.sum += 10)
        .build()
        .unwrap()
}

/// Suspended by as many failures.
async fn has_failed(host: &WorkflowHost, id: &str, failures: usize) {
    until(async || {
        let is_suspended = host.status(id).await.unwrap().state == State::Suspended;
        is_suspended && codes(host, id).await.len() == failures
    })
    .await;
}

async fn codes(host: &WorkflowHost, id: &str) -> Vec<String> {
    host.failures(id).all().await.unwrap().into_iter().map(|failure| failure.code).collect()
}

async fn failed_steps_are_skipped(store: Store) {
    let host = store.host(&[&definition()]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    has_failed(&host, &id, 1).await;
    host.skip(&id).await.unwrap();
    assert_eq!(completed(&host, &id).await, Tally { numbers: vec![], sum: 11 });
    assert_eq!(codes(&host, &id).await, ["error"]);
    // It has ended: nothing changes any more.
    for told in [host.skip(&id).await, host.resume_from(&id, "add").await] {
        assert_eq!(no_effect(told), NoEffectReason::Ended(Ending::Completed));
    }
    assert_eq!(completed(&host, &id).await.sum, 11);
    for refused in [host.skip("nobody").await, host.resume_from("nobody", "add").await] {
        assert!(matches!(refused, Err(WfeError::WorkflowNotFound(_))), "{refused:?}");
    }
}

async fn instances_go_on_from_a_step(store: Store) {
    let host = store.host(&[&definition()]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    has_failed(&host, &id, 1).await;
    host.resume_from(&id, "nowhere").await.unwrap();
    has_failed(&host, &id, 2).await;
    assert_eq!(codes(&host, &id).await, ["error", StepError::INTERVENTION]);
    let status = host.status(&id).await.unwrap();
    assert_eq!(
        (status.cause.unwrap().step.as_str(), &*status.current_steps),
        ("fail", &["fail".to_owned()][..])
    );
    host.resume_from(&id, "add").await.unwrap();
    has_failed(&host, &id, 3).await;
    host.resume_from(&id, "add").await.unwrap();
    assert_eq!(completed(&host, &id).await, Tally { numbers: vec![1], sum: 13 });
    assert_eq!(codes(&host, &id).await.len(), 3);
}

async fn a_request_waits_for_a_host(store: Store) {
    let first = store.host(&[&definition()]).await;
    let id = first.start_workflow("w", &Tally::default()).await.unwrap();
    has_failed(&first, &id, 1).await;
    first.stop().await.unwrap();
    first.skip(&id).await.unwrap();
    let next = store.host(&[&definition()]).await;
    assert_eq!(completed(&next, &id).await.sum, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_steps_are_skipped_in_memory() {
    failed_steps_are_skipped(Store::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_steps_are_skipped_on_a_file() {
    failed_steps_are_skipped(Store::file()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_go_on_from_a_step_in_memory() {
    instances_go_on_from_a_step(Store::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_go_on_from_a_step_on_a_file() {
    instances_go_on_from_a_step(Store::file()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_by_hand_waits_for_a_host_in_memory() {
    a_request_waits_for_a_host(Store::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_by_hand_waits_for_a_host_on_a_file() {
    a_request_waits_for_a_host(Store::file()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_on_the_file_can_be_asked() {
    let store = Store::file();
    let (runs, asks) = (store.host(&[&definition()]).await, store.host(&[]).await);
    let id = runs.start_workflow("w", &Tally::default()).await.unwrap();
    has_failed(&asks, &id, 1).await;
    asks.skip(&id).await.unwrap();
    assert_eq!(completed(&asks, &id).await.sum, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_traits_alone_say_that_they_cannot_keep_such_a_request_and_a_resume_works() {
    let store = Store::plain();
    let host = store.host(&[&definition()]).await;
    let id = host.start_workflow("w", &Tally { numbers: vec![], sum: 2 }).await.unwrap();
    assert_eq!(completed(&host, &id).await.sum, 13);
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
    for refused in [host.skip(&id).await, host.resume_from(&id, "add").await] {
        assert!(matches!(refused, Err(WfeError::Unsupported(_))), "{refused:?}");
    }
    assert_eq!(host.status(&id).await.unwrap().state, State::Suspended);
    host.terminate(&id).await.unwrap();
    until(async || host.status(&id).await.unwrap().state == State::Terminated).await;
}
