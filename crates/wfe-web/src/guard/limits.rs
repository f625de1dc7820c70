//! How often a peer may act and sign in.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use wfe_core::sync::lock;

use crate::reply::Failure;

const ACTIONS: (usize, Duration) = (10, Duration::from_secs(1));
const LOGINS: (usize, Duration) = (5, Duration::from_mins(1));
/// From so many peers on, those that have done nothing for long are forgotten.
const PEERS: usize = 1_000;

/// What each peer has done lately.
#[derive(Default)]
pub(crate) struct Limits {
    actions: Mutex<Times>,
    logins: Mutex<Times>,
}

type Times = HashMap<Option<IpAddr>, VecDeque<Instant>>;

impl Limits {
    pub(super) fn action(&self, peer: Option<IpAddr>) -> Result<(), Failure> {
        allow(&self.actions, peer, ACTIONS, Instant::now(), "actions a second")
    }

    pub(super) fn login(&self, peer: Option<IpAddr>) -> Result<(), Failure> {
        allow(&self.logins, peer, LOGINS, Instant::now(), "attempts to sign in a minute")
    }
}

fn allow(
    times: &Mutex<Times>,
    peer: Option<IpAddr>,
    (most, within): (usize, Duration),
    now: Instant,
    what: &str,
) -> Result<(), Failure> {
    let mut times = lock(times);
    let is_old = |time: &Instant| now.saturating_duration_since(*time) >= within;
    if times.len() >= PEERS {
        times.retain(|_, of| of.back().is_some_and(|last| !is_old(last)));
    }
    let of = times.entry(peer).or_default();
    while of.front().is_some_and(is_old) {
        of.pop_front();
    }
    if of.len() >= most {
        let text = format!("At most {most} {what} are allowed. Nothing was changed; try again later.");
        return Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "This is too often", text));
    }
    of.push_back(now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_own_limit_and_gets_new_tries_with_time() {
        let times = Mutex::default();
        let (now, one) = (Instant::now(), Some(IpAddr::from([127, 0, 0, 1])));
        let ask = |peer, now| allow(&times, peer, (2, Duration::from_secs(1)), now, "tries").is_ok();
        assert_eq!([ask(one, now), ask(one, now), ask(one, now)], [true, true, false]);
        assert!(ask(None, now));
        assert!(!ask(one, now + Duration::from_millis(999)));
        assert!(ask(one, now + Duration::from_secs(1)));
    }
}
