//! The table of routes, from which the router is built. A route that is not in the table does not exist.

use std::time::Duration;

use axum::{
    Router,
    extract::{RawPathParams, Request},
    routing::{MethodFilter, on},
};
use futures_util::future::BoxFuture;
use wfe::operator::Role;

use crate::{
    app::App,
    ask::Ask,
    assets,
    guard::{self, door},
    html::Page,
    live, pages,
    reply::{Failure, Reply},
};

/// What a handler returns.
pub(crate) type Answer = BoxFuture<'static, Result<Reply, Failure>>;
/// What answers a request. It is called again and again for a page that is live.
pub(crate) type Run = fn(Ask) -> Answer;

/// What kind of thing a route serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `GET`, a page that is looked at.
    Page,
    /// `POST`, something that is done. Without the field `sure`, it asks first.
    Action,
    /// `GET`, a file that everybody may have.
    Asset,
    /// `GET`, the page on which people sign in, open to everybody.
    Door,
    /// `POST`, a person signs in, open to everybody, at most five times a minute.
    Login,
}

/// A row of the table.
pub(crate) struct Route {
    /// The path below that of the dashboard, with `{names}` of its variable parts.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    /// The least role that may use it. `None` means that no visitor has to be signed in.
    pub(crate) needs: Option<Role>,
    /// How often the page is sent again at most while it is open, if it is live.
    pub(crate) pace: Option<Duration>,
    pub(crate) run: Run,
}

impl Route {
    /// A page that is sent again while it is open, at most once a second.
    pub(crate) const fn page(path: &'static str, run: Run) -> Self {
        Self { path, kind: Kind::Page, needs: Some(Role::Viewer), pace: Some(Duration::from_secs(1)), run }
    }

    /// Sets how often the page is sent again at most.
    pub(crate) const fn pace(self, pace: Duration) -> Self {
        Self { pace: Some(pace), ..self }
    }

    /// The page is not sent again while it is open: forms that are filled in, files, redirects.
    pub(crate) const fn still(self) -> Self {
        Self { pace: None, ..self }
    }

    /// Something that is done, by this role at least.
    pub(crate) const fn action(path: &'static str, needs: Role, run: Run) -> Self {
        Self { path, kind: Kind::Action, needs: Some(needs), pace: None, run }
    }

    pub(crate) const fn open(path: &'static str, kind: Kind, run: Run) -> Self {
        Self { path, kind, needs: None, pace: None, run }
    }

    fn method(&self) -> MethodFilter {
        match self.kind {
            Kind::Page | Kind::Asset | Kind::Door => MethodFilter::GET,
            Kind::Action | Kind::Login => MethodFilter::POST,
        }
    }

    /// How many levels the page lies below the dashboard.
    pub(crate) fn depth(&self) -> usize {
        self.path.matches('/').count().saturating_sub(1)
    }

    /// The path at which the page is followed while it is open, if it is live.
    pub(crate) fn live_path(&self) -> Option<String> {
        self.pace.map(|_| format!("/live{}", self.path))
    }
}

/// An entry of the navigation.
pub(crate) struct Nav {
    pub(crate) title: &'static str,
    /// The path below that of the dashboard, without the first `/`.
    pub(crate) path: &'static str,
    /// The key that opens it behind `g`.
    pub(crate) key: char,
}

/// The routes of one subject, and its place in the navigation.
pub(crate) struct Group {
    pub(crate) nav: Option<Nav>,
    pub(crate) routes: &'static [Route],
}

/// All routes.
pub(crate) fn table() -> impl Iterator<Item = &'static Route> {
    [&assets::GROUP, &door::GROUP]
        .into_iter()
        .chain(pages::GROUPS.iter().copied())
        .flat_map(|group| group.routes)
}

/// Builds the router. Every route is guarded by its own row.
pub(crate) fn router(app: &App) -> Router {
    let mut router = Router::new();
    for route in table() {
        let shared = app.clone();
        let serve = move |params: RawPathParams, request: Request| {
            guard::serve(shared.clone(), route, params, request)
        };
        router = router.route(route.path, on(route.method(), serve));
        if let Some(path) = route.live_path() {
            let shared = app.clone();
            let serve = move |params: RawPathParams, request: Request| {
                live::serve(shared.clone(), route, params, request)
            };
            router = router.route(&path, on(MethodFilter::GET, serve));
        }
    }
    router.fallback(guard::lost).layer(axum::middleware::from_fn_with_state(app.clone(), guard::outer))
}

/// A page as an answer.
impl From<Page> for Reply {
    fn from(page: Page) -> Self {
        Self::Page(Box::new(page))
    }
}
