//! Reports what keeps a caller waiting for the end of an instance.

use std::sync::{Arc, atomic::Ordering};

use wfe_core::{Result, WfeError, logging, models::WorkflowStatus, traits::Loaded};

use super::state::shared::Shared;

/// A caller's wait for the end of an instance.
pub(in crate::engine) struct LongWait<'a> {
    shared: &'a Arc<Shared>,
    id: &'a str,
    /// The definition and the version of the instance, once they are known.
    definition: Option<(String, u32)>,
    /// Whether the log already reports that the instance is suspended.
    is_suspension_reported: bool,
    /// How many times the wait has found no engine in this host.
    passes: usize,
}

impl<'a> LongWait<'a> {
    pub fn new(shared: &'a Arc<Shared>, id: &'a str) -> Self {
        Self { shared, id, definition: None, is_suspension_reported: false, passes: 0 }
    }

    /// Reports once for each wait that the instance is suspended, unless a request is pending, which may resume it.
    pub fn found(&mut self, loaded: &Loaded) {
        let (definition, version) = (&loaded.instance.workflow_definition_id, loaded.instance.version);
        self.definition.get_or_insert_with(|| (definition.clone(), version));
        let is_suspended = loaded.instance.status == WorkflowStatus::Suspended && loaded.control.is_none();
        if !is_suspended || self.is_suspension_reported {
            return;
        }
        self.is_suspension_reported = true;
        match &loaded.cause {
            None => logging::info!(
                wfe.instance.id = self.id,
                wfe.definition.id = definition,
                wfe.definition.version = version,
                "a caller waits for the end of a suspended instance; resume or cancel the instance"
            ),
            Some(cause) => logging::warn!(
                wfe.instance.id = self.id,
                wfe.definition.id = definition,
                wfe.definition.version = version,
                wfe.step.id = cause.step,
                code = cause.code,
                "a caller waits for the end of an instance that a failure has suspended; repair the cause, then \
                 resume, skip or cancel the instance"
            ),
        }
    }

    /// Reports once for each host that nothing runs the instance: this host has no engine, and no other host is alive.
    /// This is checked from the second pass on, because the host may just be about to start.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid) in a test, where nobody would read the log.
    pub async fn without_engine(&mut self) -> Result<()> {
        let Shared { options, store, is_hostless_reported, .. } = &**self.shared;
        self.passes += 1;
        if (self.passes == 1 && !options.is_test) || is_hostless_reported.load(Ordering::Relaxed) {
            return Ok(());
        }
        match store.living_owners().await {
            Ok(Some(0)) => {}
            Ok(_) => return Ok(()),
            Err(error) => {
                logging::debug!(%error, "it is not known whether a host runs on the store");
                return Ok(());
            }
        }
        if options.is_test {
            return Err(WfeError::Invalid(format!(
                "no host runs on this store, so workflow {:?} would never end; start the host before you wait",
                self.id
            )));
        }
        if !is_hostless_reported.swap(true, Ordering::Relaxed) {
            let definition = self.definition.as_ref();
            logging::warn!(
                wfe.instance.id = self.id,
                wfe.definition.id = definition.map(|(id, _)| &**id),
                wfe.definition.version = definition.map(|(_, version)| *version),
                "a caller waits for the end of an instance, but no host runs on the store; start this host, or another \
                 one on the same store"
            );
        }
        Ok(())
    }
}
