use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Result, WfeError,
    definition::{Answer, Body},
    executor::{Env, Primitive, Run, Want, new_pointer},
    models::{ExecutionPointer, PointerChange, PointerStatus},
    steps::{INDEX, LAST, StepError},
    traits::Items,
};

/// Items read at once beyond what the limit asks for: enough that reading keeps ahead of the steps.
const READ_AHEAD: usize = 64;

/// For-each: computes its items once, then runs its branch for each of them, `limit` at a time.
///
/// The items are stored apart from the pointer, which keeps only the cursor, and are read in windows: neither memory
/// nor the cost of an iteration grows with their number. An ended iteration leaves the live instance.
pub(crate) struct ForEach {
    items: Body,
    limit: usize,
}

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

/// The items at hand, from the cursor on.
pub(in crate::executor) struct Window {
    cursor: Cursor,
    values: VecDeque<Value>,
    asked: bool,
}

impl ForEach {
    pub fn new(items: Body, limit: usize) -> Self {
        Self { items, limit }
    }

    fn window_size(&self) -> usize {
        self.limit.saturating_add(READ_AHEAD)
    }

    /// Begins as many iterations as may run and have their items at hand, and asks for more items in time.
    fn fill(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Result<()> {
        let container = run.live.get(at)?;
        let (mut live, mut scope) = (container.children.len(), container.scope.clone());
        scope.push(at.to_owned());
        let definition = run.definition().clone();
        let first = definition.node(run.node_of(at)?.branches[0].first);
        let mut begun = Vec::new();
        let window = run.windows.get_mut(at).ok_or_else(|| no_window(at))?;
        while live < self.limit
            && let Some(item) = window.values.pop_front()
        {
            let index = window.cursor.next;
            window.cursor.next += 1;
            let mut child = new_pointer(format!("{at}/{index}/{}", first.id), first);
            child.scope.clone_from(&scope);
            child.context_item = Some(item);
            child.extension_attributes.insert(INDEX.to_owned(), index.into());
            begun.push(child);
            live += 1;
        }
        let loaded = window.cursor.next + window.values.len() as u64;
        if window.values.len() < self.limit && loaded < window.cursor.total && !window.asked {
            window.asked = true;
            let limit = self.window_size();
            run.wants.push(Want { container: at.to_owned(), from: loaded, limit });
        }
        let cursor = serde_json::to_value(&window.cursor)?;
        if !begun.is_empty() {
            let container = run.live.edit(at)?;
            container.persistence_data = Some(cursor);
            container.children.extend(begun.iter().map(|c| c.id.clone()));
        }
        for child in begun {
            let id = child.id.clone();
            run.live.add(child);
            first.primitive.enter(run, &id, env)?;
        }
        Ok(())
    }

    fn is_over(run: &Run, at: &str) -> Result<bool> {
        let window = run.windows.get(at).ok_or_else(|| no_window(at))?;
        Ok(window.cursor.next >= window.cursor.total && run.live.get(at)?.children.is_empty())
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
    fn kind(&self) -> &'static str {
        "for-each"
    }

    fn problem(&self) -> Option<String> {
        (self.limit == 0).then(|| "its limit is 0, it must be 1 or more".to_owned())
    }

    fn body(&self) -> Option<&Body> {
        Some(&self.items)
    }

    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Result<()> {
        run.make_ready(at);
        Ok(())
    }

    fn ended(
        &self,
        run: &mut Run,
        at: &str,
        answer: Answer,
        env: &mut Env<'_>,
    ) -> Result<std::result::Result<(), StepError>> {
        let Answer::Items(values) = answer else {
            return Ok(Err(StepError::fatal("a for-each got no items").with_code(StepError::DEFINITION)));
        };
        if values.is_empty() {
            return run.complete(at, None, env).map(Ok);
        }
        let cursor = Cursor { total: values.len() as u64, next: 0 };
        run.become_container(at, self.kind(), serde_json::to_value(&cursor)?)?;
        let at_hand = values.iter().take(self.window_size()).cloned().collect();
        run.windows.insert(at.to_owned(), Window { cursor, values: at_hand, asked: false });
        run.delta.items.push(Items { container: at.to_owned(), values });
        self.fill(run, at, env).map(Ok)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, last: &str, env: &mut Env<'_>) -> Result<()> {
        let first = run.retire_branch(at, last, |end| {
            end.extension_attributes.insert(LAST.to_owned(), true.into());
        })?;
        run.live.edit(at)?.children.retain(|child| *child != first);
        self.fill(run, at, env)?;
        if Self::is_over(run, at)? {
            run.windows.remove(at);
            run.complete(at, None, env)?;
        }
        Ok(())
    }

    fn items_came(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.fill(run, at, env)
    }

    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> std::result::Result<(), String> {
        if pointer.status.after(PointerChange::Run).is_err() {
            return Err(format!("is a for-each now, but was {}", pointer.status));
        }
        let kept = pointer.persistence_data.clone().unwrap_or(Value::Null);
        let cursor: Cursor =
            serde_json::from_value(kept).map_err(|e| format!("has a cursor that does not decode ({e})"))?;
        let from = cursor.next;
        let asked = from < cursor.total;
        run.windows.insert(pointer.id.clone(), Window { cursor, values: VecDeque::new(), asked });
        if asked {
            run.wants.push(Want { container: pointer.id.clone(), from, limit: self.window_size() });
        }
        Ok(())
    }
}

fn no_window(at: &str) -> WfeError {
    WfeError::Invalid(format!("the for-each {at:?} has lost its items"))
}
