//! The checks of the other tests find what they look for.

use axum::{Router, http::header, response::Html, routing::get};

use crate::harness::{Browser, Driver, Server, View};

const POLICY: &str = "default-src 'none'; script-src 'self'; img-src 'self' data:";

/// A page with this in its body, and a script.
async fn server(body: &'static str) -> Server {
    let page = Html(format!(
        "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>A page</title>\
         <link rel=icon href='data:,'><script src=a.js defer></script><main><h1>A page</h1>{body}</main>"
    ));
    let script = "document.querySelector('h1').append(' with a script')";
    let page = get(|| async move { ([(header::CONTENT_SECURITY_POLICY, POLICY)], page) });
    let script = get(move || async move { ([(header::CONTENT_TYPE, "text/javascript")], script) });
    Server::start(Router::new().route("/p/", page).route("/p/a.js", script)).await
}

/// What the checks say of a page with this in its body.
async fn checked(driver: &Driver, body: &'static str) -> (Vec<String>, Vec<String>, i64) {
    let server = server(body).await;
    let mut found = None;
    Browser::run(driver, &server.url("/p/"), true, async |browser| {
        browser.view(View::NARROW.dark()).await;
        browser.go("").await;
        browser.sees("h1", "A page with a script").await;
        found = Some((browser.complaints().await, browser.violations().await, browser.overflow().await));
    })
    .await;
    found.unwrap()
}

pub async fn a_page_without_faults_has_none(driver: &Driver) {
    assert_eq!(checked(driver, "<p>Text").await, (vec![], vec![], 0));
}

pub async fn faults_of_a_page_are_found(driver: &Driver) {
    let body = "<img src='https://wfe.invalid/a.png'><script>alert(1)</script><img src='../elsewhere.png'><pre>\
                A line that is longer than a narrow window, and is not broken at its end</pre>";
    let (complaints, violations, overflow) = checked(driver, body).await;
    let has = |list: &[String], text: &str| {
        assert!(list.iter().any(|line| line.contains(text)), "{text}: {list:?}");
    };
    has(&complaints, "wfe.invalid");
    has(&complaints, "script-src");
    has(&complaints, "/elsewhere.png");
    has(&violations, "image-alt");
    assert!(overflow > 0);
}

pub async fn a_form_is_filled_in_and_sent(driver: &Driver) {
    let server = server("<form><label>Name <input name=q value=b></label> <button>Go</button></form>").await;
    Browser::run(driver, &server.url("/p/"), true, async |browser| {
        browser.go("").await;
        browser.fill("[name=q]", "a").await;
        browser.click("button").await;
        browser.until("?q=a", async || (browser.path().await == "?q=a").then_some(())).await;
        assert_eq!(browser.all("form").await.len(), 1);
        browser.client().back().await.unwrap();
        assert_eq!(browser.path().await, "");
    })
    .await;
}

pub async fn scripts_can_be_switched_off(driver: &Driver) {
    let server = server("<p>Text").await;
    Browser::run(driver, &server.url("/p/"), false, async |browser| {
        browser.go("").await;
        assert_eq!(browser.text("h1").await, "A page");
    })
    .await;
}
