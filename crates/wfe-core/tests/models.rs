//! The models: constructors, serde, and the two transition functions.

#![expect(clippy::disallowed_methods, reason = "the constructors that are tested read the system clock, too")]

use chrono::Utc;
use serde_json::{Value, json};
use wfe_core::{
    Advice, WfeError,
    models::{
        CommandName, Event, EventSubscription, ExecutionError, ExecutionPointer, PointerChange,
        PointerStatus, ScheduledCommand, StatusChange, WorkflowInstance, WorkflowStatus,
    },
};

#[test]
fn a_new_instance_is_runnable_and_due_now() {
    let instance = WorkflowInstance::new("order", 3, json!({"n": 1}));
    assert!(!instance.id.is_empty());
    assert_eq!(instance.name, "");
    assert_eq!((instance.workflow_definition_id.as_str(), instance.version), ("order", 3));
    assert_eq!(instance.status, WorkflowStatus::Runnable);
    assert_eq!(instance.next_execution, Some(0));
    assert!(instance.execution_pointers.is_empty() && instance.complete_time.is_none());
    assert_ne!(instance.id, WorkflowInstance::new("order", 3, json!({})).id);
}

#[test]
fn a_new_pointer_is_active_and_pending() {
    let pointer = ExecutionPointer::new(7);
    assert!(pointer.active && !pointer.id.is_empty());
    assert_eq!((pointer.step_id, pointer.status, pointer.retry_count), (7, PointerStatus::Pending, 0));
}

#[test]
fn the_other_constructors_take_any_text() {
    let event = Event::new("paid", String::from("o-1"), json!(1));
    assert!(!event.id.is_empty() && !event.is_processed);
    let wait = EventSubscription::new("w", 1, "p", "paid", "o-1", Utc::now());
    assert!(!wait.id.is_empty() && wait.external_token.is_none());
    let error = ExecutionError::new("w", "p", "broken");
    assert_eq!(error.message, "broken");
    let command = ScheduledCommand::process_event("e", -5);
    assert_eq!((command.command_name, command.execute_time), (CommandName::ProcessEvent, -5));
    assert_eq!(ScheduledCommand::process_workflow("w", 1).command_name, CommandName::ProcessWorkflow);
}

#[test]
fn serde_keeps_a_stored_null_different_from_an_absent_value() {
    let mut pointer = ExecutionPointer::new(0);
    pointer.outcome = Some(Value::Null);
    pointer.context_item = None;
    let text = serde_json::to_string(&pointer).unwrap();
    let back: ExecutionPointer = serde_json::from_str(&text).unwrap();
    assert_eq!(back, pointer);
    assert_eq!((back.outcome, back.context_item), (Some(Value::Null), None));
}

#[test]
fn a_branch_is_complete_when_every_pointer_in_its_scope_however_deep_has_ended() {
    let mut instance = WorkflowInstance::new("w", 1, json!({}));
    let scope = vec!["outer".to_owned()];
    assert!(instance.is_branch_complete(&scope));
    for (pointer_scope, status) in [
        (vec!["outer".to_owned()], PointerStatus::Complete),
        (vec!["outer".to_owned(), "inner".to_owned()], PointerStatus::Running),
        (vec!["elsewhere".to_owned()], PointerStatus::Pending),
    ] {
        let mut pointer = ExecutionPointer::new(0);
        (pointer.scope, pointer.status) = (pointer_scope, status);
        instance.execution_pointers.push(pointer);
    }
    assert!(!instance.is_branch_complete(&scope));
    instance.execution_pointers[1].status = PointerStatus::Skipped;
    assert!(instance.is_branch_complete(&scope));
    assert!(!instance.is_branch_complete(&[]));
}

#[test]
fn the_status_of_an_ended_instance_never_changes() {
    use StatusChange as On;
    for ended in [WorkflowStatus::Complete, WorkflowStatus::Terminated] {
        for change in [On::Suspend, On::Resume, On::Complete, On::Terminate] {
            assert!(
                matches!(ended.after(change), Err(WfeError::IllegalTransition { .. })),
                "{ended} {change:?}"
            );
        }
    }
    assert_eq!(WorkflowStatus::Runnable.after(On::Suspend).unwrap(), WorkflowStatus::Suspended);
    assert_eq!(WorkflowStatus::Suspended.after(On::Resume).unwrap(), WorkflowStatus::Runnable);
    assert!(WorkflowStatus::Suspended.after(On::Complete).is_err());
}

#[test]
fn an_ended_pointer_cannot_run_wake_complete_or_be_cancelled() {
    use PointerStatus as Is;
    for ended in [Is::Complete, Is::Skipped, Is::Compensated, Is::Cancelled] {
        for change in
            [PointerChange::Run, PointerChange::Wake, PointerChange::Complete, PointerChange::Cancel]
        {
            assert!(ended.after(change).is_err(), "{ended} {change:?}");
        }
    }
    assert_eq!(Is::Failed.after(PointerChange::Wake).unwrap(), Is::Pending);
    assert_eq!(Is::Complete.after(PointerChange::Compensate).unwrap(), Is::Compensated);
}

#[test]
fn an_error_tells_whether_to_retry_reload_or_give_up_and_keeps_its_source() {
    let busy = WfeError::Busy { message: "a writer".into(), source: Some("locked".into()) };
    assert_eq!(busy.advice(), Advice::Retry);
    assert_eq!(std::error::Error::source(&busy).unwrap().to_string(), "locked");
    assert_eq!(WfeError::CommitUnknown { message: String::new(), source: None }.advice(), Advice::Reload);
    assert_eq!(WfeError::LostOwnership("w".into()).advice(), Advice::Reload);
    assert_eq!(WfeError::Persistence("?".into()).advice(), Advice::GiveUp);
    let json: WfeError = serde_json::from_str::<u8>("x").unwrap_err().into();
    assert!(matches!(json, WfeError::Serialization(_)));
}

#[test]
fn an_error_says_what_happened_to_which_thing() {
    let missing = |version| WfeError::DefinitionNotFound { id: "w".to_owned(), version }.to_string();
    assert_eq!(missing(0), "no version of workflow definition \"w\" is registered with this host");
    assert_eq!(missing(3), "no version 3 of workflow definition \"w\" is registered with this host");
    let late = WfeError::TaskCompleted("a".to_owned()).to_string();
    assert_eq!(late, "task \"a\" is no longer open: already completed");
}
