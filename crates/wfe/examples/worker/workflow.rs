//! A picture that needs a thumbnail, which an external worker makes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfe::prelude::*;

/// The activity. Workers claim it by its name and need not know the workflow.
pub const THUMBNAIL: Activity<String, Thumbnail> = Activity::new("make-thumbnail");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Picture {
    pub file: String,
    pub thumbnail: Option<Thumbnail>,
}

/// The result that a worker reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thumbnail {
    pub file: String,
    pub by: String,
}

pub fn picture() -> Result<Definition<Picture>, Error> {
    WorkflowBuilder::<Picture>::new("picture", 1)
        .activity("thumbnail", THUMBNAIL, |picture| picture.file.clone())
        .output(|made, picture| picture.thumbnail = Some(made))
        .fail_after(|_| Duration::from_hours(1))
        // The activity is retried if a worker reports a failure, or if no result arrives within an hour.
        .retry(Retry::exponential().attempts(4))
        .build()
}
