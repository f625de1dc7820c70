use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::Value;

use crate::{
    definition::{Data, Definition},
    executor::{Effects, Env, Job, Lifecycle, Run},
    models::{ExecutionPointer, WorkflowInstance},
    traits::{Control, ControlRequest, Ending, Fence, Finished, Loaded, StepCommit, StepFailure},
};

/// All that a store would have of one instance, and the bodies that wait to be run.
pub struct World {
    pub definition: Definition,
    pub now: DateTime<Utc>,
    pub instance: WorkflowInstance,
    pub control: Option<ControlRequest>,
    pub ending: Option<Ending>,
    pub cause: Option<StepFailure>,
    pub history: Vec<Finished>,
    pub items: HashMap<String, Vec<Value>>,
    pub failures: Vec<StepFailure>,
    pub commits: Vec<StepCommit>,
    pub events: Vec<Lifecycle>,
    pub run: Option<Run>,
    pub jobs: Vec<Job>,
    pub random: Box<dyn FnMut() -> f64>,
    asked: u64,
}

impl World {
    pub fn new<D: Data>(definition: &Definition, data: &D) -> Self {
        let now = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        let mut instance = definition.instance(data, now).unwrap();
        instance.id = "it".to_owned();
        Self {
            definition: definition.clone(),
            now,
            instance,
            control: None,
            ending: None,
            cause: None,
            history: Vec::new(),
            items: HashMap::new(),
            failures: Vec::new(),
            commits: Vec::new(),
            events: Vec::new(),
            run: None,
            jobs: Vec::new(),
            random: Box::new(|| 0.0),
            asked: 0,
        }
    }

    pub fn loaded(&self) -> Loaded {
        Loaded {
            instance: self.instance.clone(),
            revision: self.commits.len() as u64,
            fence: Fence(1),
            owner: Some(1),
            control: self.control,
            ending: self.ending,
            cause: self.cause.clone(),
            parent: None,
            waits: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    /// Claims and opens the instance, as a host would, and stores what follows at once.
    pub fn open(&mut self) {
        let loaded = self.loaded();
        let control = loaded.control;
        let mut env = Env { now: self.now, random: &mut self.random };
        let mut run = Run::open(&self.definition, loaded, &mut env).unwrap();
        if let Some(request) = control {
            run.control(request, &mut env).unwrap();
        }
        self.run = Some(run);
        self.settle();
    }

    /// The process dies: only what was stored is left.
    pub fn crash(&mut self) {
        self.run = None;
        self.jobs.clear();
    }

    /// Stores what there is to store, and takes up what follows.
    pub fn settle(&mut self) {
        loop {
            let Some(run) = &mut self.run else { return };
            let mut env = Env { now: self.now, random: &mut self.random };
            if let Some(commit) = run.commit(&mut env).unwrap() {
                store(&mut self.instance, &mut self.history, &mut self.items, &commit);
                self.failures.extend(commit.failures.clone());
                if commit.status.is_some() {
                    self.cause.clone_from(&commit.cause);
                    self.ending = commit.ending;
                }
                if commit.applied.is_some() {
                    self.control = None;
                }
                self.commits.push(commit);
            }
            let Effects { jobs, wants, events, cancelled, released } = run.committed(&mut env).unwrap();
            self.jobs.extend(jobs);
            self.events.extend(events.into_iter().map(|e| e.what));
            cancelled.iter().for_each(tokio_util::sync::CancellationToken::cancel);
            if released.is_some() {
                self.run = None;
                return;
            }
            if wants.is_empty() {
                return;
            }
            for want in wants {
                let all = &self.items[&want.container];
                let from = usize::try_from(want.from).unwrap();
                let values = all[from..].iter().take(want.limit.min(5)).cloned().collect();
                run.items(&want.container, want.from, values, &mut env).unwrap();
            }
        }
    }

    /// Runs these waiting bodies to their ends, and stores their results in one commit.
    pub fn finish(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let pointer = job.pointer().to_owned();
            let end = job.run(None).now_or_never().expect("the bodies of these tests never wait");
            let mut env = Env { now: self.now, random: &mut self.random };
            self.run.as_mut().expect("it is open").ended(&pointer, end, &mut env).unwrap();
        }
        self.settle();
    }

    /// The names of the bodies that wait to be run.
    pub fn waiting(&self) -> Vec<&str> {
        self.jobs.iter().map(Job::pointer).collect()
    }

    /// Goes on, one body after the other, until nothing can happen any more; pauses are slept through.
    pub fn play(&mut self) {
        self.play_with(|_| Step::Finish(1));
    }

    /// As [`play`](Self::play); `choose` gets the number of waiting bodies.
    pub fn play_with(&mut self, mut choose: impl FnMut(usize) -> Step) {
        loop {
            if self.run.is_none() {
                let Some(due) = self.instance.next_execution else { return };
                self.now = self.now.max(DateTime::from_timestamp_millis(due).unwrap());
                self.open();
            } else if self.jobs.is_empty() {
                // Pauses while the run is kept.
                self.now = self.run.as_ref().and_then(Run::next_wake).expect("a run that is kept has work");
                self.settle();
            } else {
                match choose(self.jobs.len()) {
                    Step::Finish(count) => {
                        let jobs = self.jobs.drain(..count).collect();
                        self.finish(jobs);
                    }
                    Step::Swap(at) => self.jobs.swap(0, at),
                    Step::Crash => self.crash(),
                }
            }
        }
    }

    /// As a host's caller does it.
    pub fn ask(&mut self, control: Control) {
        self.asked += 1;
        let request = ControlRequest { number: self.asked, control };
        self.control = Some(request);
        match &mut self.run {
            None => self.open(),
            Some(run) => {
                let mut env = Env { now: self.now, random: &mut self.random };
                run.control(request, &mut env).unwrap();
                self.settle();
            }
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub fn pointer(&self, id: &str) -> &ExecutionPointer {
        self.instance.execution_pointers.iter().find(|p| p.id == id).expect("a live pointer")
    }

    pub fn data<D: Data>(&self) -> D {
        serde_json::from_value(self.instance.data.clone()).unwrap()
    }
}

/// What happens next in a play.
pub enum Step {
    /// This many of the waiting bodies end, in one commit.
    Finish(usize),
    /// The first waiting body and this one change places.
    Swap(usize),
    Crash,
}

fn store(
    instance: &mut WorkflowInstance,
    history: &mut Vec<Finished>,
    items: &mut HashMap<String, Vec<Value>>,
    commit: &StepCommit,
) {
    if let Some(status) = commit.status {
        instance.status = status;
    }
    if let Some(next) = commit.next_execution {
        instance.next_execution = next;
    }
    if let Some(data) = &commit.data {
        instance.data = data.clone();
    }
    instance.complete_time = commit.complete_time.or(instance.complete_time);
    for pointer in &commit.upserted {
        match instance.execution_pointers.iter_mut().find(|p| p.id == pointer.id) {
            Some(stored) => *stored = pointer.clone(),
            None => instance.execution_pointers.push(pointer.clone()),
        }
    }
    for pointer in &commit.finished {
        instance.execution_pointers.retain(|p| p.id != pointer.id);
        history.push(Finished { number: history.len() as u64 + 1, pointer: pointer.clone() });
    }
    for list in &commit.items {
        assert!(items.insert(list.container.clone(), list.values.clone()).is_none(), "items are stored once");
    }
}
