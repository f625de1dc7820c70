//! The exit codes, and what stands in the error.

use std::fs;

use crate::store::Place;

/// The command ends with this code, and its error has this text.
#[track_caller]
fn ends(place: &Place, line: &str, code: i32, text: &str) {
    let ran = place.shell(line);
    assert_eq!(ran.code, code, "{line}\n{}{}", ran.out, ran.err);
    assert!(ran.err.contains(text), "{line}\n{}", ran.err);
}

#[test]
fn a_list_without_a_filter_may_be_empty_and_one_with_a_filter_may_not() {
    let place = Place::new();
    ends(&place, "wfe audit --by nobody", 1, "no recorded actions");
    ends(&place, "wfe list", 0, "");
    ends(&place, "wfe list --definition nothing", 1, "no instances");
    ends(&place, "wfe list --count --definition nothing", 1, "");
    ends(&place, "wfe tasks list --assignee nobody", 1, "no open tasks");
    ends(&place, "wfe cancel --all --definition nothing --yes", 1, "no instances");
    ends(&place, "wfe errors --code nothing", 1, "no open failures");
    ends(&place, "wfe why --event nothing nothing", 1, "");
    ends(&place, "wfe resume --all --yes", 0, "");
    ends(&place, "wfe suspend --all --yes && wfe resume --all --yes", 0, "");
    ends(&place, "wfe delete --all --yes && wfe delete --all --yes", 0, "no instances");
    ends(&place, "wfe wait order/order-17 --timeout 1ms", 5, "");
}

#[test]
fn a_picture_of_a_definition_has_what_stands_at_its_steps() {
    let place = Place::new();
    let ran = place.shell("wfe graph order@3 --format svg --counts");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("<svg ") && ran.out.trim_end().ends_with("</svg>"), "{}", ran.out);
    assert!(
        ran.out.contains("<title>charge: step. Here now: 2 running, 2 failed for good</title>"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("<title>approval: event approved. Here now: 3 waiting</title>"), "{}", ran.out);
    let ran = place.shell("wfe graph --of order/order-22 --format svg");
    assert!(ran.out.contains("<title>charge: step. Here now: 1 "), "{}", ran.out);
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    let place = Place::new();
    for (line, text) in [
        ("wfe", "Usage"),
        ("wfe lsit", "list"),
        ("wfe list --status stuck", "open or ended"),
        ("wfe list --since yesterday", "RFC 3339"),
        ("wfe list --columns id,colour", "the columns are state, id"),
        ("wfe list --after x", "not a cursor"),
        ("wfe list --limit 0", "0 is not in"),
        ("wfe list --zone Mars/Olympus", "Mars/Olympus"),
        ("wfe list --text ''", "512 bytes"),
        ("wfe suspend", "ID"),
        ("wfe suspend order/order-17 --definition order", "only with --all"),
        ("wfe suspend order/order-17 --all", "cannot be used with"),
        ("wfe start order --data '{'", "not JSON"),
        ("wfe start order --data hello", "quotation marks"),
        ("wfe publish approved order-17 @/no/such/file", "/no/such/file"),
        ("wfe purge --older 3x", "30s, 2h30m or 2d"),
        ("wfe schedules create a order", "--cron"),
        ("wfe errors --after 1", "--each"),
        ("wfe activities release 0 --yes", "0"),
    ] {
        ends(&place, line, 2, text);
    }
    let help = place.shell("wfe --help");
    assert!(help.out.contains("Exit codes:") && help.err.is_empty(), "{help:?}");
}

#[test]
fn groups_of_failures_beyond_the_limit_are_counted() {
    let place = Place::new();
    let ran = place.shell("wfe errors --limit 1");
    assert!(ran.err.contains("and 1 more"), "{ran:?}");
    assert_eq!(ran.ends(0).lines().count(), 1);
}

#[test]
fn what_is_not_there_is_named() {
    let place = Place::new();
    for line in [
        "wfe show nothing",
        "wfe show order/order-99",
        "wfe why nothing",
        "wfe wait nothing",
        "wfe suspend nothing",
        "wfe tasks show nothing",
        "wfe tasks answer nothing approve",
        "wfe activities release nothing --yes",
        "wfe definitions nothing",
        "wfe definitions order@9",
        "wfe graph nothing",
        "wfe schedules show nothing",
        "wfe schedules pause nothing",
        "wfe errors --each nothing",
    ] {
        ends(&place, line, 3, "error: ");
    }
}

#[test]
fn what_the_state_or_the_operator_refuses_is_not_done() {
    let place = Place::new();
    ends(&place, "wfe resume order/order-1", 4, "completed");
    ends(&place, "wfe retry order/order-17", 4, "cannot run again");
    ends(&place, "wfe delete order/order-17 --yes", 4, "not ended");
    ends(&place, "wfe delete order/order-1", 4, "--yes");
    ends(&place, "wfe suspend --all", 4, "--yes");
    ends(&place, "wfe purge --older 0s", 4, "--yes");
    ends(&place, "wfe upgrade --yes --read-only", 4, "reading only");
    ends(&place, "wfe suspend order/order-17 --read-only", 4, "reading only");
    ends(&place, "wfe tasks answer invoice/inv-1 perhaps", 4, "approve");
    ends(&place, "wfe list --count --status completed", 0, "");
    assert_eq!(place.shell("wfe list --count --status ended").ends(0), "4\n");
}

#[test]
fn a_bulk_action_that_was_refused_for_some_is_done_in_part() {
    let place = Place::new();
    let ran = place.shell("wfe retry order/order-23 order/order-17 --yes");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.out.contains("done\t1\n") && ran.out.contains("refused\t1\n"), "{ran:?}");
    ends(&place, "wfe retry order/order-17 order/order-18 --yes", 4, "refused: ");
}

#[test]
fn a_store_that_cannot_be_used_is_named() {
    let place = Place::empty();
    fs::write(
        place.path().join("text.db"),
        "no database at all, but long enough for a header of 100 bytes".repeat(4),
    )
    .unwrap();
    fs::write(place.path().join("empty.db"), "").unwrap();
    fs::create_dir(place.path().join("folder.db")).unwrap();
    for name in ["missing.db", "text.db", "empty.db", "folder.db", "no/such/folder.db"] {
        for command in ["list", "suspend x", "upgrade", "backup b.db"] {
            ends(&place, &format!("wfe --db {name} {command}"), 6, name);
        }
    }
    let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(fs::metadata(place.path().join("empty.db")).unwrap().len(), 0);
}

#[test]
fn without_a_name_the_stores_of_the_folder_are_listed() {
    let place = Place::new();
    fs::write(place.path().join("notes.txt"), "x".repeat(200)).unwrap();
    let ran = place.shell("unset WFE_DB; wfe list");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--db orders.db") && !ran.err.contains("notes"), "{}", ran.err);
    let ran = Place::empty().shell("unset WFE_DB; wfe list");
    assert!(ran.err.contains("this folder has none"), "{}", ran.err);
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let place = Place::new();
    for command in ["wfe list --json", "wfe completion bash", "wfe --help"] {
        let ran = place.shell(&format!("({command}; echo $? >&2) | true"));
        assert!(ran.err.trim().lines().all(|line| line == "0"), "{command}: {}", ran.err);
    }
}
