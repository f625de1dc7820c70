//! Every route, for every role, from everywhere. The routes come from the table of the router.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, StatusCode, header},
};
use wfe::operator::Role;

use super::{Bench, get, location, post, request, send};
use crate::{
    SignIn, Token, Visitor,
    routes::{Kind, Route, table},
};

const ROLES: [Option<Role>; 4] = [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)];

fn method(route: &Route) -> Method {
    match route.kind {
        Kind::Page | Kind::Asset | Kind::Door => Method::GET,
        Kind::Action | Kind::Login => Method::POST,
    }
}

/// All addresses: of each row, and the one at which it is followed.
fn addresses() -> Vec<(&'static Route, String)> {
    table()
        .flat_map(|route| {
            let own = (route, route.path.to_owned());
            [Some(own), route.live_path().map(|path| (route, path))].into_iter().flatten()
        })
        .map(|(route, path)| (route, path.replace(['{', '}'], "")))
        .collect()
}

fn as_role(bench: &Bench, role: Option<Role>) -> Router {
    bench.dashboard().access(move |_| role.map(|role| Visitor::new("ann", role))).into_router()
}

#[tokio::test]
async fn each_route_is_open_to_its_role_and_those_above() {
    let bench = Bench::new().await;
    for (route, path) in addresses() {
        for role in ROLES {
            // Each has a router of its own, so that no limit is reached.
            let router = as_role(&bench, role);
            let answer = send(&router, request(method(route), &path).body(Body::empty()).unwrap()).await;
            let may = route.needs.is_none_or(|needs| role >= Some(needs));
            assert_eq!(answer.status == StatusCode::FORBIDDEN, !may, "{path} as {role:?}: {}", answer.status);
            if !may {
                assert!(!answer.body.contains("<nav"), "{path} as {role:?} shows a page");
            }
        }
    }
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn each_route_refuses_strange_hosts_and_each_action_strange_origins() {
    let bench = Bench::new().await;
    for (route, path) in addresses() {
        let router = as_role(&bench, Some(Role::Admin));
        let strange =
            Request::builder().method(method(route)).uri(&path).header(header::HOST, "evil.example");
        let answer = send(&router, strange.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        let nameless = Request::builder().method(method(route)).uri(&path);
        let answer = send(&router, nameless.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        let policy = answer.headers.get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        if method(route) == Method::GET {
            continue;
        }
        for (name, value, is_let_in) in [
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            ("origin", "https://evil.example", false),
            ("origin", "null", false),
            ("origin", "http://localhost:4401", false),
            ("origin", "http://localhost:4400", true),
            ("authorization", "Bearer x", true),
            ("accept", "text/html", false),
        ] {
            let router = as_role(&bench, Some(Role::Admin));
            let asked =
                Request::builder().method(Method::POST).uri(&path).header(header::HOST, "localhost:4400");
            let answer = send(&router, asked.header(name, value).body(Body::empty()).unwrap()).await;
            let says = format!("{path} with {name}: {value}: {}", answer.status);
            assert_eq!(answer.status != StatusCode::FORBIDDEN, is_let_in, "{says}");
        }
    }
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn without_more_only_this_machine_comes_in() {
    let bench = Bench::new().await;
    let router = bench.router();
    let from = |peer: Option<[u8; 4]>, more: Option<&str>| {
        let mut request = Request::builder().uri("/overview").header(header::HOST, "localhost");
        if let Some(peer) = peer {
            request = request.extension(ConnectInfo(SocketAddr::from((peer, 1))));
        }
        if let Some(name) = more {
            request = request.header(name, "10.0.0.1");
        }
        send(&router, request.body(Body::empty()).unwrap())
    };
    assert_eq!(from(Some([127, 0, 0, 1]), None).await.status, StatusCode::OK);
    assert_eq!(from(Some([10, 0, 0, 1]), None).await.status, StatusCode::FORBIDDEN);
    assert_eq!(from(None, None).await.status, StatusCode::FORBIDDEN);
    for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
        assert_eq!(from(Some([127, 0, 0, 1]), Some(name)).await.status, StatusCode::FORBIDDEN, "{name}");
    }
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn a_code_is_good_once_and_a_token_always() {
    let bench = Bench::new().await;
    let token = Token::new("0123456789abcdef", Visitor::new("bot", Role::Viewer)).unwrap();
    assert!(Token::new("short", Visitor::new("bot", Role::Viewer)).is_none());
    let door = SignIn::new([token]);
    let code = door.code(Visitor::new("ann", Role::Admin));
    let router = bench.dashboard().sign_in(door).into_router();
    assert_eq!(get(&router, "/overview").await.status, StatusCode::UNAUTHORIZED);
    let entered = get(&router, &format!("/login?code={code}")).await;
    assert_eq!((entered.status, location(&entered)), (StatusCode::SEE_OTHER, "./overview"));
    let cookie = entered.headers.get(header::SET_COOKIE).unwrap().to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let with = |name: header::HeaderName, value: &str| {
        send(&router, request(Method::GET, "/overview").header(name, value).body(Body::empty()).unwrap())
    };
    let shown = with(header::COOKIE, cookie).await;
    assert!(shown.body.contains("Signed in as ann, admin"), "{}", shown.body);
    assert_eq!(get(&router, &format!("/login?code={code}")).await.status, StatusCode::FORBIDDEN);
    let wrong = cookie.split('=').next().unwrap().to_owned() + "=0";
    assert_eq!(with(header::COOKIE, &wrong).await.status, StatusCode::UNAUTHORIZED);
    let shown = with(header::AUTHORIZATION, "Bearer 0123456789abcdef").await;
    assert!(shown.body.contains("Signed in as bot, viewer"));
    assert_eq!(with(header::AUTHORIZATION, "Bearer 0123456789abcdee").await.status, StatusCode::UNAUTHORIZED);
    let entered = post(&router, "/login", &[("secret", "0123456789abcdef")]).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn attempts_to_sign_in_and_actions_are_limited() {
    let bench = Bench::new().await;
    let router = bench.dashboard().sign_in(SignIn::default()).into_router();
    let mut last = StatusCode::OK;
    for _ in 0..6 {
        last = post(&router, "/login", &[("secret", "guess")]).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let router = bench.router();
    let mut refused = 0;
    for _ in 0..30 {
        refused += usize::from(
            post(&router, "/act", &[("do", "resume")]).await.status == StatusCode::TOO_MANY_REQUESTS,
        );
    }
    assert!(refused >= 10, "{refused}");
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let bench = Bench::new().await;
    let router = bench.dashboard().body_limit(100).into_router();
    let long = "x".repeat(600);
    assert_eq!(get(&router, &format!("/instances?f=text:{long}")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&router, &format!("/?x={}", "x".repeat(10_000))).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post(&router, "/act", &[("do", &long)]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = request(Method::POST, "/act").header(header::CONTENT_TYPE, "application/json");
    // The builder adds to the headers: the first one counts.
    let answer = send(&router, json.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    bench.host.stop().await.unwrap();
}
