use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::StepStore;
use super::{Control, Ending};
use crate::{NoEffectReason, Result, WfeError, models::WorkflowStatus};

/// A way to resume a suspended instance other than running its failed steps again.
///
/// An instance does not change if it is not suspended when the request reaches it. If a suspended instance
/// cannot resume in the requested way, the instance does not change, and the reason is stored as a failure with
/// the code [`INTERVENTION`](crate::steps::StepError::INTERVENTION).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intervention {
    /// Skips each failed step: the instance continues after it, as if the failed step had completed without an
    /// outcome. The step's outputs are not applied, and its failure stays stored. An instance without a failed
    /// step cannot resume in this way.
    ///
    /// The enclosing saga treats a skipped step as one that has failed. If the saga is compensated later, the
    /// step's compensation by `compensate_with` does not run, and its compensation by
    /// `compensate_even_if_failed` does. The failure that this compensation receives has the code
    /// [`CANCELLED`](crate::steps::StepError::CANCELLED). If a container is skipped, the saga compensates, one by one, the steps that completed inside
    /// the container. If a step of a compensation is skipped, the compensation continues after the skipped
    /// step. The step whose effects the compensation reverts then counts as compensated.
    Skip,
    /// Resumes from the step with this stable id. The step begins anew with a new execution pointer, which has
    /// its own attempts and its own idempotency key. The step must belong to the main path, to the sequence in
    /// which a step has failed, or to a sequence that encloses the failed step.
    ///
    /// Everything else that is active in the step's sequence (subscriptions, side branches, children, running
    /// bodies) is cancelled first, as by a cancel condition. An active saga in the sequence is not compensated,
    /// so its effects stay. If steps have failed in several runs of the sequence (iterations, for example),
    /// each of these runs continues from the given step. Steps that have failed in other sequences run again.
    /// An instance cannot resume in this way if one of its sagas would remain half compensated.
    ResumeFrom(String),
}

/// A pending control request, stored alongside its instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ControlRequest {
    /// A number that grows with every request for this instance.
    pub number: u64,
    /// The kind of the request.
    pub control: Control,
    /// How to resume, if this request is a [`Control::Resume`] that was stored by
    /// [`intervene`](StepStore::intervene). A host that does not support interventions refuses the request; it
    /// must not resume the instance without the intervention.
    pub intervention: Option<Intervention>,
}

/// What became of a control request that could have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Requested {
    /// The request is stored. It takes effect with the next commit of the instance, no matter which host runs
    /// the instance, unless another request replaces it before.
    Accepted,
    /// What was requested already holds, or the same request is already pending. Nothing was written.
    Redundant,
}

impl Control {
    /// The verb of the request: `suspend`, `resume`, `cancel` or `terminate`; for an intervention, `skip` or
    /// `resume_from`.
    #[must_use]
    pub fn verb(self, intervention: Option<&Intervention>) -> &'static str {
        match intervention {
            Some(Intervention::Skip) if self == Self::Resume => "skip",
            Some(Intervention::ResumeFrom(_)) if self == Self::Resume => "resume_from",
            _ => self.name(),
        }
    }
}

/// The state of an instance that decides what becomes of a control request.
///
/// This type has the rule that all stores follow. A store reads the state and decides, and then stores an
/// accepted request only if the state is still the same, in one transaction. If the state has changed
/// meanwhile, the store reads it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlState {
    /// The status of the instance.
    pub status: WorkflowStatus,
    /// How the instance ended, if that is stored.
    pub ending: Option<Ending>,
    /// The kind of the pending request, if there is one.
    pub pending: Option<Control>,
    /// How the pending request resumes, if it is an intervention.
    pub intervention: Option<Intervention>,
}

impl ControlState {
    /// Decides what becomes of a request for the instance `id`.
    ///
    /// # Errors
    /// [`NoEffect`](WfeError::NoEffect): the request cannot have an effect, for these reasons, in this order:
    ///
    /// * [`Ended`](NoEffectReason::Ended): the instance has ended.
    /// * [`Superseded`](NoEffectReason::Superseded): a pending `Terminate` takes precedence over every request,
    ///   and a pending `Cancel` over every request except `Terminate`.
    /// * [`NotSuspended`](NoEffectReason::NotSuspended): a request to resume an instance that is not suspended.
    ///   A plain resume is accepted nevertheless while a request to suspend is pending, and withdraws that
    ///   request.
    pub fn decide(
        &self,
        id: &str,
        control: Control,
        intervention: Option<&Intervention>,
    ) -> Result<Requested> {
        let refused = |reason| {
            let request = control.verb(intervention);
            Err(WfeError::NoEffect { id: id.to_owned(), request, reason })
        };
        if let Some(ending) = Ending::of(self.status, self.ending) {
            return refused(NoEffectReason::Ended(ending));
        }
        if let Some(stronger @ (Control::Cancel | Control::Terminate)) = self.pending
            && control != Control::Terminate
            && control != stronger
        {
            return refused(NoEffectReason::Superseded(stronger));
        }
        if self.pending == Some(control) && self.intervention.as_ref() == intervention {
            return Ok(Requested::Redundant);
        }
        let is_suspended = self.status == WorkflowStatus::Suspended;
        let withdraws = self.pending == Some(Control::Suspend) && intervention.is_none();
        match control {
            Control::Suspend if is_suspended && self.pending.is_none() => Ok(Requested::Redundant),
            Control::Resume if !is_suspended && !withdraws => refused(NoEffectReason::NotSuspended),
            _ => Ok(Requested::Accepted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: WorkflowStatus, pending: Option<Control>) -> ControlState {
        ControlState { status, ending: None, pending, intervention: None }
    }

    /// `Ok(true)` for an accepted request, and `Ok(false)` for a redundant one.
    fn decided(state: &ControlState, control: Control) -> std::result::Result<bool, NoEffectReason> {
        match state.decide("i", control, None) {
            Ok(requested) => Ok(requested == Requested::Accepted),
            Err(WfeError::NoEffect { id, request, reason }) => {
                assert_eq!((&*id, request), ("i", control.verb(None)));
                Err(reason)
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_request_is_decided_by_the_status_and_the_pending_request() {
        use Control::{Cancel, Resume, Suspend, Terminate};
        use NoEffectReason::{NotSuspended, Superseded};
        use WorkflowStatus::{Runnable, Suspended};
        let rows = [
            // status, pending, and the results of suspend, resume, cancel and terminate
            (Runnable, None, [Ok(true), Err(NotSuspended), Ok(true), Ok(true)]),
            (Runnable, Some(Suspend), [Ok(false), Ok(true), Ok(true), Ok(true)]),
            (Runnable, Some(Resume), [Ok(true), Ok(false), Ok(true), Ok(true)]),
            (Suspended, None, [Ok(false), Ok(true), Ok(true), Ok(true)]),
            (Suspended, Some(Suspend), [Ok(false), Ok(true), Ok(true), Ok(true)]),
            (Suspended, Some(Resume), [Ok(true), Ok(false), Ok(true), Ok(true)]),
        ];
        let both = [Runnable, Suspended].map(|status| {
            let weaker = Err(Superseded(Cancel));
            let weakest = Err(Superseded(Terminate));
            [
                (status, Some(Cancel), [weaker, weaker, Ok(false), Ok(true)]),
                (status, Some(Terminate), [weakest, weakest, weakest, Ok(false)]),
            ]
        });
        for (status, pending, expected) in rows.into_iter().chain(both.into_iter().flatten()) {
            let state = state(status, pending);
            let found = [Suspend, Resume, Cancel, Terminate].map(|control| decided(&state, control));
            assert_eq!(found, expected, "{state:?}");
        }
    }

    #[test]
    fn nothing_can_be_requested_of_an_instance_that_has_ended() {
        for (status, ending, told) in [
            (WorkflowStatus::Complete, None, Ending::Completed),
            (WorkflowStatus::Complete, Some(Ending::Completed), Ending::Completed),
            (WorkflowStatus::Terminated, None, Ending::Terminated),
            (WorkflowStatus::Terminated, Some(Ending::Failed), Ending::Failed),
        ] {
            let state = ControlState { ending, ..state(status, Some(Control::Terminate)) };
            for control in [Control::Suspend, Control::Resume, Control::Cancel, Control::Terminate] {
                assert_eq!(decided(&state, control), Err(NoEffectReason::Ended(told)));
            }
        }
    }

    #[test]
    fn an_intervention_needs_a_suspended_instance_and_replaces_another_one() {
        let of = |status, pending, intervention| ControlState { intervention, ..state(status, pending) };
        let from = |step: &str| Intervention::ResumeFrom(step.to_owned());
        let suspended = |pending, intervention| of(WorkflowStatus::Suspended, pending, intervention);
        let decide = |state: &ControlState, by: &Intervention| state.decide("i", Control::Resume, Some(by));
        let accepted =
            |state: &ControlState, by: &Intervention| decide(state, by).unwrap() == Requested::Accepted;
        assert!(accepted(&suspended(None, None), &Intervention::Skip));
        assert!(accepted(&suspended(Some(Control::Suspend), None), &Intervention::Skip));
        assert!(accepted(&suspended(Some(Control::Resume), None), &Intervention::Skip));
        assert!(accepted(&suspended(Some(Control::Resume), Some(from("a"))), &from("b")));
        assert!(!accepted(&suspended(Some(Control::Resume), Some(from("a"))), &from("a")));
        for pending in [None, Some(Control::Suspend), Some(Control::Resume)] {
            let told = decide(&of(WorkflowStatus::Runnable, pending, None), &Intervention::Skip);
            let reason = NoEffectReason::NotSuspended;
            assert!(
                matches!(told, Err(WfeError::NoEffect { request: "skip", reason: r, .. }) if r == reason)
            );
        }
        // A plain resume replaces a pending intervention.
        let skips = suspended(Some(Control::Resume), Some(Intervention::Skip));
        assert_eq!(decided(&skips, Control::Resume), Ok(true));
    }
}
