//! The command line.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use lexopt::{Arg, Parser};

pub const USAGE: &str = "\
usage: manifest --dir DIR --db FILE --out FILE [--jobs N] [--log FILE] [--again]

Writes the SHA-256 of every regular file below DIR to OUT, in the format of sha256sum.
Killed at any moment and started again with the same command, it continues where it was.
Ctrl-C lets the files that are being hashed finish. A complete run is not repeated: if files have
changed since, the program says so and fails; with --again it begins a new run.
Any number of processes may run the same command at once: one hashes, the others wait, and one of
them takes over if the first is killed. Give each process its own --log, outside DIR: a process
does not know the logs of the others, and would hash them.

  --dir DIR    the directory
  --db FILE    the database that stores the run; created if missing
  --out FILE   the manifest
  --jobs N     how many files are hashed at the same time (default: 4 per core)
  --log FILE   gets one line per file, appended as soon as its hash is known
  --again      begins a new run if the last one has ended; otherwise, continues it";

pub struct Args {
    pub dir: PathBuf,
    pub db: PathBuf,
    pub out: PathBuf,
    pub jobs: NonZeroUsize,
    pub log: Option<PathBuf>,
    pub again: bool,
}

/// Parses the command line. Returns `None` if the user asks for help.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Option<Args>, lexopt::Error> {
    let mut parser = Parser::from_iter(args);
    let (mut dir, mut db, mut out, mut log): (
        Option<PathBuf>,
        Option<PathBuf>,
        Option<PathBuf>,
        Option<PathBuf>,
    ) = Default::default();
    let (mut jobs, mut again) = (default_jobs(), false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("dir") => dir = Some(parser.value()?.into()),
            Arg::Long("db") => db = Some(parser.value()?.into()),
            Arg::Long("out") => out = Some(parser.value()?.into()),
            Arg::Long("log") => log = Some(parser.value()?.into()),
            Arg::Long("jobs") => jobs = number(&parser.value()?)?,
            Arg::Long("again") => again = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let needed = [("--dir", &dir), ("--db", &db), ("--out", &out)];
    let missing: Vec<_> = needed.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    match (dir, db, out) {
        (Some(dir), Some(db), Some(out)) => Ok(Some(Args { dir, db, out, jobs, log, again })),
        _ => Err(format!("missing: {}", missing.join(", ")).into()),
    }
}

fn number(value: &OsString) -> Result<NonZeroUsize, lexopt::Error> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("--jobs takes a number from 1 on, not {}", value.to_string_lossy()).into())
}

/// The default is four jobs per core, because the disk limits the hashing of small files more than the CPU does.
fn default_jobs() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN).saturating_mul(NonZeroUsize::MIN.saturating_add(3))
}
