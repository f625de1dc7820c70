//! Shows the progress of the run: as a bar on a terminal, otherwise as a line from time to time.

use std::{
    fmt,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// The minimum time between two lines: short enough to show progress, long enough not to flood a log file.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints a line on standard error. If standard error is closed, the line is lost and the work continues.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Shows the progress that is stored in the database, no matter which process made it.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Whether the run had begun before this process started.
    continues: bool,
    /// The last number of files that was shown, and when it was shown. `None` means that nothing was shown yet.
    shown: Option<(u64, Instant)>,
}

impl Progress {
    pub fn new(continues: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            if let Ok(style) =
                ProgressStyle::with_template("{bar:40} {pos}/{len} files, {rate}/s, {eta} left")
            {
                // The rate of the library has four decimals.
                let rate = |state: &ProgressState, f: &mut dyn fmt::Write| {
                    write!(f, "{:.0}", state.per_sec()).ok(); // shows no rate if it cannot be written
                };
                bar.set_style(style.with_key("rate", rate));
            }
            bar
        });
        Self { bar, continues, shown: None }
    }

    pub fn show(&mut self, done: u64, total: u64) {
        let line = match (&self.bar, self.shown) {
            (Some(bar), shown) => {
                bar.set_length(total);
                bar.set_position(done);
                if shown.is_none() {
                    // Files that were hashed before this process started say nothing about its speed.
                    bar.reset_eta();
                }
                None
            }
            (None, None) if self.continues => Some(format!("continuing: {done} of {total} files are done")),
            (None, None) => Some(format!("{total} files")),
            (None, Some((before, at))) if done != before && at.elapsed() >= INTERVAL => {
                Some(format!("{done} of {total} files hashed"))
            }
            (None, Some(_)) => return,
        };
        self.shown = Some((done, Instant::now()));
        if let Some(line) = line {
            say(&line);
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
