//! What the host asks of its engine, in order. What needs nothing of the store is done while the main loop waits for it.

use std::{collections::VecDeque, future::Future, pin::pin, sync::Arc};

use tokio::sync::{mpsc, watch};
use wfe_core::logging;

use super::actors::Actors;
use crate::engine::{
    command::{Begin, Command},
    instance::actor::State,
    message::Phase,
    state::shared::Shared,
};

pub(super) struct Commands {
    shared: Arc<Shared>,
    receiver: mpsc::UnboundedReceiver<Command>,
    /// Those that came while the main loop waited for the store, and need it too.
    waiting: VecDeque<Command>,
    /// The host was dropped.
    is_over: bool,
    actors: Arc<Actors>,
    phase: watch::Sender<Phase>,
}

impl Commands {
    pub fn new(
        shared: Arc<Shared>,
        receiver: mpsc::UnboundedReceiver<Command>,
        actors: Arc<Actors>,
        phase: watch::Sender<Phase>,
    ) -> Self {
        Self { shared, receiver, waiting: VecDeque::new(), is_over: false, actors, phase }
    }

    /// The next one that is not done here; `None`: the host was dropped.
    pub async fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.waiting.pop_front() {
                return Some(command);
            }
            if self.is_over {
                return None;
            }
            self.hear().await;
        }
    }

    /// Whether the host can send any more.
    pub fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    /// The same work, which may wait for the store. Meanwhile an instance that was started begins, one that is busy is told
    /// to look, and the grace time of a host that is stopped runs.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.hear(), if !self.is_over => {}
            }
        }
    }

    /// Waits for one, and does it if that needs nothing of the store.
    async fn hear(&mut self) {
        match self.receiver.recv().await {
            None => self.is_over = true,
            Some(Command::Run(begin)) => {
                let Begin { claimed, loaded, work } = *begin;
                self.actors.begin(claimed, State::Here(Box::new(loaded)), work);
            }
            Some(Command::Wake(id)) if self.actors.tell(&id) => {}
            Some(command) => {
                if matches!(command, Command::Stop(_)) {
                    self.grace_begins();
                }
                self.waiting.push_back(command);
            }
        }
    }

    /// Real time: what it is to be in time for (an operating system that goes down, say) knows of no virtual one.
    fn grace_begins(&self) {
        let (grace, actors, phase) = (self.shared.options.grace, self.actors.clone(), self.phase.clone());
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            logging::warn!(instances = actors.len(), "the grace time is over; steps still run");
            phase.send_replace(Phase::Closing);
        });
    }
}
