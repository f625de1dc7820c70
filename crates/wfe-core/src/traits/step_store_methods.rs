//! The methods of [`StepStore`](super::StepStore) in one table, for stores that implement all methods in the same
//! way: a layer over another store, or a store that observes the results of another store. Without the table, each of
//! these stores would have to repeat all methods of the trait.

/// Passes the table to the macro `$with`. The table has three parts:
///
/// * `owner`: the methods that concern the caller's own owner. If one of these methods fails, the fault may lie in a
///   file of that owner alone.
/// * `primary`: the methods that a store implements with its own data.
/// * `derived`: the methods that the trait implements by calling other methods, unless a store overrides them.
///
/// The table contains neither [`news`](crate::traits::StepStore::news) nor
/// [`questions`](crate::traits::StepStore::questions), because they are not asynchronous.
#[doc(hidden)]
#[macro_export]
macro_rules! step_store_methods {
    ($with:ident) => {
        $with! {
            owner {
                async fn register() -> $crate::Result<$crate::traits::Owner>;
                async fn heartbeat(owner: &$crate::traits::Owner) -> $crate::Result<()>;
                async fn describe(
                    owner: &$crate::traits::Owner,
                    card: &$crate::traits::HostCard
                ) -> $crate::Result<()>;
            }
            primary {
                async fn start(
                    owner: Option<&$crate::traits::Owner>,
                    instance: &$crate::models::WorkflowInstance
                ) -> $crate::Result<$crate::traits::Started>;
                async fn replace(
                    old: &$crate::traits::Expected,
                    new: &$crate::models::WorkflowInstance
                ) -> $crate::Result<Option<String>>;
                async fn start_if(
                    owner: Option<&$crate::traits::Owner>,
                    instance: &$crate::models::WorkflowInstance,
                    known: $crate::traits::Known
                ) -> $crate::Result<$crate::traits::Started>;
                async fn start_with(
                    owner: Option<&$crate::traits::Owner>,
                    instance: &$crate::models::WorkflowInstance,
                    known: $crate::traits::Known,
                    attributes: &::serde_json::Map<String, ::serde_json::Value>
                ) -> $crate::Result<$crate::traits::Started>;
                async fn restart(
                    owner: Option<&$crate::traits::Owner>,
                    of: &str,
                    instance: &$crate::models::WorkflowInstance
                ) -> $crate::Result<$crate::traits::Started>;
                async fn find(definition: &str, reference: &str) -> $crate::Result<Option<String>>;
                async fn reopen(
                    revision: u64,
                    at: ::chrono::DateTime<::chrono::Utc>,
                    step: &$crate::traits::StepCommit
                ) -> $crate::Result<$crate::traits::Reopened>;
                async fn commit_step(
                    fence: $crate::traits::Fence,
                    step: &$crate::traits::StepCommit
                ) -> $crate::Result<$crate::traits::Committed>;
                async fn claim(
                    owner: &$crate::traits::Owner,
                    definitions: &[(String, u32)],
                    as_at: ::chrono::DateTime<::chrono::Utc>,
                    limit: usize
                ) -> $crate::Result<Vec<$crate::traits::Claimed>>;
                async fn acquire(
                    owner: &$crate::traits::Owner,
                    definitions: &[(String, u32)],
                    id: &str,
                    as_at: ::chrono::DateTime<::chrono::Utc>
                ) -> $crate::Result<Option<$crate::traits::Claimed>>;
                async fn load(id: &str) -> $crate::Result<$crate::traits::Loaded>;
                async fn check_closed_waits(id: &str, waits: &[String]) -> $crate::Result<()>;
                async fn request(
                    id: &str,
                    control: $crate::traits::Control
                ) -> $crate::Result<$crate::traits::Requested>;
                async fn intervene(
                    id: &str,
                    intervention: &$crate::traits::Intervention
                ) -> $crate::Result<$crate::traits::Requested>;
                async fn publish(
                    event: &$crate::models::Event,
                    is_dated: bool,
                    receiver: Option<&str>
                ) -> $crate::Result<$crate::traits::Published>;
                async fn finish_event(event_id: &str) -> $crate::Result<bool>;
                async fn finish_events(
                    after: Option<&str>,
                    limit: usize
                ) -> $crate::Result<$crate::traits::Swept>;
                async fn finished(
                    id: &str,
                    container: &str,
                    after: u64,
                    limit: usize
                ) -> $crate::Result<Vec<(u64, $crate::Result<$crate::traits::Finished>)>>;
                async fn items(
                    id: &str,
                    container: &str,
                    from: u64,
                    limit: usize
                ) -> $crate::Result<Vec<::serde_json::Value>>;
                async fn upcoming(
                    definitions: &[(String, u32)],
                    after: ::chrono::DateTime<::chrono::Utc>,
                    limit: usize
                ) -> $crate::Result<Vec<(i64, String)>>;
                async fn named(
                    prefix: &str,
                    after: Option<$crate::traits::Cursor>,
                    limit: usize
                ) -> $crate::Result<$crate::traits::Page<String>>;
                async fn isolate(
                    id: &str,
                    fence: $crate::traits::Fence,
                    isolation: $crate::traits::Isolation
                ) -> $crate::Result<bool>;
                async fn living_owners() -> $crate::Result<Option<usize>>;
                async fn hosts(fresh: ::std::time::Duration) -> $crate::Result<Vec<$crate::traits::Host>>;
                async fn requested(owner: &$crate::traits::Owner) -> $crate::Result<Vec<String>>;
                async fn ended(ids: &[String]) -> $crate::Result<Vec<String>>;
                async fn failures(
                    id: &str,
                    after: Option<$crate::traits::Cursor>,
                    limit: usize
                ) -> $crate::Result<$crate::traits::Page<$crate::traits::ErrorRecord>>;
                async fn last_failures(
                    id: &str,
                    pointers: &[String]
                ) -> $crate::Result<Vec<$crate::traits::StepFailure>>;
                async fn upcoming_event(
                    after: ::chrono::DateTime<::chrono::Utc>
                ) -> $crate::Result<Option<::chrono::DateTime<::chrono::Utc>>>;
                async fn position_due_events() -> $crate::Result<bool>;
                async fn open_waits(
                    name: &str,
                    after: Option<$crate::traits::Cursor>,
                    limit: usize
                ) -> $crate::Result<$crate::traits::Page<$crate::models::EventSubscription>>;
                async fn claim_wait(
                    name: &str,
                    token: &str,
                    worker: &str,
                    expiry: ::chrono::DateTime<::chrono::Utc>
                ) -> $crate::Result<Option<$crate::models::EventSubscription>>;
                async fn answer_wait(
                    wait_id: &str,
                    token: Option<&str>,
                    event: &$crate::models::Event
                ) -> $crate::Result<bool>;
                async fn unanswerable(id: &str, waits: &[String]) -> $crate::Result<Vec<String>>;
                async fn verify() -> $crate::Result<()>;
            }
            derived {
                async fn inspect(id: &str) -> $crate::Result<$crate::traits::Loaded>;
                async fn pending(
                    id: &str,
                    waits: Option<&[String]>
                ) -> $crate::Result<$crate::traits::Pending>;
                async fn load_many(
                    ids: &[String]
                ) -> $crate::Result<Vec<(String, $crate::Result<$crate::traits::Loaded>)>>;
                async fn claim_loaded(
                    owner: &$crate::traits::Owner,
                    definitions: &[(String, u32)],
                    as_at: ::chrono::DateTime<::chrono::Utc>,
                    limit: usize
                ) -> $crate::Result<Vec<($crate::traits::Claimed, $crate::Result<$crate::traits::Loaded>)>>;
                async fn acquire_loaded(
                    owner: &$crate::traits::Owner,
                    definitions: &[(String, u32)],
                    id: &str,
                    as_at: ::chrono::DateTime<::chrono::Utc>
                ) -> $crate::Result<Option<($crate::traits::Claimed, $crate::Result<$crate::traits::Loaded>)>>;
            }
        }
    };
}

#[cfg(test)]
mod tests {
    macro_rules! names {
        ($($part:ident { $(async fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)* })*) => {
            [$($(stringify!($name)),*),*]
        };
    }

    #[test]
    fn the_table_has_every_asynchronous_method_of_the_trait() {
        let text = include_str!("step_store.rs");
        let (_, text) = text.split_once("pub trait StepStore").unwrap();
        let method = |line: &str| Some(line.strip_prefix("    async fn ")?.split_once('(')?.0.to_owned());
        let mut methods: Vec<String> = text.lines().filter_map(method).collect();
        let mut table = step_store_methods!(names).to_vec();
        methods.sort();
        table.sort_unstable();
        assert_eq!(methods, table);
    }
}
