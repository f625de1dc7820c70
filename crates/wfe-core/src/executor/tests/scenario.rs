//! Scenarios that are played several times: once undisturbed, and once for each point at which the process can die.
//! They must always end in the same way.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::world::{Step, World};
use crate::{
    definition::{
        AnyDefinition, Block, Branch, Data, IntoStep, Main, Sequence, Start, WorkflowBuilder, task,
    },
    models::WorkflowStatus,
    steps::StepError,
    traits::Ending,
};

pub const HOUR: Duration = Duration::from_hours(1);

/// The words that the steps of these tests write, in the order in which the steps ended. Most steps write their own
/// name.
pub type Line = Vec<String>;

/// The main path of a definition. `L` is what its last step leaves.
pub type Builder<L = Start> = Body<Main, L>;

/// Steps that write into the line.
pub type Body<P = Main, L = Start> = Sequence<Line, P, (), L>;

pub fn begin() -> Builder {
    WorkflowBuilder::new("w", 1)
}

/// A step that writes this word.
pub fn mark(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>().change(move |line| line.push(word.to_owned()))
}

/// Adds a step that writes `word`, with a compensation that writes `-word`.
pub fn does<P, L>(body: Body<P, L>, word: &'static str) -> Body<P> {
    body.step(word, mark(word)).compensate_with(|undo| undo.step(format!("un-{word}"), unmark(word))).closed()
}

pub fn unmark(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>().change(move |line| line.push(format!("-{word}")))
}

pub fn saga<B: Branch<Line>>(body: impl FnOnce(Body) -> B) -> Builder<Block> {
    begin().saga("saga", body)
}

/// A step that never succeeds.
pub fn broken() -> impl IntoStep<Line> {
    task::<Line>().call(|_, _| Err::<(), _>(StepError::fatal("broken")))
}

/// The definition, with its type erased.
pub fn built<D: Data, L>(builder: Sequence<D, Main, (), L>) -> AnyDefinition {
    builder.build().unwrap().into()
}

pub fn world<L>(builder: Builder<L>) -> World {
    World::new(&built(builder), &Line::new())
}

/// The part of a scenario's end that an observer can see.
#[derive(Debug, PartialEq)]
pub struct End {
    ending: Option<Ending>,
    status: WorkflowStatus,
    data: Value,
    live: BTreeSet<(String, String, Option<String>)>,
    history: BTreeSet<(String, String, Option<String>)>,
    failures: BTreeSet<(String, u32, String)>,
    waits: BTreeSet<String>,
    time: DateTime<Utc>,
}

impl End {
    pub fn of(world: &World) -> Self {
        let seen = |p: &crate::models::ExecutionPointer| {
            (p.id.clone(), p.status.to_string(), p.outcome.as_ref().map(ToString::to_string))
        };
        let history: BTreeSet<_> = world.history.iter().map(|row| seen(&row.pointer)).collect();
        assert_eq!(history.len(), world.history.len(), "nothing becomes history twice");
        Self {
            ending: world.ending,
            status: world.instance.status,
            data: world.instance.data.clone(),
            live: world.instance.execution_pointers.iter().map(seen).collect(),
            history,
            failures: world.failures.iter().map(|f| (f.step.clone(), f.attempt, f.code.clone())).collect(),
            waits: world.waits.iter().map(|w| w.id.clone()).collect(),
            time: world.now,
        }
    }
}

/// Plays the scenario to its end several times: undisturbed, with a crash after each commit, and with a crash before
/// each body. All these plays must end alike.
pub fn everywhere(make: impl Fn() -> World) -> World {
    let mut whole = make();
    whole.play();
    let end = End::of(&whole);
    for dies_after in 1..=whole.commits.len() {
        let mut world = make();
        world.dies_after = Some(dies_after);
        world.play();
        assert_eq!(End::of(&world), end, "when the process died after commit {dies_after}");
    }
    let mut world = make();
    let mut lives = false;
    world.play_with(|_| {
        lives = !lives;
        if lives { Step::Crash } else { Step::Finish(1) }
    });
    assert_eq!(End::of(&world), end, "when the process died before each body");
    let mut world = make();
    world.play_with(Step::Finish);
    assert_eq!(End::of(&world).ending, end.ending, "when all bodies end at once");
    whole
}

/// The words that were written, separated by spaces.
pub fn line(world: &World) -> String {
    world.data::<Line>().join(" ")
}
