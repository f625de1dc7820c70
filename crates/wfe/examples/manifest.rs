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

use wfe::{
    error::BoxError,
    prelude::*,
    status::{InstanceStatus, State},
};

use crate::{
    args::Args,
    listing::Own,
    name::Name,
    progress::{Progress, say},
    workflow::{HASH, Place, Summary},
};

/// The interval at which the program reads the status of the run. A person does not notice a delay this short, and
/// reads this rare hardly load the store.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

type Result<T, E = BoxError> = std::result::Result<T, E>;

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
        Err(error) => refuse(&error.to_string()),
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

async fn run(args: &Args) -> Result<Summary> {
    let dir = directory(&args.dir)?;
    // Detects errors before any file is created. If OUT is a symbolic link, the target of the link is replaced.
    let out = listing::resolve(&args.out).map_err(|e| cannot("write", &args.out, &e))?;
    check_apart(args, &own(args, &out)?)?;
    sums::check_writable(&out).map_err(|e| cannot("write", &args.out, &e))?;
    let log = args.log.as_deref().map(open_log).transpose()?;
    let store = match SqliteStore::file(&args.db).open().await {
        Ok(store) => Arc::new(store),
        Err(error) => {
            if let (Some((_, true)), Some(log)) = (&log, &args.log) {
                // This start created the log, so the log is empty. If the log cannot be removed, the empty file stays.
                fs::remove_file(log).ok();
            }
            return Err(error.into());
        }
    };
    let id = run_id(&dir);
    // Resolves the paths again: those that were links to missing files now lead to the files that were created.
    let own = own(args, &out)?;
    let place = Place { dir, out: out.clone(), own, log: log.map(|(log, _)| log), jobs: args.jobs.get() };
    let host = WorkflowHost::builder_shared(store.clone()).build();
    let runs = host.register(workflow::definition(Arc::new(place), &id)?)?;
    let result = work(&host, &runs, &out).await;
    host.stop().await?;
    // Copies the write-ahead log back into the database, so that one file is left.
    store.close().await;
    result
}

/// Starts the run of this directory, or continues the run if the database already contains it. Waits for the end of the
/// run.
async fn work(host: &WorkflowHost, runs: &Workflow<Summary>, out: &Path) -> Result<Summary> {
    let run = runs.start(&Summary::default()).reference(runs.id()).await?;
    let before = run.status().await?;
    host.start().await?;
    if before.state == State::Suspended {
        // An earlier start could not list the directory or could not write OUT. The resume tries again.
        run.resume().await?;
    }
    let mut progress = Progress::new(!before.for_each.is_empty());
    let outcome = tokio::select! {
        outcome = run.outcome() => outcome.map_err(BoxError::from),
        suspended = watch(&run, &before, &mut progress) => suspended,
    };
    progress.finish();
    let Outcome::Completed(summary) = outcome? else {
        return Err("the run was cancelled or terminated; start again with another database".into());
    };
    if before.state == State::Completed {
        writeln!(io::stdout(), "this run is complete already").ok(); // ignores a closed standard output
    }
    // Either OUT was removed after it was written, or an earlier start of this run had another OUT.
    if !out.exists() {
        let (mut results, mut hashed) = (run.results(HASH), Vec::new());
        while let Some(result) = results.next().await.map_err(|e| e.to_string())? {
            hashed.push(result);
        }
        workflow::write(out, hashed).map_err(|e| e.to_string())?;
    }
    Ok(summary)
}

/// Shows the progress of the run until the run is suspended, and then fails with the reason. Both the progress and the
/// reason are read from the store, because another process may work on the run.
async fn watch(
    run: &Instance<Summary>,
    before: &InstanceStatus,
    progress: &mut Progress,
) -> Result<Outcome<Summary>> {
    // The reason why the run was suspended before this start is reported only if the run is suspended again.
    let mut known = (before.state == State::Suspended).then(|| before.cause.clone());
    loop {
        let now = run.status().await?;
        if let Some(hashing) = now.for_each.iter().find(|one| one.step == HASH) {
            progress.show(hashing.done, hashing.total);
        }
        if now.state != State::Suspended {
            known = None;
        } else if known.as_ref() != Some(&now.cause) {
            let causes = now.cause.map(|failure| failure.causes.join(": "));
            return Err(causes.unwrap_or_else(|| "the run was suspended by an operator".into()).into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The files of the program itself.
fn own(args: &Args, out: &Path) -> Result<Own> {
    let resolve = |path: &PathBuf| listing::resolve(path).map_err(|e| cannot("use", path, &e));
    let log = args.log.as_ref().map(resolve).transpose()?;
    Ok(Own { db: resolve(&args.db)?, out: out.to_owned(), log })
}

/// Checks that the database, OUT and the log are three different files, so that none of them overwrites another.
fn check_apart(args: &Args, own: &Own) -> Result<()> {
    let belongs_to_db =
        |path: &Path| format!("{} belongs to the database {}", path.display(), args.db.display());
    if own.is_of_db(&own.out) || own.is_of_out(&own.db) {
        return Err(belongs_to_db(&own.out).into());
    }
    let (Some(log), Some(real)) = (&args.log, &own.log) else { return Ok(()) };
    if own.is_of_db(real) {
        return Err(belongs_to_db(log).into());
    }
    if own.is_of_out(real) {
        return Err(format!("{} cannot be both the log and the manifest", log.display()).into());
    }
    Ok(())
}

fn open_log(path: &Path) -> Result<(File, bool)> {
    Ok(sums::open_to_append(path).map_err(|e| cannot("write", path, &e))?)
}

fn directory(path: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(path).map_err(|e| cannot("read", path, &e))?;
    fs::read_dir(&real).map_err(|e| cannot("read", path, &e))?;
    Ok(real)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
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
