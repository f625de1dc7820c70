#[cfg(doc)]
use super::{Claimed, Owner, StepCommit, StepStore};

/// How many times in a row the process of an instance's owner died, without a commit of the instance in
/// between.
///
/// A death is one of the *process* of the owner: it was killed, aborted, or ended without releasing what it
/// had. It counts for each instance of that owner. Other losses are no deaths: the [`Owner`] was dropped, it
/// was frozen and taken over, it gave the instance back, it lost its sign of life. Every commit sets the counts
/// back to zero, except one that stores only [`release`](StepCommit::release) and
/// [`next_execution`](StepCommit::next_execution).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deaths {
    /// All of them. A store may stop counting at [`SUSPECT`](Self::SUSPECT).
    pub in_a_row: u32,
    /// Deaths while the instance ran alone in its process ([`Isolation::Alone`]).
    pub alone: u32,
    /// Deaths while it ran, but not alone ([`Isolation::Turn`] and [`Isolation::Over`]).
    pub beside: u32,
}

impl Deaths {
    /// The number of deaths in a row that makes an instance a suspect, which may be what kills its process. It
    /// is not 1, because the first death may be the fault of any instance, and running alone costs the others
    /// their time.
    pub const SUSPECT: u32 = 2;

    /// Whether the instance may be what kills its process.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.in_a_row >= Self::SUSPECT
    }
}

/// How a suspect runs in its process, so that a death can be attributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Alone: no body of another instance runs in the process. A death counts as its own.
    Alone,
    /// It is the suspect's turn, and nothing else begins; but long bodies run beside it, such as those of
    /// suspects whose turn is [over](Self::Over). A death counts as [`beside`](Deaths::beside), and makes the
    /// instance due before all others, so that the next process runs it first.
    Turn,
    /// The suspect's turn is over; it still runs, and others begin beside it. A death counts as
    /// [`beside`](Deaths::beside).
    Over,
}
