//! What only happens on a terminal: questions, the pager, colours, Ctrl-C.

use crate::store::Place;

#[test]
fn more_than_one_instance_is_asked_for() {
    let place = Place::new();
    let mut asks = place.terminal(50, 120, &["suspend", "--all", "--definition", "order"]);
    asks.expect("This will suspend 3 instances.");
    asks.expect("Go on? [y/N]");
    asks.send("n\n");
    let (code, text) = asks.end();
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("not confirmed") && text.contains("order-17 "), "{text}");
    let mut asks = place.terminal(50, 120, &["suspend", "--all", "--definition", "order"]);
    asks.expect("Go on? [y/N]");
    asks.send("y\n");
    let (code, text) = asks.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("3 done"), "{text}");
    let (code, text) = place.terminal(50, 120, &["suspend", "invoice/inv-1"]).end();
    assert_eq!(code, 0, "one instance is not asked for: {text}");
}

#[test]
fn for_many_instances_the_number_is_typed() {
    let place = Place::new();
    for number in 0..120 {
        place.wfe(["start", "invoice", "--data", "7", "--reference", &format!("many-{number}")]).ends(0);
    }
    let words = ["terminate", "--all", "--reference", "many-*"];
    let mut asks = place.terminal(50, 120, &words);
    asks.expect("Type 120 to go on:");
    asks.send("y\n");
    assert_eq!(asks.end().0, 4);
    let mut asks = place.terminal(50, 120, &words);
    asks.expect("Type 120 to go on:");
    asks.send("120\n");
    let (code, text) = asks.end();
    assert_eq!(code, 0, "{text}");
}

#[test]
fn what_is_deleted_is_asked_for() {
    let place = Place::new();
    let mut asks = place.terminal(50, 120, &["delete", "order/order-1"]);
    asks.expect("This will delete 1 instance.");
    asks.send("\n");
    assert_eq!(asks.end().0, 4);
    place.wfe(["show", "order/order-1"]).ends(0);
    let mut asks = place.terminal(50, 120, &["purge", "--older", "0s"]);
    asks.expect("This will remove 4 instances, with everything that belongs to them.");
    asks.send("y\n");
    assert_eq!(asks.end().0, 0);
    assert_eq!(place.wfe(["show", "order/order-1"]).code, 3);
}

#[test]
fn only_what_is_longer_than_the_screen_goes_through_the_pager() {
    let place = Place::new();
    let pager = [("PAGER", "sed 's/^/page: /'")];
    let (_, long) = place.terminal_with(10, 120, &["list"], &pager).end();
    assert!(long.contains("page: "), "{long}");
    let (_, short) = place.terminal_with(50, 120, &["list"], &pager).end();
    assert!(short.contains("order-17") && !short.contains("page: "), "{short}");
    let (_, json) = place.terminal_with(10, 120, &["list", "--json"], &pager).end();
    assert!(!json.contains("page: "), "{json}");
    // A pager that is not there, or ends early, loses nothing that matters.
    let (code, text) = place.terminal_with(10, 120, &["list"], &[("PAGER", "no-such-pager")]).end();
    assert!(code == 0 && text.contains("order-17"), "{text}");
    assert_eq!(place.terminal_with(10, 120, &["list"], &[("PAGER", "true")]).end().0, 0);
}

#[test]
fn colours_are_for_terminals_unless_somebody_says_otherwise() {
    let place = Place::new();
    let is_bright = |text: &str| text.contains("\u{1b}[");
    let shown = |variables: &[(&str, &str)], words: &[&str]| {
        let variables = [&[("PAGER", "")], variables].concat();
        place.terminal_with(50, 120, words, &variables).raw().1
    };
    assert!(is_bright(&shown(&[], &["list"])));
    assert!(!is_bright(&shown(&[("NO_COLOR", "1")], &["list"])));
    assert!(!is_bright(&shown(&[], &["list", "--color", "never"])));
    assert!(!is_bright(&shown(&[("TERM", "dumb")], &["list"])));
    assert!(!is_bright(&place.shell("wfe list").out));
    assert!(is_bright(&place.shell("CLICOLOR_FORCE=1 wfe list").out));
    assert!(is_bright(&place.shell("wfe list --color always").out));
    assert!(!is_bright(&place.shell("wfe list --color always --json").out));
}

#[test]
fn a_list_fits_the_width_of_the_terminal() {
    let place = Place::new();
    for width in [40, 80, 200] {
        let (_, text) = place.terminal(60, width, &["list"]).end();
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}\n{text}");
        assert!(text.contains("■ suspended"), "{text}");
    }
}

#[test]
fn an_interrupt_ends_what_waits() {
    let place = Place::new();
    for words in [&["wait", "order/order-17"][..], &["tail"]] {
        let mut waits = place.terminal(50, 120, words);
        waits.expect("Ctrl-C ends it");
        waits.interrupt();
        let (code, text) = waits.end();
        assert_eq!(code, 130, "{words:?}: {text}");
    }
    let mut watches = place.terminal(50, 120, &["stats", "--watch"]);
    watches.expect("open instances");
    watches.interrupt();
    assert_eq!(watches.end().0, 0);
}

#[test]
fn an_interrupt_is_an_answer_to_a_question() {
    let place = Place::new();
    for words in [
        &["purge-events", "--older", "0s"][..],
        &["delete", "order/order-1"],
        &["suspend", "--all"],
        &["schedules", "delete", "nightly"],
    ] {
        let mut asks = place.terminal(50, 120, words);
        asks.expect("Go on? [y/N]");
        asks.interrupt();
        let (code, text) = asks.end();
        assert_eq!(code, 130, "{words:?}: {text}");
        assert!(text.contains("nothing was done"), "{words:?}: {text}");
    }
    assert_eq!(place.wfe(["audit", "--json"]).ends(0).lines().count(), 1, "bob's, of the template");
}

#[test]
fn an_interrupted_bulk_action_says_how_far_it_came() {
    let place = Place::new();
    let open: u64 = place.shell("wfe list --count --status open").ends(0).trim().parse().unwrap();
    // One a second: the bar is there after the second one, and most are still to come.
    let mut bulk = place.terminal(50, 120, &["terminate", "--all", "--yes", "--rate", "1/s"]);
    bulk.expect("terminate: ");
    bulk.interrupt();
    let (code, text) = bulk.end();
    assert_eq!(code, 130, "{text}");
    let (_, after) = text.rsplit_once("interrupted after ").unwrap();
    let done: u64 = after.split(' ').next().unwrap().parse().unwrap();
    assert!(0 < done && done < open, "{done} of {open}: {text}");
    assert_eq!(place.shell("wfe list --count --requested").ends(0).trim(), done.to_string());
}
