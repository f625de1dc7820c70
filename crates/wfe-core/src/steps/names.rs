//! Names with types: both sides of an event, an activity or a start agree on the payload.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::DeserializeOwned;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident<$($type:ident),+>)+) => { $(
        $(#[$doc])*
        pub struct $name<$($type),+> {
            name: Cow<'static, str>,
            types: PhantomData<fn($($type),+)>,
        }

        impl<$($type),+> $name<$($type),+> {
            /// The name, for a `const`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name: Cow::Borrowed(name), types: PhantomData }
            }

            /// A name that is made at run time.
            pub fn named(name: impl Into<Cow<'static, str>>) -> Self {
                Self { name: name.into(), types: PhantomData }
            }

            /// The name itself.
            #[must_use]
            pub fn name(&self) -> &str {
                &self.name
            }

            pub(crate) fn into_name(self) -> String {
                self.name.into_owned()
            }
        }

        impl<$($type),+> From<$name<$($type),+>> for String {
            fn from(name: $name<$($type),+>) -> Self {
                name.into_name()
            }
        }

        // Derived, these would ask the same of the payload's type.
        impl<$($type),+> Clone for $name<$($type),+> {
            fn clone(&self) -> Self {
                Self { name: self.name.clone(), types: PhantomData }
            }
        }

        impl<$($type),+> fmt::Debug for $name<$($type),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.name).finish()
            }
        }
    )+ };
}

names! {
    /// The name of an event, with the type of its data.
    ///
    /// The definition that waits and the program that publishes share it:
    /// `const APPROVED: Event<Approval> = Event::new("order-approved");`. Names that begin with `wfe.` are reserved for
    /// the engine. `Event::<serde_json::Value>` takes data of any type.
    Event<V>

    /// The name of an activity, with the types of its input and its result.
    ///
    /// The definition and the external worker share it: `const PACK: Activity<Order, Parcel> = Activity::new("pack");`.
    /// Names that begin with `wfe.` are reserved for the engine.
    Activity<I, O>

    /// The id of a definition, with the type of its data.
    ///
    /// Parents name their children by it, and programs that start instances without the definition:
    /// `const ORDER: WorkflowName<Order> = WorkflowName::new("order");`.
    WorkflowName<D>
}

/// What a body waits for: an [`Event`] or an [`Activity`]. [`Ctx::received`](super::Ctx::received) takes it.
#[expect(private_bounds, reason = "the engine reads the values of these types only")]
pub trait Awaitable: IsReceived {
    /// What the body receives: the event's data, or the worker's result.
    type Value: DeserializeOwned;
}

impl<V: DeserializeOwned> Awaitable for Event<V> {
    type Value = V;
}

impl<I, O: DeserializeOwned> Awaitable for Activity<I, O> {
    type Value = O;
}

/// What a body has waited for before its run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitedFor {
    Event(String),
    Activity(String),
}

pub(super) trait IsReceived {
    fn is(&self, waited_for: &WaitedFor) -> bool;
}

impl<V> IsReceived for Event<V> {
    fn is(&self, waited_for: &WaitedFor) -> bool {
        matches!(waited_for, WaitedFor::Event(name) if *name == self.name)
    }
}

impl<I, O> IsReceived for Activity<I, O> {
    fn is(&self, waited_for: &WaitedFor) -> bool {
        matches!(waited_for, WaitedFor::Activity(name) if *name == self.name)
    }
}
