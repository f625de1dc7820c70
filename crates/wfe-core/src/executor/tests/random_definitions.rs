//! Random definitions with random nesting. Every instance ends, and always in the same way, however often the process
//! dies. A saga is compensated in full or not at all. A cancellation compensates the open sagas and nothing else,
//! whenever it comes.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    scenario::End,
    world::{Step, World},
};
use crate::{
    RetryRefusal, WfeError,
    definition::{
        Activity, After, Block, Definition, Each, Event, Every, IntoStep, OnFailure, Retry, Sequence, Start,
        WorkflowBuilder, task,
    },
    executor::{ACTIVITY, USER_TASK},
    models::{self, EventSubscription, ExecutionPointer, PointerStatus, WorkflowStatus, attributes},
    steps::{Next, StepError, WorkerAnswer},
    traits::{Control, Ending, Intervention, StepCommit},
};

#[derive(Debug, Clone)]
enum Tree {
    Work,
    /// A step whose compensation begins with a delay.
    Slow,
    Broken,
    /// A step that fails in its first execution, and succeeds after a retry of the instance.
    Mends,
    /// Like [`Mends`](Self::Mends), but its failure ends the instance even inside a saga. The flag says whether the step is
    /// compensated even if it has not completed.
    Stops(bool),
    /// A step that fails and suspends the instance. An operator skips it at once. The flag says whether the step is
    /// compensated even if it has not completed.
    Stuck(bool),
    Flaky,
    /// A step that is compensated even if it has not completed. The flag says whether it fails.
    Half(bool),
    Delay,
    Wait,
    If(bool, Vec<Tree>, Vec<Tree>),
    While(usize, Vec<Tree>),
    Parallel(Vec<Vec<Tree>>),
    Race(Vec<Vec<Tree>>),
    ForEach(u8, usize, Vec<Tree>),
    Saga(u32, bool, Vec<Tree>),
    /// A saga, and its fallback.
    Instead(Vec<Tree>, Vec<Tree>),
    /// A container that is cancelled as soon as this many steps were compensated.
    Until(usize, Vec<Tree>),
    /// Like [`Until`](Self::Until), but the branch of the container ends too.
    Leaves(usize, Vec<Tree>),
    Recur(usize, Vec<Tree>),
    Schedule(Vec<Tree>),
    Block(Vec<Tree>),
    Fallback(Vec<Tree>),
    Decide(u8, Vec<Tree>, Vec<Tree>),
    /// A step, and a decision by the value that it gave.
    ThenDecide(u8, Vec<Tree>, Vec<Tree>),
    /// A step with two branches. The two flags say whether the first and the second branch match.
    Branch(bool, bool, Vec<Tree>, Vec<Tree>),
    /// A step that returns this many values. The branch runs once for each value.
    Split(u8, Vec<Tree>),
    /// A wait for the event `tick`. If the event does not come in time, the branch runs.
    Patient(Vec<Tree>),
    Activity(Worker),
    /// An activity that no worker claims in time, and the branch that then runs.
    Unclaimed(Vec<Tree>),
    /// A user task. The first branch runs after the answer. The second branch is the escalation, which runs while the
    /// task is still open.
    Ask(When, Vec<Tree>, Vec<Tree>),
    /// Steps that a go-to repeats this many times, from the first step on.
    Back(usize, Vec<Tree>),
    /// A container, and a step after it. The step is the target of go-tos inside the container.
    Over(Vec<Tree>),
    /// A go-to inside an [`Over`](Self::Over). It is reached only if the flag is set. Outside of an `Over`, this is a
    /// plain step.
    Leave(bool),
    End(bool),
    /// A step with retries, and with a fallback that may be empty. Its cancel condition panics from time to time; see
    /// [`panics`].
    Panics(Shape, usize, u32, Vec<Tree>, Vec<Tree>),
    /// A recur step with a fallback. Its condition panics from time to time; see [`panics`].
    Uncertain(usize, Vec<Tree>, Vec<Tree>),
}

#[derive(Debug, Clone, Copy)]
enum Worker {
    Succeeds,
    Fails,
    Sleeps,
}

#[derive(Debug, Clone, Copy)]
enum When {
    Soon,
    /// The answer comes when nothing else will happen any more.
    Late,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Step,
    If,
    Saga,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Log {
    /// The keys of the completed steps, in the order of their completion. `undone` has the keys of the compensated
    /// steps, in the order of their compensation.
    done: Vec<String>,
    undone: Vec<String>,
    /// The pointers of the compensated steps that had not completed.
    cleaned: Vec<String>,
}

const TICK: Event<u64> = Event::new("tick");

type Body<L = Start> = Sequence<Log, Each<u8>, (), L>;

fn trees() -> impl Strategy<Value = Vec<Tree>> {
    let leaf = prop_oneof![
        5 => Just(Tree::Work),
        2 => Just(Tree::Slow),
        1 => Just(Tree::Broken),
        1 => Just(Tree::Mends),
        1 => any::<bool>().prop_map(Tree::Stops),
        1 => any::<bool>().prop_map(Tree::Stuck),
        1 => Just(Tree::Flaky),
        2 => prop::bool::weighted(0.4).prop_map(Tree::Half),
        1 => Just(Tree::Delay),
        1 => Just(Tree::Wait),
        1 => prop_oneof![Just(Worker::Succeeds), Just(Worker::Fails), Just(Worker::Sleeps)].prop_map(Tree::Activity),
        2 => any::<bool>().prop_map(Tree::Leave),
        1 => prop::bool::weighted(0.2).prop_map(Tree::End),
    ];
    let tree = leaf.prop_recursive(4, 24, 3, |inner| {
        let body = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (any::<bool>(), body(), body()).prop_map(|(holds, a, b)| Tree::If(holds, a, b)),
            (0_usize..3, body()).prop_map(|(rounds, body)| Tree::While(rounds, body)),
            prop::collection::vec(body(), 1..4).prop_map(Tree::Parallel),
            prop::collection::vec(body(), 1..4).prop_map(Tree::Race),
            (0_u8..4, 1_usize..3, body()).prop_map(|(items, limit, body)| Tree::ForEach(items, limit, body)),
            (0_u32..2, any::<bool>(), body()).prop_map(|(retries, on, body)| Tree::Saga(retries, on, body)),
            prop::collection::vec(body(), 2..4).prop_map(|all| Tree::Saga(
                0,
                true,
                vec![Tree::Parallel(all), Tree::Work]
            )),
            (body(), body()).prop_map(|(body, fallback)| Tree::Instead(body, fallback)),
            (1_usize..4, body()).prop_map(|(undone, body)| Tree::Until(undone, body)),
            (1_usize..4, body()).prop_map(|(undone, body)| Tree::Leaves(undone, body)),
            (1_usize..3, body()).prop_map(|(ticks, body)| Tree::Recur(ticks, body)),
            body().prop_map(Tree::Schedule),
            body().prop_map(Tree::Block),
            body().prop_map(Tree::Fallback),
            (0_u8..3, body(), body()).prop_map(|(value, a, b)| Tree::Decide(value, a, b)),
            (0_u8..3, body(), body()).prop_map(|(value, a, b)| Tree::ThenDecide(value, a, b)),
            (any::<(bool, bool)>(), body(), body()).prop_map(|((x, y), a, b)| Tree::Branch(x, y, a, b)),
            (0_u8..3, body()).prop_map(|(values, body)| Tree::Split(values, body)),
            body().prop_map(Tree::Patient),
            body().prop_map(Tree::Unclaimed),
            (prop_oneof![Just(When::Soon), Just(When::Late)], body(), body())
                .prop_map(|(when, yes, late)| Tree::Ask(when, yes, late)),
            (0_usize..3, body()).prop_map(|(rounds, body)| Tree::Back(rounds, body)),
            body().prop_map(Tree::Over),
            (
                prop_oneof![Just(Shape::Step), Just(Shape::If), Just(Shape::Saga)],
                1_usize..5,
                0_u32..3,
                body(),
                prop::collection::vec(inner.clone(), 0..3),
            )
                .prop_map(|(shape, every, retries, body, fallback)| Tree::Panics(
                    shape, every, retries, body, fallback
                )),
            (1_usize..5, body(), body())
                .prop_map(|(every, body, fallback)| Tree::Uncertain(every, body, fallback)),
        ]
    });
    prop::collection::vec(tree, 1..5)
}

fn work() -> impl IntoStep<Log> {
    task::<Log>().then(async |ctx, _| Ok(ctx.idempotency_key())).output(|key, log| log.done.push(key))
}

fn broken() -> impl IntoStep<Log> {
    task::<Log>().then(async |_, _| Err::<(), _>(StepError::fatal("broken")))
}

fn mends() -> impl IntoStep<Log> {
    task::<Log>()
        .then(async |ctx, _| {
            let key = ctx.idempotency_key();
            if models::pointer_id::execution_number(&key) > 1 {
                Ok(key)
            } else {
                Err(StepError::fatal("once"))
            }
        })
        .output(|key, log| log.done.push(key))
}

/// If the step is inside a saga, adds a compensation to it. The compensation writes the key of the step into `undone`.
fn undone<L: After>(body: Body<L>, id: &str, in_saga: bool, is_slow: bool) -> Body {
    if !in_saga {
        return body.closed();
    }
    body.compensate_with(|mut undo| {
        if is_slow {
            undo = undo.delay(format!("slow-{id}"), |_, _| Duration::from_secs(4)).closed();
        }
        undo.then(format!("un-{id}"), async |ctx, _, _| {
            let pointer = ctx.compensated().map(|step| &*step.pointer).unwrap_or_default();
            Ok(format!("{}/{pointer}", ctx.instance_id()))
        })
        .output(|key, log, _| log.undone.push(key))
    })
    .closed()
}

/// If the step is inside a saga, adds a compensation to it that runs even if the step has not completed. For a step that
/// has not completed, the compensation writes the pointer of the step into `cleaned`.
fn cleaned<L: After>(body: Body<L>, id: &str, in_saga: bool) -> Body {
    if !in_saga {
        return body.closed();
    }
    body.compensate_even_if_failed(|undo| {
        undo.then(format!("un-{id}"), async |ctx, _, _| {
            let step = ctx.compensated().expect("it is a compensation");
            assert!(step.failure.is_none() || step.outcome.is_none());
            Ok((step.failure.is_some(), step.pointer.clone()))
        })
        .output(|(is_unfinished, pointer), log, _| {
            if is_unfinished { log.cleaned.push(pointer) } else { log.undone.push(format!("it/{pointer}")) }
        })
    })
    .closed()
}

/// A step that writes its name each time it ends, so that the number of its ends can be counted.
fn counting(name: String) -> impl IntoStep<Log> {
    task::<Log>().change(move |log| log.done.push(name.clone()))
}

fn counted_in(log: &Log, name: &str) -> usize {
    log.done.iter().filter(|word| *word == name).count()
}

/// What encloses the steps that are added.
#[derive(Clone, Copy)]
struct Around<'a> {
    saga: bool,
    /// The step to which go-tos inside may go.
    target: Option<&'a str>,
}

/// Whether a condition inside panics from time to time.
fn has_panics(tree: &Tree) -> bool {
    let text = format!("{tree:?}");
    text.contains("Panics(") || text.contains("Uncertain(")
}

/// Panics if the number of steps that have ended is a positive multiple of `every + 1`.
fn panics(log: &Log, every: usize) {
    assert!(log.done.is_empty() || !log.done.len().is_multiple_of(every + 1), "no idea");
}

#[allow(clippy::too_many_lines, reason = "one arm a kind, each a few lines")]
fn add(mut body: Body, trees: &[Tree], count: &Cell<u32>, around: Around<'_>) -> Body {
    let in_saga = around.saga;
    for tree in trees {
        count.set(count.get() + 1);
        let id = format!("s{}", count.get());
        body = match tree {
            Tree::Work => undone(body.step(id.clone(), work()), &id, in_saga, false),
            Tree::Slow => undone(body.step(id.clone(), work()), &id, in_saga, true),
            Tree::Broken => body.step(id, broken()).closed(),
            Tree::Mends => undone(body.step(id.clone(), mends()), &id, in_saga, false),
            Tree::Stops(is_half) => {
                let body = body.step(id.clone(), mends()).on_failure(OnFailure::Fail);
                if *is_half { cleaned(body, &id, in_saga) } else { undone(body, &id, in_saga, false) }
            }
            Tree::Stuck(is_half) => {
                let body = body.step(id.clone(), broken()).on_failure(OnFailure::Suspend);
                if *is_half { cleaned(body, &id, in_saga) } else { body.closed() }
            }
            Tree::Flaky => {
                let flaky = body
                    .then(id.clone(), async |ctx, _, _| {
                        if ctx.attempt() == 1 {
                            Err(StepError::retryable("once"))
                        } else {
                            Ok(ctx.idempotency_key())
                        }
                    })
                    .output(|key, log, _| log.done.push(key))
                    .retry(Retry::exponential().attempts(2));
                undone(flaky, &id, in_saga, false)
            }
            Tree::Half(true) => cleaned(body.step(id.clone(), broken()), &id, in_saga),
            Tree::Half(false) => cleaned(body.step(id.clone(), work()), &id, in_saga),
            Tree::Delay => body.delay(id, |_, _| Duration::from_secs(7)).closed(),
            Tree::Wait => body.wait_for(id, TICK, |_, _| "k").closed(),
            Tree::If(holds, then, otherwise) => {
                let holds = *holds;
                body.if_else(
                    id,
                    move |_, _| holds,
                    |b| add(b, then, count, around),
                    |b| add(b, otherwise, count, around),
                )
                .closed()
            }
            Tree::While(rounds, inner) => {
                let (rounds, name) = (*rounds, format!("{id}-count"));
                let counted = name.clone();
                let goes_on = move |log: &Log, _: &u8| counted_in(log, &counted) < rounds;
                // A cancel condition that ends the branch may end each round early, so the round is counted first.
                body.while_(id, goes_on, |b| {
                    let b = b.step(name.clone(), counting(name)).closed();
                    add(b, inner, count, around)
                })
                .closed()
            }
            Tree::Recur(ticks, inner) => recur(body, id, *ticks, |_| (), inner, count, around).closed(),
            Tree::Parallel(branches) => {
                let parallel = body.parallel(id, |mut all| {
                    for branch in branches {
                        all = all.branch(|b| add(b, branch, count, around));
                    }
                    all
                });
                parallel.closed()
            }
            Tree::Race(branches) => {
                let race = body.race(id, |mut all| {
                    for branch in branches {
                        all = all.branch(|b| add(b, branch, count, around));
                    }
                    all
                });
                race.closed()
            }
            Tree::ForEach(items, limit, inner) => {
                let items = *items;
                body.for_each(id, move |_, _| (0..items).collect(), |b| add(b, inner, count, around))
                    .concurrent(*limit)
                    .closed()
            }
            Tree::Saga(retries, on, inner) => {
                let body = body
                    .saga(id, |b| add(b, inner, count, Around { saga: true, ..around }))
                    .retry(Retry::exponential().attempts(retries + 1));
                if *on { body.on_failure(OnFailure::Continue) } else { body }.closed()
            }
            Tree::Instead(inner, fallback) => body
                .saga(id, |b| add(b, inner, count, Around { saga: true, ..around }))
                .fallback(|b| add(b, fallback, count, around))
                .closed(),
            Tree::Until(undone, inner) => {
                let undone = *undone;
                body.if_(id, |_, _| true, |b| add(b, inner, count, around))
                    .cancel_when(move |log, _| log.undone.len() >= undone)
                    .closed()
            }
            Tree::Leaves(undone, inner) => {
                let undone = *undone;
                body.block(id, |b| add(b, inner, count, around))
                    .cancel_branch_when(move |log, _| log.undone.len() >= undone)
                    .closed()
            }
            Tree::Schedule(inner) => {
                let inside = Around { target: None, ..around };
                body.after(id, |_, _| Duration::from_secs(3), |b| add(b, inner, count, inside)).closed()
            }
            Tree::Block(inner) => body.block(id, |b| add(b, inner, count, around)).closed(),
            Tree::Fallback(inner) => {
                body.step(id, broken()).fallback(|b| add(b, inner, count, around)).closed()
            }
            Tree::Decide(value, a, b) => {
                let value = *value;
                body.decide(
                    id,
                    move |_, _| value,
                    |by| {
                        by.when(0, |body| add(body, a, count, around))
                            .when(1, |body| add(body, b, count, around))
                    },
                )
                .closed()
            }
            Tree::ThenDecide(value, a, b) => {
                let value = *value;
                body.call(format!("{id}-value"), move |_, _, _| Ok(value))
                    .then_decide(id, |by| {
                        by.when(0, |body| add(body, a, count, around))
                            .otherwise(|body| add(body, b, count, around))
                    })
                    .closed()
            }
            Tree::Branch(x, y, a, b) => {
                let (x, y) = (*x, *y);
                let branch = body.branch(id, |by| {
                    by.when(move |_, _| x, |body| add(body, a, count, around))
                        .when(move |_, _| y, |body| add(body, b, count, around))
                });
                branch.closed()
            }
            Tree::Split(values, inner) => {
                let values = *values;
                body.then(id, async move |_, _, _| Next::branch(0..values))
                    .each(|b| add(b, inner, count, around))
                    .all_at_once()
                    .closed()
            }
            Tree::Patient(late) => body
                .wait_for(id, TICK, |_, _| "k")
                .on_timeout(|_, _| Duration::from_secs(2), |b| add(b, late, count, around))
                .closed(),
            Tree::Activity(worker) => body
                .activity(id, Activity::<_, ()>::named(format!("{worker:?}")), |_, _| ())
                .fail_after(|_, _| Duration::from_secs(4))
                .retry(Retry::exponential().attempts(2))
                .on_failure(OnFailure::Continue)
                .closed(),
            Tree::Unclaimed(late) => body
                .activity(id, Activity::<_, ()>::named(format!("{:?}", Worker::Sleeps)), |_, _| ())
                .claim_within(|_, _| Duration::from_secs(2))
                .on_timeout(|_, _| Duration::from_hours(1), |b| add(b, late, count, around))
                .closed(),
            Tree::Ask(when, yes, unanswered) => {
                let when = format!("{when:?}");
                body.user_task(id, move |_, _| when.clone())
                    .option("yes", |b| add(b, yes, count, around))
                    .escalate(|_, _| Duration::from_secs(2), |b| add(b, unanswered, count, around))
                    .closed()
            }
            Tree::Back(rounds, inner) => {
                let (rounds, name) = (*rounds, format!("{id}-count"));
                let counted = name.clone();
                let again = move |log: &Log, _: &u8| counted_in(log, &counted) < rounds;
                let first = undone(body.step(id.clone(), work()), &id, in_saga, false);
                let rest = add(first, inner, count, around).if_(format!("{id}-if"), again, |b| {
                    b.step(name.clone(), counting(name)).go_to(format!("{id}-go"), id)
                });
                rest.closed()
            }
            Tree::Over(inner) => {
                let target = format!("{id}-on");
                let inside = Around { target: Some(&target), ..around };
                let body = body.if_(id, |_, _| true, |b| add(b, inner, count, inside));
                undone(body.step(target.clone(), work()), &target, in_saga, false)
            }
            Tree::Leave(holds) => match around.target {
                None => undone(body.step(id.clone(), work()), &id, in_saga, false),
                Some(target) => {
                    let (holds, go) = (*holds, format!("{id}-go"));
                    body.if_(id, move |_, _| holds, |b| b.go_to(go, target)).closed()
                }
            },
            Tree::End(holds) => {
                let (holds, end) = (*holds, format!("{id}-end"));
                body.if_(id, move |_, _| holds, |b| b.end(end)).closed()
            }
            Tree::Panics(shape, every, retries, inner, fallback) => {
                let (every, attempts) = (*every, retries + 1);
                let instead = |b: Body| add(b, fallback, count, around);
                let instead = Some(instead).filter(|_| !fallback.is_empty());
                match shape {
                    Shape::Step => uncertain(body.step(id, broken()), every, attempts, instead),
                    Shape::If => {
                        let body = body.if_(id, |_, _| true, |b| add(b, inner, count, around));
                        uncertain(body, every, attempts, instead)
                    }
                    Shape::Saga => {
                        let body = body.saga(id, |b| add(b, inner, count, Around { saga: true, ..around }));
                        uncertain(body, every, attempts, instead)
                    }
                }
            }
            Tree::Uncertain(every, inner, fallback) => {
                let every = *every;
                recur(body, id, 2, move |log| panics(log, every), inner, count, around)
                    .fallback(|b| add(b, fallback, count, Around { target: None, ..around }))
                    .closed()
            }
        };
    }
    body
}

/// Gives the last step a cancel condition that panics, retries, and perhaps a fallback.
fn uncertain<L: After>(
    body: Body<L>,
    every: usize,
    attempts: u32,
    instead: Option<impl FnOnce(Body) -> Body>,
) -> Body {
    let body = body
        .cancel_when(move |log, _| {
            panics(log, every);
            false
        })
        .retry(Retry::exponential().attempts(attempts));
    match instead {
        Some(instead) => body.fallback(instead),
        None => body,
    }
    .closed()
}

fn recur(
    body: Body,
    id: String,
    ticks: usize,
    look: impl Fn(&Log) + Send + Sync + 'static,
    inner: &[Tree],
    count: &Cell<u32>,
    around: Around<'_>,
) -> Body<Block> {
    let name = format!("{id}-count");
    let counted = name.clone();
    let is_over = move |log: &Log, _: &u8| {
        look(log);
        counted_in(log, &counted) >= ticks
    };
    body.recur(id, Every::interval(Duration::from_secs(2)), is_over, |b| {
        let b = b.step(name.clone(), counting(name)).closed();
        add(b, inner, count, Around { target: None, ..around })
    })
}

fn definition(trees: &[Tree]) -> Definition<Log> {
    WorkflowBuilder::new("w", 1)
        .for_each("top", |_| vec![0], |b| add(b, trees, &Cell::new(0), Around { saga: false, target: None }))
        .build()
        .unwrap()
}

fn world(definition: &Definition<Log>) -> World {
    let mut world = World::new(definition, &Log::default());
    for at in 1..40 {
        let at = world.now + Duration::from_secs(5 * at);
        let id = format!("tick {at}");
        world.planned.push((
            at,
            models::Event { id, event_time: at, ..models::Event::new("tick", "k", serde_json::json!(0)) },
        ));
    }
    world.sorted = true;
    world
}

/// Answers one wait, as an external worker or a user would. Called when nothing else can happen before time passes.
/// Returns `false` if there is no wait to answer.
fn answer(world: &mut World, answered: &mut BTreeSet<String>) -> bool {
    let is_last = world.next_time().is_none();
    let answer_to = |wait: &EventSubscription| {
        let of = |worker: Worker| wait.event_name == format!("{ACTIVITY}{worker:?}");
        let prompt = wait.subscription_data.as_ref().map(|view| view["prompt"].clone());
        if wait.event_name == USER_TASK && (is_last || prompt == Some(format!("{:?}", When::Soon).into())) {
            let answer = serde_json::json!({"option": "yes", "user": "ada", "data": null});
            return Some(WorkerAnswer::Success(answer));
        }
        let failure = || WorkerAnswer::Failure { code: "no".to_owned(), causes: Vec::new(), retryable: true };
        let success = || WorkerAnswer::Success(serde_json::json!(1));
        of(Worker::Succeeds).then(success).or_else(|| of(Worker::Fails).then(failure))
    };
    let open: BTreeMap<_, _> = world.waits.iter().map(|wait| (wait.id.clone(), wait)).collect();
    let found = open
        .into_iter()
        .filter(|(id, _)| !answered.contains(id))
        .find_map(|(id, wait)| Some((id, wait.event_name.clone(), answer_to(wait)?)));
    let Some((id, name, answer)) = found else { return false };
    let event = models::Event::new(name, &id, serde_json::to_value(answer).unwrap());
    world.publish(models::Event { id: format!("answer {id}"), event_time: world.now, ..event });
    answered.insert(id);
    true
}

/// Skips the failed steps of a suspended instance, as an operator would. What ended beside them may have cancelled them.
fn skip(world: &mut World) {
    world.intervene(Intervention::Skip);
    if world.instance.status == WorkflowStatus::Suspended {
        world.ask(Control::Resume);
    }
}

/// Plays the world until nothing can happen any more.
fn play(world: &mut World, mut choose: impl FnMut(usize) -> Step) {
    let mut answered = BTreeSet::new();
    loop {
        if world.instance.status == WorkflowStatus::Suspended {
            skip(world);
            continue;
        }
        if world.act(&mut choose) || answer(world, &mut answered) {
            continue;
        }
        match world.next_time() {
            Some(at) => world.now = world.now.max(at),
            None => return,
        }
    }
}

/// Checks what must be true at the end of every play.
fn check(world: &World) {
    let ended = world.ending.is_some();
    // A wait may be for a tick that never comes.
    let waits = world.instance.execution_pointers.iter().any(|p| p.status == PointerStatus::WaitingForEvent);
    assert!(ended || waits, "it stands at {:?}", world.instance.execution_pointers);
    assert!(world.run.is_none());
    let log: Log = world.data();
    let done: Vec<_> = log.done.iter().filter(|key| !key.ends_with("-count")).collect();
    let undone: BTreeSet<_> = log.undone.iter().collect();
    assert_eq!(undone.len(), log.undone.len(), "nothing is undone twice");
    let all: BTreeSet<_> = done.iter().copied().collect();
    assert_eq!(all.len(), done.len(), "nothing is done twice");
    assert!(undone.is_subset(&all), "only what was done is undone");
    let history = world.history.iter().map(|row| &row.pointer).chain(&world.instance.execution_pointers);
    for saga in history.filter(|p| p.status == PointerStatus::Compensated) {
        let path = format!("it/{}/", saga.id);
        let left: Vec<_> =
            done.iter().filter(|key| key.starts_with(&path) && !undone.contains(*key)).collect();
        assert!(left.is_empty(), "of {path} this is not undone: {left:?}");
    }
    check_cleaned(world);
}

/// Checks the steps that are compensated even if they have not completed: none is compensated twice, and none is left out
/// if its saga was compensated.
fn check_cleaned(world: &World) {
    let log: Log = world.data();
    let cleaned: BTreeSet<_> = log.cleaned.iter().collect();
    assert_eq!(cleaned.len(), log.cleaned.len(), "nothing is cleaned twice");
    let all = || world.history.iter().map(|row| &row.pointer).chain(&world.instance.execution_pointers);
    let unfinished = |p: &&ExecutionPointer| p.has(attributes::LOGGED) && p.status != PointerStatus::Complete;
    let logged: BTreeSet<_> = all().filter(unfinished).map(|p| &p.id).collect();
    assert!(cleaned.is_subset(&logged), "only what has begun and not completed is cleaned");
    for saga in all().filter(|p| p.status == PointerStatus::Compensated) {
        let path = format!("{}/", saga.id);
        let left: Vec<_> =
            logged.iter().filter(|id| id.starts_with(&path) && !cleaned.contains(*id)).collect();
        assert!(left.is_empty(), "of {path} this is not cleaned: {left:?}");
    }
}

/// The paths of the sagas that a cancellation would have to compensate now. These sagas have begun but not ended. A
/// saga inside another such saga is left out.
fn open_sagas(world: &World) -> Vec<String> {
    let is_open = |p: &&ExecutionPointer| {
        p.active
            && p.status == PointerStatus::Running
            && p.text(attributes::KIND) == Some("saga")
            && !p.has(attributes::IN_FALLBACK)
    };
    let open: Vec<_> =
        world.instance.execution_pointers.iter().filter(is_open).map(|p| format!("it/{}/", p.id)).collect();
    let is_inside = |path: &String| open.iter().any(|other| other != path && path.starts_with(other));
    open.iter().filter(|path| !is_inside(path)).cloned().collect()
}

/// The keys of the steps that are being compensated.
fn begun_compensations(world: &World) -> BTreeSet<String> {
    let live = world.instance.execution_pointers.iter().filter(|p| p.active);
    let undone = live.filter_map(|p| p.attribute(attributes::COMPENSATES)?["pointer"].as_str());
    undone.map(|pointer| format!("it/{pointer}")).collect()
}

/// Cancels the instance in its current state, and plays the world to its end. The process dies before some of the
/// bodies.
fn cancel(mut world: World, deaths: &[bool]) {
    let (before, open): (Log, _) = (world.data(), open_sagas(&world));
    let begun = begun_compensations(&world);
    world.planned.clear();
    world.ask(Control::Cancel);
    let mut deaths = deaths.iter();
    world.play_with(|_| if deaths.next() == Some(&true) { Step::Crash } else { Step::Finish(1) });
    assert_eq!(world.ending, Some(Ending::Cancelled));
    check(&world);
    let after: Log = world.data();
    assert_eq!(after.done, before.done, "nothing is done after a cancel");
    let mut undone = 0;
    for path in open {
        let is_inside = |key: &&String| key.starts_with(&path);
        let due = before.done.iter().rev().filter(is_inside).filter(|key| !before.undone.contains(key));
        let (mut first, rest): (Vec<_>, Vec<_>) = due.partition(|key| begun.contains(*key));
        let mut was_undone: Vec<_> = after.undone[before.undone.len()..].iter().filter(is_inside).collect();
        // What inner sagas had begun to compensate is compensated first, side by side.
        first.sort();
        was_undone[..first.len()].sort();
        assert_eq!(was_undone, [first, rest].concat(), "of {path}");
        undone += was_undone.len();
    }
    assert_eq!(undone, after.undone.len() - before.undone.len(), "nothing else is undone");
}

/// Plays the world until nothing can happen any more, and retries the instance each time when it has failed, but at
/// most `retries` times.
fn play_with_retries(world: &mut World, mut retries: usize) {
    play(world, |_| Step::Finish(1));
    while retries > 0 && world.ending == Some(Ending::Failed) {
        world.retry().unwrap();
        play(world, |_| Step::Finish(1));
        retries -= 1;
    }
}

/// How many retries were stored.
fn retries_of(world: &World) -> usize {
    let is_retry = |commit: &&StepCommit| commit.upserted.iter().any(|p| p.has(attributes::RETRIED));
    world.commits.iter().filter(is_retry).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_nesting_ends_and_ends_the_same_way_wherever_the_process_died(
        trees in trees(),
        deaths in prop::collection::btree_set(1_usize..60, 0..20),
    ) {
        let definition = definition(&trees);
        let mut whole = world(&definition);
        play(&mut whole, |_| Step::Finish(1));
        check(&whole);
        let mut killed = world(&definition);
        for death in deaths {
            if death > killed.commits.len() {
                killed.dies_after = Some(death);
                play(&mut killed, |_| Step::Finish(1));
            }
        }
        play(&mut killed, |_| Step::Finish(1));
        check(&killed);
        prop_assert_eq!(End::of(&whole), End::of(&killed));
    }

    #[test]
    fn any_nesting_ends_in_any_order_of_results(
        trees in trees(),
        choices in prop::collection::vec((0_u8..6, any::<prop::sample::Index>()), 0..200),
    ) {
        let mut world = world(&definition(&trees));
        world.sorted = false;
        let mut choices = choices.into_iter();
        play(&mut world, |waiting| match choices.next() {
            None => Step::Finish(1),
            Some((0, _)) => Step::Crash,
            Some((1..=2, index)) => Step::Swap(index.index(waiting)),
            Some((_, index)) => Step::Finish(index.index(waiting) + 1),
        });
        check(&world);
    }

    #[test]
    fn a_failed_instance_that_is_retried_ends_the_same_way_wherever_the_process_died(
        trees in trees(),
        deaths in prop::collection::btree_set(1_usize..90, 0..20),
    ) {
        let definition = definition(&trees);
        let mut whole = world(&definition);
        play_with_retries(&mut whole, 3);
        check(&whole);
        let mut killed = world(&definition);
        for death in deaths {
            if death > killed.commits.len() {
                killed.dies_after = Some(death);
                let left = 3 - retries_of(&killed);
                play_with_retries(&mut killed, left);
            }
        }
        let left = 3 - retries_of(&killed);
        play_with_retries(&mut killed, left);
        check(&killed);
        prop_assert_eq!(End::of(&whole), End::of(&killed));
    }

    #[test]
    fn suspensions_that_are_ended_at_once_change_nothing(
        trees in trees(),
        moments in prop::collection::btree_map(1_usize..60, any::<bool>(), 1..20),
    ) {
        // A resume evaluates the conditions once more.
        prop_assume!(!trees.iter().any(has_panics));
        let definition = definition(&trees);
        let mut whole = world(&definition);
        play(&mut whole, |_| Step::Finish(1));
        let (mut world, mut answered) = (world(&definition), BTreeSet::new());
        let mut commits = 0;
        loop {
            if let Some(crashes) = moments.get(&world.commits.len()) && world.commits.len() != commits {
                commits = world.commits.len() + 2;
                // Suspended by a failure, it is skipped below.
                if world.instance.status == WorkflowStatus::Runnable {
                    world.ask(Control::Suspend);
                    if *crashes {
                        world.crash();
                    }
                    world.ask(Control::Resume);
                }
            }
            if world.instance.status == WorkflowStatus::Suspended {
                skip(&mut world);
            } else if !world.act(&mut |_| Step::Finish(1)) && !answer(&mut world, &mut answered) {
                match world.next_time() {
                    Some(at) => world.now = world.now.max(at),
                    None => break,
                }
            }
        }
        check(&world);
        prop_assert_eq!(End::of(&whole), End::of(&world));
    }

    #[test]
    fn a_cancel_at_any_moment_that_is_taken_back_by_a_retry_changes_nothing_if_no_saga_was_open(
        trees in trees(),
        moment in 0_usize..120,
        again in 0_usize..3,
    ) {
        let definition = definition(&trees);
        let mut whole = world(&definition);
        play(&mut whole, |_| Step::Finish(1));
        let (mut world, mut answered) = (world(&definition), BTreeSet::new());
        for _ in 0..moment {
            if world.instance.status == WorkflowStatus::Suspended {
                skip(&mut world);
            } else if !world.act(&mut |_| Step::Finish(1)) && !answer(&mut world, &mut answered)
                && let Some(at) = world.next_time() {
                world.now = world.now.max(at);
            }
        }
        for _ in 0..=again {
            // An event that is there already comes before the cancel, and may be the end.
            while world.run.is_none() && world.act(&mut |_| Step::Finish(1)) {}
            if world.ending.is_some() {
                return Ok(());
            }
            let had_saga = !open_sagas(&world).is_empty();
            let planned = std::mem::take(&mut world.planned);
            world.ask(Control::Cancel);
            world.play();
            world.jobs.clear();
            world.planned = planned;
            prop_assert_eq!(world.ending, Some(Ending::Cancelled));
            let log: Log = world.data();
            let undone = log.undone.len();
            match world.retry() {
                Ok(()) => {}
                Err(WfeError::CannotRetry { reason: RetryRefusal::Compensated, .. }) => {
                    prop_assert!(had_saga);
                    return Ok(());
                }
                Err(other) => panic!("{other}"),
            }
            if had_saga {
                // It begins another round.
                play(&mut world, |_| Step::Finish(1));
                check(&world);
                let log: Log = world.data();
                prop_assert!(log.undone.len() >= undone);
                return Ok(());
            }
        }
        play(&mut world, |_| Step::Finish(1));
        check(&world);
        let sorted = |world: &World| {
            let mut log: Log = world.data();
            log.done.sort();
            log.undone.sort();
            (world.ending, log)
        };
        prop_assert_eq!(sorted(&whole), sorted(&world));
    }

    #[test]
    fn a_cancel_at_any_moment_undoes_all_that_is_open_in_reverse_and_begins_nothing(
        trees in trees(),
        moment in 0_usize..120,
        (crashes, together) in any::<(bool, bool)>(),
        deaths in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let mut world = world(&definition(&trees));
        let mut answered = BTreeSet::new();
        for _ in 0..moment {
            let mut at_once = |waiting| Step::Finish(if together { waiting } else { 1 });
            if !world.act(&mut at_once) && !answer(&mut world, &mut answered) && let Some(at) = world.next_time() {
                world.now = world.now.max(at);
            }
        }
        // An event that is there already comes before the cancel, and may be the end.
        while world.run.is_none() && world.act(&mut |_| Step::Finish(1)) {}
        if crashes {
            world.crash();
        }
        if world.ending.is_none() {
            cancel(world, &deaths);
        }
    }
}
