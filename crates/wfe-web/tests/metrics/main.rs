//! Every metric of the table is emitted, with the values that a scripted run determines. The recorder is one for the
//! process, so this is one test, in a program of its own.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test says what it expects by unwrapping it, and counts are whole numbers"
)]

mod scrape;
mod script;

use std::collections::BTreeSet;

use wfe::metrics::{ALL, Kind, MANY, OTHER};

use scrape::Scrape;
use script::Script;

/// The numbers are whole, or sums of a few whole seconds.
#[track_caller]
fn same(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 1e-6, "{what}: {found}, not {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_table_is_emitted_with_the_values_of_a_scripted_run() {
    let mut script = Script::start().await;
    script.instances().await;
    script.steps().await;
    script.timers().await;
    script.events().await;
    script.activities().await;
    script.schedules().await;
    script.requests().await;
    script.reads().await;
    script.takeovers().await;
    script.lost_ownership().await;
    script.commits().await;
    script.checkpoint().await;
    script.busy_store().await;
    script.many_values().await;
    script.gauges().await;
    // The second scrape has the duration of the first.
    let last = script.scrape().await;
    same(
        last.get("http_server_request_duration_seconds_count", &[("route", "/healthz"), ("status", "200")]),
        0.0,
        "no request",
    );
    is_complete(&last);
    for label in ["activity", "code", "event"] {
        has_bounded(&last, label);
    }
}

/// Each metric of the table is there with its type, its help text and its labels, and nothing else is.
fn is_complete(scrape: &Scrape) {
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(scrape.types.get(metric.name).map(String::as_str), Some(kind), "{}", metric.name);
        assert_eq!(scrape.helps.get(metric.name).map(String::as_str), Some(metric.help), "{}", metric.name);
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        for suffix in suffixes {
            let name = format!("{}{suffix}", metric.name);
            let series: Vec<_> = scrape.series.keys().filter(|(one, _)| *one == name).collect();
            assert!(!series.is_empty(), "{name} is never emitted");
            let expected: BTreeSet<&str> =
                metric.labels.iter().copied().chain((*suffix == "_bucket").then_some("le")).collect();
            for (_, labels) in series {
                let labels: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(labels, expected, "{name}");
            }
        }
    }
    let listed: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    let unlisted: Vec<_> = scrape.types.keys().filter(|name| !listed.contains(name.as_str())).collect();
    assert_eq!(unlisted, Vec::<&String>::new());
}

fn has_bounded(scrape: &Scrape, label: &str) {
    let values: BTreeSet<&str> = scrape
        .series
        .keys()
        .flat_map(|(_, labels)| labels)
        .filter(|(name, _)| name == label)
        .map(|(_, value)| value.as_str())
        .collect();
    if label == "event" {
        assert!(values.contains(OTHER) && values.len() == MANY + 1, "{label}: {} values", values.len());
    }
    assert!(values.len() <= MANY + 1, "{label}");
}
