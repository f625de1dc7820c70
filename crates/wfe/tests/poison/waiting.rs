use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, Event, WorkflowBuilder, WorkflowName},
    models::WorkflowStatus,
    status::{State, Waits},
    steps::StepError,
    traits::Isolation,
};

use crate::harness::{Place, ended, until};

/// How often bodies began, and when they may end.
#[derive(Clone)]
struct Bodies {
    begun: Arc<AtomicUsize>,
    may_end: Arc<Semaphore>,
}

impl Bodies {
    fn new() -> Self {
        Self { begun: Arc::default(), may_end: Arc::new(Semaphore::new(0)) }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn let_go(&self, count: usize) {
        self.may_end.add_permits(count);
    }

    /// A workflow of one step, which ends when it is let go.
    fn definition(&self, id: &str) -> Definition<u32> {
        WorkflowBuilder::<u32>::new(id, 1)
            .with(self.clone())
            .then("held", async |ctx, _| {
                ctx.app.begun.fetch_add(1, Ordering::SeqCst);
                tokio::select! {
                    permit = ctx.app.may_end.acquire() => permit.unwrap().forget(),
                    () = ctx.cancellation().cancelled() => {}
                }
                Ok(())
            })
            .build()
            .unwrap()
    }
}

/// A child.
const PART: WorkflowName<u32> = WorkflowName::new("part");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_suspect_runs_no_other_body_begins_and_all_that_needs_none_goes_on() {
    let place = Place::new().await;
    let (suspects, others) = (Bodies::new(), Bodies::new());
    let (suspect, other) = (suspects.definition("suspect"), others.definition("other"));
    let wait = WorkflowBuilder::<u32>::new("wait", 1)
        .wait_for("word", Event::<u32>::new("word"), |_| "k")
        .output(|word, data| *data = word)
        .build()
        .unwrap();
    let idle = place.idle_host(&[&suspect]);
    let first = idle.start_workflow("suspect", &0_u32).await.unwrap();
    let second = idle.start_workflow("suspect", &0_u32).await.unwrap();
    place.suspect(&suspect).await;
    let host = place.host(&[&suspect, &other, &wait]).await;
    until(async || suspects.begun() == 1).await;
    let id = host.start_workflow("other", &0_u32).await.unwrap();
    until(async || host.status(&id).await.unwrap().positions[0].waits == Waits::Slot).await;
    assert_eq!(host.status(&second).await.unwrap().positions[0].waits, Waits::Slot);
    // Commits, waits and events are no bodies.
    let waits = host.start_workflow("wait", &0_u32).await.unwrap();
    host.publish_event("word", "k", &7_u32).await.unwrap();
    assert_eq!(ended(&host, &waits).await, Outcome::Completed(7));
    assert_eq!((suspects.begun(), others.begun()), (1, 0));
    suspects.let_go(2);
    others.let_go(1);
    for id in [&first, &second, &id] {
        assert_eq!(ended(&host, id).await, Outcome::Completed(0));
    }
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_waits_until_the_bodies_of_all_hosts_of_its_process_have_ended() {
    let (place, bodies, suspects) = (Place::new().await, Bodies::new(), Bodies::new());
    let (other, suspect) = (bodies.definition("other"), suspects.definition("suspect"));
    let one = place.host(&[&other]).await;
    let running = one.start_workflow("other", &0_u32).await.unwrap();
    until(async || bodies.begun() == 1).await;
    let two = place.idle_host(&[&suspect]);
    let id = two.start_workflow("suspect", &0_u32).await.unwrap();
    place.suspect(&suspect).await;
    two.start().await.unwrap();
    until(async || two.status(&id).await.unwrap().positions[0].waits == Waits::Slot).await;
    bodies.let_go(1);
    until(async || suspects.begun() == 1).await;
    assert_eq!(ended(&one, &running).await, Outcome::Completed(0));
    suspects.let_go(1);
    assert_eq!(ended(&two, &id).await, Outcome::Completed(0));
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_whose_earlier_body_ends_while_it_waits_for_its_turn_runs_again() {
    let (place, begun) = (Place::new().await, Arc::new(AtomicUsize::new(0)));
    let (let_go, may_end) = mpsc::channel::<()>();
    let (may_end, counted) = (Mutex::new(may_end), begun.clone());
    // The first one blocks its thread, whatever its token says.
    let definition = WorkflowBuilder::<u32>::new("suspect", 1)
        .blocking("blocks", move |_, _| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                may_end.lock().unwrap().recv().unwrap();
            }
            Ok(())
        })
        .build()
        .unwrap();
    let id = place.idle_host(&[&definition]).start_workflow("suspect", &0_u32).await.unwrap();
    place.suspect(&definition).await;
    let one = WorkflowHost::builder_shared(place.provider.clone()).grace(Duration::ZERO).build();
    one.register(definition.clone()).unwrap();
    one.start().await.unwrap();
    until(async || begun.load(Ordering::SeqCst) == 1).await;
    one.stop().await.unwrap();
    let two = place.host(&[&definition]).await;
    until(async || two.status(&id).await.unwrap().positions[0].waits == Waits::Slot).await;
    let_go.send(()).unwrap();
    assert_eq!(ended(&two, &id).await, Outcome::Completed(0));
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    two.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_take_effect_at_a_suspect_that_waits_for_its_turn() {
    let (place, bodies) = (Place::new().await, Bodies::new());
    let definition = bodies.definition("suspect");
    let idle = place.idle_host(&[&definition]);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(idle.start_workflow("suspect", &0_u32).await.unwrap());
    }
    place.suspect(&definition).await;
    let host = place.host(&[&definition]).await;
    until(async || bodies.begun() == 1).await;
    host.terminate(&ids[2]).await.unwrap();
    host.suspend(&ids[3]).await.unwrap();
    bodies.let_go(1);
    assert_eq!(ended(&host, &ids[2]).await, Outcome::Terminated);
    until(async || place.stored(&ids[3]).await.status == WorkflowStatus::Suspended).await;
    // The one that was next in the queue came after these.
    until(async || bodies.begun() == 2).await;
    bodies.let_go(2);
    host.resume(&ids[3]).await.unwrap();
    for at in [0, 1, 3] {
        assert_eq!(ended(&host, &ids[at]).await, Outcome::Completed(0));
    }
    assert_eq!(bodies.begun(), 3);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_gives_suspects_back_as_what_they_are() {
    let (place, bodies) = (Place::new().await, Bodies::new());
    let definition = bodies.definition("suspect");
    let idle = place.idle_host(&[&definition]);
    for _ in 0..3 {
        idle.start_workflow("suspect", &0_u32).await.unwrap();
    }
    place.suspect(&definition).await;
    place.death(&definition, Some(Isolation::Alone)).await;
    let host = place.host(&[&definition]).await;
    until(async || bodies.begun() == 1).await;
    bodies.let_go(1);
    host.stop().await.unwrap();
    // The one that ran has ended; of the others neither less nor more is known.
    let left = place.death(&definition, None).await;
    let deaths: Vec<_> = left.iter().map(|one| (one.deaths.is_suspect(), one.deaths.alone)).collect();
    assert_eq!(deaths, [(true, 1); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_poison_is_suspended_while_its_parent_waits_and_ends_it_once_it_is_resumed() {
    let (place, bodies) = (Place::new().await, Bodies::new());
    let part = bodies.definition("part");
    let whole = WorkflowBuilder::<u32>::new("whole", 1)
        .sub_workflow("sub", PART, |_| 5)
        .output(|part, data| *data = part + 1)
        .build()
        .unwrap();
    let host = place.host(&[&whole, &part]).await;
    let id = host.start_workflow("whole", &0_u32).await.unwrap();
    let of = format!("{id}//sub//1");
    until(async || bodies.begun() == 1).await;
    drop(host);
    place.until_left(&of).await;
    place.poison(&part).await;
    let host = place.host(&[&whole, &part]).await;
    until(async || place.stored(&of).await.status == WorkflowStatus::Suspended).await;
    assert_eq!(host.status(&of).await.unwrap().cause.unwrap().code, StepError::POISON);
    let parent = host.status(&id).await.unwrap();
    assert_eq!(parent.state, State::Running);
    assert!(matches!(&parent.positions[0].waits, Waits::Child { id, .. } if *id == of));
    assert_eq!(bodies.begun(), 1);
    bodies.let_go(1);
    host.resume(&of).await.unwrap();
    assert_eq!(ended(&host, &id).await, Outcome::Completed(6));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_is_poison_is_suspended_and_cancelled_with_its_children() {
    let place = Place::new().await;
    let bodies = Bodies::new();
    let part = bodies.definition("part");
    let whole = WorkflowBuilder::<u32>::new("whole", 1)
        .parallel("both", |both| {
            both.branch(|one| one.sub_workflow("sub", PART, |_| 0)).branch(|other| {
                other.delay("soon", |_| Duration::from_millis(1)).then("deadly", async |_, _| Ok(()))
            })
        })
        .build()
        .unwrap();
    let host = place.host(&[&whole, &part]).await;
    let id = host.start_workflow("whole", &0_u32).await.unwrap();
    until(async || bodies.begun() == 1 && place.stored(&id).await.next_execution.is_none()).await;
    drop(host);
    place.until_left(&format!("{id}//both/0/sub//1")).await;
    let again = place.provider.get_workflow_instance(&id).await.unwrap();
    // As if the pause were over again: the parent is due, and kills.
    let due = wfe::models::WorkflowInstance { next_execution: Some(0), ..again };
    place.provider.persist_workflow(&due).await.unwrap();
    place.poison(&whole).await;
    let host = place.host(&[&whole, &part]).await;
    until(async || place.stored(&id).await.status == WorkflowStatus::Suspended).await;
    assert_eq!(host.status(&id).await.unwrap().cause.unwrap().code, StepError::POISON);
    until(async || bodies.begun() == 2).await;
    host.cancel(&id).await.unwrap();
    assert_eq!(ended(&host, &id).await, Outcome::Cancelled);
    assert_eq!(ended(&host, &format!("{id}//both/0/sub//1")).await, Outcome::Cancelled);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compensation_that_is_poison_is_suspended_and_goes_on_where_it_was() {
    let place = Place::new().await;
    let begun = Bodies::new();
    let definition = WorkflowBuilder::<u32>::new("saga", 1)
        .with(begun.clone())
        .saga("all", |all| {
            all.change("one", |data| *data += 1)
                .compensate_with(|one| {
                    one.then("undo", async |ctx, _| {
                        ctx.app.begun.fetch_add(1, Ordering::SeqCst);
                        tokio::select! {
                            permit = ctx.app.may_end.acquire() => permit.unwrap().forget(),
                            () = ctx.cancellation().cancelled() => return Err(StepError::fatal("cut short")),
                        }
                        Ok(())
                    })
                    .output(|(), data| *data += 10)
                })
                .call("fails", |_, _| Err::<(), _>(StepError::fatal("no")))
        })
        .build()
        .unwrap();
    let host = place.host(&[&definition]).await;
    let id = host.start_workflow("saga", &0_u32).await.unwrap();
    until(async || begun.begun() == 1).await;
    drop(host);
    place.until_left(&id).await;
    place.poison(&definition).await;
    let host = place.host(&[&definition]).await;
    until(async || place.stored(&id).await.status == WorkflowStatus::Suspended).await;
    assert_eq!(host.status(&id).await.unwrap().cause.unwrap().code, StepError::POISON);
    assert_eq!(begun.begun(), 1);
    begun.let_go(1);
    host.resume(&id).await.unwrap();
    assert_eq!(ended(&host, &id).await, Outcome::Completed(11));
    host.stop().await.unwrap();
}
