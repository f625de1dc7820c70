use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wfe_core::{
    models::ExecutionError,
    steps::UserTaskView,
    traits::{Control, Intervention},
};

use super::*;

fn time() -> DateTime<Utc> {
    // To be shown in full in JSON, and to the second in a text.
    "2026-01-05T08:00:00.25Z".parse().unwrap()
}

fn failure() -> StepFailure {
    StepFailure {
        error: ExecutionError {
            error_time: time(),
            workflow_id: "i".to_owned(),
            execution_pointer_id: "pay".to_owned(),
            message: "closed".to_owned(),
        },
        step: "pay".to_owned(),
        attempt: 1,
        code: "bank".to_owned(),
        causes: vec!["closed".to_owned()],
    }
}

fn failure_json() -> Value {
    let time = "2026-01-05T08:00:00.250Z";
    json!({ "step": "pay", "attempt": 1, "code": "bank", "message": "closed", "time": time, "pointer": "pay" })
}

fn at(step: &str, waits: Waits) -> Position {
    Position { step: step.to_owned(), pointer: format!("each/1/{step}"), item: None, waits }
}

fn event() -> Waits {
    Waits::Event { name: "approved".to_owned(), key: "order-1".to_owned(), until: None }
}

fn running() -> InstanceStatus {
    InstanceStatus {
        id: "i".to_owned(),
        definition: "order".to_owned(),
        version: 1,
        reference: None,
        name: None,
        description: None,
        attributes: Map::new(),
        is_registered: true,
        state: State::Running,
        request: None,
        closing: None,
        cause: None,
        blocked: None,
        due: None,
        current_steps: vec!["approval".to_owned()],
        positions: vec![at("approval", event())],
        for_each: Vec::new(),
        end_step: None,
        parent: None,
        create_time: time(),
        complete_time: None,
        retried: None,
        restart_of: None,
        restarted_as: None,
    }
}

/// Each thing that a pointer can wait for, with its text and its JSON. The limits, claims and failures that it can have
/// are there once, and left out once.
fn all_waits() -> Vec<(Waits, &'static str, Value)> {
    let (t, id) = ("2026-01-05T08:00:00.250Z", || "id".to_owned());
    let task = |assignee: Option<&str>| {
        let stored = json!({ "step": "decide", "prompt": "Go?", "options": ["yes"], "assignee": assignee });
        UserTaskView::deserialize(stored).unwrap()
    };
    let held = || Some(Held { worker: Some("worker 1".to_owned()), until: Some(time()) });
    let somebody = Held { worker: None, until: None };
    vec![
        (
            Waits::Running { since: Some(time()) },
            "runs since 2026-01-05 08:00:00 UTC",
            json!({ "for": "running", "since": t }),
        ),
        (Waits::Running { since: None }, "runs, or is about to, on a host", json!({ "for": "running" })),
        (Waits::Slot, "waits for a free slot", json!({ "for": "slot" })),
        (
            Waits::AttemptBefore,
            "waits for the end of its earlier attempt",
            json!({ "for": "attempt_before" }),
        ),
        (Waits::Due, "is due, and waits for a host", json!({ "for": "due" })),
        (
            Waits::Timer { until: time() },
            "waits until 2026-01-05 08:00:00 UTC",
            json!({ "for": "timer", "until": t }),
        ),
        (
            Waits::Tick { next: time() },
            "waits for its next tick at 2026-01-05 08:00:00 UTC",
            json!({ "for": "tick", "next": t }),
        ),
        (
            Waits::Retry { at: time(), attempt: 2, last_failure: Some(Box::new(failure())) },
            "waits for attempt 2 at 2026-01-05 08:00:00 UTC after a failure: step \"pay\" (attempt 1, code \"bank\"): \
             closed",
            json!({ "for": "retry", "at": t, "attempt": 2, "last_failure": failure_json() }),
        ),
        (
            Waits::Retry { at: time(), attempt: 2, last_failure: None },
            "waits for attempt 2 at 2026-01-05 08:00:00 UTC",
            json!({ "for": "retry", "at": t, "attempt": 2 }),
        ),
        (
            event(),
            "waits for event \"approved\" with key \"order-1\"",
            json!({ "for": "event", "name": "approved", "key": "order-1" }),
        ),
        (
            Waits::Event { name: "a\nb".to_owned(), key: "k".to_owned(), until: Some(time()) },
            "waits for event \"a\\nb\" with key \"k\" until 2026-01-05 08:00:00 UTC",
            json!({ "for": "event", "name": "a\nb", "key": "k", "until": t }),
        ),
        (
            Waits::Activity { name: "pack".to_owned(), id: id(), held: held(), until: Some(time()) },
            "waits for worker \"worker 1\" (lease until 2026-01-05 08:00:00 UTC) to do \"pack\" until 2026-01-05 \
             08:00:00 UTC",
            json!({
                "for": "activity", "name": "pack", "id": "id", "until": t,
                "held": { "worker": "worker 1", "until": t },
            }),
        ),
        (
            Waits::Activity { name: "pack".to_owned(), id: id(), held: None, until: None },
            "waits for a worker that does \"pack\"",
            json!({ "for": "activity", "name": "pack", "id": "id" }),
        ),
        (
            Waits::UserTask { id: id(), task: Some(task(Some("Mr Bell"))), held: None, until: Some(time()) },
            "waits for \"Mr Bell\" to answer \"Go?\" until 2026-01-05 08:00:00 UTC",
            json!({
                "for": "user_task", "id": "id", "step": "decide", "prompt": "Go?", "assignee": "Mr Bell",
                "options": ["yes"], "until": t,
            }),
        ),
        (
            Waits::UserTask { id: id(), task: Some(task(None)), held: None, until: None },
            "waits for anyone to answer \"Go?\"",
            json!({ "for": "user_task", "id": "id", "step": "decide", "prompt": "Go?", "options": ["yes"] }),
        ),
        (
            Waits::UserTask { id: id(), task: None, held: Some(somebody), until: None },
            "waits for a user to answer a question that cannot be read",
            json!({ "for": "user_task", "id": "id", "held": {} }),
        ),
        (
            Waits::Child { id: id(), until: Some(time()) },
            "waits for child workflow \"id\" until 2026-01-05 08:00:00 UTC",
            json!({ "for": "child", "id": "id", "until": t }),
        ),
        (Waits::Resume, "has failed, and waits for a request to resume", json!({ "for": "resume" })),
    ]
}

#[test]
fn what_a_pointer_waits_for_has_a_text_and_a_json() {
    for (waits, text, json) in all_waits() {
        assert_eq!(waits.to_string(), text);
        assert_eq!(serde_json::to_value(&waits).unwrap(), json);
        let position = at("a step", waits);
        assert_eq!(position.to_string(), format!("a step {text}"));
        let whole = json!({ "step": "a step", "pointer": "each/1/a step", "waits": json });
        assert_eq!(serde_json::to_value(&position).unwrap(), whole);
        let of_item = Position { item: Some(Value::Null), ..position };
        assert_eq!(serde_json::to_value(&of_item).unwrap()["item"], json!(null));
    }
}

#[test]
fn a_status_leaves_out_what_is_absent() {
    assert_eq!(
        serde_json::to_value(running()).unwrap(),
        json!({
            "id": "i", "definition": "order", "version": 1, "state": "running",
            "positions": [{
                "step": "approval", "pointer": "each/1/approval",
                "waits": { "for": "event", "name": "approved", "key": "order-1" },
            }],
            "create_time": "2026-01-05T08:00:00.250Z",
        })
    );
}

#[test]
fn a_status_is_serialised_flat() {
    let mut lines = ExecutionPointer::new(0);
    lines.status = PointerStatus::Running;
    lines.step_name = Some("lines".to_owned());
    lines.persistence_data = Some(json!({ "next": 3, "total": 10 }));
    let status = InstanceStatus {
        state: State::Suspended,
        reference: Some("order-17".to_owned()),
        name: Some("the order of Ann".to_owned()),
        description: Some("two chairs".to_owned()),
        request: Some(ControlRequest {
            number: 1,
            control: Control::Resume,
            intervention: Some(Intervention::Skip),
        }),
        closing: Some(Ending::Cancelled),
        cause: Some(failure()),
        blocked: Some(Blocked::Suspended(Some(Box::new(failure())))),
        due: Some(from_millis(1_000)),
        positions: Vec::new(),
        for_each: vec![ForEachProgress::of(&lines).unwrap()],
        end_step: Some("rejected".to_owned()),
        parent: Some("p".to_owned()),
        complete_time: Some(time() + TimeDelta::milliseconds(750)),
        retried: Some(time()),
        restart_of: Some("h".to_owned()),
        restarted_as: Some("j".to_owned()),
        attributes: [("customer".to_owned(), json!("Ann"))].into_iter().collect(),
        ..running()
    };
    assert_eq!(
        serde_json::to_value(status).unwrap(),
        json!({
            "id": "i", "definition": "order", "version": 1, "state": "suspended",
            "reference": "order-17", "name": "the order of Ann", "description": "two chairs",
            "attributes": { "customer": "Ann" },
            "request": "skip", "closing": "cancelled", "cause": failure_json(), "blocked": "suspended",
            "due": "1970-01-01T00:00:01Z", "positions": [],
            "for_each": [{ "step": "lines", "done": 3, "total": 10 }],
            "end_step": "rejected", "parent": "p",
            "create_time": "2026-01-05T08:00:00.250Z", "complete_time": "2026-01-05T08:00:01Z",
            "retried": "2026-01-05T08:00:00.250Z", "restart_of": "h", "restarted_as": "j",
        })
    );
    let missing = Blocked::DefinitionMissing { id: "order".to_owned(), version: 1 };
    assert_eq!(serde_json::to_value(missing).unwrap(), "definition_missing");
}

#[test]
fn a_request_is_one_word() {
    let word = |control, intervention| json::word(&ControlRequest { number: 1, control, intervention });
    let from = Intervention::ResumeFrom("a".to_owned());
    let words = [
        word(Control::Suspend, None),
        word(Control::Resume, None),
        word(Control::Resume, Some(Intervention::Skip)),
        word(Control::Resume, Some(from)),
        word(Control::Cancel, None),
        word(Control::Terminate, None),
    ];
    assert_eq!(words, ["suspend", "resume", "skip", "resume_from", "cancel", "terminate"]);
}

#[test]
fn a_status_is_printed_in_one_line() {
    let text = |status: InstanceStatus| status.to_string();
    let about = "instance \"i\" of order (version 1)";
    let waits = "approval waits for event \"approved\" with key \"order-1\"";
    assert_eq!(text(running()), format!("{about} is running: {waits}"));
    assert_eq!(text(InstanceStatus { positions: Vec::new(), ..running() }), format!("{about} is running"));
    let five = (0..5).map(|n| at(&n.to_string(), Waits::Due)).collect();
    let due = "is due, and waits for a host";
    assert_eq!(
        text(InstanceStatus { positions: five, closing: Some(Ending::Failed), ..running() }),
        format!("{about} is running, and will end as failed: 0 {due}; 1 {due}; 2 {due}; and 2 more")
    );
    let blocked = Some(Blocked::DefinitionMissing { id: "order".to_owned(), version: 1 });
    let request = Some(ControlRequest { number: 1, control: Control::Cancel, intervention: None });
    assert_eq!(
        text(InstanceStatus { request, blocked, ..running() }),
        format!("{about} waits for a host on which its definition is registered; requested: cancel")
    );
    let end = |state, cause| text(InstanceStatus { state, cause, ..running() });
    let at_pay = "step \"pay\" (attempt 1, code \"bank\"): closed";
    assert_eq!(end(State::Suspended, Some(failure())), format!("{about} is suspended by {at_pay}"));
    assert_eq!(end(State::Suspended, None), format!("{about} is suspended by a request"));
    assert_eq!(end(State::Failed, Some(failure())), format!("{about} has failed at {at_pay}"));
    assert_eq!(end(State::Cancelled, None), format!("{about} was cancelled"));
    assert_eq!(end(State::Terminated, None), format!("{about} was terminated"));
    assert_eq!(end(State::Completed, None), format!("{about} has completed"));
    let ended =
        InstanceStatus { state: State::Completed, end_step: Some("rejected".to_owned()), ..running() };
    assert_eq!(text(ended), format!("{about} has completed at \"rejected\""));
}

#[test]
fn the_word_of_a_state_is_that_of_its_json() {
    use State::{Cancelled, Completed, Failed, Running, Suspended, Terminated};
    for state in [Running, Suspended, Completed, Failed, Cancelled, Terminated] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
        assert_eq!(state.is_final(), !matches!(state, Running | Suspended));
    }
    // A direct write of the whole instance stores no ending.
    assert_eq!(State::of(WorkflowStatus::Complete, None), Completed);
    assert_eq!(State::of(WorkflowStatus::Terminated, None), Terminated);
    assert_eq!(State::of(WorkflowStatus::Terminated, Some(Ending::Failed)), Failed);
}

#[test]
fn every_number_of_milliseconds_is_a_time() {
    assert_eq!(from_millis(1_500), DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_500));
    assert_eq!(from_millis(i64::MIN), DateTime::<Utc>::MIN_UTC);
    assert_eq!(from_millis(i64::MAX), DateTime::<Utc>::MAX_UTC);
}
