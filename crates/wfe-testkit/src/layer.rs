//! A store over a store: see [`Layer`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        Claimed, CommandFuture, Committed, Control, Cursor, ErrorRecord, EventRepository, Fence, Finished,
        Intervention, Isolation, Loaded, Management, Owner, Page, Pending, PersistenceProvider,
        ScheduledCommandRepository, Started, StepCommit, StepFailure, StepStore, SubscriptionRepository,
        Swept, WorkflowRepository,
    },
};

/// A store that is a [`Layer`] over another one: every call goes through the layer.
///
/// ```
/// use wfe_core::{Result, WfeError, models::Event, traits::PersistenceProvider};
/// use wfe_testkit::{Layer, Layered};
///
/// /// A store that takes no events.
/// struct Full<S>(S);
///
/// #[async_trait::async_trait]
/// impl<S: PersistenceProvider + 'static> Layer for Full<S> {
///     fn inner(&self) -> &dyn PersistenceProvider {
///         &self.0
///     }
///
///     async fn create_event(&self, _event: &Event) -> Result<String> {
///         Err(WfeError::Full { message: "injected".to_owned(), source: None })
///     }
///
///     async fn create_event_now(&self, event: &Event) -> Result<String> {
///         self.create_event(event).await // below the layer, it would be stored
///     }
/// }
///
/// fn without_events(store: impl PersistenceProvider + 'static) -> impl PersistenceProvider {
///     Layered(Full(store))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Layered<L>(pub L);

/// The step store of the provider below, for calls that come only where there is one.
fn steps(inner: &dyn PersistenceProvider) -> Result<&dyn StepStore> {
    inner.step_store().ok_or_else(|| WfeError::Invalid("the store below has no step store".to_owned()))
}

/// From one table of methods, so that a new method of the contract is one line here: the trait, in which each goes to
/// the store below, and the store, in which each goes to the trait.
macro_rules! layer {
    ($(
        $contract:ident of |$inner:ident| $reached:expr => {
            $(async fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*
        } and { $($other:tt)* }
    )*) => {
        /// What a store over another store does differently: to make one fail, spy on it, or choose among several.
        ///
        /// Each method of the contract is here, and hands the call to [`inner`](Self::inner): write those that you want
        /// to be otherwise. [`Layered`] makes a store of it. [`Management`] is reached below the layer as it is.
        #[async_trait]
        pub trait Layer: Send + Sync + 'static {
            /// The store below. Asked once for each call that the layer hands on.
            fn inner(&self) -> &dyn PersistenceProvider;

            /// Whether the store has a step store; `false` makes of any store one with the plain traits alone.
            fn has_step_store(&self) -> bool {
                self.inner().step_store().is_some()
            }

            #[doc = "As [`StepStore::news`]."]
            fn news(&self) -> BoxStream<'static, ()> {
                self.inner().step_store().map_or_else(|| stream::pending().boxed(), StepStore::news)
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
        fn step_store(&self) -> Option<&dyn StepStore> {
            self.0.has_step_store().then_some(self)
        }

        fn management(&self) -> Option<&dyn Management> {
            self.0.inner().management()
        }
    }

    // Neither `inspect` nor `load_many`: by their default bodies they ask `load`, which a layer may stand in for.
    StepStore of |inner| steps(inner)? => {
        async fn register() -> Result<Owner>;
        async fn start(owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started>;
        async fn commit_step(fence: Fence, step: &StepCommit) -> Result<Committed>;
        async fn claim(
            owner: &Owner, definitions: &[(String, u32)], as_at: DateTime<Utc>, limit: usize)
            -> Result<Vec<Claimed>>;
        async fn acquire(owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>>;
        async fn load(id: &str) -> Result<Loaded>;
        async fn check_closed_waits(id: &str, waits: &[String]) -> Result<()>;
        async fn request(id: &str, control: Control) -> Result<()>;
        async fn intervene(id: &str, intervention: &Intervention) -> Result<()>;
        async fn finish_event(event_id: &str) -> Result<bool>;
        async fn finish_events(after: Option<&str>, limit: usize) -> Result<Swept>;
        async fn finished(
            id: &str, container: &str, after: u64, limit: usize) -> Result<Vec<(u64, Result<Finished>)>>;
        async fn items(id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>>;
        async fn upcoming(
            definitions: &[(String, u32)], after: DateTime<Utc>, limit: usize) -> Result<Vec<(i64, String)>>;
        async fn heartbeat(owner: &Owner) -> Result<()>;
        async fn isolate(id: &str, fence: Fence, isolation: Isolation) -> Result<bool>;
        async fn requested(owner: &Owner) -> Result<Vec<String>>;
        async fn ended(ids: &[String]) -> Result<Vec<String>>;
        async fn failures(id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<ErrorRecord>>;
        async fn last_failures(id: &str, pointers: &[String]) -> Result<Vec<StepFailure>>;
        async fn upcoming_event(after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>>;
        async fn position_due_events() -> Result<bool>;
        async fn open_waits(
            name: &str, after: Option<Cursor>, limit: usize) -> Result<Page<EventSubscription>>;
        async fn claim_wait(
            name: &str, token: &str, worker: &str, expiry: DateTime<Utc>) -> Result<Option<EventSubscription>>;
        async fn verify() -> Result<()>;
        async fn answer_wait(wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool>;
    } and {
        fn news(&self) -> BoxStream<'static, ()> {
            self.0.news()
        }

        async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
            self.0.pending(id, waits).await
        }
    }
}
