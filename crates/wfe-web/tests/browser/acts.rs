//! What people do in the dashboard.

use serde_json::json;
use wfe::traits::InstanceState;

use crate::{
    harness::{Browser, Driver},
    site::Site,
};

const ROWS: &str = "main tbody tr";

async fn with(driver: &Driver, scripts: bool, test: impl AsyncFnOnce(&Site, &Browser)) {
    let site = Site::start().await;
    Browser::run(driver, &site.base(), scripts, async |browser| {
        test(&site, &browser).await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    })
    .await;
    site.stop().await;
}

/// Waits until the list has as many rows.
async fn rows(browser: &Browser, n: usize) {
    browser.until(&format!("{n} rows"), async || (browser.all(ROWS).await.len() == n).then_some(())).await;
}

/// Waits until an instance has come to this state.
async fn reaches(site: &Site, browser: &Browser, id: &str, state: InstanceState) {
    let operator = site.operator();
    browser
        .until(&format!("{id} {state}"), async || {
            (operator.summary(id).await.unwrap().state == state).then_some(())
        })
        .await;
}

/// From the list of the suspended ones to one of them, which is resumed, and back.
async fn resumes(site: &Site, browser: &Browser) {
    browser.go("overview").await;
    browser.sees("h1", "2 need attention").await;
    browser.click(".nav a[href$=instances]").await;
    rows(browser, 7).await;
    browser.fill("#filter", "status:suspended").await;
    browser.click(".filter button").await;
    rows(browser, 2).await;
    browser.fill("#filter", "reference:order-22").await;
    browser.click(".filter button").await;
    rows(browser, 1).await;
    let list = browser.path().await;
    browser.click("main tbody th a").await;
    browser.sees("h1", "order-22").await;
    browser.sees(".pill", "Suspended").await;
    browser.sees(".nav [aria-current=page]", "Instances").await;
    // A message is a text, whatever it has.
    browser.sees("main", "<script>alert(1)</script>").await;
    browser.client().back().await.unwrap();
    assert_eq!(browser.path().await, list);
    rows(browser, 1).await;
    browser.client().forward().await.unwrap();
    browser.sees("h1", "order-22").await;

    site.open_the_bank();
    browser.click("button[value=resume]").await;
    browser.sees("h1", "Resume 1 instance?").await;
    browser.fill("[name=reason]", "the bank is back").await;
    browser.click(".sure button").await;
    let id = site.id("order", "order-22").await;
    reaches(site, browser, &id, InstanceState::Completed).await;
    assert_eq!(
        site.operator().summary(&site.id("order", "order-23").await).await.unwrap().state,
        InstanceState::Suspended
    );
    browser.go(&format!("instances/{id}?tab=audit")).await;
    browser.sees("main", "the bank is back").await;
    browser.sees("main", "Ms Weber").await;
}

pub async fn an_instance_is_found_and_resumed(driver: &Driver) {
    with(driver, true, resumes).await;
}

pub async fn an_instance_is_found_and_resumed_without_scripts(driver: &Driver) {
    with(driver, false, resumes).await;
}

pub async fn all_that_match_are_resumed_and_each_tab_sees_it(driver: &Driver) {
    with(driver, true, async |site, browser| {
        let client = browser.client();
        browser.go("instances?f=status:suspended").await;
        rows(browser, 2).await;
        let first = client.window().await.unwrap();
        let second = client.new_window(true).await.unwrap().handle;
        client.switch_to_window(second.clone()).await.unwrap();
        browser.go("instances?f=status:suspended").await;
        rows(browser, 2).await;
        site.open_the_bank();
        browser.click("#mark-all").await;
        browser.sees("#marked", "2 marked").await;
        browser.click("button[value=resume]").await;
        browser.sees("h1", "Resume 2 instances?").await;
        browser.click(".sure button").await;
        for order in ["order-22", "order-23"] {
            let id = site.id("order", order).await;
            reaches(site, browser, &id, InstanceState::Completed).await;
        }
        // The other tab was in the background, and catches up.
        client.close_window().await.unwrap();
        client.switch_to_window(first).await.unwrap();
        browser.devtools("Page.bringToFront", json!({})).await;
        rows(browser, 0).await;
        browser.sees("main", "No instance matches").await;
    })
    .await;
}

pub async fn what_another_process_writes_is_seen_without_a_reload(driver: &Driver) {
    with(driver, true, async |site, browser| {
        browser.go("instances?f=definition:order").await;
        rows(browser, 3).await;
        browser.evaluate("window.kept = true").await;
        browser.fill("#filter", "typed").await;
        browser.click("tbody input").await;
        site.other_process("order-99").await;
        rows(browser, 4).await;
        browser.sees("main tbody", "order-99").await;
        assert_eq!(browser.evaluate("return window.kept").await, true);
        assert_eq!(browser.find("#filter").await.prop("value").await.unwrap().as_deref(), Some("typed"));
        let marked = "return document.querySelectorAll('tbody input:checked').length";
        assert_eq!(browser.evaluate(marked).await, 1);
        browser.sees("#live", "Changed just now").await;
    })
    .await;
}

pub async fn the_keyboard_is_enough(driver: &Driver) {
    with(driver, true, async |_, browser| {
        let press = async |keys: &str| {
            let focus = browser.client().active_element().await.unwrap();
            focus.send_keys(keys).await.unwrap();
        };
        browser.go("overview").await;
        press("gi").await;
        browser.sees("h1", "Instances").await;
        press("/").await;
        press("status:suspended\u{e007}").await;
        rows(browser, 2).await;
        press("j").await;
        press("x").await;
        browser.sees("#marked", "1 marked").await;
        press("\u{e007}").await;
        browser.sees(".pill", "Suspended").await;
        press("r").await;
        browser.sees("h1", "Resume 1 instance?").await;
    })
    .await;
}
