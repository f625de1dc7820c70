//! Opens a stored instance: builds its live state, or quarantines the instance if it does not fit its definition.

use std::sync::Arc;

use super::{
    Env, Run,
    bodies::{Bodies, RunningBodies},
    data::InstanceData,
    failure::step_failure,
    item_windows::Windows,
    pending::Pending,
    pointers::Pointers,
    races::Races,
    saga::log::{SagaLog, compensated_step},
    timers::Timers,
    waits::Waits,
};
use crate::{
    Result,
    definition::AnyDefinition,
    executor::Lifecycle,
    models::{ExecutionPointer, PointerStatus, StatusChange, WorkflowStatus, attributes, pointer_id},
    program::{Node, with_article},
    steps::StepError,
    traits::Loaded,
};

impl Run {
    /// Opens a stored instance. Bodies that were running when the last owner crashed are run again.
    ///
    /// An instance that does not fit the definition is quarantined: it is suspended, with an error that gives the
    /// reason. The instance does not fit if the step of a live pointer has been removed from the definition or has
    /// changed its kind, or if the data no longer deserializes. A pending control request is not applied here. Pass the
    /// request to [`control`](Self::control). Events are delivered only after the request has been applied.
    ///
    /// # Errors
    /// The stored state contradicts itself.
    pub fn open(definition: &AnyDefinition, loaded: Loaded, env: &mut Env<'_>) -> Result<Self> {
        Self::open_again(definition, loaded, RunningBodies::default(), env)
    }

    /// Opens a stored instance as [`open`](Self::open) does, to replace a void `Run`. A `Run` is void if the
    /// subscriptions or events in the store were not those that the `Run` expected. The running bodies of the void
    /// `Run` continue, and are not started again.
    ///
    /// # Errors
    /// The stored state contradicts itself.
    pub fn open_again(
        definition: &AnyDefinition,
        mut loaded: Loaded,
        at_work: RunningBodies,
        env: &mut Env<'_>,
    ) -> Result<Self> {
        let deliveries = std::mem::take(&mut loaded.deliveries);
        let is_asked = loaded.control.is_some();
        let mut run = Self::open_without_events(definition, loaded, at_work, env)?;
        if run.fault.is_some() || run.status.is_final() {
            return Ok(run);
        }
        if is_asked {
            // An event that was published after the request must not complete a wait that the request may stop.
            run.pending.listen();
        } else {
            run.deliver(deliveries, env)?;
        }
        Ok(run)
    }

    /// Opens a stored instance as [`open_again`](Self::open_again) does, but delivers no events.
    pub(super) fn open_without_events(
        definition: &AnyDefinition,
        loaded: Loaded,
        at_work: RunningBodies,
        env: &mut Env<'_>,
    ) -> Result<Self> {
        let mut run = Self::open_without_bodies(definition, loaded, env)?;
        run.take_over(at_work)?;
        Ok(run)
    }

    fn open_without_bodies(definition: &AnyDefinition, loaded: Loaded, env: &mut Env<'_>) -> Result<Self> {
        let mut run = Self::with_state(definition, loaded);
        match definition.decode(run.data.value()) {
            Ok(data) => run.data.decoded(data),
            Err(e) => {
                let problem = format!("the instance's data does not fit the definition's type any more: {e}");
                run.quarantine(&StepError::fatal(problem).with_code(StepError::DEFINITION), env)?;
                return Ok(run);
            }
        }
        if run.status.is_final() {
            return Ok(run);
        }
        if run.pointers.iter().next().is_none() {
            run.pointers.add(definition.first_pointer());
        }
        if let Err(problem) = run.reopen_pointers(env)? {
            run.quarantine(&StepError::fatal(problem).with_code(StepError::DEFINITION), env)?;
        } else {
            run.end_if_over(env)?;
        }
        Ok(run)
    }

    /// Hands over the running bodies to the `Run` that replaces this `Run`.
    pub fn leave_bodies(&mut self) -> RunningBodies {
        self.bodies.leave()
    }

    /// Takes over the running bodies of an earlier `Run`. A body is cancelled if no active pointer of the stored
    /// instance waits for this body.
    fn take_over(&mut self, at_work: RunningBodies) -> Result<()> {
        let running = self.bodies.take_over(at_work);
        let is_still = self.fault.is_some() || self.status.is_final();
        let is_begun = [PointerStatus::Pending, PointerStatus::Sleeping];
        for (at, work) in running {
            let has_place = self.pointers.get(&at).is_ok_and(|p| p.active && is_begun.contains(&p.status));
            if is_still || !has_place {
                self.cancel_body(work);
                continue;
            }
            // The end of the pointer's sleep is stored with the result of the body.
            self.wake(&at)?;
            self.pending.remove_from_queue(&at);
            // The observer is registered here, because the pointer does not enter its step again.
            let node = self.node_of(&at)?;
            if node.cancel_when.is_some() || node.verb.watches_data() {
                self.data.observe(&at);
                self.data.touch();
            }
            self.bodies.add(at, work);
        }
        Ok(())
    }

    /// Opens a stored instance as quarantined, for a reason that the caller gives.
    ///
    /// # Errors
    /// The stored state contradicts itself.
    pub fn open_quarantined(
        definition: &AnyDefinition,
        loaded: Loaded,
        reason: &StepError,
        env: &mut Env<'_>,
    ) -> Result<Self> {
        let mut run = Self::with_state(definition, loaded);
        run.quarantine(reason, env)?;
        Ok(run)
    }

    fn with_state(definition: &AnyDefinition, loaded: Loaded) -> Self {
        let instance = loaded.instance;
        Self {
            id: instance.id.into(),
            definition: definition.clone(),
            parent: loaded.parent,
            root: instance.root_workflow_id,
            reference: instance.reference.map(Into::into),
            created: instance.create_time,
            retried: loaded.retried,
            status: instance.status,
            fault: None,
            ending: loaded.ending,
            cause: loaded.cause,
            is_fatal: false,
            data: InstanceData::new(instance.data),
            attributes: Arc::new(loaded.attributes),
            pointers: Pointers::stored(instance.execution_pointers),
            timers: Timers::default(),
            bodies: Bodies::default(),
            waits: Waits::stored(loaded.waits.into_iter().map(|wait| (wait.id, wait.execution_pointer_id))),
            windows: Windows::default(),
            saga_log: SagaLog::default(),
            races: Races::default(),
            pending: Pending::new(instance.next_execution),
        }
    }

    /// Quarantines the instance: it is suspended with this reason until an operator repairs and resumes it.
    fn quarantine(&mut self, reason: &StepError, env: &mut Env<'_>) -> Result<()> {
        if self.status.is_final() {
            return Ok(());
        }
        let fault = step_failure(&self.id, "", String::new(), 1, reason, env.now);
        self.bodies.take_ready();
        self.pending.stop();
        self.windows.close_all();
        self.saga_log.stop();
        self.races.clear();
        self.timers.clear_all();
        self.data.stop_all_observers();
        if self.status == WorkflowStatus::Runnable {
            self.pending.record_failure(fault.clone());
            self.set_status(StatusChange::Suspend, Some(fault.clone()))?;
            self.notify(Lifecycle::Error(Box::new(fault.clone())), env);
            self.notify(Lifecycle::Suspended, env);
        }
        self.fault = Some(fault);
        Ok(())
    }

    /// Continues all live pointers. The inner `Err` gives the reason why the instance does not fit the definition.
    fn reopen_pointers(&mut self, env: &mut Env<'_>) -> Result<std::result::Result<(), String>> {
        // Only the ids are collected, because a container may have thousands of pointers.
        let active: Vec<String> = self.pointers.iter().filter(|p| p.active).map(|p| p.id.clone()).collect();
        let definition = self.definition.clone();
        let retried = self.pointers.iter().find(|p| p.has(attributes::RETRIED)).map(|p| p.id.clone());
        if let Some(id) = retried {
            self.pointers.edit(&id)?.unset(attributes::RETRIED);
            // The commit that ended the instance may have changed the data, but evaluated no conditions.
            self.data.touch();
            self.notify(Lifecycle::Retried, env);
        }
        for id in active {
            let pointer = self.pointers.get(&id)?;
            let node = match self.fitting_node(&definition, pointer) {
                Ok(node) => node,
                Err(problem) => return Ok(Err(problem)),
            };
            let status = pointer.status;
            match status {
                PointerStatus::Pending => {
                    if node.compensates_unfinished && node.verb.body().is_some() {
                        self.bodies.reopened(id.clone());
                    }
                    self.pending.enqueue(id.clone());
                }
                PointerStatus::Sleeping => {
                    let until = pointer.sleep_until.unwrap_or(env.now);
                    self.timers.set(&id, until);
                }
                PointerStatus::Failed => {} // waits until the instance is resumed
                PointerStatus::WaitingForEvent => self.reopen_subscription(&id)?,
                _ if pointer.has(attributes::IN_FALLBACK) => {}
                _ => {
                    let pointer = pointer.clone();
                    if let Err(problem) = node.verb.primitive().reopen(self, &pointer) {
                        return Ok(Err(format!("step {:?} {problem}", node.id)));
                    }
                }
            }
            if let (Some(until), PointerStatus::WaitingForEvent | PointerStatus::Running) =
                (self.pointers.get(&id)?.sleep_until, self.pointers.get(&id)?.status)
            {
                self.timers.set(&id, until);
            }
            if status != PointerStatus::Pending
                && !self.is_child_cancelled(&id)?
                && (node.cancel_when.is_some() || node.verb.watches_data())
            {
                self.data.observe(&id);
            }
        }
        self.close_stray_subscriptions()?;
        Ok(Ok(()))
    }

    fn fitting_node<'d>(
        &self,
        definition: &'d AnyDefinition,
        pointer: &ExecutionPointer,
    ) -> std::result::Result<&'d Node, String> {
        let step = pointer.step_name.as_deref().unwrap_or_default();
        let Some(node) = definition.find(step) else {
            return Err(format!(
                "step {step:?} is gone from the definition, but the instance has an active pointer there"
            ));
        };
        let kind = node.verb.kind();
        if let Some(was) = pointer.text(attributes::KIND)
            && was != kind
        {
            let (kind, was) = (with_article(kind), with_article(was));
            return Err(format!("step {step:?} is {kind} now, but the instance is inside it as {was}"));
        }
        let around = match pointer.scope.last() {
            None => None,
            Some(id) => match self.pointers.get(id) {
                Ok(container) => container.step_name.as_deref(),
                Err(_) => return Err(format!("the container {id:?} around step {step:?} is gone")),
            },
        };
        // The container of a compensation's first pointer is the saga, not the step that is compensated.
        let is_first = pointer
            .scope
            .last()
            .is_some_and(|saga| pointer_id::is_compensation(pointer_id::branch_key(saga, &pointer.id)));
        let around = if is_first { compensated_step(pointer) } else { around };
        if node.container.map(|c| &*definition.node(c).id) != around {
            let was = around.unwrap_or("the main path");
            return Err(format!(
                "step {step:?} has moved to another container, but the instance runs it in {was}"
            ));
        }
        Ok(node)
    }
}
