use std::time::{Duration, Instant};

use wfe::{
    WorkflowHost,
    models::WorkflowStatus,
    traits::{StepStore, WorkflowRepository},
};

use crate::worker::{Done, Doomed, Place, holding, killing, until};

/// How long a condition may take to come true on a loaded machine before the test fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// Starts instances; none runs yet.
async fn started(place: &Place, definition: &str, count: usize) -> Vec<String> {
    let host = WorkflowHost::builder(place.provider().await).build();
    let folder = place.0.path();
    let all = killing(folder).into_iter().chain([holding("hold", folder.to_owned(), "nobody", None)]);
    all.for_each(|definition| host.register_any(definition).unwrap());
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(host.start_workflow(definition, &Done::default()).await.unwrap());
    }
    ids
}

async fn status_of(place: &Place, id: &str) -> WorkflowStatus {
    place.provider().await.get_workflow_instance(id).await.unwrap().status
}

async fn until_status(place: &Place, id: &str, status: WorkflowStatus) {
    let began = Instant::now();
    while status_of(place, id).await != status {
        assert!(began.elapsed() < PATIENCE, "it did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The code of what suspended the instance, and what it says.
async fn cause(place: &Place, id: &str) -> (String, String) {
    let loaded = place.provider().await.load(id).await.unwrap();
    let cause = loaded.cause.unwrap();
    (cause.code, cause.error.message)
}

#[tokio::test]
async fn an_instance_that_kills_its_process_is_suspended_alone_and_those_beside_it_end() {
    let place = Place::new();
    let held = started(&place, "hold", 5).await;
    // They run when it dies, twice.
    for life in 1..=2 {
        let worker = place.doomed("one", "said");
        until(|| place.begun_by("one") == life * held.len());
        worker.kill();
    }
    let deadly = started(&place, "kills", 1).await.remove(0);
    place.let_go("one");
    let mut lives = 0;
    let mut worker: Doomed;
    loop {
        worker = place.doomed("one", "said");
        lives += 1;
        let began = Instant::now();
        while !worker.has_ended() && status_of(&place, &deadly).await != WorkflowStatus::Suspended {
            assert!(began.elapsed() < PATIENCE, "it neither died nor ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !worker.has_ended() {
            break;
        }
        assert!(lives < 14, "it was never suspended");
    }
    // Two deaths beside others, ten alone, and the life in which it is suspended.
    assert_eq!((lives, place.begun_by("kills")), (13, 12));
    assert_eq!(cause(&place, &deadly).await.0, "poison");
    for id in &held {
        until_status(&place, id, WorkflowStatus::Complete).await;
    }
    let said = std::fs::read_to_string(place.0.path().join("said")).unwrap();
    let told = said.lines().filter(|line| line.contains("ERROR") && line.contains(&deadly));
    let told: Vec<_> = told.collect();
    assert!(told.len() == 1 && told[0].contains("poison") && told[0].contains("resume"), "{told:?}");
    // It is taken up again as it says.
    std::fs::write(place.0.path().join("harmless"), "").unwrap();
    WorkflowHost::builder(place.provider().await).build().resume(&deadly).await.unwrap();
    until_status(&place, &deadly, WorkflowStatus::Complete).await;
    worker.kill();
}

#[tokio::test]
async fn plain_kills_of_a_process_suspend_none_of_many_instances() {
    let place = Place::new();
    let ids = started(&place, "counts", 40).await;
    for life in 1..=12 {
        let worker = place.doomed("one", "said");
        let before = place.begun_by("counts");
        // In the midst of something, each time a little further on.
        until(|| place.begun_by("counts") > before + 3 * life);
        worker.kill();
    }
    let worker = place.doomed("one", "said");
    for id in &ids {
        until_status(&place, id, WorkflowStatus::Complete).await;
    }
    worker.kill();
}

#[tokio::test]
async fn who_was_alone_at_ten_kills_in_a_row_is_suspended_and_no_other() {
    let place = Place::new();
    let ids = started(&place, "hold", 4).await;
    for life in 1..=12 {
        let worker = place.doomed("one", "said");
        // All of them twice, then one alone: the first one.
        let begun = if life < 3 { life * ids.len() } else { 2 * ids.len() + life - 2 };
        until(|| place.begun_by("one") == begun);
        worker.kill();
    }
    assert_eq!(place.begun().iter().filter(|(_, id)| *id == ids[0]).count(), 12);
    let worker = place.doomed("one", "said");
    until_status(&place, &ids[0], WorkflowStatus::Suspended).await;
    let (code, message) = cause(&place, &ids[0]).await;
    assert!(
        code == "poison" && message.contains("killed from outside") && message.contains("resume"),
        "{message}"
    );
    place.let_go("one");
    for id in &ids[1..] {
        until_status(&place, id, WorkflowStatus::Complete).await;
    }
    assert_eq!(status_of(&place, &ids[0]).await, WorkflowStatus::Suspended);
    worker.kill();
}

/// What a dead process left is run by a living one once its own bodies have ended.
#[tokio::test]
async fn a_suspect_of_a_dead_process_waits_for_the_bodies_of_the_living_one() {
    for _ in 0..20 {
        if suspect_has_waited().await {
            return;
        }
    }
    panic!("the suspect was the first one each time");
}

/// `false`: the suspect had its turn before the other body began, which it may.
async fn suspect_has_waited() -> bool {
    let place = Place::new();
    // Nobody but the second process knows this one's definition.
    let folder = place.0.path().to_owned();
    let host = WorkflowHost::builder(place.provider().await).build();
    host.register(holding("only-two", folder, "nobody", None)).unwrap();
    let held = host.start_workflow("only-two", &Done::default()).await.unwrap();
    let deadly = started(&place, "kills", 1).await.remove(0);
    for _ in 0..2 {
        let mut worker = place.doomed("one", "said");
        until(|| worker.has_ended());
    }
    std::fs::write(place.0.path().join("harmless"), "").unwrap();
    let mut two = place.worker("two", PATIENCE, Duration::from_millis(50));
    until(|| place.begun_by("two") == 1);
    let mut stands = String::new();
    until(|| {
        stands = two.ask(&format!("stands {deadly}"));
        stands == "[Slot]" || stands == "[]"
    });
    let has_waited = stands == "[Slot]";
    if has_waited {
        assert_eq!(place.begun_by("kills"), 2);
    }
    place.let_go("two");
    assert_eq!(two.ask(&format!("wait {held}")), "two");
    until_status(&place, &deadly, WorkflowStatus::Complete).await;
    two.stop();
    has_waited
}
