//! Runs the subjects alternately. Each run is a process of its own.

use std::{fs, time::Instant};

use wfe_bench_workloads::{Done, Measured, Run};

use crate::{
    arguments::Plan,
    budget::Budget,
    chart, json,
    programs::Program,
    report::{self, Row},
    revision,
    table::{Spec, Subject, WORKLOADS},
};

pub fn run(plan: &Plan) -> Done {
    let specs: Vec<&Spec> = WORKLOADS
        .iter()
        .filter(|spec| plan.only.is_empty() || plan.only.iter().any(|only| only == spec.name))
        .collect();
    let programs = programs(plan, &specs)?;
    if !specs.iter().any(|spec| of(spec, &programs).next().is_some()) {
        return Err("none of these subjects can do any of these workloads, so nothing was measured".into());
    }
    let mut rows = Vec::new();
    for spec in specs {
        rows.extend(Workload::new(plan, spec, &programs).measure()?);
        // After each workload, so that a run that is stopped keeps what it has measured.
        write(plan, &rows)?;
    }
    Ok(())
}

fn write(plan: &Plan, rows: &[Row]) -> Done {
    if let Some(path) = &plan.json {
        json::write(path, rows).map_err(|error| format!("--json {}: {error}", path.display()))?;
    }
    if let Some(folder) = &plan.svg {
        chart::draw(folder, rows).map_err(|error| format!("--svg {}: {error}", folder.display()))?;
    }
    Ok(())
}

/// The builds that are measured, ours first.
fn programs(plan: &Plan, specs: &[&Spec]) -> Done<Vec<Program>> {
    if let Some(revision) = &plan.against {
        let own = Program::of(Subject::Wfe)?;
        let path = revision::build(revision)?;
        let other = Program { label: format!("wfe@{revision}"), path, ..own.clone() };
        // The control: this build against itself shows the ratio that noise alone produces.
        let again = Program { label: "wfe again".to_owned(), ..own.clone() };
        return Ok(vec![own, other, again]);
    }
    let is_measured = |subject: &Subject| {
        let is_requested = plan.subjects.is_empty() || plan.subjects.contains(subject);
        is_requested && specs.iter().any(|spec| spec.subjects.contains(subject))
    };
    Subject::ALL.into_iter().filter(is_measured).map(Program::of).collect()
}

/// One workload, with all of its variants, subjects and numbers of clients.
struct Workload<'a> {
    plan: &'a Plan,
    spec: &'a Spec,
    programs: Vec<&'a Program>,
    clients: &'a [usize],
    budget: Budget,
}

impl<'a> Workload<'a> {
    fn new(plan: &'a Plan, spec: &'a Spec, all: &'a [Program]) -> Self {
        let programs: Vec<_> = of(spec, all).collect();
        let clients = spec.clients.numbers(plan.clients.as_deref());
        // Rows of the same workload share its time.
        let pairs = |spec: &Spec| of(spec, all).count() * spec.parameters.len();
        let of_all = WORKLOADS.iter().filter(|other| other.name == spec.name).map(pairs).sum();
        let runs = pairs(spec) * clients.len() * plan.rounds;
        let budget = Budget::new(spec.lasting.part(pairs(spec), of_all), plan.is_quick, runs);
        Self { plan, spec, programs, clients, budget }
    }

    fn measure(&mut self) -> Done<Vec<Row>> {
        let mut rows = Vec::new();
        if self.programs.is_empty() {
            return Ok(rows);
        }
        for name in self.spec.names() {
            rows.extend(self.variant(&name)?);
        }
        Ok(rows)
    }

    fn variant(&mut self, name: &str) -> Done<Vec<Row>> {
        // Beside the program: where builds are, there is a disk, which cannot be said of the folder for temporary files.
        let own = std::env::current_exe()?;
        let beside = own.parent().ok_or("this program is in no folder")?;
        let scratch = tempfile::Builder::new().prefix("runs").tempdir_in(beside)?;
        let mut orders = Vec::new();
        for (number, program) in self.programs.iter().enumerate() {
            let folder = scratch.path().join(number.to_string());
            fs::create_dir(&folder)?;
            let order = Run {
                subject: program.subject.name().to_owned(),
                workload: name.to_owned(),
                clients: self.clients.iter().copied().max().unwrap_or(1),
                warm_up_ms: 0,
                measured_ms: 0,
                folder,
                prepare: false,
                process: None,
            };
            if self.spec.is_prepared {
                program.prepare(&order)?;
            }
            orders.push(order);
        }
        let mut rows = Vec::new();
        for &clients in self.clients {
            let rounds = self.rounds(&orders, clients)?;
            let of = |at: usize| rounds.iter().map(|round| round[at].clone()).collect::<Vec<_>>();
            let subjects =
                self.programs.iter().enumerate().map(|(at, program)| (program.label.clone(), of(at)));
            let group = report::rows(self.spec, name, clients, subjects.collect());
            group.iter().for_each(Row::print);
            rows.extend(group);
        }
        Ok(rows)
    }

    /// The results of each subject, for each round.
    fn rounds(&mut self, orders: &[Run], clients: usize) -> Done<Vec<Vec<Measured>>> {
        let window = self.budget.window();
        let mut rounds = Vec::with_capacity(self.plan.rounds);
        for round in 0..self.plan.rounds {
            let mut measured: Vec<Option<Measured>> = orders.iter().map(|_| None).collect();
            for at in order(orders.len(), round) {
                let run = Run {
                    clients,
                    warm_up_ms: u64::try_from(window.warm_up.as_millis())?,
                    measured_ms: u64::try_from(window.measured.as_millis())?,
                    ..orders[at].clone()
                };
                let began = Instant::now();
                measured[at] = Some(self.programs[at].measure(&run)?);
                self.budget.spend(window, began.elapsed());
            }
            rounds.push(measured.into_iter().flatten().collect());
        }
        Ok(rounds)
    }
}

/// The programs that a workload has.
fn of<'a>(spec: &Spec, all: &'a [Program]) -> impl Iterator<Item = &'a Program> {
    all.iter().filter(|program| spec.subjects.contains(&program.subject))
}

/// The order of so many subjects in a round. Every second round runs in reverse order, so that no subject always runs after the
/// same other one.
fn order(subjects: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..subjects).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_reversed_in_every_second_round() {
        let rounds: Vec<_> = (0..3).flat_map(|round| order(3, round)).collect();
        assert_eq!(rounds, [0, 1, 2, 2, 1, 0, 0, 1, 2]);
    }
}
