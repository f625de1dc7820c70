use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{future::BoxFuture, stream::BoxStream};
use wfe_core::{
    Result, WfeError,
    traits::{PersistenceProvider, StepStore},
};

use super::{Guarantees, base_traits::PlainStore, faults::Faults, loss::Loss};

/// The store that the engine uses: the provider's own step store, or a [`PlainStore`], which uses only the
/// provider's base traits. This type records every error that reports the loss of the store. Callers that
/// use the provider directly pass the results of their calls to [`Loss::seen`].
pub(crate) struct EngineStore {
    store: Arc<dyn StepStore>,
    loss: Arc<Loss>,
    faults: Arc<Faults>,
}

impl EngineStore {
    /// Returns the engine's store for this provider, and the guarantees of that store.
    pub fn new(
        provider: Arc<dyn PersistenceProvider>,
        loss: Arc<Loss>,
        faults: Arc<Faults>,
    ) -> (Self, Guarantees) {
        let (store, guarantees): (Arc<dyn StepStore>, _) = match provider.clone().step_store() {
            Some(store) => (store, Guarantees::OneTransactionPerStep),
            None => (Arc::new(PlainStore::new(provider)), Guarantees::SingleProcess),
        };
        (Self { store, loss, faults }, guarantees)
    }

    /// Records whether the result of a call reports that the store is lost. After an unknown commit outcome,
    /// this also checks the store, because the unknown outcome may be the first sign of a loss. A fault of a store
    /// that is not lost is logged.
    async fn seen<T: Send>(&self, call: &'static str, answer: Result<T>) -> Result<T> {
        match answer {
            Ok(answer) => Ok(self.succeeded(call, answer)),
            Err(error) => Err(self.failed(call, error, false).await),
        }
    }

    /// Like [`seen`](Self::seen), for a call about an owner.
    async fn seen_of_owner<T: Send>(&self, call: &'static str, answer: Result<T>) -> Result<T> {
        match answer {
            Ok(answer) => Ok(self.succeeded(call, answer)),
            Err(error) => Err(self.failed(call, error, true).await),
        }
    }

    fn succeeded<T>(&self, call: &'static str, answer: T) -> T {
        self.note(call, None);
        answer
    }

    /// Handles the error of a call. This function does not depend on the type of the call's result, so that it is compiled
    /// once. The error of a call about an owner may concern only the owner's own file. Such an error does not end the
    /// host.
    fn failed<'a>(
        &'a self,
        call: &'static str,
        error: WfeError,
        is_about_owner: bool,
    ) -> BoxFuture<'a, WfeError> {
        Box::pin(async move {
            let error = if is_about_owner { error } else { self.loss.noted(error) };
            if is_about_owner || matches!(error, WfeError::CommitUnknown { .. }) {
                // `seen` records the loss; the result itself is not needed.
                let _noted = self.loss.seen(self.store.verify().await);
            }
            self.note(call, Some(&error));
            error
        })
    }

    /// Logs a fault of the store once, and then counts it. The host logs the loss of the store itself.
    fn note(&self, call: &'static str, error: Option<&WfeError>) {
        if !self.loss.has_come() {
            self.faults.note(call, error);
        }
    }
}

macro_rules! noting {
    (
        owner { $(async fn $of_owner:ident($($owner_arg:ident: $owner_type:ty),*) -> $owner_result:ty;)* }
        $($part:ident { $(async fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)* })*
    ) => {
        #[async_trait]
        impl StepStore for EngineStore {
            $(async fn $of_owner(&self, $($owner_arg: $owner_type),*) -> $owner_result {
                self.seen_of_owner(stringify!($of_owner), self.store.$of_owner($($owner_arg),*).await).await
            })*

            $($(async fn $name(&self, $($arg: $type),*) -> $result {
                self.seen(stringify!($name), self.store.$name($($arg),*).await).await
            })*)*

            fn news(&self) -> BoxStream<'static, ()> {
                self.store.news()
            }

            fn questions(&self) -> BoxStream<'static, ()> {
                self.store.questions()
            }
        }
    };
}

wfe_core::step_store_methods!(noting);
