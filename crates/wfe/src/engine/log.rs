//! What the engine logs of instances: one line for each change, after the commit that stores the change.
//!
//! Data, items, outcomes, events and their keys are never logged. The texts of the program's own errors are. If no
//! subscriber is interested in a line, none of its fields is computed. The guide (*Run it as a service*, *Logs*) lists the
//! lines.

use std::fmt::Display;

use wfe_core::{
    executor::{Follows, Lifecycle, LifecycleEvent, Run},
    logging,
    traits::{Deaths, Ending, StepFailure},
};

/// Logs a line with the fields that each line about an instance has.
macro_rules! line {
    ($level:ident, $event:expr, $message:literal $(, $($field:tt)+)?) => {
        logging::$level!(
            wfe.instance.id = &*$event.instance_id,
            wfe.definition.id = &*$event.definition_id,
            wfe.definition.version = $event.version,
            $($($field)+,)?
            $message
        )
    };
}

/// Logs a line about a failure of an instance. A failure without a step has neither a step nor an attempt.
macro_rules! failure {
    ($level:ident, $event:expr, $failure:expr, $message:literal $(, $($field:tt)+)?) => {{
        let failure: &StepFailure = $failure;
        let step = (!failure.step.is_empty()).then_some(&*failure.step);
        line!(
            $level, $event, $message,
            wfe.step.id = step,
            wfe.step.attempt = step.map(|_| failure.attempt),
            code = failure.code,
            error = %failure.text()
            $(, $($field)+)?
        )
    }};
}

/// Logs that an instance was started. Called after the start is stored. `restart_of` is the id of the ended instance that
/// the started one replaces.
pub(super) fn started(event: &LifecycleEvent, restart_of: Option<&str>) {
    line!(info, event, "the instance has started", restart_of = restart_of);
}

/// Logs the changes of an instance that its last commit has stored.
pub(super) fn committed(run: &Run, events: &[LifecycleEvent]) {
    for event in events {
        match &event.what {
            // The commit of an instance also starts its children.
            Lifecycle::Started => started(event, None),
            Lifecycle::Error(failure) if failure.step.is_empty() && is_reported_by(events, run, failure) => {}
            Lifecycle::Error(failure) if failure.step.is_empty() => {
                failure!(warn, event, failure, "the instance has a failure that no step caused");
            }
            Lifecycle::Error(failure) => attempt_failed(run, event, failure),
            Lifecycle::Completed => line!(info, event, "the instance has completed"),
            Lifecycle::Suspended => suspended(event, run.cause()),
            Lifecycle::Resumed => line!(info, event, "the instance is resumed"),
            Lifecycle::Retried => line!(info, event, "the instance is retried"),
            Lifecycle::Terminated { ending } => ended_early(event, *ending, run.cause()),
            // The steps that begin and complete are seen in their spans.
            _ => {}
        }
    }
}

/// Logs that an instance was suspended or ended because its stored state cannot be read. Called after the change is stored.
pub(super) fn quarantined(event: &LifecycleEvent, failure: &StepFailure) {
    match event.what {
        Lifecycle::Terminated { ending } => ended_early(event, ending, Some(failure)),
        Lifecycle::Suspended => suspended(event, Some(failure)),
        _ => {}
    }
}

/// Logs that this host works on an instance whose process has crashed since the instance's last commit.
pub(super) fn taken_over(run: &Run, deaths: Deaths) {
    if deaths.in_a_row > 0 {
        let definition = run.definition();
        logging::warn!(
            wfe.instance.id = run.id(),
            wfe.definition.id = definition.id(),
            wfe.definition.version = definition.version(),
            crashes = deaths.in_a_row,
            "the instance was taken over: the process that ran it has crashed"
        );
    }
}

fn attempt_failed(run: &Run, event: &LifecycleEvent, failure: &StepFailure) {
    failure!(
        warn,
        event,
        failure,
        "an attempt of the step has failed",
        next = run.follows(failure).name(),
        next_attempt = time_of(run.follows(failure)).map(logging::tracing::field::display)
    );
}

/// The time of the next attempt, in RFC 3339.
fn time_of(follows: Follows) -> Option<impl Display> {
    let Follows::Attempt(Some(at)) = follows else { return None };
    Some(at.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// Whether another line of the same commit has this failure as its cause.
fn is_reported_by(events: &[LifecycleEvent], run: &Run, failure: &StepFailure) -> bool {
    let is_end = |event: &LifecycleEvent| {
        matches!(event.what, Lifecycle::Suspended | Lifecycle::Terminated { ending: Ending::Failed })
    };
    run.cause() == Some(failure) && events.iter().any(is_end)
}

fn suspended(event: &LifecycleEvent, cause: Option<&StepFailure>) {
    match cause {
        None => line!(info, event, "the instance is suspended by a request"),
        Some(cause) if cause.step.is_empty() => {
            failure!(
                error,
                event,
                cause,
                "the instance is quarantined: it is suspended until it is repaired and resumed"
            );
        }
        Some(cause) => failure!(error, event, cause, "the instance is suspended: a step has failed"),
    }
}

fn ended_early(event: &LifecycleEvent, ending: Ending, cause: Option<&StepFailure>) {
    match (ending, cause) {
        (Ending::Failed, Some(cause)) => failure!(error, event, cause, "the instance has failed"),
        (Ending::Failed, None) => line!(error, event, "the instance has failed"),
        (Ending::Cancelled, _) => line!(info, event, "the instance was cancelled"),
        (Ending::Terminated | Ending::Completed, _) => line!(info, event, "the instance was terminated"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use chrono::DateTime;
    use tracing::subscriber::{NoSubscriber, with_default};
    use wfe_core::models::ExecutionError;

    use super::*;

    #[test]
    fn nothing_is_computed_for_a_line_in_which_nobody_is_interested() {
        let event = LifecycleEvent {
            instance_id: "i".into(),
            definition_id: "w".into(),
            version: 1,
            time: DateTime::UNIX_EPOCH,
            what: Lifecycle::Suspended,
        };
        let error = ExecutionError {
            error_time: DateTime::UNIX_EPOCH,
            workflow_id: "i".to_owned(),
            execution_pointer_id: "s".to_owned(),
            message: "no".to_owned(),
        };
        let (step, code) = ("s".to_owned(), "error".to_owned());
        let failure = StepFailure { error, step, attempt: 1, code, causes: Vec::new() };
        let computed = Cell::new(0);
        let compute = || computed.replace(computed.get() + 1);
        let log = || failure!(warn, &event, &failure, "a line", next = compute());
        with_default(NoSubscriber::default(), log);
        assert_eq!(computed.get(), 0);
        with_default(tracing_subscriber::fmt().with_writer(std::io::sink).finish(), log);
        assert_eq!(computed.get(), 1);
    }
}
