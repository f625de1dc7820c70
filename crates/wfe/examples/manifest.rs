//! A checksum manifest of a directory tree that survives `kill -9`.
//!
//! ```text
//! cargo run --release -p wfe --example manifest -- --dir DIR --db FILE --out FILE [--jobs N] [--log FILE]
//! ```
//!
//! Each file is a durable step: once its hash is stored, the file is never hashed again, however often the program is
//! killed and started again. Several processes may run the program at once: one of them works, and the others wait to
//! take over if that process crashes. The exit status is 0, or 1 if some files failed, or 2 if the job could not be
//! done.
#![cfg(unix)]

#[path = "manifest/args.rs"]
mod args;
#[path = "manifest/listing.rs"]
mod listing;
#[path = "manifest/name.rs"]
mod name;
#[path = "manifest/progress.rs"]
mod progress;
#[path = "manifest/sums.rs"]
mod sums;
#[path = "manifest/workflow.rs"]
mod workflow;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use wfe::{InstanceStatus, Outcome, StartOptions, WfeError, WorkflowHost, models::WorkflowStatus};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::{
    args::Args,
    listing::Own,
    name::Name,
    progress::{Progress, say},
    workflow::{Gathered, HASH, Place, Summary},
};

/// The interval at which the program reads the status of the run. A person does not notice a delay this short, and
/// reads this rare hardly load the store.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The reason why the job could not be done, in one line.
type Refusal = String;

#[tokio::main]
async fn main() -> ExitCode {
    // Prints the warnings of the host and the store, for example about a full disk. After a warning, the host retries.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .without_time()
        .init();
    let args = match args::parse(std::env::args_os()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            writeln!(io::stdout(), "{}", args::USAGE).ok(); // ignores a closed standard output, like `report`
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&format!("{error}; see --help")),
    };
    match run(&args).await {
        Ok(summary) => report(&args.out, &summary),
        Err(refusal) => refuse(&refusal),
    }
}

/// Prints why the job could not be done, always as one line, even if a path contains a line feed.
fn refuse(refusal: &str) -> ExitCode {
    say(&format!("manifest: {}", refusal.replace('\n', "\\n")));
    ExitCode::from(2)
}

fn report(out: &Path, summary: &Summary) -> ExitCode {
    let mut lines =
        vec![format!("{}: {} files, {} failed", out.display(), summary.files, summary.failed.len())];
    for (name, cause) in &summary.failed {
        let name = String::from_utf8_lossy(name.as_bytes()).replace('\n', "\\n");
        lines.push(format!("failed: {name}: {cause}"));
    }
    // If standard output is closed, the exit status still reports the result.
    writeln!(io::stdout(), "{}", lines.join("\n")).ok();
    ExitCode::from(u8::from(!summary.failed.is_empty()))
}

async fn run(args: &Args) -> Result<Summary, Refusal> {
    let dir = directory(&args.dir)?;
    // Detects errors before any file is created. If OUT is a symbolic link, the target of the link is replaced.
    let out = listing::resolve(&args.out).map_err(|e| cannot("write", &args.out, &e))?;
    check_apart(args, &out)?;
    sums::check_writable(&out).map_err(|e| cannot("write", &args.out, &e))?;
    let log = args.log.as_deref().map(open_log).transpose()?;
    let provider = match SqlitePersistenceProvider::file(&args.db).open().await {
        Ok(provider) => Arc::new(provider),
        Err(error) => {
            if let (Some((_, true)), Some(log)) = (&log, &args.log) {
                // This start created the log, so the log is empty. If the log cannot be removed, the empty file stays.
                fs::remove_file(log).ok();
            }
            return Err(said(error));
        }
    };
    let place = Arc::new(place(args, dir, out, log.map(|(log, _)| log))?);
    let host = WorkflowHost::builder_shared(provider.clone()).build();
    let run = run_id(&place.dir);
    host.register(workflow::definition(&place, &run).map_err(said)?).map_err(said)?;
    let result = work(&host, &place, &run).await;
    host.stop().await.map_err(said)?;
    // Copies the write-ahead log back into the database, so that one file is left.
    provider.close().await;
    result
}

/// Starts the run of this directory, or continues the run if the database already contains it. Waits for the end of the
/// run.
async fn work(host: &WorkflowHost, place: &Arc<Place>, run: &str) -> Result<Summary, Refusal> {
    let options = StartOptions { reference: Some(run.to_owned()), ..StartOptions::default() };
    let id = host.start_workflow_with(run, &Summary::default(), options).await.map_err(said)?;
    let before = host.status(&id).await.map_err(said)?;
    host.start().await.map_err(said)?;
    if before.status == WorkflowStatus::Suspended {
        // An earlier start could not list the directory or could not write OUT. The resume tries again.
        host.resume(&id).await.map_err(said)?;
    }
    let mut progress = Progress::new(!before.for_each.is_empty());
    let outcome = tokio::select! {
        outcome = host.outcome::<Summary>(&id) => outcome.map_err(said),
        refusal = watch(host, &id, &before, &mut progress) => Err(refusal),
    };
    progress.finish();
    let Outcome::Completed(summary) = outcome? else {
        return Err("the run was cancelled or terminated; start again with another database".to_owned());
    };
    if before.status == WorkflowStatus::Complete {
        writeln!(io::stdout(), "this run is complete already").ok(); // ignores a closed standard output
    }
    // Either OUT was removed after it was written, or an earlier start of this run had another OUT.
    if !place.out.exists() {
        write_again(host, &id, &place.out).await?;
    }
    Ok(summary)
}

/// Shows the progress of the run until the run is suspended, and then returns the reason. Both the progress and the
/// reason are read from the store, because another process may work on the run.
async fn watch(host: &WorkflowHost, id: &str, before: &InstanceStatus, progress: &mut Progress) -> Refusal {
    // The reason why the run was suspended before this start is reported only if the run is suspended again.
    let mut known = (before.status == WorkflowStatus::Suspended).then(|| before.cause.clone());
    loop {
        let now = match host.status(id).await {
            Ok(now) => now,
            Err(error) => return said(error),
        };
        if let Some(hashing) = now.for_each.iter().find(|one| one.step == HASH) {
            progress.show(hashing.done, hashing.total);
        }
        if now.status != WorkflowStatus::Suspended {
            known = None;
        } else if known.as_ref() != Some(&now.cause) {
            let causes = now.cause.map(|failure| failure.causes.join(": "));
            return causes.unwrap_or_else(|| "the run was suspended by an operator".to_owned());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn write_again(host: &WorkflowHost, id: &str, out: &Path) -> Result<(), Refusal> {
    let (mut gathered, mut results) = (Gathered::default(), host.results::<Name>(id, HASH));
    while let Some(result) = results.next().await.map_err(|e| e.to_string())? {
        gathered.add(result).map_err(|e| e.to_string())?;
    }
    gathered.write(out).map(drop).map_err(|e| e.to_string())
}

fn place(args: &Args, dir: PathBuf, out: PathBuf, log: Option<File>) -> Result<Place, Refusal> {
    let mut own = Own::default();
    own.add_database(&args.db).map_err(|e| cannot("use", &args.db, &e))?;
    own.add_manifest(&out).map_err(|e| cannot("use", &out, &e))?;
    if let Some(log) = &args.log {
        own.add_file(log).map_err(|e| cannot("use", log, &e))?;
    }
    Ok(Place { dir, out, own, log, jobs: args.jobs.get() })
}

/// Checks that the database, OUT and the log are three different files, so that none of them overwrites another.
fn check_apart(args: &Args, out: &Path) -> Result<(), Refusal> {
    let resolved = |path: &Path| listing::resolve(path).map_err(|e| cannot("use", path, &e));
    let (mut database, mut manifest) = (Own::default(), Own::default());
    database.add_database(&args.db).map_err(|e| cannot("use", &args.db, &e))?;
    manifest.add_manifest(out).map_err(|e| cannot("use", out, &e))?;
    let db = resolved(&args.db)?;
    if database.has(out) || manifest.has(&db) {
        return Err(format!("{} belongs to the database {}", out.display(), args.db.display()));
    }
    let Some(log) = &args.log else { return Ok(()) };
    let real = resolved(log)?;
    if database.has(&real) {
        return Err(format!("{} belongs to the database {}", log.display(), args.db.display()));
    }
    if manifest.has(&real) {
        return Err(format!("{} cannot be both the log and the manifest", log.display()));
    }
    Ok(())
}

fn open_log(path: &Path) -> Result<(File, bool), Refusal> {
    sums::open_to_append(path).map_err(|e| cannot("write", path, &e))
}

fn directory(path: &Path) -> Result<PathBuf, Refusal> {
    let real = fs::canonicalize(path).map_err(|e| cannot("read", path, &e))?;
    fs::read_dir(&real).map_err(|e| cannot("read", path, &e))?;
    Ok(real)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Refusal {
    format!("cannot {what} {}: {error}", path.display())
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn said(error: WfeError) -> Refusal {
    error.to_string()
}

/// The id of a run within its database, made from the path of the directory. A path that is not UTF-8 is written as a
/// list of bytes. The text form and the byte form of two paths can never be equal, because every path begins with a
/// slash.
fn run_id(dir: &Path) -> String {
    match Name::of(dir) {
        Name::Text(text) => format!("manifest of {text}"),
        Name::Bytes(bytes) => format!("manifest of bytes {bytes:?}"),
    }
}
