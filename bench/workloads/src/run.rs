//! What the driver asks of one process.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Done, Place};

/// One run of one workload by one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub subject: String,
    /// The name with its parameters, such as `load/1000/cold`.
    pub workload: String,
    /// How many clients there are. 1 where a workload has none.
    pub clients: usize,
    /// Not measured: meanwhile the caches fill, and the write-ahead log grows to its usual size.
    pub warm_up_ms: u64,
    pub measured_ms: u64,
    /// The folder of this workload and subject. It outlives the run: prepared files stay here from round to round.
    pub folder: PathBuf,
    /// Prepare the files in `folder` instead of measuring.
    pub prepare: bool,
    /// The number of this process among those that a run starts itself. `None`: the driver has started this one.
    pub process: Option<usize>,
}

impl Run {
    /// The name without its parameters.
    pub fn name(&self) -> &str {
        self.workload.split('/').next().unwrap_or_default()
    }

    /// The parameter with this number, counted from 1.
    pub fn parameter(&self, number: usize) -> Done<&str> {
        let found = self.workload.split('/').nth(number);
        found.ok_or_else(|| format!("{} lacks its parameter {number}", self.workload).into())
    }

    /// The parameter with this number, if it is a number itself.
    pub fn number(&self, number: usize) -> Done<usize> {
        let text = self.parameter(number)?;
        text.parse().map_err(|_| format!("{}: {text:?} is not a number", self.workload).into())
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_millis(self.warm_up_ms)
    }

    pub fn measured(&self) -> Duration {
        Duration::from_millis(self.measured_ms)
    }

    /// The file that this workload has prepared, or prepares now.
    pub fn prepared(&self) -> Place {
        Place::file(self.folder.join("prepared.db"))
    }

    /// An empty folder, which is removed with the result. It is on the same disk as the prepared files.
    pub fn scratch(&self) -> Done<tempfile::TempDir> {
        Ok(tempfile::Builder::new().prefix("run").tempdir_in(&self.folder)?)
    }
}
