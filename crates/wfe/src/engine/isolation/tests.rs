use std::{
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
};

use super::*;

const LONG: Duration = Duration::from_mins(10);

/// Creates an isolation for one test, which shares nothing with other tests.
fn isolation(stretch: Duration, longest_rest: Duration, first_closure: Duration) -> &'static Isolation {
    Box::leak(Box::new(Isolation::new(Pace { stretch, longest_rest, first_closure })))
}

fn patient() -> &'static Isolation {
    isolation(LONG, LONG, LONG)
}

/// Polls the future once, and returns its result if the future is ready.
fn now<T>(work: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match work.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Requests a trial that begins at once, and checks that it is alone.
async fn alone(isolation: &'static Isolation) -> Ticket {
    let (trial, is_alone) = coming(isolation.request(), LONG).await;
    assert!(is_alone);
    trial
}

/// Waits until the trial has begun, and returns its ticket and whether the trial is alone.
fn coming(mut trial: Ticket, patience: Duration) -> Pin<Box<dyn Future<Output = (Ticket, bool)> + Send>> {
    Box::pin(async move {
        let is_alone = trial.begin(patience).await;
        (trial, is_alone)
    })
}

#[tokio::test]
async fn a_suspect_waits_for_bodies_that_run_and_none_begins_until_its_trial_is_over() {
    let isolation = patient();
    let running = isolation.enter(None).unwrap();
    let mut comes = coming(isolation.request(), LONG);
    assert!(now(comes.as_mut()).is_none());
    assert!(isolation.enter(None).is_none(), "it waits for a process without bodies");
    drop(running);
    let (trial, is_alone) = comes.await;
    assert!(is_alone && isolation.enter(None).is_none());
    let own = isolation.enter(Some(trial.number())).unwrap();
    let mut opened = pin!(isolation.opened(None));
    assert!(now(opened.as_mut()).is_none());
    drop(trial);
    let waiting = opened.await;
    let other = isolation.enter(None).unwrap();
    drop(waiting);
    // What it left running is a body like any other.
    let mut comes = coming(isolation.request(), LONG);
    drop(other);
    assert!(now(comes.as_mut()).is_none());
    drop(own);
    assert!(comes.await.1);
}

#[tokio::test]
async fn suspects_come_one_after_the_other_and_the_one_with_a_request_first() {
    let isolation = patient();
    let first = alone(isolation).await;
    let (second, third, dropped) = (isolation.request(), isolation.request(), isolation.request());
    isolation.prioritize(third.number());
    drop(dropped);
    let (mut second, mut third) = (coming(second, LONG), coming(third, LONG));
    assert!(now(second.as_mut()).is_none() && now(third.as_mut()).is_none());
    drop(first);
    let (third, is_alone) = third.await;
    assert!(is_alone && now(second.as_mut()).is_none());
    drop(third);
    let (second, is_alone) = second.await;
    assert!(is_alone);
    drop(second);
    assert!(isolation.enter(None).is_some());
}

#[tokio::test]
async fn a_trial_that_is_dropped_before_it_begins_is_the_next_ones() {
    let isolation = patient();
    let first = alone(isolation).await;
    let (second, third) = (isolation.request(), isolation.request());
    drop(first); // the second one is called
    drop(second);
    assert!(coming(third, LONG).await.1);
}

#[tokio::test]
async fn bodies_that_waited_begin_before_the_next_suspect() {
    let isolation = isolation(Duration::ZERO, LONG, LONG);
    let (first, second) = (alone(isolation).await, isolation.request());
    let mut opened = pin!(isolation.opened(None));
    assert!(now(opened.as_mut()).is_none());
    let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    isolation.lock().closed = Some(long_ago);
    drop(first);
    let mut second = coming(second, LONG);
    assert!(now(second.as_mut()).is_none(), "it leaves them their time");
    let waiting = opened.await;
    assert!(now(second.as_mut()).is_none(), "until they have begun");
    let running = isolation.enter(None).unwrap();
    drop(waiting);
    assert!(now(second.as_mut()).is_none());
    drop(running);
    assert!(second.await.1);
}

#[tokio::test]
async fn suspects_follow_one_another_at_once_while_no_body_waits() {
    let isolation = isolation(Duration::ZERO, LONG, LONG);
    let (first, second) = (alone(isolation).await, isolation.request());
    drop(first);
    assert!(isolation.enter(None).is_none());
    assert!(coming(second, LONG).await.1);
}

#[tokio::test]
async fn others_begin_beside_a_long_body_while_a_suspect_waits_for_it() {
    let isolation = isolation(LONG, LONG, Duration::from_millis(1));
    let long = isolation.enter(None).unwrap();
    let waits = tokio::spawn(coming(isolation.request(), LONG));
    // Again and again: in between it tries to be alone.
    for _ in 0..3 {
        while !isolation.lock().is_closed {
            tokio::task::yield_now().await;
        }
        let waiting = isolation.opened(None).await;
        drop((isolation.enter(None).unwrap(), waiting));
    }
    assert!(!waits.is_finished());
    drop(long);
    assert!(waits.await.unwrap().1);
}

#[tokio::test]
async fn a_suspect_that_takes_long_lets_others_begin_and_the_next_one_comes_beside_it() {
    let isolation = patient();
    let long = alone(isolation).await;
    let body = isolation.enter(Some(long.number())).unwrap();
    let mut in_the_way = pin!(isolation.keeps_others_waiting());
    assert!(now(in_the_way.as_mut()).is_none());
    let next = isolation.request();
    in_the_way.await;
    isolation.end_trial(long.number());
    // It comes beside that one if it has not the patience …
    let (next, is_alone) = coming(next, Duration::ZERO).await;
    assert!(!is_alone && isolation.enter(None).is_none());
    drop(next);
    // … but it waits longer for the body of an instance that is no suspect.
    let ordinary = isolation.enter(None).unwrap();
    let mut next = coming(isolation.request(), Duration::ZERO);
    assert!(now(next.as_mut()).is_none());
    assert!(isolation.enter(Some(long.number())).is_none(), "its own next body waits as others do");
    drop(ordinary);
    let (next, is_alone) = next.await;
    assert!(!is_alone);
    drop(next);
    // It comes to a commit: from then on it is an instance like any other.
    drop(long);
    let mut next = coming(isolation.request(), Duration::ZERO);
    assert!(now(next.as_mut()).is_none());
    drop(body);
    assert!(next.await.1);
}

/// Observes the process until `until` is set. Returns for how many seconds the process was closed and open, in turn.
async fn closed_and_open(isolation: &'static Isolation, until: &AtomicBool) -> Vec<u64> {
    let (mut times, mut was_closed, mut since) = (Vec::new(), true, Instant::now());
    while !until.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let is_closed = isolation.lock().is_closed;
        if is_closed != was_closed {
            times.push((since.elapsed() + Duration::from_millis(500)).as_secs());
            (was_closed, since) = (is_closed, Instant::now());
        }
    }
    times
}

#[tokio::test(start_paused = true)]
async fn while_a_body_goes_on_for_an_hour_others_are_kept_out_for_a_bounded_time() {
    let isolation = isolation(Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(1));
    let long = isolation.enter(None).unwrap();
    let waits = tokio::spawn(coming(isolation.request(), Duration::from_hours(2)));
    tokio::task::yield_now().await;
    let is_over = AtomicBool::new(false);
    let hour = async {
        tokio::time::sleep(Duration::from_hours(1)).await;
        is_over.store(true, SeqCst);
    };
    let (times, ()) = tokio::join!(closed_and_open(isolation, &is_over), hour);
    assert_eq!(times[..10], [1, 1, 2, 2, 4, 4, 8, 8, 10, 10]);
    assert!(times.iter().all(|time| *time <= 10), "{times:?}");
    assert!(!waits.is_finished());
    drop(long);
    assert!(waits.await.unwrap().1, "it had the patience");
}

#[tokio::test(start_paused = true)]
async fn a_suspect_comes_beside_a_body_that_goes_on_for_long_and_others_begin_after_its_trial() {
    let isolation = isolation(Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(1));
    let long = isolation.enter(None).unwrap();
    let began = Instant::now();
    let comes = coming(isolation.request(), Duration::from_secs(10));
    let (trial, is_alone) = before(began + LONG, comes).await.expect("its trial comes");
    assert!(!is_alone && isolation.enter(None).is_none());
    assert_eq!(
        began.elapsed().as_secs(),
        40,
        "a body that takes less than the longest closure is waited for"
    );
    let own = isolation.enter(Some(trial.number())).unwrap();
    drop((own, trial));
    drop(isolation.enter(None).unwrap());
    drop(long);
    assert!(coming(isolation.request(), Duration::from_secs(10)).await.1);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_is_patient_with_another_one_lets_others_begin_meanwhile() {
    let isolation = isolation(Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(1));
    let long = alone(isolation).await;
    let _body = isolation.enter(Some(long.number())).unwrap();
    isolation.end_trial(long.number());
    let waits = tokio::spawn(coming(isolation.request(), Duration::from_mins(5)));
    tokio::task::yield_now().await;
    let began = Instant::now();
    let opened = before(began + Duration::from_secs(11), isolation.opened(None));
    let waiting = opened.await.expect("others may begin");
    drop((isolation.enter(None).unwrap(), waiting));
    assert!(!waits.await.unwrap().1);
    assert!(began.elapsed() < Duration::from_secs(311), "{:?}", began.elapsed());
}

#[test]
fn each_death_beside_others_doubles_what_a_suspect_may_keep_others_waiting() {
    let of = |beside| allowance(Deaths { beside, ..Deaths::default() }).as_secs();
    assert_eq!((of(0), of(1), of(5)), (10, 20, 320));
    assert!(of(31) < of(32) && of(32) == of(u32::MAX));
}

/// Bodies end and suspects are dropped at arbitrary moments. A suspect is always alone, and at the end nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_suspect_is_alone_whatever_goes_on_beside_it() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static BODIES: AtomicUsize = AtomicUsize::new(0);
    let isolation =
        isolation(Duration::from_micros(300), Duration::from_millis(1), Duration::from_micros(50));
    let ordinary = (0..40).map(|n| {
        tokio::spawn(async move {
            for _ in 0..25 {
                let mut waiting = None;
                let running = loop {
                    match isolation.enter(None) {
                        Some(running) => break running,
                        None => waiting = Some(isolation.opened(waiting.take()).await),
                    }
                };
                drop(waiting);
                BODIES.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_micros(n * 7 % 90)).await;
                BODIES.fetch_sub(1, Ordering::SeqCst);
                drop(running);
            }
        })
    });
    let suspects = (0..60).map(|n| {
        tokio::spawn(async move {
            let mut trial = isolation.request();
            if n % 3 == 0 {
                // Not for long, perhaps.
                let end = Instant::now() + Duration::from_micros(n * 13);
                if before(end, trial.begin(LONG)).await.is_none() {
                    return;
                }
            } else {
                assert!(trial.begin(LONG).await);
            }
            let own = isolation.enter(Some(trial.number())).unwrap();
            assert_eq!(BODIES.load(Ordering::SeqCst), 0);
            thread::yield_now();
            assert_eq!(BODIES.load(Ordering::SeqCst), 0);
            drop((own, trial));
        })
    });
    let all: Vec<_> = ordinary.chain(suspects).collect();
    for one in all {
        one.await.unwrap();
    }
    let state = isolation.lock();
    assert_eq!((state.ordinary, state.lasting, state.waiting, state.trial), (0, 0, 0, None));
    assert!(state.suspects.is_empty() && state.queue.is_empty() && !state.is_closed);
}
