use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{DefinitionVersion, Filter, Paging, When, examples, length};

/// List instances, newest first
///
/// Columns: state, id, reference, definition, started, about; also version, name, step, code, message, attempt, failed,
/// waits, due, ended, parent, request, owner, attributes.
///
/// Ends with 1 if a filter was given and nothing matched.
#[derive(Debug, Args)]
#[command(after_help = examples::LIST)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) paging: Paging,
    /// Oldest first
    #[arg(long, conflicts_with_all = ["last_ended", "first_due"])]
    pub(crate) oldest: bool,
    /// Those that ended last first
    #[arg(long, conflicts_with = "first_due")]
    pub(crate) last_ended: bool,
    /// Those that are due first first
    #[arg(long)]
    pub(crate) first_due: bool,
    /// Also list the engine's own instances, such as those of schedules
    #[arg(long)]
    pub(crate) own: bool,
    /// Only count
    #[arg(long, conflicts_with_all = ["after", "columns"])]
    pub(crate) count: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// Show instances: state, why, positions, progress, family, last failure
#[derive(Debug, Args)]
#[command(after_help = examples::SHOW)]
pub(crate) struct Show {
    /// Ids, prefixes of ids, definition/reference, or names
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Also show the data
    #[arg(long)]
    pub(crate) data: bool,
    /// Also show the steps that were run
    #[arg(long)]
    pub(crate) history: bool,
    /// Show everything: data, steps, failed attempts, children, recorded actions
    #[arg(long)]
    pub(crate) all: bool,
}

/// Explain why an instance waits, who can end that, and with which command
///
/// With --event: who waits for this event, and whether it is stored. With --stuck: everything that stands although it
/// should not; ends with 1 if there is none.
#[derive(Debug, Args)]
#[command(after_help = examples::WHY)]
pub(crate) struct Why {
    /// An id, a prefix of an id, definition/reference, or a name
    #[arg(value_name = "ID", required_unless_present_any = ["event", "stuck"])]
    pub(crate) id: Option<String>,
    /// Explain an event instead: its name and key
    #[arg(long, num_args = 2, value_names = ["NAME", "KEY"], conflicts_with_all = ["id", "stuck"])]
    pub(crate) event: Vec<String>,
    /// Explain all instances that are stuck
    #[arg(long, conflicts_with = "id")]
    pub(crate) stuck: bool,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) limit: u16,
}

/// Follow what happens: starts, ends, failures and actions; of given instances also their steps
///
/// Goes on over restarts of hosts, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = examples::TAIL)]
pub(crate) struct Tail {
    /// Only these instances: ids, prefixes of ids, definition/reference, or names
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// Wait for the end of an instance
///
/// Ends with 0 if it completed, with 1 if it ended in another way, with 5 if the time is over.
#[derive(Debug, Args)]
#[command(after_help = examples::WAIT)]
pub(crate) struct WaitArgs {
    /// An id, a prefix of an id, definition/reference, or a name
    pub(crate) id: String,
    /// Wait this long at most, as in 30s or 2h
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) timeout: Option<Duration>,
}

/// Show what is broken: failed and suspended instances, in groups
///
/// With --each: the failed attempts, newest first, or those of the given instance.
#[derive(Debug, Args)]
#[command(after_help = examples::ERRORS)]
pub(crate) struct Errors {
    /// What makes a group
    #[arg(long, value_enum, value_delimiter = ',', value_name = "definition,step,code", default_values = ["definition", "step", "code"], hide_default_value = true, hide_possible_values = true)]
    pub(crate) by: Vec<Group>,
    /// List each failed attempt, of all instances or of this one
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "", conflicts_with = "by")]
    pub(crate) each: Option<String>,
    #[command(flatten)]
    pub(crate) paging: Paging,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Definition,
    Step,
    Code,
}

/// List the definitions that hosts have stored, or show one; compare two versions
#[derive(Debug, Args)]
#[command(after_help = examples::DEFINITIONS)]
pub(crate) struct Definitions {
    /// The definition to show: its steps
    #[arg(value_name = "DEF[@V]")]
    pub(crate) definition: Option<DefinitionVersion>,
    /// Compare these two versions, step by step
    #[arg(long, num_args = 2, value_names = ["V1", "V2"], requires = "definition")]
    pub(crate) diff: Vec<u32>,
}

/// Draw a definition as a flowchart
#[derive(Debug, Args)]
#[command(after_help = examples::GRAPH)]
pub(crate) struct Graph {
    /// The definition; the newest version, unless one is given
    #[arg(value_name = "DEF[@V]", required_unless_present = "of")]
    pub(crate) definition: Option<DefinitionVersion>,
    /// The language of the drawing
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub(crate) format: GraphFormat,
    /// Draw the definition of this instance, and mark where the instance is
    #[arg(long, value_name = "ID", conflicts_with_all = ["definition", "counts"])]
    pub(crate) of: Option<String>,
    /// Show how many instances are at each step
    #[arg(long)]
    pub(crate) counts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// A picture for browsers, light and dark
    Svg,
}

/// Show how large the store is, what is open, and what ended in the last 24 hours
#[derive(Debug, Args)]
#[command(after_help = examples::STATS)]
pub(crate) struct Stats {
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
}

/// List what operators did, newest first
#[derive(Debug, Args)]
#[command(after_help = examples::AUDIT)]
pub(crate) struct AuditArgs {
    /// Only actions on this instance
    #[arg(long, value_name = "ID")]
    pub(crate) of: Option<String>,
    /// Only actions by this actor
    #[arg(long)]
    pub(crate) by: Option<String>,
    /// Only this action, as in resume
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only actions since then
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<When>,
    /// Only actions before then
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<When>,
    #[command(flatten)]
    pub(crate) paging: Paging,
}
