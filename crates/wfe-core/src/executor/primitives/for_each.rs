//! For-each. The items are stored apart from the pointer, which keeps only the cursor, and are read in windows: neither memory
//! nor the cost of an iteration grows with their number. An ended iteration leaves the live instance.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Result, WfeError,
    executor::{
        ItemRequest, Moved, Primitive,
        primitive::{Kept, Spoilt},
        run::{Env, Run, sequence::branch_of},
    },
    models::{ExecutionPointer, PointerChange, PointerStatus, attributes},
    program::{Answer, ForEach},
    traits::Items,
};

/// Items read at once beyond what the limit asks for: enough that reading keeps ahead of the steps.
const READ_AHEAD: usize = 64;
/// Items read at once at most, whatever the limit: one answer of the store stays small.
const READ_AT_MOST: usize = 1024;

/// How far a running for-each has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForEachProgress {
    /// Its stable id.
    pub step: String,
    /// How many iterations have ended, well or badly.
    pub done: u64,
    /// How many items there are.
    pub total: u64,
}

impl ForEachProgress {
    /// What a stored pointer tells; `None`: it is no for-each whose items are known and which still runs.
    #[must_use]
    pub fn of(pointer: &ExecutionPointer) -> Option<Self> {
        if pointer.status != PointerStatus::Running {
            return None;
        }
        let cursor = Cursor::deserialize(pointer.persistence_data.as_ref()?).ok()?; // another kind of container
        let done = cursor.next.saturating_sub(pointer.children.len() as u64);
        Some(Self { step: pointer.step_name.clone()?, done, total: cursor.total })
    }
}

/// What the container's pointer keeps.
#[derive(Serialize, Deserialize)]
struct Cursor {
    /// How many items there are.
    total: u64,
    /// Position of the first item that has not begun.
    next: u64,
}

/// What a running for-each keeps.
fn kept(pointer: &ExecutionPointer) -> std::result::Result<Cursor, Spoilt> {
    let cursor = Cursor::deserialize(pointer.persistence_data.as_ref().unwrap_or(&Value::Null))?;
    if cursor.next > cursor.total { Err(Spoilt::Impossible) } else { Ok(cursor) }
}

/// The items at hand, from the cursor on.
pub(in crate::executor) struct Window {
    cursor: Cursor,
    values: VecDeque<Value>,
    asked: bool,
}

impl ForEach {
    fn window_size(&self) -> usize {
        self.limit.saturating_add(READ_AHEAD).min(READ_AT_MOST)
    }

    /// Begins as many iterations as may run and have their items at hand, and asks for more items in time.
    fn fill(&self, run: &mut Run, at: &str) -> Result<()> {
        let mut running = run.pointers.branches(at)?;
        let branch = branch_of(run.node_of(at)?, 0)?;
        let mut begun = Vec::new();
        let window = run.windows.get_mut(at).ok_or_else(|| no_window(at))?;
        while running < self.limit
            && let Some(item) = window.values.pop_front()
        {
            begun.push((window.cursor.next, item));
            window.cursor.next += 1;
            running += 1;
        }
        let loaded = window.cursor.next + window.values.len() as u64;
        if window.values.len() < self.limit && loaded < window.cursor.total && !window.asked {
            window.asked = true;
            let limit = self.window_size();
            run.requests.push(ItemRequest { container: at.to_owned(), from: loaded, limit });
        }
        if !begun.is_empty() {
            let cursor = serde_json::to_value(&window.cursor)?;
            run.pointers.edit(at)?.persistence_data = Some(cursor);
        }
        for (index, item) in begun {
            run.begin_branch(at, &index.to_string(), branch, |child| {
                child.context_item = Some(item);
                child.set(attributes::INDEX, index);
            })?;
        }
        Ok(())
    }

    fn is_over(run: &Run, at: &str) -> Result<bool> {
        let window = run.windows.get(at).ok_or_else(|| no_window(at))?;
        Ok(window.cursor.next >= window.cursor.total && run.pointers.branches(at)? == 0)
    }
}

impl Window {
    /// Takes what the store gave from position `from` on; `false`: it does not fit, or is nothing.
    pub(in crate::executor) fn take(&mut self, from: u64, values: Vec<Value>) -> bool {
        self.asked = false;
        let fits = from == self.cursor.next + self.values.len() as u64 && !values.is_empty();
        if fits {
            self.values.extend(values);
        }
        fits
    }

    pub(in crate::executor) fn is_awaited(&self) -> bool {
        self.asked
    }
}

impl Primitive for ForEach {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        run.make_ready(at);
        Ok(())
    }

    fn ended(&self, run: &mut Run, at: &str, answer: Answer, env: &mut Env<'_>) -> Moved {
        let values = match answer {
            Answer::Items(values) => values,
            Answer::Step(next, apply) => match next.branches() {
                Ok(values) => {
                    run.apply(apply)?;
                    values
                }
                Err(next) => return self.step.ended(run, at, Answer::Step(next, apply), env),
            },
        };
        if values.is_empty() {
            return Ok(run.complete(at, None, env)?);
        }
        let cursor = Cursor { total: values.len() as u64, next: 0 };
        run.become_container(at, Some(serde_json::to_value(&cursor)?))?;
        let at_hand = values.iter().take(self.window_size()).cloned().collect();
        run.windows.insert(at.to_owned(), Window { cursor, values: at_hand, asked: false });
        run.delta.items.push(Items { container: at.to_owned(), values });
        Ok(self.fill(run, at)?)
    }

    fn event_received(&self, run: &mut Run, at: &str, event: Value, env: &mut Env<'_>) -> Moved {
        self.step.event_received(run, at, event, env)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        self.fill(run, at)?;
        if Self::is_over(run, at)? {
            run.windows.remove(at);
            run.complete(at, None, env)?;
        }
        Ok(())
    }

    fn items_read(&self, run: &mut Run, at: &str, from: u64, values: Vec<Value>, _: &mut Env<'_>) -> Moved {
        let window = run.windows.get_mut(at).ok_or_else(|| no_window(at))?;
        if !window.take(from, values) {
            return Err(WfeError::Invalid(format!("the items of {at:?} from {from} on do not fit")).into());
        }
        Ok(self.fill(run, at)?)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> std::result::Result<Kept, Spoilt> {
        if pointer.status != PointerStatus::Running {
            return Ok(Kept::Waits); // the body's own
        }
        let cursor = kept(pointer)?;
        Ok(Kept::goes_on_if(cursor.next < cursor.total))
    }

    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> std::result::Result<(), String> {
        if pointer.status.after(PointerChange::Run).is_err() {
            return Err(format!("is a for-each now, but was {}", pointer.status));
        }
        let cursor = kept(pointer).map_err(|spoilt| format!("has a cursor that {spoilt}"))?;
        let from = cursor.next;
        let asked = from < cursor.total;
        run.windows.insert(pointer.id.clone(), Window { cursor, values: VecDeque::new(), asked });
        if asked {
            run.requests.push(ItemRequest { container: pointer.id.clone(), from, limit: self.window_size() });
        }
        Ok(())
    }
}

fn no_window(at: &str) -> WfeError {
    WfeError::Invalid(format!("the for-each {at:?} has lost its items"))
}
