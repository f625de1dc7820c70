//! What all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wfe::Operator;
use wfe_core::clock::Clock;

use crate::{
    guard::Guard,
    live::Hub,
    pages::{Jobs, Upkeep},
};

/// What all requests of one dashboard share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    /// The operator without a visitor: it gets the visitor's name and role with each request.
    pub(crate) operator: Operator,
    pub(crate) title: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) guard: Guard,
    pub(crate) hub: Hub,
    pub(crate) jobs: Jobs,
    pub(crate) upkeep: Upkeep,
    /// One request after the other asks the store, so that the engine's own reads do not queue behind pages.
    pub(crate) reader: Semaphore,
}

impl App {
    pub(crate) fn new(
        operator: Operator,
        title: Option<String>,
        clock: Arc<dyn Clock>,
        guard: Guard,
    ) -> Self {
        let hub = Hub::new(operator.clone());
        Self(Arc::new(Shared {
            operator,
            title,
            clock,
            guard,
            hub,
            jobs: Jobs::default(),
            upkeep: Upkeep::default(),
            reader: Semaphore::new(1),
        }))
    }
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
