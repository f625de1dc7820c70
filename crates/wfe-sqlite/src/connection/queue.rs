//! A queue from the callers of the store to one thread, or to several threads of which each takes the next job.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex},
};

use wfe_core::sync::lock;

use crate::metrics;

struct State<T> {
    jobs: VecDeque<T>,
    is_closed: bool,
    /// The number of threads that wait for a job. Without one, no thread needs to be woken.
    idle: usize,
    takers: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    has_job: Condvar,
}

/// A queue, as the metrics see it.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only the metrics ask for the length"))]
pub(crate) trait Length: Send + Sync {
    /// The number of jobs that no thread has taken yet.
    fn len(&self) -> usize;
}

impl<T: Send> Length for Shared<T> {
    fn len(&self) -> usize {
        lock(&self.state).jobs.len()
    }
}

/// The callers' end. The queue is closed when it is dropped.
pub(crate) struct Jobs<T>(Arc<Shared<T>>);

/// A thread's end. When the last one is dropped, the queue is closed, and all jobs in it are dropped.
pub(crate) struct Taker<T>(Arc<Shared<T>>);

/// Creates a queue.
pub(crate) fn queue<T>() -> (Jobs<T>, Taker<T>) {
    let state = State { jobs: VecDeque::new(), is_closed: false, idle: 0, takers: 1 };
    let shared = Arc::new(Shared { state: Mutex::new(state), has_job: Condvar::new() });
    (Jobs(Arc::clone(&shared)), Taker(shared))
}

impl<T: Send + 'static> Jobs<T> {
    /// Counts the jobs of this queue as requests that wait for the writer.
    pub(crate) fn measure(&self) {
        metrics::add_queue(&self.0);
    }
}

impl<T> Jobs<T> {
    /// Appends a job. Returns false, and drops the job, if the queue is closed.
    pub(crate) fn push(&self, job: T) -> bool {
        // No holder of this lock can panic.
        let mut state = lock(&self.0.state);
        if state.is_closed {
            // Dropped without the lock, because a job may wake its caller.
            drop(state);
            return false;
        }
        state.jobs.push_back(job);
        let wakes = state.idle > 0;
        drop(state);
        if wakes {
            self.0.has_job.notify_one();
        }
        true
    }

    /// Accepts no more jobs. The jobs in the queue are still done.
    pub(crate) fn close(&self) {
        lock(&self.0.state).is_closed = true;
        self.0.has_job.notify_all();
    }
}

impl<T> Drop for Jobs<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Taker<T> {
    /// Waits for the next job. `None` means that the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = lock(&self.0.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            state = self.0.has_job.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Moves all jobs that are in the queue to the end of `jobs`, without waiting.
    pub(crate) fn take_all(&self, jobs: &mut VecDeque<T>) {
        jobs.append(&mut lock(&self.0.state).jobs);
    }
}

impl<T> Clone for Taker<T> {
    fn clone(&self) -> Self {
        lock(&self.0.state).takers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.takers -= 1;
        if state.takers == 0 {
            state.is_closed = true;
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            drop(jobs);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn jobs_are_taken_in_order_and_those_in_a_closed_queue_are_still_done() {
        let (jobs, taker) = queue();
        assert!(jobs.push(1) && jobs.push(2) && jobs.push(3));
        assert_eq!(taker.take(), Some(1));
        jobs.close();
        assert!(!jobs.push(4));
        let mut rest = VecDeque::from([0]);
        taker.take_all(&mut rest);
        assert_eq!((rest, taker.take()), (VecDeque::from([0, 2, 3]), None));
    }

    #[test]
    fn every_job_is_taken_once_by_one_of_several_threads_and_each_of_them_learns_the_end() {
        let (jobs, taker) = queue();
        let (done, results) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (taker, done) = (taker.clone(), done.clone());
                thread::spawn(move || {
                    while let Some(job) = taker.take() {
                        done.send(job).unwrap();
                    }
                })
            })
            .collect();
        for job in 0..1000 {
            assert!(jobs.push(job));
        }
        let mut all: Vec<_> = (0..1000).map(|_| results.recv().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        drop(jobs);
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn jobs_that_nobody_will_take_are_dropped() {
        let (jobs, taker) = queue();
        let (job, is_dropped) = mpsc::channel::<()>();
        let other = taker.clone();
        assert!(jobs.push(job));
        drop(taker);
        assert_eq!(is_dropped.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(other);
        assert_eq!(is_dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert!(!jobs.push(mpsc::channel().0));
    }
}
