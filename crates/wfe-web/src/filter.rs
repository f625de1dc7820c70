//! The filter of lists: the words of the command line, as `status:suspended` and `since:2d`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use wfe::{
    operator::words::{self, WrongWord},
    traits::{Order, Query},
};

use crate::{ask::Fields, reply::Failure};

/// The names of the filters, for who adds one.
pub(crate) const NAMES: &str = "status, definition, reference, attr, waits, since, failed-at, code, text";

/// The words of a filter, in their order, each as `name:value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter(pub(crate) Vec<String>);

impl Filter {
    /// Reads the words from the fields `f`, each of which may have several words. A word without a name is a text that is
    /// searched for.
    pub(crate) fn of(fields: &Fields) -> Self {
        let mut words: Vec<String> = Vec::new();
        for word in fields.all("f").flat_map(split) {
            let word = if has_name(&word) { word } else { format!("text:{word}") };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        Self(words)
    }

    /// The fields that stand for the filter.
    pub(crate) fn fields(&self) -> Fields {
        Fields(self.0.iter().map(|word| ("f".to_owned(), quoted(word))).collect())
    }

    /// Without this word.
    pub(crate) fn without(&self, word: &str) -> Self {
        Self(self.0.iter().filter(|of| *of != word).cloned().collect())
    }

    /// The query that the words stand for.
    pub(crate) fn query(&self, now: DateTime<Utc>) -> Result<Query, Failure> {
        let mut query = Query::default();
        for word in &self.0 {
            let (name, value) = word.split_once(':').unwrap_or(("text", word));
            add(&mut query, name, value, now)
                .map_err(|why| Failure::wrong(format!("The filter {word:?}: {why}.")))?;
        }
        query.check()?;
        Ok(query)
    }
}

/// The order that the field `order` names.
pub(crate) fn order(fields: &Fields) -> Order {
    match fields.get("order") {
        Some("oldest") => Order::Oldest,
        Some("last-ended") => Order::LastEnded,
        Some("first-due") => Order::FirstDue,
        _ => Order::Newest,
    }
}

const KNOWN: [&str; 18] = [
    "status",
    "ending",
    "definition",
    "reference",
    "name",
    "id",
    "parent",
    "attr",
    "waits",
    "since",
    "until",
    "ended-since",
    "ended-until",
    "failed-at",
    "code",
    "text",
    "requested",
    "acknowledged",
];

fn has_name(word: &str) -> bool {
    word.split_once(':').is_some_and(|(name, _)| KNOWN.contains(&name))
}

/// Words are separated by spaces; a part in double quotation marks is one word.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word.to_owned() }
}

fn add(query: &mut Query, name: &str, value: &str, now: DateTime<Utc>) -> Result<(), String> {
    if value.is_empty() && !matches!(name, "requested" | "acknowledged") {
        return Err("it lacks a value".to_owned());
    }
    let text = || Some(value.to_owned());
    let wrong = |error: WrongWord| error.to_string();
    match name {
        "status" | "ending" => {
            for word in value.split(',') {
                query.states.extend(words::states(word).map_err(wrong)?);
            }
            query.states.sort_unstable();
            query.states.dedup();
        }
        "definition" => {
            let (id, version) = words::definition(value).map_err(wrong)?;
            (query.definition, query.version) = (Some(id), version);
        }
        "reference" => query.reference = Some(words::reference(value)),
        "name" => query.name = text(),
        "id" => query.id_prefix = text(),
        "parent" => query.parent = text(),
        "attr" => query.attributes.push(words::attribute(value).map_err(wrong)?),
        "waits" => query.waits = Some(words::waits(value).map_err(wrong)?),
        "since" => query.created.from = Some(time(value, now)?),
        "until" => query.created.until = Some(time(value, now)?),
        "ended-since" => query.completed.from = Some(time(value, now)?),
        "ended-until" => query.completed.until = Some(time(value, now)?),
        "failed-at" => query.failed_at = text(),
        "code" => query.code = text(),
        "text" => query.text = text(),
        "requested" => query.requested = true,
        "acknowledged" => query.acknowledged = Some(value != "false"),
        _ => return Err(format!("no filter has this name; the filters are {}", KNOWN.join(", "))),
    }
    Ok(())
}

/// A time: so long ago, a date, or a time of UTC.
fn time(value: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = value.parse::<DateTime<Utc>>() {
        return Ok(time);
    }
    if let Ok(date) = value.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    if let Ok(time) = value.parse::<NaiveDateTime>() {
        return Ok(time.and_utc());
    }
    let wrong =
        || "write 30s, 5m, 2h or 2d ago, a date as 2026-11-30, or a time as 2026-11-30T08:00:00Z".to_owned();
    let unit = value.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = value.split_at(unit);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let length = match unit {
        "s" => TimeDelta::try_seconds(number),
        "m" | "min" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        "w" => TimeDelta::try_weeks(number),
        _ => None,
    };
    length.and_then(|length| now.checked_sub_signed(length)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use wfe::traits::{InstanceState, TextMatch, WaitFilter};

    use super::*;

    fn query(line: &str) -> Result<Query, Failure> {
        let fields = Fields(vec![("f".to_owned(), line.to_owned())]);
        Filter::of(&fields).query("2026-11-30T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_words_are_those_of_the_command_line() {
        let wanted = Query::default;
        let text = |text: &str| Some(text.to_owned());
        let from = "2026-11-28T12:00:00Z".parse().ok();
        for (line, wanted) in [
            ("", wanted()),
            (
                "status:suspended,due",
                Query { states: vec![InstanceState::Due, InstanceState::Suspended], ..wanted() },
            ),
            ("definition:order@3", Query { definition: text("order"), version: Some(3), ..wanted() }),
            (
                "reference:order-*",
                Query { reference: Some(TextMatch::Prefix("order-".to_owned())), ..wanted() },
            ),
            ("attr:level=3", Query { attributes: vec![("level".to_owned(), Value::from(3))], ..wanted() }),
            (
                "since:2d code:x",
                Query { created: wfe::traits::TimeRange { from, until: None }, code: text("x"), ..wanted() },
            ),
            ("Ann", Query { text: text("Ann"), ..wanted() }),
            ("\"text:Ann Weber\"", Query { text: text("Ann Weber"), ..wanted() }),
            ("http://x", Query { text: text("http://x"), ..wanted() }),
            (
                "waits:event:a/b:c",
                Query {
                    waits: Some(WaitFilter::Event { name: "a".to_owned(), key: text("b:c") }),
                    ..wanted()
                },
            ),
        ] {
            assert_eq!(query(line).unwrap(), wanted, "{line}");
        }
        for wrong in ["status:stuck", "since:yesterday", "attr:x", "waits:x", "code:", "since:99999999999d"] {
            assert!(query(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_comes_back_from_its_link() {
        let filter = Filter(vec!["text:a b".to_owned(), "status:due".to_owned(), "attr:k=a&b".to_owned()]);
        let link = filter.fields().link();
        let back = Filter::of(&Fields::query(link.trim_start_matches('?')).unwrap());
        assert_eq!(back, filter);
        assert_eq!(filter.without("status:due").0.len(), 2);
    }
}
