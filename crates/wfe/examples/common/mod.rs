//! What the examples have in common: their command line, their store, and how they end.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsString,
    future::Future,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use lexopt::{Arg, Parser};
use wfe::{clock::Clock, traits::PersistenceProvider};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::crash::KillAfter;

/// Why an example could not do its work.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What the command line says: the value of each option that was given, by its name.
#[derive(Debug, Default)]
pub struct Options(BTreeMap<&'static str, OsString>);

impl Options {
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from)
    }

    /// `known` are the names of the options, each of which takes a value; `None`: help is asked for.
    fn parse(known: &'static [&'static str]) -> Result<Option<Self>, lexopt::Error> {
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

/// Runs an example. Exit status: 0, or 1 if it could not do its work, or 2 if the command line makes no sense.
pub async fn main<F: Future<Output = Result<(), Failure>>>(
    name: &str,
    usage: &str,
    known: &'static [&'static str],
    run: impl FnOnce(Options) -> F,
) -> ExitCode {
    // What the host and the store warn of, such as a full disk: they wait and try again.
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
    // One line, whatever the message.
    eprintln!("{name}: {}", refusal.replace('\n', "\\n"));
    ExitCode::from(status)
}

/// The store of an example: this file, or memory. The tests let it die after each of its commits.
pub async fn open(db: Option<&Path>, clock: Arc<dyn Clock>) -> wfe::Result<Arc<dyn PersistenceProvider>> {
    let options = match db {
        Some(file) => SqlitePersistenceProvider::file(file),
        None => SqlitePersistenceProvider::builder(":memory:"),
    };
    Ok(KillAfter::from_env(Arc::new(options.clock(clock).open().await?)))
}
