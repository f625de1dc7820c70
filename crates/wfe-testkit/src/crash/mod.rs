//! A death at every commit: does a workflow come to the same end wherever its process dies?
//!
//! [`at_every_commit`] plays a story in this process, once undisturbed and once for each commit, right after which
//! everything that the process had is gone. [`processes_at_every_commit`] does so with a program of its own, which really
//! dies: the program opens its store through [`KillAfter::from_env`], and the driver runs it again and again.

mod effects;
mod kill_after;
mod processes;

pub use effects::Effects;
pub use kill_after::{KILL_AFTER, KillAfter};
pub use processes::processes_at_every_commit;

use std::{fmt, future::Future, sync::Arc, sync::mpsc, time::Duration};

use wfe::{Result, WfeError, traits::PersistenceProvider};

use crate::{VirtualClock, conformance::Harness};

/// In real time: how long what was left of a life may take to go away.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a story is given in each of its lives.
pub struct Life {
    /// The store, opened in the same place as in the lives before.
    pub store: Arc<dyn PersistenceProvider>,
    /// It goes on over all lives.
    pub clock: Arc<VirtualClock>,
    /// The world outside, which remembers over all lives.
    pub effects: Effects,
}

/// Plays the story once undisturbed, and then once for each of its commits: right after it the process dies, as far as it
/// can be told from the store, and the story is played again from its begin in the same place. Each time it must come to
/// the same result, and the effects of its steps must have happened as often as undisturbed, or once more, since a step
/// that was running when its process died is run again; but never once the store had taken the commit in which it completed.
/// Gives how many commits there were to die after.
///
/// A story is what a program does: it opens a host (a [`TestHost`](crate::TestHost), for time stands still), starts what is
/// to be started, publishes, and comes to a result that tells the final state. It is played anew after a death, so it
/// must start with a reference, and publish with ids.
///
/// It makes runtimes of its own: call it in a plain test, outside of any runtime.
///
/// # Errors
/// Those of the store, and of the story.
///
/// # Panics
/// If a result or an effect is another one than undisturbed, or a step that had completed was run again.
///
/// # Examples
/// ```
/// use wfe::{Outcome, Result, StartOptions, definition::{WorkflowBuilder, inline}, steps::Ctx};
/// use wfe_sqlite::SqlitePersistenceProvider;
/// use wfe_testkit::{TestHost, conformance::InMemory, crash::{Life, at_every_commit}};
///
/// let memory = InMemory::new(|clock| SqlitePersistenceProvider::builder(":memory:").clock(clock).open());
///
/// async fn story(life: Life) -> Result<Outcome<u32>> {
///     let effects = life.effects.clone();
///     let mail = inline(move |ctx: Ctx, _| {
///         effects.happen(&ctx);
///         async { Ok(()) }
///     });
///     let definition = WorkflowBuilder::<u32>::new("w", 1)
///         .then("mail", mail)
///         .then("count", inline(|_, _| async { Ok(()) }).output(|(), n| *n += 1))
///         .build()?;
///     let host = TestHost::builder_shared(life.store, life.clock).define(definition).start().await?;
///     let once = StartOptions { reference: Some("it".to_owned()), ..StartOptions::default() };
///     let id = host.start_workflow_with("w", &0_u32, once).await?;
///     host.run_to_end(&id).await
/// }
///
/// let deaths = at_every_commit(&memory, &story)?;
/// assert!(deaths >= 3); // its start, and each of its two steps
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
    // In memory the store has to outlive the process that is said to die.
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
            let provider = mortal.until_gone(gone).tell(effects.clone()).into_store();
            let life = Life { store: provider, clock: clock.clone(), effects: effects.clone() };
            tokio::select! {
                biased;
                // An error: the store was closed without that it died.
                Ok(_) = death.wait_for(|died| *died) => Ok(None),
                result = story(life) => if *is_dead.borrow() { Ok(None) } else { result.map(Some) },
            }
        })?;
        // Bodies of this life run no longer, and its host is gone.
        runtime.shutdown_timeout(PATIENCE);
        if all_gone.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            return Err(WfeError::Invalid("the host of a story was kept, or did not end".to_owned()));
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
