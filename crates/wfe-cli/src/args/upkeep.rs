use std::{path::PathBuf, time::Duration};

use clap::Args;
use clap_complete::Shell;

use super::{
    Reason, Sure, examples,
    filter::{States, ending},
    length,
};

/// Remove instances that ended long ago, and everything that belongs to them
#[derive(Debug, Args)]
#[command(after_help = examples::PURGE)]
pub(crate) struct Purge {
    /// Those that ended longer ago than this, as in 30d
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) older: Duration,
    /// Only those that ended like this: completed, failed, cancelled or terminated
    #[arg(long, value_name = "ENDING,…", value_delimiter = ',', value_parser = ending)]
    pub(crate) ending: Vec<States>,
    /// Only those of this definition
    #[arg(long, value_name = "DEF")]
    pub(crate) definition: Option<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    /// Only show what would be removed
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) sure: Sure,
}

/// Remove events that were dealt with long ago
#[derive(Debug, Args)]
#[command(after_help = examples::PURGE_EVENTS)]
pub(crate) struct PurgeEvents {
    /// Those that are older than this, as in 30d
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) older: Duration,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) sure: Sure,
}

/// Write a copy of the store, while hosts work on it, and check the copy
#[derive(Debug, Args)]
#[command(after_help = examples::BACKUP)]
pub(crate) struct Backup {
    /// The file to write, which must not exist
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

/// Check the store for damage; ends with 1 if there is any
#[derive(Debug, Args)]
#[command(after_help = examples::CHECK)]
pub(crate) struct Check {
    /// Only check the structure of the file, without comparing indexes with tables
    #[arg(long)]
    pub(crate) quick: bool,
}

/// Give free space back to the file system, while hosts work on the store
#[derive(Debug, Args)]
#[command(after_help = examples::COMPACT)]
pub(crate) struct Compact {
    #[command(flatten)]
    pub(crate) reason: Reason,
}

/// Move the write-ahead log into the database
#[derive(Debug, Args)]
#[command(after_help = examples::CHECKPOINT)]
pub(crate) struct Checkpoint {
    /// Wait for readers and writers, and shorten the log to nothing
    #[arg(long)]
    pub(crate) truncate: bool,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

/// Print a script that completes commands and options in a shell
#[derive(Debug, Args)]
#[command(after_help = examples::COMPLETION)]
pub(crate) struct Completion {
    /// The shell
    pub(crate) shell: Shell,
}

/// Print the manual page, or write the pages of all commands to a folder
#[derive(Debug, Args)]
#[command(after_help = examples::MAN)]
pub(crate) struct Man {
    /// The folder, which is created if it is missing
    pub(crate) folder: Option<PathBuf>,
}
