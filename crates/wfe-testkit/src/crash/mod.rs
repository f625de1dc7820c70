//! Crash tests: they check that a workflow reaches the same end, no matter after which commit its process dies.
//!
//! [`at_every_commit`] plays a story inside the test's process: once undisturbed, and once for each commit, with a
//! simulated crash of the process right after that commit. [`processes_at_every_commit`] runs a separate program, which
//! really dies. The program must open its store through [`KillAfter::from_env`]. The test runs the program again and
//! again.

mod effects;
mod kill_after;
mod processes;

pub use effects::Effects;
pub use kill_after::{KILL_AFTER, KillAfter};
pub use processes::processes_at_every_commit;

use std::{fmt, future::Future, sync::Arc, sync::mpsc, time::Duration};

use wfe::{Result, WfeError, traits::PersistenceProvider};

use crate::{VirtualClock, conformance::Harness};

/// How long, in real time, the bodies and the host of one life may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The arguments of a story. The first run of a story is its first life; each crash of the process is followed by a
/// further life.
pub struct Life {
    /// The store, which is the same in all lives of the story.
    pub store: Arc<dyn PersistenceProvider>,
    /// The clock. It is the same in all lives, so that it is not set back after a crash.
    pub clock: Arc<VirtualClock>,
    /// The side effects of the steps, recorded over all lives.
    pub effects: Effects,
}

/// Plays a story once undisturbed, and then once for each of its commits, with a simulated crash of the process right
/// after that commit. For the store, the simulated crash looks as if the process had died. After the crash, the story
/// is played again from its beginning on the same store. Returns the number of commits after which a crash was
/// simulated.
///
/// Each time, the story must have the same result as in the undisturbed run. Each effect of its steps must happen as
/// often as in the undisturbed run, or once more, because a step that was running at the moment of the crash is run
/// again. A step must not run again once the commit in which it completed is stored.
///
/// A story does what a program does: it creates a host, starts instances and publishes events. The host is a
/// [`TestHost`](crate::TestHost), because the clock is virtual. At the end, the story returns a result that describes
/// the final state. Since the story is played again after a crash, it must start its instances with a reference and
/// publish its events with an id.
///
/// The function creates its own tokio runtimes, so it must be called in a plain test, not on a tokio runtime.
///
/// # Errors
/// The errors of the store and of the story.
///
/// # Panics
/// If a result or the number of an effect differs from the undisturbed run by more than is allowed, or if a
/// step ran again after it was stored as completed.
///
/// # Examples
/// ```
/// use wfe::{Outcome, Result, definition::WorkflowName};
/// use wfe_sqlite::SqlitePersistenceProvider;
/// use wfe_testkit::{TestHost, conformance::InMemory, crash::{Life, at_every_commit}};
///
/// const W: WorkflowName<u32> = WorkflowName::new("w");
///
/// let memory = InMemory::new(|clock| SqlitePersistenceProvider::builder(":memory:").clock(clock).open());
///
/// async fn story(life: Life) -> Result<Outcome<u32>> {
///     let definition = W
///         .define(1)
///         .with(life.effects)
///         .call("mail", |ctx, _| { ctx.app.happen(ctx); Ok(()) })
///         .change("count", |n| *n += 1)
///         .build()?;
///     let host = TestHost::builder_shared(life.store, life.clock).define(definition).start().await?;
///     let instance = host.workflow(W).start(&0).reference("it").await?;
///     host.run_to_end(instance.id()).await
/// }
///
/// let deaths = at_every_commit(&memory, &story)?;
/// assert!(deaths >= 3); // after the start and after each of the two steps
/// # Ok::<(), wfe::WfeError>(())
/// ```
pub fn at_every_commit<H, T, F>(harness: &H, story: &impl Fn(Life) -> F) -> Result<usize>
where
    H: Harness,
    T: PartialEq + fmt::Debug,
    F: Future<Output = Result<T>>,
{
    let whole = play(harness, story, None)?;
    for after in 1.. {
        let disturbed = play(harness, story, Some(after))?;
        assert_eq!(disturbed.result, whole.result, "when the process died after commit {after}");
        disturbed.effects.must_equal(&whole.effects, disturbed.deaths, after);
        if disturbed.deaths == 0 {
            return Ok(after - 1);
        }
    }
    unreachable!("a story ends")
}

struct Played<T> {
    result: T,
    effects: Effects,
    deaths: usize,
}

fn play<H, T, F>(harness: &H, story: &impl Fn(Life) -> F, dies_after: Option<usize>) -> Result<Played<T>>
where
    H: Harness,
    F: Future<Output = Result<T>>,
{
    let (clock, effects) = (Arc::new(VirtualClock::default()), Effects::default());
    let runtime = runtime()?;
    let place = runtime.block_on(harness.place())?;
    // A store in memory is kept open, so that it outlives the simulated death.
    let kept =
        if harness.lasts() { None } else { Some(runtime.block_on(harness.open(&place, clock.clone()))?) };
    let (mut deaths, mut dies_after) = (0, dies_after);
    loop {
        let (gone, all_gone) = mpsc::channel();
        let runtime = self::runtime()?;
        let result = runtime.block_on(async {
            let provider = match &kept {
                Some(provider) => provider.clone(),
                None => harness.open(&place, clock.clone()).await?,
            };
            let (died, mut death) = tokio::sync::watch::channel(false);
            let (after, is_dead) = (dies_after.unwrap_or(usize::MAX), death.clone());
            let mortal = KillAfter::new(provider, after, move || {
                died.send_replace(true);
            });
            let provider = mortal.until_gone(gone).recording(effects.clone()).into_store();
            let life = Life { store: provider, clock: clock.clone(), effects: effects.clone() };
            tokio::select! {
                biased;
                // `wait_for` returns an error if the store was dropped without a simulated crash.
                Ok(_) = death.wait_for(|died| *died) => Ok(None),
                result = story(life) => if *is_dead.borrow() { Ok(None) } else { result.map(Some) },
            }
        })?;
        // Wait until the bodies and the host of this life have ended.
        runtime.shutdown_timeout(PATIENCE);
        if all_gone.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            return Err(WfeError::Invalid(
                "the host of a story did not end within 30 s: a clone keeps it alive, or a body still runs"
                    .to_owned(),
            ));
        }
        match result {
            Some(result) => return Ok(Played { result, effects, deaths }),
            None => deaths += 1,
        }
        dies_after = None;
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| WfeError::Other(error.into()))
}
