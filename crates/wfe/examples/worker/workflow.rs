//! A picture that needs a thumbnail, which somebody else makes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfe::{
    Result,
    definition::{Definition, Retry, WorkflowBuilder, activity},
};

pub const PICTURE: &str = "picture";
/// The activity: workers find it by this name, and need not know the workflow.
pub const THUMBNAIL: &str = "make-thumbnail";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub file: String,
    pub thumbnail: Option<Thumbnail>,
}

/// What a worker answers.
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
        // A worker that answers with a failure, or an hour without an answer.
        .retry(Retry::up_to(3))
        .build()
}
