//! Names, payloads and failures that are made to harm a terminal, or are too long for it.

use crate::store::Place;

const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\n\t\u{202e}evil\u{2028}\u{7f}";

/// No character that a terminal acts on; colours are of the command's own.
#[track_caller]
fn is_harmless(text: &str) {
    let text = anstream::adapter::strip_str(text).to_string();
    let bad: Vec<char> = text
        .chars()
        .filter(|c| (c.is_control() && *c != '\n' && *c != '\t') || matches!(c, '\u{202e}' | '\u{2028}'))
        .collect();
    assert!(bad.is_empty(), "{bad:?} in {text:?}");
    assert!(!text.contains("]0;owned\u{7}"));
}

fn poisoned() -> Place {
    let place = Place::new();
    let data = serde_json::json!({ "number": ESCAPES, "lines": [ESCAPES] }).to_string();
    let started = place.wfe([
        "start",
        "order",
        "--data",
        &data,
        "--reference",
        ESCAPES,
        "--name",
        ESCAPES,
        "--attr",
        &format!("key={ESCAPES}"),
        "--reason",
        ESCAPES,
        "--as",
        ESCAPES,
    ]);
    started.ends(0);
    place.wfe(["publish", &format!("e{ESCAPES}"), ESCAPES, &data, "--id", &format!("i{ESCAPES}")]).ends(0);
    place
}

#[test]
fn nothing_that_a_program_stores_acts_on_the_terminal() {
    let place = poisoned();
    let commands: [&[&str]; 12] = [
        &["list"],
        &["list", "--columns", "name,reference,attributes,waits"],
        &["show", ESCAPES, "--all"],
        &["why", ESCAPES],
        &["why", "--event", &format!("e{ESCAPES}"), ESCAPES],
        &["audit", "--columns", "actor,reason,detail"],
        &["cancel", "--all", "--dry-run"],
        &["definitions"],
        &["stats"],
        &["show", "nothing\u{1b}[2J"],
        &["list", "--definition", "\u{1b}[2J"],
        &["tail", "--for", "10ms"],
    ];
    for words in commands {
        let ran = place.wfe(words);
        is_harmless(&ran.out);
        is_harmless(&ran.err);
        for line in place.wfe([words, &["--json"]].concat()).out.lines() {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        let (_, text) = place.terminal(50, 100, words).raw();
        let shown = text.replace("\u{1b}[", "");
        assert!(!text.contains("\u{1b}]") && !text.contains("\u{1b}[2J"), "{text:?}");
        assert!(!shown.contains(['\u{7}', '\u{9b}', '\u{202e}', '\u{2028}']), "{text:?}");
    }
}

#[test]
fn ten_megabytes_of_data_are_shown_whole_in_a_pipe_and_cut_in_a_list() {
    let place = Place::new();
    let long = "x".repeat(10 << 20);
    std::fs::write(place.path().join("data.json"), format!("{{\"number\":\"{long}\"}}")).unwrap();
    place.shell("wfe start order --data @data.json --reference long").ends(0);
    let shown = place.shell("wfe show order/long --data --json").ends(0);
    assert!(shown.len() > 10 << 20);
    let (code, text) = place.terminal(50, 80, &["list", "--definition", "order"]).end();
    assert_eq!(code, 0);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}
