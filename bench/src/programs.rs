//! The programs of the subjects. Each peer is a workspace of its own with its own lock file.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use wfe_bench_workloads::{Done, Measured, ONE_RUN, Run};

use crate::table::Subject;

/// The folder of this workspace.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A build that is measured.
#[derive(Debug, Clone)]
pub struct Program {
    /// The name in the report.
    pub label: String,
    /// What it is asked to be.
    pub subject: Subject,
    pub path: PathBuf,
}

impl Program {
    /// The program of a subject, which is built first if it is not up to date.
    pub fn of(subject: Subject) -> Done<Self> {
        let path = subject.peer().map_or_else(|| Ok(std::env::current_exe()?), build)?;
        Ok(Self { label: subject.name().to_owned(), subject, path })
    }

    pub fn prepare(&self, run: &Run) -> Done {
        self.start(&Run { prepare: true, ..run.clone() }).map(drop)
    }

    pub fn measure(&self, run: &Run) -> Done<Measured> {
        let printed = String::from_utf8(self.start(run)?)?;
        // Libraries may have printed something before.
        let last = printed.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .map_err(|_| format!("{} printed no result but {last:?}", self.label).into())
    }

    /// Runs one process to its end. Returns what it has printed.
    fn start(&self, run: &Run) -> Done<Vec<u8>> {
        let mut command = Command::new(&self.path);
        command.arg(ONE_RUN).arg(serde_json::to_string(run)?);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let (label, workload, clients) = (&self.label, &run.workload, run.clients);
        Err(format!("{label}: {workload} with {clients} clients failed, so there is no report").into())
    }
}

/// Builds a peer from its own lock file. Returns the path of its program.
fn build(peer: &str) -> Done<PathBuf> {
    let (folder, target) =
        (Path::new(HERE).join("peers").join(peer), Path::new(HERE).join("target/peers").join(peer));
    eprintln!("building {peer}");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"));
    let status = cargo.arg("--target-dir").arg(&target).status()?;
    if !status.success() {
        return Err(format!("building {peer} failed ({status})").into());
    }
    Ok(target.join("release").join(format!("bench-{peer}{}", std::env::consts::EXE_SUFFIX)))
}
