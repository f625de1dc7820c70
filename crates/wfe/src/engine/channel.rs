//! The only channel into the engine.
//!
//! The channel carries two kinds of messages. *Orders* are queued, and the engine executes them in the order in which
//! they were sent. *Notifications* say that something in the store may have changed. A new notification merges with the
//! notifications that the engine has not received yet. The engine receives orders and notifications together, and
//! executes the orders first. A notification is therefore never handled before an order that was sent before it.
//!
//! The channel is bounded. A call of the program needs a permit for each message that does not merge with others. The
//! call waits until a permit is available ([`Channel::permit`]). The permit is released when the engine has handled the
//! message. The engine itself needs no permit and never waits: its instances send only notifications, which merge.
//! These notifications announce what a commit holds for other instances. A deadlock is therefore impossible: the engine
//! never waits for the program before it handles a message.

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

/// The sending end of the channel.
pub(in crate::engine) struct Channel {
    state: Mutex<State>,
    /// Notified when a message was sent, or when the host was dropped.
    arrived: Notify,
    permits: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    notifications: Notifications,
    /// The host was dropped: no more messages are sent.
    is_left: bool,
    /// The engine has ended: no more messages are received.
    is_closed: bool,
}

impl Channel {
    /// Creates a channel that holds at most this number of orders and requests of the program at the same time.
    pub fn new(permits: usize) -> Self {
        let permits = Arc::new(Semaphore::new(permits));
        Self { state: Mutex::default(), arrived: Notify::new(), permits }
    }

    /// Returns the permit that a caller needs to send an order, or to report a request for an instance. Waits while all
    /// permits are in use. Returns `None` if the engine has ended.
    pub async fn permit(&self) -> Option<Permit> {
        self.permits.clone().acquire_owned().await.ok()
    }

    /// Sends an order. Returns the order as an error if the engine has ended.
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

    /// Notifies the engine of what `note` records. Does nothing once the engine has ended, because the next engine
    /// finds the change in the store.
    pub fn notify(&self, note: impl FnOnce(&mut Notifications)) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        note(&mut state.notifications);
        drop(state);
        self.arrived.notify_one();
    }

    /// Notifies the engine that the host was dropped.
    pub fn leave(&self) {
        self.lock().is_left = true;
        self.arrived.notify_one();
    }

    /// Whether the engine has ended.
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The receiving end of the channel. The engine holds this end; the channel closes when the end is dropped.
pub(in crate::engine) struct Receiver {
    channel: Arc<Channel>,
    /// The orders that the last call of `receive` returned. The queue is kept only to reuse its memory.
    orders: VecDeque<Order>,
}

/// All messages that one call of [`Receiver::receive`] has taken from the channel.
pub(in crate::engine) struct Received<'a> {
    /// The orders, which the engine executes before it handles the notifications.
    pub orders: &'a mut VecDeque<Order>,
    pub notifications: Notifications,
    /// The host was dropped: no more messages follow.
    pub is_last: bool,
}

impl Receiver {
    pub fn new(channel: Arc<Channel>) -> Self {
        Self { channel, orders: VecDeque::new() }
    }

    /// Waits until a message was sent, and then takes all messages that the channel holds.
    pub async fn receive(&mut self) -> Received<'_> {
        self.channel.arrived.notified().await;
        self.orders.clear();
        let mut state = self.channel.lock();
        mem::swap(&mut state.orders, &mut self.orders);
        let (notifications, is_last) = (mem::take(&mut state.notifications), state.is_left);
        drop(state);
        Received { orders: &mut self.orders, notifications, is_last }
    }

    /// Whether the channel holds no messages at the moment.
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
        // Dropping these messages also ends the wait of the callers that expect a reply to one of them.
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
