#![doc = include_str!("../README.md")]

mod app;
mod ask;
mod assets;
mod dashboard;
mod filter;
mod guard;
mod health;
mod html;
mod jobs;
mod live;
mod metrics;
mod pages;
pub mod picture;
mod reply;
mod routes;
#[cfg(test)]
mod tests;

use axum::{Router, middleware, routing::get};
use wfe::WorkflowHost;

pub use dashboard::Dashboard;
pub use guard::{SignIn, Token, Visitor};
pub use metrics::{AlreadyInstalled, with_buckets};
pub use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Compiles and runs the code in the chapter of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../wfe/src/guide/metrics_and_alerts.md")]
struct Guide;

/// Builds the router with the endpoints `/metrics`, `/healthz` and `/readyz` of a host.
///
/// | endpoint | answer |
/// |---|---|
/// | `GET /metrics` | 200 and all metrics in the text format of Prometheus, version 0.0.4. The gauges are computed for each request |
/// | `GET /healthz` | 200 if the engine's thread responds, or if the host was not started yet; 503 if the thread does not respond within five seconds, or if the host has ended |
/// | `GET /readyz` | 200 if the host does its work; 503 if it was not started, if its store could not be read within a second, or if its commits have failed for more than ten seconds. A failed instance is no reason |
///
/// The bodies of `/healthz` and `/readyz` are JSON: `{"status":"ok"}`, or
/// `{"status":"unavailable","reasons":["the host was not started yet"]}`.
///
/// Nothing protects these endpoints. Mount the router where only operators reach it: on a listener of its own, or behind
/// the authentication of the program. Metrics have names of definitions, steps, events and activities, and codes of
/// failures; no ids, keys or data.
///
/// ```
/// use axum::Router;
/// use wfe::{prelude::*, sqlite::SqliteStore};
/// use wfe_web::Monitoring;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// let app: Router = Router::new().nest("/wfe", Monitoring::new(&host).into_router()?);
/// host.start().await?;
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let served = tokio::spawn(async move { axum::serve(listener, app).await });
/// # served.abort();
/// # host.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// The router keeps the host alive, like a clone of the host. Build one router for each process: the recorder of metrics is
/// one for the process too.
#[derive(Debug, Clone)]
#[must_use = "nothing is served before the router is mounted"]
pub struct Monitoring {
    host: WorkflowHost,
    metrics: metrics::Source,
}

impl Monitoring {
    /// Serves the metrics and the health of this host. If the program has installed no recorder of metrics, a recorder for
    /// Prometheus is installed when the router is built.
    pub fn new(host: &WorkflowHost) -> Self {
        Self { host: host.clone(), metrics: metrics::Source::Own }
    }

    /// Serves the metrics of the recorder that the program has installed, which this handle belongs to. Build it with
    /// [`with_buckets`], so that histograms have buckets. The program is responsible for the
    /// [upkeep](PrometheusHandle::run_upkeep) of its recorder; each request to `/metrics` does it too.
    pub fn prometheus(mut self, handle: PrometheusHandle) -> Self {
        self.metrics = metrics::Source::Given(handle);
        self
    }

    /// Leaves `/metrics` out. The program exports its metrics in another way, and calls a
    /// [`Sampler`](wfe::metrics::Sampler) at its interval.
    pub fn without_metrics(mut self) -> Self {
        self.metrics = metrics::Source::None;
        self
    }

    /// Builds the router. The paths are those of the [table](Self), below the path at which the program nests the router.
    ///
    /// # Errors
    /// [`AlreadyInstalled`]: the program has installed a recorder of its own. Nothing was changed.
    pub fn into_router(self) -> Result<Router, AlreadyInstalled> {
        let Self { host, metrics } = self;
        let mut router = Router::new()
            .route("/healthz", get(health::live))
            .route("/readyz", get(health::ready))
            .with_state(host.clone());
        if let Some(exporter) = metrics::Exporter::new(metrics, &host)? {
            router = router.merge(Router::new().route("/metrics", get(metrics::scrape)).with_state(exporter));
        }
        Ok(router.route_layer(middleware::from_fn(metrics::measure)))
    }
}
