use std::{marker::PhantomData, path::Path, sync::Arc, time::Duration};

use tokio::time;

use super::{flow, open, reopen};
use crate::{Done, Extra, Measured, Place, Run, Workload, ability::Flows, machine, measured::float};

const SAMPLED: Duration = Duration::from_millis(200);

/// `soak`. The operation of [`flow`](super::Flow), for a minute. Besides, the table shows the memory of the process a tenth
/// into the run and at its end, and the largest size of the write-ahead log. Each workflow is read back.
pub struct Soak<S>(PhantomData<S>);

#[derive(Default)]
struct Samples {
    resident: Vec<u64>,
    log: u64,
}

impl<S: Flows> Workload for Soak<S> {
    const NAME: &'static str = "soak";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let path = folder.path().join("run.db");
        let place = Place::file(&path);
        let host = open::<S>(&place).await?;
        let samples = Arc::new(std::sync::Mutex::new(Samples::default()));
        let sampling = tokio::spawn(sample(path, samples.clone()));
        let (measured, flows) = flow::measure(run, &host).await?;
        sampling.abort();
        let host = reopen(host, &place).await?;
        flow::check(&host, flows).await?;
        host.close().await?;
        let samples = samples.lock().map_err(|_| "the sampler has panicked")?;
        let early = samples.resident.get(samples.resident.len() / 10).copied().unwrap_or_default();
        let late = samples.resident.last().copied().unwrap_or_default();
        let mebibytes = |name, bytes| Extra::new(name, float(bytes) / 1024.0 / 1024.0, "MiB");
        Ok(measured
            .with(mebibytes("memory early", early))
            .with(mebibytes("late", late))
            .with(mebibytes("log at most", samples.log)))
    }
}

async fn sample(path: impl AsRef<Path>, samples: Arc<std::sync::Mutex<Samples>>) {
    loop {
        time::sleep(SAMPLED).await;
        let (resident, log) = (machine::resident_bytes(), machine::log_bytes(path.as_ref()));
        let Ok(mut samples) = samples.lock() else { return };
        samples.resident.extend(resident);
        samples.log = samples.log.max(log);
    }
}
