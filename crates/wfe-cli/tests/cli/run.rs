//! Runs the command in a pipe.

use std::process::{Command, Output, Stdio};

use crate::store::{DB, Place};

/// What a command has printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The command has ended with this code. Returns what it has printed.
    #[track_caller]
    pub fn ends(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.out
    }
}

/// The variables by which a machine changes what the command prints. Terminals of a continuous integration
/// (`CI`) are shown colours even if they are dumb.
pub const SETTINGS: [&str; 6] = ["CI", "NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "PAGER", "COLUMNS"];

impl Place {
    /// The command, in this folder, on this store.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wfe"));
        command.current_dir(self.path()).env("WFE_DB", DB).stdin(Stdio::null());
        for name in SETTINGS {
            command.env_remove(name);
        }
        command.env("USER", "ann").env("TZ", "UTC");
        command
    }

    /// Runs the command with these words.
    pub fn wfe<'a>(&self, words: impl AsRef<[&'a str]>) -> Ran {
        Ran::of(self.command().args(words.as_ref()).output().unwrap())
    }
}

impl Place {
    /// Runs a line of a shell, in which `wfe` is the command.
    pub fn shell(&self, line: &str) -> Ran {
        let wfe = self.command();
        let mut shell = Command::new("sh");
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_wfe")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path)));
        shell.args(["-c", line]).current_dir(self.path()).stdin(Stdio::null());
        for (name, value) in wfe.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Ran::of(shell.env("PATH", path.unwrap()).output().unwrap())
    }
}

/// The words of a line; words in single quotation marks may have spaces.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
