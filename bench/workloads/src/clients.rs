//! Clients that work at the same time, each one operation after the other.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time};

use crate::{Done, Measured, Range, Run, measured::Sum};

/// A run goes on until so many operations have ended, or one for each client if there are fewer.
const LEAST: usize = 8;
/// But slow operations prolong a run by so many times its duration, within these bounds, at most, as long as one has ended …
const TIMES_LONGER: u32 = 4;
const LONGER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// … and by so much if none has.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a run ends.
pub struct Ending {
    /// The run goes on until so many operations have ended.
    pub least: usize,
    /// How long the clients may then take to end the operations that they have begun.
    pub farewell: Duration,
}

impl Ending {
    /// Of operations that write. A subject may not survive it unharmed if they are dropped half done.
    pub fn of_writes(run: &Run) -> Self {
        Self { least: LEAST.min(run.clients), farewell: PATIENCE }
    }

    /// Of operations that only read: with many clients, their last answers would take longer than the run.
    pub fn of_reads(run: &Run) -> Self {
        Self { farewell: Duration::ZERO, ..Self::of_writes(run) }
    }

    /// Of operations that take long however many there are at once, and so end all together: a run that ended with the first
    /// ones would count only these.
    pub fn of_each_client(run: &Run) -> Self {
        Self { least: run.clients, ..Self::of_writes(run) }
    }
}

/// The current phase of a run, shared by its clients.
struct Stage {
    phase: AtomicU8,
    /// Operations that ended while the run was measured.
    ended: AtomicU64,
    dismissed: Notify,
}

const WARM_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;
/// No client waits for its operation any more.
const DISMISSED: u8 = 3;

impl Stage {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::SeqCst);
    }
}

/// One client of a run.
pub struct Client {
    pub number: usize,
    stage: Arc<Stage>,
    times: Vec<Duration>,
    errors: u64,
    error: Option<String>,
}

impl Client {
    /// Whether the client begins another operation.
    pub fn goes_on(&self) -> bool {
        self.stage.phase() < OVER
    }

    /// A number for an object of this client, which no other client has.
    pub fn numbered(&self, count: usize) -> u64 {
        self.number as u64 * 10_000_000 + count as u64
    }

    /// Runs an operation and measures it. `None`: it failed, or had not ended long after the end of the run. Then it is unknown
    /// whether it has changed anything.
    pub async fn operation<T>(&mut self, operation: impl Future<Output = Done<T>>) -> Option<T> {
        let began = Instant::now();
        let value = self.beforehand(operation).await?;
        self.took(began.elapsed());
        Some(value)
    }

    /// Runs what an operation needs first. It is not measured, but an error counts.
    pub async fn beforehand<T>(&mut self, needed: impl Future<Output = Done<T>>) -> Option<T> {
        let result = {
            let dismissed = self.stage.dismissed.notified();
            if self.stage.phase() == DISMISSED {
                return None;
            }
            tokio::select! {
                biased;
                result = needed => result,
                () = dismissed => return None,
            }
        };
        let noted = result.inspect_err(|error| {
            self.errors += 1;
            self.error.get_or_insert_with(|| error.to_string());
        });
        noted.ok()
    }

    /// Notes an operation that has ended now, and which the client has measured itself.
    pub fn took(&mut self, time: Duration) {
        if self.stage.phase() == MEASURED {
            self.times.push(time);
            self.stage.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs the clients through warm-up and measurement. `work` is the work of one client for as long as it
/// [goes on](Client::goes_on). It returns the client, and what this client knows to be stored.
pub async fn measure<S, F>(run: &Run, work: impl Fn(Client) -> F) -> Done<(Measured, Vec<S>)>
where
    S: Send + 'static,
    F: Future<Output = Done<(Client, S)>> + Send + 'static,
{
    measure_until(run, Ending::of_writes(run), work).await
}

/// Like [`measure`], but ends as `ending` says.
pub async fn measure_until<S, F>(
    run: &Run,
    ending: Ending,
    work: impl Fn(Client) -> F,
) -> Done<(Measured, Vec<S>)>
where
    S: Send + 'static,
    F: Future<Output = Done<(Client, S)>> + Send + 'static,
{
    let (sum, all, stored) = drive(run, &ending, work).await?;
    let mut measured = sum.of(all.times).map_err(|error| match &all.error {
        Some(first) => format!("{error}; the first of {} errors: {first}", all.errors).into(),
        None => error,
    })?;
    (measured.errors, measured.error) = (all.errors, all.error);
    Ok((measured, stored))
}

/// What all clients together have measured.
struct Together {
    times: Vec<Duration>,
    errors: u64,
    error: Option<String>,
}

async fn drive<S, F>(run: &Run, ending: &Ending, work: impl Fn(Client) -> F) -> Done<(Sum, Together, Vec<S>)>
where
    S: Send + 'static,
    F: Future<Output = Done<(Client, S)>> + Send + 'static,
{
    let stage =
        Arc::new(Stage { phase: AtomicU8::new(WARM_UP), ended: AtomicU64::new(0), dismissed: Notify::new() });
    let client = |number| Client { number, stage: stage.clone(), times: Vec::new(), errors: 0, error: None };
    let working: Vec<_> = (0..run.clients).map(|number| tokio::spawn(work(client(number)))).collect();
    time::sleep(run.warm_up()).await;
    let range = Range::begin();
    stage.enter(MEASURED);
    let began = Instant::now();
    while lasts(run.measured(), began.elapsed(), stage.ended.load(Ordering::Relaxed), ending.least)
        && !working.iter().all(tokio::task::JoinHandle::is_finished)
    {
        let left = run.measured().saturating_sub(began.elapsed());
        time::sleep(left.clamp(Duration::from_millis(1), Duration::from_millis(20))).await;
    }
    stage.enter(OVER);
    let sum = range.end();
    dismiss(&stage, &working, ending.farewell).await;
    let mut all = Together { times: Vec::new(), errors: 0, error: None };
    let mut stored = Vec::new();
    for client in working {
        let (client, its) = client.await??;
        all.times.extend(client.times);
        all.errors += client.errors;
        all.error = all.error.or(client.error);
        stored.push(its);
    }
    Ok((sum, all, stored))
}

/// Whether a measurement of this usual duration goes on after the time `elapsed`, in which so many operations have ended.
fn lasts(usual: Duration, elapsed: Duration, ended: u64, least: usize) -> bool {
    let (from, to) = LONGER;
    let limit = match ended {
        0 => usual + PATIENCE,
        few if few < least as u64 => usual + (usual * TIMES_LONGER).clamp(from, to),
        _ => usual,
    };
    elapsed < limit
}

/// Lets the clients end their operations, but not for longer than this.
async fn dismiss<T>(stage: &Stage, working: &[tokio::task::JoinHandle<T>], within: Duration) {
    let until = Instant::now() + within;
    while Instant::now() < until && !working.iter().all(tokio::task::JoinHandle::is_finished) {
        time::sleep(Duration::from_millis(1)).await;
    }
    stage.enter(DISMISSED);
    stage.dismissed.notify_waiters();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            subject: "test".into(),
            workload: "test".into(),
            clients: 3,
            warm_up_ms: 5,
            measured_ms: 20,
            folder: std::env::temp_dir(),
            prepare: false,
            process: None,
        }
    }

    #[tokio::test]
    async fn the_measurement_lasts_until_an_operation_has_ended() {
        let (measured, stored) = measure(&run(), |mut client| async move {
            let mut ended = 0;
            while client.goes_on() {
                let slow = async {
                    time::sleep(Duration::from_millis(60)).await;
                    Ok(())
                };
                ended += u32::from(client.operation(slow).await.is_some());
            }
            Ok((client, ended))
        })
        .await
        .unwrap();
        assert_eq!(stored.len(), 3);
        assert!(stored.iter().all(|ended| *ended >= 1), "each operation may end: {stored:?}");
        assert!(measured.p50_us >= 60_000.0, "an operation that began in the warm-up counts in full");
    }

    #[test]
    fn slow_operations_prolong_a_run_within_limits() {
        let usual = Duration::from_millis(500);
        let lasts = |elapsed, ended| lasts(usual, elapsed, ended, 16);
        assert!(lasts(usual / 2, 1000) && !lasts(usual, 16));
        assert!(lasts(usual, 15) && lasts(4 * usual, 15) && !lasts(5 * usual, 15));
        assert!(lasts(5 * usual, 0) && !lasts(usual + PATIENCE, 0));
    }

    #[tokio::test]
    async fn errors_are_counted_and_operations_without_an_end_are_given_up() {
        let ending = Ending { least: 1, farewell: Duration::from_millis(20) };
        let (measured, given_up) = measure_until(&run(), ending, |mut client| async move {
            let mut given_up = 0;
            while client.goes_on() {
                let outcome = match client.number {
                    0 => client.operation(async { Ok(()) }).await,
                    1 => client.operation(async { Err("refused".into()) }).await,
                    _ => client.operation(std::future::pending()).await,
                };
                given_up += u32::from(outcome.is_none());
                time::sleep(Duration::from_millis(1)).await;
            }
            Ok((client, given_up))
        })
        .await
        .unwrap();
        assert_eq!((given_up[0], given_up[2]), (0, 1));
        assert_eq!(measured.errors, u64::from(given_up[1]));
        assert_eq!(measured.error.as_deref(), Some("refused"));
    }
}
