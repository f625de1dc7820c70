//! Runs the subjects alternately. Each run is a process of its own.

use std::{path::PathBuf, process::Command};

use crate::{
    Done,
    arguments::{Lasting, Plan},
    measure::Measured,
    report::{self, Row},
    revision,
    workload::Workload,
};

/// A build that is measured.
struct Subject {
    name: String,
    program: PathBuf,
}

pub fn run(plan: &Plan) -> Done {
    let own = std::env::current_exe()?;
    let mut subjects = vec![Subject { name: "wfe".to_owned(), program: own.clone() }];
    if let Some(revision) = &plan.against {
        subjects.push(Subject { name: format!("wfe@{revision}"), program: revision::build(revision)? });
        // The control: this build against itself shows the ratio that noise alone produces.
        subjects.push(Subject { name: "wfe again".to_owned(), program: own });
    }
    let mut rows = Vec::new();
    for &workload in &plan.workloads {
        let clients = plan.clients.as_deref().unwrap_or(workload.usual_clients());
        for &clients in clients {
            let runs = in_turn(plan, &subjects, workload, clients)?;
            let of = |at: usize| runs.iter().map(|round| round[at].clone()).collect::<Vec<_>>();
            let rounds = subjects.iter().enumerate().map(|(at, subject)| (subject.name.clone(), of(at)));
            let group = report::rows(workload, clients, rounds.collect());
            group.iter().for_each(Row::print);
            rows.extend(group);
        }
    }
    if let Some(path) = &plan.json {
        report::write_json(path, &rows)?;
    }
    Ok(())
}

/// The results of each subject, for each round. Every second round runs in reverse order, so that no subject always runs
/// after the same other one.
fn in_turn(
    plan: &Plan,
    subjects: &[Subject],
    workload: Workload,
    clients: usize,
) -> Done<Vec<Vec<Measured>>> {
    let mut rounds = Vec::with_capacity(plan.rounds);
    for round in 0..plan.rounds {
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        let mut measured: Vec<Option<Measured>> = subjects.iter().map(|_| None).collect();
        for at in order {
            measured[at] = Some(one(&subjects[at], workload, clients, plan.lasting)?);
        }
        rounds.push(measured.into_iter().flatten().collect());
    }
    Ok(rounds)
}

fn one(subject: &Subject, workload: Workload, clients: usize, lasting: Lasting) -> Done<Measured> {
    let mut command = Command::new(&subject.program);
    command.arg("--one-run").args(["--only", &workload.to_string(), "--clients", &clients.to_string()]);
    let output = command.args(lasting.option()).stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        let name = &subject.name;
        return Err(format!("{name}: {workload} with {clients} clients failed, so there is no report").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
