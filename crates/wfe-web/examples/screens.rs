//! Takes a picture of each page of the dashboard, in both themes, on a wide and on a narrow window.
//!
//! ```text
//! cargo run -p wfe-web --example screens -- [FOLDER] [PAGE…]
//! ```
//!
//! The pictures go to `docs/screens`, or to the folder that is named. It needs Chromium and `chromedriver` (Debian: `chromium`,
//! `chromium-driver`, `fonts-dejavu`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a program of the developers: what goes wrong ends it")]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/browser/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/browser/site.rs"]
mod site;

use std::{env, fs, path::PathBuf, process::ExitCode};

use base64::{Engine, engine::general_purpose::STANDARD};
use harness::{Browser, Driver, View};
use serde_json::json;
use site::Site;
use wfe::operator::{NewEvent, NewInstance};
use wfe_web::Dashboard;

/// Names of the pictures, the routes and, where these have variable parts, an address.
const PAGES: [(&str, &str, &str); 13] = [
    ("overview", "/overview", ""),
    ("instances", "/instances", ""),
    ("instance", "/instances/{id}", ""),
    ("failures", "/failures", ""),
    ("definitions", "/definitions", ""),
    ("definition", "/definitions/{id}/{version}", "definitions/order/1"),
    ("tasks", "/tasks", ""),
    ("activities", "/activities", ""),
    ("events", "/events", ""),
    ("schedules", "/schedules", ""),
    ("hosts", "/hosts", ""),
    ("storage", "/storage", ""),
    ("audit", "/audit", ""),
];

#[tokio::main]
async fn main() -> ExitCode {
    let Some(driver) = Driver::start() else {
        eprintln!("screens: chromium and chromedriver are not installed (Debian: chromium, chromium-driver)");
        return ExitCode::FAILURE;
    };
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/screens")),
        PathBuf::from,
    );
    let wanted: Vec<String> = arguments.collect();
    fs::create_dir_all(&folder).unwrap();
    let site = Site::start().await;
    complete(&site, 3).await;
    let suspended = format!("instances/{}", site.id("order", "order-22").await);
    Browser::run(&driver, &site.base(), true, async |browser| {
        let is_there = |route: &str| Dashboard::pages().any(|page| page == route);
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|of| of == name);
        for (name, route, path) in
            PAGES.into_iter().filter(|(name, route, _)| is_there(route) && is_wanted(name))
        {
            let path = match (name, path) {
                ("instance", _) => &suspended,
                (_, "") => route.trim_start_matches('/'),
                (_, path) => path,
            };
            for view in [View::WIDE, View::NARROW, View::WIDE.dark(), View::NARROW.dark()] {
                browser.view(view).await;
                browser.go(path).await;
                browser.find("#main").await;
                let file = folder.join(format!("{name}-{}-{}.png", view.theme, view.width));
                fs::write(file, picture(&browser).await).unwrap();
            }
        }
    })
    .await;
    site.stop().await;
    ExitCode::SUCCESS
}

/// So many orders are approved and charged.
async fn complete(site: &Site, orders: usize) {
    site.open_the_bank();
    let operator = site.operator();
    for order in 0..orders {
        let key = format!("order-{}", 100 + order);
        let order = NewInstance::new("order", json!({ "id": key, "log": [] })).version(1).reference(&key);
        let id = operator.start(order).await.unwrap().id;
        operator.publish(NewEvent::new("approved", key).data(json!("Mr Bell"))).await.unwrap();
        assert!(operator.outcome(&id, None).await.unwrap().is_some());
    }
}

/// A picture of the whole page, in PNG.
async fn picture(browser: &Browser) -> Vec<u8> {
    let size =
        "const { scrollWidth, scrollHeight } = document.documentElement; return [scrollWidth, scrollHeight]";
    let size = browser.evaluate(size).await;
    let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
    let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
    let picture = browser.devtools("Page.captureScreenshot", params).await;
    STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
}
