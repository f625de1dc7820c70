//! A fault of the store that lasts is logged once, and then its end.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use tracing::Level;
use wfe::{
    Outcome, Result, WfeError, WorkflowHost,
    definition::WorkflowBuilder,
    traits::{Committed, Fence, PersistenceProvider, StepCommit},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered};

use crate::{PATIENCE, SAID, Said};

/// A store whose disk is full for some commits.
struct Full {
    inner: Arc<dyn PersistenceProvider>,
    left: AtomicUsize,
}

#[async_trait]
impl Layer for Full {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        if self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            let message = "no room in the test of faults".to_owned();
            return Err(WfeError::Full { message, source: None });
        }
        self.inner.clone().step_store().unwrap().commit_step(fence, step).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_lasts_is_told_once_and_its_end_with_the_number_of_failures() {
    LazyLock::force(&SAID);
    let inner: Arc<dyn PersistenceProvider> =
        Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    let provider = Layered(Full { inner, left: AtomicUsize::new(7) });
    let host = WorkflowHost::new(provider);
    let quick = WorkflowBuilder::<u32>::new("full", 1).then("only", async |_, _| Ok(()));
    host.register(quick.build().unwrap()).unwrap();
    host.start().await.unwrap();
    let ids = [
        host.start_workflow("full", &1_u32).await.unwrap(),
        host.start_workflow("full", &1_u32).await.unwrap(),
    ];
    for id in &ids {
        let end = tokio::time::timeout(PATIENCE, host.outcome::<u32>(id)).await.expect("it ends");
        assert_eq!(end.unwrap(), Outcome::Completed(1));
    }
    host.stop().await.unwrap();
    let said = SAID.lock().clone();
    let full = |said: &&Said| {
        said.fields.get("error").is_some_and(|error| error.contains("no room in the test of faults"))
    };
    let seen: Vec<_> = said.iter().filter(full).filter(|said| said.level <= Level::INFO).collect();
    let [told] = seen[..] else { panic!("{seen:#?}") };
    let message = (told.level, &*told.fields["message"]);
    assert_eq!((message, &*told.fields["call"]), ((Level::WARN, "the store is full"), "commit_step"));
    let over = |said: &&Said| said.fields.get("message").is_some_and(|text| text == "the store works again");
    let over: Vec<_> = said.iter().filter(over).filter(|said| said.level == Level::INFO).collect();
    let [over] = over[..] else { panic!("{over:#?}") };
    let fields = ["call", "code", "failures"].map(|name| &*over.fields[name]);
    assert_eq!(fields, ["commit_step", "full", "7"]);
}
