//! Actions on one instance.

use serde::Serialize;
use serde_json::{Value, json};
use wfe_core::{
    NoEffectReason, Result, RetryRefusal, WfeError,
    models::WorkflowInstance,
    traits::{Acted, Action, Control, Intervention, PurgeReport, Reopened, Requested},
};

use super::{
    ActionKind, Operator,
    rights::{Of, Permit, unexpected},
};
use crate::host::{RESERVED, is_closing, nothing_to_skip, refuse_reserved};

/// What an operator does to one instance, or in [bulk](Operator::bulk) to many.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verb {
    /// Suspends it: see [`WorkflowHost::suspend`](crate::WorkflowHost::suspend).
    Suspend,
    /// Resumes it: see [`WorkflowHost::resume`](crate::WorkflowHost::resume).
    Resume,
    /// Retries it: see [`WorkflowHost::retry`](crate::WorkflowHost::retry).
    Retry,
    /// Starts a new instance in its place: see [`WorkflowHost::restart`](crate::WorkflowHost::restart).
    Restart(RestartWith),
    /// Resumes it and skips its failed steps: see [`WorkflowHost::skip`](crate::WorkflowHost::skip).
    Skip,
    /// Resumes it from the step with this stable id: see
    /// [`WorkflowHost::resume_from`](crate::WorkflowHost::resume_from).
    ResumeFrom(String),
    /// Cancels it: see [`WorkflowHost::cancel`](crate::WorkflowHost::cancel).
    Cancel,
    /// Terminates it: see [`WorkflowHost::terminate`](crate::WorkflowHost::terminate).
    Terminate,
    /// Records that its failure is dealt with, or (`false`) that it is not.
    Acknowledge(bool),
    /// Deletes it, with everything that belongs to it, if it has ended.
    Delete,
}

impl Verb {
    /// The kind of the action.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Suspend => ActionKind::Suspend,
            Self::Resume => ActionKind::Resume,
            Self::Retry => ActionKind::Retry,
            Self::Restart(_) => ActionKind::Restart,
            Self::Skip => ActionKind::Skip,
            Self::ResumeFrom(_) => ActionKind::ResumeFrom,
            Self::Cancel => ActionKind::Cancel,
            Self::Terminate => ActionKind::Terminate,
            Self::Acknowledge(_) => ActionKind::Acknowledge,
            Self::Delete => ActionKind::Delete,
        }
    }

    /// What the record of the action says besides the action's name.
    pub(super) fn detail(&self) -> Value {
        match self {
            Self::ResumeFrom(step) => json!({ "step": step }),
            Self::Restart(RestartWith { data, version, .. }) => {
                let mut detail = json!({ "data": if data.is_some() { "given" } else { "kept" } });
                if let Some(version) = version {
                    detail["version"] = json!(version);
                }
                detail
            }
            Self::Acknowledge(false) => json!({ "acknowledged": false }),
            _ => Value::Null,
        }
    }
}

/// How an instance is restarted. The default starts the new instance with the data that the ended one had last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestartWith {
    /// The data of the new instance. `None` means those that the ended one had last.
    pub data: Option<Value>,
    /// The version of the definition. `None` means the newest one of which the store has an outline; if it has none, the
    /// version of the ended instance.
    pub version: Option<u32>,
    /// The name of the new instance. If the ended one has it, the name passes to the new one. `None` means that its id is
    /// its name.
    pub name: Option<String>,
}

/// What an action has done to an instance.
///
/// Its JSON has the tag `effect`: `{"effect": "accepted"}`, `{"effect": "redundant"}`, `{"effect": "retried"}`,
/// `{"effect": "restarted", "id": "0194…"}`, `{"effect": "recorded"}`, `{"effect": "deleted", "instances": 1, … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// The request is stored. It takes effect with the next commit of the instance, no matter which host runs it.
    Accepted,
    /// What was requested holds already, or the same request is pending. Nothing was written, and nothing recorded.
    Redundant,
    /// The instance is runnable again.
    Retried,
    /// A new instance was started in the place of this one.
    Restarted {
        /// The id of the new instance.
        id: String,
    },
    /// Whether the failure is dealt with is recorded.
    Recorded,
    /// The instance was deleted.
    Deleted(PurgeReport),
}

impl Operator {
    /// Does this to the instance, and stores a record of it in the same transaction. A record is stored only if the action
    /// has changed something.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden): the [role](Self::role), or the function of [`allow`](Self::allow), refuses it.
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`NoEffect`](WfeError::NoEffect): a control request cannot have an effect.
    /// * [`CannotRetry`](WfeError::CannotRetry): the instance cannot be retried or restarted.
    /// * [`Invalid`](WfeError::Invalid): an instance that has not ended cannot be deleted, and one without a failure cannot
    ///   be acknowledged.
    /// * The errors of the call of [`WorkflowHost`](crate::WorkflowHost) to which the verb belongs, and those of the store.
    ///   After [`CommitUnknown`](WfeError::CommitUnknown), it is safe to repeat the call.
    pub async fn act(&self, verb: &Verb, id: &str) -> Result<Effect> {
        self.act_in(verb, id, None).await
    }

    /// Like [`act`](Self::act), as a part of this bulk action.
    pub(super) async fn act_in(&self, verb: &Verb, id: &str, bulk: Option<&str>) -> Result<Effect> {
        let permit = self.permit(verb.kind(), Of::Instance(id)).await?;
        let permit = permit.detail(verb.detail()).bulk(bulk);
        let request = |control| (control, None);
        let (control, intervention) = match verb {
            Verb::Suspend => request(Control::Suspend),
            Verb::Resume => request(Control::Resume),
            Verb::Terminate => request(Control::Terminate),
            Verb::Cancel => {
                // An instance that is closing stays so until it ends.
                if self.store.inspect_sound(id).await?.is_some_and(|loaded| is_closing(&loaded)) {
                    return Ok(Effect::Redundant);
                }
                request(Control::Cancel)
            }
            Verb::Skip => {
                if self.store.inspect_sound(id).await?.is_some_and(|loaded| nothing_to_skip(&loaded)) {
                    let reason = NoEffectReason::NothingFailed;
                    return Err(WfeError::NoEffect { id: id.to_owned(), request: "skip", reason });
                }
                (Control::Resume, Some(Intervention::Skip))
            }
            Verb::ResumeFrom(step) => (Control::Resume, Some(Intervention::ResumeFrom(step.clone()))),
            Verb::Retry => return self.retry(&permit, id).await,
            Verb::Restart(with) => return self.restart(&permit, id, with).await,
            Verb::Acknowledge(acknowledged) => {
                let action = Action::Acknowledge { id, acknowledged: *acknowledged };
                return match permit.act(action).await? {
                    Acted::Acknowledged(true) => Ok(Effect::Recorded),
                    Acted::Acknowledged(false) => Ok(Effect::Redundant),
                    other => unexpected(&other),
                };
            }
            Verb::Delete => {
                return match permit.act(Action::Delete { id }).await? {
                    Acted::Deleted(report) => Ok(Effect::Deleted(report)),
                    other => unexpected(&other),
                };
            }
        };
        match permit.act(Action::Request { id, control, intervention: intervention.as_ref() }).await? {
            Acted::Requested(Requested::Accepted) => Ok(Effect::Accepted),
            Acted::Requested(Requested::Redundant) => Ok(Effect::Redundant),
            other => unexpected(&other),
        }
    }

    async fn retry(&self, permit: &Permit<'_>, id: &str) -> Result<Effect> {
        let now = self.now();
        let (revision, step) = self.store.reopening(id, now).await?;
        match permit.act(Action::Reopen { revision, at: now, step: &step }).await? {
            Acted::Reopened(Reopened::Done) => Ok(Effect::Retried),
            Acted::Reopened(Reopened::Refused(reason)) => {
                Err(WfeError::CannotRetry { id: id.to_owned(), reason })
            }
            other => unexpected(&other),
        }
    }

    async fn restart(&self, permit: &Permit<'_>, id: &str, with: &RestartWith) -> Result<Effect> {
        let ended = self.store.inspect(id).await?.instance;
        let definition = &ended.workflow_definition_id;
        if definition.starts_with(RESERVED) {
            return Err(WfeError::CannotRetry { id: id.to_owned(), reason: RetryRefusal::Engine });
        }
        let version = match with.version {
            Some(version) => version,
            None => self.newest_version(definition).await?.unwrap_or(ended.version),
        };
        let data = with.data.clone().unwrap_or(ended.data);
        // Without pointers, the new instance begins when a host claims it, as children and those of schedules do.
        let mut instance = WorkflowInstance::created_at(definition, version, data, self.now());
        instance.reference = ended.reference;
        instance.name = with.name.clone().unwrap_or_default();
        refuse_reserved("instance", "name", &instance.name)?;
        instance.description = ended.description;
        match permit.act(Action::Restart { of: id, instance: &instance }).await? {
            Acted::Started(started) => Ok(Effect::Restarted { id: started.id }),
            other => unexpected(&other),
        }
    }
}
