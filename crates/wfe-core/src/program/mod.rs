//! A definition as the executor reads it: the steps, their order, and closures over the data. The builder in
//! `definition/` creates it.

mod body;
mod closures;
mod cron_problem;
mod node;
mod recurrence;
mod retry;
mod verb;

pub use body::BodyEnd;
pub use recurrence::Every;
pub use retry::{OnFailure, Retry};

pub(crate) use body::{Answer, AnyData, Apply, Body, Input, Left, Output, Returns, Work};
pub(crate) use closures::{
    Ask, AskAt, Receive, another_type, anywhere, ask, ask_at, ask_value, input, output, read_item, receive,
};
pub(crate) use node::{Branch, CancelCondition, Node};
pub(crate) use retry::Policy;
pub(crate) use verb::{
    ActivityName, ActivityStep, Block, Decide, Delay, End, ForEach, GoTo, IfElse, Matches, NAMELESS,
    Parallel, Race, Recur, RunBody, Saga, Schedule, SubWorkflow, TimeLimit, Unanswered, Until, UserTaskStep,
    Verb, WaitFor, While, kind, name_problem, with_article,
};

use serde::{Serialize, de::DeserializeOwned};

/// A type that can be the data of an instance. Every type that has the required traits also implements this
/// trait.
///
/// Output closures change a clone of the data. So if a closure panics, the data stays unchanged. Each time
/// the data has changed, it is serialized for the store. Large data should therefore change rarely. The
/// results of a for-each need not be copied into the data: [`Ctx::results`](crate::steps::Ctx::results) reads
/// them from the store.
pub trait Data: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Data for T {}

/// A type that can be the item of a for-each. Every type that has the required traits also implements this
/// trait.
pub trait Item: Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Item for T {}
