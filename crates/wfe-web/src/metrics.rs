//! `/metrics`, and the recorder behind it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, header},
    middleware::Next,
    response::Response,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use wfe::{
    WorkflowHost,
    metrics::{ALL, Kind, Sampler},
};
use wfe_core::{
    logging,
    metrics::{Family, HTTP_REQUEST_DURATION, HistogramHandle, attach},
};

static REQUESTS: Family<HistogramHandle> = Family::new(HTTP_REQUEST_DURATION);

/// The handle of the recorder that this crate has installed.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// How often the recorder sorts the recorded values into buckets. Until then each value takes 24 bytes of memory.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long the gauges may take. A scrape of Prometheus waits ten seconds by default.
const SAMPLE: Duration = Duration::from_secs(5);

/// The program has installed a recorder of metrics of its own, from which this crate cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the program has installed a recorder of metrics; pass the handle of a Prometheus recorder with \
     Monitoring::prometheus, or leave /metrics out with Monitoring::without_metrics"
)]
#[non_exhaustive]
pub struct AlreadyInstalled;

/// Where the metrics come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// From the recorder that this crate installs.
    Own,
    /// From the recorder of the program.
    Given(PrometheusHandle),
    None,
}

/// What a scrape needs.
#[derive(Clone)]
pub(crate) struct Exporter {
    handle: PrometheusHandle,
    sampler: Sampler,
}

impl Exporter {
    pub(crate) fn new(source: Source, host: &WorkflowHost) -> Result<Option<Self>, AlreadyInstalled> {
        let handle = match source {
            Source::Own => installed()?,
            Source::Given(handle) => handle,
            Source::None => return Ok(None),
        };
        attach();
        Ok(Some(Self { handle, sampler: Sampler::new(host) }))
    }
}

/// Gives the histograms of WFE their buckets. Without buckets, the recorder makes summaries of them, from which no
/// percentiles over several processes can be computed.
///
/// ```
/// use wfe_web::{PrometheusBuilder, with_buckets};
///
/// let recorder = with_buckets(PrometheusBuilder::new()).add_global_label("service", "shop").build_recorder();
/// let handle = recorder.handle();
/// // metrics::set_global_recorder(recorder)?; then Monitoring::new(&host).prometheus(handle)
/// # drop(handle);
/// ```
#[must_use]
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "no list of buckets in the table is empty"
)]
pub fn with_buckets(builder: PrometheusBuilder) -> PrometheusBuilder {
    ALL.iter().fold(builder, |builder, metric| match metric.kind {
        Kind::Histogram(bounds) => {
            let name = Matcher::Full(metric.name.to_owned());
            builder.set_buckets_for_metric(name, bounds).expect("there are buckets")
        }
        Kind::Counter | Kind::Gauge => builder,
    })
}

/// Installs the recorder of this crate, unless it is installed already.
fn installed() -> Result<PrometheusHandle, AlreadyInstalled> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = with_buckets(PrometheusBuilder::new()).install_recorder().map_err(|_| AlreadyInstalled)?;
    let kept = handle.clone();
    // Without the thread, the memory of a process that nothing scrapes would grow.
    let upkeep = move || {
        loop {
            std::thread::sleep(UPKEEP);
            kept.run_upkeep();
        }
    };
    if let Err(error) = std::thread::Builder::new().name("wfe-web-upkeep".to_owned()).spawn(upkeep) {
        logging::warn!(%error, "the thread for the upkeep of metrics could not be started; scrape often");
    }
    Ok(installed.insert(handle).clone())
}

/// Computes the gauges and renders all metrics.
pub(crate) async fn scrape(State(exporter): State<Exporter>) -> ([(HeaderName, &'static str); 2], String) {
    match tokio::time::timeout(SAMPLE, exporter.sampler.sample()).await {
        Ok(Ok(())) => {}
        // The counters and histograms are right all the same.
        Ok(Err(error)) => {
            logging::warn!(%error, "some gauges are those of an earlier scrape: the store cannot be read");
        }
        Err(_) => {
            logging::warn!("some gauges are those of an earlier scrape: the store has not responded for 5 s");
        }
    }
    exporter.handle.run_upkeep();
    let headers = [
        (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, exporter.handle.render())
}

/// Measures a request to one of the routes.
pub(crate) async fn measure(route: MatchedPath, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    REQUESTS.record_time(&[route.as_str(), response.status().as_str()], began.elapsed());
    response
}
