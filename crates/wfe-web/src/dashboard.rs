//! Mounts the dashboard.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    http::{HeaderValue, request::Parts},
};
use wfe::{Operator, Result, WfeError, WorkflowHost};
use wfe_core::clock::{Clock, SystemClock};

use crate::{
    app::App,
    guard::{self, Access, Guard, Hosts, Limits, SignIn, Visitor},
    routes,
};

/// A dashboard for operators: what fails, where instances stand and why, and what can be done about it.
///
/// It mounts below any path of the program's own router:
///
/// ```
/// # use wfe::{prelude::*, sqlite::SqliteStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// let app: axum::Router = axum::Router::new().nest("/wfe", wfe_web::Dashboard::new(&host)?.into_router());
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// // Addresses of peers are needed: without them, the dashboard refuses every request.
/// let served = axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>());
/// # drop(served);
/// # host.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// **Who may come in.** Without [`access`](Self::access) or [`sign_in`](Self::sign_in), a request is let in if it comes from
/// this machine and through no proxy that says so, as `local` with [`Role::Operator`](wfe::operator::Role::Operator).
/// All other requests are refused, also those of which the address of the peer is not known. Every user of the
/// machine counts as local. A proxy on the same machine that adds no `Forwarded` or `X-Forwarded-For` would let everybody in:
/// use [`access`](Self::access) behind one.
///
/// **What protects the browser.** The header `Host` must be a name of this machine, an address in numbers, or one of
/// [`hosts`](Self::hosts). Forms are taken only from pages of the dashboard. Pages run no scripts and load no files but
/// those of the dashboard, and cannot be framed. What is [hidden](Operator::redact) in the operator is hidden here.
///
/// **What it costs.** Nothing is read while no page is open. Pages are read one after the other on one of the store's readers.
/// Open pages follow the store: a watcher looks for changes, and pages that differ are sent again.
#[derive(Clone)]
#[must_use = "nothing is served before the router is mounted"]
pub struct Dashboard {
    operator: Operator,
    title: Option<String>,
    clock: Arc<dyn Clock>,
    access: Access,
    hosts: Vec<String>,
    policy: HeaderValue,
    body_limit: usize,
}

impl Dashboard {
    /// The longest form that is read, in bytes, if no other [limit](Self::body_limit) is set.
    pub const BODY_LIMIT: usize = 1024 * 1024;

    /// A dashboard on the store of this host.
    ///
    /// # Errors
    /// The errors of [`Operator::new`].
    pub fn new(host: &WorkflowHost) -> Result<Self> {
        Ok(Self::of(host.operator()?))
    }

    /// A dashboard of this operator, which needs no host in the process. The operator's
    /// [redaction](Operator::redact), [rules](Operator::allow) and [thresholds](Operator::thresholds) hold in the
    /// dashboard too; its name, face and role are replaced by those of each visitor.
    pub fn of(operator: Operator) -> Self {
        Self {
            operator,
            title: None,
            clock: Arc::new(SystemClock),
            access: Access::Loopback,
            hosts: Vec::new(),
            policy: guard::policy("'none'").unwrap_or(HeaderValue::from_static("default-src 'none'")),
            body_limit: Self::BODY_LIMIT,
        }
    }

    /// Sets the name of the store that pages show.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: Some(title.into()), ..self }
    }

    /// Sets who may come in: a function that gets the head of each request and returns the visitor, or `None` for
    /// a request that may not come in. Authentication of the program that runs before can leave what it knows in the
    /// extensions of the request.
    pub fn access(self, decides: impl Fn(&Parts) -> Option<Visitor> + Send + Sync + 'static) -> Self {
        Self { access: Access::Program(Arc::new(decides)), ..self }
    }

    /// People sign in with a code or a token. The dashboard then needs no addresses of peers.
    pub fn sign_in(self, door: SignIn) -> Self {
        Self { access: Access::SignIn(door), ..self }
    }

    /// Adds names under which browsers reach the dashboard, without or with a port. It always answers to `localhost`
    /// and to addresses in numbers.
    pub fn hosts(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut hosts = self.hosts;
        hosts.extend(names.into_iter().map(Into::into));
        Self { hosts, ..self }
    }

    /// Sets which pages may show the dashboard in a frame, in the words of the policy for content: `'self'`, or
    /// `https://portal.example.org`. Default: `'none'`.
    ///
    /// # Errors
    /// [`Invalid`](wfe::WfeError::Invalid): the text is empty, or has a character that no such word has.
    pub fn frame_ancestors(self, ancestors: &str) -> Result<Self> {
        let policy = guard::policy(ancestors).ok_or_else(|| {
            let help = "write 'none', 'self' or the addresses of pages, as in https://portal.example.org";
            WfeError::Invalid(format!("no page may frame the dashboard as {ancestors:?}; {help}"))
        })?;
        Ok(Self { policy, ..self })
    }

    /// Sets the longest form that is read, in bytes. Default: [`BODY_LIMIT`](Self::BODY_LIMIT).
    pub fn body_limit(self, bytes: usize) -> Self {
        Self { body_limit: bytes, ..self }
    }

    /// Sets the clock to which times are relative. Default: the system's clock.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The paths of the pages, below that of the dashboard and with `{names}` of their variable parts, for rules of a proxy.
    pub fn pages() -> impl Iterator<Item = &'static str> {
        routes::table().filter(|route| route.kind == routes::Kind::Page).map(|route| route.path)
    }

    /// Builds the router. Links are relative, so it works below every path and behind every proxy.
    pub fn into_router(self) -> Router {
        routes::router(&self.into_app())
    }

    pub(crate) fn into_app(self) -> App {
        let Self { operator, title, clock, access, hosts, policy, body_limit } = self;
        let guard = Guard { access, hosts: Hosts(hosts), limits: Limits::default(), body_limit, policy };
        App::new(operator, title, clock, guard)
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("operator", &self.operator)
            .field("title", &self.title)
            .field("hosts", &self.hosts)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}
