#[cfg(doc)]
use super::{Claimed, Owner, StepCommit, StepStore};

/// How often in a row the process of an instance's owner died, with no commit of the instance in between.
///
/// A death is one of the *process* of the owner: killed, aborted, or ended without a word. It counts for each instance that
/// the owner had. What an owner loses in another way is no death: its [`Owner`] was dropped, it was frozen and taken over,
/// it gave the instance back, it lost its sign of life. Every commit sets the counts back to none, but for one that stores
/// nothing but [`release`](StepCommit::release) and [`next_execution`](StepCommit::next_execution).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deaths {
    /// All of them. A store may stop counting at [`SUSPECT`](Self::SUSPECT).
    pub in_a_row: u32,
    /// Those while it ran alone in its process ([`Isolation::Alone`]).
    pub alone: u32,
    /// Those while it ran, but not alone ([`Isolation::Turn`] and [`Isolation::Over`]).
    pub beside: u32,
}

impl Deaths {
    /// From so many deaths in a row on, an instance is a suspect: it may be what kills its process. The first may be
    /// anybody's, and to run alone costs the others their time.
    pub const SUSPECT: u32 = 2;

    /// Whether the instance may be what kills its process.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.in_a_row >= Self::SUSPECT
    }
}

/// How a suspect runs in its process, so that a death of it can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Alone: no body of another instance runs in the process. A death counts as its own.
    Alone,
    /// It is its turn, and nothing else begins; but bodies run beside it that go on for long, such as those of suspects whose
    /// turn is [over](Self::Over). A death counts as [`beside`](Deaths::beside), and makes the instance due before all others,
    /// so that the next process runs it first.
    Turn,
    /// It had its turn and runs on, and others begin beside it. A death counts as [`beside`](Deaths::beside).
    Over,
}
