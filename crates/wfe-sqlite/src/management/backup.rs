//! Copies of the database while it is in use.
//!
//! `VACUUM INTO` reads one snapshot on a connection of its own, so commits go on meanwhile. (SQLite's backup API in steps would
//! begin anew with each commit of another connection, or keep a snapshot as well.) It also checks much of what it reads, and
//! the copy has no free pages. While the snapshot is kept, a checkpoint moves only older commits out of the log, so the log
//! grows by what is written during the copy.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use wfe_core::{
    Result, WfeError,
    traits::{BackupReport, Progress},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, single_int},
    connection::{
        aside::{self, Cancel},
        execute::{self, Lent},
    },
    error::{self, SqliteError, unusable},
    file::{identity, sidecar_names},
    request::{Done, Script, Sql},
    schema,
    sql::upkeep as sql,
    sqlx::{Connection, sqlite::SqliteConnectOptions},
};

pub(super) async fn backup(
    store: &SqlitePersistenceProvider,
    target: &Path,
    progress: &dyn Progress,
) -> Result<BackupReport> {
    let target = std::path::absolute(target)
        .map_err(|error| unusable(target, "the current folder was removed", Some(Box::new(error))))?;
    let partial = Partial::create(store, &target)?;
    let pages = pages(store).await?;
    let total = pages.used();
    let follow = || {
        let written = fs::metadata(&partial.path).map_or(0, |found| found.len() / pages.size);
        progress.advanced(written.min(total), Some(total))
    };
    let copy = partial.path.clone();
    let timer = store.timer.runtime();
    if let Some(another) = &store.another {
        let mut opened = another.reading(false).await?;
        let (counts, path, name) = (Arc::clone(store.counts()), copy.clone(), target.clone());
        aside::run(timer, "wfe-sqlite-backup", follow, move |runtime, cancel| {
            let copied = runtime
                .block_on(execute::lend(&mut opened.connection))
                .map_err(|error| not_copied(&name, error.into()))
                .and_then(|mut handle| {
                    cancel.interrupts(&mut handle);
                    let mut script = copying(&path)?;
                    cancel.check()?;
                    Lent::new(&handle, &counts)
                        .read(&mut script)
                        .map_err(|error| cancel.or(not_copied(&name, error.into())))
                });
            opened.close(runtime);
            copied.map(drop)
        })
        .await?;
    } else {
        // The only connection of a database in memory copies it.
        if follow().is_break() {
            return Err(WfeError::Cancelled);
        }
        store.read(copying(&copy)?).await?;
    }
    let name = target.clone();
    let report = aside::run(timer, "wfe-sqlite-backup", follow, move |runtime, cancel| {
        let written = File::open(&copy).and_then(|file| file.sync_all().and(file.metadata()));
        let bytes = written.map_err(|error| not_written(&name, &error))?.len();
        let instances = runtime.block_on(check(&copy, &name, cancel))?;
        cancel.check()?;
        publish(&copy, &name)?;
        Ok(BackupReport { bytes, instances })
    })
    .await?;
    // The copy is complete, so there is nothing left to end.
    let _ = progress.advanced(total, Some(total));
    Ok(report)
}

/// A file beside the target, which is removed if the backup does not come to its end.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Creates an empty file, which only its owner can read. SQLite writes to an empty file, but to no other.
    fn create(store: &SqlitePersistenceProvider, target: &Path) -> Result<Self> {
        if target.to_str().is_none() {
            return Err(unusable(
                target,
                "its path is not UTF-8, which SQLite needs; choose another name",
                None,
            ));
        }
        match fs::symlink_metadata(target) {
            Ok(_) => return Err(exists(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(not_written(target, &error)),
        }
        if let Some(another) = &store.another
            && sidecar_names::is_sidecar(another.watch.real(), target)
        {
            return Err(unusable(
                target,
                "this name belongs to a file of the store itself; choose another one",
                None,
            ));
        }
        for number in 0_u32.. {
            let mut name = target.as_os_str().to_owned();
            name.push(format!(".partial-{}-{number}", std::process::id()));
            let path = PathBuf::from(name);
            match identity::create(&path) {
                Ok(_) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(not_written(target, &error)),
            }
        }
        Err(exists(target))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone once it has got its name. An error leaves a file whose name shows what it is.
        let _ = fs::remove_file(&self.path);
    }
}

fn exists(target: &Path) -> WfeError {
    unusable(target, "it exists already, and a backup replaces no file; choose another name", None)
}

fn not_written(target: &Path, error: &io::Error) -> WfeError {
    let again = io::Error::new(error.kind(), error.to_string());
    if error.kind() == io::ErrorKind::StorageFull {
        return WfeError::Full { message: target.display().to_string(), source: Some(Box::new(again)) };
    }
    unusable(target, format!("the backup cannot be written ({error})"), Some(Box::new(again)))
}

fn not_copied(target: &Path, error: SqliteError) -> WfeError {
    let error = Arc::new(error);
    match error::storage("writing the backup", &error) {
        WfeError::Storage { message, source } => unusable(target, message, source),
        WfeError::Full { message, source } => {
            WfeError::Full { message: format!("{}: {message}", target.display()), source }
        }
        other => other,
    }
}

fn copying(path: &Path) -> Result<Script> {
    let Some(name) = path.to_str() else { return Err(unusable(path, "its path is not UTF-8", None)) };
    let mut script = Script::default();
    script.add(&sql::COPY, [name.into()]);
    Ok(script)
}

/// Opens the copy and checks it. Returns the number of its instances.
async fn check(copy: &Path, target: &Path, cancel: &Cancel) -> Result<u64> {
    let unsound = |reason: String| unusable(target, format!("the copy is not sound: {reason}"), None);
    let failed = |error: SqliteError| cancel.or(unsound(error.to_string()));
    // Nobody else has the file open, and SQLite then makes no file beside it.
    let options = SqliteConnectOptions::new().filename(copy).read_only(true).immutable(true);
    let mut connection = schema::connect(&options).await.map_err(|error| failed(error.into()))?;
    let checked = async {
        schema::look(&mut connection, &target.display().to_string()).await?;
        let mut handle = execute::lend(&mut connection).await.map_err(|error| failed(error.into()))?;
        cancel.interrupts(&mut handle);
        cancel.check()?;
        let lent = Lent::new(&handle, &Arc::default());
        let read = |sql: &Sql<0>| -> Result<Vec<Done>> {
            let mut script = Script::default();
            script.add(sql, []);
            lent.read(&mut script).map_err(|error| failed(error.into()))
        };
        let faults = read(&sql::QUICK_CHECK)?;
        if let Some(row) = faults.first().and_then(|done| done.rows.first()) {
            return Err(unsound(Fields::new(row, "sqlite_schema", "").string("fault")?));
        }
        let instances = single_int(read(&sql::INSTANCES)?.first()).unwrap_or_default();
        Ok(instances.unsigned_abs())
    };
    let checked = checked.await;
    // Nothing was written, so an error of the close loses nothing.
    let _ = connection.close().await;
    checked
}

/// Gives the copy its name, unless there is a file of this name by now.
fn publish(copy: &Path, target: &Path) -> Result<()> {
    match rename(copy, target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(target)),
        Err(error) => return Err(not_written(target, &error)),
    }
    let folder =
        target.parent().map_or(Ok(()), |folder| File::open(folder).and_then(|folder| folder.sync_all()));
    folder.map_err(|error| not_written(target, &error))
}

fn rename(copy: &Path, target: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::{
            fs::{CWD, RenameFlags, renameat_with},
            io::Errno,
        };
        match renameat_with(CWD, copy, CWD, target, RenameFlags::NOREPLACE) {
            // Some file systems cannot refuse to replace a file.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return renamed.map_err(io::Error::from),
        }
    }
    if fs::symlink_metadata(target).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(copy, target)
}

/// The pages of the database.
pub(super) struct Pages {
    pub(super) all: u64,
    pub(super) free: u64,
    /// In bytes.
    pub(super) size: u64,
    /// Whether free pages can be returned in steps.
    pub(super) are_returned: bool,
}

impl Pages {
    fn used(&self) -> u64 {
        self.all.saturating_sub(self.free)
    }
}

pub(super) async fn pages(store: &SqlitePersistenceProvider) -> Result<Pages> {
    let mut script = Script::default();
    script.add(&sql::PAGES, []);
    let done = store.read(script).await?;
    let row = done.first().and_then(|done| done.rows.first());
    let row = row.ok_or_else(|| WfeError::Persistence("SQLite has not counted its pages".to_owned()))?;
    let mut fields = Fields::new(row, "sqlite_schema", "");
    let mut number = |what| Ok::<_, WfeError>(fields.int(what)?.unsigned_abs());
    Ok(Pages {
        all: number("page_count")?,
        free: number("freelist_count")?,
        size: number("page_size")?.max(1),
        are_returned: number("auto_vacuum")? == 2,
    })
}
