//! Names, references, data and failures may be anything.

use serde_json::json;

use super::{Bench, get, location};

#[tokio::test]
async fn hostile_names_are_text_everywhere() {
    let bench = Bench::new().await;
    let evil = "\"><img src=x onerror=alert(1)>'/../?&#\u{202e}";
    let id = bench.start(evil, evil, json!({ evil: evil })).await;
    let router = bench.router();
    let filter =
        form_urlencoded::byte_serialize(format!("\"reference:{}\"", evil.replace('"', "")).as_bytes())
            .collect::<String>();
    for path in [
        "/overview".to_owned(),
        "/instances".to_owned(),
        format!("/instances?f={filter}"),
        format!("/instances/{id}"),
        format!("/instances/{id}?tab=data"),
        format!("/instances/{id}?tab=audit"),
    ] {
        let page = get(&router, &path).await;
        assert!(page.status.is_success(), "{path}: {}", page.status);
        assert!(!page.body.contains("<img"), "{path}: {}", page.body);
    }
    bench.host.stop().await.unwrap();
}

#[tokio::test]
async fn the_field_in_the_header_leads_to_what_is_meant() {
    let bench = Bench::new().await;
    let id = bench.start("order", "order-17", json!({ "customer": "Ann" })).await;
    let router = bench.router();
    for (text, wanted) in [
        (id.as_str(), format!("./instances/{id}")),
        (&id[..id.len() - 1], format!("./instances/{id}")),
        ("order-", "./instances?f=reference%3Aorder-*".to_owned()),
        ("Ann", "./instances?f=text%3AAnn".to_owned()),
        ("", "./instances".to_owned()),
    ] {
        let found = get(&router, &format!("/find?q={text}")).await;
        assert_eq!(location(&found), wanted, "{text}");
    }
    bench.host.stop().await.unwrap();
}
