//! The filter: options that select instances, the same for every command that has a filter.

use clap::Args;
use serde_json::Value;
use wfe::{
    operator::words::{self, WrongWord},
    traits::{InstanceState, Order, Query, TimeRange, WaitFilter},
};

use super::When;
use crate::{
    failure::{Failure, Result},
    output::Out,
};

/// Selects instances. An instance must match every option that is given.
///
/// Its heading stays for what follows: a command has the filter behind all other options.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filter")]
pub(crate) struct Filter {
    /// Instances in one of these states
    ///
    /// running, due, asleep, waiting, suspended, completed, failed, cancelled, terminated; or open, ended
    #[arg(long, value_name = "STATE,…", value_delimiter = ',', value_parser = states)]
    pub(crate) status: Vec<States>,
    /// Instances that ended like this: completed, failed, cancelled or terminated
    #[arg(long, value_name = "ENDING,…", value_delimiter = ',', value_parser = ending)]
    pub(crate) ending: Vec<States>,
    /// Instances of this definition, or of this version of it
    #[arg(long, value_name = "DEF[@V]")]
    pub(crate) definition: Option<DefinitionVersion>,
    /// The instances with this reference; with `*` at the end, those whose reference begins so
    #[arg(long, value_name = "R[*]")]
    pub(crate) reference: Option<String>,
    /// The instance with this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The children of the instance with this id
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,
    /// Instances with this attribute; may be given more than once
    ///
    /// A value that is a number or true or false is looked for as such; write it in quotation marks for a text.
    #[arg(long, value_name = "K=V", value_parser = words::attribute)]
    pub(crate) attr: Vec<(String, Value)>,
    /// Instances that wait for this: event:NAME[/KEY], activity:NAME, task, timer, child or nobody
    #[arg(long, value_name = "WHAT", value_parser = words::waits)]
    pub(crate) waits: Option<WaitFilter>,
    /// Instances that were started since then: 2d, 2h30m, 2026-11-30 or RFC 3339
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<When>,
    /// Instances that were started before then
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<When>,
    /// Instances that ended since then
    #[arg(long, value_name = "T")]
    pub(crate) ended_since: Option<When>,
    /// Instances that ended before then
    #[arg(long, value_name = "T")]
    pub(crate) ended_until: Option<When>,
    /// Instances that a failure of this step has suspended or ended
    #[arg(long, value_name = "STEP")]
    pub(crate) failed_at: Option<String>,
    /// Instances that a failure with this code has suspended or ended
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Instances with a request that no host has taken up yet
    #[arg(long)]
    pub(crate) requested: bool,
    /// Instances whose data contains this text
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Instances whose failure was (true) or was not (false) acknowledged
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) acknowledged: Option<bool>,
}

/// The states that one word stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct States(pub(crate) Vec<InstanceState>);

/// A definition, and a version of it: `order` or `order@3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefinitionVersion {
    pub(crate) id: String,
    pub(crate) version: Option<u32>,
}

impl std::str::FromStr for DefinitionVersion {
    type Err = WrongWord;

    fn from_str(text: &str) -> Result<Self, WrongWord> {
        words::definition(text).map(|(id, version)| Self { id, version })
    }
}

impl Filter {
    /// The query that the options stand for.
    pub(crate) fn query(&self, out: &Out, include_own: bool) -> Result<Query> {
        let time = |when: Option<When>| {
            when.map(|when| when.ago(out.now, out.zone)).transpose().map_err(Failure::usage)
        };
        let mut states: Vec<InstanceState> = Vec::new();
        for state in self.status.iter().chain(&self.ending).flat_map(|word| &word.0) {
            if !states.contains(state) {
                states.push(*state);
            }
        }
        let query = Query {
            states,
            definition: self.definition.as_ref().map(|it| it.id.clone()),
            version: self.definition.as_ref().and_then(|it| it.version),
            reference: self.reference.as_deref().map(words::reference),
            name: self.name.clone(),
            parent: self.parent.clone(),
            attributes: self.attr.clone(),
            waits: self.waits.clone(),
            created: TimeRange { from: time(self.since)?, until: time(self.until)? },
            completed: TimeRange { from: time(self.ended_since)?, until: time(self.ended_until)? },
            failed_at: self.failed_at.clone(),
            code: self.code.clone(),
            text: self.text.clone(),
            requested: self.requested,
            acknowledged: self.acknowledged,
            order: Order::default(),
            include_own,
            ..Query::default()
        };
        query.check()?;
        Ok(query)
    }
}

fn states(word: &str) -> Result<States, WrongWord> {
    words::states(word).map(States)
}

pub(crate) fn ending(word: &str) -> Result<States, String> {
    let state = InstanceState::ENDED.into_iter().find(|state| state.name() == word);
    state.map(|state| States(vec![state])).ok_or_else(|| {
        let names = InstanceState::ENDED.map(InstanceState::name).join(", ");
        format!("no ending {word:?}; say {names}")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;
    use wfe::traits::TextMatch;

    use super::*;
    use crate::output::Zone;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    fn query(options: &[&str]) -> Result<Query, String> {
        let line = Line::try_parse_from([&["wfe"], options].concat()).map_err(|error| error.to_string())?;
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        line.filter
            .query(&Out::new(false, Some(Zone::Utc), Vec::new(), now), false)
            .map_err(|failure| failure.message.unwrap())
    }

    #[test]
    fn each_option_is_one_field_of_the_query() {
        let wanted = Query::default;
        let text = |text: &str| Some(text.to_owned());
        let from = "2026-11-28T12:00:00Z".parse().ok();
        for (options, wanted) in [
            (&[][..], wanted()),
            (
                &["--status", "suspended,due"],
                Query { states: vec![InstanceState::Suspended, InstanceState::Due], ..wanted() },
            ),
            (&["--status", "open"], Query { states: InstanceState::OPEN.to_vec(), ..wanted() }),
            (
                &["--ending", "failed", "--status", "failed"],
                Query { states: vec![InstanceState::Failed], ..wanted() },
            ),
            (&["--definition", "order@3"], Query { definition: text("order"), version: Some(3), ..wanted() }),
            (&["--definition", "a@b"], Query { definition: text("a@b"), ..wanted() }),
            (
                &["--reference", "order-17"],
                Query { reference: Some(TextMatch::Exact("order-17".to_owned())), ..wanted() },
            ),
            (
                &["--reference", "order-*"],
                Query { reference: Some(TextMatch::Prefix("order-".to_owned())), ..wanted() },
            ),
            (
                &["--attr", "customer=Ann", "--attr", "level=3"],
                Query {
                    attributes: vec![("customer".to_owned(), json!("Ann")), ("level".to_owned(), json!(3))],
                    ..wanted()
                },
            ),
            (
                &["--attr", "level=\"3\""],
                Query { attributes: vec![("level".to_owned(), json!("3"))], ..wanted() },
            ),
            (
                &["--waits", "event:approved/order-17"],
                Query {
                    waits: Some(WaitFilter::Event { name: "approved".to_owned(), key: text("order-17") }),
                    ..wanted()
                },
            ),
            (&["--waits", "nobody"], Query { waits: Some(WaitFilter::Nobody), ..wanted() }),
            (&["--since", "2d"], Query { created: TimeRange { from, until: None }, ..wanted() }),
            (
                &["--ended-until", "2d"],
                Query { completed: TimeRange { from: None, until: from }, ..wanted() },
            ),
            (
                &["--failed-at", "charge", "--code", "declined"],
                Query { failed_at: text("charge"), code: text("declined"), ..wanted() },
            ),
            (&["--acknowledged=false"], Query { acknowledged: Some(false), ..wanted() }),
        ] {
            assert_eq!(query(options).as_ref(), Ok(&wanted), "{options:?}");
        }
    }

    #[test]
    fn a_wrong_filter_is_refused_with_what_would_be_right() {
        let long = "x".repeat(1000);
        for (options, hint) in [
            (["--status", "stuck"], "open or ended"),
            (["--ending", "running"], "terminated"),
            (["--waits", "event:"], "event:NAME"),
            (["--attr", "customer"], "KEY=VALUE"),
            (["--since", "yesterday"], "RFC 3339"),
            (["--definition", "@3"], "order@3"),
            (["--definition", "order@99999999999"], "not a version"),
            (["--text", &long], "512 bytes"),
            (["--text", ""], "512 bytes"),
        ] {
            let error = query(&options).unwrap_err();
            assert!(error.contains(hint), "{options:?}: {error}");
        }
    }
}
