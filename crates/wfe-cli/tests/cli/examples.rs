//! Runs each example that stands at the end of a command's help.

use std::{collections::BTreeSet, thread};

use crate::store::Place;

/// The commands that the help of this command lists, without `help`.
fn commands(place: &Place, path: &[&str]) -> Vec<String> {
    let help = place.wfe([path, &["--help"]].concat()).ends(0);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn examples(place: &Place, path: &[&str]) -> Vec<String> {
    let help = place.wfe([path, &["-h"]].concat()).ends(0);
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_example_of_the_help_runs() {
    let place = Place::new();
    let mut all = BTreeSet::new();
    let mut see = |path: &[&str]| {
        let examples = examples(&place, path);
        assert_eq!(examples.len(), 3, "{path:?} has other than three examples: {examples:?}");
        let name = path.join(" ");
        assert!(path.is_empty() || examples.iter().all(|line| line.contains(&name)), "{examples:?}");
        all.extend(examples);
    };
    let top = commands(&place, &[]);
    assert!(top.len() > 30, "{top:?}");
    see(&[]);
    for name in &top {
        see(&[name]);
        if matches!(&**name, "tasks" | "activities" | "schedules") {
            for inner in commands(&place, &[name]) {
                see(&[name, &inner]);
            }
        }
    }
    let all: Vec<String> = all.into_iter().collect();
    thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(4)) {
            scope.spawn(move || {
                for example in part {
                    // The first example of all names a file that is not the test's.
                    let line = example.replace("--db state.db", "--db orders.db");
                    let ran = Place::new().shell(&line);
                    assert_eq!(ran.code, 0, "{example}\n{}{}", ran.out, ran.err);
                    assert!(!ran.err.contains("error:"), "{example}\n{}", ran.err);
                }
            });
        }
    });
}
