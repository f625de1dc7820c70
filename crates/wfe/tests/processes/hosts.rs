//! What a process learns of the hosts in other processes.

use std::{fs, time::Duration};

use wfe::traits::{Host, StepStore};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::worker::{PATIENCE, Place, until};

const LEASE: Duration = Duration::from_secs(30);
/// Nothing here may depend on polls.
const RARELY: Duration = Duration::from_hours(1);

/// The host that has this worker's own definition.
fn of<'a>(hosts: &'a [Host], worker: &str) -> Option<&'a Host> {
    let own = (format!("only-{worker}"), 1);
    hosts.iter().find(|host| host.card.as_ref().is_some_and(|card| card.definitions.contains(&own)))
}

#[tokio::test]
async fn hosts_of_other_processes_say_what_they_are_and_do_when_they_are_asked() {
    let place = Place::new();
    let mut one = place.worker("one", LEASE, RARELY);
    let other = place.worker("other", LEASE, RARELY);
    let provider = place.provider().await;
    // Their cards stand there from the start on.
    let hosts = provider.hosts(Duration::ZERO).await.unwrap();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    let (first, second) = (of(&hosts, "one").unwrap(), of(&hosts, "other").unwrap());
    for host in [first, second] {
        let card = host.card.as_ref().unwrap();
        assert_eq!((host.is_alive, card.owner, card.bodies_running), (Some(true), host.owner, 0));
        let program = std::env::current_exe().unwrap();
        assert_eq!(card.program, program.file_name().unwrap().to_str().unwrap());
        assert!(card.machine.is_some() && card.bodies_limit > 0 && card.instances_limit > 0);
        assert!(card.pid != std::process::id() && card.pid > 0 && card.running.is_empty());
    }
    assert_ne!(first.card.as_ref().unwrap().pid, second.card.as_ref().unwrap().pid);

    let id = one.start("hold");
    until(|| place.begun_by("one") == 1);
    let stale = provider.hosts(Duration::ZERO).await.unwrap();
    assert_eq!(stale, hosts, "nobody writes while nobody asks");
    let fresh = provider.hosts(PATIENCE).await.unwrap();
    let card = of(&fresh, "one").unwrap().card.as_ref().unwrap();
    assert_eq!((card.bodies_running, card.instances_busy, card.running.len()), (1, 1, 1), "{card:?}");
    assert_eq!((&*card.running[0].instance, &*card.running[0].step), (&*id, "hold"));
    assert!(card.running[0].since >= card.started && card.written >= card.running[0].since);

    // So does a process that only reads, and it writes nothing else.
    let reader =
        SqlitePersistenceProvider::file(place.0.path().join("state.db")).read_only().open().await.unwrap();
    let asked = reader.hosts(PATIENCE).await.unwrap();
    assert_eq!(asked.len(), 2);
    for (before, after) in fresh.iter().zip(&asked) {
        assert!(after.card.as_ref().unwrap().written > before.card.as_ref().unwrap().written);
    }
    let fresh = asked;

    // A frozen one lives, and its last card stands.
    one.freeze();
    let frozen = provider.hosts(Duration::from_millis(100)).await.unwrap();
    let (before, after) = (of(&fresh, "one").unwrap(), of(&frozen, "one").unwrap());
    assert_eq!(before, after);
    assert_ne!(of(&frozen, "other").unwrap().card, of(&fresh, "other").unwrap().card, "it has answered");
    one.kill();
    let killed = provider.hosts(Duration::ZERO).await.unwrap();
    let dead = of(&killed, "one").unwrap();
    assert_eq!((dead.is_alive, &dead.card), (Some(false), &after.card));

    // Its file goes, and the instance that nobody has still names its owner.
    fs::remove_file(place.0.path().join(format!("state.db-owner-{}", dead.owner))).unwrap();
    let hosts = provider.hosts(Duration::ZERO).await.unwrap();
    let nobody = hosts.iter().find(|host| host.owner == dead.owner).unwrap();
    assert_eq!((nobody.is_alive, &nobody.card), (Some(false), &None));
    other.stop();
}

#[tokio::test]
async fn the_next_due_time_of_a_host_is_on_its_card() {
    let place = Place::new();
    let mut one = place.worker("one", LEASE, RARELY);
    let id = one.start("pause");
    let provider = place.provider().await;
    let due = loop {
        let loaded = provider.load(&id).await.unwrap();
        match loaded.instance.next_execution {
            Some(due) if due > 0 && loaded.owner.is_none() => break due,
            _ => tokio::task::yield_now().await,
        }
    };
    let mut shown = None;
    // The host may still be about to note the time.
    while shown != Some(due) {
        let hosts = provider.hosts(PATIENCE).await.unwrap();
        let card = of(&hosts, "one").unwrap().card.clone().unwrap();
        shown = card.next_due.map(|due| due.timestamp_millis());
        assert!(place.begun_by("one") == 1, "it went on before its due time was seen: {card:?}");
    }
    one.stop();
}
