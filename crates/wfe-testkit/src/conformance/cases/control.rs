//! Control requests: a caller can suspend, resume or end an instance, whether or not the instance is running.

use wfe_core::{
    NoEffectReason,
    traits::{Control, ControlRequest, Ending, Intervention, Requested},
};

use super::{claiming::claim, prelude::*};

cases! { "control":
    a_pending_request_leaves_its_instance_unchanged,
    a_request_for_an_unknown_instance_is_refused,
    a_commit_that_does_not_name_the_pending_request_writes_nothing_and_reports_it,
    a_commit_that_names_the_pending_request_stores_its_effect_and_clears_it,
    a_commit_that_names_an_older_request_writes_nothing_and_reports_the_newer_one,
    a_wrong_fence_comes_before_a_pending_request,
    a_newer_request_replaces_an_older_one,
    nothing_replaces_a_pending_terminate,
    only_terminate_replaces_a_pending_cancel,
    a_request_after_the_end_is_refused_and_names_the_end,
    a_request_for_what_holds_already_is_redundant,
    a_request_that_is_pending_already_is_redundant,
    only_a_suspended_instance_can_be_resumed,
    plain_writes_do_not_change_a_pending_request,
    numbers_of_requests_grow_after_one_was_applied,
    a_request_is_for_one_instance_only,
    a_commit_stores_requests_to_other_instances_even_to_those_that_it_creates,
    requests_of_a_commit_to_unknown_and_ended_instances_have_no_effect,
    a_commit_replaces_no_stronger_request_of_another_instance,
    a_refused_commit_stores_no_request,
    a_request_outlives_its_provider,
    an_intervention_is_a_pending_resume_with_details,
    an_intervention_is_reported_and_cleared_as_a_request_is,
    an_intervention_is_replaced_and_replaces_as_a_resume_does,
    an_intervention_needs_a_suspended_instance,
}

async fn waiting(store: &Store) -> Checked<Option<ControlRequest>> {
    Ok(steps(store)?.load("i").await?.control)
}

/// Makes a request that is accepted, and returns the pending request. The case fails if no request is pending.
async fn requested(store: &Store, control: Control) -> Checked<ControlRequest> {
    assert_eq!(steps(store)?.request("i", control).await?, Requested::Accepted, "{control}");
    match waiting(store).await? {
        Some(request) => Ok(request),
        None => unmet("no request waits"),
    }
}

/// Makes a request that is redundant: it changes nothing.
async fn redundant(store: &Store, control: Control) -> Checked<()> {
    let before = steps(store)?.load("i").await?;
    assert_eq!(steps(store)?.request("i", control).await?, Requested::Redundant, "{control}");
    assert_eq!(steps(store)?.load("i").await?, before);
    Ok(())
}

fn suspended(id: &str) -> WorkflowInstance {
    WorkflowInstance { status: WorkflowStatus::Suspended, ..parked(id) }
}

fn changed() -> StepCommit {
    StepCommit {
        data: Some(json!("changed")),
        upserted: vec![pointer("new")],
        published: vec![event("e", "name", "key", second(0))],
        release: true,
        ..commit("i")
    }
}

async fn a_pending_request_leaves_its_instance_unchanged(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, _fence) = owned(&store, &instance("i")).await?;
    assert_eq!(waiting(&store).await?, None);
    assert_eq!(requested(&store, Control::Suspend).await?.control, Control::Suspend);
    assert_eq!(store.get_workflow_instance("i").await?, instance("i"));
    Ok(())
}

async fn a_request_for_an_unknown_instance_is_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    assert_err!(
        steps.request("unknown", Control::Cancel).await,
        WfeError::WorkflowNotFound(id) if id == "unknown"
    );
    assert_err!(steps.load("unknown").await, WfeError::WorkflowNotFound(id) if id == "unknown");
    Ok(())
}

async fn a_commit_that_does_not_name_the_pending_request_writes_nothing_and_reports_it(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for control in [Control::Suspend, Control::Resume, Control::Cancel, Control::Terminate] {
        let request = requested(&store, control).await?;
        assert_eq!(request.control, control);
        let reported = steps(&store)?.commit_step(fence, &changed()).await?;
        assert_eq!(reported, Committed::Control(request.clone()));
        assert_eq!(store.get_workflow_instance("i").await?, instance("i"));
        assert_err!(store.get_event("e").await, WfeError::EventNotFound(_));
        assert_eq!(waiting(&store).await?.as_ref(), Some(&request));
    }
    Ok(())
}

async fn a_commit_that_names_the_pending_request_stores_its_effect_and_clears_it(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let request = requested(&store, Control::Suspend).await?;
    let applied = StepCommit {
        status: Some(WorkflowStatus::Suspended),
        applied: Some(request.number),
        release: false,
        ..changed()
    };
    done(&store, fence, applied).await?;
    let stored = store.get_workflow_instance("i").await?;
    assert_eq!((stored.status, stored.data), (WorkflowStatus::Suspended, json!("changed")));
    assert_eq!(waiting(&store).await?, None);
    done(&store, fence, commit("i")).await
}

async fn a_commit_that_names_an_older_request_writes_nothing_and_reports_the_newer_one(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let older = requested(&store, Control::Suspend).await?;
    let newer = requested(&store, Control::Terminate).await?;
    assert!(newer.number > older.number);
    let applied = StepCommit { applied: Some(older.number), ..changed() };
    let reported = steps(&store)?.commit_step(fence, &applied).await?;
    assert_eq!(reported, Committed::Control(newer.clone()));
    assert_eq!(store.get_workflow_instance("i").await?, instance("i"));
    assert_eq!(waiting(&store).await?.as_ref(), Some(&newer));
    Ok(())
}

async fn a_wrong_fence_comes_before_a_pending_request(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let request = requested(&store, Control::Suspend).await?;
    for applied in [None, Some(request.number)] {
        let commit = StepCommit { applied, ..changed() };
        assert_eq!(steps(&store)?.commit_step(Fence(fence.0 + 1), &commit).await?, Committed::Lost);
    }
    assert_eq!(waiting(&store).await?.as_ref(), Some(&request));
    Ok(())
}

async fn a_newer_request_replaces_an_older_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, _fence) = owned(&store, &instance("i")).await?;
    let mut last = 0;
    for control in [Control::Suspend, Control::Resume, Control::Suspend, Control::Cancel, Control::Terminate]
    {
        let request = requested(&store, control).await?;
        assert_eq!(request.control, control);
        assert!(request.number > last);
        last = request.number;
    }
    Ok(())
}

async fn nothing_replaces_a_pending_terminate(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, _fence) = owned(&store, &instance("i")).await?;
    let pending = requested(&store, Control::Terminate).await?;
    for control in [Control::Suspend, Control::Resume, Control::Cancel] {
        assert_err!(
            steps(&store)?.request("i", control).await,
            WfeError::NoEffect { reason: NoEffectReason::Superseded(Control::Terminate), .. }
        );
        assert_eq!(waiting(&store).await?.as_ref(), Some(&pending));
    }
    redundant(&store, Control::Terminate).await
}

async fn only_terminate_replaces_a_pending_cancel(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, _fence) = owned(&store, &instance("i")).await?;
    let pending = requested(&store, Control::Cancel).await?;
    for control in [Control::Suspend, Control::Resume] {
        assert_err!(
            steps(&store)?.request("i", control).await,
            WfeError::NoEffect { reason: NoEffectReason::Superseded(Control::Cancel), .. }
        );
        assert_eq!(waiting(&store).await?.as_ref(), Some(&pending));
    }
    redundant(&store, Control::Cancel).await?;
    assert_eq!(requested(&store, Control::Terminate).await?.control, Control::Terminate);
    Ok(())
}

async fn a_request_after_the_end_is_refused_and_names_the_end(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for (status, ending) in [
        (WorkflowStatus::Complete, Ending::Completed),
        (WorkflowStatus::Terminated, Ending::Failed),
        (WorkflowStatus::Terminated, Ending::Cancelled),
        (WorkflowStatus::Terminated, Ending::Terminated),
    ] {
        let id = format!("{ending:?}");
        let (_owner, fence) = owned(&store, &instance(&id)).await?;
        let ended = StepCommit { status: Some(status), ending: Some(ending), release: true, ..commit(&id) };
        done(&store, fence, ended).await?;
        let before = steps.load(&id).await?;
        for control in [Control::Resume, Control::Suspend, Control::Cancel, Control::Terminate] {
            assert_err!(
                steps.request(&id, control).await,
                WfeError::NoEffect { id: told, request, reason: NoEffectReason::Ended(how) }
                    if told == id && request == control.verb(None) && how == ending
            );
            assert_eq!(steps.load(&id).await?, before);
        }
        let owner = steps.register().await?;
        assert_eq!(steps.claim(&owner, &definitions(), bench.now(), 9).await?, []);
        // The request is removed and not merely hidden: it does not reappear when the instance is made runnable again
        // by hand.
        store.persist_workflow(&parked(&id)).await?;
        assert_eq!(steps.load(&id).await?.control, None);
    }
    Ok(())
}

async fn a_request_for_what_holds_already_is_redundant(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&suspended("i")).await?;
    redundant(&store, Control::Suspend).await?;
    // A pending resume would end the suspension, so a new request to suspend is not redundant.
    requested(&store, Control::Resume).await?;
    assert_eq!(requested(&store, Control::Suspend).await?.control, Control::Suspend);
    Ok(())
}

async fn a_request_that_is_pending_already_is_redundant(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&suspended("i")).await?;
    let (_other, _fence) = owned(&store, &instance("j")).await?;
    assert_eq!(steps(&store)?.request("j", Control::Suspend).await?, Requested::Accepted);
    assert_eq!(steps(&store)?.request("j", Control::Suspend).await?, Requested::Redundant);
    for control in [Control::Resume, Control::Cancel, Control::Terminate] {
        requested(&store, control).await?;
        redundant(&store, control).await?;
    }
    Ok(())
}

async fn only_a_suspended_instance_can_be_resumed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    assert_err!(
        steps(&store)?.request("i", Control::Resume).await,
        WfeError::NoEffect { request: "resume", reason: NoEffectReason::NotSuspended, .. }
    );
    assert_eq!(waiting(&store).await?, None);
    let suspend = requested(&store, Control::Suspend).await?;
    let applied =
        StepCommit { status: Some(WorkflowStatus::Suspended), applied: Some(suspend.number), ..commit("i") };
    done(&store, fence, applied).await?;
    assert_eq!(requested(&store, Control::Resume).await?.control, Control::Resume);
    Ok(())
}

async fn plain_writes_do_not_change_a_pending_request(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let request = requested(&store, Control::Cancel).await?;
    store.persist_workflow(&WorkflowInstance { data: json!("plain"), ..instance("i") }).await?;
    assert_eq!(waiting(&store).await?.as_ref(), Some(&request));
    let reported = steps(&store)?.commit_step(fence, &changed()).await?;
    assert_eq!(reported, Committed::Control(request.clone()));
    assert_eq!(store.get_workflow_instance("i").await?.data, "plain");
    Ok(())
}

async fn numbers_of_requests_grow_after_one_was_applied(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let mut last = 0;
    for _ in 0..3 {
        let request = requested(&store, Control::Suspend).await?;
        assert!(request.number > last);
        last = request.number;
        done(&store, fence, StepCommit { applied: Some(last), ..commit("i") }).await?;
    }
    Ok(())
}

async fn a_request_is_for_one_instance_only(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, _fence) = owned(&store, &instance("i")).await?;
    let (_other, fence) = owned(&store, &instance("j")).await?;
    requested(&store, Control::Terminate).await?;
    assert_eq!(steps(&store)?.load("j").await?.control, None);
    done(&store, fence, commit("j")).await
}

/// A commit that contains control requests for other instances.
fn asking(asked: &[(&str, Control)]) -> StepCommit {
    let requested = asked.iter().map(|&(id, control)| (id.to_owned(), control)).collect();
    StepCommit { requested, ..commit("i") }
}

async fn a_commit_stores_requests_to_other_instances_even_to_those_that_it_creates(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &parked("i")).await?;
    steps.start(None, &parked("j")).await?;
    let asking = StepCommit {
        created: vec![parked("child")],
        ..asking(&[("child", Control::Suspend), ("j", Control::Terminate)])
    };
    done(&store, fence, asking).await?;
    for (id, control) in [("child", Some(Control::Suspend)), ("j", Some(Control::Terminate)), ("i", None)] {
        assert_eq!(steps.load(id).await?.control.map(|request| request.control), control, "{id}");
    }
    assert_eq!(claim(&bench, &store, &owner).await?, ["child", "j"]);
    Ok(())
}

async fn requests_of_a_commit_to_unknown_and_ended_instances_have_no_effect(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let ended = WorkflowInstance { status: WorkflowStatus::Complete, ..parked("ended") };
    store.create_new_workflow(&ended).await?;
    let asking = StepCommit {
        data: Some(json!("changed")),
        ..asking(&[("unknown", Control::Cancel), ("ended", Control::Cancel)])
    };
    done(&store, fence, asking).await?;
    assert_eq!(store.get_workflow_instance("i").await?.data, "changed");
    assert_eq!(steps.load("ended").await?.control, None);
    Ok(())
}

async fn a_commit_replaces_no_stronger_request_of_another_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    store.create_new_workflow(&parked("j")).await?;
    steps.request("j", Control::Cancel).await?;
    let before = steps.load("j").await?.control;
    done(&store, fence, asking(&[("j", Control::Suspend)])).await?;
    assert_eq!(steps.load("j").await?.control, before);
    Ok(())
}

async fn a_refused_commit_stores_no_request(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    store.create_new_workflow(&parked("j")).await?;
    let asking = asking(&[("j", Control::Cancel)]);
    assert_eq!(steps(&store)?.commit_step(Fence(fence.0 + 1), &asking).await?, Committed::Lost);
    assert_eq!(steps(&store)?.load("j").await?.control, None);
    Ok(())
}

async fn a_request_outlives_its_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, _fence) = owned(&store, &instance("i")).await?;
    let request = requested(&store, Control::Cancel).await?;
    drop(owner);
    let store = bench.reopen(store).await?;
    assert_eq!(waiting(&store).await?.as_ref(), Some(&request));
    Ok(())
}

/// Requests the intervention, and returns the pending request. Skips the case if the store does not support
/// interventions.
async fn intervened(store: &Store, intervention: &Intervention) -> Checked<ControlRequest> {
    assert_eq!(offered(steps(store)?.intervene("i", intervention).await)?, Requested::Accepted);
    match waiting(store).await? {
        Some(request) => Ok(request),
        None => unmet("no request waits"),
    }
}

async fn an_intervention_is_a_pending_resume_with_details(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let suspended = suspended("i");
    store.create_new_workflow(&suspended).await?;
    let mut last = 0;
    for step in ["pack", "", "with a blank", "9 {\"\0\"} ü"] {
        for wanted in [Intervention::Skip, Intervention::ResumeFrom(step.to_owned())] {
            let request = intervened(&store, &wanted).await?;
            assert!(request.number > last);
            last = request.number;
            let expected =
                ControlRequest { number: last, control: Control::Resume, intervention: Some(wanted) };
            assert_eq!(request, expected);
        }
    }
    assert_eq!(store.get_workflow_instance("i").await?, suspended);
    let owner = steps(&store)?.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    Ok(())
}

async fn an_intervention_is_reported_and_cleared_as_a_request_is(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    done(&store, fence, StepCommit { status: Some(WorkflowStatus::Suspended), ..commit("i") }).await?;
    let request = intervened(&store, &Intervention::ResumeFrom("pack".to_owned())).await?;
    let reported = steps(&store)?.commit_step(fence, &changed()).await?;
    assert_eq!(reported, Committed::Control(request.clone()));
    done(&store, fence, StepCommit { applied: Some(request.number), ..commit("i") }).await?;
    assert_eq!(waiting(&store).await?, None);
    assert_eq!(requested(&store, Control::Resume).await?.intervention, None, "nothing is left of it");
    Ok(())
}

async fn an_intervention_is_replaced_and_replaces_as_a_resume_does(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&suspended("i")).await?;
    let from = |step: &str| Intervention::ResumeFrom(step.to_owned());
    assert_eq!(intervened(&store, &Intervention::Skip).await?.intervention, Some(Intervention::Skip));
    assert_eq!(requested(&store, Control::Resume).await?.intervention, None);
    intervened(&store, &from("a")).await?;
    let pending = intervened(&store, &from("b")).await?;
    assert_eq!(pending.intervention, Some(from("b")));
    assert_eq!(steps(&store)?.intervene("i", &from("b")).await?, Requested::Redundant);
    assert_eq!(waiting(&store).await?.as_ref(), Some(&pending));
    for control in [Control::Cancel, Control::Terminate] {
        let stronger = requested(&store, control).await?;
        assert_eq!((stronger.control, stronger.intervention.clone()), (control, None));
        assert_err!(
            steps(&store)?.intervene("i", &Intervention::Skip).await,
            WfeError::NoEffect { request: "skip", reason: NoEffectReason::Superseded(by), .. } if by == control
        );
        assert_eq!(waiting(&store).await?.as_ref(), Some(&stronger));
    }
    Ok(())
}

async fn an_intervention_needs_a_suspended_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, _fence) = owned(&store, &instance("i")).await?;
    let suspend = requested(&store, Control::Suspend).await?;
    let told = steps.intervene("i", &Intervention::ResumeFrom("pack".to_owned())).await;
    if let Err(WfeError::Unsupported(_)) = told {
        return offered(told).map(drop);
    }
    assert_err!(
        told,
        WfeError::NoEffect { request: "resume_from", reason: NoEffectReason::NotSuspended, .. }
    );
    assert_eq!(waiting(&store).await?, Some(suspend), "it is not withdrawn");
    store
        .create_new_workflow(&WorkflowInstance { status: WorkflowStatus::Complete, ..parked("ended") })
        .await?;
    assert_err!(
        steps.intervene("ended", &Intervention::Skip).await,
        WfeError::NoEffect { reason: NoEffectReason::Ended(Ending::Completed), .. }
    );
    assert_err!(
        steps.intervene("unknown", &Intervention::Skip).await,
        WfeError::WorkflowNotFound(id) if id == "unknown"
    );
    Ok(())
}
