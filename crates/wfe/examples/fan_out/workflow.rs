//! A census: a child workflow counts each region, and the parent adds up the counts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wfe::{
    Result,
    definition::{Definition, Retry, WorkflowBuilder, child, each, event, inline},
    steps::StepError,
};

pub const CENSUS: &str = "census";
pub const REGION: &str = "region";
pub const COUNTED: &str = "counted-by-hand";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    pub regions: Vec<String>,
    pub counts: BTreeMap<String, u64>,
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub name: String,
    pub count: u64,
}

/// Builds the parent. If a child fails, the retry starts a new child instance.
pub fn census() -> Result<Definition> {
    WorkflowBuilder::<Census>::new(CENSUS, 1)
        .for_each("regions", each(|census: &Census| census.regions.clone()).parallel(8), |region| {
            region
                .sub_workflow(
                    "count",
                    child(REGION, |_: &Census, region: &String| Region { name: region.clone(), count: 0 })
                        .output(|region: &Region, census| {
                            census.counts.insert(region.name.clone(), region.count);
                        }),
                )
                .retry(Retry::up_to(3).initial(Duration::from_millis(10)))
        })
        .then(
            "sum",
            inline(|_, census: Arc<Census>| async move { Ok(census.counts.values().sum::<u64>()) })
                .output(|total, census: &mut Census| census.total = *total),
        )
        .build()
}

/// Builds the child. If the registry does not know a region, people count it and publish the count as an event.
pub fn region(registry: &Arc<dyn Registry>) -> Result<Definition> {
    let registry = registry.clone();
    WorkflowBuilder::<Region>::new(REGION, 1)
        .then(
            "ask-registry",
            inline(move |_, region: Arc<Region>| {
                let registry = registry.clone();
                async move { registry.count(&region.name) }
            })
            .output(|count: &Option<u64>, region: &mut Region| region.count = count.unwrap_or_default()),
        )
        .if_(
            "is-unknown",
            |region, ()| region.count == 0,
            |unknown| {
                unknown.wait_for(
                    "by-hand",
                    event(COUNTED, |region: &Region, ()| region.name.clone())
                        .output(|count: &u64, region| region.count = *count),
                )
            },
        )
        .build()
}

/// A registry that knows how many people live in a region.
pub trait Registry: Send + Sync {
    /// Returns the count of a region, or `None` if the registry does not know it.
    ///
    /// # Errors
    /// Fails if the registry does not respond at the moment.
    fn count(&self, region: &str) -> std::result::Result<Option<u64>, StepError>;
}
