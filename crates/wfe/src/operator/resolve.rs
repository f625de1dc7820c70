//! Finds the instance that an operator means.

use wfe_core::{
    Result, WfeError,
    traits::{Order, Query},
};

use super::Operator;

/// How many candidates the error for an ambiguous text names.
const CANDIDATES: usize = 5;
/// The longest text that is looked up. Ids, references and names of stores are not longer than this.
const LONGEST: usize = 4096;

impl Operator {
    /// The id of the instance that the text means. The text is one of these, and the first that fits counts:
    ///
    /// 1. the id of an instance,
    /// 2. its name,
    /// 3. the id of a definition, `/`, and a reference: the instance to which the reference belongs,
    /// 4. the beginning of an id, if only one instance has an id that begins in this way.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance fits.
    /// * [`Ambiguous`](WfeError::Ambiguous): the ids of several instances begin with the text. The error names up to
    ///   five of them, the newest first.
    /// * The errors of the store.
    pub async fn resolve(&self, text: &str) -> Result<String> {
        let not_found = || WfeError::WorkflowNotFound(text.chars().take(200).collect());
        if text.is_empty() || text.len() > LONGEST {
            return Err(not_found());
        }
        match self.summary(text).await {
            Ok(found) => return Ok(found.id),
            Err(WfeError::WorkflowNotFound(_)) => {}
            Err(error) => return Err(error),
        }
        match self.seen(self.store.provider.get_workflow_instance_by_name(text).await) {
            Ok(found) => return Ok(found.id),
            Err(WfeError::WorkflowNotFound(_)) => {}
            Err(error) => return Err(error),
        }
        // Both an id of a definition and a reference may contain a slash.
        for (at, _) in text.match_indices('/') {
            let (definition, reference) = (&text[..at], &text[at + 1..]);
            if reference.is_empty() {
                continue;
            }
            if let Some(found) = self.store.find(definition, reference).await? {
                return Ok(found);
            }
        }
        let query = Query {
            id_prefix: Some(text.to_owned()),
            include_own: true,
            order: Order::Newest,
            ..Query::default()
        };
        let mut found = self.seen(self.management.list(&query, self.now(), None, CANDIDATES).await)?.rows;
        match found.len() {
            0 => Err(not_found()),
            1 => Ok(found.remove(0).id),
            _ => {
                let candidates = found.into_iter().map(|row| row.id).collect();
                Err(WfeError::Ambiguous { text: text.to_owned(), candidates })
            }
        }
    }

    /// The instance to which a reference belongs, or `None` if there is none: the instance of this definition that was
    /// started with the reference, or the newest restart of it.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn find(&self, definition: &str, reference: &str) -> Result<Option<String>> {
        self.store.find(definition, reference).await
    }
}
