//! What takes long goes on without its request: how far it is, whether it shall stop, and how it ended.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use wfe::traits::Progress;
use wfe_core::sync::lock;

use crate::ask::Ask;

/// So long a request waits for its job before it shows how far it is.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many jobs are remembered.
const REMEMBERED: usize = 100;

/// Something that takes long: what it is about, and how it ended.
pub(crate) struct Job<A, E> {
    pub(crate) about: A,
    done: AtomicU64,
    total: AtomicU64,
    is_stopped: AtomicBool,
    end: Mutex<Option<E>>,
    ended: Notify,
    /// Open pages are sent again.
    nudge: Arc<Notify>,
}

impl<A, E: Clone> Job<A, E> {
    /// How much is done, and of how much. A total of 0 is not known.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// How it ended. `None` while it runs.
    pub(crate) fn end(&self) -> Option<E> {
        lock(&self.end).clone()
    }

    /// It ends after the part at which it is.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

impl<A: Send + Sync, E: Send> Progress for Job<A, E> {
    fn advanced(&self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        self.done.store(done, Ordering::Relaxed);
        if let Some(total) = total {
            self.total.store(total, Ordering::Relaxed);
        }
        self.nudge.notify_one();
        if self.is_stopped.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// A job that runs already, by its number: another one like it must wait.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) u64);

/// The jobs of one kind of this process, by their numbers.
pub(crate) struct Jobs<A, E> {
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Job<A, E>>>>,
}

impl<A, E> Default for Jobs<A, E> {
    fn default() -> Self {
        Self { next: AtomicU64::new(0), all: Mutex::default() }
    }
}

impl<A: Send + Sync + 'static, E: Clone + Send + 'static> Jobs<A, E> {
    /// Begins a job, which goes on when the request has ended, and waits for it for a moment. A `total` of 0 is not known.
    ///
    /// # Errors
    /// A job that `excludes` this one is running.
    pub(crate) async fn begin<F>(
        &self,
        ask: &Ask,
        about: A,
        total: u64,
        excludes: impl Fn(&A, &A) -> bool + Send,
        run: impl FnOnce(Arc<Job<A, E>>) -> F,
    ) -> Result<u64, Running>
    where
        F: Future<Output = E> + Send + 'static,
    {
        let job = Arc::new(Job {
            about,
            done: AtomicU64::new(0),
            total: AtomicU64::new(total),
            is_stopped: AtomicBool::new(false),
            end: Mutex::new(None),
            ended: Notify::new(),
            nudge: ask.app.hub.nudge(),
        });
        let number = {
            let mut all = lock(&self.all);
            let mut running = all.iter().filter(|(_, of)| of.end().is_none());
            if let Some((number, _)) = running.find(|(_, of)| excludes(&of.about, &job.about)) {
                return Err(Running(*number));
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            all.insert(number, job.clone());
            // One that runs is never forgotten.
            while all.len() > REMEMBERED
                && let Some(old) = all.iter().find(|(_, of)| of.end().is_some()).map(|(number, _)| *number)
            {
                all.remove(&old);
            }
            number
        };
        let (of, run) = (job.clone(), run(job.clone()));
        tokio::spawn(async move {
            let end = run.await;
            *lock(&of.end) = Some(end);
            of.ended.notify_one();
            of.nudge.notify_one();
        });
        // If it has not ended by then, its page shows how far it is.
        let _ = tokio::time::timeout(PATIENCE, job.ended.notified()).await;
        Ok(number)
    }

    /// The job with the number that the path of the request names.
    pub(crate) fn get(&self, ask: &Ask) -> Option<(u64, Arc<Job<A, E>>)> {
        let number = ask.params.get("number")?.parse().ok()?;
        Some((number, lock(&self.all).get(&number).cloned()?))
    }

    /// The newest ones, the newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<(u64, Arc<Job<A, E>>)> {
        lock(&self.all).iter().rev().take(most).map(|(number, job)| (*number, job.clone())).collect()
    }
}
