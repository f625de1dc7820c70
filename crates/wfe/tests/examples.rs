//! The examples as their users see them: what they print, what they refuse, and that each of them comes to the same end
//! wherever it is killed.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

#[path = "examples/definitions.rs"]
mod definitions;
#[path = "examples/ending.rs"]
mod ending;
#[path = "examples/programs.rs"]
mod programs;

use std::{
    fmt::Write,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use ending::ending;
use programs::programs;
use wfe_testkit::crash::KILL_AFTER;

/// The number of the signal by which it does.
const SIGABRT: i32 = 6;
/// An example has some tens of commits; one that has so many never ends.
const MANY: u64 = 500;
/// Places in which it is killed at the same time: most of what an example takes is waiting.
const AT_ONCE: usize = 4;

/// An example, and the instances by whose ends its own is known.
struct Example {
    name: &'static str,
    instances: &'static [&'static str],
    /// Whether it leaves files in a folder of its user's choice.
    has_folder: bool,
    /// As many commits as a run gets that is killed again and again: more than it takes to claim what is there, or nothing
    /// would ever be done.
    a_few: u64,
}

impl Example {
    fn command(&self, place: &Path) -> Command {
        let mut command = Command::new(programs().join(self.name));
        command.arg("--db").arg(place.join("state.db")).stdin(Stdio::null()).env_remove(KILL_AFTER);
        if self.has_folder {
            command.arg("--out").arg(place.join("out"));
        }
        command
    }

    /// Runs to the end.
    fn finish(&self, place: &Path) -> Output {
        let output = self.command(place).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} ended with {}: {said}", self.name, output.status);
        output
    }

    fn end(&self, place: &Path) -> String {
        let mut end = ending(&place.join("state.db"), self.instances);
        if self.has_folder {
            let mut files: Vec<_> =
                fs::read_dir(place.join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for file in files {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                write!(end, "{name}: {}", fs::read_to_string(&file).unwrap()).unwrap();
            }
        }
        end
    }

    fn prints(&self, expected: &str) {
        let place = tempfile::tempdir().unwrap();
        let printed = |output: Output| String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed(self.finish(place.path())), expected);
        let mut in_memory = Command::new(programs().join(self.name));
        assert_eq!(printed(in_memory.stdin(Stdio::null()).output().unwrap()), expected);
    }

    /// Killed after its n-th commit, for every n, and started again, it ends as one that nothing disturbed.
    fn survives(&self) {
        let undisturbed = tempfile::tempdir().unwrap();
        self.finish(undisturbed.path());
        let expected = self.end(undisturbed.path());
        let (next, is_over) = (AtomicU64::new(1), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let count = next.fetch_add(1, Ordering::Relaxed);
                        if !self.dies_after(count, &expected) {
                            is_over.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(next.into_inner() > 10, "it was hardly ever killed");
    }

    /// Killed again and again, it comes to the same end all the same.
    fn survives_a_bad_day(&self) {
        let undisturbed = tempfile::tempdir().unwrap();
        self.finish(undisturbed.path());
        let place = tempfile::tempdir().unwrap();
        let mut kills = 0_u64;
        loop {
            let output = self.command(place.path()).env(KILL_AFTER, self.a_few.to_string()).output().unwrap();
            if output.status.signal() != Some(SIGABRT) {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            kills += 1;
            assert!(kills < MANY, "{} never comes to its end", self.name);
        }
        assert!(kills > 1);
        assert_eq!(self.end(place.path()), self.end(undisturbed.path()), "after {kills} kills");
    }

    /// Whether it came to be killed.
    fn dies_after(&self, count: u64, expected: &str) -> bool {
        assert!(count < MANY, "{} stores without end", self.name);
        let place = tempfile::tempdir().unwrap();
        let killed = self.command(place.path()).env(KILL_AFTER, count.to_string()).output().unwrap();
        let was_killed = killed.status.signal() == Some(SIGABRT);
        let said = String::from_utf8_lossy(&killed.stderr);
        assert!(was_killed || killed.status.success(), "commit {count}: {}: {said}", killed.status);
        if was_killed {
            self.finish(place.path());
        }
        assert_eq!(self.end(place.path()), expected, "{} killed after commit {count}", self.name);
        was_killed
    }
}

macro_rules! examples {
    ($($name:ident: [$($instance:literal),*], $has_folder:literal, $a_few:literal;)*) => {
        $(mod $name {
            use super::Example;

            const EXAMPLE: Example = Example {
                name: stringify!($name),
                instances: &[$($instance),*],
                has_folder: $has_folder,
                a_few: $a_few,
            };

            #[test]
            fn prints_the_same_whatever_the_store() {
                EXAMPLE.prints(include_str!(concat!("../examples/", stringify!($name), "/transcript")));
            }

            #[test]
            fn killed_after_any_commit_it_comes_to_the_same_end() {
                EXAMPLE.survives();
            }

            #[test]
            fn killed_again_and_again_it_comes_to_the_same_end() {
                EXAMPLE.survives_a_bad_day();
            }
        })*

        #[test]
        fn a_command_line_that_makes_no_sense_is_refused_in_one_line() {
            for name in [$(stringify!($name)),*] {
                for arguments in [&["--colour", "red"][..], &["--db"], &["file"], &["--db", "a\nb", "x\ny"]] {
                    let program = programs().join(name);
                    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
                    let said = String::from_utf8(output.stderr).unwrap();
                    assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {said}");
                    assert_eq!((said.lines().count(), said.starts_with(name)), (1, true), "{said}");
                    assert!(output.stdout.is_empty());
                }
                let help = Command::new(programs().join(name)).arg("--help").output().unwrap();
                assert!(help.status.success() && help.stdout.starts_with(b"usage: "));
            }
        }
    };
}

examples! {
    approval: ["expense-1", "expense-2"], false, 5;
    fan_out: ["census-1", "census-2"], false, 5;
    invoice: ["invoice-1", "invoice-2", "invoice-3"], false, 5;
    order: ["order-1", "order-2", "order-3"], false, 5;
    // One commit claims the schedule and up to two reports, three give them back when the host stops for four days, and one
    // claims them for the next host.
    report: ["wfe.schedule:1:daily"], true, 8;
    worker: ["elm.jpg", "oak.jpg", "ash.jpg"], false, 5;
}
