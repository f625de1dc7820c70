//! Whole workflows in memory, on a file, and on a file that two hosts share.

use std::{process::ExitCode, sync::Arc};

use tempfile::TempDir;
use wfe::{BoxError, Result, traits::PersistenceProvider};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    VirtualClock,
    conformance::Harness,
    scenarios::{Trials, main as play},
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
    play(Trials::default().of("memory", Memory).of("file", File).of_shared("file of two hosts", File, 2))
}
