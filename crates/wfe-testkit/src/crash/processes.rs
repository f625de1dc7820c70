use std::{
    fmt,
    process::{Command, ExitStatus},
};

use super::KILL_AFTER;

/// Runs a program once undisturbed, and then once for each number in `commits`. In each of these runs, the program dies
/// right after that many commits ([`KillAfter::from_env`](super::KillAfter::from_env)). The program is then run once
/// more in the same place, and must leave the same state as in the undisturbed run. The first run that ends without
/// dying is the last run. With `1..`, the program therefore dies once after every commit that it makes. Returns how
/// often the program died.
///
/// `place` creates a new, empty place, such as a temporary folder. `command` returns the command that runs the program
/// in a place. `state` reads the state that the program has left there, such as the final state of instances, or its
/// output. The program must end without further input, even if it finds the state of an earlier run in which it died.
///
/// # Panics
/// If the program cannot be run, if it fails in a run in which it should not die, or if it leaves a different
/// state after a crash.
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
