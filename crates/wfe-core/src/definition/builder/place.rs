//! The types that say where a step stands and what it leaves.

use std::marker::PhantomData;

use super::{Parts, Sequence};
use crate::definition::draft::Draft;

/// The place of a sequence outside of every for-each.
pub struct Main(());

/// The place of a sequence in a for-each over items of type `T`. Its closures take the item as their last argument.
pub struct Each<T>(PhantomData<fn(T)>);

/// Where a step fits: a step that needs no item fits everywhere.
#[diagnostic::on_unimplemented(message = "this step needs the item of another for-each", label = "not here")]
#[expect(private_bounds, reason = "programs cannot add places")]
pub trait FitsIn<P>: Sealed {}

impl<P> FitsIn<P> for Main {}
impl<T> FitsIn<Self> for Each<T> {}

/// Nothing comes before: there are no modifiers.
pub struct Start(());

/// A for-each: [`concurrent`](Sequence::concurrent) limits how many items run at once.
pub struct Loop(());

/// A container, or another step without a body.
pub struct Block(());

/// A step whose output is set, so it takes no other one. Its body returned an `R`, or it only changes the data.
pub struct OutputSet<R = ()>(PhantomData<fn(R)>);

/// A step whose body returns an `R`, which [`output`](Sequence::output) can write into the data.
pub struct Returns<R>(PhantomData<fn(R)>);

/// A struct that is a step.
pub struct StructStep<S>(PhantomData<fn(S)>);

/// A wait that receives a `V`. `W` is what it waits for: [`OfEvent`], [`OfActivity`], [`OfChild`] or [`OfTask`].
pub struct Awaits<V, W>(PhantomData<fn(V, W)>);

/// A wait for an event.
pub struct OfEvent(());
/// A wait for an external worker.
pub struct OfActivity(());
/// A wait for a child workflow.
pub struct OfChild(());
/// A wait for a person.
pub struct OfTask(());

/// What a step leaves for the modifiers that every step has.
#[diagnostic::on_unimplemented(
    message = "there is no step yet that this modifier could belong to",
    label = "comes after a step"
)]
#[expect(private_bounds, reason = "programs cannot add kinds of steps")]
pub trait After: Sealed {}

impl After for Loop {}
impl After for Block {}
impl<R> After for OutputSet<R> {}
impl<R> After for Returns<R> {}
impl<S> After for StructStep<S> {}
impl<V, W> After for Awaits<V, W> {}

/// What a step with a body leaves. Only such a step has a timeout.
#[diagnostic::on_unimplemented(
    message = "only the body of a step has a timeout",
    label = "a wait ends by `fail_after(|data| …)`, or by `on_timeout(|data| …, |late| late.…)`"
)]
#[expect(private_bounds, reason = "programs cannot add kinds of steps")]
pub trait HasBody: Sealed {}

impl<R> HasBody for OutputSet<R> {}
impl<R> HasBody for Returns<R> {}
impl<S> HasBody for StructStep<S> {}

/// What the closure of a container returns: its steps.
///
/// A function that adds several steps returns it too: `fn ship(steps: Sequence<Order>) -> impl Branch<Order>`.
#[diagnostic::on_unimplemented(
    message = "the closure of a container returns `{Self}` instead of its steps",
    label = "must end in its steps: `|steps| steps.then(…)`, without a semicolon at the end and without `build`"
)]
#[expect(private_bounds, reason = "programs cannot add branches")]
pub trait Branch<D, P = Main, A = ()>: IntoDrafts {}

impl<D, P, A, L> Branch<D, P, A> for Sequence<D, P, A, L> {}

/// Keeps the traits of this module to its types.
pub(super) trait Sealed {}

impl Sealed for Main {}
impl<T> Sealed for Each<T> {}
impl Sealed for Loop {}
impl Sealed for Block {}
impl<R> Sealed for OutputSet<R> {}
impl<R> Sealed for Returns<R> {}
impl<S> Sealed for StructStep<S> {}
impl<V, W> Sealed for Awaits<V, W> {}

/// The untyped steps of a sequence.
pub(super) struct Drafts {
    pub drafts: Vec<Draft>,
    pub problems: Vec<String>,
}

/// Gives the untyped steps. Private: only this crate makes steps.
pub(super) trait IntoDrafts {
    fn into_drafts(self) -> Drafts;
}

impl<D, P, A, L> IntoDrafts for Sequence<D, P, A, L> {
    fn into_drafts(self) -> Drafts {
        let Parts { drafts, mut problems, id, deadline, is_main, .. } = *self.parts;
        if is_main && deadline.is_some() {
            problems.push(format!(
                "workflow {id:?} is used as a branch, so its deadline would have no effect; use `sub_workflow`"
            ));
        }
        Drafts { drafts, problems }
    }
}
