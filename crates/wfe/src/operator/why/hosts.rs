//! Which hosts are alive, and what they have.

use wfe_core::traits::{Host, HostCard, RunningBody};

use crate::host::RESERVED;

/// The prefixes of the engine's own definitions, which hosts have together with the definition that follows them.
const ANY_VERSION: &str = "schedule:";
const ONE_VERSION: &str = "schedule.pinned:";

/// The hosts of a store, as they were when a question was asked.
#[derive(Debug, Default)]
pub(in crate::operator) struct Hosts {
    all: Vec<Host>,
    /// The number of living owners. `None` means that the store cannot tell.
    living: Option<usize>,
}

/// Whether a living host has a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) enum Has {
    Yes,
    No,
    /// No host is alive.
    NoHost,
    /// The store cannot tell, or a host has not said what it has.
    Unknown,
}

impl Hosts {
    pub fn new(all: Vec<Host>, living: Option<usize>) -> Self {
        Self { all, living }
    }

    fn living(&self) -> impl Iterator<Item = &Host> {
        self.all.iter().filter(|host| host.is_alive != Some(false))
    }

    pub fn cards(&self) -> impl Iterator<Item = &HostCard> {
        self.living().filter_map(|host| host.card.as_ref())
    }

    /// Whether no host is alive. `false` also means that the store cannot tell.
    pub fn is_none_alive(&self) -> bool {
        self.living().next().is_none() && self.living == Some(0)
    }

    /// Whether this owner is known to be dead.
    pub fn is_dead(&self, owner: u64) -> bool {
        match self.all.iter().find(|host| host.owner == owner) {
            Some(host) => host.is_alive == Some(false),
            None => self.is_none_alive(),
        }
    }

    /// The owners that are known to be dead.
    pub fn dead(&self) -> impl Iterator<Item = u64> {
        self.all.iter().filter(|host| host.is_alive == Some(false)).map(|host| host.owner)
    }

    pub fn card(&self, owner: u64) -> Option<&HostCard> {
        self.all.iter().find(|host| host.owner == owner)?.card.as_ref()
    }

    /// The living hosts that have this version of the definition.
    pub fn with<'h>(&'h self, definition: &str, version: u32) -> impl Iterator<Item = &'h HostCard> {
        let own = definition.strip_prefix(RESERVED).unwrap_or_default();
        let (id, version) = match (own.strip_prefix(ANY_VERSION), own.strip_prefix(ONE_VERSION)) {
            (Some(of), _) => (of.to_owned(), None),
            (_, Some(of)) => (of.to_owned(), Some(version)),
            _ => (definition.to_owned(), Some(version)),
        };
        self.cards().filter(move |card| {
            card.definitions.iter().any(|(has, number)| *has == id && version.is_none_or(|it| it == *number))
        })
    }

    pub fn has(&self, definition: &str, version: u32) -> Has {
        if self.with(definition, version).next().is_some() {
            return Has::Yes;
        }
        if self.is_none_alive() {
            return Has::NoHost;
        }
        let mut living = self.living().peekable();
        if living.peek().is_none() || living.any(|host| host.card.is_none()) { Has::Unknown } else { Has::No }
    }

    /// Whether hosts are alive, and none of them has this version.
    pub fn lacks(&self, definition: &str, version: u32) -> bool {
        self.has(definition, version) == Has::No
    }

    /// The body that this owner runs for the step of an instance, if its card has it.
    pub fn body(&self, owner: u64, instance: &str, step: &str) -> Option<&RunningBody> {
        let bodies = &self.card(owner)?.running;
        bodies.iter().find(|body| body.instance == instance && body.step == step)
    }
}
