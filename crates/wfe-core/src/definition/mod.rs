//! The program: what steps there are, in which order, and what happens when one fails.

mod ask;
mod assembly;
mod body;
mod builder;
mod each;
mod every;
mod exact;
mod program;
mod registry;
mod retry;
mod task;
mod waits;

pub use body::BodyEnd;
pub use builder::{Branches, Choice, Decision, Inside, Main, Sequence, WorkflowBuilder};
pub use each::{Each, each, each_from, each_in};
pub use every::Every;
pub use exact::to_value;
pub use program::Definition;
pub use registry::Registry;
pub use retry::{OnFailure, Retry};
pub use task::{Inline, Made, Task, blocking, blocking_item, blocking_step, inline, inline_item, step};

pub use waits::{Activity, Await, Child, UserTask, activity, child, event, user_task};

pub(crate) use ask::{Ask, Receive, check, unstorable};
pub(crate) use assembly::name_problem;
pub(crate) use body::{Answer, AnyData, Apply, Body, Work};
pub(crate) use program::{Branch, Node};
pub(crate) use retry::Policy;

use serde::{Serialize, de::DeserializeOwned};

/// What an instance's data can be. Every type with these properties is one.
///
/// It is cloned when an output closure changes it (so that a panic in the closure changes nothing) and serialized
/// when it was changed: data that is large should change rarely. The results of a for-each need not go there; see
/// [`Ctx::results`](crate::steps::Ctx::results).
pub trait Data: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Data for T {}

/// What an item of a for-each can be. Every type with these properties is one.
pub trait Item: Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Item for T {}
