use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::event_stream::Stream;
use crate::{
    definition::{AnyDefinition, Data, Registry},
    executor::{Effects, Env, Job, Lifecycle, Run, Surroundings, contradiction, lost_waits, reopen},
    limits,
    models::{Event, EventSubscription, ExecutionPointer, WorkflowInstance, WorkflowStatus},
    steps::StepError,
    traits::{
        Control, ControlRequest, Ending, Fence, Finished, Intervention, Loaded, StepCommit, StepFailure,
    },
};

/// Everything that a store would keep of one instance, and the bodies that wait to be run.
pub struct World {
    pub definition: AnyDefinition,
    pub now: DateTime<Utc>,
    pub instance: WorkflowInstance,
    pub attributes: Map<String, Value>,
    pub parent: Option<String>,
    pub retried: Option<DateTime<Utc>>,
    pub control: Option<ControlRequest>,
    pub ending: Option<Ending>,
    pub cause: Option<StepFailure>,
    pub history: Vec<Finished>,
    pub items: HashMap<String, Vec<Value>>,
    pub waits: Vec<EventSubscription>,
    /// All subscriptions that were ever opened.
    pub all_waits: HashMap<String, EventSubscription>,
    /// The children, as far as a retry needs them.
    pub children: HashMap<String, Loaded>,
    pub stream: Rc<RefCell<Stream>>,
    /// The events that external systems will publish, each with its time.
    pub planned: Vec<(DateTime<Utc>, Event)>,
    /// The control requests that callers will make, each with its time.
    pub asks: Vec<(DateTime<Utc>, Control)>,
    /// The interventions that an operator will make, each with its time.
    pub interventions: Vec<(DateTime<Utc>, Intervention)>,
    /// The claims that workers will make, each with its time and the subscription.
    pub claims: Vec<(DateTime<Utc>, String)>,
    /// The subscriptions that accept no claims and answers any more.
    pub unanswerable: Vec<String>,
    /// The times at which an operator will retry the instance.
    pub retries: Vec<DateTime<Utc>>,
    pub failures: Vec<StepFailure>,
    pub commits: Vec<StepCommit>,
    pub events: Vec<Lifecycle>,
    pub run: Option<Run>,
    pub jobs: Vec<Job>,
    /// The bodies that never end by themselves. Each is given by the number of its job and its token. When the token is
    /// cancelled, the body is dropped.
    pub endless: Vec<(u64, CancellationToken)>,
    pub random: Box<dyn FnMut() -> f64>,
    /// The process dies right after this many commits.
    pub dies_after: Option<usize>,
    pub registry: Rc<Registry>,
    /// The ids of the other instances that were woken.
    pub woken: Vec<String>,
    /// The pointers for whose waits the store was searched for events after a commit. An empty string stands for all
    /// pointers.
    pub looked_for: Vec<String>,
    /// How often items were read from the store.
    pub reads: usize,
    /// Whether the bodies end in the order of their names. Otherwise, they end in the order in which the executor
    /// returned them.
    pub sorted: bool,
    /// Whether items that were read are held back until the test calls [`read`](Self::read).
    pub reads_slowly: bool,
    /// The items that were read and are held back: their container, their position, and their values.
    pub reading: Vec<(String, u64, Vec<Value>)>,
    /// Tells which commits the store will never accept, although their values are within the limits.
    pub refuses: fn(&StepCommit) -> bool,
    asked: u64,
}

impl World {
    pub fn new<D: Data>(definition: &AnyDefinition, data: &D) -> Self {
        let now = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        let mut instance = definition.instance(data, now).unwrap();
        instance.id = "it".to_owned();
        Self::with_instance(definition, instance, now)
    }

    pub fn with_instance(definition: &AnyDefinition, instance: WorkflowInstance, now: DateTime<Utc>) -> Self {
        Self {
            definition: definition.clone(),
            now,
            instance,
            attributes: Map::new(),
            parent: None,
            retried: None,
            control: None,
            ending: None,
            cause: None,
            history: Vec::new(),
            items: HashMap::new(),
            waits: Vec::new(),
            all_waits: HashMap::new(),
            children: HashMap::new(),
            stream: Rc::default(),
            planned: Vec::new(),
            asks: Vec::new(),
            interventions: Vec::new(),
            claims: Vec::new(),
            unanswerable: Vec::new(),
            retries: Vec::new(),
            failures: Vec::new(),
            commits: Vec::new(),
            events: Vec::new(),
            run: None,
            jobs: Vec::new(),
            endless: Vec::new(),
            random: Box::new(|| 0.0),
            dies_after: None,
            registry: Rc::default(),
            woken: Vec::new(),
            looked_for: Vec::new(),
            reads: 0,
            sorted: false,
            reads_slowly: false,
            reading: Vec::new(),
            refuses: |_| false,
            asked: 0,
        }
    }

    pub fn loaded(&self) -> Loaded {
        Loaded {
            instance: self.instance.clone(),
            revision: self.commits.len() as u64,
            fence: Fence(1),
            owner: Some(1),
            control: self.control.clone(),
            ending: self.ending,
            cause: self.cause.clone(),
            parent: self.parent.clone(),
            retried: self.retried,
            restart_of: None,
            restarted_as: None,
            attributes: self.attributes.clone(),
            waits: self.waits.clone(),
            deliveries: self.stream.borrow().deliveries(&self.waits, self.now),
        }
    }

    /// Claims and opens the instance as a host would. Then stores the changes that follow immediately.
    pub fn open(&mut self) {
        let loaded = self.loaded();
        let control = loaded.control.clone();
        let definition = self.definition.clone();
        let run = self.with_env(|env| {
            let mut run = Run::open(&definition, loaded, env).unwrap();
            if let Some(request) = control {
                run.control(request, env).unwrap();
            }
            run
        });
        self.run = Some(run);
        self.settle();
    }

    pub fn with_env<T>(&mut self, f: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let definition = |id: &str, version: Option<u32>| self.registry.find(id, version).cloned();
        f(&mut Env { now: self.now, random: &mut self.random, definition: &definition })
    }

    /// Calls `f` with the open run, and with the environment that the run needs.
    pub fn with_run<T>(&mut self, f: impl FnOnce(&mut Run, &mut Env<'_>) -> T) -> T {
        let mut run = self.run.take().expect("it is open");
        let result = self.with_env(|env| f(&mut run, env));
        self.run = Some(run);
        result
    }

    /// The process dies: only the stored state is left.
    pub fn crash(&mut self) {
        self.run = None;
        self.jobs.clear();
        self.endless.clear();
        self.reading.clear();
    }

    /// Stores all changes that are not stored yet, and carries out the effects of each commit.
    pub fn settle(&mut self) {
        self.try_settle().unwrap();
    }

    fn try_settle(&mut self) -> crate::Result<()> {
        loop {
            if self.run.is_none() {
                return Ok(());
            }
            if let Some(commit) = self.with_run(advanced)? {
                if (self.refuses)(&commit) {
                    self.refuse()?;
                    continue;
                }
                self.store(commit);
                if self.dies_after == Some(self.commits.len()) {
                    self.crash();
                    return Ok(());
                }
            }
            let effects = self.with_run(Run::committed)?;
            let Effects {
                jobs,
                requests,
                events,
                cancelled,
                released,
                listen,
                waits,
                again,
                wakes,
                consumed: _,
            } = effects;
            self.woken.extend(wakes);
            if listen {
                let pointer = |wait: &String| wait.split("//").nth(1).unwrap().to_owned();
                self.looked_for.extend(waits.iter().flatten().map(pointer));
                self.looked_for.extend(waits.is_none().then(String::new));
            }
            for job in jobs {
                self.with_run(|run, env| run.begun(job.pointer(), job.number(), env));
                let others = self.waiting();
                assert!(!others.contains(&job.pointer()), "{} runs twice at once: {others:?}", job.pointer());
                self.jobs.push(job);
            }
            self.events.extend(events.into_iter().map(|e| e.what));
            cancelled.iter().for_each(CancellationToken::cancel);
            if released.is_some() {
                self.run = None;
                return Ok(());
            }
            let mut deliveries = self.stream.borrow().deliveries(&self.waits, self.now);
            if let Some(waits) = waits {
                deliveries.retain(|delivery| waits.contains(&delivery.subscription_id));
            }
            let mut goes_on = again || (!requests.is_empty() && !self.reads_slowly);
            if listen {
                goes_on |= self.decide()?;
                goes_on |= self.with_run(|run, env| run.deliver(deliveries, env))?;
            }
            for request in requests {
                self.reads += 1;
                let all = self.items.get(&request.container).expect("items that are wanted are stored");
                let from = usize::try_from(request.from).unwrap();
                let values = all[from..].iter().take(request.limit.min(5)).cloned().collect();
                self.reading.push((request.container, request.from, values));
            }
            if !self.reads_slowly {
                self.let_in()?;
            }
            let (over, endless) =
                std::mem::take(&mut self.endless).into_iter().partition(|(_, t)| t.is_cancelled());
            self.endless = endless;
            let over: Vec<(u64, CancellationToken)> = over;
            for (job, _) in over {
                goes_on |= self.with_run(|run, _| run.body_over(job))?;
            }
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Tells the run which waits the last commit has closed to answers.
    fn decide(&mut self) -> crate::Result<bool> {
        let closed = self.unanswerable.clone();
        self.with_run(|run, env| run.decided(&closed, env))
    }

    /// Gives the run the items that were read and held back.
    pub fn read(&mut self) {
        self.let_in().unwrap();
        self.settle();
    }

    fn let_in(&mut self) -> crate::Result<()> {
        for (container, from, values) in std::mem::take(&mut self.reading) {
            self.with_run(|run, env| run.items(&container, from, values, env))?;
        }
        Ok(())
    }

    /// Does what a host does if the store will never accept a commit.
    fn refuse(&mut self) -> crate::Result<()> {
        let reason = StepError::fatal("refused").with_code(StepError::UNSTORABLE);
        if self.with_run(|run, env| run.refused(&reason, env))? {
            return Ok(());
        }
        let at_work = self.with_run(|run, _| run.leave_bodies());
        let (loaded, definition) = (self.loaded(), self.definition.clone());
        self.run =
            Some(self.with_env(|env| Run::open_suspended(&definition, loaded, &reason, at_work, env))?);
        Ok(())
    }

    /// Does what a host does if the waits in the store differ from the waits that the run knows.
    pub fn open_again(&mut self) {
        let at_work = self.with_run(|run, _| run.leave_bodies());
        let (loaded, definition) = (self.loaded(), self.definition.clone());
        let run = self.with_env(|env| Run::open_again(&definition, loaded, at_work, env));
        self.run = Some(run.unwrap());
        self.settle();
    }

    /// Runs these waiting bodies to their ends, and stores their results in one commit.
    pub fn finish(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let (pointer, number, token) = (job.pointer().to_owned(), job.number(), job.token().clone());
            // One that never ends: it may run out of its time, or be cancelled.
            let Some(end) = job.run(None).now_or_never() else {
                self.endless.push((number, token));
                continue;
            };
            self.with_run(|run, env| run.ended(&pointer, end, env).unwrap());
        }
        self.settle();
    }

    /// Like [`finish`](Self::finish), but returns an error if the state contradicts itself.
    pub fn try_finish(&mut self, jobs: Vec<Job>) -> crate::Result<()> {
        for job in jobs {
            let pointer = job.pointer().to_owned();
            let end = job.run(None).now_or_never().expect("this body never waits");
            self.with_run(|run, env| run.ended(&pointer, end, env))?;
        }
        self.try_settle()
    }

    /// The pointers of the bodies that wait to be run.
    pub fn waiting(&self) -> Vec<&str> {
        self.jobs.iter().map(Job::pointer).collect()
    }

    /// Runs one body after the other until nothing can happen any more. If all that remains is to wait, the clock is
    /// set to the next time at which something happens.
    pub fn play(&mut self) {
        self.play_with(|_| Step::Finish(1));
    }

    /// Like [`play`](Self::play), but `choose` determines what happens next. It gets the number of waiting bodies.
    pub fn play_with(&mut self, mut choose: impl FnMut(usize) -> Step) {
        loop {
            if self.act(&mut choose) {
                continue;
            }
            match self.next_time() {
                Some(at) => self.now = self.now.max(at),
                None => return,
            }
        }
    }

    /// Does something that can be done now. Returns `false` if nothing can be done.
    pub fn act(&mut self, choose: &mut impl FnMut(usize) -> Step) -> bool {
        if let Some(at) = self.planned.iter().position(|(at, _)| *at <= self.now) {
            let (_, event) = self.planned.remove(at);
            self.publish(event);
            return true;
        }
        if let Some(at) = self.asks.iter().position(|(at, _)| *at <= self.now) {
            let (_, control) = self.asks.remove(at);
            self.ask(control);
            return true;
        }
        if let Some(at) = self.interventions.iter().position(|(at, _)| *at <= self.now) {
            let (_, intervention) = self.interventions.remove(at);
            self.intervene(intervention);
            return true;
        }
        if let Some(at) = self.claims.iter().position(|(at, _)| *at <= self.now) {
            let (_, id) = self.claims.remove(at);
            self.claim(&id);
            return true;
        }
        if let Some(at) = self.retries.iter().position(|at| *at <= self.now) {
            self.retries.remove(at);
            if self.instance.status.is_final() {
                self.retry().unwrap();
            }
            return true;
        }
        if self.run.is_none() {
            let is_due = self.instance.next_execution.is_some_and(|at| at <= self.now.timestamp_millis());
            let is_runnable = self.instance.status == WorkflowStatus::Runnable;
            let has_event = !self.stream.borrow().deliveries(&self.waits, self.now).is_empty();
            let is_asked = self.control.is_some() && !self.instance.status.is_final();
            if (is_runnable && (is_due || has_event)) || is_asked {
                self.open();
                return true;
            }
            return false;
        }
        if self.jobs.is_empty() {
            if self.run.as_ref().and_then(Run::next_wake).is_some_and(|at| at <= self.now) {
                self.settle();
                return true;
            }
            return false;
        }
        if self.sorted {
            self.jobs.sort_by(|a, b| a.pointer().cmp(b.pointer()));
        }
        match choose(self.jobs.len()) {
            Step::Finish(count) => {
                let jobs = self.jobs.drain(..count).collect();
                self.finish(jobs);
            }
            Step::Swap(at) => self.jobs.swap(0, at),
            Step::Crash => self.crash(),
        }
        true
    }

    /// The next time at which something happens that cannot happen now.
    pub fn next_time(&self) -> Option<DateTime<Utc>> {
        let own = match &self.run {
            Some(run) => run.next_wake(),
            None if self.instance.status == WorkflowStatus::Runnable => {
                let due = self.instance.next_execution.and_then(DateTime::from_timestamp_millis);
                due.into_iter().chain(self.stream.borrow().next_due(&self.waits, self.now)).min()
            }
            None => None,
        };
        // External events and requests may come after the end.
        let outside = self.planned.iter().map(|(at, _)| *at).chain(self.asks.iter().map(|(at, _)| *at));
        let outside = outside.chain(self.interventions.iter().map(|(at, _)| *at));
        let outside = outside.chain(self.claims.iter().map(|(at, _)| *at));
        let outside = outside.chain(self.retries.iter().copied());
        own.into_iter().chain(outside).min()
    }

    /// Makes a control request, as a caller of a host would.
    pub fn ask(&mut self, control: Control) {
        self.request(control, None);
    }

    /// Makes an intervention, as a caller of a host would.
    pub fn intervene(&mut self, intervention: Intervention) {
        self.request(Control::Resume, Some(intervention));
    }

    /// Retries the instance, as a caller of a host would.
    pub fn retry(&mut self) -> crate::Result<()> {
        assert!(self.run.is_none(), "an ended instance has no owner");
        // The bodies that the end has cancelled were dropped meanwhile.
        self.crash();
        let loaded = self.loaded();
        let (waits, _) = Surroundings::wanted(&loaded)?;
        let found = |id: String| self.all_waits.get(&id).map(|wait| (id, wait.clone()));
        let surroundings = Surroundings {
            waits: waits.into_iter().filter_map(found).collect(),
            children: self.children.clone(),
        };
        let commit = reopen(&loaded, &surroundings, self.now)?;
        self.retried = Some(self.now);
        self.control = None;
        self.store(commit);
        self.instance.complete_time = None;
        Ok(())
    }

    /// Plans a retry that is made when the duration `after` has passed.
    pub fn plan_retry(&mut self, after: Duration) {
        self.retries.push(self.now + after);
    }

    fn request(&mut self, control: Control, intervention: Option<Intervention>) {
        self.asked += 1;
        if self.instance.status.is_final() {
            return;
        }
        let request = ControlRequest { number: self.asked, control, intervention };
        self.control = Some(request.clone());
        if self.run.is_none() {
            return self.open();
        }
        self.with_run(|run, env| run.control(request, env).unwrap());
        self.settle();
    }

    /// Publishes an event, as a caller of a host would. A busy instance is notified.
    pub fn publish(&mut self, event: Event) {
        self.stream.borrow_mut().publish(event, self.now);
        self.hear();
    }

    /// If the instance is busy, gives it the events that are due for it.
    pub fn hear(&mut self) {
        if self.run.is_some() {
            let deliveries = self.stream.borrow().deliveries(&self.waits, self.now);
            if self.with_run(|run, env| run.deliver(deliveries, env).unwrap()) {
                self.settle();
            }
        }
    }

    /// Plans an event that is published when the duration `after` has passed.
    pub fn plan(&mut self, after: Duration, name: &str, key: &str, data: impl Serialize) {
        let at = self.now + after;
        let data = serde_json::to_value(data).unwrap();
        let event = Event { event_time: at, ..Event::new(name, key, data) };
        self.planned.push((at, event));
    }

    /// Plans a control request that is made when the duration `after` has passed.
    pub fn plan_ask(&mut self, after: Duration, control: Control) {
        self.asks.push((self.now + after, control));
    }

    /// Plans an intervention that is made when the duration `after` has passed.
    pub fn plan_intervention(&mut self, after: Duration, intervention: Intervention) {
        self.interventions.push((self.now + after, intervention));
    }

    /// Plans that a worker claims the subscription when the duration `after` has passed.
    pub fn plan_claim(&mut self, after: Duration, wait: &str) {
        self.claims.push((self.now + after, wait.to_owned()));
    }

    /// A worker claims the subscription, if the store still lets it. The instance is not told.
    pub fn claim(&mut self, id: &str) {
        if let Some(wait) = self.waits.iter_mut().find(|wait| wait.id == id)
            && !self.unanswerable.contains(&wait.id)
        {
            wait.external_token = Some("token".to_owned());
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub fn pointer(&self, id: &str) -> &ExecutionPointer {
        self.instance.execution_pointers.iter().find(|p| p.id == id).expect("a live pointer")
    }

    /// The ids of the pointers in the history, in the order in which they were moved there.
    pub fn history_ids(&self) -> Vec<&str> {
        self.history.iter().map(|row| row.pointer.id.as_str()).collect()
    }

    pub fn data<D: Data>(&self) -> D {
        serde_json::from_value(self.instance.data.clone()).unwrap()
    }

    fn store(&mut self, commit: StepCommit) {
        refuses_nothing_of(&commit).expect("the executor lets nothing pass that a store refuses");
        if let Some(status) = commit.status {
            self.instance.status = status;
            self.cause.clone_from(&commit.cause);
            self.ending = commit.ending;
        }
        if let Some(next) = commit.next_execution {
            self.instance.next_execution = next;
        }
        if let Some(data) = &commit.data {
            self.instance.data = data.clone();
        }
        if let Some(attributes) = &commit.attributes {
            self.attributes.clone_from(attributes);
        }
        self.instance.complete_time = commit.complete_time.or(self.instance.complete_time);
        let live = &mut self.instance.execution_pointers;
        for pointer in &commit.upserted {
            match live.iter_mut().find(|p| p.id == pointer.id) {
                Some(stored) => *stored = pointer.clone(),
                None => live.push(pointer.clone()),
            }
        }
        for pointer in &commit.finished {
            assert!(!pointer.active, "history is over");
            live.retain(|p| p.id != pointer.id);
            let number = self.history.len() as u64 + 1;
            self.history.push(Finished { number, pointer: pointer.clone() });
        }
        for list in &commit.items {
            self.items.insert(list.container.clone(), list.values.clone());
        }
        let (now, waits) = (self.now, &mut self.waits);
        self.all_waits.extend(commit.subscribed.iter().map(|wait| (wait.id.clone(), wait.clone())));
        self.stream.borrow_mut().store(&commit, &self.instance.id, waits, now);
        self.unanswerable.extend(commit.unanswerable.clone());
        for id in &commit.unanswerable_unless_claimed {
            if self.waits.iter().any(|wait| wait.id == *id && wait.external_token.is_none()) {
                self.unanswerable.push(id.clone());
            }
        }
        if commit.applied.is_some() {
            self.control = None;
        }
        self.failures.extend(commit.failures.clone());
        let owner = (!commit.release).then_some(1);
        self.commits.push(commit);
        assert!(self.commits.len() < 20_000, "the instance never ends");
        // Whatever a step does: nothing that the executor stores is ever taken for a loss of rows.
        let stored = Loaded { owner, ..self.loaded() };
        let contradiction = contradiction(&stored, Some(&self.definition));
        assert!(contradiction.is_none(), "{contradiction:?}\n{stored:#?}");
        assert_eq!(lost_waits(&stored), Vec::<String>::new());
    }
}

/// Returns an error if the commit contains a value that a store may refuse.
fn refuses_nothing_of(commit: &StepCommit) -> crate::Result<()> {
    let pointers = commit.upserted.iter().chain(&commit.finished);
    let created = commit.created.iter();
    let times = pointers
        .clone()
        .flat_map(|p| [p.sleep_until, p.start_time, p.end_time])
        .chain(commit.subscribed.iter().flat_map(|w| [Some(w.subscribe_as_of), w.external_token_expiry]))
        .chain(commit.published.iter().map(|event| Some(event.event_time)))
        .chain(created.clone().map(|child| Some(child.create_time)))
        .chain([commit.complete_time]);
    for time in times.flatten() {
        limits::nanos("a time", time)?;
    }
    let values = pointers
        .flat_map(|p| {
            let own = [&p.persistence_data, &p.event_data, &p.context_item, &p.outcome];
            own.into_iter().flatten().chain(p.extension_attributes.values())
        })
        .chain(commit.data.iter())
        .chain(commit.items.iter().flat_map(|items| &items.values))
        .chain(commit.subscribed.iter().filter_map(|wait| wait.subscription_data.as_ref()))
        .chain(commit.published.iter().map(|event| &event.event_data))
        .chain(created.map(|child| &child.data));
    for value in values {
        limits::check_json("a value", value)?;
    }
    Ok(())
}

/// What happens next while a world is played.
pub enum Step {
    /// This many of the waiting bodies end. Their results are stored in one commit.
    Finish(usize),
    /// The first waiting body and the body at this position change places.
    Swap(usize),
    Crash,
}

/// Advances the instance, and returns the changes that must then be stored.
pub(super) fn advanced(run: &mut Run, env: &mut Env<'_>) -> crate::Result<Option<StepCommit>> {
    run.advance(env)?;
    let commit = run.take_commit();
    if let Some(commit) = &commit {
        run.return_commit(commit.clone());
    }
    Ok(commit)
}
