//! The one channel into the engine.
//!
//! Two kinds of things go through it. *Orders* are queued, and taken up in the order in which they were sent.
//! *Notifications* say that something in the store may have changed; they merge with those that the engine has not taken up
//! yet. Both are taken together, and orders first: a notification never comes before an order that was sent before it.
//!
//! The channel is bounded. Whatever a caller of the program sends that does not merge needs a permit, and callers wait for
//! one ([`Channel::permit`]). The permit is free again when the engine has taken up what was sent. The engine itself (its
//! instances notify it of what their commits hold for others) needs no permit and never waits: it sends notifications only,
//! which merge. So no circle of waiting can come about: the engine takes up what was sent whatever the program does, and
//! asks nothing of the program for that.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::{Notify, Semaphore};
use wfe_core::sync::lock;

use super::{
    message::Order,
    state::notifications::{Notifications, Permit},
};

/// The end of the channel at which it is sent.
pub(in crate::engine) struct Channel {
    state: Mutex<State>,
    /// Something was sent that was not taken up.
    arrived: Notify,
    permits: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    notifications: Notifications,
    /// The host was dropped: nothing is sent any more.
    is_left: bool,
    /// The engine has ended: nothing is taken up any more.
    is_closed: bool,
}

impl Channel {
    /// For so many orders and requests of the program at once.
    pub fn new(permits: usize) -> Self {
        let permits = Arc::new(Semaphore::new(permits));
        Self { state: Mutex::default(), arrived: Notify::new(), permits }
    }

    /// What a caller needs to send an order or to name an instance; waits while the engine has enough to take up. `None`:
    /// the engine has ended.
    pub async fn permit(&self) -> Option<Permit> {
        self.permits.clone().acquire_owned().await.ok()
    }

    /// `Err`: the engine has ended.
    pub fn order(&self, order: Order) -> std::result::Result<(), Order> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(order);
        }
        state.orders.push_back(order);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Has the engine look after what this notes. Once the engine has ended, nothing: the next one finds it in the store.
    pub fn notify(&self, note: impl FnOnce(&mut Notifications)) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        note(&mut state.notifications);
        drop(state);
        self.arrived.notify_one();
    }

    /// The host was dropped.
    pub fn leave(&self) {
        self.lock().is_left = true;
        self.arrived.notify_one();
    }

    /// The engine has ended.
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The engine's end of the channel. Dropped, it closes the channel.
pub(in crate::engine) struct Receiver {
    channel: Arc<Channel>,
    /// Empty between two calls: its memory is used again.
    orders: VecDeque<Order>,
}

/// What has come out of the channel at once.
pub(in crate::engine) struct Received<'a> {
    /// To be taken up first.
    pub orders: &'a mut VecDeque<Order>,
    pub notifications: Notifications,
    /// The host was dropped: this is the last that comes.
    pub is_last: bool,
}

impl Receiver {
    pub fn new(channel: Arc<Channel>) -> Self {
        Self { channel, orders: VecDeque::new() }
    }

    /// Waits until something was sent, and takes all of it.
    pub async fn receive(&mut self) -> Received<'_> {
        self.channel.arrived.notified().await;
        self.orders.clear();
        let mut state = self.channel.lock();
        mem::swap(&mut state.orders, &mut self.orders);
        let (notifications, is_last) = (mem::take(&mut state.notifications), state.is_left);
        drop(state);
        Received { orders: &mut self.orders, notifications, is_last }
    }

    /// Whether nothing is there for now.
    pub fn is_empty(&self) -> bool {
        let state = self.channel.lock();
        state.orders.is_empty() && state.notifications.is_empty()
    }

    /// Whether the host was dropped.
    pub fn is_left(&self) -> bool {
        self.channel.lock().is_left
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.channel.permits.close();
        let mut state = self.channel.lock();
        state.is_closed = true;
        let left = (mem::take(&mut state.orders), mem::take(&mut state.notifications));
        drop(state);
        // Callers that wait for an answer to one of these learn now that none comes.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    fn channel(permits: usize) -> (Arc<Channel>, Receiver) {
        let channel = Arc::new(Channel::new(permits));
        let receiver = Receiver::new(channel.clone());
        (channel, receiver)
    }

    #[tokio::test]
    async fn orders_come_in_the_order_in_which_they_were_sent_and_with_all_that_was_notified_before() {
        let (channel, mut receiver) = channel(2);
        let (idle, stop) = (oneshot::channel(), oneshot::channel());
        channel.notify(Notifications::definitions_changed);
        let permit = channel.permit().await.unwrap();
        assert!(channel.order(Order::Idle(idle.0, permit)).is_ok());
        channel.notify(Notifications::deliverable);
        assert!(channel.order(Order::Stop(stop.0)).is_ok());
        let all = receiver.receive().await;
        assert!(matches!(all.orders.pop_front(), Some(Order::Idle(..))));
        assert!(matches!(all.orders.pop_front(), Some(Order::Stop(_))));
        assert!(all.notifications.has_definitions && all.notifications.is_deliverable);
        assert!(receiver.is_empty());
        let mut nothing_more = std::pin::pin!(receiver.receive());
        assert!(nothing_more.as_mut().now_or_never().is_none());
        channel.notify(Notifications::deliverable);
        assert!(nothing_more.await.notifications.is_deliverable);
    }

    #[tokio::test]
    async fn a_caller_waits_for_a_permit_until_what_was_sent_is_taken_up_and_a_notification_needs_none() {
        let (channel, mut receiver) = channel(1);
        let permit = channel.permit().await;
        channel.notify(|all| all.request("one", permit));
        let mut next = Box::pin(channel.permit());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(channel.permit().now_or_never().is_none(), "a wait that is dropped takes none");
        for _ in 0..10 {
            channel.notify(|all| all.event_stored("event", None));
        }
        let notifications = receiver.receive().await.notifications;
        assert!(next.as_mut().now_or_never().is_none(), "it is not done yet");
        assert_eq!((notifications.requested.len(), notifications.events.ids.len()), (1, 1));
        drop(notifications);
        assert!(next.now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn an_engine_that_has_ended_lets_all_go_who_wait_and_takes_nothing() {
        let (channel, receiver) = channel(1);
        let permit = channel.permit().await.unwrap();
        let mut waits = Box::pin(channel.permit());
        assert!(waits.as_mut().now_or_never().is_none());
        let (answer, idle) = oneshot::channel();
        assert!(channel.order(Order::Idle(answer, permit)).is_ok());
        drop(receiver);
        assert!(channel.is_closed());
        assert!(idle.await.is_err() && waits.await.is_none());
        let (answer, stopped) = oneshot::channel();
        assert!(channel.order(Order::Stop(answer)).is_err());
        channel.notify(Notifications::deliverable);
        assert!(stopped.await.is_err() && channel.lock().notifications.is_empty());
    }
}
