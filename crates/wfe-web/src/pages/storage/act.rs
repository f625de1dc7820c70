//! What is done to the whole store. It asks first; what takes long goes on without the request.

use std::path::PathBuf;

use maud::{Markup, html};
use wfe::{
    operator::ActionKind,
    traits::{CheckDepth, CheckpointMode},
};

use super::{
    jobs::{self, Told, Work},
    purge::Target,
};
use crate::{
    ask::Ask,
    html::{Sure, num, size},
    reply::{Failure, Reply},
};

/// Asks before something is done, or `None` if it was confirmed.
fn ask_first(ask: &Ask, action: &str, verb: &str, what: Markup, more: Markup) -> Option<Reply> {
    if ask.form.get("sure").is_some() {
        return None;
    }
    let sure = Sure {
        verb: verb.to_owned(),
        what,
        fields: &ask.form,
        action: ask.to(action),
        back: ask.to("storage"),
        more,
        ..Sure::default()
    };
    Some(sure.page().into())
}

/// Reads the store, and reports all damage.
pub(super) async fn check(ask: Ask) -> Result<Reply, Failure> {
    let more = html! {
        label.f { "How" select name="depth" { option value="quick" { "quick: the structure" } option value="full" { "full: also that all rows fit together" } } }
    };
    let what = html! { "Reads the store and reports all damage. Nothing is changed. A full check of a large store takes minutes." };
    if let Some(reply) = ask_first(&ask, "storage/check", "Check the store", what, more) {
        return Ok(reply);
    }
    let depth = if ask.form.get("depth") == Some("full") { CheckDepth::Full } else { CheckDepth::Quick };
    let operator = ask.operator.clone();
    jobs::begin(&ask, Work::new(&ask, "Check", "steps", None), |progress| async move {
        let faults = operator.check(depth, &*progress).await?.faults;
        Ok(if faults.is_empty() {
            Told::good("no fault was found")
        } else {
            Told::bad(format!("{} faults", faults.len()), faults)
        })
    })
    .await
}

pub(super) async fn act(ask: Ask) -> Result<Reply, Failure> {
    match ask.form.get("do").unwrap_or("") {
        "backup" => backup(ask).await,
        "compact" => compact(ask).await,
        "checkpoint" => checkpoint(ask).await,
        "purge" => purge(ask).await,
        other => Err(Failure::wrong(format!("There is no action {other:?}."))),
    }
}

async fn backup(ask: Ask) -> Result<Reply, Failure> {
    let location = ask.operator.statistics().await?.location;
    let name = if location == ":memory:" {
        "backup.db".to_owned()
    } else {
        format!("{location}.{}.backup", ask.now.format("%Y-%m-%d-%H%M"))
    };
    let more = html! { label.f { "File on the machine of this dashboard" input name="target" value=(name) required size="48" autocomplete="off"; } };
    let what = html! { "Writes a copy of the store to a file that does not exist yet, and checks it. Hosts go on meanwhile." };
    if let Some(reply) = ask_first(&ask, "storage/act", "Back up the store", what, more) {
        return Ok(reply);
    }
    let target = PathBuf::from(ask.form.get("target").ok_or_else(|| Failure::wrong("Name the file."))?);
    let operator = ask.acting();
    jobs::begin(&ask, Work::new(&ask, "Backup", "pages", Some(ActionKind::Backup)), |progress| async move {
        let report = operator.backup(&target, &*progress).await?;
        Ok(Told::good(format!(
            "{} with {} instances in {}",
            size(report.bytes),
            num(report.instances),
            target.display()
        )))
    })
    .await
}

async fn compact(ask: Ask) -> Result<Reply, Failure> {
    let free = ask.operator.statistics().await?.free_bytes;
    let what = html! { "Returns " (size(free)) " of free pages to the file system, in short steps. Hosts go on meanwhile." };
    if let Some(reply) = ask_first(&ask, "storage/act", "Compact the store", what, html! {}) {
        return Ok(reply);
    }
    let operator = ask.acting();
    jobs::begin(
        &ask,
        Work::new(&ask, "Compaction", "pages", Some(ActionKind::Compact)),
        |progress| async move {
            let report = operator.compact(&*progress).await?;
            Ok(Told::good(format!("{} returned to the file system", size(report.freed_bytes))))
        },
    )
    .await
}

async fn checkpoint(ask: Ask) -> Result<Reply, Failure> {
    let more = html! {
        label.f { "How" select name="mode" { option value="passive" { "without waiting for anybody" } option value="truncate" { "whole, and shorten the log to nothing" } } }
    };
    let what = html! { "Moves the log of the store into the database. A whole one waits for readers and writers, for a short time." };
    if let Some(reply) = ask_first(&ask, "storage/act", "Checkpoint the store", what, more) {
        return Ok(reply);
    }
    let how_far = if ask.form.get("mode") == Some("truncate") {
        CheckpointMode::Truncate
    } else {
        CheckpointMode::Passive
    };
    let operator = ask.acting();
    jobs::begin(&ask, Work::new(&ask, "Checkpoint", "pages", Some(ActionKind::Checkpoint)), |_| async move {
        let report = operator.checkpoint(how_far).await?;
        let moved =
            format!("{} of {} pages are in the database", num(report.moved_pages), num(report.log_pages));
        Ok(Told::good(if report.was_hindered {
            format!("{moved}; a reader or a writer kept it from moving the rest")
        } else {
            moved
        }))
    })
    .await
}

async fn purge(ask: Ask) -> Result<Reply, Failure> {
    let target = Target::of(&ask, &ask.form)?;
    let count = target.count(&ask).await?;
    let is_typed =
        count.is_none_or(|count| ask.form.get("typed").map(str::trim) == Some(&count.n.to_string()));
    if ask.form.get("sure").is_none() || !is_typed {
        let again = ask
            .form
            .get("sure")
            .and(count)
            .map(|count| format!("Nothing was done: type {} to go on.", count.n));
        return Ok(target.sure(&ask, count, again).await?.into());
    }
    let operator = ask.acting();
    let unit = if matches!(target, Target::Events(_)) { "events" } else { "instances" };
    let job = Work::new(&ask, "Purge", unit, Some(ActionKind::Purge))
        .of(count.filter(|count| count.is_exact).map(|count| count.n));
    jobs::begin(&ask, job, |progress| async move {
        let report = match &target {
            Target::Instances(filter) => operator.purge(filter, &*progress).await?,
            Target::Events(before) => operator.purge_events(*before, &*progress).await?,
        };
        let says = format!(
            "{} instances and {} events removed: {} rows",
            num(report.instances),
            num(report.events),
            num(report.rows)
        );
        Ok(if report.more {
            Told::bad(format!("stopped, {says}"), vec!["Purge again to go on.".to_owned()])
        } else {
            Told::good(says)
        })
    })
    .await
}
