//! How far the run is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// A plain line at most this often: often enough to see that it goes on, seldom enough for a log file.
const PAUSE: Duration = Duration::from_secs(1);

/// A line on standard error. If nobody reads it any more, there is nobody to tell, and the work goes on.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

pub struct Progress {
    bar: Option<ProgressBar>,
    done: AtomicU64,
    total: AtomicU64,
    said: Mutex<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            if let Ok(style) =
                ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left")
            {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, done: AtomicU64::new(0), total: AtomicU64::new(0), said: Mutex::new(Instant::now()) }
    }

    /// A run that goes on begins with what is done.
    pub fn resumed(&self, done: u64, total: u64) {
        self.done.store(done, Relaxed);
        self.total.store(total, Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.reset_eta();
        } else {
            say(&format!("going on: {done} of {total} files are done"));
        }
    }

    pub fn listed(&self, total: usize) {
        self.total.store(total as u64, Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
        } else {
            say(&format!("{total} files"));
        }
    }

    pub fn hashed(&self) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= PAUSE {
            *said = Instant::now();
            say(&format!("{done} of {} files hashed", self.total.load(Relaxed)));
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
