//! How large the store is.

use wfe_core::{Result, WfeError, traits::StoreStatistics};

use super::backup::pages;
use crate::{
    SqlitePersistenceProvider, codec::Fields, file::sidecar_names::WAL, request::Script, sql::upkeep as sql,
};

pub(super) async fn statistics(store: &SqlitePersistenceProvider) -> Result<StoreStatistics> {
    let pages = pages(store).await?;
    let mut script = Script::default();
    script.add(&sql::ROWS, []);
    let done = store.read(script).await?;
    let row = done.first().and_then(|done| done.rows.first());
    let row = row.ok_or_else(|| WfeError::Persistence("SQLite has not counted the rows".to_owned()))?;
    let mut fields = Fields::new(row, "sqlite_schema", "");
    let mut number = |what| Ok::<_, WfeError>(u64::try_from(fields.int(what)?).unwrap_or_default());
    let mut statistics = StoreStatistics::default();
    statistics.location = store.location().name();
    statistics.schema_version = u32::try_from(store.schema_version()).unwrap_or_default();
    statistics.open_instances = number("workflows")?;
    statistics.instances = number("workflows")?;
    statistics.pointers = number("execution_pointers")?;
    statistics.events = number("events")?;
    statistics.unprocessed_events = number("events")?;
    statistics.subscriptions = number("event_subscriptions")?;
    statistics.commands = number("scheduled_commands")?;
    statistics.errors = number("execution_errors")?;
    statistics.bytes = pages.all * pages.size;
    statistics.free_bytes = pages.free * pages.size;
    statistics.oldest_reader = store.oldest_read();
    if let Some(another) = &store.another {
        let log = std::fs::symlink_metadata(another.sidecars.path(WAL));
        statistics.log_bytes = log.map_or(0, |log| log.len());
        statistics.log_pages = another.watch.log_pages();
        statistics.disk_free_bytes = disk_free(another.watch.real());
    }
    Ok(statistics)
}

/// The number of bytes that a program without privileges can still write. `None` means that the system does not say.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the types differ between systems")]
fn disk_free(path: &std::path::Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    Some(u64::from(found.blocks_available()).saturating_mul(found.fragment_size() as u64))
}
