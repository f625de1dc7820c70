use std::fmt;

/// What the store below a host can promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantees {
    /// Each step's whole effect is one transaction; any number of processes may share the store.
    OneTransactionPerStep,
    /// The store has only the plain traits: this host must be the only process on it; what a step wrote is one
    /// transaction, but its failures are stored after it; control requests that were not applied yet do not outlive
    /// the process; and a long for-each costs more with each item.
    SingleProcess,
}

impl fmt::Display for Guarantees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneTransactionPerStep => "one transaction per step, any number of processes",
            Self::SingleProcess => {
                "one process; one transaction per step, but its failures and waiting requests are stored apart"
            }
        })
    }
}
