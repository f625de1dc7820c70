//! The pictures in the folders of the examples are those of their definitions.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "all of this is test code: it says what it expects by unwrapping it, and calls little of the examples"
)]

#[path = "../examples/approval/workflow.rs"]
mod approval;
#[path = "../examples/fan_out/workflow.rs"]
mod fan_out;
#[path = "../examples/manifest/listing.rs"]
mod listing;
#[path = "../examples/manifest/workflow.rs"]
mod manifest;
#[path = "../examples/manifest/name.rs"]
mod name;
#[path = "../examples/order/workflow.rs"]
mod order;
#[path = "../examples/manifest/progress.rs"]
mod progress;
#[path = "../examples/report/workflow.rs"]
mod report;
#[path = "../examples/order/shop.rs"]
mod shop;
#[path = "../examples/manifest/sums.rs"]
mod sums;
#[path = "../examples/worker/workflow.rs"]
mod worker;

use std::{fs, path::Path, sync::Arc};

use wfe::{definition::AnyDefinition, steps::StepError};
use wfe_testkit::VirtualClock;

struct Unknown;

impl fan_out::Registry for Unknown {
    fn count(&self, _: &str) -> Result<Option<u64>, StepError> {
        Ok(None)
    }
}

/// The picture at this path below the examples.
fn is_drawn(path: &str, definition: &AnyDefinition) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
    let drawn = definition.outline().to_mermaid();
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, drawn, "{} is not the picture of its definition, which is:\n{drawn}", path.display());
}

#[test]
fn approval_is_drawn() {
    is_drawn("approval/picture.mmd", &approval::expense().unwrap());
}

#[test]
fn fan_out_is_drawn_parent_and_child() {
    is_drawn("fan_out/census.mmd", &fan_out::census().unwrap());
    is_drawn("fan_out/region.mmd", &fan_out::region(Arc::new(Unknown)).unwrap());
}

#[test]
fn manifest_is_drawn() {
    let place = manifest::Place {
        dir: ".".into(),
        out: "out".into(),
        own: listing::Own::default(),
        log: None,
        jobs: 8,
    };
    is_drawn("manifest/picture.mmd", &manifest::definition(Arc::new(place), "manifest").unwrap());
}

#[test]
fn order_is_drawn() {
    is_drawn("order/picture.mmd", &order::order(shop::Shop).unwrap());
}

#[test]
fn report_is_drawn() {
    is_drawn(
        "report/picture.mmd",
        &report::report(Path::new("."), Arc::new(VirtualClock::default())).unwrap(),
    );
}

#[test]
fn worker_is_drawn() {
    is_drawn("worker/picture.mmd", &worker::picture().unwrap());
}
