//! The files for operations and the guide name only metrics that exist, and the guide names all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by unwrapping it"
)]

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;
use wfe::metrics::{ALL, Kind, Metric};

/// Labels that Prometheus adds to each series that it scrapes.
const OF_SCRAPE: [&str; 2] = ["instance", "job"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// The metric that a name in an expression means. A histogram has no series of its own name.
fn metric(name: &str) -> Option<(&'static Metric, bool)> {
    ALL.iter().find_map(|metric| {
        let rest = name.strip_prefix(metric.name)?;
        let is_histogram = matches!(metric.kind, Kind::Histogram(_));
        let is_series =
            if is_histogram { ["_bucket", "_sum", "_count"].contains(&rest) } else { rest.is_empty() };
        is_series.then_some((*metric, rest == "_bucket"))
    })
}

/// An identifier, or a sign. Texts between quotes are left out.
fn tokens(expression: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(first) = rest.chars().next() {
        let is_word = |char: char| char.is_ascii_alphanumeric() || "_:$.".contains(char);
        let length = if first == '"' {
            let end = rest[1..].find('"').expect("a text ends");
            rest = &rest[end + 2..];
            continue;
        } else if is_word(first) {
            rest.find(|char| !is_word(char)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            found.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    found
}

/// The words between this bracket and its end, without those that follow an operator of comparison.
fn inside<'t>(tokens: &[&'t str], open: usize, end: &str) -> Vec<&'t str> {
    let words = tokens[open + 1..].iter().take_while(|token| **token != end);
    words.copied().filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic())).collect()
}

/// Checks the names and the labels of an expression. Returns the metrics that it names.
fn check(expression: &str) -> Result<BTreeSet<&'static str>, String> {
    let tokens = tokens(expression);
    let open = |bracket: &str| tokens.iter().filter(|token| **token == bracket).count();
    for (one, other) in [("(", ")"), ("{", "}"), ("[", "]")] {
        if open(one) != open(other) {
            return Err(format!("unbalanced {one}{other} in {expression}"));
        }
    }
    let (mut named, mut allowed) = (BTreeSet::new(), BTreeSet::from(OF_SCRAPE));
    for (at, token) in tokens.iter().enumerate() {
        if !token.starts_with("wfe_") && !token.starts_with("http_") {
            continue;
        }
        let (metric, is_bucket) = metric(token).ok_or_else(|| format!("{token} is no series of a metric"))?;
        named.insert(metric.name);
        allowed.extend(metric.labels);
        if is_bucket {
            allowed.insert("le");
        }
        if tokens.get(at + 1) == Some(&"{") {
            for label in inside(&tokens, at + 1, "}") {
                if !metric.labels.contains(&label) && !OF_SCRAPE.contains(&label) {
                    return Err(format!("{token} has no label {label}"));
                }
            }
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        if ["by", "on", "without", "ignoring"].contains(token)
            && let Some(label) =
                inside(&tokens, at + 1, ")").into_iter().find(|label| !allowed.contains(label))
        {
            return Err(format!("no metric of {expression} has the label {label}"));
        }
    }
    if named.is_empty() { Err(format!("no metric in {expression}")) } else { Ok(named) }
}

#[test]
fn the_check_finds_wrong_names_suffixes_and_labels() {
    for wrong in [
        "rate(wfe_instances_begun_total[5m])",
        "wfe_step_duration_seconds",
        "wfe_instances_sum",
        "wfe_commit_seconds_quantile",
        "sum by (step) (wfe_instances)",
        "wfe_instances{step=\"a\"}",
        "sum(wfe_instances",
        "up == 0",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
    let right = "sum by (le, definition) (rate(wfe_step_duration_seconds_bucket{step!=\"wfe_no\", instance=\"a\"}[5m]))";
    assert_eq!(check(right), Ok(BTreeSet::from(["wfe_step_duration_seconds"])));
}

#[test]
fn each_alert_has_its_parts_and_names_only_metrics_that_exist() {
    let alerts: Value = serde_saphyr::from_str(&read("ops/alerts.yml")).unwrap();
    let rules: Vec<_> = alerts["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert_eq!(rules.len(), 10);
    let (guide, mut names) = (read("crates/wfe/src/guide/metrics_and_alerts.md"), BTreeSet::new());
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} stands twice");
        check(rule["expr"].as_str().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        for text in ["summary", "description"] {
            assert!(!rule["annotations"][text].as_str().unwrap().is_empty(), "{name}");
        }
        let keys: BTreeSet<_> = rule.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(
            keys.is_subset(&BTreeSet::from(["alert", "annotations", "expr", "for", "labels"])),
            "{keys:?}"
        );
        assert!(guide.contains(&format!("| `{name}` |")), "the guide does not say what to do for {name}");
    }
}

#[test]
fn each_panel_of_the_dashboard_has_a_place_and_names_only_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&read("ops/grafana.json")).unwrap();
    let (mut rows, mut ids, mut shown) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{title}");
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let named = check(target["expr"].as_str().unwrap());
            shown.extend(named.unwrap_or_else(|error| panic!("{title}: {error}")));
        }
    }
    assert_eq!(rows, ["Instances", "Steps", "Store", "Hosts", "External work"]);
    let all: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all, "the dashboard shows every metric");
}

#[test]
fn the_guide_lists_each_metric_with_its_kind_its_labels_and_its_help() {
    let guide = read("crates/wfe/src/guide/metrics_and_alerts.md");
    let rows: Vec<&str> =
        guide.lines().filter(|line| line.starts_with("| `wfe_") || line.starts_with("| `http_")).collect();
    let expected: Vec<String> = ALL.iter().map(|metric| row(metric)).collect();
    for row in &expected {
        assert!(rows.contains(&row.as_str()), "missing in the guide:\n{row}");
    }
    assert_eq!(rows.len(), expected.len());
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
}
