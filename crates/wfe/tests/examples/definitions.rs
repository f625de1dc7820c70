//! The definitions of examples, called by themselves, in a world that is another one than that of their programs.

use std::sync::Arc;

use wfe::{Outcome, WorkflowHost, host::Workflow, status::Waits, steps::StepError};
use wfe_sqlite::SqlitePersistenceProvider;

#[path = "../../examples/fan_out/workflow.rs"]
mod fan_out;

use fan_out::{COUNTED, Census, Registry};

/// Knows nothing of the islands, and of every other region that ten live there.
struct Ten;

impl Registry for Ten {
    fn count(&self, region: &str) -> Result<Option<u64>, StepError> {
        match region {
            "nowhere" => Err(StepError::fatal("there is no such region").with_code("no-region")),
            "islands" => Ok(None),
            _ => Ok(Some(10)),
        }
    }
}

async fn host() -> (WorkflowHost, Workflow<Census>) {
    let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    host.register(fan_out::region(Arc::new(Ten)).unwrap()).unwrap();
    let workflow = host.register(fan_out::census().unwrap()).unwrap();
    host.start().await.unwrap();
    (host, workflow)
}

fn census(regions: &[&str]) -> Census {
    Census { regions: regions.iter().map(|region| (*region).to_owned()).collect(), ..Census::default() }
}

async fn waits_by_hand(host: &WorkflowHost, census: &str) -> bool {
    for position in host.status(census).await.unwrap().positions {
        if let Waits::Child { id, .. } = position.waits
            && host.status(&id).await.unwrap().current_steps == ["by-hand"]
        {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_census_adds_up_what_was_known_and_what_was_counted_by_hand() {
    let (host, workflow) = host().await;
    let instance = workflow.start(&census(&["north", "islands"])).await.unwrap();
    // An event from before the child began would not be for it.
    host.idle().await.unwrap();
    assert!(waits_by_hand(&host, instance.id()).await);
    host.publish(COUNTED, "islands", 7).await.unwrap();
    let end = instance.outcome().await.unwrap().completed().unwrap();
    assert_eq!((end.total, end.counts["islands"]), (17, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_census_whose_child_has_failed_for_good_fails_as_its_child_did() {
    let (_host, workflow) = host().await;
    let instance = workflow.start(&census(&["north", "nowhere"])).await.unwrap();
    let end = instance.outcome().await.unwrap();
    let Outcome::Failed(failure) = end else { panic!("{end:?}") };
    assert_eq!((failure.step.as_str(), failure.code.as_str()), ("count", "no-region"));
}
