//! A picture that needs a thumbnail, which an external worker makes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfe::{
    Result,
    definition::{Definition, Retry, WorkflowBuilder, activity},
};

pub const PICTURE: &str = "picture";
/// The name of the activity. Workers claim it by this name and need not know the workflow.
pub const THUMBNAIL: &str = "make-thumbnail";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub file: String,
    pub thumbnail: Option<Thumbnail>,
}

/// The result that a worker reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thumbnail {
    pub file: String,
    pub by: String,
}

pub fn picture() -> Result<Definition> {
    WorkflowBuilder::<Picture>::new(PICTURE, 1)
        .activity(
            "thumbnail",
            activity(THUMBNAIL, |picture: &Picture, ()| picture.file.clone())
                .output(|made: &Thumbnail, picture| picture.thumbnail = Some(made.clone()))
                .fail_after(|_, ()| Duration::from_hours(1)),
        )
        // The activity is retried if a worker reports a failure, or if no result arrives within an hour.
        .retry(Retry::up_to(3))
        .build()
}
