use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use wfe::{
    Outcome,
    definition::{Definition, WorkflowBuilder},
};

use crate::harness::{Place, ended, until};

/// Of how many suspects, unless `WFE_SUSPECTS` says another number.
const SUSPECTS: usize = 300;

/// Longer together than suspects come one after the other while others wait.
const SLOW: Duration = Duration::from_millis(10);

/// A short body that notes how many run beside it.
fn short(id: &str, running: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Definition<u32> {
    let (running, most) = (running.clone(), most.clone());
    WorkflowBuilder::<u32>::new(id, 1)
        .then("short", async move |_, _| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_suspects_is_cleared_one_by_one_and_none_is_suspended() {
    let place = Place::new().await;
    let count = std::env::var("WFE_SUSPECTS").map_or(SUSPECTS, |count| count.parse().unwrap());
    let (running, most) = (Arc::default(), Arc::default());
    let definition = short("suspect", &running, &most);
    let idle = place.idle_host(&[&definition]);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(idle.start_workflow("suspect", &0_u32).await.unwrap());
    }
    place.suspect(&definition).await;
    let began = Instant::now();
    let host = place.host(&[&definition]).await;
    for id in &ids {
        assert_eq!(ended(&host, id).await, Outcome::Completed(0));
    }
    println!("{count} suspects took {:?}", began.elapsed());
    assert_eq!(most.load(Ordering::SeqCst), 1);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_work_goes_on_beside_a_crowd_of_suspects() {
    let place = Place::new().await;
    let (running, most) = (Arc::default(), Arc::default());
    let other = short("other", &running, &most);
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = begun.clone();
    let suspect = WorkflowBuilder::<u32>::new("suspect", 1)
        .then("slow", async move |_, _| {
            begins.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(SLOW).await;
            Ok(())
        })
        .build()
        .unwrap();
    let idle = place.idle_host(&[&suspect]);
    let mut ids = Vec::new();
    for _ in 0..SUSPECTS {
        ids.push(idle.start_workflow("suspect", &0_u32).await.unwrap());
    }
    place.suspect(&suspect).await;
    // Less room than there are suspects.
    let host = wfe::WorkflowHost::builder_shared(place.provider.clone()).concurrent_instances(8).build();
    host.register(suspect).unwrap();
    host.register(other).unwrap();
    host.start().await.unwrap();
    until(async || begun.load(Ordering::SeqCst) >= 10).await;
    for n in 0..20 {
        let id = host.start_workflow("other", &0_u32).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Completed(0));
        if n == 0 {
            let suspects = place.provider.get_workflow_instances(&ids).await.unwrap();
            assert!(suspects.iter().any(|one| !one.status.is_final()), "it has waited for all suspects");
        }
    }
    for id in &ids {
        assert_eq!(ended(&host, id).await, Outcome::Completed(0));
    }
    host.stop().await.unwrap();
}
