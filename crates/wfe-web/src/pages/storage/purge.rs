//! What a purge would remove.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::html;
use wfe::traits::{Count, InstanceState, InstanceSummary, PurgeFilter, Query, TimeRange};

use crate::{
    ask::{Ask, Fields, segment},
    html::{Page, Sure, ago, empty, moment, num, text},
    reply::{Failure, Reply},
};

/// How long ago something must have ended: the word in the address, its label, and the days.
pub(super) const DISTANCES: [(&str, &str, i64); 6] = [
    ("1d", "1 day", 1),
    ("7d", "7 days", 7),
    ("30d", "30 days", 30),
    ("90d", "90 days", 90),
    ("180d", "180 days", 180),
    ("365d", "1 year", 365),
];
/// Endings by which a purge can be narrowed.
pub(super) const ENDINGS: [InstanceState; 4] = InstanceState::ENDED;
/// Up to which number instances are counted.
const COUNTED: u64 = 1_000_000;
/// So many instances stand for all.
const EXAMPLES: usize = 5;

/// What a purge is to remove.
pub(super) enum Target {
    Instances(PurgeFilter),
    /// Events that were taken up before this time.
    Events(DateTime<Utc>),
}

impl Target {
    /// Reads the fields of a form, or of an address. The time stays the same from the preview to the purge.
    pub(super) fn of(ask: &Ask, fields: &Fields) -> Result<Self, Failure> {
        let before = match (fields.get("before"), fields.get("older")) {
            (Some(before), _) => {
                before.parse().map_err(|_| Failure::wrong("The time of the purge is none."))?
            }
            (None, older) => {
                let days = DISTANCES.iter().find(|(word, ..)| Some(*word) == older).map(|(.., days)| *days);
                ask.now
                    - TimeDelta::days(
                        days.ok_or_else(|| Failure::wrong("Say how long ago what is removed has ended."))?,
                    )
            }
        };
        if before > ask.now {
            return Err(Failure::wrong("What ends in the future cannot be removed."));
        }
        if fields.get("what") == Some("events") {
            return Ok(Self::Events(before));
        }
        let states = match fields.get("ending") {
            Some(ending) => {
                vec![ending.parse::<InstanceState>().map_err(|error| Failure::wrong(error.to_string()))?]
            }
            None => Vec::new(),
        };
        let definition = fields.get("definition").map(str::to_owned);
        let filter = PurgeFilter { states, definition, ..PurgeFilter::before(before) };
        filter.check()?;
        Ok(Self::Instances(filter))
    }

    /// The fields that stand for it.
    fn fields(&self) -> Fields {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let time =
            |before: &DateTime<Utc>| pair("before", &before.to_rfc3339_opts(SecondsFormat::Nanos, true));
        Fields(match self {
            Self::Events(before) => vec![pair("do", "purge"), pair("what", "events"), time(before)],
            Self::Instances(filter) => {
                let mut fields = vec![pair("do", "purge"), time(&filter.before)];
                fields.extend(filter.states.iter().map(|state| pair("ending", state.name())));
                fields.extend(filter.definition.iter().map(|definition| pair("definition", definition)));
                fields
            }
        })
    }

    fn query(filter: &PurgeFilter) -> Query {
        Query {
            states: if filter.states.is_empty() {
                InstanceState::ENDED.to_vec()
            } else {
                filter.states.clone()
            },
            definition: filter.definition.clone(),
            completed: TimeRange { from: None, until: Some(filter.before) },
            include_own: true,
            ..Query::default()
        }
    }

    /// How many instances it would remove. `None` means that this is not known before.
    pub(super) async fn count(&self, ask: &Ask) -> Result<Option<Count>, Failure> {
        match self {
            Self::Instances(filter) => Ok(Some(ask.operator.count(&Self::query(filter), COUNTED).await?)),
            Self::Events(_) => Ok(None),
        }
    }

    async fn examples(&self, ask: &Ask) -> Result<Vec<InstanceSummary>, Failure> {
        match self {
            Self::Instances(filter) => {
                Ok(ask.operator.list(&Self::query(filter), None, EXAMPLES).await?.rows)
            }
            Self::Events(_) => Ok(Vec::new()),
        }
    }

    /// The page that asks whether to remove it: with the number, which has to be typed.
    pub(super) async fn sure(
        &self,
        ask: &Ask,
        count: Option<Count>,
        again: Option<String>,
    ) -> Result<Page, Failure> {
        let back = ask.to("storage");
        if count.is_some_and(|count| count.n == 0) {
            let way = html! { "Nothing is removed. Choose a shorter time, another ending or all definitions: " a href=(back) { "back to the store" } "." };
            return Ok(Page::new("Nothing to purge").body(empty("No instance has ended so long ago.", &way)));
        }
        let before = match self {
            Self::Instances(filter) => filter.before,
            Self::Events(before) => *before,
        };
        let verb = match count {
            Some(Count { n: 1, .. }) => "Delete 1 instance".to_owned(),
            Some(Count { n, is_exact, .. }) => {
                format!("Delete {}{} instances", num(n), if is_exact { "" } else { "+" })
            }
            None => "Delete events".to_owned(),
        };
        let mut examples = Vec::new();
        for row in self.examples(ask).await? {
            let link = ask.to(&format!("instances/{}", segment(&row.id)));
            examples.push(html! { a href=(link) { (text(&crate::pages::instances::called(&row))) } });
        }
        let what = html! {
            @match self {
                Self::Instances(filter) => {
                    b { "They are deleted for good" } ", with their steps, failures, waits and commands: "
                    @if filter.states.is_empty() { "all" } @for state in &filter.states { (state.name()) }
                    @if let Some(definition) = &filter.definition { " of " (text(definition)) }
                    " that ended before " (moment(before)) ". Open instances, outlines that an instance needs, and the audit of a year stay."
                },
                Self::Events(_) => {
                    b { "They are deleted for good" } ": all events that were taken up before " (moment(before)) ", " (ago(ask.now, before))
                    ". Outlines that an instance needs, and the audit of a year stay. How many there are is known when they are removed."
                },
            }
            " It goes on in batches of a few milliseconds, and can be stopped."
        };
        Ok(Sure {
            verb,
            what,
            examples,
            fields: &self.fields(),
            action: ask.to("storage/act"),
            back,
            ends: true,
            typed: count.map(|count| count.n),
            again,
            ..Sure::default()
        }
        .page())
    }
}

/// The page that a purge begins with.
pub(super) async fn preview(ask: Ask) -> Result<Reply, Failure> {
    let target = Target::of(&ask, &ask.query)?;
    let count = target.count(&ask).await?;
    Ok(target.sure(&ask, count, None).await?.into())
}
