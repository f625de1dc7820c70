use std::{fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use wfe_core::{
    Result,
    definition::{Data, Event},
    steps::Results,
    traits::Requested,
};

use super::{
    failures::Failures, publish::Publish, restart::Restarting, status::InstanceStatus,
    workflow_host::WorkflowHost,
};
use crate::engine::Outcome;

/// An instance on a host, whose data is of type `D`. [`Workflow::start`](crate::host::Workflow::start) and
/// [`WorkflowHost::instance`] return it. Cheap to clone.
///
/// It has the host's calls for one instance. Each of them behaves, and fails, as the call of the same name of
/// [`WorkflowHost`], where its rules are.
pub struct Instance<D> {
    host: WorkflowHost,
    id: String,
    data: PhantomData<fn(D)>,
}

impl<D> Instance<D> {
    /// The id of the instance.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the instance, without the host.
    #[must_use]
    pub fn into_id(self) -> String {
        self.id
    }

    /// Returns the status of the instance: at which steps it is, and what it waits for.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::status`].
    pub async fn status(&self) -> Result<InstanceStatus> {
        self.host.status(&self.id).await
    }

    /// Returns the stored failures of the instance, oldest first, read page by page.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.host.failures(&self.id)
    }

    /// Returns the results of a finished for-each on the main path, read page by page.
    #[must_use]
    pub fn results<T: DeserializeOwned>(&self, for_each: &str) -> Results<T> {
        self.host.results(&self.id, for_each)
    }

    /// Publishes an event whose key is the id of the instance, and which only this instance is meant to receive.
    ///
    /// # Errors
    /// The awaited result has the errors of [`WorkflowHost::publish`], and nothing is written in these cases too:
    ///
    /// * [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id, so the event would be too
    ///   early. Start the instance first, then publish the event again.
    /// * [`NoEffect`](wfe_core::WfeError::NoEffect): the instance has ended, and the event is new.
    pub fn publish<V: Serialize>(&self, event: Event<V>, payload: V) -> Publish {
        self.host.publish(event, self.id.clone(), payload).receiver(self.id.clone())
    }

    /// Suspends the instance: no further steps start.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::suspend`].
    pub async fn suspend(&self) -> Result<Requested> {
        self.host.suspend(&self.id).await
    }

    /// Resumes the suspended instance. If the failure of a step suspended it, that step is tried again.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::resume`].
    pub async fn resume(&self) -> Result<Requested> {
        self.host.resume(&self.id).await
    }

    /// Resumes the suspended instance and skips its failed steps.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::skip`].
    pub async fn skip(&self) -> Result<Requested> {
        self.host.skip(&self.id).await
    }

    /// Resumes the suspended instance from the step with this stable id.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::resume_from`].
    pub async fn resume_from(&self, step: &str) -> Result<Requested> {
        self.host.resume_from(&self.id, step).await
    }

    /// Retries the failed or cancelled instance: it continues at its failed step.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::retry`].
    pub async fn retry(&self) -> Result<()> {
        self.host.retry(&self.id).await
    }

    /// Starts a new instance in place of the ended one, with this data, once the result is awaited.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::restart`].
    pub fn restart(&self, data: &D) -> Restarting<D>
    where
        D: Data,
    {
        self.host.restart(&self.id, data)
    }

    /// Starts a new instance in place of the ended one, with the data that the ended one had last, once the result is
    /// awaited.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::restart`].
    pub fn restart_with_its_data(&self) -> Restarting<D> {
        Restarting::with_its_data(&self.host, &self.id)
    }

    /// Cancels the instance: its open sagas are compensated, then it ends.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::cancel`].
    pub async fn cancel(&self) -> Result<Requested> {
        self.host.cancel(&self.id).await
    }

    /// Terminates the instance: it ends at once, and nothing is compensated.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::terminate`].
    pub async fn terminate(&self) -> Result<Requested> {
        self.host.terminate(&self.id).await
    }
}

impl<D: DeserializeOwned> Instance<D> {
    /// Waits until the instance has ended, and returns how it ended.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::outcome`].
    pub async fn outcome(&self) -> Result<Outcome<D>> {
        self.host.outcome(&self.id).await
    }

    /// Returns the data of the instance as it is stored now.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::data`].
    pub async fn data(&self) -> Result<D> {
        self.host.data(&self.id).await
    }
}

impl WorkflowHost {
    /// The instance with this id, with typed calls. Nothing is read: an unknown id, or another data type, is an error
    /// of the calls.
    pub fn instance<D>(&self, id: impl Into<String>) -> Instance<D> {
        Instance { host: self.clone(), id: id.into(), data: PhantomData }
    }
}

// Derived, these would require the same of the data.
impl<D> Clone for Instance<D> {
    fn clone(&self) -> Self {
        self.host.instance(self.id.clone())
    }
}

impl<D> fmt::Debug for Instance<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.id).finish()
    }
}
