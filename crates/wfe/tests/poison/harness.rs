use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::Utc;
use tokio::sync::{Mutex, MutexGuard};
use wfe::{
    Outcome, WorkflowHost,
    definition::Definition,
    models::WorkflowInstance,
    traits::{Claimed, Isolation, Owner, PersistenceProvider, StepStore},
};
use wfe_sqlite::SqlitePersistenceProvider;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A file, and no other test beside this one.
pub struct Place {
    pub provider: Arc<dyn PersistenceProvider>,
    folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    pub async fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let provider =
            Arc::new(SqlitePersistenceProvider::file(folder.path().join("state.db")).open().await.unwrap());
        Self { provider, folder, _alone: alone }
    }

    pub fn steps(&self) -> Arc<dyn StepStore> {
        self.provider.clone().step_store().unwrap()
    }

    pub async fn host(&self, definitions: &[&Definition<u32>]) -> WorkflowHost {
        let host = self.idle_host(definitions);
        host.start().await.unwrap();
        host
    }

    /// A host that is not started: what is started on it waits in the store.
    pub fn idle_host(&self, definitions: &[&Definition<u32>]) -> WorkflowHost {
        let host =
            WorkflowHost::builder_shared(self.provider.clone()).poll_interval(Duration::from_millis(20));
        let host = host.grace(Duration::from_secs(20)).build();
        for definition in definitions {
            host.register((*definition).clone()).unwrap();
        }
        host
    }

    /// Until the host that runs this instance, and was dropped, has left it.
    pub async fn until_left(&self, id: &str) {
        until(async || {
            let owner = self.steps().load(id).await.unwrap().owner;
            owner.is_some_and(|owner| !self.file_of(owner).exists())
        })
        .await;
    }

    fn file_of(&self, owner: u64) -> PathBuf {
        self.folder.path().join(format!("state.db-owner-{owner}"))
    }

    /// As if the owner's process had died: its file is left, and nobody holds it.
    fn kill(&self, owner: Owner) {
        let left = self.file_of(owner.id());
        let text = std::fs::read(&left).unwrap();
        drop(owner);
        std::fs::write(left, text).unwrap();
    }

    /// Has a process take up all that is due of this definition, note of each how it runs there, and die.
    pub async fn death(&self, definition: &Definition<u32>, isolation: Option<Isolation>) -> Vec<Claimed> {
        let owner = self.steps().register().await.unwrap();
        let definitions = [(definition.id().to_owned(), definition.version())];
        let claimed = self.steps().claim(&owner, &definitions, now(), 100_000).await.unwrap();
        if let Some(isolation) = isolation {
            for one in &claimed {
                assert!(self.steps().isolate(&one.id, one.fence, isolation).await.unwrap());
            }
        }
        self.kill(owner);
        claimed
    }

    /// Makes all that is due of this definition suspects.
    pub async fn suspect(&self, definition: &Definition<u32>) {
        for _ in 0..2 {
            self.death(definition, None).await;
        }
    }

    /// As if what is due of this definition had killed its process as often as can be: twice, and ten times alone.
    pub async fn poison(&self, definition: &Definition<u32>) {
        self.suspect(definition).await;
        for _ in 0..10 {
            assert_eq!(self.death(definition, Some(Isolation::Alone)).await.len(), 1);
        }
    }

    pub async fn stored(&self, id: &str) -> WorkflowInstance {
        self.provider.get_workflow_instance(id).await.unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "the store is under the system clock")]
fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

pub async fn ended(host: &WorkflowHost, id: &str) -> Outcome<u32> {
    let end = host.outcome::<u32>(id);
    tokio::time::timeout(Duration::from_mins(1), end).await.expect("it ended in time").unwrap()
}

/// Waits for a condition that another task brings about; far longer than it takes, so that a busy machine fails no test.
pub async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let all = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("the condition came about");
}
