//! The command line: what can be written, and its help.

mod actions;
mod dashboard;
mod examples;
mod filter;
mod questions;
mod upkeep;
mod when;

use std::path::PathBuf;

use chrono_tz::Tz;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, builder::styling::AnsiColor};

pub(crate) use actions::{
    Acknowledgement, Acting, ActivitiesCommand, Answer, Deletion, NewSchedule, Publication, RestartArgs,
    ResumeFromArgs, SchedulesCommand, Start, Targets, TasksCommand, Upgrade, VerbArgs,
};
pub(crate) use dashboard::DashboardArgs;
pub(crate) use filter::{DefinitionVersion, Filter};
pub(crate) use questions::{
    AuditArgs, Definitions, Errors, Graph, GraphFormat, Group, List, Show, Stats, Tail, WaitArgs, Why,
};
pub(crate) use upkeep::{Backup, Check, Checkpoint, Compact, Completion, Man, Purge, PurgeEvents};
pub(crate) use when::{When, length};

const STYLES: clap::builder::Styles = clap::builder::Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Looks into a WFE store, and acts on its workflows
///
/// The command works on the file of the store, while hosts work on it too. It needs neither a host nor the definitions of
/// the workflows. Questions change nothing. An instance is named by its id, by a prefix of its id that no other instance
/// has, by its definition and reference as in order/order-17, or by its name.
#[derive(Debug, Parser)]
#[command(name = "wfe", version, styles = STYLES, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = examples::WFE, after_long_help = examples::WFE_LONG)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The file of the store, or its URL, as in `sqlite:file.db`
    #[arg(long, global = true, value_name = "FILE|URL", env = "WFE_DB", hide_env_values = true)]
    pub(crate) db: Option<PathBuf>,
    /// Open the store for reading only: no action is possible
    #[arg(long, global = true)]
    pub(crate) read_only: bool,
    /// Print JSON: one object a line for a list
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print these columns of a list
    #[arg(long, global = true, value_name = "NAME,…", value_delimiter = ',', conflicts_with = "json")]
    pub(crate) columns: Vec<String>,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto, hide_default_value = true)]
    pub(crate) color: Colour,
    /// Show and read times in UTC
    #[arg(long, global = true, conflicts_with = "zone")]
    pub(crate) utc: bool,
    /// Show and read times in this zone, as in Europe/Berlin
    #[arg(long, global = true)]
    pub(crate) zone: Option<Tz>,
    /// Who acts, for the record of actions [default: user@machine]
    #[arg(long = "as", global = true, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// The commands, in the order of the help: questions, actions, upkeep, the command itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(List),
    Show(Show),
    Why(Why),
    Tail(Tail),
    Wait(WaitArgs),
    Errors(Errors),
    Definitions(Definitions),
    Graph(Graph),
    /// List the hosts that work on the store
    #[command(after_help = examples::HOSTS)]
    Hosts,
    Stats(Stats),
    Audit(AuditArgs),
    /// Look for what is wrong with the store, its file and its hosts
    ///
    /// Ends with 1 if there is a finding of weight error.
    #[command(after_help = examples::DOCTOR)]
    Doctor,
    Dashboard(DashboardArgs),

    Start(Start),
    Publish(Publication),
    /// Suspend instances: no step begins any more; running steps finish
    #[command(after_help = examples::SUSPEND)]
    Suspend(VerbArgs),
    /// Resume suspended instances: a failed step is tried again with all its retries
    #[command(after_help = examples::RESUME)]
    Resume(VerbArgs),
    /// Retry failed instances at their failed steps
    #[command(after_help = examples::RETRY)]
    Retry(VerbArgs),
    Restart(RestartArgs),
    /// Resume suspended instances behind the step at which they failed
    #[command(after_help = examples::SKIP)]
    Skip(VerbArgs),
    ResumeFrom(ResumeFromArgs),
    /// Cancel instances: compensate what can be compensated, then end
    #[command(after_help = examples::CANCEL)]
    Cancel(VerbArgs),
    /// Terminate instances: end at once, without compensation
    #[command(after_help = examples::TERMINATE)]
    Terminate(VerbArgs),
    Ack(Acknowledgement),
    /// User tasks: what waits for a person
    #[command(subcommand, after_help = examples::TASKS)]
    Tasks(TasksCommand),
    /// Activities: what waits for an external worker
    #[command(subcommand, after_help = examples::ACTIVITIES)]
    Activities(ActivitiesCommand),
    /// Schedules: what starts workflows by the clock
    #[command(subcommand, after_help = examples::SCHEDULES)]
    Schedules(SchedulesCommand),

    Purge(Purge),
    PurgeEvents(PurgeEvents),
    Delete(Deletion),
    Backup(Backup),
    Check(Check),
    Compact(Compact),
    Checkpoint(Checkpoint),
    Upgrade(Upgrade),

    Completion(Completion),
    Man(Man),
}

/// How many rows of a list are shown, and from where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Paging {
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Go on where a page before ended: its cursor stands at its end
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

impl Paging {
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

/// The same switch for every command that asks first.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sure {
    /// Do not ask
    #[arg(long, short = 'y', action = ArgAction::SetTrue)]
    pub(crate) yes: bool,
}

/// The same option for every command that acts.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reason {
    /// Why, for the record of actions
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Reason {
    pub(crate) fn text(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}
