//! Shows how far a long action has come: a bar on standard error, if that is a terminal.

use std::{
    io::{self, IsTerminal},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt::Interrupt;

/// What takes less time than this needs no bar.
const PATIENCE: Duration = Duration::from_millis(300);

/// A bar that ends the followed call at Ctrl-C.
pub(crate) struct Bar {
    line: ProgressBar,
    begun: Instant,
    interrupt: Interrupt,
}

impl Bar {
    pub(crate) fn new(what: &'static str, interrupt: &Interrupt) -> Self {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg}: {human_pos} {elapsed}") {
            line.set_style(style);
        }
        Self { line, begun: Instant::now(), interrupt: interrupt.clone() }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(self) {
        self.line.finish_and_clear();
    }
}

impl wfe::traits::Progress for Bar {
    fn advanced(&self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        if self.line.is_hidden() && self.begun.elapsed() > PATIENCE && io::stderr().is_terminal() {
            self.line.set_draw_target(ProgressDrawTarget::stderr());
        }
        if let Some(total) = total
            && self.line.length() != Some(total)
        {
            self.line.set_length(total);
            if let Ok(style) = ProgressStyle::with_template("{msg}: {wide_bar} {human_pos}/{human_len} {eta}")
            {
                self.line.set_style(style);
            }
        }
        self.line.set_position(done);
        self.interrupt.flow()
    }
}
