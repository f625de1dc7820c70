use wfe_core::{
    Result,
    definition::AnyDefinition,
    executor::{Env, Run, RunningBodies},
    steps::StepError,
    traits::Loaded,
};

/// Why the engine suspends an instance, and how.
pub(in crate::engine) struct Quarantine {
    reason: StepError,
    /// The bodies that continue to run. They do so if the instance itself is consistent, and it is quarantined only
    /// because the store has refused a commit. `None` means that no user code of the instance runs any more.
    at_work: Option<RunningBodies>,
}

impl Quarantine {
    pub fn whole(reason: StepError) -> Self {
        Self { reason, at_work: None }
    }

    pub fn refused(reason: StepError, at_work: RunningBodies) -> Self {
        Self { reason, at_work: Some(at_work) }
    }

    pub fn keeps_bodies(&self) -> bool {
        self.at_work.is_some()
    }

    pub fn without_bodies(self) -> Self {
        Self::whole(self.reason)
    }

    pub fn reason(&self) -> &StepError {
        &self.reason
    }

    /// Opens the instance as quarantined. The running bodies are passed on only once: when the instance is opened
    /// again, it is quarantined without them.
    pub fn open(&mut self, definition: &AnyDefinition, loaded: Loaded, env: &mut Env<'_>) -> Result<Run> {
        match self.at_work.take() {
            Some(at_work) => Run::open_suspended(definition, loaded, &self.reason, at_work, env),
            None => Run::open_quarantined(definition, loaded, &self.reason, env),
        }
    }
}
