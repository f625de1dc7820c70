//! A build of this benchmark on the crates of another Git revision.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wfe_bench_workloads::Done;

/// The folder of this workspace.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Builds the benchmark on the crates of a revision and returns the path of the program. The source of the benchmark is the
/// one in this folder, since the revision may be older than the benchmark. It must have the API that this source uses.
pub fn build(revision: &str) -> Done<PathBuf> {
    let here = Path::new(HERE);
    let repository = here.parent().ok_or("the benchmark is not inside a Git repository")?;
    let commit = output(
        git(repository)
            .args(["rev-parse", "--verify", "--end-of-options"])
            .arg(format!("{revision}^{{commit}}")),
    )?;
    let place = here.join("target/revisions").join(&commit);
    let checkout = place.join("checkout");
    if !checkout.exists() {
        run(git(repository)
            .args(["worktree", "add", "--force", "--quiet", "--detach"])
            .arg(&checkout)
            .arg(&commit))?;
    }
    // The same source as this program, even if the revision contains another version of the benchmark.
    let bench = checkout.join("bench");
    for folder in ["src", "workloads"] {
        copy(&here.join(folder), &bench.join(folder))?;
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(here.join(file), bench.join(file))?;
    }
    eprintln!("building {commit}");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Not --locked: an earlier revision may need fewer packages than the lock file of this one lists.
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(bench.join("Cargo.toml"));
    run(cargo.env("CARGO_TARGET_DIR", place.join("target"))).map_err(|error| {
        format!(
            "{error}; the benchmark of this folder does not compile with the crates of {revision}. If that revision is \
             older than the builder whose verbs take closures, choose a later one"
        )
    })?;
    Ok(place.join("target/release").join(format!("wfe-bench{}", std::env::consts::EXE_SUFFIX)))
}

fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(repository);
    git
}

fn run(command: &mut Command) -> Done {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed ({status})").into()) }
}

fn output(command: &mut Command) -> Done<String> {
    let output = command.output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed ({}): {}", output.status, error.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Replaces the folder `to` by a copy of the folder `from`.
fn copy(from: &Path, to: &Path) -> Done {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
