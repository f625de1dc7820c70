//! The conformance suite, in memory, on files, and on files that two providers use by turns.

use std::{process::ExitCode, sync::Arc};

use tempfile::TempDir;
use wfe_core::{
    BoxError, Result,
    traits::{Owner, PersistenceProvider},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    VirtualClock,
    conformance::{Harness, Trials, Turns, main as run},
};

struct Memory;

#[async_trait::async_trait]
impl Harness for Memory {
    type Place = ();

    async fn place(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, (): &(), clock: Arc<VirtualClock>) -> Result<Arc<dyn PersistenceProvider>> {
        Ok(Arc::new(SqlitePersistenceProvider::builder(":memory:").clock(clock).open().await?))
    }

    fn tells_news(&self) -> bool {
        true
    }
}

struct File;

#[async_trait::async_trait]
impl Harness for File {
    type Place = TempDir;

    async fn place(&self) -> Result<TempDir> {
        TempDir::new().map_err(|error| BoxError::from(error).into())
    }

    async fn open(&self, folder: &TempDir, clock: Arc<VirtualClock>) -> Result<Arc<dyn PersistenceProvider>> {
        let file = SqlitePersistenceProvider::file(folder.path().join("wfe.db"));
        Ok(Arc::new(file.clock(clock).open().await?))
    }

    /// A process that dies leaves its owner's file, and the lock on it is gone.
    async fn kill(&self, folder: &TempDir, owner: Owner) -> Result<bool> {
        let left = folder.path().join(format!("wfe.db-owner-{}", owner.id()));
        let text = std::fs::read(&left).map_err(BoxError::from)?;
        drop(owner);
        std::fs::write(&left, text).map_err(BoxError::from)?;
        Ok(true)
    }

    fn lasts(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn tells_news(&self) -> bool {
        true
    }
}

fn main() -> ExitCode {
    run(Trials::default().of("memory", Memory).of("file", File).of("file by turns", Turns(File)))
}
