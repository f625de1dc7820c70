use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a host says about itself. A host writes its card when it starts, and again when somebody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostCard {
    /// The [id](super::super::Owner::id) of the host as an owner.
    pub owner: u64,
    /// The process id.
    pub pid: u32,
    /// The name of the machine, if it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub machine: Option<String>,
    /// The name of the program: the file name of its executable.
    pub program: String,
    /// The version of WFE.
    pub wfe_version: String,
    /// When the host was started.
    pub started: DateTime<Utc>,
    /// When the card was written.
    pub written: DateTime<Utc>,
    /// The definitions that are registered on the host, each with its version. The engine's own definitions, whose ids begin
    /// with [`OWN_NAMES`](super::super::OWN_NAMES), are among them.
    pub definitions: Vec<(String, u32)>,
    /// How many bodies the host runs at once at most.
    pub bodies_limit: u64,
    /// How many bodies ran when the card was written.
    pub bodies_running: u64,
    /// How many instances the host has in memory at once at most.
    pub instances_limit: u64,
    /// How many instances the host had in memory when the card was written.
    pub instances_busy: u64,
    /// The bodies that had run longest when the card was written, at most [`MAX_BODIES`](Self::MAX_BODIES), oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub running: Vec<RunningBody>,
    /// Whether the host has a retention policy. Of all hosts that have one, the one with the lowest owner id applies it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub has_retention: bool,
    /// When the next instance becomes due, as far as the host knew.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_due: Option<DateTime<Utc>>,
}

/// A body that runs on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningBody {
    /// The id of the instance.
    pub instance: String,
    /// The stable id of the step.
    pub step: String,
    /// When the body began.
    pub since: DateTime<Utc>,
}

impl HostCard {
    /// The highest number of running bodies on a card.
    pub const MAX_BODIES: usize = 20;

    /// A card of this process, with no definitions and nothing that runs.
    #[must_use]
    pub fn new(owner: u64, program: impl Into<String>, started: DateTime<Utc>) -> Self {
        Self {
            owner,
            pid: std::process::id(),
            machine: None,
            program: program.into(),
            wfe_version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            written: started,
            definitions: Vec::new(),
            bodies_limit: 0,
            bodies_running: 0,
            instances_limit: 0,
            instances_busy: 0,
            running: Vec::new(),
            has_retention: false,
            next_due: None,
        }
    }
}

/// An owner of a store's instances, as another process sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Host {
    /// The [id](super::super::Owner::id) of the owner.
    pub owner: u64,
    /// Whether the owner's process is alive. `false` means that it has died, and that no other host has noticed it yet, or
    /// none has taken over its instances yet. `None` means that the store cannot tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub is_alive: Option<bool>,
    /// What the host says about itself. `None` means that it has not said anything: it runs an earlier version of WFE, or
    /// has just started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card: Option<HostCard>,
}

impl Host {
    /// For implementations of stores: an owner of which nothing else is known.
    #[must_use]
    pub fn new(owner: u64) -> Self {
        Self { owner, is_alive: None, card: None }
    }
}
