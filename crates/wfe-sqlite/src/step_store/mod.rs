//! [`StepStore`]: the store as the engine uses it. Each method calls the function of the same name. There is one file
//! of functions for each subject.
//!
//! A call that only the engine makes never waits for calls of the program (see
//! [`admission`](crate::connection::admission)). A call that the program makes through a host (`start`,
//! `inspect`, requests, pages, external tasks) may have to wait for other calls of the program.

mod claim;
mod commit;
mod control;
mod crash_counts;
mod due;
pub(crate) mod external_tasks;
mod history;
mod limit;
mod load;
pub(crate) mod names;
mod owner;
pub(crate) mod publish;
pub(crate) mod retries;
pub(crate) mod start;
mod sweep;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use wfe_core::{
    Result,
    traits::{Loaded, Pending, StepStore},
};

use self::{
    claim::{acquire, claim},
    commit::commit_step,
    control::{intervene, request},
    crash_counts::isolate,
    due::{ended, position_due_events, requested, upcoming, upcoming_event},
    external_tasks::{answer_wait, claim_wait, open_waits, unanswerable},
    history::{failures, finished, items, last_failures},
    load::{check_closed_waits, inspect, load, load_many, pending},
    names::{named, replace},
    owner::{describe, heartbeat, hosts, living_owners, register, verify},
    publish::publish,
    retries::reopen,
    start::{find, restart, start, start_if, start_with},
    sweep::{finish_event, finish_events},
};
use crate::SqlitePersistenceProvider;

/// Implements each method of the table by the function of the same name. The three derived methods `inspect`,
/// `pending` and `load_many` are implemented too, because their default implementations would read more.
macro_rules! step_store {
    (
        owner { $(async fn $of_owner:ident($($owner_arg:ident: $owner_type:ty),*) -> $owner_result:ty;)* }
        primary { $(async fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }
        derived { $($derived:tt)* }
    ) => {
        #[async_trait]
        impl StepStore for SqlitePersistenceProvider {
            $(async fn $of_owner(&self, $($owner_arg: $owner_type),*) -> $owner_result {
                self.named($of_owner(self, $($owner_arg),*).await)
            })*

            $(async fn $name(&self, $($arg: $type),*) -> $result {
                self.named($name(self, $($arg),*).await)
            })*

            async fn inspect(&self, id: &str) -> Result<Loaded> {
                self.named(inspect(self, id).await)
            }

            async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
                self.named(pending(self, id, waits).await)
            }

            async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
                self.named(load_many(self, ids).await)
            }

            fn news(&self) -> BoxStream<'static, ()> {
                self.change_signal.subscribe()
            }

            fn questions(&self) -> BoxStream<'static, ()> {
                self.change_signal.questions()
            }
        }
    };
}

wfe_core::step_store_methods!(step_store);
