//! What is done to the file: compaction and checkpoints.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wfe_core::{
    Result, WfeError,
    traits::{CheckpointMode, CheckpointReport, CompactReport, Progress},
};

use super::backup::{Pages, pages};
use crate::{
    SqlitePersistenceProvider,
    connection::{
        aside,
        execute::{self, Lent},
    },
    error, metrics,
    request::Script,
    sql::upkeep as sql,
};

/// The wait between two attempts to empty the log.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn compact(
    store: &SqlitePersistenceProvider,
    progress: &dyn Progress,
) -> Result<CompactReport> {
    store.writer.may_write()?;
    let before = pages(store).await?;
    if store.another.is_none() {
        // A database in memory has no file.
        return Ok(CompactReport::default());
    }
    if !before.are_returned {
        return Err(WfeError::Invalid(
            "this database was made by another tool, without auto_vacuum, so it cannot be compacted while it is in use; stop all \
             programs that have it open, and run PRAGMA auto_vacuum = INCREMENTAL; VACUUM in an SQLite tool"
                .to_owned(),
        ));
    }
    let mut now = Pages { ..before };
    while now.free > 0 {
        let returned = before.all.saturating_sub(now.all);
        if progress.advanced(returned, Some(returned + now.free)).is_break() {
            return Err(WfeError::Cancelled);
        }
        let mut script = Script::default();
        script.add(&sql::RETURN_PAGES, []);
        store.writer.run(script).await?;
        now = pages(store).await?;
    }
    let returned = before.all.saturating_sub(now.all);
    if returned > 0 {
        // The file becomes shorter when the log is moved into it.
        checkpoint(store, CheckpointMode::Passive).await?;
    }
    let _ = progress.advanced(returned, Some(returned));
    Ok(CompactReport { freed_bytes: returned * now.size })
}

pub(super) async fn checkpoint(
    store: &SqlitePersistenceProvider,
    mode: CheckpointMode,
) -> Result<CheckpointReport> {
    store.writer.may_write()?;
    let Some(another) = &store.another else { return Ok(CheckpointReport::default()) };
    let mut opened = another.writing().await?;
    let (counts, busy) = (Arc::clone(store.counts()), another.busy);
    let location = another.path.display().to_string();
    let follow = || std::ops::ControlFlow::Continue(());
    aside::run(store.timer.runtime(), "wfe-sqlite-checkpoint", follow, move |runtime, cancel| {
        let failed = |error: error::SqliteError| {
            cancel.or(error::of(&location, error::storage("checkpointing", &Arc::new(error))))
        };
        let end = Instant::now() + busy;
        let report = runtime
            .block_on(execute::lend(&mut opened.connection))
            .map_err(|error| failed(error.into()))
            .and_then(|mut handle| {
                cancel.interrupts(&mut handle);
                let lent = Lent::new(&handle, &counts);
                loop {
                    // Most of the log is moved while writers go on. What is left is moved with the write lock, for which, and
                    // for readers, each attempt waits only for a moment, so that writers never wait long.
                    let mut report =
                        run(&lent, CheckpointMode::Passive).map_err(|error| failed(error.into()))?;
                    if mode == CheckpointMode::Passive {
                        return Ok(report);
                    }
                    match run(&lent, CheckpointMode::Truncate) {
                        Ok(truncated) if !truncated.was_hindered => {
                            // An empty log says nothing of what was in it.
                            report.moved_pages = report.log_pages;
                            return Ok(CheckpointReport { was_hindered: false, log_pages: 0, ..report });
                        }
                        Ok(_) => {}
                        Err(error) => {
                            let error = error::SqliteError::from(error);
                            if !error::is_busy(&error) {
                                return Err(failed(error));
                            }
                        }
                    }
                    cancel.check()?;
                    if Instant::now() >= end {
                        return Err(WfeError::Busy {
                            message: format!(
                                "{location}: a reader or writer kept the log from being emptied for {busy:?}"
                            ),
                            source: None,
                        });
                    }
                    std::thread::sleep(PAUSE);
                }
            });
        opened.close(runtime);
        report
    })
    .await
}

fn run(
    lent: &Lent<'_>,
    mode: CheckpointMode,
) -> std::result::Result<CheckpointReport, wfe_sqlite_handle::Error> {
    let is_passive = mode == CheckpointMode::Passive;
    let mut script = Script::default();
    script.add(if is_passive { &sql::CHECKPOINT } else { &sql::TRUNCATE }, []);
    let timer = metrics::Timer::start();
    // Not as a read: a checkpoint holds no snapshot.
    let done = script
        .statements
        .iter()
        .map(|statement| lent.run(statement, &[]))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    metrics::checkpoint_ended(if is_passive { "passive" } else { "truncate" }, timer);
    let number = |at| {
        let row = done.first().and_then(|done| done.rows.first());
        row.and_then(|row| row.get::<i64>(at).ok())
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or_default()
    };
    let (log_pages, moved_pages) = (number(1), number(2));
    Ok(CheckpointReport { log_pages, moved_pages, was_hindered: number(0) != 0 || moved_pages < log_pages })
}
