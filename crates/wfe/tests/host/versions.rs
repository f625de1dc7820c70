//! Several versions of a definition at once, and definitions that are not known here.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use wfe::{
    Outcome, Result, WfeError, WorkflowHost,
    definition::{Definition, WorkflowBuilder, WorkflowName},
    models::WorkflowInstance,
    status::Blocked,
    traits::PersistenceProvider,
};
use wfe_testkit::{Layer, Layered};

use crate::support::{
    Missed, Store, Tally, Timed, completed, ended, in_time, nothing, on_every_store, started, until,
};

/// Waits to be let go, and then says which version it was.
fn version(version: u32, gate: &Arc<Semaphore>) -> Definition<Tally> {
    let gate = gate.clone();
    WorkflowBuilder::<Tally>::new("w", version)
        .then("gate", async move |_, _| {
            gate.acquire().await.unwrap().forget();
            Ok(())
        })
        .call("say", |ctx, _| Ok(ctx.definition_version()))
        .output(|version, tally| tally.sum = version)
        .build()
        .unwrap()
}

on_every_store! {
    async fn new_instances_run_the_newest_version_and_old_ones_the_one_they_began_with(store: Store) {
        let gate = Arc::new(Semaphore::new(0));
        let host = store.host(&[&version(1, &gate)]).await;
        let one = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || host.status(&one).await.unwrap().current_steps == ["gate"]).await;
        host.register(version(7, &gate)).unwrap();
        host.register(version(3, &gate)).unwrap();
        assert!(matches!(host.register(version(3, &gate)), Err(WfeError::InvalidDefinition { .. })));
        let newest = host.start_workflow("w", &Tally::default()).await.unwrap();
        let w = host.workflow(WorkflowName::<Tally>::new("w"));
        let chosen = w.start(&Tally::default()).version(3).await.unwrap().instance.into_id();
        let missing = w.start(&Tally::default()).version(2).await;
        assert!(matches!(missing, Err(WfeError::DefinitionNotFound { version: 2, .. })), "{missing:?}");
        gate.add_permits(3);
        for (id, version) in [(&one, 1), (&newest, 7), (&chosen, 3)] {
            assert_eq!(completed(&host, id).await.sum, version);
        }
    }

    async fn of_an_instance_whose_version_is_missing_it_is_told_and_it_goes_on_once_that_is_there(store: Store) {
        let gate = Arc::new(Semaphore::new(0));
        let client = store.builder().await.build();
        client.register(version(2, &gate)).unwrap();
        let id = client.start_workflow("w", &Tally::default()).await.unwrap();
        let host = store.host(&[&version(1, &gate)]).await;
        let missing = Blocked::DefinitionMissing { id: "w".to_owned(), version: 2 };
        assert_eq!(host.status(&id).await.unwrap().blocked, Some(missing));
        host.register(version(2, &gate)).unwrap();
        until(async || host.status(&id).await.unwrap().current_steps == ["gate"]).await;
        gate.add_permits(1);
        assert_eq!(completed(&host, &id).await.sum, 2);
    }
}

in_time! {
    async fn a_child_whose_version_is_missing_waits_until_it_is_there(place: Timed) {
        let parent = WorkflowBuilder::<Tally>::new("parent", 1)
            .sub_workflow("sub", WorkflowName::new("part"), |_| Tally::default())
            .version(2)
            .output(|part, tally| tally.sum = part.sum)
            .build()
            .unwrap();
        let part = |version| {
            WorkflowBuilder::<Tally>::new("part", version)
                .change("p", move |tally| tally.sum = version)
                .build()
                .unwrap()
        };
        let host = place.host(&[&parent, &part(1)]).await;
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        let child = format!("{id}//sub//1");
        until(async || host.status(&child).await.is_ok()).await;
        let missing = Blocked::DefinitionMissing { id: "part".to_owned(), version: 2 };
        assert_eq!(host.status(&child).await.unwrap().blocked, Some(missing));
        host.register(part(2)).unwrap();
        assert_eq!(completed(&host, &id).await.sum, 2);
    }

    async fn of_children_whose_version_is_missing_it_is_told_once(place: Timed) {
        // Of each kind of store another one: they have one log.
        static VERSION: AtomicU32 = AtomicU32::new(7);
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        Missed::listen();
        let parent = WorkflowBuilder::<Tally>::new("parent", 1)
            .sub_workflow("sub", WorkflowName::new("part-told"), |_| Tally::default())
            .version(version)
            .build()
            .unwrap();
        let host = place.host(&[&parent]).await;
        for _ in 0..3 {
            let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
            until(async || host.status(&format!("{id}//sub//1")).await.is_ok()).await;
            host.idle().await.unwrap();
        }
        assert_eq!(Missed::times("part-told", version), 1);
    }

    async fn a_child_whose_definition_is_unknown_fails_its_step(place: Timed) {
        let parent = WorkflowBuilder::<Tally>::new("parent", 1)
            .sub_workflow("sub", WorkflowName::new("nowhere"), |_| Tally::default())
            .build()
            .unwrap();
        let host = place.host(&[&parent]).await;
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
        assert_eq!((&*failure.code, &*failure.step), ("definition", "sub"));
        assert!(failure.causes[0].contains("nowhere"), "{failure:?}");
    }
}

/// Each host tells once, whether the instances were there before it or came after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_instances_that_another_host_started_it_is_told_once_which_definition_is_missing() {
    Missed::listen();
    let store = Store::file();
    let gone = |id: &str| WorkflowBuilder::<Tally>::new(id, 3).step("a", nothing()).build().unwrap();
    let client = store.builder().await.build();
    for id in ["gone-early", "gone-late"] {
        client.register(gone(id)).unwrap();
    }
    let early = client.start_workflow("gone-early", &Tally::default()).await.unwrap();
    let host = store.host(&[]).await;
    until(async || Missed::times("gone-early", 3) == 1).await;
    let mut late = Vec::new();
    for _ in 0..3 {
        late.push(client.start_workflow("gone-late", &Tally::default()).await.unwrap());
        until(async || Missed::times("gone-late", 3) == 1).await;
    }
    let other = store.host(&[]).await;
    until(async || Missed::times("gone-early", 3) == 2 && Missed::times("gone-late", 3) == 2).await;
    for id in late.iter().chain([&early]) {
        let status = host.status(id).await.unwrap();
        assert!(matches!(status.blocked, Some(Blocked::DefinitionMissing { version: 3, .. })), "{status:?}");
        // What is asked of one reaches the host, too.
        host.suspend(id).await.unwrap();
    }
    other.idle().await.unwrap();
    host.idle().await.unwrap();
    assert_eq!((Missed::times("gone-early", 3), Missed::times("gone-late", 3)), (2, 2));
    host.register(gone("gone-late")).unwrap();
    host.resume(&late[0]).await.unwrap();
    assert!(matches!(ended(&host, &late[0]).await, Outcome::Completed(_)));
}

/// A store that reads many instances only if all of them decode.
struct Strict {
    inner: Arc<dyn PersistenceProvider>,
    torn: String,
}

#[async_trait]
impl Layer for Strict {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn get_workflow_instances(&self, ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        if ids.contains(&self.torn) {
            let (row, message) = (self.torn.clone(), "torn".to_owned());
            return Err(WfeError::Corrupt { table: "workflows", column: "data", row, message, source: None });
        }
        self.inner.get_workflow_instances(ids).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_missing_definition_it_is_told_though_a_row_beside_it_does_not_decode() {
    Missed::listen();
    let store = Store::file();
    let client = store.builder().await.build();
    let mut ids = Vec::new();
    for id in ["gone-torn", "gone-beside"] {
        client.register(WorkflowBuilder::<Tally>::new(id, 3).step("a", nothing()).build().unwrap()).unwrap();
        ids.push(client.start_workflow(id, &Tally::default()).await.unwrap());
    }
    let strict = Layered(Strict { inner: store.provider().await, torn: ids[0].clone() });
    let host = started(WorkflowHost::builder(strict).build(), &[]).await;
    until(async || Missed::times("gone-beside", 3) == 1).await;
    assert_eq!((Missed::times("gone-torn", 3), Missed::errors(&ids[0])), (0, 1));
    host.stop().await.unwrap();
}
