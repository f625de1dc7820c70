use std::{
    fmt,
    process::{Command, ExitStatus},
};

use super::KILL_AFTER;

/// Runs a program once undisturbed, and then once for each of these numbers of commits, right after which it dies
/// ([`KillAfter::from_env`](super::KillAfter::from_env)); each time it is run once more in the same place, and must leave
/// the same state as undisturbed. With `1..` it dies after every commit there is. Gives how often it died.
///
/// `place` makes a new, empty place (a temporary folder), `command` the program that works in it, `state` reads what it
/// left: the instances' final state, or what was printed. The program must come to its end by itself, also when it finds
/// what a former life has left.
///
/// # Panics
/// If the program cannot be run or fails undisturbed, or leaves another state after a death.
pub fn processes_at_every_commit<P, T: PartialEq + fmt::Debug>(
    place: impl Fn() -> P,
    command: impl Fn(&P) -> Command,
    state: impl Fn(&P) -> T,
    commits: impl IntoIterator<Item = usize>,
) -> usize {
    let undisturbed = |place: &P| {
        let status = run(command(place).env_remove(KILL_AFTER));
        assert!(status.success(), "the program fails undisturbed: {status}");
    };
    let first = place();
    undisturbed(&first);
    let whole = state(&first);
    let mut deaths = 0;
    for after in commits {
        let place = place();
        let is_over = run(command(&place).env(KILL_AFTER, after.to_string())).success();
        if !is_over {
            deaths += 1;
            undisturbed(&place);
        }
        assert_eq!(state(&place), whole, "when the program died after commit {after}");
        if is_over {
            break;
        }
    }
    deaths
}

fn run(command: &mut Command) -> ExitStatus {
    #[allow(clippy::panic)] // A driver of tests reports as tests do.
    command.status().unwrap_or_else(|error| panic!("the program {command:?} cannot be run: {error}"))
}
