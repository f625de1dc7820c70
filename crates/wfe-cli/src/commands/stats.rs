use std::{collections::BTreeMap, time::Duration};

use anstyle::Style;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use wfe::{
    clock::{Clock, SystemClock},
    traits::{OpenCount, StoreStatistics, TimeRange},
};

use crate::{
    app::{App, Session},
    args::Stats,
    failure::{Exit, Result},
    output::{Cell, Listed, Out, Sheet, print, time},
};

/// How often the numbers are read again.
const EVERY: Duration = Duration::from_secs(2);

/// How large the store is, and what goes on.
#[derive(Serialize)]
struct Numbers {
    store: StoreStatistics,
    open: Vec<OpenCount>,
    /// What ended in the last 24 hours.
    ended: Vec<Ended>,
}

#[derive(Serialize)]
struct Ended {
    definition: String,
    ending: String,
    count: u64,
}

pub(crate) async fn stats(app: &App, args: &Stats) -> Result<Exit> {
    let session = app.look().await?;
    let done = if args.watch { watch(app, &session).await } else { once(app, &session).await };
    session.close().await;
    done
}

async fn once(app: &App, session: &Session) -> Result<Exit> {
    let numbers = read(session, app.out.now).await?;
    app.out.object(&numbers, |out| numbers.text(out))?;
    Ok(Exit::Done)
}

async fn watch(app: &App, session: &Session) -> Result<Exit> {
    loop {
        let out = Out { now: SystemClock.now(), ..app.out.clone() };
        let text = read(session, out.now).await?.text(&out);
        // On a terminal the numbers stay in their place: home, and clear what is below.
        print(&if app.out.is_for_people() { format!("\u{1b}[H\u{1b}[J{text}") } else { text })?;
        tokio::select! {
            () = app.interrupt.wait() => return Ok(Exit::Done),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn read(session: &Session, now: DateTime<Utc>) -> Result<Numbers> {
    const DAY: Duration = Duration::from_hours(24);
    let operator = &session.operator;
    let store = operator.statistics().await?;
    let open = operator.open_counts().await?;
    let until = now + TimeDelta::seconds(1);
    let range = TimeRange { from: Some(until - TimeDelta::days(1)), until: Some(until) };
    let mut ended: BTreeMap<(String, String), u64> = BTreeMap::new();
    for count in operator.ended_counts(range, DAY).await? {
        *ended.entry((count.definition, count.ending.to_string())).or_default() += count.count;
    }
    let ended =
        ended.into_iter().map(|((definition, ending), count)| Ended { definition, ending, count }).collect();
    Ok(Numbers { store, open, ended })
}

impl Numbers {
    fn text(&self, out: &Out) -> String {
        let store = &self.store;
        let size = |bytes: u64| Cell::both(time::bytes(bytes), bytes.to_string());
        let mut sheet = Sheet::default();
        sheet.field("store", Cell::text(&store.location));
        sheet.field("schema version", Cell::number(store.schema_version));
        sheet.field("size", size(store.bytes));
        sheet.field("free", size(store.free_bytes));
        sheet.field("log", size(store.log_bytes));
        if let Some(free) = store.disk_free_bytes {
            sheet.field("disk free", size(free));
        }
        for (label, number) in [
            ("open instances", store.open_instances),
            ("instances", store.instances),
            ("pointers", store.pointers),
            ("events", store.events),
            ("unprocessed events", store.unprocessed_events),
            ("subscriptions", store.subscriptions),
            ("failures", store.errors),
        ] {
            sheet.field(label, Cell::number(number));
        }
        let title = |title: &str| out.painted(title, Style::new().bold());
        let mut text = sheet.text(out);
        if !self.open.is_empty() {
            text.extend(["\n", &title("OPEN"), "\n", &out.part(&self.open)]);
        }
        if !self.ended.is_empty() {
            text.extend(["\n", &title("ENDED IN 24 HOURS"), "\n", &out.part(&self.ended)]);
        }
        text
    }
}

impl Listed for OpenCount {
    const COLUMNS: &'static [&'static str] = &["state", "count", "definition", "oldest_due"];
    const SHOWN: usize = 4;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        match column {
            "state" => Out::state(self.state),
            "count" => Cell::number(self.count),
            "definition" => Cell::text(format!("{}@{}", self.definition, self.version)),
            "oldest_due" => out.time(self.oldest_due),
            _ => Cell::default(),
        }
    }
}

impl Listed for Ended {
    const COLUMNS: &'static [&'static str] = &["ending", "count", "definition"];
    const SHOWN: usize = 3;

    fn cell(&self, column: &str, _: &Out) -> Cell {
        match column {
            "ending" => self.ending.parse().map_or_else(|_| Cell::text(&self.ending), Out::state),
            "count" => Cell::number(self.count),
            "definition" => Cell::text(&self.definition),
            _ => Cell::default(),
        }
    }
}
