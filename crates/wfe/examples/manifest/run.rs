//! The program: one run of the workflow over one directory.

mod args;
mod listing;
mod name;
mod progress;
mod sums;
mod workflow;

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::signal::ctrl_c;
use wfe::{
    error::{BoxError, RetryRefusal},
    prelude::*,
    status::{InstanceStatus, State},
};

use self::{
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

/// The exit status of a program that was ended by ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main]
pub async fn main() -> ExitCode {
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
        Err(error) if error.is::<Interrupted>() => {
            say(&format!("manifest: {error}"));
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => refuse(&with_causes(&*error)),
    }
}

/// The user has stopped the program by ctrl-C. Holds how many files are done, and how many there are, if they are listed.
#[derive(Debug)]
struct Interrupted(Option<(u64, u64)>);

impl std::error::Error for Interrupted {}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((done, total)) => write!(f, "stopped when {done} of {total} files were done")?,
            None => f.write_str("stopped before the files were listed")?,
        }
        f.write_str("; the same command continues")
    }
}

/// The text of an error, and those of its sources that it does not contain.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
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
    let place = Arc::new(Place { dir, out, own, log: log.map(|(log, _)| log), jobs: args.jobs.get() });
    let host = WorkflowHost::builder_shared(store.clone()).build();
    let runs = host.register(workflow::definition(place.clone(), &id)?)?;
    let run = newest(&runs, args.again).await?;
    let result = work(&host, &run, &place).await;
    // Files that are being hashed may be finished, unless the user cannot wait: nothing is lost in either case.
    tokio::select! {
        stopped = host.stop() => stopped?,
        Ok(()) = ctrl_c() => std::process::exit(INTERRUPTED.into()),
    }
    // Copies the write-ahead log back into the database, so that one file is left.
    store.close().await;
    result
}

/// The newest run of this directory. Starts the first run, and restarts the newest one if it has ended and the user wants to
/// begin again. Processes that do so at once get the same run.
async fn newest(runs: &Workflow<Summary>, again: bool) -> Result<Instance<Summary>> {
    let newest = runs.start(&Summary::default()).reference(runs.id()).await?.instance;
    if !again || !newest.status().await?.state.is_final() {
        return Ok(newest);
    }
    match newest.restart(&Summary::default()).await {
        Ok(restarted) => Ok(restarted.instance),
        // Another process was faster.
        Err(Error::CannotRetry { reason: RetryRefusal::Restarted { id }, .. }) => Ok(runs.instance(id)),
        Err(error) => Err(error.into()),
    }
}

/// Works on the run until it ends, in this process or in another one.
async fn work(host: &WorkflowHost, run: &Instance<Summary>, place: &Place) -> Result<Summary> {
    let before = run.status().await?;
    host.start().await?;
    if before.state == State::Suspended {
        // An earlier start could not list the directory or could not write OUT. The resume tries again.
        match run.resume().await {
            // Another process was faster.
            Ok(_) | Err(Error::NoEffect { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut progress = Progress::new(!before.for_each.is_empty());
    let outcome = tokio::select! {
        outcome = run.outcome() => outcome.map_err(BoxError::from),
        suspended = watch(run, &before, &mut progress) => suspended,
        Ok(()) = ctrl_c() => {
            progress.finish();
            let now = run.status().await?;
            let hashing = now.for_each.iter().find(|one| one.step == HASH);
            say("manifest: stopping; ctrl-C again stops at once");
            return Err(Interrupted(hashing.map(|hashing| (hashing.done, hashing.total))).into());
        }
    };
    progress.finish();
    let summary = outcome?.completed().map_err(|error| format!("{error}; --again begins a new run"))?;
    let completed_before = before.complete_time.filter(|_| before.state == State::Completed);
    let out = &place.out;
    if completed_before.is_none() && out.exists() {
        return Ok(summary);
    }
    let (mut results, mut hashed) = (run.results(HASH), Vec::new());
    while let Some(result) = results.next().await.map_err(|e| e.to_string())? {
        hashed.push(result);
    }
    if let Some(time) = completed_before {
        let time = time.format("%Y-%m-%d %H:%M:%S UTC");
        if let Some(change) = place.change(&hashed, before.create_time)? {
            let run =
                format!("the run of this directory was completed at {time}, and since its start {change}");
            return Err(format!("{run}; --again hashes the files as they are now").into());
        }
        let line = format!(
            "this run was completed at {time}, and no file has changed since; --again begins a new run"
        );
        writeln!(io::stdout(), "{line}").ok(); // ignores a closed standard output
    }
    // Either OUT was removed after it was written, or an earlier start of this run had another OUT.
    if !out.exists() {
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
            let text = now.cause.as_ref().map(|failure| failure.causes.join(": "));
            return Err(text.unwrap_or_else(|| now.to_string()).into());
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
