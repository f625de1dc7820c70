use std::num::NonZeroU32;

use super::{DefinitionVersion, Filter, Paging, Reason, Sure, When, examples};
use clap::{Args, Subcommand};
use serde_json::Value;
use wfe::operator::words;

/// Which instances an action concerns: those that are named, or all that the filter selects.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Ids, prefixes of ids, definition/reference, or names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    /// All instances that the filter selects
    ///
    /// Without --status or --ending, these are only instances that the action can change: suspended ones for resume, failed
    /// ones for retry.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// How an action is done.
#[derive(Debug, Args)]
pub(crate) struct Acting {
    #[command(flatten)]
    pub(crate) reason: Reason,
    /// Only show what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) sure: Sure,
    /// At most this many instances a second, as in 50/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<NonZeroU32>,
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| format!("{text:?} is not a rate; write for example 50/s"))
}

/// An action on instances.
#[derive(Debug, Args)]
pub(crate) struct VerbArgs {
    #[command(flatten)]
    pub(crate) acting: Acting,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// Resume suspended instances from another step
#[derive(Debug, Args)]
#[command(after_help = examples::RESUME_FROM)]
pub(crate) struct ResumeFromArgs {
    /// The stable id of the step
    pub(crate) step: String,
    #[command(flatten)]
    pub(crate) acting: Acting,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// Start new instances like ended ones, with the data that these have now, or with other data
#[derive(Debug, Args)]
#[command(after_help = examples::RESTART)]
pub(crate) struct RestartArgs {
    /// Start with this data: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) acting: Acting,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// Take failures off the list of open ones: they are dealt with
#[derive(Debug, Args)]
#[command(after_help = examples::ACK)]
pub(crate) struct Acknowledgement {
    /// Put the failures on the list again
    #[arg(long)]
    pub(crate) revert: bool,
    #[command(flatten)]
    pub(crate) acting: Acting,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// Delete instances that have ended, and everything that belongs to them
#[derive(Debug, Args)]
#[command(after_help = examples::DELETE)]
pub(crate) struct Deletion {
    #[command(flatten)]
    pub(crate) acting: Acting,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// Start an instance
///
/// A host that has the definition runs it. A start with a reference that is known starts nothing, and shows the instance
/// that was started with it.
#[derive(Debug, Args)]
#[command(after_help = examples::START)]
pub(crate) struct Start {
    /// The definition; the newest version that a host has stored, unless one is given
    #[arg(value_name = "DEF[@V]")]
    pub(crate) definition: DefinitionVersion,
    /// The data: JSON, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,
    /// The reference: at most one instance is started with it
    #[arg(long, value_name = "R")]
    pub(crate) reference: Option<String>,
    /// The name of the instance
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// An attribute by which the instance is found; may be given more than once
    #[arg(long, value_name = "K=V", value_parser = words::attribute)]
    pub(crate) attr: Vec<(String, Value)>,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

/// Publish an event
#[derive(Debug, Args)]
#[command(after_help = examples::PUBLISH)]
pub(crate) struct Publication {
    /// The name of the event
    pub(crate) name: String,
    /// The key of the event
    pub(crate) key: String,
    /// The data: JSON, @FILE, or - for standard input [default: null]
    #[arg(value_name = "DATA", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,
    /// The id of the event: an event with a known id is not published again
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// When the event takes effect: 2h for in two hours, 2026-11-30, or RFC 3339
    #[arg(long, value_name = "T")]
    pub(crate) effective: Option<When>,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// List the open user tasks, oldest first
    #[command(after_help = examples::TASKS_LIST)]
    List {
        /// Only the tasks of this person
        #[arg(long, value_name = "WHO")]
        assignee: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a user task and its options
    #[command(after_help = examples::TASKS_SHOW)]
    Show {
        /// The id of the task, or the instance that waits for it
        id: String,
    },
    #[command(after_help = examples::TASKS_ANSWER)]
    Answer(Answer),
}

/// Answer a user task
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The id of the task, or the instance that waits for it
    pub(crate) id: String,
    /// The chosen option
    pub(crate) option: String,
    /// What to give besides: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActivitiesCommand {
    /// List the open activities, oldest first
    #[command(after_help = examples::ACTIVITIES_LIST)]
    List {
        /// Only activities with this name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Release an activity: the answer of the worker that holds it is refused, and another worker can claim it
    #[command(after_help = examples::ACTIVITIES_RELEASE)]
    Release {
        /// The id of the activity, or the instance that waits for it
        id: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List the schedules
    #[command(after_help = examples::SCHEDULES_LIST)]
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a schedule: when it starts what, in words, and its next five ticks
    #[command(after_help = examples::SCHEDULES_SHOW)]
    Show {
        /// The id of the schedule
        id: String,
    },
    #[command(after_help = examples::SCHEDULES_CREATE)]
    Create(NewSchedule),
    /// Pause a schedule: it starts nothing until it is resumed
    #[command(after_help = examples::SCHEDULES_PAUSE)]
    Pause {
        /// The id of the schedule
        id: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Resume a paused schedule
    #[command(after_help = examples::SCHEDULES_RESUME)]
    Resume {
        /// The id of the schedule
        id: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Start what the schedule starts, now, besides its ticks
    #[command(after_help = examples::SCHEDULES_TRIGGER)]
    Trigger {
        /// The id of the schedule
        id: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Delete a schedule; what it has started goes on
    #[command(after_help = examples::SCHEDULES_DELETE)]
    Delete {
        /// The id of the schedule
        id: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        sure: Sure,
    },
}

/// Create a schedule
#[derive(Debug, Args)]
pub(crate) struct NewSchedule {
    /// The id of the schedule
    pub(crate) id: String,
    /// What it starts: the newest version, unless one is given
    #[arg(value_name = "DEF[@V]")]
    pub(crate) definition: DefinitionVersion,
    /// When: a cron expression, as in "0 3 * * *"
    #[arg(long, value_name = "EXPRESSION", required_unless_present = "every", conflicts_with = "every")]
    pub(crate) cron: Option<String>,
    /// The zone of the cron expression
    #[arg(long, value_name = "ZONE", requires = "cron", default_value = "UTC")]
    pub(crate) cron_zone: String,
    /// When: at this interval, as in 15m
    #[arg(long, value_name = "TIME", value_parser = super::length)]
    pub(crate) every: Option<std::time::Duration>,
    /// The data: JSON, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) data: Option<String>,
    /// Create it paused
    #[arg(long)]
    pub(crate) paused: bool,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

/// Upgrade the store to the schema of this version, after asking
///
/// Make a backup first. Programs with an earlier version of WFE may be unable to open the store afterwards.
#[derive(Debug, Args)]
#[command(after_help = examples::UPGRADE)]
pub(crate) struct Upgrade {
    /// Only show what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) sure: Sure,
}
