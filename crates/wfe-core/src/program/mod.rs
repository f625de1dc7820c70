//! The program as data: steps, how they follow one another, and closures over the data. The definition's builder writes
//! it, the executor reads it.

mod body;
mod closures;
mod every;
mod node;
mod retry;
mod verb;

pub use body::BodyEnd;
pub use every::Every;
pub use retry::{OnFailure, Retry};

pub(crate) use body::{Answer, AnyData, Apply, Body, Work};
pub(crate) use closures::{Ask, Receive, another_type, ask, ask_value, change, receive};
pub(crate) use node::{Branch, Node};
pub(crate) use retry::Policy;
pub(crate) use verb::{
    ActivityStep, Decide, Delay, End, ForEach, GoTo, IfElse, Parallel, Recur, RunBody, Saga, Schedule,
    SubWorkflow, TimeLimit, Unanswered, Until, UserTaskStep, Verb, WaitFor, While, name_problem,
    with_article,
};

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
