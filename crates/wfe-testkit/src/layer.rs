//! A store that wraps another store: see [`Layer`].

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        CommandFuture, EventRepository, Management, Pending, PersistenceProvider, ScheduledCommandRepository,
        StepStore, SubscriptionRepository, WorkflowRepository,
    },
};

/// A store that passes every call through a [`Layer`] to another store.
///
/// ```
/// use std::sync::Arc;
///
/// use wfe_core::{Result, WfeError, models::Event, traits::{PersistenceProvider, Published}};
/// use wfe_testkit::{Layer, Layered};
///
/// /// A store that refuses all events.
/// struct Full(Arc<dyn PersistenceProvider>);
///
/// #[async_trait::async_trait]
/// impl Layer for Full {
///     fn inner(&self) -> &Arc<dyn PersistenceProvider> {
///         &self.0
///     }
///
///     async fn create_event(&self, _event: &Event) -> Result<String> {
///         Err(WfeError::Full { message: "injected".to_owned(), source: None })
///     }
///
///     async fn create_event_now(&self, event: &Event) -> Result<String> {
///         self.create_event(event).await // otherwise the inner store would store it
///     }
///
///     async fn publish(&self, event: &Event, _is_dated: bool, _receiver: Option<&str>) -> Result<Published> {
///         self.create_event(event).await.map(Published::new)
///     }
/// }
///
/// fn without_events(store: Arc<dyn PersistenceProvider>) -> impl PersistenceProvider {
///     Layered(Full(store))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Layered<L>(pub L);

/// Returns the step store of the inner provider. The callers are methods that are called only if the provider has a
/// step store.
fn steps(inner: &Arc<dyn PersistenceProvider>) -> Result<Arc<dyn StepStore>> {
    inner
        .clone()
        .step_store()
        .ok_or_else(|| WfeError::Invalid("the inner store has no step store".to_owned()))
}

/// Generates, from one table, the trait `Layer` and the implementations for `Layered`. The default methods of the trait
/// call the inner store; the methods of `Layered` call the trait. For a new method of the contract, add one line to the
/// table.
macro_rules! layer {
    ($(
        $contract:ident of |$inner:ident| $reached:expr => {
            $(async fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*
        } and { $($other:tt)* }
    )*) => {
        /// The ways in which a wrapping store behaves differently from the store that it wraps. For example, a layer
        /// can make calls fail, record calls, or choose one of several stores for each call.
        ///
        /// The trait has every method of the contract. By default, each method calls the same method of the store that
        /// [`inner`](Self::inner) returns. Implement the methods whose behaviour should differ. [`Layered`] turns a
        /// layer into a store. Calls of [`Management`] go to what [`management`](Self::management) returns.
        #[async_trait]
        pub trait Layer: Send + Sync + 'static {
            /// Returns the inner store. Called once for each call that the layer passes on.
            fn inner(&self) -> &Arc<dyn PersistenceProvider>;

            /// Whether the store has a step store. If a layer returns `false`, the wrapping store implements only the
            /// base traits (those of [`PersistenceProvider`]).
            fn has_step_store(&self) -> bool {
                self.inner().clone().step_store().is_some()
            }

            #[doc = "As [`PersistenceProvider::management`]. By default, that of the inner store."]
            fn management(&self) -> Option<Arc<dyn Management>> {
                self.inner().clone().management()
            }

            #[doc = "As [`StepStore::news`]."]
            fn news(&self) -> BoxStream<'static, ()> {
                steps(self.inner()).map_or_else(|_| stream::pending().boxed(), |store| store.news())
            }

            #[doc = "As [`StepStore::questions`]."]
            fn questions(&self) -> BoxStream<'static, ()> {
                steps(self.inner()).map_or_else(|_| stream::pending().boxed(), |store| store.questions())
            }

            #[doc = "As [`StepStore::pending`]. Taken from [`load`](Self::load), which a layer may stand in for."]
            async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
                Ok(self.load(id).await?.into_pending(waits))
            }

            #[doc = "As [`ScheduledCommandRepository::supports_scheduled_commands`]."]
            fn supports_scheduled_commands(&self) -> bool {
                self.inner().supports_scheduled_commands()
            }
            $($(
                #[doc = concat!("As [`", stringify!($contract), "::", stringify!($name), "`].")]
                async fn $name(&self, $($arg: $type),*) -> $result {
                    let $inner = self.inner();
                    $reached.$name($($arg),*).await
                }
            )*)*
        }
        $(
            #[async_trait]
            impl<L: Layer> $contract for Layered<L> {
                $(async fn $name(&self, $($arg: $type),*) -> $result {
                    self.0.$name($($arg),*).await
                })*
                $($other)*
            }
        )*
    };
}

/// The table of all methods of the contract. The methods of the step store are inserted from a separate table.
macro_rules! layer_of_all {
    (owner { $($owner:tt)* } primary { $($primary:tt)* } derived { $($derived:tt)* }) => {
        layer! {
            WorkflowRepository of |inner| inner => {
                async fn create_new_workflow(workflow: &WorkflowInstance) -> Result<String>;
                async fn persist_workflow(workflow: &WorkflowInstance) -> Result<()>;
                async fn persist_workflow_with_subscriptions(
                    workflow: &WorkflowInstance, subscriptions: &[EventSubscription]) -> Result<()>;
                async fn get_runnable_instances(as_at: DateTime<Utc>) -> Result<Vec<String>>;
                async fn get_workflow_instance(workflow_id: &str) -> Result<WorkflowInstance>;
                async fn get_workflow_instance_by_name(name: &str) -> Result<WorkflowInstance>;
                async fn get_workflow_instances(workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>>;
                async fn next_definition_sequence(definition_id: &str) -> Result<u64>;
            } and {}

            EventRepository of |inner| inner => {
                async fn create_event(event: &Event) -> Result<String>;
                async fn create_event_now(event: &Event) -> Result<String>;
                async fn get_event(event_id: &str) -> Result<Event>;
                async fn get_runnable_events(as_at: DateTime<Utc>) -> Result<Vec<String>>;
                async fn get_events(event_name: &str, event_key: &str, as_of: DateTime<Utc>) -> Result<Vec<String>>;
                async fn mark_event_processed(event_id: &str) -> Result<()>;
                async fn mark_event_unprocessed(event_id: &str) -> Result<()>;
            } and {}

            SubscriptionRepository of |inner| inner => {
                async fn create_event_subscription(subscription: &EventSubscription) -> Result<String>;
                async fn get_subscriptions(
                    event_name: &str, event_key: &str, as_of: DateTime<Utc>) -> Result<Vec<EventSubscription>>;
                async fn get_subscription(subscription_id: &str) -> Result<EventSubscription>;
                async fn terminate_subscription(subscription_id: &str) -> Result<()>;
                async fn get_first_open_subscription(
                    event_name: &str, event_key: &str, as_of: DateTime<Utc>) -> Result<Option<EventSubscription>>;
                async fn set_subscription_token(
                    subscription_id: &str, token: &str, worker_id: &str, expiry: DateTime<Utc>) -> Result<bool>;
                async fn clear_subscription_token(subscription_id: &str, token: &str) -> Result<()>;
            } and {}

            ScheduledCommandRepository of |inner| inner => {
                async fn schedule_command(command: &ScheduledCommand) -> Result<()>;
                async fn process_commands(
                    as_of: DateTime<Utc>,
                    handler: &(dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync)) -> Result<()>;
            } and {
                fn supports_scheduled_commands(&self) -> bool {
                    self.0.supports_scheduled_commands()
                }
            }

            PersistenceProvider of |inner| inner => {
                async fn persist_errors(errors: &[ExecutionError]) -> Result<()>;
                async fn ensure_store_exists() -> Result<()>;
            } and {
                fn step_store(self: Arc<Self>) -> Option<Arc<dyn StepStore>> {
                    if self.0.has_step_store() { Some(self) } else { None }
                }

                fn management(self: Arc<Self>) -> Option<Arc<dyn Management>> {
                    self.0.management()
                }
            }

            // The derived methods are left out, so that they call the methods that a layer may replace.
            StepStore of |inner| steps(inner)? => {
                $($owner)*
                $($primary)*
            } and {
                fn news(&self) -> BoxStream<'static, ()> {
                    self.0.news()
                }

                fn questions(&self) -> BoxStream<'static, ()> {
                    self.0.questions()
                }

                async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
                    self.0.pending(id, waits).await
                }
            }
        }
    };
}

wfe_core::step_store_methods!(layer_of_all);
