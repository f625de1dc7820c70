//! Finds out whether the program has installed a recorder, and describes the metrics to it.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{SharedString, with_recorder};

use super::table::{ALL, Kind};

/// Whether a recorder was found. A recorder that was installed stays until the process ends.
static ATTACHED: AtomicBool = AtomicBool::new(false);

/// Whether metrics are recorded, because the program has installed a recorder.
#[inline]
#[must_use]
pub fn is_on() -> bool {
    ATTACHED.load(Ordering::Relaxed) || finds_recorder()
}

/// Looks for a recorder. The facade has a recorder without state for programs that have installed none, and does not
/// tell whether it is that one. So a recorder that has no state of its own must be announced ([`attach`]).
fn finds_recorder() -> bool {
    let found = with_recorder(|recorder| size_of_val(recorder) > 0);
    if found {
        attach();
    }
    found
}

/// Describes all metrics to the installed recorder, and records from now on.
///
/// This happens by itself when the first metric is recorded after the recorder was installed. Call this only if the
/// recorder is a type without fields, which is not recognised by itself, or to have the descriptions at once.
pub fn attach() {
    // The description comes first: a metric that another thread records meanwhile is not described yet, but recorded.
    if ATTACHED.load(Ordering::Relaxed) {
        return;
    }
    with_recorder(|recorder| {
        for metric in ALL {
            let (name, help) = (metric.name.into(), SharedString::const_str(metric.help));
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, metric.unit, help),
                Kind::Gauge => recorder.describe_gauge(name, metric.unit, help),
                Kind::Histogram(_) => recorder.describe_histogram(name, metric.unit, help),
            }
        }
    });
    ATTACHED.store(true, Ordering::Relaxed);
}
