//! The host, with workflows that run an empty step for each item.

use std::sync::Arc;

use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, WorkflowBuilder},
};
use wfe_bench_workloads::{
    Done, Place,
    ability::{Items, Subject},
};
use wfe_sqlite::SqlitePersistenceProvider;

const AT_ONCE: usize = 32;

pub struct ItemHost {
    store: Arc<SqlitePersistenceProvider>,
    place: Place,
    host: WorkflowHost,
}

impl Subject for ItemHost {
    async fn open(place: &Place) -> Done<Self> {
        let store = Arc::new(super::open(place).await?);
        let host = WorkflowHost::builder_shared(store.clone()).build();
        host.register(definition()?)?;
        host.start().await?;
        Ok(Self { store, place: place.clone(), host })
    }

    async fn close(&self) -> Done {
        self.host.stop().await?;
        super::close(&self.store, &self.place).await
    }
}

fn definition() -> wfe::Result<Definition<u64>> {
    WorkflowBuilder::<u64>::new("items", 1)
        .for_each(
            "each",
            |items| (0..*items).collect(),
            |item| item.then("item", async |_, _, item| Ok(item)),
        )
        .concurrent(AT_ONCE)
        .build()
}

impl Items for ItemHost {
    async fn for_each(&self, items: u64) -> Done<String> {
        let id = self.host.start_workflow("items", &items).await?;
        match self.host.outcome::<u64>(&id).await? {
            Outcome::Completed(_) => Ok(id),
            other => Err(format!("for-each {id} ended as {other:?}").into()),
        }
    }

    async fn results(&self, id: &str) -> Done<Vec<u64>> {
        let (mut all, mut results) = (Vec::new(), self.host.results::<u64>(id, "each"));
        while let Some(item) = results.next().await.map_err(|failure| failure.to_string())? {
            let result = item.result.ok().flatten().and_then(|result| result.as_u64());
            all.push(result.ok_or("an item has no result")?);
        }
        Ok(all)
    }
}
