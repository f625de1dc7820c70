use std::collections::BTreeSet;

use super::*;

#[test]
fn the_table_follows_the_rules_of_prometheus_for_names() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let Metric { name, kind, unit, labels, help } = metric;
        assert!(names.insert(name), "{name} stands twice");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(matches!(kind, Kind::Counter), name.ends_with("_total"), "{name}");
        assert_eq!(*unit == Some(Unit::Seconds), name.contains("_seconds"), "{name}");
        assert_eq!(*unit == Some(Unit::Bytes), name.contains("_bytes"), "{name}");
        assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "{name}");
        if let Kind::Histogram(bounds) = kind {
            assert!(bounds.is_sorted_by(|one, other| one < other), "{name}");
        }
    }
    let used: BTreeSet<_> = ALL.iter().flat_map(|metric| metric.labels).collect();
    assert!(BOUNDED.iter().all(|label| used.contains(label)));
}

#[test]
fn a_bounded_label_has_a_hundred_values_and_then_one_more() {
    let (known, more): (Vec<_>, Vec<_>) =
        (0..2 * MANY).map(|at| format!("code-{at}")).partition(|value| bounded("code", value) == value);
    assert_eq!((known.len(), more.len()), (MANY, MANY));
    assert!(known.iter().all(|value| bounded("code", value) == value));
    assert!(more.iter().all(|value| bounded("code", value) == OTHER));
    assert_eq!(bounded("event", &more[0]), more[0], "each label has values of its own");
    assert!((0..2 * MANY).all(|at| bounded("step", &at.to_string()) == at.to_string()), "not bounded");
}
