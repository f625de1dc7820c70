//! Handles of metrics. A handle is made once for each set of labels, and is then used without looking the labels up.

use std::{
    collections::{HashMap, HashSet},
    sync::{LazyLock, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use metrics::{Key, Label, Level, Metadata, with_recorder};

use super::{
    recorder::is_on,
    table::{BOUNDED, Metric},
};
use crate::sync::lock;

/// How many values a label of [`BOUNDED`] has. Further values are recorded as [`OTHER`].
pub const MANY: usize = 100;
/// The value of a bounded label for all values after the first [`MANY`].
pub const OTHER: &str = "other";

/// The values of the bounded labels. All metrics with the same label share them, so that they can be joined.
static VALUES: LazyLock<[RwLock<HashSet<String>>; BOUNDED.len()]> = LazyLock::new(Default::default);

static METADATA: Metadata<'static> = Metadata::new("wfe", Level::INFO, None);

/// The value under which a value of this label is recorded: [`OTHER`] if the label is one of [`BOUNDED`] and has [`MANY`]
/// other values already.
#[must_use]
pub fn bounded<'v>(label: &str, value: &'v str) -> &'v str {
    let Some(at) = BOUNDED.iter().position(|bounded| *bounded == label) else { return value };
    let (values, is_known) = (&VALUES[at], |values: &HashSet<String>| values.contains(value));
    if is_known(&values.read().unwrap_or_else(PoisonError::into_inner)) {
        return value;
    }
    let mut values = values.write().unwrap_or_else(PoisonError::into_inner);
    if values.len() < MANY || is_known(&values) {
        values.insert(value.to_owned());
        value
    } else {
        OTHER
    }
}

/// The values of the labels of a metric, in the order of [`Metric::labels`].
fn key(metric: &'static Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let label = |(name, value): (&&'static str, &&str)| Label::new(*name, bounded(name, value).to_owned());
    Key::from_parts(metric.name, metric.labels.iter().zip(values).map(label).collect::<Vec<_>>())
}

/// A handle of the facade.
pub trait Handle: Sized {
    /// Gets the handle for this metric with these values of its labels from the recorder. A value of a label of
    /// [`BOUNDED`] after the first [`MANY`] becomes [`OTHER`].
    fn of(metric: &'static Metric, values: &[&str]) -> Self;
}

impl Handle for metrics::Counter {
    fn of(metric: &'static Metric, values: &[&str]) -> Self {
        with_recorder(|recorder| recorder.register_counter(&key(metric, values), &METADATA))
    }
}

impl Handle for metrics::Gauge {
    fn of(metric: &'static Metric, values: &[&str]) -> Self {
        with_recorder(|recorder| recorder.register_gauge(&key(metric, values), &METADATA))
    }
}

impl Handle for metrics::Histogram {
    fn of(metric: &'static Metric, values: &[&str]) -> Self {
        with_recorder(|recorder| recorder.register_histogram(&key(metric, values), &METADATA))
    }
}

/// A handle that is made when it is first used. The values of the labels are given at each use, and must be the same
/// each time.
#[derive(Debug)]
pub struct Set<H> {
    metric: &'static Metric,
    handle: OnceLock<H>,
}

impl<H: Handle> Set<H> {
    /// A handle of this metric.
    #[must_use]
    pub const fn new(metric: &'static Metric) -> Self {
        Self { metric, handle: OnceLock::new() }
    }

    /// The handle with these values of the labels. Call this only if metrics [are recorded](is_on).
    pub fn get(&self, values: &[&str]) -> &H {
        self.handle.get_or_init(|| H::of(self.metric, values))
    }
}

/// A counter without labels.
#[derive(Debug)]
pub struct Counter(Set<metrics::Counter>);

impl Counter {
    /// A handle of this metric.
    #[must_use]
    pub const fn new(metric: &'static Metric) -> Self {
        Self(Set::new(metric))
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if is_on() {
            self.0.get(&[]).increment(n);
        }
    }
}

/// A gauge without labels.
#[derive(Debug)]
pub struct Gauge(Set<metrics::Gauge>);

impl Gauge {
    /// A handle of this metric.
    #[must_use]
    pub const fn new(metric: &'static Metric) -> Self {
        Self(Set::new(metric))
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        if is_on() {
            self.0.get(&[]).set(value);
        }
    }
}

/// A histogram without labels.
#[derive(Debug)]
pub struct Histogram(Set<metrics::Histogram>);

impl Histogram {
    /// A handle of this metric.
    #[must_use]
    pub const fn new(metric: &'static Metric) -> Self {
        Self(Set::new(metric))
    }

    /// Records a value.
    pub fn record(&self, value: f64) {
        if is_on() {
            self.0.get(&[]).record(value);
        }
    }

    /// Records a duration in seconds.
    pub fn record_time(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }
}

/// The handles of a metric for all values of its labels. Each is made once, and then found by the values: use this for
/// what does not happen in every step.
#[derive(Debug)]
pub struct Family<H> {
    metric: &'static Metric,
    handles: LazyLock<Mutex<HashMap<Vec<String>, H>>>,
}

impl<H: Handle> Family<H> {
    /// The handles of this metric.
    #[must_use]
    pub const fn new(metric: &'static Metric) -> Self {
        Self { metric, handles: LazyLock::new(Mutex::default) }
    }

    /// Calls `act` with the handle for these values of the labels, in the order of [`Metric::labels`]. Does nothing if
    /// metrics are not recorded.
    pub fn with(&self, values: &[&str], act: impl FnOnce(&H)) {
        if !is_on() {
            return;
        }
        let labels = self.metric.labels.iter();
        let kept: Vec<&str> = labels.zip(values).map(|(label, value)| bounded(label, value)).collect();
        let key = kept.iter().map(|&value| value.to_owned()).collect();
        act(lock(&self.handles).entry(key).or_insert_with(|| H::of(self.metric, &kept)));
    }
}

impl Family<metrics::Counter> {
    /// Adds `n` to the counter with these values of the labels.
    pub fn add(&self, values: &[&str], n: u64) {
        self.with(values, |counter| counter.increment(n));
    }
}

impl Family<metrics::Histogram> {
    /// Records a duration in seconds in the histogram with these values of the labels.
    pub fn record_time(&self, values: &[&str], time: Duration) {
        self.with(values, |histogram| histogram.record(time.as_secs_f64()));
    }
}

impl Family<metrics::Gauge> {
    /// Sets the gauges to these values, and all others of the family, which were set before, to 0. Values of which the
    /// labels are recorded as [`OTHER`] are added up.
    pub fn set_all<'v, const N: usize>(&self, all: impl IntoIterator<Item = ([&'v str; N], f64)>) {
        if !is_on() {
            return;
        }
        let mut sums: HashMap<Vec<String>, f64> = HashMap::new();
        for (values, value) in all {
            let labels = self.metric.labels.iter();
            let key = labels.zip(values).map(|(label, value)| bounded(label, value).to_owned()).collect();
            *sums.entry(key).or_default() += value;
        }
        let mut handles = lock(&self.handles);
        for (key, gauge) in handles.iter().filter(|(key, _)| !sums.contains_key(*key)) {
            debug_assert_eq!(key.len(), N);
            gauge.set(0.0);
        }
        for (key, value) in sums {
            let values: Vec<&str> = key.iter().map(String::as_str).collect();
            let gauge = metrics::Gauge::of(self.metric, &values);
            handles.entry(key).or_insert(gauge).set(value);
        }
    }
}
