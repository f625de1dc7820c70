//! The data and the steps of the scenarios' workflows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use wfe::{
    definition::{AnyDefinition, App, Data, IntoStep, Main, Returns, Sequence, WorkflowBuilder, task},
    steps::StepError,
};

use crate::conformance::checked::Checked;

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

pub(super) fn begin(id: &str) -> WorkflowBuilder<Story> {
    WorkflowBuilder::new(id, 1)
}

pub(super) fn built<D: Data, A: App, L>(steps: Sequence<D, Main, A, L>) -> Checked<AnyDefinition> {
    Ok(steps.build()?.into())
}

/// A step that counts.
pub(super) fn count() -> impl IntoStep<Story> {
    task::<Story>().change(|story| story.n += 1)
}

/// A step whose first `failures` attempts fail, and that then writes this word.
pub(super) fn flaky(failures: u32, word: &'static str) -> impl IntoStep<Story> {
    task::<Story>()
        .call(
            move |ctx, _| {
                if ctx.attempt() > failures { Ok(()) } else { Err(StepError::retryable("not yet")) }
            },
        )
        .output(move |(), story| note(word, story))
}

/// An output that writes this word.
pub(super) fn note(word: impl Into<String>, story: &mut Story) {
    story.words.push(word.into());
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
    pub fn step(&self) -> impl IntoStep<Story, Left = Returns<()>> + use<> {
        task::<Story>().with(self.clone()).then(async |ctx, _| {
            ctx.app.enter();
            tokio::select! {
                () = ctx.app.go.notified() => Ok(()),
                () = ctx.cancellation().cancelled() => Err(StepError::fatal("cancelled")),
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
