//! Steps for tests of workflows, stores and hosts. Each step does only one thing, and most steps leave a trace in the
//! data that shows that they have run.
//!
//! Steps that append words need data that holds words: `Vec<String>`, or a type that implements `AsMut<Vec<String>>`.

use wfe::{
    definition::{Data, Inline, Item, Task, inline, inline_item},
    steps::{Ctx, StepError},
};

/// A step whose body is one closure.
pub type Simple<R, D, I> = Task<R, D, I, Inline<R, D, I>>;

/// A step that does nothing.
#[must_use]
pub fn nothing<D: Data, I: Item>() -> Simple<(), D, I> {
    inline(|_, _| async { Ok(()) })
}

/// A step that appends this word to the data.
pub fn mark<D: Data + AsMut<Vec<String>>, I: Item>(word: impl Into<String>) -> Simple<(), D, I> {
    let word = word.into();
    nothing().output(move |(), data: &mut D| data.as_mut().push(word.clone()))
}

/// A step that appends this word, together with the item of the current iteration, to the data.
#[must_use]
pub fn mark_item<D: Data + AsMut<Vec<String>>, I: Item + Clone + std::fmt::Display>(
    word: &'static str,
) -> Simple<String, D, I> {
    inline_item(move |_, _, item: I| async move { Ok(format!("{word}{item}")) })
        .output(|word: &String, data: &mut D| data.as_mut().push(word.clone()))
}

/// A step that fails with a fatal error, so that it is not retried.
#[must_use]
pub fn fail<D: Data, I: Item>() -> Simple<(), D, I> {
    inline(|_, _| async { Err(StepError::fatal("broken")) })
}

/// A step whose first `failures` attempts fail with a retryable error.
#[must_use]
pub fn fail_times<D: Data, I: Item>(failures: u32) -> Simple<(), D, I> {
    inline(move |ctx: Ctx, _| async move {
        if ctx.attempt() > failures { Ok(()) } else { Err(StepError::retryable("not yet")) }
    })
}
