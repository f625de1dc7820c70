//! Backup, check, compaction and checkpoint of the store's file.

use wfe::traits::{BackupReport, CheckDepth, CheckpointMode, CheckpointReport, Checkup, CompactReport};

use crate::{
    app::App,
    args::{Backup, Check, Checkpoint, Compact},
    failure::{Exit, Failure, Result},
    output::{safe, time},
    progress::Bar,
};

pub(crate) async fn backup(app: &App, args: &Backup) -> Result<Exit> {
    let session = app.act(args.reason.text()).await?;
    let bar = Bar::new("backup", &app.interrupt);
    let report = session.operator.backup(&args.file, &bar).await;
    bar.finish();
    session.close().await;
    let report = report?;
    let BackupReport { bytes, instances } = report;
    app.out.object(&report, |out| {
        if out.is_for_people() {
            let file = safe::one_line(&args.file.to_string_lossy());
            format!("wrote and checked {file}: {instances} instances, {}\n", time::bytes(bytes))
        } else {
            format!("bytes\t{bytes}\ninstances\t{instances}\n")
        }
    })?;
    Ok(Exit::Done)
}

pub(crate) async fn check(app: &App, args: &Check) -> Result<Exit> {
    let depth = if args.quick { CheckDepth::Quick } else { CheckDepth::Full };
    let session = app.look().await?;
    let bar = Bar::new("check", &app.interrupt);
    let checkup = session.operator.check(depth, &bar).await;
    bar.finish();
    session.close().await;
    let checkup = checkup?;
    let Checkup { faults } = &checkup;
    app.out.object(&checkup, |out| match (faults.is_empty(), out.is_for_people()) {
        (true, true) => "the store is sound\n".to_owned(),
        (true, false) => String::new(),
        (false, _) => faults.iter().map(|fault| safe::one_line(fault) + "\n").collect(),
    })?;
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Nothing })
}

pub(crate) async fn compact(app: &App, args: &Compact) -> Result<Exit> {
    let session = app.act(args.reason.text()).await?;
    let bar = Bar::new("compact", &app.interrupt);
    let report = session.operator.compact(&bar).await;
    bar.finish();
    session.close().await;
    let report = report?;
    let CompactReport { freed_bytes } = report;
    app.out.object(&report, |out| {
        if out.is_for_people() {
            format!("gave {} back to the file system\n", time::bytes(freed_bytes))
        } else {
            format!("freed_bytes\t{freed_bytes}\n")
        }
    })?;
    Ok(Exit::Done)
}

pub(crate) async fn checkpoint(app: &App, args: &Checkpoint) -> Result<Exit> {
    let mode = if args.truncate { CheckpointMode::Truncate } else { CheckpointMode::Passive };
    let session = app.act(args.reason.text()).await?;
    let report = session.operator.checkpoint(mode).await;
    session.close().await;
    let report = report.map_err(Failure::of_action)?;
    let CheckpointReport { log_pages, moved_pages, was_hindered } = report;
    app.out.object(&report, |out| {
        if out.is_for_people() {
            let hindered = if was_hindered { "; somebody who reads or writes hindered the rest" } else { "" };
            format!("moved {moved_pages} pages into the database; the log has {log_pages} pages{hindered}\n")
        } else {
            format!("log_pages\t{log_pages}\nmoved_pages\t{moved_pages}\nwas_hindered\t{was_hindered}\n")
        }
    })?;
    Ok(if was_hindered && args.truncate { Exit::Busy } else { Exit::Done })
}
