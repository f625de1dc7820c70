use std::fmt;

/// What the store of a host guarantees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantees {
    /// All changes of a step are stored in one transaction. Any number of processes may share the store.
    OneTransactionPerStep,
    /// The store implements only the base traits (those of `PersistenceProvider`).
    ///
    /// * No process other than this host's process may use the store.
    /// * The changes of a step are stored in one transaction, but the failures of the step are stored after
    ///   that transaction.
    /// * Control requests that have not been applied yet are lost when the process ends.
    /// * Each further item of a long for-each costs more than the item before it.
    SingleProcess,
}

impl fmt::Display for Guarantees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneTransactionPerStep => "one transaction per step, any number of processes",
            Self::SingleProcess => {
                "one process; one transaction per step, but failures and pending requests are stored separately"
            }
        })
    }
}
