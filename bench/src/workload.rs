//! The workloads that are measured.

use std::{fmt, str::FromStr};

pub mod flow;
pub mod step_cycle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// One step through the plain traits: load an instance, change one pointer, add one, persist.
    StepCycle,
    /// A workflow of three empty steps, from its start until the caller has its outcome.
    Flow,
}

impl Workload {
    pub const ALL: [Self; 2] = [Self::StepCycle, Self::Flow];

    /// The numbers of clients, unless the command line sets others.
    pub fn usual_clients(self) -> &'static [usize] {
        match self {
            Self::StepCycle => &[1, 64],
            Self::Flow => &[64],
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StepCycle => "step-cycle",
            Self::Flow => "flow",
        })
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|workload| workload.to_string() == text);
        named.ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("there is no workload {text:?}; choose {}", all.join(" or "))
        })
    }
}
