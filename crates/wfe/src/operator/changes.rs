//! Whether anything was stored.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::Operator;

impl Operator {
    /// A stream that yields an item after something may have been stored, by this process or by another one. The store is
    /// looked at only while the stream is polled.
    ///
    /// One item may stand for several changes, and an item may come although nothing was stored.
    #[must_use]
    pub fn changes(&self) -> BoxStream<'static, ()> {
        // The news of starts, events and ends come at once, the rest when the store looks for it.
        stream::select(self.store.news(), self.management.changes()).boxed()
    }
}
