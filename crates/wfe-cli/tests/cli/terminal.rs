//! Runs the command on a terminal.

use std::{
    io::{Read, Write},
    process::Child,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use pty_process::{
    Size,
    blocking::{Command, Pty, open},
};

use crate::store::{DB, Place};

/// How long a condition may take to come true on a loaded machine before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A command that runs on a terminal.
pub struct Terminal {
    child: Child,
    pty: Pty,
    bytes: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Place {
    /// Runs the command on a terminal of this size, without a pager.
    pub fn terminal(&self, rows: u16, columns: u16, words: &[&str]) -> Terminal {
        self.terminal_with(rows, columns, words, &[("PAGER", "")])
    }

    pub fn terminal_with(
        &self,
        rows: u16,
        columns: u16,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Terminal {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        // By default, Ctrl-C discards what the terminal has not shown yet, which may be the answer to it.
        let mut modes = rustix::termios::tcgetattr(&pty).unwrap();
        modes.local_modes |= rustix::termios::LocalModes::NOFLSH;
        rustix::termios::tcsetattr(&pty, rustix::termios::OptionalActions::Now, &modes).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wfe")).args(words).current_dir(self.path());
        for name in crate::run::SETTINGS {
            command = command.env_remove(name);
        }
        command = command.env("WFE_DB", DB).env("TZ", "UTC").env("TERM", "xterm").env("USER", "ann");
        for (name, value) in variables {
            command = command.env(name, value);
        }
        let child = command.spawn(pts).unwrap();
        let (sender, bytes) = channel();
        let mut reader = std::fs::File::from(rustix::io::dup(&pty).unwrap());
        // At the end of the command, reading from its terminal fails.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, pty, bytes, seen: Vec::new() }
    }
}

impl Terminal {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).replace("\r\n", "\n")
    }

    /// Waits until the terminal shows this text.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.text().contains(text) {
            match self.bytes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} does not come:\n{}", self.text())
                }
            }
        }
    }

    /// Types this text.
    pub fn send(&mut self, text: &str) {
        self.pty.write_all(text.as_bytes()).unwrap();
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&mut self) {
        self.send("\u{3}");
    }

    /// Waits for the end. Returns the exit code, and all that the terminal has shown, with escape sequences.
    pub fn raw(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        while let Ok(bytes) = self.bytes.recv_timeout(PATIENCE) {
            self.seen.extend(bytes);
        }
        (code, self.text())
    }

    /// Like [`raw`](Self::raw), without escape sequences.
    pub fn end(self) -> (i32, String) {
        let (code, text) = self.raw();
        (code, anstream::adapter::strip_str(&text).to_string())
    }
}
