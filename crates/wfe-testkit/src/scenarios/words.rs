//! The data and the steps of the scenarios' workflows.

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
    /// The words that the steps wrote, in the order in which the steps ended.
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

/// Panics, as user code can.
pub(super) fn explode<T>() -> T {
    crate::conformance::checked::unmet("meant to happen")
}

/// A step that runs until the test opens the gate.
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

    /// Counts that a body was entered: the body of this step, or another body.
    pub fn enter(&self) {
        self.entered.send_modify(|entered| *entered += 1);
    }

    /// How many bodies were entered.
    pub fn entered(&self) -> usize {
        *self.entered.borrow()
    }

    /// Waits until this many bodies were entered.
    pub async fn reached(&self, times: usize) {
        // Fails only if the sender is dropped, and `self` holds the sender.
        let met = self.entered.subscribe().wait_for(|entered| *entered >= times).await.is_ok();
        debug_assert!(met, "the gate outlives the borrow of it");
    }

    /// Lets one body finish: a body that waits now, or else the next body that waits.
    pub fn open(&self) {
        self.go.notify_one();
    }
}
