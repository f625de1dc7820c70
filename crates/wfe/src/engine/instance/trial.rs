//! The trial of a suspect.

use tokio::task::JoinHandle;

use crate::engine::isolation::Ticket;

/// An instance that is a suspect, as long as it is one.
pub(in crate::engine) struct Trial {
    pub(super) ticket: Ticket,
    /// Ends the trial if that lasts for too long.
    pub(super) watch: JoinHandle<()>,
}

impl Trial {
    /// By which its bodies begin.
    pub fn number(&self) -> u64 {
        self.ticket.number()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
