//! Steps for tests of workflows, stores and hosts. Each step does only one thing, and most steps leave a trace in the
//! data that shows that they have run.
//!
//! Steps that append words need data that holds words: `Vec<String>`, or a type that implements `AsMut<Vec<String>>`.

use wfe::{
    definition::{Data, Each, IntoStep, Item, OutputSet, item_task, task},
    steps::StepError,
};

/// A step that does nothing.
#[must_use]
pub fn nothing<D: Data>() -> impl IntoStep<D> {
    task::<D>().then(async |_, _| Ok(()))
}

/// A step that appends this word to the data.
pub fn mark<D: Data + AsMut<Vec<String>>>(word: impl Into<String>) -> impl IntoStep<D, Left = OutputSet> {
    let word = word.into();
    task::<D>().change(move |data| data.as_mut().push(word.clone()))
}

/// A step that appends this word, together with the item of the current iteration, to the data.
#[must_use]
pub fn mark_item<D, T>(word: &'static str) -> impl IntoStep<D, Each<T>>
where
    D: Data + AsMut<Vec<String>>,
    T: Item + std::fmt::Display,
{
    item_task::<D, T>()
        .then(async move |_, _, item| Ok(format!("{word}{item}")))
        .output(|word, data, _| data.as_mut().push(word))
}

/// A step that fails with a fatal error, so that it is not retried.
#[must_use]
pub fn fail<D: Data>() -> impl IntoStep<D> {
    task::<D>().then(async |_, _| Err::<(), _>(StepError::fatal("broken")))
}

/// A step whose first `failures` attempts fail with a retryable error.
#[must_use]
pub fn fail_times<D: Data>(failures: u32) -> impl IntoStep<D> {
    task::<D>().call(
        move |ctx, _| {
            if ctx.attempt() > failures { Ok(()) } else { Err(StepError::retryable("not yet")) }
        },
    )
}
