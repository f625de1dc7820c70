//! How people sign in: with a code that is good once, or with a token. Both buy a cookie.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use uuid::Uuid;
use wfe_core::sync::lock;

use super::{
    Access,
    visitor::{Token, Visitor, same},
};
use crate::{
    ask::Ask,
    html,
    reply::{Failure, Reply, see},
    routes::{Answer, Group, Kind, Route},
};

/// How long a person stays signed in.
const SESSION: Duration = Duration::from_hours(12);
/// How many people can be signed in at once; then the oldest is signed out.
const SESSIONS: usize = 1_000;

/// People sign in before they see anything. Cheap to clone: all clones share codes and sessions.
///
/// A [code](Self::code) is good once: the first browser that opens the page `login?code=CODE` gets a cookie that is good for 12
/// hours, or until the process ends. A [token](Token) is good until the process ends. A person enters it on the page
/// `login`; a program sends it in the header `Authorization: Bearer TOKEN`.
#[derive(Clone, Default)]
pub struct SignIn(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tokens: Vec<Token>,
    codes: Mutex<Vec<(String, Visitor)>>,
    sessions: Mutex<HashMap<String, (Visitor, Instant)>>,
    /// Cookies are the same for all ports of a machine: each process has its own.
    cookie: Cookie,
}

struct Cookie(String);

impl Default for Cookie {
    fn default() -> Self {
        let number = Uuid::new_v4().simple().to_string();
        Self(format!("wfe-{}", number.get(..8).unwrap_or("session")))
    }
}

impl SignIn {
    /// With these tokens, which may be none.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self(Arc::new(Inner { tokens: tokens.into_iter().collect(), ..Inner::default() }))
    }

    /// A new code, with which this visitor signs in once.
    #[must_use]
    pub fn code(&self, visitor: Visitor) -> String {
        let code = secret();
        lock(&self.0.codes).push((code.clone(), visitor));
        code
    }

    /// Who has sent these headers.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        if let Some(bearer) = headers.get(header::AUTHORIZATION).and_then(text) {
            return self.token(bearer.strip_prefix("Bearer ")?.trim());
        }
        let Cookie(name) = &self.0.cookie;
        let cookies: Vec<String> = headers.get_all(header::COOKIE).iter().filter_map(text).collect();
        let pairs = cookies.iter().flat_map(|line| line.split(';'));
        let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(key, _)| key == name);
        let sessions = lock(&self.0.sessions);
        values.find_map(|(_, value)| {
            let (visitor, since) = sessions.get(value)?;
            (since.elapsed() < SESSION).then(|| visitor.clone())
        })
    }

    fn token(&self, secret: &str) -> Option<Visitor> {
        // All are compared, so that the time does not tell which one it is.
        let fitting: Vec<&Visitor> = self.0.tokens.iter().filter_map(|token| token.visitor(secret)).collect();
        fitting.first().map(|visitor| (*visitor).clone())
    }

    fn take_code(&self, code: &str) -> Option<Visitor> {
        let mut codes = lock(&self.0.codes);
        let at = codes.iter().position(|(known, _)| same(known, code))?;
        Some(codes.swap_remove(at).1)
    }

    /// Begins a session, and returns the cookie.
    fn begin(&self, visitor: Visitor) -> String {
        let session = secret();
        let mut sessions = lock(&self.0.sessions);
        sessions.retain(|_, (_, since)| since.elapsed() < SESSION);
        if sessions.len() >= SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, (_, since))| *since).map(|(id, _)| id.clone());
            oldest.and_then(|id| sessions.remove(&id));
        }
        sessions.insert(session.clone(), (visitor, Instant::now()));
        let Cookie(name) = &self.0.cookie;
        format!("{name}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict", SESSION.as_secs())
    }
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").field("tokens", &self.0.tokens).finish_non_exhaustive()
    }
}

/// 244 random bits of the operating system.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

pub(crate) const GROUP: Group = Group {
    nav: None,
    routes: &[Route::open("/login", Kind::Door, page), Route::open("/login", Kind::Login, enter)],
};

/// The page, or the way in for who brings a code.
fn page(ask: Ask) -> Answer {
    Box::pin(async move {
        let Access::SignIn(door) = &ask.app.guard.access else {
            return Err(Failure::missing("Nobody signs in here."));
        };
        let Some(code) = ask.query.get("code") else { return Ok(Reply::Raw(html::sign_in(&ask.root, None))) };
        ask.app.guard.limits.login(ask.peer)?;
        Ok(Reply::Raw(match door.take_code(code) {
            Some(visitor) => welcome(door, visitor, &ask.root),
            None => html::sign_in(&ask.root, Some("This code is not good, or was used already.")),
        }))
    })
}

fn enter(ask: Ask) -> Answer {
    Box::pin(async move {
        let Access::SignIn(door) = &ask.app.guard.access else {
            return Err(Failure::missing("Nobody signs in here."));
        };
        let given = ask.form.get("secret").unwrap_or("").trim();
        Ok(Reply::Raw(match door.token(given).or_else(|| door.take_code(given)) {
            Some(visitor) => welcome(door, visitor, &ask.root),
            None => html::sign_in(&ask.root, Some("This is no token, and no code that is still good.")),
        }))
    })
}

fn welcome(door: &SignIn, visitor: Visitor, root: &str) -> axum::response::Response {
    let mut response = see(&format!("{root}overview"));
    match HeaderValue::from_str(&door.begin(visitor)) {
        Ok(cookie) => {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}
