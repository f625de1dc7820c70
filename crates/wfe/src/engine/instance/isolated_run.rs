//! The trial of a suspect.

use tokio::task::JoinHandle;

use crate::engine::isolation::Ticket;

/// The trial of an instance. This value exists for as long as the instance is a suspect.
pub(in crate::engine) struct Trial {
    pub(super) ticket: Ticket,
    /// The task that ends the trial if the trial lasts for too long.
    pub(super) watch: JoinHandle<()>,
}

impl Trial {
    /// The number of the ticket. The bodies of the instance pass this number when they start.
    pub fn number(&self) -> u64 {
        self.ticket.number()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
