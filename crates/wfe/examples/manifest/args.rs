//! The command line.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use lexopt::{Arg, Parser, ValueExt};

pub const USAGE: &str = "\
usage: manifest --dir DIR --db FILE --out FILE [--jobs N] [--log FILE]

Writes the SHA-256 of every regular file below DIR to OUT, in the format of sha256sum.
Killed at any moment and started again with the same command, it goes on where it was.
Any number of processes may run the same command at once: one hashes, the others wait for the
end, and one of them goes on where the first is killed. Give each a --log of its own, outside DIR:
of the logs in DIR, each process knows and leaves out only its own.

  --dir DIR    the directory
  --db FILE    the database that remembers the run; made when missing
  --out FILE   the manifest
  --jobs N     how many files are hashed at the same time (default: 4 for each core)
  --log FILE   gets one line for each file, appended at the moment its hash is known";

pub struct Args {
    pub dir: PathBuf,
    pub db: PathBuf,
    pub out: PathBuf,
    pub jobs: NonZeroUsize,
    pub log: Option<PathBuf>,
}

/// What the command line asks for; `None`: help.
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

/// Small files wait for the disk more than for a core, so a few for each core.
fn default_jobs() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN).saturating_mul(NonZeroUsize::MIN.saturating_add(3))
}
