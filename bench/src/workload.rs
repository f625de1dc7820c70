//! What is measured.

use std::{fmt, str::FromStr};

pub mod flow;
pub mod step_cycle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// What the traits of the contract do for a finished step: load, change one pointer, add one, persist.
    StepCycle,
    /// A workflow of three steps that do nothing, from its start to the caller's answer.
    Flow,
}

impl Workload {
    pub const ALL: [Self; 2] = [Self::StepCycle, Self::Flow];

    /// How many clients it is measured with, unless the command line says otherwise.
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
            format!("there is no workload {text:?}; there is {}", all.join(" and "))
        })
    }
}
