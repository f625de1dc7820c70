//! Paths, links and files.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use axum::{
    Router,
    body::Body,
    http::{Method, StatusCode, header},
};

use super::{Bench, get, location, request, send};

/// The links of a page, as a browser resolves them from this path.
fn links(body: &str, page: &str) -> Vec<String> {
    let mut links = Vec::new();
    for attribute in ["href=\"", "src=\"", "action=\"", "hx-sse:connect=\""] {
        for link in body.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
            if link.starts_with('#') || link.starts_with("data:") {
                continue;
            }
            assert!(!link.starts_with('/') && !link.contains("://"), "{page} has the absolute link {link}");
            let path = link.split('?').next().unwrap_or("");
            let mut parts: Vec<&str> = page.split('/').collect();
            if path.is_empty() {
                links.push(page.to_owned());
                continue;
            }
            parts.pop();
            for part in path.split('/') {
                match part {
                    "." => {}
                    ".." => assert!(parts.pop().is_some(), "{link} of {page} leads out"),
                    _ => parts.push(part),
                }
            }
            if path.ends_with("..") || path.ends_with('.') {
                parts.push("");
            }
            links.push(parts.join("/"));
        }
    }
    links
}

#[tokio::test]
async fn below_a_prefix_every_link_leads_to_a_page_of_the_dashboard() {
    let bench = Bench::new().await;
    let id = bench.start("order", "order-17", serde_json::json!(1)).await;
    let router = Router::new().nest("/a/wfe", bench.router());
    let first = get(&router, "/a/wfe?x=1").await;
    assert_eq!((first.status, location(&first)), (StatusCode::SEE_OTHER, "wfe/overview?x=1"));
    for page in
        ["/a/wfe/overview".to_owned(), "/a/wfe/instances".to_owned(), format!("/a/wfe/instances/{id}")]
    {
        let shown = get(&router, &page).await;
        assert_eq!(shown.status, StatusCode::OK, "{page}: {}", shown.body);
        let links = links(&shown.body, &page);
        assert!(links.len() > 10, "{links:?}");
        for link in links {
            assert!(link.starts_with("/a/wfe/"), "{link} of {page} leads out");
            let answer = get(&router, &link).await;
            assert!(
                answer.status.is_success()
                    || matches!(answer.status, StatusCode::SEE_OTHER | StatusCode::METHOD_NOT_ALLOWED),
                "{link} of {page}: {}",
                answer.status
            );
        }
    }
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn files_are_kept_for_ever_small_and_the_same_when_compressed() {
    let bench = Bench::new().await;
    let router = bench.router();
    let page = get(&router, "/overview").await;
    let files: Vec<String> =
        links(&page.body, "/overview").into_iter().filter(|link| link.contains("assets/")).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    let mut size = 0;
    for file in files {
        let plain = get(&router, &file).await;
        let cached = plain.headers.get(header::CACHE_CONTROL).unwrap();
        assert_eq!(cached, "public, max-age=31536000, immutable", "{file}");
        let asked = request(Method::GET, &file)
            .header(header::ACCEPT_ENCODING, "br, gzip")
            .body(Body::empty())
            .unwrap();
        let (parts, body) = tower::ServiceExt::oneshot(router.clone(), asked).await.unwrap().into_parts();
        assert_eq!(parts.headers.get(header::CONTENT_ENCODING).unwrap(), "gzip");
        let packed = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        size += packed.len();
        let mut gzip =
            Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        gzip.stdin.take().unwrap().write_all(&packed).unwrap();
        let unpacked = gzip.wait_with_output().unwrap().stdout;
        assert!(unpacked == plain.body.as_bytes(), "{file}: run `gzip -9nc` again");
    }
    assert!(size <= 45 * 1024, "{size} bytes");
    assert_eq!(get(&router, "/assets/style.css").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        send(&router, request(Method::HEAD, "/overview").body(Body::empty()).unwrap()).await.status,
        StatusCode::OK
    );
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn pages_have_no_inline_script_or_style() {
    let bench = Bench::new().await;
    let id = bench.start("order", "order-17", serde_json::json!(1)).await;
    let router = bench.router();
    for path in ["/overview".to_owned(), "/instances".to_owned(), format!("/instances/{id}")] {
        let page = get(&router, &path).await.body;
        assert!(
            !page.contains(" style=") && !page.contains("<style") && !page.contains("hx-on"),
            "{path}: {page}"
        );
        let handles = page
            .split(" on")
            .skip(1)
            .filter_map(|rest| rest.split_once('='))
            .find(|(name, _)| name.bytes().all(|c| c.is_ascii_lowercase()));
        assert!(handles.is_none(), "{path}: on{handles:?}");
        assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
    }
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn no_page_frames_the_dashboard_but_those_that_the_program_names() {
    let bench = Bench::new().await;
    let policy = async |router: &Router| {
        let page = get(router, "/instances").await;
        page.headers.get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap().to_owned()
    };
    assert!(policy(&bench.router()).await.ends_with("frame-ancestors 'none'"));
    let portal = bench.dashboard().frame_ancestors("https://portal.example.org").unwrap().into_router();
    assert!(policy(&portal).await.ends_with("frame-ancestors https://portal.example.org"));
    for wrong in ["", "'self'; script-src *", "a, b", "a\nb"] {
        let error = bench.dashboard().frame_ancestors(wrong).unwrap_err();
        assert!(matches!(error, wfe::WfeError::Invalid(_)), "{wrong:?}: {error}");
    }
}
