//! What comes through the channel. What needs nothing of the store is done at once, also while the main loop waits for the
//! store.

use std::{future::Future, mem, pin::pin, sync::Arc};

use tokio::sync::{oneshot, watch};
use wfe_core::logging;

use super::actors::Actors;
use crate::engine::{
    channel::Receiver,
    instance::actor::State,
    message::{NewInstance, Order, Phase},
    state::{notifications::Notifications, outcome::Idle, shared::Shared},
};

pub(super) struct Inbox {
    shared: Arc<Shared>,
    receiver: Receiver,
    /// What came while the main loop waited for the store, and needs it too.
    pending: Pending,
    stop: Option<oneshot::Sender<()>>,
    /// The host was dropped.
    is_over: bool,
    actors: Arc<Actors>,
    phase: watch::Sender<Phase>,
}

/// What the main loop is to do.
#[derive(Default)]
pub(super) struct Pending {
    pub notifications: Notifications,
    /// Callers that wait until the host is idle. What they have notified the engine of before is among the notifications.
    pub idlers: Vec<oneshot::Sender<Idle>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.notifications.is_empty() && self.idlers.is_empty()
    }
}

pub(super) enum Next {
    Work(Pending),
    /// The host stops: the last work, and whom to answer then.
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

    /// The next work that is not done here.
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

    /// Whether nothing has come that was not taken up.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.receiver.is_empty()
    }

    /// Whether the host was dropped.
    pub fn is_left(&self) -> bool {
        self.receiver.is_left()
    }

    /// The same work, which may wait for the store. Meanwhile an instance that was started begins, one that is busy is mailed
    /// to look, and the grace time of a host that is stopped runs.
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

    /// Waits for something, and does what needs nothing of the store.
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
        // Those that are not at work here are looked for in the store.
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
