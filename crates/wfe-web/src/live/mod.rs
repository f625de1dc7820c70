//! Open pages are sent again when the store has changed.
//!
//! One watcher looks for changes, and only while a page is open. A page is rendered again at most as often as its
//! [pace](crate::routes::Route::pace) allows, and sent only if it differs from what was sent last. Each message is the whole
//! content of the page, so nothing is missed between two connections: the id of a message is its hash, with which a browser
//! comes back.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use axum::{
    extract::{RawPathParams, Request},
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
    time::Instant,
};
use wfe::Operator;
use wfe_core::sync::lock;

use crate::{
    app::App,
    ask::Ask,
    guard,
    html::{Frame, plain},
    reply::{Failure, Reply},
    routes::Route,
};

/// How many pages may be open at once.
const CONNECTIONS: usize = 32;
/// After so long without a message a comment is sent, so that no proxy ends the connection.
const SILENCE: Duration = Duration::from_secs(15);
/// After so long the browser has to connect again, and is let in again or not.
const LONGEST: Duration = Duration::from_hours(1);

/// What all connections share.
pub(crate) struct Hub {
    operator: Operator,
    places: Arc<Semaphore>,
    watcher: Mutex<Weak<Watcher>>,
    nudge: Arc<Notify>,
}

/// Looks for changes of the store until it is dropped.
struct Watcher {
    changes: watch::Receiver<u64>,
    task: AbortHandle,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hub {
    pub(crate) fn new(operator: Operator) -> Self {
        Self {
            operator,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            watcher: Mutex::default(),
            nudge: Arc::default(),
        }
    }

    /// Has open pages sent again although nothing was stored: for what only this process knows.
    pub(crate) fn nudge(&self) -> Arc<Notify> {
        self.nudge.clone()
    }

    /// Whether the store is watched now.
    #[cfg(test)]
    pub(crate) fn is_watching(&self) -> bool {
        lock(&self.watcher).upgrade().is_some()
    }

    fn watcher(&self) -> Arc<Watcher> {
        let mut known = lock(&self.watcher);
        if let Some(watcher) = known.upgrade() {
            return watcher;
        }
        let (counter, changes) = watch::channel(0);
        let (mut news, nudge) = (self.operator.changes(), self.nudge.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    new = news.next() => if new.is_none() { break },
                    () = nudge.notified() => {}
                }
                counter.send_modify(|n| *n += 1);
            }
        });
        let watcher = Arc::new(Watcher { changes, task: task.abort_handle() });
        *known = Arc::downgrade(&watcher);
        watcher
    }
}

/// Serves the changes of a page.
pub(crate) async fn serve(
    app: App,
    route: &'static Route,
    params: RawPathParams,
    request: Request,
) -> Response {
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    match guard::admit(app, route, params, request).await {
        Err(guard::Refusal::SignIn(_)) => StatusCode::UNAUTHORIZED.into_response(),
        Err(guard::Refusal::Failed(failure)) => plain(&failure),
        Ok(ask) => {
            let Ok(place) = Arc::clone(&ask.app.hub.places).try_acquire_owned() else {
                let text = format!("{CONNECTIONS} pages are open already. This one stays as it is.");
                return plain(&Failure::new(StatusCode::SERVICE_UNAVAILABLE, "Not live", text));
            };
            let view = View::new(ask, route, place, last);
            Sse::new(view.messages()).keep_alive(KeepAlive::new().interval(SILENCE)).into_response()
        }
    }
}

/// An open page.
struct View {
    ask: Ask,
    route: &'static Route,
    frame: Frame,
    changes: watch::Receiver<u64>,
    last: Option<String>,
    rendered: Option<Instant>,
    until: Instant,
    /// Kept until the connection ends.
    _kept: (OwnedSemaphorePermit, Arc<Watcher>),
}

impl View {
    fn new(ask: Ask, route: &'static Route, place: OwnedSemaphorePermit, last: Option<String>) -> Self {
        let watcher = ask.app.hub.watcher();
        let (frame, changes) = (Frame::of(&ask, route), watcher.changes.clone());
        let until = Instant::now() + LONGEST;
        Self { ask, route, frame, changes, last, rendered: None, until, _kept: (place, watcher) }
    }

    fn messages(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut view| async move {
            let message = view.next().await?;
            Some((Ok(message), view))
        })
    }

    /// The next message. `None` ends the connection.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(rendered) = self.rendered {
                // A store that was closed has no more changes.
                tokio::select! {
                    changed = self.changes.changed() => changed.ok()?,
                    () = tokio::time::sleep_until(self.until) => return None,
                }
                tokio::time::sleep_until(rendered + self.route.pace.unwrap_or_default()).await;
                self.changes.mark_unchanged();
            }
            self.rendered = Some(Instant::now());
            let ask = Ask { now: self.ask.app.clock.now(), ..self.ask.clone() };
            let page = match guard::run(ask, self.route).await {
                Ok(Reply::Page(page)) => *page,
                Ok(_) => return None,
                Err(failure) => Frame::failure(&failure, &self.ask.root),
            };
            let (part, hash) = self.frame.part(&page);
            let hash = format!("{hash:016x}");
            if self.last.as_ref() != Some(&hash) {
                self.last = Some(hash.clone());
                return Some(Event::default().id(hash).data(part));
            }
        }
    }
}
