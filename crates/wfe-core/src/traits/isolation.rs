#[cfg(doc)]
use super::{Claimed, Owner, StepCommit, StepStore};

/// How many times a process that owned the instance has crashed since the last commit of the instance.
///
/// A crash means that the *process* of the owner was killed, aborted, or ended without releasing its instances.
/// A crash counts for each instance of the owner. An owner can also lose an instance without a crash: the
/// [`Owner`] was dropped, it was unresponsive and its instances were taken over, it released the instance, or
/// it lost its sign of life. These losses do not count. Every commit resets the counts to zero, except a commit
/// that stores only [`release`](StepCommit::release) and [`next_execution`](StepCommit::next_execution).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deaths {
    /// The number of crashes in a row, however the instance ran. A store may stop counting at
    /// [`SUSPECT`](Self::SUSPECT).
    pub in_a_row: u32,
    /// The number of crashes while the instance ran alone in its process ([`Isolation::Alone`]).
    pub alone: u32,
    /// The number of crashes while the instance ran, but not alone ([`Isolation::Turn`] and
    /// [`Isolation::Over`]).
    pub beside: u32,
}

impl Deaths {
    /// The number of crashes in a row that makes an instance a suspect: an instance that may be the cause of
    /// the crashes. The number is not 1, because any instance may have caused the first crash, and a suspect
    /// that runs alone delays the other instances.
    pub const SUSPECT: u32 = 2;

    /// Whether the instance may be the cause of the crashes.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.in_a_row >= Self::SUSPECT
    }
}

/// How a suspect runs in its process, so that a crash can be attributed to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// The suspect runs alone: no body of another instance runs in the process. A crash counts as
    /// [`alone`](Deaths::alone).
    Alone,
    /// The suspect has its time slice, and no body of another instance begins. But bodies that began earlier
    /// may still run at the same time, for example the bodies of suspects whose time slice is
    /// [over](Self::Over). A crash counts as [`beside`](Deaths::beside), and makes the instance due before all
    /// others, so that the next process runs it first.
    Turn,
    /// The suspect's time slice is over. The suspect still runs, and bodies of other instances begin again. A
    /// crash counts as [`beside`](Deaths::beside).
    Over,
}
