use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{Env, Run},
    },
    limits::{later, nearest_time},
    models::{ExecutionPointer, attributes},
    program::{Delay, Until},
};

impl Until {
    /// Returns the time until which the step waits. The time is evaluated once and stored in the pointer, so later
    /// changes of the data do not affect it.
    pub(super) fn once(&self, run: &mut Run, at: &str, env: &Env<'_>) -> Moved<DateTime<Utc>> {
        if let Some(kept) = &run.pointer(at)?.persistence_data {
            return Ok(DateTime::deserialize(kept)?);
        }
        let until = match self {
            Self::After(delay) => later(env.now, run.evaluate(at, delay)?),
            Self::At(time) => nearest_time(run.evaluate(at, time)?).max(DateTime::UNIX_EPOCH),
        };
        let (kind, kept) = (run.node_of(at)?.verb.kind(), serde_json::to_value(until)?);
        let pointer = run.edit(at)?;
        pointer.persistence_data = Some(kept);
        pointer.set(attributes::KIND, kind);
        Ok(until)
    }

    /// Checks the time that [`once`](Self::once) has stored in a pointer.
    pub(super) fn check(pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        if let Some(kept) = &pointer.persistence_data {
            DateTime::<Utc>::deserialize(kept)?;
        }
        Ok(Kept::Waits)
    }
}

impl Primitive for Delay {
    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        Until::check(pointer)
    }

    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let until = self.until.once(run, at, env)?;
        Ok(if until <= env.now { run.complete(at, None, env) } else { run.sleep_until(at, until) }?)
    }
}
