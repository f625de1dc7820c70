//! Receives the messages of the channel. A message that needs no access to the store is handled at once, even while the
//! main loop waits for the store.

use std::{future::Future, mem, pin::pin, sync::Arc};

use tokio::sync::{oneshot, watch};
use wfe_core::logging;

use super::actors::Actors;
use crate::engine::{
    channel::Receiver,
    instance::actor::State,
    message::{NewInstance, Order, Phase},
    state::{notifications::Notifications, outcome::Idle, shared::Shared},
    task,
};

pub(super) struct Inbox {
    shared: Arc<Shared>,
    receiver: Receiver,
    /// Messages that arrived while the main loop waited for the store. The main loop must handle them, because they
    /// need the store themselves.
    pending: Pending,
    stop: Option<oneshot::Sender<()>>,
    /// The host was dropped.
    is_over: bool,
    actors: Arc<Actors>,
    phase: watch::Sender<Phase>,
}

/// The messages that the main loop has to handle.
#[derive(Default)]
pub(super) struct Pending {
    pub notifications: Notifications,
    /// Callers that wait until the host is idle. If such a caller sent notifications before it began to wait, these are
    /// included in `notifications`.
    pub idlers: Vec<oneshot::Sender<Idle>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.notifications.is_empty() && self.idlers.is_empty()
    }
}

pub(super) enum Next {
    Work(Pending),
    /// The host stops. Holds the last messages, and the sender that replies to the caller that stops the host.
    Stop(Pending, oneshot::Sender<()>),
    /// The host was dropped.
    Over,
}

impl Inbox {
    pub fn new(
        shared: Arc<Shared>,
        receiver: Receiver,
        actors: Arc<Actors>,
        phase: watch::Sender<Phase>,
    ) -> Self {
        Self { shared, receiver, pending: Pending::default(), stop: None, is_over: false, actors, phase }
    }

    /// Returns the next work for the main loop.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(answer) = self.stop.take() {
                return Next::Stop(mem::take(&mut self.pending), answer);
            }
            if !self.pending.is_empty() {
                return Next::Work(mem::take(&mut self.pending));
            }
            if self.is_over {
                return Next::Over;
            }
            self.receive().await;
        }
    }

    /// Whether all messages were passed on or handled.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.receiver.is_empty()
    }

    /// Whether the host was dropped.
    pub fn is_left(&self) -> bool {
        self.receiver.is_left()
    }

    /// Runs `work`, which may wait for the store, and handles incoming messages meanwhile. During the wait, new
    /// instances start, busy instances are notified of requests, and the grace time of a stopping host runs.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.receive(), if !self.is_over => {}
            }
        }
    }

    /// Waits for messages, and handles those that need no access to the store.
    async fn receive(&mut self) {
        let mut received = self.receiver.receive().await;
        self.is_over = received.is_last;
        let mut stops = false;
        for order in received.orders.drain(..) {
            match order {
                Order::Start(new) => {
                    let NewInstance { claimed, loaded, work, permit } = *new;
                    drop(permit);
                    self.actors.begin(claimed, State::Here(Box::new(loaded)), work);
                }
                Order::Idle(answer, permit) => {
                    drop(permit);
                    self.pending.idlers.push(answer);
                }
                Order::Stop(answer) => (self.stop, stops) = (Some(answer), true),
            }
        }
        let notifications = &mut received.notifications;
        // Requests remain in the list if their instances have no actor here; the main loop looks for these instances in
        // the store.
        notifications.requested.retain(|id, _| !self.actors.look(id));
        notifications.by_commits.retain(|id| !self.actors.look(id));
        for id in mem::take(&mut notifications.woken) {
            self.actors.look(&id);
        }
        self.shared.sweep_list.note(mem::take(&mut notifications.events));
        self.pending.notifications.merge(received.notifications);
        if stops {
            self.grace_begins();
        }
    }

    /// Starts the grace time. The grace time is measured in real time, because it has to meet deadlines that do not
    /// follow a virtual clock, such as the shutdown of the operating system.
    fn grace_begins(&self) {
        let (grace, actors, phase) = (self.shared.options.grace, self.actors.clone(), self.phase.clone());
        task::spawn(async move {
            tokio::time::sleep(grace).await;
            logging::warn!(instances = actors.len(), "the grace time is over; steps still run");
            phase.send_replace(Phase::Closing);
        });
    }
}
