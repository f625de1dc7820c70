//! A census: a child workflow counts each region, and the parent adds up the counts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wfe::prelude::*;

pub const REGION: WorkflowName<Region> = WorkflowName::new("region");
pub const COUNTED: Event<u64> = Event::new("counted-by-hand");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Census {
    pub regions: Vec<String>,
    pub counts: BTreeMap<String, u64>,
    pub total: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Region {
    pub name: String,
    pub count: u64,
}

/// Builds the parent. If a child fails, the retry starts a new child instance.
pub fn census() -> Result<Definition<Census>, Error> {
    WorkflowBuilder::<Census>::new("census", 1)
        .for_each(
            "regions",
            |census| census.regions.clone(),
            |region| {
                region
                    .sub_workflow("count", REGION, |_, name| Region { name: name.clone(), count: 0 })
                    .output(|region, census, _| {
                        census.counts.insert(region.name, region.count);
                    })
                    .retry(Retry::exponential().attempts(4).initial(Duration::from_millis(10)))
            },
        )
        .concurrent(8)
        .change("sum", |census| census.total = census.counts.values().sum())
        .build()
}

/// Builds the child. If the registry does not know a region, people count it and publish the count as an event.
pub fn region(registry: Arc<dyn Registry>) -> Result<Definition<Region>, Error> {
    REGION
        .define(1)
        .with(registry)
        .blocking("ask-registry", |ctx, region| ctx.app.count(&region.name))
        .output(|count, region| region.count = count.unwrap_or_default())
        .if_(
            "is-unknown",
            |region| region.count == 0,
            |unknown| {
                unknown
                    .wait_for("by-hand", COUNTED, |region| region.name.clone())
                    .output(|count, region| region.count = count)
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
    fn count(&self, region: &str) -> Result<Option<u64>, StepError>;
}
