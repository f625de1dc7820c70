//! Whether anything was stored.

use futures_util::stream::BoxStream;

use super::Operator;

impl Operator {
    /// A stream that yields an item after something may have been stored, by this process or by another one. The store is
    /// looked at only while the stream is polled. It ends when the store is closed.
    ///
    /// One item may stand for several changes, and an item may come although nothing was stored.
    #[must_use]
    pub fn changes(&self) -> BoxStream<'static, ()> {
        self.management.changes()
    }
}
