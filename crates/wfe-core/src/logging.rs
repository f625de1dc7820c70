//! `tracing`, without its panics: for the engine and its stores, which log with these and with nothing else.
//!
//! A subscriber is the program's code, and may panic: one that writes to the standard error does when the disk behind it is
//! full. In a thread of the engine or of a store that would be the end of the thread, and in a destructor that runs while
//! another panic unwinds, the end of the process. Here it ends the one event, or what was to be done to the one span.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tracing::{
    Dispatch, Value,
    dispatcher::{has_been_set, set_default},
};

pub use tracing;

use crate::error::drop_payload;
pub use crate::{
    __debug as debug, __error as error, __info as info, __info_span as info_span, __trace as trace,
    __warn as warn,
};

/// As [`tracing::error!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::error!($($event)+))
    };
}

/// As [`tracing::warn!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::warn!($($event)+))
    };
}

/// As [`tracing::info!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::info!($($event)+))
    };
}

/// As [`tracing::debug!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::debug!($($event)+))
    };
}

/// As [`tracing::trace!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::trace!($($event)+))
    };
}

/// As [`tracing::info_span!`], but gives a [`Span`].
#[doc(hidden)]
#[macro_export]
macro_rules! __info_span {
    ($($span:tt)+) => {
        $crate::logging::Span::new(|| $crate::logging::tracing::info_span!($($span)+))
    };
}

/// Tells what `tell` does, unless that panics.
pub fn event(tell: impl FnOnce()) {
    guarded(tell);
}

/// What comes of it; `None`: it has panicked. The program's panic hook has said so.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => Some(done),
        Err(payload) => {
            drop_payload(payload);
            None
        }
    }
}

/// A span of `tracing`. Where the subscriber panics, what is in it goes on all the same.
#[derive(Debug)]
pub struct Span(Option<tracing::Span>);

impl Span {
    /// The span that `make` makes; if that panics, none.
    pub fn new(make: impl FnOnce() -> tracing::Span) -> Self {
        Self(guarded(make))
    }

    /// The one that this thread is in.
    #[must_use]
    pub fn current() -> Self {
        Self::new(tracing::Span::current)
    }

    /// Records the value of a field that the span was made with.
    pub fn record(&self, field: &'static str, value: impl Value) -> &Self {
        if let Some(span) = &self.0 {
            guarded(|| span.record(field, value));
        }
        self
    }

    /// Does `work` in it.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        work()
    }

    /// The same future, each poll of it in this span, and its drop too.
    pub fn instrument<F: Future>(self, future: F) -> Instrumented<F> {
        Instrumented { future: Some(Box::pin(future)), span: self }
    }

    fn enter(&self) -> Entered<'_> {
        if let Some(span) = &self.0 {
            guarded(|| span.with_subscriber(|(id, dispatch)| dispatch.enter(id)));
        }
        Entered(self)
    }

    fn exit(&self) {
        if let Some(span) = &self.0 {
            guarded(|| span.with_subscriber(|(id, dispatch)| dispatch.exit(id)));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let span = self.0.take();
        guarded(|| drop(span));
    }
}

/// This thread is in the span.
struct Entered<'a>(&'a Span);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.exit();
    }
}

/// A future in a span; from [`Span::instrument`].
#[derive(Debug)]
pub struct Instrumented<F> {
    future: Option<Pin<Box<F>>>,
    span: Span,
}

impl<F: Future> Future for Instrumented<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, span } = self.get_mut();
        let _entered = span.enter();
        // It is there until this is dropped.
        future.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(context))
    }
}

impl<F> Drop for Instrumented<F> {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        self.future = None;
    }
}

/// The same future, without the program's subscriber: for calls into libraries that log by themselves.
///
/// Where a program has none, nothing is set in its place: that would be for good, and keep `tracing` from handing on
/// events to `log`.
pub async fn unlogged<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _silence = has_been_set().then(|| set_default(&Dispatch::none()));
        future.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        panic,
        sync::atomic::{AtomicU64, Ordering::SeqCst},
    };

    use tracing::{
        Event, Metadata, Subscriber,
        span::{Attributes, Id, Record},
        subscriber::with_default,
    };

    use super::*;

    /// What it is told of, before it panics.
    #[derive(Default)]
    struct Bomb([AtomicU64; 6]);

    impl Bomb {
        fn strike(&self, what: usize) -> ! {
            self.0[what].fetch_add(1, SeqCst);
            panic!("a subscriber's panic");
        }
    }

    impl Subscriber for &'static Bomb {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            if span.metadata().name() == "never" {
                self.strike(0)
            }
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {
            self.strike(1)
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.strike(2)
        }

        fn enter(&self, _: &Id) {
            self.strike(3)
        }

        fn exit(&self, _: &Id) {
            self.strike(4)
        }

        fn try_close(&self, _: Id) -> bool {
            self.strike(5)
        }
    }

    struct Tells;

    impl Drop for Tells {
        fn drop(&mut self) {
            crate::logging::warn!(unwinding = std::thread::panicking(), "dropped");
        }
    }

    /// With a panic that is under way, a second one that leaves a destructor would end the process.
    #[test]
    fn a_subscriber_that_panics_ends_neither_what_is_logged_nor_the_unwinding_that_is_under_way() {
        let bomb: &'static Bomb = Box::leak(Box::default());
        with_default(bomb, || {
            let never = crate::logging::info_span!("never");
            assert_eq!(never.in_scope(|| 7), 7);
            let said = panic::catch_unwind(|| {
                let span = crate::logging::info_span!("span", field = tracing::field::Empty);
                let _tells = Tells;
                span.record("field", 1).in_scope(|| {
                    let _tells = Tells;
                    panic!("a body's panic")
                })
            });
            assert_eq!(said.unwrap_err().downcast_ref(), Some(&"a body's panic"));
        });
        let struck: Vec<_> = bomb.0.iter().map(|count| count.load(SeqCst)).collect();
        assert_eq!(struck, [1, 1, 2, 1, 1, 1]);
    }

    #[tokio::test]
    async fn what_runs_unlogged_is_in_no_span_and_tells_no_subscriber() {
        let bomb: &'static Bomb = Box::leak(Box::default());
        let _default = set_default(&Dispatch::new(bomb));
        // As other libraries do it.
        let library = async {
            tokio::task::yield_now().await;
            tracing::error!("told to nobody");
            tracing::Span::current().is_none()
        };
        assert!(unlogged(library).await);
        assert_eq!(bomb.0[2].load(SeqCst), 0);
    }
}
