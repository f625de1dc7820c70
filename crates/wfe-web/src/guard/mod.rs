//! Who may come in, from where, and how often. Everything is checked here and in [`wfe::Operator`], nothing in pages.

pub(crate) mod door;
mod limits;
mod origin;
mod visitor;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::to_bytes,
    extract::{ConnectInfo, OriginalUri, RawPathParams, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use wfe::operator::Face;

pub use self::{
    door::SignIn,
    visitor::{Token, Visitor},
};
pub(crate) use self::{limits::Limits, origin::Hosts};
use crate::{
    app::App,
    ask::{Ask, Fields},
    html,
    reply::{Failure, Reply, see},
    routes::{Kind, Route},
};

/// The longest query, in bytes.
const MAX_QUERY: usize = 8 * 1024;

/// A function of the program that says who a request comes from.
type Decides = dyn Fn(&Parts) -> Option<Visitor> + Send + Sync;

/// Decides who a request comes from.
#[derive(Clone)]
pub(crate) enum Access {
    /// Requests from this machine come in, and no others.
    Loopback,
    /// A function of the program decides.
    Program(Arc<Decides>),
    /// People sign in with a code or a token, programs send a token.
    SignIn(SignIn),
}

pub(crate) struct Guard {
    pub(crate) access: Access,
    pub(crate) hosts: Hosts,
    pub(crate) limits: Limits,
    pub(crate) body_limit: usize,
    pub(crate) policy: HeaderValue,
}

/// The policy for the content of pages: nothing but what comes from the dashboard itself.
pub(crate) fn policy(frame_ancestors: &str) -> Option<HeaderValue> {
    let text = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors {frame_ancestors}"
    );
    let fits = !frame_ancestors.is_empty() && !frame_ancestors.contains([';', ',']);
    fits.then(|| HeaderValue::from_str(&text).ok()).flatten()
}

/// Checks what concerns every request, and adds to every answer what protects the browser.
pub(crate) async fn outer(State(app): State<App>, request: Request, next: Next) -> Response {
    let refused = check_outer(&app, &request).err();
    let mut response = match refused {
        Some(failure) => html::plain(&failure),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, app.guard.policy.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check_outer(app: &App, request: &Request) -> Result<(), Failure> {
    app.guard.hosts.check(request.uri(), request.headers())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        origin::check_unsafe(request.headers())?;
    }
    if request.uri().query().is_some_and(|query| query.len() > MAX_QUERY) {
        return Err(Failure::wrong(format!("The query is longer than {MAX_QUERY} bytes.")));
    }
    Ok(())
}

/// Where there is no route.
pub(crate) async fn lost() -> Response {
    html::plain(&Failure::missing("The dashboard has no page with this address."))
}

/// Serves a route.
pub(crate) async fn serve(
    app: App,
    route: &'static Route,
    params: RawPathParams,
    request: Request,
) -> Response {
    let wants_part = request.headers().contains_key("hx-request");
    match admit(app, route, params, request).await {
        Ok(ask) => {
            let frame = html::Frame::of(&ask, route);
            match run(ask, route).await {
                Ok(Reply::Page(page)) => frame.whole(&page),
                Ok(Reply::See(link)) => see(&link),
                Ok(Reply::Raw(response)) => response,
                Err(failure) => frame.failed(&failure),
            }
        }
        Err(refusal) => refusal.response(wants_part),
    }
}

/// Runs the handler, as the only one that asks the store.
pub(crate) async fn run(ask: Ask, route: &Route) -> Result<Reply, Failure> {
    if route.needs.is_none() {
        return (route.run)(ask).await;
    }
    let app = ask.app.clone();
    // The semaphore is never closed.
    let _reader = app.reader.acquire().await;
    (route.run)(ask).await
}

/// Why a request is not let in.
pub(crate) enum Refusal {
    /// The visitor is not signed in: the page on which people sign in, from here.
    SignIn(String),
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Refusal {
    pub(crate) fn response(self, wants_part: bool) -> Response {
        match self {
            Self::SignIn(_) if wants_part => StatusCode::UNAUTHORIZED.into_response(),
            Self::SignIn(root) => html::sign_in(&root, None),
            Self::Failed(failure) => html::plain(&failure),
        }
    }
}

/// Lets a request in, or not.
pub(crate) async fn admit(
    app: App,
    route: &'static Route,
    params: RawPathParams,
    request: Request,
) -> Result<Ask, Refusal> {
    let (parts, body) = request.into_parts();
    let peer = peer(&parts);
    let path =
        parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri).path().to_owned();
    let root = if route.depth() == 0 { "./".to_owned() } else { "../".repeat(route.depth()) };
    let visitor = match route.needs {
        None => Visitor::nobody(),
        Some(needs) => {
            let visitor = match &app.guard.access {
                Access::Loopback => loopback(peer, &parts.headers),
                Access::Program(decides) => decides(&parts),
                Access::SignIn(door) => match door.visitor(&parts.headers) {
                    Some(visitor) => Some(visitor),
                    None => return Err(Refusal::SignIn(root)),
                },
            };
            let visitor = visitor.ok_or_else(|| Failure::forbidden("The dashboard is closed for you."))?;
            if visitor.role() < needs {
                let role = visitor.role();
                return Err(
                    Failure::forbidden(format!("Your role is {role}, and this needs {needs}.")).into()
                );
            }
            visitor
        }
    };
    match route.kind {
        Kind::Action => app.guard.limits.action(peer)?,
        Kind::Login => app.guard.limits.login(peer)?,
        Kind::Page | Kind::Asset | Kind::Door => {}
    }
    let query = Fields::query(parts.uri.query().unwrap_or(""))?;
    let form = match route.kind {
        Kind::Action | Kind::Login => read_form(&parts.headers, body, app.guard.body_limit).await?,
        Kind::Page | Kind::Asset | Kind::Door => Fields::default(),
    };
    let operator = app.operator.clone().acting_as(visitor.actor(), Face::Dashboard).role(visitor.role());
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Ask {
        now: app.clock.now(),
        app,
        visitor,
        operator,
        root,
        path,
        headers: parts.headers,
        peer,
        params: Fields(params),
        query,
        form,
    })
}

async fn read_form(headers: &HeaderMap, body: axum::body::Body, limit: usize) -> Result<Fields, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        let text = "Send a form, as application/x-www-form-urlencoded.";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "This is no form", text));
    }
    let body = to_bytes(body, limit).await.map_err(|_| {
        let text = format!("The form is longer than {limit} bytes, or was cut off.");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "This is too long", text)
    })?;
    Ok(Fields::parse(&body))
}

/// The peer's address. `None` if the program does not serve the router with it.
fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical())
}

/// A request from this machine that came through no proxy.
fn loopback(peer: Option<IpAddr>, headers: &HeaderMap) -> Option<Visitor> {
    let forwarded =
        ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    (peer?.is_loopback() && !forwarded).then(Visitor::local)
}
