//! What scenarios are told in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use wfe::{
    definition::{Definition, Item, Sequence, WorkflowBuilder, inline},
    steps::{Ctx, StepError},
};

use crate::{
    conformance::checked::Checked,
    steps::{Simple, fail_times, nothing},
};

/// The data of the scenarios' workflows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Story {
    /// What the steps wrote, in the order in which they ended.
    pub words: Vec<String>,
    pub n: u64,
    pub text: String,
}

impl AsMut<Vec<String>> for Story {
    fn as_mut(&mut self) -> &mut Vec<String> {
        &mut self.words
    }
}

pub(super) type Body<I = ()> = Sequence<Story, I>;

pub(super) type Plain<R, I> = Simple<R, Story, I>;

pub(super) fn begin(id: &str) -> WorkflowBuilder<Story> {
    WorkflowBuilder::new(id, 1)
}

pub(super) fn built(builder: WorkflowBuilder<Story>) -> Checked<Definition> {
    Ok(builder.build()?)
}

/// A step that counts.
pub(super) fn count<I: Item>() -> Plain<(), I> {
    nothing().output(|(), story: &mut Story| story.n += 1)
}

/// A step whose first `failures` attempts fail, and that then writes this word.
pub(super) fn flaky<I: Item>(failures: u32, word: &'static str) -> Plain<(), I> {
    fail_times(failures).output(move |(), story: &mut Story| story.words.push(word.to_owned()))
}

/// Panics, as users' code does.
pub(super) fn explode<T>() -> T {
    crate::conformance::checked::unmet("meant to happen")
}

/// A step that runs until it is let go.
#[derive(Clone, Default)]
pub(super) struct Gate {
    entered: watch::Sender<usize>,
    go: Arc<Notify>,
}

impl Gate {
    pub fn step<I: Item>(&self) -> Plain<(), I> {
        let this = self.clone();
        inline(move |ctx: Ctx, _| {
            let this = this.clone();
            async move {
                this.enter();
                tokio::select! {
                    () = this.go.notified() => Ok(()),
                    () = ctx.cancellation().cancelled() => Err(StepError::fatal("cancelled")),
                }
            }
        })
    }

    /// Its body was entered, or another one that is counted with it.
    pub fn enter(&self) {
        self.entered.send_modify(|entered| *entered += 1);
    }

    /// How often its body was entered.
    pub fn entered(&self) -> usize {
        *self.entered.borrow()
    }

    /// Resolves once it was entered so often.
    pub async fn reached(&self, times: usize) {
        // It fails only when the sender is gone, and `self` holds it.
        let met = self.entered.subscribe().wait_for(|entered| *entered >= times).await.is_ok();
        debug_assert!(met, "the gate outlives the borrow of it");
    }

    /// Lets one body go, the next one if none is there.
    pub fn open(&self) {
        self.go.notify_one();
    }
}
