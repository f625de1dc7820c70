//! One run of one workload in this process.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    Done,
    arguments::Lasting,
    machine::Reading,
    workload::{Workload, flow, step_cycle},
};

/// The result of a run. There is one only if every write was read back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub ops_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// `None`: the operating system does not report it.
    pub written_bytes_per_op: Option<f64>,
    pub cpu_us_per_op: Option<f64>,
    /// How many cores other processes used. `None`: the operating system does not report it.
    pub others_cores: Option<f64>,
}

/// The current phase of a run, shared by its clients.
pub struct Stage(AtomicU8);

const WARM_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

impl Stage {
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OVER
    }

    /// Records the duration of an operation that began and ended during the measurement.
    pub fn note(&self, times: &mut Vec<Duration>, began: Instant, was_measured: bool) {
        if was_measured && self.is_measured() {
            times.push(began.elapsed());
        }
    }

    pub fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURED
    }
}

pub fn run(workload: Workload, clients: usize, lasting: Lasting) -> Done<Measured> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bench.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    match workload {
        Workload::StepCycle => runtime.block_on(step_cycle::run(&path, clients, lasting)),
        Workload::Flow => runtime.block_on(flow::run(&path, clients, lasting)),
    }
}

/// Runs the clients through warm-up and measurement. `work` is the work of one client until the stage is over. It returns
/// the durations of the operations, and what the client has stored, which the caller reads back.
pub async fn clients<S: Send + 'static, F>(
    count: usize,
    lasting: Lasting,
    work: impl Fn(usize, std::sync::Arc<Stage>) -> F,
) -> Done<(Measured, Vec<S>)>
where
    F: Future<Output = wfe::Result<(Vec<Duration>, S)>> + Send + 'static,
{
    let stage = std::sync::Arc::new(Stage(AtomicU8::new(WARM_UP)));
    let working: Vec<_> = (0..count).map(|client| tokio::spawn(work(client, stage.clone()))).collect();
    tokio::time::sleep(lasting.warm_up).await;
    let (before, began) = (Reading::now(), Instant::now());
    stage.0.store(MEASURED, Ordering::Relaxed);
    tokio::time::sleep(lasting.measured).await;
    stage.0.store(OVER, Ordering::Relaxed);
    let (seconds, after) = (began.elapsed().as_secs_f64(), Reading::now());
    let (mut times, mut stored) = (Vec::new(), Vec::new());
    for client in working {
        let (its_times, its_stored) = client.await??;
        times.extend(its_times);
        stored.push(its_stored);
    }
    if times.is_empty() {
        return Err("no operation ended within the measurement; measure longer".into());
    }
    times.sort_unstable();
    let used = before.zip(after).map(|(before, after)| after.since(before));
    #[expect(clippy::cast_precision_loss, reason = "these are measurements")]
    let per_op = |amount: u64| amount as f64 / times.len() as f64;
    #[expect(clippy::cast_precision_loss, reason = "these are measurements")]
    let measured = Measured {
        ops_per_s: times.len() as f64 / seconds,
        p50_us: at(&times, 50),
        p99_us: at(&times, 99),
        max_us: at(&times, 100),
        written_bytes_per_op: used.as_ref().map(|used| per_op(used.written_bytes)),
        cpu_us_per_op: used.as_ref().map(|used| per_op(used.cpu_us)),
        others_cores: used.as_ref().map(|used| used.others_cpu_us as f64 / 1e6 / seconds),
    };
    Ok((measured, stored))
}

/// The duration within which this percentage of the operations ended, in microseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted[index].as_secs_f64() * 1e6
}
