//! The items that for-each steps have read ahead.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Run;
use crate::{Result, WfeError, executor::Spoilt, models::ExecutionPointer};

/// The progress of a for-each, as its pointer stores it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Cursor {
    /// The number of items.
    pub total: u64,
    /// The position of the first item whose iteration has not begun.
    pub next: u64,
}

impl Cursor {
    /// Reads the cursor from the pointer of a running for-each.
    pub fn of(pointer: &ExecutionPointer) -> std::result::Result<Self, Spoilt> {
        let cursor = Self::deserialize(pointer.persistence_data.as_ref().unwrap_or(&Value::Null))?;
        if cursor.next > cursor.total { Err(Spoilt::Impossible) } else { Ok(cursor) }
    }

    pub fn has_more(&self) -> bool {
        self.next < self.total
    }
}

/// Those items of one for-each that are in memory. The first of them is at the position of the cursor.
pub(in crate::executor) struct Window {
    cursor: Cursor,
    values: VecDeque<Value>,
    is_requested: bool,
}

impl Window {
    pub fn new(cursor: Cursor, values: VecDeque<Value>) -> Self {
        Self { cursor, values, is_requested: false }
    }

    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Removes the next item from memory, and returns it with its position.
    pub fn next(&mut self) -> Option<(u64, Value)> {
        let item = (self.cursor.next, self.values.pop_front()?);
        self.cursor.next += 1;
        Some(item)
    }

    /// If fewer than `limit` items are in memory, returns the position of the first item that must be requested.
    /// Returns `None` if no more items are needed, or if a request is already in progress.
    pub fn request(&mut self, limit: usize) -> Option<u64> {
        let loaded = self.loaded();
        let is_needed = self.values.len() < limit && loaded < self.cursor.total && !self.is_requested;
        self.is_requested |= is_needed;
        is_needed.then_some(loaded)
    }

    /// Adds `values`, which are the items from position `from` on. Returns `false` if there are no values, or if they
    /// do not follow directly after the items in memory.
    pub fn add(&mut self, from: u64, values: Vec<Value>) -> bool {
        self.is_requested = false;
        let fits = from == self.loaded() && !values.is_empty();
        if fits {
            self.values.extend(values);
        }
        fits
    }

    fn loaded(&self) -> u64 {
        self.cursor.next + self.values.len() as u64
    }
}

/// The windows of all for-each steps of an instance.
#[derive(Default)]
pub(super) struct Windows(HashMap<String, Window>);

impl Windows {
    pub fn contains(&self, pointer: &str) -> bool {
        self.0.contains_key(pointer)
    }

    pub fn close(&mut self, pointer: &str) {
        self.0.remove(pointer);
    }

    pub fn close_all(&mut self) {
        self.0.clear();
    }

    /// Whether some requested items are still unread.
    pub fn has_requests(&self) -> bool {
        self.0.values().any(|window| window.is_requested)
    }
}

impl Run {
    pub(in crate::executor) fn open_window(&mut self, at: &str, window: Window) {
        self.windows.0.insert(at.to_owned(), window);
    }

    pub(in crate::executor) fn window(&mut self, at: &str) -> Result<&mut Window> {
        self.windows
            .0
            .get_mut(at)
            .ok_or_else(|| WfeError::Invalid(format!("the for-each {at:?} has lost its items")))
    }

    pub(in crate::executor) fn close_window(&mut self, at: &str) {
        self.windows.close(at);
    }
}
