//! The code that the examples share: command line, store, and exit status.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use lexopt::{Arg, Parser};
use wfe::{clock::Clock, error::BoxError, prelude::*, traits::PersistenceProvider};
use wfe_testkit::crash::KillAfter;

pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// The command-line options, as a map from names to values.
#[derive(Debug, Default)]
pub struct Options(BTreeMap<&'static str, OsString>);

impl Options {
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from)
    }

    /// Parses the command line. `known` lists the names of the options, each of which takes a value. Returns `None` if
    /// the user asks for help.
    fn parse(known: &[&'static str]) -> Result<Option<Self>, lexopt::Error> {
        let (mut parser, mut options) = (Parser::from_env(), Self::default());
        while let Some(arg) = parser.next()? {
            let found = match arg {
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Long(name) => known.iter().find(|known| **known == name),
                _ => None,
            };
            match found {
                Some(name) => options.0.insert(name, parser.value()?),
                None => return Err(arg.unexpected()),
            };
        }
        Ok(Some(options))
    }
}

/// Runs an example. The exit status is 0, or 1 if the example failed, or 2 if the command line is not valid.
pub async fn main(
    name: &str,
    usage: &str,
    known: &[&'static str],
    run: impl AsyncFnOnce(Options) -> Result,
) -> ExitCode {
    // Prints the warnings of the host and the store, for example about a full disk. After a warning, the host retries.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .without_time()
        .init();
    let (status, refusal) = match Options::parse(known) {
        Ok(Some(options)) => match run(options).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(failure) => (1, failure.to_string()),
        },
        Ok(None) => {
            println!("{usage}");
            return ExitCode::SUCCESS;
        }
        Err(error) => (2, format!("{error}; see --help")),
    };
    // The message is printed as one line, even if it contains line feeds.
    eprintln!("{name}: {}", refusal.replace('\n', "\\n"));
    ExitCode::from(status)
}

/// Opens the store of an example, either in this file or in memory. The tests kill the process after each commit of the
/// store.
pub async fn open(db: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Arc<dyn PersistenceProvider>> {
    let options = match db {
        Some(file) => SqliteStore::file(file),
        None => SqliteStore::builder(":memory:"),
    };
    Ok(KillAfter::from_env(Arc::new(options.clock(clock).open().await?)))
}
