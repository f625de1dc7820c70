//! Looks for what is wrong with a store, its file and its hosts.

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::{
    Result,
    executor::view,
    traits::{
        AuditFilter, EventFilter, Finding, InstanceState, OpenCount, Query, StoreStatistics, WaitFilter,
        Weight,
    },
};

use super::{
    Operator,
    why::{
        Facts, supported,
        text::{length, plain},
    },
};

/// How many findings of one kind are listed.
const EACH: usize = 10;
/// How many waits are looked at for each name of an activity.
const WAITS: usize = 100;
/// By how much the clock may be behind what is stored.
const SKEW: TimeDelta = TimeDelta::seconds(5);
/// From which size on the log of a store slows its readers down.
const LOG: u64 = 64 << 20;
/// From which size on the log is a danger.
const HUGE_LOG: u64 = 1 << 30;
/// How long a reader of this process may keep its snapshot.
const READER: std::time::Duration = std::time::Duration::from_mins(1);
/// The free disk below which a store cannot be kept running for long.
const DISK: u64 = 256 << 20;
/// The free disk below which the next large commit may fail.
const NO_DISK: u64 = 32 << 20;

/// Findings in the making.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: &'static str, weight: Weight, text: impl Into<String>, advice: &str) {
        self.0.push(Finding::new(code, weight, text, advice));
    }
}

impl Operator {
    /// Looks for what is wrong, or may become wrong, with the store, its file and its hosts. The worst findings come
    /// first; no finding means that nothing was found.
    ///
    /// | code | what was found |
    /// |---|---|
    /// | `no_host` | no host is alive, and instances are open |
    /// | `no_definition` | instances need a version of a definition that no living host has |
    /// | `dead_owner` | a host has died, and its instances wait for another one |
    /// | `overdue` | instances are due for too long |
    /// | `undelivered_event` | an event for which an instance waits is not taken up |
    /// | `stale_claim` | the lease of an activity has run out, and no worker has claimed it again |
    /// | `suspended` | instances are suspended |
    /// | `clock_behind` | the clock is behind what is stored |
    /// | `definition_changed` | a definition was changed, and its version was not |
    /// | `wal_large`, `reader_old`, `disk_full`, `free_space` | the log, the readers, the disk and the free space |
    ///
    /// A store adds what only it can find; the codes of the store on SQLite are documented in its README.
    ///
    /// What a store cannot tell is not looked for.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn doctor(&self) -> Result<Vec<Finding>> {
        let facts = Facts::fresh(self).await?;
        let mut found = Findings(self.seen(self.management.findings().await)?);
        let open = supported(self.open_counts().await)?.unwrap_or_default();
        self.hosts_of(&facts, &open, &mut found).await?;
        self.late(&facts, &open, &mut found).await?;
        self.claims(&facts, &mut found).await?;
        self.clock_of(&facts, &mut found).await?;
        self.changed_definitions(&mut found).await?;
        if let Some(statistics) = supported(self.statistics().await)? {
            size(&statistics, &mut found);
        }
        found.0.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
        Ok(found.0)
    }

    async fn hosts_of(&self, facts: &Facts<'_>, open: &[OpenCount], found: &mut Findings) -> Result<()> {
        let needs_host = |count: &&OpenCount| count.state != InstanceState::Suspended;
        let count: u64 = open.iter().filter(needs_host).map(|count| count.count).sum();
        if facts.hosts.is_none_alive() && count > 0 {
            let is_due = open.iter().any(|count| count.state == InstanceState::Due);
            found.add(
                "no_host",
                if is_due { Weight::Error } else { Weight::Warning },
                format!("no host is alive, and {count} instances are open"),
                "start a program that runs them",
            );
        }
        for (definition, version) in self.without_host(facts).await?.into_iter().take(EACH) {
            let of = |count: &&OpenCount| count.definition == definition && count.version == version;
            let count: u64 = open.iter().filter(needs_host).filter(of).map(|count| count.count).sum();
            found.add(
                "no_definition",
                Weight::Error,
                format!("{count} instances need {} v{version}, and no host has it", plain(&definition)),
                "start a program that has this version",
            );
        }
        for owner in facts.hosts.dead().take(EACH) {
            found.add(
                "dead_owner",
                Weight::Warning,
                format!("host {owner} has died, and its instances wait for another host"),
                "a host that has their definitions takes them within a second; start one, if none is alive",
            );
        }
        Ok(())
    }

    async fn late(&self, facts: &Facts<'_>, open: &[OpenCount], found: &mut Findings) -> Result<()> {
        let oldest = open.iter().filter_map(|count| Some((count.oldest_due?, count)));
        if let Some((due, count)) = oldest.min_by_key(|(due, _)| *due)
            && facts.is_over(due, self.thresholds.due)
        {
            found.add(
                "overdue",
                Weight::Error,
                format!(
                    "{} instances of {} v{} are due, the oldest since {}",
                    count.count,
                    plain(&count.definition),
                    count.version,
                    length(facts.now - due)
                ),
                "see why with `wfe why --stuck`, and what the hosts do with `wfe hosts`",
            );
        }
        let suspended: u64 = open
            .iter()
            .filter(|count| count.state == InstanceState::Suspended)
            .map(|count| count.count)
            .sum();
        if suspended > 0 {
            found.add(
                "suspended",
                Weight::Warning,
                format!("{suspended} instances are suspended"),
                "see their failures with `wfe errors`, and resume them with `wfe resume --all`",
            );
        }
        let filter = EventFilter { unprocessed: true, ..EventFilter::default() };
        let events =
            supported(self.events(&filter, None, WAITS).await)?.map(|page| page.rows).unwrap_or_default();
        let mut count = 0;
        for stored in events.into_iter().filter(|stored| !stored.is_consumed && stored.position.is_some()) {
            let event = stored.event;
            if count == EACH || !facts.is_over(event.event_time, self.thresholds.due) {
                continue;
            }
            let (name, key) = (event.event_name.clone(), Some(event.event_key.clone()));
            let waits = self.waits(Some(&WaitFilter::Event { name, key }), None, 1).await?;
            let Some(wait) = waits.rows.first() else { continue };
            // An instance that waited before the event was published has it by now, unless it stands.
            count += 1;
            found.add(
                "undelivered_event",
                Weight::Warning,
                format!(
                    "the event {}/{} is not taken up since {}",
                    plain(&event.event_name),
                    plain(&event.event_key),
                    length(facts.now - event.event_time)
                ),
                &super::why::text::command(&["why", &wait.subscription.workflow_id]),
            );
        }
        Ok(())
    }

    async fn claims(&self, facts: &Facts<'_>, found: &mut Findings) -> Result<()> {
        let counts = supported(self.task_counts().await)?.unwrap_or_default();
        for name in counts.iter().filter_map(|count| view::activity_name(&count.event_name)).take(EACH) {
            let filter = WaitFilter::Activity { name: name.to_owned() };
            let waits = self.waits(Some(&filter), None, WAITS).await?.rows;
            let ends =
                waits.iter().filter(|wait| wait.is_answerable && wait.subscription.external_token.is_some());
            let over = ends
                .filter_map(|wait| wait.subscription.external_token_expiry)
                .filter(|end| *end <= facts.now);
            let (count, oldest) =
                over.fold((0, None), |(count, oldest): (u32, Option<DateTime<Utc>>), end| {
                    (count + 1, Some(oldest.map_or(end, |oldest| oldest.min(end))))
                });
            let Some(oldest) = oldest.filter(|oldest| facts.is_over(*oldest, self.thresholds.due)) else {
                continue;
            };
            found.add(
                "stale_claim",
                Weight::Warning,
                format!(
                    "the leases of {count} activities {} have run out, the first {} ago, and no worker has claimed them again",
                    plain(name),
                    length(facts.now - oldest)
                ),
                "start a worker that claims them",
            );
        }
        Ok(())
    }

    async fn clock_of(&self, facts: &Facts<'_>, found: &mut Findings) -> Result<()> {
        let newest = supported(self.list(&Query::default(), None, 1).await)?;
        let started = newest.and_then(|window| window.rows.first().map(|row| row.create_time));
        let records = supported(self.audit(&AuditFilter::default(), None, 1).await)?;
        let acted = records.and_then(|page| page.rows.first().map(|record| record.time));
        let Some(newest) = started.max(acted) else { return Ok(()) };
        if newest - facts.now > SKEW {
            found.add(
                "clock_behind",
                Weight::Warning,
                format!("the clock is at least {} behind what is stored", length(newest - facts.now)),
                "set the clock of this machine, or of the one that has stored it; due times are late meanwhile",
            );
        }
        Ok(())
    }

    async fn changed_definitions(&self, found: &mut Findings) -> Result<()> {
        let changed = supported(self.definitions().await)?.unwrap_or_default();
        for view in changed.iter().filter(|view| view.outlines > 1 && !view.open.is_empty()).take(EACH) {
            found.add(
                "definition_changed",
                Weight::Note,
                format!(
                    "{} v{} was changed without a new version, and has open instances",
                    plain(&view.id),
                    view.version
                ),
                "give a changed definition a new version",
            );
        }
        Ok(())
    }
}

/// What the numbers of a store tell.
fn size(statistics: &StoreStatistics, found: &mut Findings) {
    let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
    if statistics.log_bytes >= LOG {
        let pinned = statistics.oldest_reader.filter(|age| *age >= READER);
        let by = pinned.map_or_else(String::new, |age| {
            format!("; a reader of this process pins it for {} s", age.as_secs())
        });
        found.add(
            "wal_large",
            if statistics.log_bytes >= HUGE_LOG { Weight::Error } else { Weight::Warning },
            format!("the log has {} MB{by}", megabytes(statistics.log_bytes)),
            "run `wfe checkpoint`; if the log stays, a reader of some process does not end its transaction",
        );
    } else if let Some(age) = statistics.oldest_reader.filter(|age| *age >= READER) {
        found.add(
            "reader_old",
            Weight::Warning,
            format!("a reader of this process keeps its snapshot for {} s", age.as_secs()),
            "end the long read: the log grows meanwhile",
        );
    }
    if let Some(free) = statistics.disk_free_bytes.filter(|free| *free < DISK.max(statistics.bytes / 10)) {
        found.add(
            "disk_full",
            if free < NO_DISK { Weight::Error } else { Weight::Warning },
            format!(
                "the disk has {} MB free, and the store {} MB",
                megabytes(free),
                megabytes(statistics.bytes)
            ),
            "free some space, or purge what has ended with `wfe purge`",
        );
    }
    if statistics.free_bytes > (64 << 20) && statistics.free_bytes > statistics.bytes / 2 {
        found.add(
            "free_space",
            Weight::Note,
            format!(
                "{} of {} MB are free for reuse",
                megabytes(statistics.free_bytes),
                megabytes(statistics.bytes)
            ),
            "`wfe compact` returns them to the file system",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn codes(change: impl FnOnce(&mut StoreStatistics)) -> Vec<(&'static str, Weight)> {
        let mut statistics = StoreStatistics::default();
        statistics.bytes = 1 << 30;
        statistics.disk_free_bytes = Some(1 << 40);
        change(&mut statistics);
        let mut found = Findings::default();
        size(&statistics, &mut found);
        found.0.iter().map(|finding| (finding.code, finding.weight)).collect()
    }

    #[test]
    fn sizes_become_findings() {
        assert_eq!(codes(|_| ()), []);
        assert_eq!(codes(|it| it.log_bytes = LOG), [("wal_large", Weight::Warning)]);
        assert_eq!(codes(|it| it.log_bytes = HUGE_LOG), [("wal_large", Weight::Error)]);
        assert_eq!(codes(|it| it.oldest_reader = Some(READER)), [("reader_old", Weight::Warning)]);
        assert_eq!(codes(|it| it.oldest_reader = Some(Duration::from_secs(59))), []);
        assert_eq!(codes(|it| it.disk_free_bytes = Some(DISK - 1)), [("disk_full", Weight::Warning)]);
        assert_eq!(codes(|it| (it.bytes, it.disk_free_bytes) = (1 << 10, Some(DISK))), []);
        assert_eq!(codes(|it| it.disk_free_bytes = Some(NO_DISK - 1)), [("disk_full", Weight::Error)]);
        assert_eq!(codes(|it| it.disk_free_bytes = None), []);
        assert_eq!(codes(|it| it.free_bytes = 1 << 29), []);
        assert_eq!(codes(|it| it.free_bytes = (1 << 29) + 1), [("free_space", Weight::Note)]);
    }
}
