//! The for-each. The items are stored separately from the pointer, which stores only the cursor. The items are read in
//! windows, so neither the memory nor the cost of an iteration grows with the number of items. A finished iteration is
//! moved from the live instance to the history.

use std::collections::VecDeque;

use serde_json::Value;

use crate::{
    Result, WfeError,
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{
            Env, Run,
            branches::branch_of,
            item_windows::{Cursor, Window},
        },
    },
    models::{ExecutionPointer, PointerChange, PointerStatus, attributes},
    program::{Answer, ForEach},
};

/// The number of items that one read fetches in addition to the limit of parallel iterations. This number is large
/// enough for the reads to stay ahead of the steps.
const READ_AHEAD: usize = 64;
/// The maximum number of items that one read fetches, for any limit of parallel iterations. This maximum keeps each
/// response of the store small.
const READ_AT_MOST: usize = 1024;

impl ForEach {
    fn window_size(&self) -> usize {
        self.limit.saturating_add(READ_AHEAD).min(READ_AT_MOST)
    }

    /// Begins iterations whose items are in memory, up to the limit of parallel iterations. Requests further items
    /// before the items in memory run out.
    fn fill(&self, run: &mut Run, at: &str) -> Result<()> {
        let mut running = run.open_branches(at)?;
        let branch = branch_of(run.node_of(at)?, 0)?;
        let mut begun = Vec::new();
        let window = run.window(at)?;
        while running < self.limit
            && let Some(item) = window.next()
        {
            begun.push(item);
            running += 1;
        }
        let request = window.request(self.limit);
        if !begun.is_empty() {
            let cursor = serde_json::to_value(window.cursor())?;
            run.edit(at)?.persistence_data = Some(cursor);
        }
        if let Some(from) = request {
            run.request_items(at, from, self.window_size());
        }
        for (index, item) in begun {
            run.begin_branch(at, &index.to_string(), branch, |child| {
                child.context_item = Some(item);
                child.set(attributes::INDEX, index);
            })?;
        }
        Ok(())
    }
}

impl Primitive for ForEach {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        run.make_ready(at);
        Ok(())
    }

    fn ended(&self, run: &mut Run, at: &str, answer: Answer, env: &mut Env<'_>) -> Moved {
        let Answer { next, apply } = answer;
        let values = match next.branches() {
            Ok(values) => {
                run.apply(apply)?;
                values
            }
            Err(next) => return self.step.ended(run, at, Answer { next, apply }, env),
        };
        if values.is_empty() {
            return Ok(run.complete(at, None, env)?);
        }
        let cursor = Cursor { total: values.len() as u64, next: 0 };
        run.become_container(at, Some(serde_json::to_value(&cursor)?))?;
        let at_hand = values.iter().take(self.window_size()).cloned().collect();
        run.open_window(at, Window::new(cursor, at_hand));
        run.store_items(at, values);
        Ok(self.fill(run, at)?)
    }

    fn event_received(&self, run: &mut Run, at: &str, event: Value, env: &mut Env<'_>) -> Moved {
        self.step.event_received(run, at, event, env)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        self.fill(run, at)?;
        if !run.window(at)?.cursor().has_more() && run.open_branches(at)? == 0 {
            run.close_window(at);
            run.complete(at, None, env)?;
        }
        Ok(())
    }

    fn items_read(&self, run: &mut Run, at: &str, from: u64, values: Vec<Value>, _: &mut Env<'_>) -> Moved {
        if !run.window(at)?.add(from, values) {
            return Err(WfeError::Invalid(format!(
                "the items of {at:?} from position {from} on do not follow those in memory"
            ))
            .into());
        }
        Ok(self.fill(run, at)?)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> std::result::Result<Kept, Spoilt> {
        if pointer.status != PointerStatus::Running {
            return Ok(Kept::Waits); // the state belongs to the body
        }
        Ok(Kept::goes_on_if(Cursor::of(pointer)?.has_more()))
    }

    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> std::result::Result<(), String> {
        if pointer.status.after(PointerChange::Run).is_err() {
            return Err(format!("is a for-each now, but was {}", pointer.status));
        }
        let cursor = Cursor::of(pointer).map_err(|spoilt| format!("has a cursor that {spoilt}"))?;
        let mut window = Window::new(cursor, VecDeque::new());
        if let Some(from) = window.request(self.limit) {
            run.request_items(&pointer.id, from, self.window_size());
        }
        run.open_window(&pointer.id, window);
        Ok(())
    }
}
