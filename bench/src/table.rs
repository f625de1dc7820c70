//! The workloads: their parameters, numbers of clients and subjects. What is not in the list of a workload's subjects cannot do
//! it, or could not without work that would change the result.

use std::time::Duration;

/// Who is measured. The first one, ours, is the one to which ratios refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Wfe,
    /// `wfe-sqlite` as published before, and its host.
    Published,
    /// SQLite on one thread with group commit and cached statements: the same logical writes, no reads.
    Ceiling,
    /// The same, and it reads what it changes.
    CeilingWithLoads,
    Durare,
    Duroxide,
}

pub struct Spec {
    /// The name without a parameter.
    pub name: &'static str,
    /// What stands behind the slash, for each variant. Empty: there are no variants. An empty text: nothing stands there.
    pub parameters: &'static [&'static str],
    pub clients: Clients,
    pub subjects: &'static [Subject],
    /// Whether files are prepared once for all runs of a variant.
    pub is_prepared: bool,
    pub chart: Chart,
    pub lasting: Lasting,
}

/// The numbers of clients, unless the command line sets others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Usual,
    /// Always 1: the workload has no clients.
    None,
    Many,
}

/// What the chart of a workload shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    Speed,
    /// The median and the longest time.
    Times,
}

/// How long the runs of a workload last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// As long as the command line and the [budget](crate::budget) allow. With `--quick`, all runs together fit into this time.
    Within(Duration),
    /// Always so long.
    Exactly(Duration),
}

const USUAL_CLIENTS: &[usize] = &[1, 16, 64, 256];
const MANY_CLIENTS: &[usize] = &[64];
const NO_CLIENTS: &[usize] = &[1];

/// Less than the three minutes that a quick run of one workload may take: a busy machine needs a reserve.
const QUICK: Lasting = Lasting::Within(Duration::from_secs(100));
/// The same for a workload that may take ten minutes.
const LONG: Lasting = Lasting::Within(Duration::from_secs(400));
const MINUTE: Lasting = Lasting::Exactly(Duration::from_mins(1));

const OWN: &[Subject] = &[Subject::Wfe];
const OWN_AND_CEILING: &[Subject] = &[Subject::Wfe, Subject::Ceiling];
const STORES: &[Subject] = &[Subject::Wfe, Subject::Published, Subject::Ceiling];
const CYCLES: &[Subject] = &[Subject::Wfe, Subject::Published, Subject::Ceiling, Subject::CeilingWithLoads];
const ENGINES: &[Subject] =
    &[Subject::Wfe, Subject::Published, Subject::Ceiling, Subject::Durare, Subject::Duroxide];

const fn spec(name: &'static str, subjects: &'static [Subject]) -> Spec {
    Spec {
        name,
        parameters: &[""],
        clients: Clients::Usual,
        subjects,
        is_prepared: false,
        chart: Chart::Speed,
        lasting: QUICK,
    }
}

const POINTERS: &[&str] = &["1", "10", "100", "1000", "10000"];
const COLD: &[&str] = &["1/cold", "10/cold", "100/cold", "1000/cold", "10000/cold"];
const CACHED: &[&str] = &["1/cached", "10/cached", "100/cached", "1000/cached", "10000/cached"];
const OTHERS: &[&str] = &["1000", "100000", "1000000"];
const WAKE: &[&str] = &[
    "start/same",
    "start/other",
    "start/crowd",
    "event/same",
    "event/other",
    "event/crowd",
    "timer/same",
    "timer/other",
    "timer/crowd",
];

/// All workloads. Variants of one workload that have other subjects stand in a row of their own.
pub const WORKLOADS: &[Spec] = &[
    spec("create", STORES),
    Spec { parameters: POINTERS, is_prepared: true, ..spec("persist", STORES) },
    // Only ours keeps copies of what it has read.
    Spec { parameters: CACHED, is_prepared: true, ..spec("load", OWN) },
    Spec { parameters: COLD, is_prepared: true, ..spec("load", STORES) },
    spec("step-cycle", CYCLES),
    spec("commit-step", OWN_AND_CEILING),
    spec("event", STORES),
    spec("schedule", STORES),
    Spec { parameters: OTHERS, is_prepared: true, ..spec("runnable", STORES) },
    Spec { parameters: OTHERS, is_prepared: true, ..spec("runnable-events", STORES) },
    Spec { is_prepared: true, ..spec("mixed", STORES) },
    spec("flow", ENGINES),
    Spec { parameters: &["memory"], ..spec("flow", &[Subject::Wfe, Subject::Published, Subject::Duroxide]) },
    Spec { clients: Clients::None, ..spec("for-each", OWN) },
    Spec { is_prepared: true, ..spec("fan-in", OWN) },
    Spec {
        parameters: WAKE,
        clients: Clients::None,
        is_prepared: true,
        chart: Chart::Times,
        ..spec("wake", OWN)
    },
    Spec { parameters: &["0", "100000", "1000000"], is_prepared: true, lasting: LONG, ..spec("growth", OWN) },
    Spec { clients: Clients::None, is_prepared: true, chart: Chart::Times, ..spec("sleepers", OWN) },
    Spec { clients: Clients::None, chart: Chart::Times, ..spec("timers", OWN) },
    Spec { parameters: &["2", "4", "8"], clients: Clients::None, ..spec("processes", STORES) },
    Spec { clients: Clients::Many, lasting: MINUTE, ..spec("soak", OWN_AND_CEILING) },
];

impl Spec {
    /// The names of the variants.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.parameters.iter().map(|parameter| match *parameter {
            "" => self.name.to_owned(),
            parameter => format!("{}/{parameter}", self.name),
        })
    }
}

impl Lasting {
    /// The share of this time that so many of all variants of a workload have.
    pub fn part(self, own: usize, all: usize) -> Self {
        let [own, all] = [own, all.max(1)].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        match self {
            Self::Within(limit) => Self::Within(limit * own / all),
            Self::Exactly(_) => self,
        }
    }
}

impl Clients {
    /// The numbers of clients, if the command line has set `set`.
    pub fn numbers(self, set: Option<&[usize]>) -> &[usize] {
        match self {
            Self::None => NO_CLIENTS,
            Self::Usual => set.unwrap_or(USUAL_CLIENTS),
            Self::Many => set.unwrap_or(MANY_CLIENTS),
        }
    }
}

impl Subject {
    pub const ALL: [Self; 6] =
        [Self::Wfe, Self::Published, Self::Ceiling, Self::CeilingWithLoads, Self::Durare, Self::Duroxide];

    pub fn name(self) -> &'static str {
        match self {
            Self::Wfe => "wfe",
            Self::Published => "published",
            Self::Ceiling => "ceiling",
            Self::CeilingWithLoads => "ceiling+load",
            Self::Durare => "durare",
            Self::Duroxide => "duroxide",
        }
    }

    /// The folder of the peer's workspace under `peers/`. `None`: it is in this program.
    pub fn peer(self) -> Option<&'static str> {
        match self {
            Self::Wfe => None,
            Self::CeilingWithLoads => Some("ceiling"),
            _ => Some(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_spelled_with_their_parameters_behind_slashes() {
        let names: Vec<String> = WORKLOADS.iter().flat_map(Spec::names).collect();
        for name in [
            "create",
            "persist/1",
            "persist/1000",
            "persist/10000",
            "load/1000/cold",
            "load/1000/cached",
            "step-cycle",
            "commit-step",
            "event",
            "schedule",
            "runnable/1000000",
            "runnable-events/1000000",
            "mixed",
            "flow",
            "flow/memory",
            "for-each",
            "fan-in",
            "growth/0",
            "growth/1000000",
            "sleepers",
            "timers",
            "processes/8",
            "soak",
        ] {
            assert!(names.iter().any(|other| other == name), "{name} is not there");
        }
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "each variant is there once");
    }

    #[test]
    fn our_subject_has_every_workload() {
        let own: Vec<&str> = crate::subject::works().iter().map(|work| work.name).collect();
        for spec in WORKLOADS {
            assert_eq!(spec.subjects[0], Subject::Wfe, "{}", spec.name);
            assert!(own.contains(&spec.name), "{}", spec.name);
        }
        assert!(own.iter().all(|name| WORKLOADS.iter().any(|spec| spec.name == *name)));
    }

    #[test]
    fn a_workload_without_clients_has_one_whatever_the_command_line_says() {
        assert_eq!(Clients::None.numbers(Some(&[7, 8])), [1]);
        assert_eq!(Clients::Usual.numbers(Some(&[7, 8])), [7, 8]);
        assert_eq!(
            (Clients::Usual.numbers(None), Clients::Many.numbers(None)),
            (&[1, 16, 64, 256][..], &[64][..])
        );
    }
}
