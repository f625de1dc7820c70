//! Harnesses for the two kinds of stores that need no server: in memory and in a file.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt};
use tempfile::TempDir;
use wfe_core::{
    BoxError, Result,
    traits::{Owner, PersistenceProvider},
};

use super::Harness;
use crate::VirtualClock;

type Opening = BoxFuture<'static, Result<Arc<dyn PersistenceProvider>>>;

fn boxed<P: PersistenceProvider + 'static>(
    open: impl Future<Output = Result<P>> + Send + 'static,
) -> Opening {
    async move { Ok(Arc::new(open.await?) as Arc<dyn PersistenceProvider>) }.boxed()
}

/// A [`Harness`] for a store in memory, whose contents are lost with its provider.
pub struct InMemory {
    open: Box<dyn Fn(Arc<VirtualClock>) -> Opening + Send + Sync>,
    tells_news: bool,
}

impl InMemory {
    /// Creates a harness from a function that opens a new, empty store.
    pub fn new<P, F>(open: impl Fn(Arc<VirtualClock>) -> F + Send + Sync + 'static) -> Self
    where
        P: PersistenceProvider + 'static,
        F: Future<Output = Result<P>> + Send + 'static,
    {
        Self { open: Box::new(move |clock| boxed(open(clock))), tells_news: false }
    }

    /// Sets whether the store notifies hosts of changes ([`Harness::tells_news`]). The default is false.
    #[must_use]
    pub fn tells_news(mut self, tells: bool) -> Self {
        self.tells_news = tells;
        self
    }
}

#[async_trait]
impl Harness for InMemory {
    type Place = ();

    async fn place(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, (): &(), clock: Arc<VirtualClock>) -> Result<Arc<dyn PersistenceProvider>> {
        (self.open)(clock).await
    }

    fn tells_news(&self) -> bool {
        self.tells_news
    }
}

/// A [`Harness`] for a store in a file. Each place is a temporary folder of its own. The contents of the store
/// outlive its providers.
pub struct InFile {
    open: Box<dyn Fn(PathBuf, Arc<VirtualClock>) -> Opening + Send + Sync>,
    owner_file: Option<fn(&Path, u64) -> PathBuf>,
    is_shared: bool,
    tells_news: bool,
}

impl InFile {
    /// Creates a harness from a function that opens the store at a path. The function creates the store if it does not
    /// exist.
    pub fn new<P, F>(open: impl Fn(PathBuf, Arc<VirtualClock>) -> F + Send + Sync + 'static) -> Self
    where
        P: PersistenceProvider + 'static,
        F: Future<Output = Result<P>> + Send + 'static,
    {
        Self {
            open: Box::new(move |path, clock| boxed(open(path, clock))),
            owner_file: None,
            is_shared: false,
            tells_news: false,
        }
    }

    /// Lets several providers open the file at the same time ([`Harness::is_shared`]). By default, only one provider at
    /// a time opens the file.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Sets whether the store notifies hosts of changes ([`Harness::tells_news`]). The default is false.
    #[must_use]
    pub fn tells_news(mut self, tells: bool) -> Self {
        self.tells_news = tells;
        self
    }

    /// Sets a function that returns the path of an owner's lock file, which a killed process leaves behind. The
    /// arguments of the function are the path of the store and the id of the owner. With this function,
    /// [`Harness::kill`] can simulate a crash. Without it, crashes are not simulated.
    #[must_use]
    pub fn owner_file(mut self, named: fn(&Path, u64) -> PathBuf) -> Self {
        self.owner_file = Some(named);
        self
    }
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("wfe.db")
}

#[async_trait]
impl Harness for InFile {
    type Place = TempDir;

    async fn place(&self) -> Result<TempDir> {
        TempDir::new().map_err(|error| BoxError::from(error).into())
    }

    async fn open(&self, folder: &TempDir, clock: Arc<VirtualClock>) -> Result<Arc<dyn PersistenceProvider>> {
        (self.open)(database(folder), clock).await
    }

    fn lasts(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// A dropped owner removes its lock file. After a process is killed, the lock file still exists but is not locked.
    async fn kill(&self, folder: &TempDir, owner: Owner) -> Result<bool> {
        let Some(owner_file) = self.owner_file else {
            drop(owner);
            return Ok(false);
        };
        let left = owner_file(&database(folder), owner.id());
        let content = fs::read(&left).map_err(BoxError::from)?;
        drop(owner);
        fs::write(&left, content).map_err(BoxError::from)?;
        Ok(true)
    }

    fn tells_news(&self) -> bool {
        self.tells_news
    }
}
