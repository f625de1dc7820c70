//! What an operator can ask and do, over any store, without registered definitions and without an engine.
//!
//! [`Operator`] is the facade; the command line and other faces are thin layers over it. Every answer is `Serialize`:
//! its JSON shape is documented at its type. The guide has a [chapter](crate::guide::operate).

mod act;
mod bulk;
mod changes;
mod doctor;
mod follow;
mod instances;
mod publish;
mod redaction;
mod resolve;
mod rights;
mod schedules;
mod start;
mod store_questions;
mod stuck;
mod tasks;
mod upkeep;
mod views;
mod why;
pub mod words;

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    clock::{Clock, SystemClock},
    traits::{Management, PersistenceProvider},
};

pub use self::{
    act::{Effect, RestartWith, Verb},
    bulk::{Bulk, BulkReport, Over, Preview, Refusal},
    follow::{Follow, Following, News},
    publish::NewEvent,
    redaction::{HIDDEN, Place, hidden},
    rights::{ActionKind, Permission, Role},
    schedules::ScheduleView,
    start::{NewInstance, StartedView},
    stuck::Stuck,
    views::{ActivityView, DefinitionView, EventView, HistoryRow, InstanceView, TaskView},
    why::{By, Code, Explanation, Hint},
};
pub use wfe_core::traits::{Face, Finding, Weight};

use self::{redaction::Redact, rights::Allow};
use crate::{
    WorkflowHost,
    store::{Guarantees, StoreAccess},
};

/// Asks and acts for an operator, over any store that has [`Management`]. Cheap to clone.
///
/// An operator needs no host, no engine and no registered definition: it reads what is stored, and what it changes is
/// stored too, where the hosts of the store find it. It registers no owner and makes no file. Each action is stored
/// together with a [record](Operator::audit) of who did it, through what, and [why](Operator::because).
///
/// ```
/// use wfe::{operator::{Code, Face}, prelude::*};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// let greet = WorkflowBuilder::<u32>::new("greet", 1).change("count", |n| *n += 1).build()?;
/// let id = host.register(greet)?.start(&0).await?.into_id();
///
/// let operator = host.operator()?.acting_as("ann", Face::Program);
/// let why = operator.why(&id).await?;
/// assert_eq!(why.code, Code::DueNoHost); // the host is not started
/// assert!(why.headline.contains("greet v1 is due at step count, and no host is alive"));
/// # host.stop().await
/// # }
/// ```
#[derive(Clone)]
pub struct Operator {
    store: Arc<StoreAccess>,
    management: Arc<dyn Management>,
    clock: Arc<dyn Clock>,
    actor: Arc<str>,
    face: Face,
    reason: Option<Arc<str>>,
    role: Role,
    allow: Option<Allow>,
    redact: Option<Redact>,
    thresholds: Thresholds,
}

/// From when on something counts as stuck.
///
/// ```
/// # use wfe::operator::Thresholds;
/// # use std::time::Duration;
/// let patient = Thresholds { unclaimed: Duration::from_hours(1), ..Thresholds::default() };
/// assert_eq!(patient.due, Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// How long an instance may be due, or an event or an answer may wait for a host. Default: 60 s.
    pub due: Duration,
    /// How long a control request may wait for a host. Default: 10 s.
    pub request: Duration,
    /// How long an activity may wait for a worker that claims it. Default: 5 min.
    pub unclaimed: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            due: Duration::from_mins(1),
            request: Duration::from_secs(10),
            unclaimed: Duration::from_mins(5),
        }
    }
}

impl Operator {
    /// An operator on this store, who acts as `program` through [`Face::Program`], with the role [`Role::Admin`].
    ///
    /// # Errors
    /// [`Unsupported`](WfeError::Unsupported): the store has no [`Management`], or no
    /// [`StepStore`](crate::traits::StepStore).
    pub fn new(provider: impl PersistenceProvider + 'static) -> Result<Self> {
        Self::shared(Arc::new(provider))
    }

    /// An operator on a store that the program also uses itself. Otherwise, this is [`new`](Self::new).
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn shared(provider: Arc<dyn PersistenceProvider>) -> Result<Self> {
        let management =
            provider.clone().management().ok_or(WfeError::Unsupported("management by an operator"))?;
        let store = StoreAccess::new(provider);
        if store.guarantees == Guarantees::SingleProcess {
            return Err(WfeError::Unsupported("an operator beside the host"));
        }
        Ok(Self {
            store: Arc::new(store),
            management,
            clock: Arc::new(SystemClock),
            actor: Arc::from("program"),
            face: Face::Program,
            reason: None,
            role: Role::Admin,
            allow: None,
            redact: None,
            thresholds: Thresholds::default(),
        })
    }

    /// Sets who acts, and through what. The [records](Self::audit) of the actions name both.
    #[must_use]
    pub fn acting_as(self, actor: impl Into<String>, face: Face) -> Self {
        Self { actor: Arc::from(actor.into()), face, ..self }
    }

    /// Sets what the operator may do. Default: [`Role::Admin`].
    #[must_use]
    pub fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// Sets a function that is asked before every action, in addition to the [role](Self::role). If it returns false, the
    /// action fails with [`Forbidden`](WfeError::Forbidden), and nothing is written.
    #[must_use]
    pub fn allow(self, hook: impl Fn(&Permission<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { allow: Some(Allow::new(hook)), ..self }
    }

    /// Sets a function that hides values before anything is shown. It gets the place of the value, the id of the
    /// definition, and the value, which it changes: [`hidden`] returns a value that says that something is hidden.
    ///
    /// [`Place`] says what the value is in each place. A stored event belongs to no definition: the function gets the
    /// event's name instead.
    ///
    /// With such a function, the data of instances cannot be searched for a text, because the answer would tell what is
    /// hidden: the search fails with [`Forbidden`](WfeError::Forbidden). Attributes can be searched only together with a
    /// definition, and only for values that the function leaves as they are.
    #[must_use]
    pub fn redact(self, hook: impl Fn(Place, &str, &mut serde_json::Value) + Send + Sync + 'static) -> Self {
        Self { redact: Some(Redact::new(hook)), ..self }
    }

    /// Sets from when on something counts as stuck.
    #[must_use]
    pub fn thresholds(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// Sets the clock. Default: the system's clock.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same operator, whose actions are recorded with this reason.
    #[must_use]
    pub fn because(&self, reason: impl Into<String>) -> Self {
        Self { reason: Some(Arc::from(reason.into())), ..self.clone() }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Records the loss of the store if this is the error of one.
    fn seen<T>(&self, answer: Result<T>) -> Result<T> {
        self.store.loss.seen(answer)
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actor, face, reason, role, thresholds, .. } = self;
        f.debug_struct("Operator")
            .field("actor", actor)
            .field("face", face)
            .field("reason", reason)
            .field("role", role)
            .field("thresholds", thresholds)
            .finish_non_exhaustive()
    }
}

impl WorkflowHost {
    /// An operator on the store of this host, with the host's clock.
    ///
    /// # Errors
    /// The errors of [`Operator::new`].
    pub fn operator(&self) -> Result<Operator> {
        let operator = Operator::shared(self.store().provider.clone())?;
        Ok(operator.clock(self.engine().options().clock.clone()))
    }
}
