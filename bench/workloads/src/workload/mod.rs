//! The workloads, one a file. The documentation of each says what one operation is, and what is checked.

mod arrivals;
mod commit_step;
mod create;
mod event;
mod fan_in;
mod flow;
mod for_each;
mod growth;
mod load;
mod mixed;
mod persist;
mod prepared;
mod processes;
mod runnable;
mod runnable_events;
mod schedule;
mod sleepers;
mod soak;
mod step_cycle;
mod timers;
mod wake;

pub use commit_step::CommitStep;
pub use create::Create;
pub use event::Event;
pub use fan_in::FanIn;
pub use flow::Flow;
pub use for_each::ForEach;
pub use growth::Growth;
pub use load::Load;
pub use mixed::Mixed;
pub use persist::Persist;
pub use processes::Processes;
pub use runnable::Runnable;
pub use runnable_events::RunnableEvents;
pub use schedule::Schedule;
pub use sleepers::Sleepers;
pub use soak::Soak;
pub use step_cycle::StepCycle;
pub use timers::Timers;
pub use wake::Wake;

use std::sync::Arc;

use crate::{
    Done, Place,
    ability::{Instances, Subject},
    clock::{now_ms, now_ns},
    read_back,
};

/// A year, in milliseconds: what is due then sleeps throughout the benchmark.
const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

async fn open<S: Subject>(place: &Place) -> Done<Arc<S>> {
    Ok(Arc::new(S::open(place).await?))
}

/// Opens a place anew, so that what is read comes from the file.
async fn reopen<S: Subject>(subject: Arc<S>, place: &Place) -> Done<Arc<S>> {
    subject.close().await?;
    drop(subject);
    open(place).await
}

/// Checks that each instance is stored in one of the states in its list: what was acknowledged last, or what an operation
/// without an acknowledgement would have left.
async fn check_instances<S: Instances>(
    store: &Arc<S>,
    allowed: impl IntoIterator<Item = Vec<S::Instance>>,
) -> Done {
    read_back::each(store, allowed, |store: Arc<S>, allowed: Vec<S::Instance>| async move {
        let Some(acknowledged) = allowed.first() else { return Ok(()) };
        let id = S::id(acknowledged);
        let found = store.load(id).await?;
        if allowed.iter().any(|allowed| S::is_same(allowed, &found)) {
            Ok(())
        } else {
            Err(read_back::differs(id))
        }
    })
    .await
}
