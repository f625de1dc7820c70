//! Every page to which a link leads: without complaints of the browser, requests elsewhere and faults for those who cannot
//! see it, in both themes, on a wide and on a narrow window.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use wfe_web::Dashboard;

use crate::{
    harness::{Browser, Driver, View},
    site::Site,
};

/// Pages to which no link leads: `/` leads to the overview, what takes long has a page after it has begun, and the picture
/// of a definition is a file that is saved.
const NO_LINK: [&str; 5] =
    ["/", "/bulk/{number}", "/definitions/{id}/{version}/svg", "/find", "/storage/jobs/{number}"];
/// Where the way begins: the overview, and what a form leads to.
const BEGINNINGS: [&str; 2] = ["overview", "storage/purge?older=90d"];
/// So many addresses of a page are looked at.
const VARIANTS: usize = 8;

pub async fn each_page_is_without_faults(driver: &Driver) {
    let site = Site::start().await;
    Browser::run(driver, &site.base(), true, async |browser| {
        let mut faults = Vec::new();
        let mut seen = BTreeMap::<&str, BTreeSet<String>>::new();
        let mut waiting = VecDeque::from(BEGINNINGS.map(str::to_owned));
        while let Some(path) = waiting.pop_front() {
            let Some(route) = route(&path) else {
                faults.push(format!("{path}: no page has this address"));
                continue;
            };
            let variants = seen.entry(route).or_default();
            if variants.len() >= VARIANTS || !variants.insert(variant(&path)) {
                continue;
            }
            faults.extend(look(&browser, &path).await.into_iter().map(|fault| format!("{path}: {fault}")));
            waiting.extend(links(&browser).await);
        }
        let unseen: Vec<_> =
            Dashboard::pages().filter(|page| !seen.contains_key(page) && !NO_LINK.contains(page)).collect();
        assert!(faults.is_empty() && unseen.is_empty(), "unseen: {unseen:?}\n{}", faults.join("\n"));
    })
    .await;
    site.stop().await;
}

/// What is wrong with a page.
async fn look(browser: &Browser, path: &str) -> Vec<String> {
    browser.view(View::WIDE).await;
    browser.go(path).await;
    let mut faults = browser.complaints().await;
    if browser.evaluate("return document.contentType").await != "text/html" {
        return faults;
    }
    for view in [View::WIDE, View::NARROW.dark()] {
        browser.view(view).await;
        faults.extend(browser.violations().await.into_iter().map(|rule| format!("{view:?}: {rule}")));
        let overflow = browser.overflow().await;
        if overflow > 0 {
            faults.push(format!("{view:?}: {overflow} pixels wider than the window"));
        }
    }
    faults.extend(browser.complaints().await);
    faults
}

/// The addresses below the base to which the page links, without those of files that are saved.
async fn links(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('a[href]:not([download])')].map((a) => a.href)";
    let Value::Array(links) = browser.evaluate(script).await else { panic!("no list of links") };
    let below = |link: &str| Some(link.strip_prefix(browser.base())?.split('#').next()?.to_owned());
    links.iter().filter_map(|link| below(link.as_str()?)).collect()
}

/// The route of an address: of several, the one with the fewest variable parts.
fn route(path: &str) -> Option<&'static str> {
    let path = format!("/{}", path.split('?').next()?);
    let fits = |route: &&'static str| {
        route.split('/').count() == path.split('/').count()
            && route
                .split('/')
                .zip(path.split('/'))
                .all(|(of, part)| of.starts_with('{') && !part.is_empty() || of == part)
    };
    Dashboard::pages().filter(fits).min_by_key(|route| route.matches('{').count())
}

/// What makes pages of a route differ: the names in the query, and the tab.
fn variant(path: &str) -> String {
    let (_, query) = path.split_once('?').unwrap_or_default();
    let names = query
        .split('&')
        .map(|pair| if pair.starts_with("tab=") { pair } else { pair.split('=').next().unwrap_or("") });
    let names: BTreeSet<&str> = names.collect();
    format!("{names:?}")
}
