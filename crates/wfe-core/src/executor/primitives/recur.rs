use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{Env, Run, branches::branch_of},
    },
    limits::nearest_time,
    models::{ExecutionPointer, PointerStatus},
    program::Recur,
};

/// The state that the pointer of a recurring branch stores.
#[derive(Serialize, Deserialize)]
struct Ticks {
    /// The number of ticks so far.
    count: u64,
    /// The time of the next tick, or `None` if no tick follows.
    next: Option<DateTime<Utc>>,
}

/// Reads the state of a recurring branch that has begun.
fn kept(pointer: &ExecutionPointer) -> serde_json::Result<Ticks> {
    Ticks::deserialize(pointer.persistence_data.as_ref().unwrap_or(&Value::Null))
}

impl Recur {
    fn ticks(run: &Run, at: &str) -> Moved<Ticks> {
        Ok(kept(run.pointer(at)?)?)
    }

    /// Stores the ticks in the pointer, and sets the timer for the next tick. Completes the step if no tick follows and
    /// no branch is open.
    fn keep(run: &mut Run, at: &str, ticks: &Ticks, env: &mut Env<'_>) -> Moved {
        run.edit(at)?.persistence_data = Some(serde_json::to_value(ticks)?);
        if let Some(next) = ticks.next {
            // A store cannot hold a time after the year 2262. As with a delay, a later tick is set to the last time
            // that can be stored.
            return Ok(run.set_timer(at, nearest_time(next))?);
        }
        run.clear_timer(at)?;
        if run.open_branches(at)? == 0 {
            run.complete(at, None, env)?;
        }
        Ok(())
    }
}

impl Primitive for Recur {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let ticks = if run.pointer(at)?.persistence_data.is_none() {
            // The condition is evaluated first, so that no side branch exists if the condition panics.
            let is_over = run.evaluate(at, &self.until)?;
            run.fork(at)?;
            Ticks { count: 0, next: self.every.next(env.now, env.now).filter(|_| !is_over) }
        } else {
            Self::ticks(run, at)?
        };
        run.become_container(at, None)?;
        Self::keep(run, at, &ticks, env)
    }

    fn timer_fired(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let mut ticks = Self::ticks(run, at)?;
        if run.evaluate(at, &self.until)? {
            ticks.next = None;
        } else if let Some(tick) = ticks.next {
            // The next tick is counted from the time at which this tick was due, so the ticks do not drift. Missed
            // ticks are skipped.
            ticks.next = self.every.next(tick, env.now);
            let branch = branch_of(run.node_of(at)?, 0)?;
            run.begin_branch(at, &ticks.count.to_string(), branch, |_| {})?;
            ticks.count += 1;
        }
        Self::keep(run, at, &ticks, env)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        let is_over = Self::ticks(run, at)?.next.is_none();
        if is_over && run.open_branches(at)? == 0 {
            run.complete(at, None, env)?;
        }
        Ok(())
    }

    fn data_changed(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        if run.pointer(at)?.status != PointerStatus::Running {
            return Ok(()); // the recurrence has not begun
        }
        let mut ticks = Self::ticks(run, at)?;
        if ticks.next.is_some() && run.evaluate(at, &self.until)? {
            ticks.next = None;
            Self::keep(run, at, &ticks, env)?;
        }
        Ok(())
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        if pointer.status != PointerStatus::Running && pointer.persistence_data.is_none() {
            return Ok(Kept::Waits); // the recurrence has not begun
        }
        let has_next = kept(pointer)?.next.is_some();
        Ok(Kept::goes_on_if(has_next && pointer.sleep_until.is_some()))
    }

    fn reopen(&self, _: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        match kept(pointer) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("has a count of ticks that {}", Spoilt::from(error))),
        }
    }
}
