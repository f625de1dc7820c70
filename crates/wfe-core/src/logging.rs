//! The `tracing` macros, wrapped so that panics of the subscriber are caught. The engine and the stores log
//! only with these macros.
//!
//! A subscriber is the program's code, and may panic. For example, a subscriber that writes to standard error
//! panics if standard error is a file on a full disk. Such a panic would end a thread of the engine or of a
//! store. If a destructor logs while another panic unwinds the stack, the subscriber's panic would abort the
//! process. With these macros, only the event or span that panicked is lost.

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

/// Like [`tracing::error!`], but catches a panic of the subscriber.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::error!($($event)+))
    };
}

/// Like [`tracing::warn!`], but catches a panic of the subscriber.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::warn!($($event)+))
    };
}

/// Like [`tracing::info!`], but catches a panic of the subscriber.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::info!($($event)+))
    };
}

/// Like [`tracing::debug!`], but catches a panic of the subscriber.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::debug!($($event)+))
    };
}

/// Like [`tracing::trace!`], but catches a panic of the subscriber.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($event:tt)+) => {
        $crate::logging::event(|| $crate::logging::tracing::trace!($($event)+))
    };
}

/// Like [`tracing::info_span!`], but returns a [`Span`].
#[doc(hidden)]
#[macro_export]
macro_rules! __info_span {
    ($($span:tt)+) => {
        $crate::logging::Span::new(|| $crate::logging::tracing::info_span!($($span)+))
    };
}

/// Calls `emit`, and catches any panic in it.
pub fn event(emit: impl FnOnce()) {
    guarded(emit);
}

/// Returns the result of the call, or `None` if the call panicked. The program's panic hook has already
/// reported the panic.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let (mut call, mut done) = (Some(call), None);
    guarded_call(&mut || done = call.take().map(|call| call()));
    done
}

/// This function is compiled once, not once for each call: events are logged at more than a hundred places.
fn guarded_call(call: &mut dyn FnMut()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        drop_payload(payload);
    }
}

/// A span of `tracing`. If the subscriber panics, the code inside the span still runs.
#[derive(Debug)]
pub struct Span(Option<tracing::Span>);

impl Span {
    /// The span that `make` returns. If `make` panics, the span is empty.
    pub fn new(make: impl FnOnce() -> tracing::Span) -> Self {
        Self(guarded(make))
    }

    /// The current span of this thread.
    #[must_use]
    pub fn current() -> Self {
        Self::new(tracing::Span::current)
    }

    /// Sets the value of a field. The span must have been created with this field.
    pub fn record(&self, field: &'static str, value: impl Value) -> &Self {
        if let Some(span) = &self.0 {
            guarded(|| span.record(field, value));
        }
        self
    }

    /// Runs `work` inside the span.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        work()
    }

    /// Wraps the future. Each poll of the future, and its drop, then run inside this span.
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

/// A guard. The thread that created the guard is inside the span until the guard is dropped.
struct Entered<'a>(&'a Span);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.exit();
    }
}

/// A future inside a span. [`Span::instrument`] returns it.
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
        // The future is `None` only during `drop`.
        future.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(context))
    }
}

impl<F> Drop for Instrumented<F> {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        self.future = None;
    }
}

/// Runs the future without the program's subscriber. This function is for calls of libraries that use
/// `tracing` directly.
///
/// While the future runs, an empty subscriber replaces the program's subscriber. If the program has no
/// subscriber, no empty subscriber is set: once any subscriber was set, `tracing` passes no more events on to
/// `log`.
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

    /// A subscriber that panics in its methods, and counts the calls of each method.
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

    struct LogsOnDrop;

    impl Drop for LogsOnDrop {
        fn drop(&mut self) {
            crate::logging::warn!(unwinding = std::thread::panicking(), "dropped");
        }
    }

    /// If a panic leaves a destructor while another panic unwinds the stack, the process aborts.
    #[test]
    fn a_panicking_subscriber_stops_neither_the_code_that_logs_nor_an_unwinding() {
        let bomb: &'static Bomb = Box::leak(Box::default());
        with_default(bomb, || {
            let never = crate::logging::info_span!("never");
            assert_eq!(never.in_scope(|| 7), 7);
            let said = panic::catch_unwind(|| {
                let span = crate::logging::info_span!("span", field = tracing::field::Empty);
                let _logs = LogsOnDrop;
                span.record("field", 1).in_scope(|| {
                    let _logs = LogsOnDrop;
                    panic!("a body's panic")
                })
            });
            assert_eq!(said.unwrap_err().downcast_ref(), Some(&"a body's panic"));
        });
        let struck: Vec<_> = bomb.0.iter().map(|count| count.load(SeqCst)).collect();
        assert_eq!(struck, [1, 1, 2, 1, 1, 1]);
    }

    #[tokio::test]
    async fn an_unlogged_future_is_in_no_span_and_reaches_no_subscriber() {
        let bomb: &'static Bomb = Box::leak(Box::default());
        let _default = set_default(&Dispatch::new(bomb));
        // A library that calls `tracing` directly.
        let library = async {
            tokio::task::yield_now().await;
            tracing::error!("not logged");
            tracing::Span::current().is_none()
        };
        assert!(unlogged(library).await);
        assert_eq!(bomb.0[2].load(SeqCst), 0);
    }
}
