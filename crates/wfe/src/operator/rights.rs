//! Who may do what. Every action asks [`Operator::permit`], and acts through the [`Permit`] that it gets.

use std::{fmt, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    traits::{Acted, Action, Audit},
};

use super::Operator;
use crate::metrics;

/// What an operator may do. Each role may do everything that the roles before it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Asks, and changes nothing.
    Viewer,
    /// Also acts on instances, events, tasks and schedules.
    Operator,
    /// Also deletes, purges, backs up, compacts and checkpoints.
    #[default]
    Admin,
}

/// One word: `viewer`, `operator` or `admin`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

macro_rules! actions {
    ($($kind:ident $name:literal $role:ident;)*) => {
        /// An action of an operator.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ActionKind {
            $(#[doc = concat!("`", $name, "`")] $kind,)*
        }

        impl ActionKind {
            /// All actions.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name of the action, as in the [records](Operator::audit) of actions.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The least role that the action needs.
            #[must_use]
            pub fn needs(self) -> Role {
                match self { $(Self::$kind => Role::$role,)* }
            }
        }
    };
}

actions! {
    Suspend "suspend" Operator;
    Resume "resume" Operator;
    Retry "retry" Operator;
    Restart "restart" Operator;
    Skip "skip" Operator;
    ResumeFrom "resume_from" Operator;
    Cancel "cancel" Operator;
    Terminate "terminate" Operator;
    Acknowledge "acknowledge" Operator;
    Start "start" Operator;
    Publish "publish" Operator;
    Answer "answer" Operator;
    Release "release" Operator;
    CreateSchedule "create_schedule" Operator;
    PauseSchedule "pause_schedule" Operator;
    ResumeSchedule "resume_schedule" Operator;
    TriggerSchedule "trigger_schedule" Operator;
    DeleteSchedule "delete_schedule" Operator;
    Delete "delete" Admin;
    Purge "purge" Admin;
    PurgeEvents "purge_events" Admin;
    Backup "backup" Admin;
    Compact "compact" Admin;
    Checkpoint "checkpoint" Admin;
}

/// One word, as in the records of actions.
impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the function of [`Operator::allow`] decides about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permission<'a> {
    /// Who wants to act.
    pub actor: &'a str,
    /// The action.
    pub action: ActionKind,
    /// The definition of the instance that the action concerns. `None` means that it concerns the whole store, or an
    /// event. A bulk action asks for each instance.
    pub definition: Option<&'a str>,
}

type Hook = dyn Fn(&Permission<'_>) -> bool + Send + Sync;

#[derive(Clone)]
pub(super) struct Allow(Arc<Hook>);

impl Allow {
    pub fn new(hook: impl Fn(&Permission<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

/// What an action concerns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// The whole store, or an event.
    Store,
    /// An instance, by its id.
    Instance(&'a str),
    /// Many instances: the function of the program is asked for each of them.
    Each,
    /// Instances of this definition, none of which exists yet or is known.
    Definition(&'a str),
}

/// The right to do one action, and the record of it.
pub(super) struct Permit<'o> {
    operator: &'o Operator,
    kind: ActionKind,
    pub audit: Audit,
}

impl Operator {
    fn forbidden(&self, kind: ActionKind, role: String) -> WfeError {
        WfeError::Forbidden { actor: self.actor.to_string(), action: kind.name().to_owned(), role }
    }

    /// Checks the role alone, for an action that must read something before it knows what it concerns.
    pub(super) fn check_role(&self, kind: ActionKind) -> Result<()> {
        let (role, needs) = (self.role, kind.needs());
        if role < needs {
            return Err(self.forbidden(kind, format!("the role is {role}, and the action needs {needs}")));
        }
        Ok(())
    }

    /// The only place in which rights are checked.
    ///
    /// # Errors
    /// [`Forbidden`](WfeError::Forbidden), and [`WorkflowNotFound`](WfeError::WorkflowNotFound) if the definition of an
    /// instance has to be known.
    pub(super) async fn permit(&self, kind: ActionKind, of: Of<'_>) -> Result<Permit<'_>> {
        self.check_role(kind)?;
        if let Some(Allow(hook)) = &self.allow {
            let read = match of {
                Of::Instance(id) => Some(self.summary(id).await?.definition),
                Of::Each => return Ok(self.permitted(kind, of)),
                Of::Store | Of::Definition(_) => None,
            };
            let definition = match of {
                Of::Definition(id) => Some(id),
                Of::Store | Of::Instance(_) | Of::Each => read.as_deref(),
            };
            if !hook(&Permission { actor: &self.actor, action: kind, definition }) {
                return Err(self.forbidden(
                    kind,
                    definition.map_or_else(
                        || "the rules of the program refuse it".to_owned(),
                        |id| format!("the rules of the program refuse it for {id:?}"),
                    ),
                ));
            }
        }
        Ok(self.permitted(kind, of))
    }

    fn permitted(&self, kind: ActionKind, of: Of<'_>) -> Permit<'_> {
        let mut audit = Audit::new(&*self.actor, self.face, kind.name());
        audit.reason = self.reason.as_deref().map(str::to_owned);
        if let Of::Instance(id) = of {
            audit = audit.of(id);
        }
        Permit { operator: self, kind, audit }
    }
}

impl Permit<'_> {
    pub fn detail(mut self, detail: Value) -> Self {
        self.audit.detail = detail;
        self
    }

    /// The record is about this instance.
    pub fn of(mut self, instance: &str) -> Self {
        self.audit = self.audit.of(instance);
        self
    }

    pub fn bulk(mut self, id: Option<&str>) -> Self {
        self.audit.bulk = id.map(str::to_owned);
        self
    }

    /// Does the action, and stores the record with it.
    pub async fn act(&self, action: Action<'_>) -> Result<Acted> {
        let Self { operator, kind, audit } = self;
        let (definition, event) = match &action {
            Action::Start { instance, .. } | Action::Restart { instance, .. } => {
                (Some(&*instance.workflow_definition_id), None)
            }
            Action::Publish { event, .. } => (None, Some(&*event.event_name)),
            _ => (None, None),
        };
        let acted = operator.seen(operator.management.act(action, audit).await)?;
        metrics::acted(&acted, kind.name(), audit.face.name(), definition, event);
        Ok(acted)
    }
}

/// The store has answered with the result of another action.
pub(super) fn unexpected<T>(_: &Acted) -> Result<T> {
    Err(WfeError::Persistence("the store has answered an action with the result of another one".to_owned()))
}
