//! The texts of a status, one line each.

use std::fmt::{Display, Formatter, Result, from_fn};

use chrono::{DateTime, Utc};
use wfe_core::traits::Ending;

use super::{Blocked, Held, InstanceStatus, Position, State, Waits, json};

/// How many positions the text of a status shows.
const SHOWN: usize = 3;

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        })
    }
}

impl Display for InstanceStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "instance {:?} of {} (version {})", self.id, self.definition.escape_debug(), self.version)?;
        match self.state {
            State::Running => self.running(f)?,
            State::Suspended => match &self.cause {
                Some(cause) => write!(f, " is suspended by {cause}")?,
                None => f.write_str(" is suspended by a request")?,
            },
            State::Completed => match &self.end_step {
                Some(step) => write!(f, " has completed at {step:?}")?,
                None => f.write_str(" has completed")?,
            },
            State::Failed => write!(f, " has {}", Ending::Failed.because(self.cause.as_ref()))?,
            State::Cancelled | State::Terminated => write!(f, " was {}", self.state)?,
        }
        match &self.request {
            Some(request) => write!(f, "; requested: {}", json::word(request)),
            None => Ok(()),
        }
    }
}

impl InstanceStatus {
    fn running(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(Blocked::DefinitionMissing { .. }) = self.blocked {
            return f.write_str(" waits for a host on which its definition is registered");
        }
        f.write_str(" is running")?;
        if let Some(ending) = self.closing {
            write!(f, ", and will end as {ending}")?;
        }
        for (at, position) in self.positions.iter().take(SHOWN).enumerate() {
            write!(f, "{}{position}", if at == 0 { ": " } else { "; " })?;
        }
        match self.positions.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {}", self.step.escape_debug(), self.waits)
    }
}

impl Display for Waits {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Running { since: Some(since) } => write!(f, "runs since {}", short(*since)),
            Self::Running { since: None } => f.write_str("runs, or is about to, on a host"),
            Self::Slot => f.write_str("waits for a free slot"),
            Self::AttemptBefore => f.write_str("waits for the end of its earlier attempt"),
            Self::Due => f.write_str("is due, and waits for a host"),
            Self::Timer { until } => write!(f, "waits until {}", short(*until)),
            Self::Tick { next } => write!(f, "waits for its next tick at {}", short(*next)),
            Self::Retry { at, attempt, last_failure } => {
                write!(f, "waits for attempt {attempt} at {}", short(*at))?;
                last_failure.as_ref().map_or(Ok(()), |last| write!(f, " after a failure: {last}"))
            }
            Self::Event { name, key, until } => {
                write!(f, "waits for event {name:?} with key {key:?}{}", or(*until))
            }
            Self::Activity { name, held: None, until, .. } => {
                write!(f, "waits for a worker that does {name:?}{}", or(*until))
            }
            Self::Activity { name, held: Some(held), until, .. } => {
                write!(f, "waits for {} to do {name:?}{}", held.by("worker"), or(*until))
            }
            Self::UserTask { task, held, until, .. } => {
                f.write_str("waits for ")?;
                match (held, task.as_ref().and_then(|task| task.assignee.as_deref())) {
                    (Some(held), _) => write!(f, "{}", held.by("user"))?,
                    (None, Some(assignee)) => write!(f, "{assignee:?}")?,
                    (None, None) => f.write_str("anyone")?,
                }
                match task {
                    Some(task) => write!(f, " to answer {:?}{}", task.prompt, or(*until)),
                    None => write!(f, " to answer a question that cannot be read{}", or(*until)),
                }
            }
            Self::Child { id, until } => write!(f, "waits for child workflow {id:?}{}", or(*until)),
            Self::Resume => f.write_str("has failed, and waits for a request to resume"),
        }
    }
}

impl Held {
    /// Who holds the claim, and for how long.
    pub(crate) fn by(&self, whom: &str) -> impl Display {
        from_fn(move |f| {
            match &self.worker {
                Some(worker) => write!(f, "{whom} {worker:?}")?,
                None => write!(f, "a {whom}")?,
            }
            self.until.map_or(Ok(()), |until| write!(f, " (lease until {})", short(until)))
        })
    }
}

/// The time limit of a wait, if it has one.
fn or(until: Option<DateTime<Utc>>) -> impl Display {
    from_fn(move |f| until.map_or(Ok(()), |until| write!(f, " until {}", short(until))))
}

/// A time, to the second.
fn short(time: DateTime<Utc>) -> impl Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}
