//! Implements [`PersistenceProvider`].

use std::sync::Arc;

use async_trait::async_trait;
use wfe_core::{
    Result,
    models::ExecutionError,
    traits::{Management, PersistenceProvider, StepStore},
};

use crate::{SqlitePersistenceProvider, codec, request::Script, sql};

#[async_trait]
impl PersistenceProvider for SqlitePersistenceProvider {
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()> {
        let Some(first) = errors.first() else { return Ok(()) };
        let mut script = Script::about(&first.workflow_id);
        for error in errors {
            script.add(&sql::errors::INSERT_PLAIN, codec::failure::encode_plain(error)?);
        }
        self.writer.run(script).await?;
        Ok(())
    }

    async fn ensure_store_exists(&self) -> Result<()> {
        self.writer.ensure().await
    }

    fn step_store(self: Arc<Self>) -> Option<Arc<dyn StepStore>> {
        Some(self)
    }

    fn management(self: Arc<Self>) -> Option<Arc<dyn Management>> {
        Some(self)
    }
}
