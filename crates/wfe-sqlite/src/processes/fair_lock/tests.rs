use super::*;
use crate::file::sidecars::Sidecars;

/// Longer than any test.
const LATER: Duration = Duration::from_mins(1);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), "").unwrap();
        Self(folder)
    }

    fn beside(&self) -> Arc<Beside> {
        Beside::join(&Sidecars::of(&self.0.path().join("a.db")).unwrap(), LATER).unwrap()
    }

    fn turnstile(&self) -> Turnstile {
        Turnstile::new(self.beside())
    }
}

/// How long it takes to enter.
fn enter(turnstile: &mut Turnstile) -> Duration {
    let start = Instant::now();
    turnstile.enter(start + LATER);
    start.elapsed()
}

#[test]
fn one_alone_enters_and_leaves_at_once_and_writes_nothing() {
    let place = Place::new();
    let mut alone = place.turnstile();
    let (start, rounds) = (Instant::now(), 1_000);
    for _ in 0..rounds {
        alone.enter(start + LATER);
        assert!(alone.turn.is_held && !alone.gate.is_held);
        alone.leave();
    }
    let mean = start.elapsed() / rounds;
    assert!(mean < Duration::from_micros(50), "{mean:?}");
    for shared in [alone.beside.gate(), alone.beside.turn()] {
        assert_eq!(shared.file.metadata().unwrap().len(), 0);
    }
}

#[test]
fn only_one_has_the_turn_and_one_the_gate() {
    let place = Place::new();
    let inside = std::sync::atomic::AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut turnstile = place.turnstile();
                for _ in 0..200 {
                    turnstile.enter(Instant::now() + LATER);
                    assert!(turnstile.turn.is_held && !turnstile.gate.is_held);
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    turnstile.leave();
                }
            });
        }
    });
}

#[test]
fn a_lock_that_stands_still_is_waited_for_once_and_again_after_it_moved() {
    for which in [Which::Gate, Which::Turn] {
        let place = Place::new();
        let (holder, mut passer) = (place.turnstile(), place.turnstile());
        let held = holder.shared(which);
        held.file.lock().unwrap();
        assert!(enter(&mut passer) >= STALL);
        passer.leave();
        for _ in 0..20 {
            assert!(enter(&mut passer) < STALL);
            // The other lock keeps order meanwhile.
            assert_eq!(passer.gate.is_held, matches!(which, Which::Turn));
            assert_eq!(passer.turn.is_held, matches!(which, Which::Gate));
            passer.leave();
        }
        // Somebody else got it meanwhile.
        held.put(&7_u64.to_ne_bytes()).unwrap();
        assert!(enter(&mut passer) >= STALL);
        passer.leave();
        assert!(enter(&mut passer) < STALL);
        passer.leave();
        // It was free.
        held.file.unlock().unwrap();
        assert!(enter(&mut passer) < STALL && passer.turn.is_held && !passer.gate.is_held);
        passer.leave();
        held.file.lock().unwrap();
        assert!(enter(&mut passer) >= STALL);
    }
}

#[test]
fn gate_and_turn_that_stand_still_cost_one_wait_together() {
    let place = Place::new();
    let (holder, mut passer) = (place.turnstile(), place.turnstile());
    holder.beside.gate().file.lock().unwrap();
    holder.beside.turn().file.lock().unwrap();
    let waited = enter(&mut passer);
    assert!(waited >= STALL && waited < STALL * 2, "{waited:?}");
    passer.leave();
    // Not even when the gate is free again: the turn has not moved.
    holder.beside.gate().file.unlock().unwrap();
    assert!(enter(&mut passer) < STALL && passer.gate.is_held);
}

#[test]
fn as_long_as_it_moves_it_is_waited_for_and_at_most_until_the_time_is_over() {
    let place = Place::new();
    let (holder, mut passer) = (place.turnstile(), place.turnstile());
    holder.beside.gate().file.lock().unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                holder.beside.gate().put(&holder.beside.stamp().to_ne_bytes()).unwrap();
                thread::yield_now();
            }
        });
        let start = Instant::now();
        passer.enter(start + STALL * 2);
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(start.elapsed() >= STALL * 2);
    });
}

#[test]
fn whoever_had_to_wait_leaves_a_stamp_in_what_it_gets() {
    let place = Place::new();
    let (holder, mut passer) = (place.turnstile(), place.turnstile());
    holder.beside.gate().file.lock().unwrap();
    passer.enter(Instant::now() + SHORTEST);
    assert!(passer.turn.is_held);
    assert_eq!(holder.beside.turn().get::<8>().unwrap(), passer.turn.stamp);
    assert_ne!(passer.turn.stamp, [0; 8]);
    assert_eq!(holder.beside.gate().get::<8>().unwrap(), [0; 8], "it did not get this one");
}

#[test]
fn short_waits_add_up() {
    let place = Place::new();
    let (holder, mut passer) = (place.turnstile(), place.turnstile());
    holder.beside.gate().file.lock().unwrap();
    let (start, short) = (Instant::now(), STALL / 10);
    while passer.gate.stood < STALL {
        passer.enter(Instant::now() + short);
        passer.leave();
        assert!(start.elapsed() < STALL * 5);
    }
    assert!(enter(&mut passer) < STALL);
}
