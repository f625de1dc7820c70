//! How far the run is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// A plain line at most this often: often enough to see that it goes on, seldom enough for a log file.
const PAUSE: Duration = Duration::from_secs(1);

/// A line on standard error. If nobody reads it any more, there is nobody to tell, and the work goes on.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// What is shown is what is stored, whichever process did it.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Whether this process found the run begun.
    goes_on: bool,
    /// Files done, and when a line last said so; `None`: nothing was shown yet.
    shown: Option<(u64, Instant)>,
}

impl Progress {
    pub fn new(goes_on: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            if let Ok(style) =
                ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left")
            {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, goes_on, shown: None }
    }

    pub fn show(&mut self, done: u64, total: u64) {
        let line = match (&self.bar, self.shown) {
            (Some(bar), shown) => {
                bar.set_length(total);
                bar.set_position(done);
                if shown.is_none() {
                    // What is done already says nothing about the speed.
                    bar.reset_eta();
                }
                None
            }
            (None, None) if self.goes_on => Some(format!("going on: {done} of {total} files are done")),
            (None, None) => Some(format!("{total} files")),
            (None, Some((before, at))) if done != before && at.elapsed() >= PAUSE => {
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
