//! Reads the text format of Prometheus, strictly.

use std::collections::BTreeMap;

use axum::{Router, body::Body, http::Request};
use tower::ServiceExt;

/// What one scrape returned.
#[derive(Debug, Default)]
pub struct Scrape {
    /// The type of each metric.
    pub types: BTreeMap<String, String>,
    pub helps: BTreeMap<String, String>,
    /// The value of each series: its name, and its labels in the order of the text.
    pub series: BTreeMap<(String, Vec<(String, String)>), f64>,
}

impl Scrape {
    pub async fn of(router: &Router) -> Self {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Self::parse(std::str::from_utf8(&body).unwrap())
    }

    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(scrape.helps.insert(name.to_owned(), help.to_owned()).is_none(), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = match series.split_once('{') {
                    Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                    None => (series, ""),
                };
                let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
                    let (name, value) = label.split_once("=\"").unwrap();
                    (name.to_owned(), value.trim_end_matches('"').to_owned())
                });
                let key = (name.to_owned(), labels.collect());
                assert!(scrape.series.insert(key, value.parse().unwrap()).is_none(), "{line}");
            }
        }
        scrape
    }

    /// The value of the series with this name and exactly these labels; 0 if there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let is_same = |of: &Vec<(String, String)>| {
            of.len() == labels.len()
                && labels
                    .iter()
                    .all(|(name, value)| of.iter().any(|(one, other)| one == name && other == value))
        };
        let mut found = self.series.iter().filter(|((one, of), _)| one == name && is_same(of));
        let value = found.next().map_or(0.0, |(_, value)| *value);
        assert!(found.next().is_none(), "{name} {labels:?} stands twice");
        value
    }

    /// The number of values in a histogram and their sum.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> (f64, f64) {
        (self.get(&format!("{name}_count"), labels), self.get(&format!("{name}_sum"), labels))
    }

    /// The values of all series with this name, by the value of this label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for ((_, labels), value) in self.series.iter().filter(|((one, _), _)| one == name) {
            let (_, of) = labels.iter().find(|(name, _)| name == label).unwrap();
            *values.entry(of.clone()).or_default() += value;
        }
        values
    }
}
