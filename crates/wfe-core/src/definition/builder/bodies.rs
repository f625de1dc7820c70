//! Steps with bodies.

use std::{any::TypeId, sync::Arc};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::{App, Branch, Each, Loop, Main, OutputSet, Returns, Sequence, StructStep, place::Sealed};
use crate::{
    definition::{Data, Item, draft::Draft},
    program::{self, AnyData, Ask, Body, ForEach, Left, RunBody, Verb, Work, another_type, ask, read_item},
    steps::{Ctx, IntoNext, Next, StepError, storable},
};

/// An asynchronous body: `async |ctx, data| …`, `|ctx, data| async move { … }`, or an `async fn`.
///
/// Each attempt runs a clone of the closure, so the closure can move what it has captured into its future.
// The supertrait `FnOnce` gives rustc the types of the closure's parameters, and the name of this trait gives the
// message. `Fut` is a parameter, because with an associated type rustc cannot infer `async |…|` closures.
// `FnOnce + Clone` instead of `AsyncFn`, because stable Rust cannot say that the future of an `AsyncFn` is `Send`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the body of a step",
    label = "expected an async closure: `async |ctx, data| …`",
    note = "a struct that implements `Step`, or a helper's `impl IntoStep<…>`, goes into `.step(id, …)`"
)]
pub trait AsyncBody<A, D, Fut>: FnOnce(Ctx<A>, Arc<D>) -> Fut + Clone + Send + Sync + 'static {}

impl<A, D, Fut, F: FnOnce(Ctx<A>, Arc<D>) -> Fut + Clone + Send + Sync + 'static> AsyncBody<A, D, Fut> for F {}

/// An asynchronous body in a for-each: `async |ctx, data, item| …`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the body of a step in a for-each",
    label = "expected an async closure: `async |ctx, data, item| …`",
    note = "a struct that implements `Step`, or a helper's `impl IntoStep<…>`, goes into `.step(id, …)`"
)]
pub trait AsyncItemBody<A, D, T, Fut>:
    FnOnce(Ctx<A>, Arc<D>, T) -> Fut + Clone + Send + Sync + 'static
{
}

impl<A, D, T, Fut, F: FnOnce(Ctx<A>, Arc<D>, T) -> Fut + Clone + Send + Sync + 'static>
    AsyncItemBody<A, D, T, Fut> for F
{
}

/// The future of an asynchronous body: `Result<R, StepError>`.
///
/// `R` is a [`Next`], or any serializable value, which becomes the step's outcome.
// The error is `StepError` and not `E: Into<StepError>`, because then rustc could not infer `Ok(())` and `?`.
#[diagnostic::on_unimplemented(
    message = "the body of this step returns `{Self}`, not a future of `Result<_, StepError>`",
    label = "its closure is not async",
    note = "async: `async |ctx, data| Ok(…)`; synchronous: `.call(id, |ctx, data| Ok(…))`, or `.blocking` if it holds its thread"
)]
pub trait BodyFuture<R>: Future<Output = Result<R, StepError>> + Send + 'static {}

impl<R, F: Future<Output = Result<R, StepError>> + Send + 'static> BodyFuture<R> for F {}

/// What the body of a step with [`each`](Sequence::each) returns: a `Vec` of items, or a [`Next`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no items to run the branch for",
    label = "return a `Vec` of items, or `Next::branch(…)`"
)]
#[expect(private_bounds, reason = "the engine reads items from these types only")]
pub trait Items<T>: SealedItems {}

trait SealedItems {}

impl<T> SealedItems for Vec<T> {}
impl SealedItems for Next {}

impl<T> Items<T> for Vec<T> {}
impl<T> Items<T> for Next {}

/// What a step leaves that [`each`](Sequence::each) can follow: its body returned items of type `T`.
#[diagnostic::on_unimplemented(message = "`each` belongs to a step whose body returns items")]
#[expect(private_bounds, reason = "programs cannot add kinds of steps")]
pub trait Yields<T>: Sealed {}

impl<T, R: Items<T>> Yields<T> for Returns<R> {}
impl<T, R: Items<T>> Yields<T> for OutputSet<R> {}
impl<T, S> Yields<T> for StructStep<S> {}

/// What a body has returned, as its next move and as the argument of its output closure.
fn left<R: IntoNext + Send + 'static>(result: R) -> Result<(Next, Left), StepError> {
    Ok((result.next()?, Box::new(result)))
}

fn data_of<D: Data>(data: &AnyData) -> Result<Arc<D>, StepError> {
    data.downcast().ok_or_else(another_type)
}

/// An asynchronous body with boxed futures. Like the other types and functions here, it is compiled once for each data
/// type and result type, and not once for each closure.
type RunAsync<D, A, I, R> =
    Arc<dyn Fn(Ctx<A>, Arc<D>, I) -> BoxFuture<'static, Result<R, StepError>> + Send + Sync>;

fn async_body<D: Data, A: App, I: DeserializeOwned + 'static, R: IntoNext + Send + 'static>(
    app: A,
    run: RunAsync<D, A, I, R>,
) -> Body {
    let mut body = Body::new(false, move |ctx, data, item, _| {
        let future = run(ctx.with(app.clone()), data_of(data)?, read_item(item)?);
        Ok(Work::Async(Box::pin(async move { left(future.await?) })))
    });
    body.returns = returns::<R>();
    body
}

fn returns<R: 'static>() -> program::Returns {
    if TypeId::of::<R>() == TypeId::of::<Next>() { program::Returns::Next } else { program::Returns::Value }
}

/// A synchronous body.
type RunSync<D, A, I, R> = Arc<dyn Fn(&Ctx<A>, &D, &I) -> Result<R, StepError> + Send + Sync>;

fn sync_body<D: Data, A: App, I: DeserializeOwned + Send + 'static, R: IntoNext + Send + 'static>(
    app: A,
    run: RunSync<D, A, I, R>,
    blocking: bool,
) -> Body {
    let mut body = Body::new(blocking, move |ctx, data, item, _| {
        let (ctx, data, run) = (ctx.with(app.clone()), data_of::<D>(data)?, run.clone());
        let item: I = read_item(item)?;
        let work = move || left(run(&ctx, &data, &item)?);
        Ok(if blocking {
            Work::Blocking(Box::new(work))
        } else {
            Work::Async(Box::pin(async move { work() }))
        })
    });
    body.returns = returns::<R>();
    body
}

/// The body of a step that only changes the data.
fn empty_body() -> Body {
    Body::new(false, |_, _, _, _| Ok(Work::Async(Box::pin(async { Ok((Next::Done, Box::new(()) as Left)) }))))
}

/// A body whose items a quick closure computes.
fn items_body<U: Item>(items: Ask<Vec<U>>) -> Body {
    Body::new(false, move |_, data, item, _| {
        let values = items(data, item)?.iter().map(|it| storable("an item", it)).collect();
        let values: Result<_, StepError> = values;
        Ok(Work::Async(Box::pin(async move { Ok((Next::Branch(values?), Box::new(()) as Left)) })))
    })
}

/// The body of the last added step. `None`: it has none.
pub(super) fn body_of(draft: &mut Draft) -> Option<&mut Body> {
    match &mut draft.verb {
        Verb::RunBody(step) | Verb::ForEach(ForEach { step, .. }) => Some(&mut step.body),
        _ => None,
    }
}

macro_rules! bodies {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path, $body:path) => {
        /// Steps with bodies.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
            /// Adds a step with an asynchronous body.
            ///
            /// The body takes the [context](Ctx) and a snapshot of the data. What it returns goes to the
            /// [`output`](Self::output) closure, and is stored as the step's outcome. `()`, `None` and every other
            /// value whose JSON is `null` give no outcome. A body can also return a [`Next`]: sleep, wait, or run
            /// again.
            pub fn then<R: IntoNext + Send + 'static, Fut: BodyFuture<R>>(
                self,
                id: impl Into<String>,
                body: impl $body,
            ) -> Sequence<D, $place, A, Returns<R>> {
                let run: RunAsync<D, A, $item, R> = Arc::new(move |ctx, data, _item| {
                    Box::pin(body.clone()(ctx, data $(, { let item: $t = _item; item })?))
                });
                let body = async_body(self.app.clone(), run);
                self.body(id, body)
            }

            /// Adds a step with a synchronous body that is quick. It runs on the runtime, so it must not block;
            /// [`blocking`](Self::blocking) is for bodies that do.
            pub fn call<R: IntoNext + Send + 'static>(
                self,
                id: impl Into<String>,
                body: impl Fn(&Ctx<A>, &D $(, $by)?) -> Result<R, StepError> + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Returns<R>> {
                let run: RunSync<D, A, $item, R> = Arc::new(move |ctx, data, _item| body(ctx, data $(, _item as $by)?));
                let body = sync_body(self.app.clone(), run, false);
                self.body(id, body)
            }

            /// Adds a step with a body that blocks its thread, for files, hashing or a synchronous client. It runs on
            /// the blocking pool. The host cannot stop the body, so a slow body should check its [cancellation
            /// token](Ctx::cancellation).
            pub fn blocking<R: IntoNext + Send + 'static>(
                self,
                id: impl Into<String>,
                body: impl Fn(&Ctx<A>, &D $(, $by)?) -> Result<R, StepError> + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Returns<R>> {
                let run: RunSync<D, A, $item, R> = Arc::new(move |ctx, data, _item| body(ctx, data $(, _item as $by)?));
                let body = sync_body(self.app.clone(), run, true);
                self.body(id, body)
            }

            /// Adds a step that only changes the data. The closure gets the newest data; it must be quick, because it
            /// runs on the engine's thread.
            pub fn change(
                self,
                id: impl Into<String>,
                change: impl Fn(&mut D $(, $by)?) + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, OutputSet> {
                let mut body = empty_body();
                body.output = Some(program::output(move |(), data: &mut D, _item: &$item| {
                    change(data $(, _item as $by)?);
                }));
                self.body(id, body)
            }

            /// Runs the steps of `body` once for each item: one item after the other, or several at once with
            /// [`concurrent`](Sequence::concurrent). If there are no items, the instance continues at once.
            ///
            /// The items are computed once, when the for-each starts, and stored: neither a crash nor a retry changes
            /// them. The closure that computes them must be quick. If it is not, compute them in a step with
            /// [`each`](Sequence::each).
            pub fn for_each<U: Item, B: Branch<D, Each<U>, A>>(
                mut self,
                id: impl Into<String>,
                items: impl Fn(&D $(, $by)?) -> Vec<U> + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, Each<U>, A>) -> B,
            ) -> Sequence<D, $place, A, Loop> {
                let branch = self.steps_of(body);
                let items = ask("the step's items", $on_data(items));
                let body = items_body(items);
                self.container(id, Verb::ForEach(ForEach { step: RunBody { body }, limit: 1 }), branch)
            }
        }

        /// The output of a body.
        impl<D: Data, A: App, R: Send + 'static, $($t: Item)?> Sequence<D, $place, A, Returns<R>> {
            /// Writes what the body has returned into the data, when the step has completed.
            ///
            /// The closure gets the newest data, not the snapshot that the body read. The outputs of an instance run
            /// one after the other, so no update is lost. If the closure panics, the data stays unchanged and the step
            /// fails. The closure must be quick, because it runs on the engine's thread.
            pub fn output(
                mut self,
                write: impl Fn(R, &mut D $(, $by)?) + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, OutputSet<R>> {
                self.parts.set_output(program::output::<D, $item, R>($on_left(write)));
                self.leaving()
            }
        }

        /// The inputs and outputs of a struct that is a step.
        impl<D: Data, A: App, S: Send + 'static, $($t: Item)?> Sequence<D, $place, A, StructStep<S>> {
            /// Sets fields of the struct before each attempt.
            pub fn input(self, set: impl Fn(&mut S, &D $(, $by)?) + Send + Sync + 'static) -> Self {
                let input = program::input(move |step: &mut S, data: &D, _item: &$item| {
                    set(step, data $(, _item as $by)?);
                });
                self.own("`input`", |draft| if let Some(body) = body_of(draft) { body.inputs.push(input) })
            }

            /// Writes what the struct has become into the data, when the step has completed. The closure gets the
            /// newest data, and must be quick, because it runs on the engine's thread.
            pub fn output(
                mut self,
                write: impl Fn(S, &mut D $(, $by)?) + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, OutputSet<Next>> {
                self.parts.set_output(program::output::<D, $item, S>($on_left(write)));
                self.leaving()
            }
        }
    };
}

bodies!([] Main, serde::de::IgnoredAny, (), super::on_data, super::on_left, AsyncBody<A, D, Fut>);
bodies!([T] Each<T>, T, (&T), super::on_item, super::on_left_and_item, AsyncItemBody<A, D, T, Fut>);

/// Items from a body.
impl<D: Data, P, A: App, L> Sequence<D, P, A, L> {
    /// Runs the steps of `body` once for each item that the step returned: one item after the other, or several at
    /// once with [`concurrent`](Sequence::concurrent).
    ///
    /// The step returns a `Vec` of items, or a [`Next`]. The items are stored, so the step does not run again for
    /// them. After a [`Next`] other than [`Next::Branch`], there are no items. The compiler does not check the items in
    /// a [`Next`]: an item of another type fails the step that reads it, with the code
    /// [`DEFINITION`](StepError::DEFINITION).
    pub fn each<U: Item, B: Branch<D, Each<U>, A>>(
        mut self,
        body: impl FnOnce(Sequence<D, Each<U>, A>) -> B,
    ) -> Sequence<D, P, A, Loop>
    where
        L: Yields<U>,
    {
        let branch = self.steps_of(body);
        self.own_once("`each`", |draft| {
            if let Some(body) = body_of(draft) {
                if body.returns == program::Returns::Value {
                    body.returns = program::Returns::Items;
                }
                let step = RunBody { body: body.clone() };
                draft.verb = Verb::ForEach(ForEach { step, limit: 1 });
                draft.branches = vec![branch];
            }
        })
        .leaving()
    }
}
