//! The command line.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use lexopt::{Arg, Parser, ValueExt};

pub const USAGE: &str = "\
usage: manifest --dir DIR --db FILE --out FILE [--jobs N] [--log FILE]

Writes the SHA-256 of every regular file below DIR to OUT, in the format of sha256sum.
Killed at any moment and started again with the same command, it continues where it was.
Any number of processes may run the same command at once: one hashes, the others wait, and one of
them takes over if the first is killed. Give each process its own --log, outside DIR: a process
does not know the logs of the others, and would hash them.

  --dir DIR    the directory
  --db FILE    the database that stores the run; created if missing
  --out FILE   the manifest
  --jobs N     how many files are hashed at the same time (default: 4 per core)
  --log FILE   gets one line per file, appended as soon as its hash is known";

pub struct Args {
    pub dir: PathBuf,
    pub db: PathBuf,
    pub out: PathBuf,
    pub jobs: NonZeroUsize,
    pub log: Option<PathBuf>,
}

/// Parses the command line. Returns `None` if the user asks for help.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Option<Args>, lexopt::Error> {
    let mut parser = Parser::from_iter(args);
    let (mut dir, mut db, mut out, mut log) = (None, None, None, None);
    let mut jobs = default_jobs();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("dir") => dir = Some(parser.value()?.into()),
            Arg::Long("db") => db = Some(parser.value()?.into()),
            Arg::Long("out") => out = Some(parser.value()?.into()),
            Arg::Long("log") => log = Some(parser.value()?.into()),
            Arg::Long("jobs") => jobs = parser.value()?.parse()?,
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let need = |value: Option<PathBuf>, name: &str| value.ok_or_else(|| format!("missing option --{name}"));
    Ok(Some(Args { dir: need(dir, "dir")?, db: need(db, "db")?, out: need(out, "out")?, jobs, log }))
}

/// The default is four jobs per core, because the disk limits the hashing of small files more than the CPU does.
fn default_jobs() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN).saturating_mul(NonZeroUsize::MIN.saturating_add(3))
}
