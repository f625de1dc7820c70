//! The example `manifest` as its user sees it: a process that is started, killed and started again.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]
#[path = "examples/programs.rs"]
mod programs;
#[path = "manifest/together.rs"]
mod together;

use std::{
    collections::HashMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use programs::programs;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// How long a condition may take to come true on a loaded machine before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

fn program() -> PathBuf {
    programs().join("manifest")
}

struct Job {
    place: TempDir,
    jobs: usize,
}

impl Job {
    fn over(files: &[(&[u8], &[u8])]) -> Self {
        let job = Self { place: tempfile::tempdir().unwrap(), jobs: 4 };
        fs::create_dir(job.dir()).unwrap();
        for (name, content) in files {
            job.write(name, content);
        }
        job
    }

    fn write(&self, name: &[u8], content: &[u8]) {
        let path = self.dir().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }
    fn dir(&self) -> PathBuf {
        self.path("dir")
    }
    fn out(&self) -> PathBuf {
        self.path("OUT")
    }
    fn log(&self) -> PathBuf {
        self.path("log")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--dir").arg(self.dir()).arg("--db").arg(self.path("state.db"));
        command.arg("--out").arg(self.out()).arg("--log").arg(self.log());
        command.args(["--jobs", &self.jobs.to_string()]);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self) -> Output {
        self.command().output().unwrap()
    }

    fn logged(&self) -> Vec<Vec<u8>> {
        lines(&self.log())
    }

    /// Waits until the log has this many lines, or the process has ended.
    fn kill_at(&self, lines: usize) {
        let mut child: Child = self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while self.logged().len() < lines && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "only {} lines in the log", self.logged().len());
            thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The lines of a log, none if it is not there yet.
fn lines(log: &Path) -> Vec<Vec<u8>> {
    let log = fs::read(log).unwrap_or_default();
    log.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn hex(content: &[u8]) -> String {
    let digits = Sha256::digest(content).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn killed_five_times_it_ends_as_if_undisturbed_and_repeats_no_more_than_was_running() {
    let files: Vec<(Vec<u8>, Vec<u8>)> = (0..1_200)
        .map(|i| (format!("{}/{}/file-{i}", i % 7, i % 11).into_bytes(), format!("content {i}").into_bytes()))
        .collect();
    let job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    for kill in 1..=5 {
        job.kill_at(kill * 180);
    }
    let last = job.run();
    assert_eq!(last.status.code(), Some(0), "{}", stderr(&last));

    let mut expected: Vec<String> = Vec::new();
    let mut sorted = files.clone();
    sorted.sort();
    for (name, content) in &sorted {
        expected.push(format!("{}  {}\n", hex(content), String::from_utf8_lossy(name)));
    }
    assert_eq!(fs::read_to_string(job.out()).unwrap(), expected.concat());

    let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
    for line in job.logged() {
        *times.entry(line).or_default() += 1;
    }
    assert_eq!(times.len(), files.len());
    let repeated = job.logged().len() - files.len();
    assert!(repeated <= 5 * job.jobs, "{repeated} files were hashed again");
}

#[test]
fn names_are_escaped_sorted_by_bytes_and_need_not_be_utf_8() {
    let job = Job::over(&[
        (b"b.txt", b"2"),
        (b"a/b", b"1"),
        (b"a.txt", b""),
        (b"new\nline", b"3"),
        (b"back\\slash", b"4"),
        (b"car\rriage", b"5"),
        (b"bad\xff", b"6"),
        (b"-", b"7"),
    ]);
    symlink("b.txt", job.dir().join("link")).unwrap();
    symlink("..", job.dir().join("loop")).unwrap();
    let output = job.run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut expected = Vec::new();
    for (start, content, name) in [
        ("", "7", b"./-".as_slice()),
        ("", "", b"a.txt"),
        ("", "1", b"a/b"),
        ("", "2", b"b.txt"),
        ("\\", "4", b"back\\\\slash"),
        ("", "6", b"bad\xff"),
        ("\\", "5", b"car\\rriage"),
        ("\\", "3", b"new\\nline"),
    ] {
        expected.extend_from_slice(format!("{start}{}  ", hex(content.as_bytes())).as_bytes());
        expected.extend_from_slice(name);
        expected.push(b'\n');
    }
    assert_eq!(fs::read(job.out()).unwrap(), expected);
    let check = Command::new("sha256sum")
        .arg("--check")
        .arg("--quiet")
        .arg(job.out())
        .current_dir(job.dir())
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", stderr(&check));
}

#[test]
fn its_own_files_below_the_directory_are_left_out() {
    let mut job = Job::over(&[(b"one", b"1"), (b"state.db-notes", b"2")]);
    job.jobs = 1;
    let run = || {
        let mut command = Command::new(program());
        command.current_dir(job.dir());
        command.args(["--dir", ".", "--db", "state.db", "--out", "OUT", "--log", "log", "--jobs", "2"]);
        command.output().unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = fs::read_to_string(job.dir().join("OUT")).unwrap();
    assert_eq!(text, format!("{}  one\n{}  state.db-notes\n", hex(b"1"), hex(b"2")));
    fs::remove_file(job.dir().join("OUT")).unwrap();
    assert_eq!(run().status.code(), Some(0));
    assert_eq!(fs::read_to_string(job.dir().join("OUT")).unwrap(), text);
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_completed_run_is_not_repeated_and_a_missing_manifest_is_written_again() {
    let job = Job::over(&[(b"one", b"1"), (b"two", b"2")]);
    assert_eq!(job.run().status.code(), Some(0));
    let manifest = fs::read(job.out()).unwrap();
    let again = job.run();
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    let said = stdout(&again);
    assert!(said.contains("was completed at 2") && said.contains("--again begins a new run"), "{said}");
    fs::remove_file(job.out()).unwrap();
    assert_eq!(job.run().status.code(), Some(0));
    assert_eq!(fs::read(job.out()).unwrap(), manifest);
    assert_eq!(job.logged().len(), 2);
}

#[test]
fn a_completed_run_says_that_files_have_changed_since_and_how_to_begin_anew() {
    type Change = fn(&Job);
    let changes: [(&str, Change); 3] = [
        ("three was added", |job| job.write(b"three", b"3")),
        ("one was removed", |job| fs::remove_file(job.dir().join("one")).unwrap()),
        ("two has changed", |job| {
            // A copy with the time of the original.
            let two = job.dir().join("two");
            let time = fs::metadata(&two).unwrap().modified().unwrap();
            fs::write(&two, b"4").unwrap();
            fs::File::options().write(true).open(two).unwrap().set_modified(time).unwrap();
        }),
    ];
    let job = Job::over(&[(b"one", b"1"), (b"two", b"2")]);
    let with_again = || job.command().arg("--again").output().unwrap();
    // On a fresh database, this is the first run.
    assert_eq!(with_again().status.code(), Some(0));
    for (what, change) in changes {
        let before = fs::read(job.out()).unwrap();
        change(&job);
        for _ in 0..2 {
            let output = job.run();
            assert_eq!(output.status.code(), Some(2), "{what}: {}", stdout(&output));
            let said = stderr(&output);
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(
                said.contains(what) && said.contains("--again") && said.contains("was completed at 2"),
                "{said}"
            );
            assert_eq!(fs::read(job.out()).unwrap(), before);
        }
        let output = with_again();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_ne!(fs::read(job.out()).unwrap(), before, "{what}");
        assert_eq!(job.run().status.code(), Some(0));
    }
    let expected = format!("{}  three\n{}  two\n", hex(b"3"), hex(b"4"));
    assert_eq!(fs::read_to_string(job.out()).unwrap(), expected);
}

#[test]
fn a_run_that_was_begun_anew_continues_when_it_was_killed() {
    let files: Vec<(Vec<u8>, Vec<u8>)> =
        (0..400).map(|i| (format!("f{i}").into_bytes(), format!("one {i}").into_bytes())).collect();
    let job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    assert_eq!(job.run().status.code(), Some(0));
    for i in 0..400 {
        job.write(format!("f{i}").as_bytes(), format!("two {i}").as_bytes());
    }
    let mut child = job.command().arg("--again").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while job.logged().len() < 430 && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "only {} lines in the log", job.logged().len());
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // With the option and without it: it has not ended.
    let output = job.command().arg("--again").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let repeated = job.logged().len() - 800;
    assert!(repeated <= job.jobs, "{repeated} files were hashed again");
    let text = fs::read_to_string(job.out()).unwrap();
    assert!(text.contains(&format!("{}  f399\n", hex(b"two 399"))), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_lets_the_files_that_are_being_hashed_finish_and_says_how_to_go_on() {
    use rustix::process::{Pid, Signal, kill_process};
    let files: Vec<(Vec<u8>, Vec<u8>)> =
        (0..3_000).map(|i| (format!("f{i}").into_bytes(), vec![1; i])).collect();
    let job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    let mut child = job.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while job.logged().len() < 50 && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "only {} lines in the log", job.logged().len());
        thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let said = stderr(&output);
    let last = said.lines().last().unwrap();
    assert!(last.contains("of 3000 files were done; the same command continues"), "{said}");
    assert!(!job.out().exists());
    let output = job.run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(job.out()).unwrap().lines().count(), 3_000);
    assert_eq!(job.logged().len(), 3_000, "no file was hashed again");
}

#[test]
fn a_command_line_that_lacks_something_is_told_all_of_it() {
    let said = |args: &[&str]| {
        let output = Command::new(program()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    assert_eq!(said(&[]), "manifest: missing: --dir, --db, --out; see --help\n");
    assert_eq!(said(&["--db", "x"]), "manifest: missing: --dir, --out; see --help\n");
    let jobs = said(&["--dir", ".", "--jobs", "0"]);
    assert_eq!(jobs, "manifest: --jobs takes a number from 1 on, not 0; see --help\n");
}

#[test]
fn a_reader_that_goes_away_changes_neither_the_work_nor_the_exit_status() {
    let job = Job::over(&[(b"one", b"1"), (b"two", b"2")]);
    let mut child = job.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(job.out()).unwrap().lines().count(), 2);
    assert_eq!(job.logged().len(), 2);
}

#[test]
fn a_log_that_cannot_be_written_ends_the_run_and_costs_no_file() {
    let job = Job::over(&[(b"one", b"1"), (b"two", b"2")]);
    let output = job.command().args(["--log", "/dev/full"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("log"), "{}", stderr(&output));
    let output = job.run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(job.out()).unwrap().lines().count(), 2);
}

#[test]
fn a_link_in_the_place_of_the_manifest_leads_to_it_and_stays() {
    let job = Job::over(&[(b"one", b"1")]);
    fs::write(job.path("target"), "old").unwrap();
    symlink("target", job.out()).unwrap();
    assert_eq!(job.run().status.code(), Some(0));
    assert_eq!(fs::read_link(job.out()).unwrap(), Path::new("target"));
    assert_eq!(fs::read_to_string(job.path("target")).unwrap(), format!("{}  one\n", hex(b"1")));
}

#[test]
fn an_empty_directory_has_an_empty_manifest() {
    let job = Job::over(&[]);
    let output = job.run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read(job.out()).unwrap(), b"");
}

#[test]
fn a_file_that_vanished_is_reported_and_the_others_are_in_the_manifest() {
    let files: Vec<(Vec<u8>, Vec<u8>)> =
        (0..1_500).map(|i| (format!("f{i:04}").into_bytes(), vec![b'x'; i])).collect();
    let mut job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    job.jobs = 1;
    job.kill_at(1);
    assert!(job.logged().len() < 1_499, "killed too late to lose the last file");
    fs::remove_file(job.dir().join("f1499")).unwrap();
    for _ in 0..2 {
        let output = job.run();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(said.contains("f1499") && said.to_lowercase().contains("no such file"), "{said}");
        assert_eq!(fs::read_to_string(job.out()).unwrap().lines().count(), 1_499);
    }
}

#[test]
fn jobs_log_and_manifest_may_differ_from_start_to_start() {
    let files: Vec<(Vec<u8>, Vec<u8>)> =
        (0..200).map(|i| (format!("f{i}").into_bytes(), vec![1; i])).collect();
    let mut job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    job.kill_at(20);
    job.jobs = 2;
    let other = job.path("OTHER");
    let output = job.command().arg("--out").arg(&other).arg("--log").arg(job.path("log-2")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(other).unwrap().lines().count(), 200);
    assert!(!job.out().exists());
}

#[test]
fn one_database_holds_the_runs_of_several_directories_apart() {
    let files: Vec<(Vec<u8>, Vec<u8>)> =
        (100..900).map(|i| (format!("f{i}").into_bytes(), format!("one {i}").into_bytes())).collect();
    let job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    let other = job.path("other");
    fs::create_dir(&other).unwrap();
    for i in 100..900 {
        fs::write(other.join(format!("f{i}")), format!("other {i}")).unwrap();
    }
    let sums = |whose: &str| -> String {
        let lines = (100..900).map(|i| format!("{}  f{i}\n", hex(format!("{whose} {i}").as_bytes())));
        lines.collect::<Vec<_>>().concat()
    };
    job.kill_at(20);
    let output = job.command().arg("--dir").arg(&other).arg("--out").arg(job.path("OTHER")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(job.path("OTHER")).unwrap(), sums("other"));
    let output = job.run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(job.out()).unwrap(), sums("one"));
}

#[test]
fn what_cannot_work_is_one_clear_line_and_status_2_with_nothing_written() {
    let job = Job::over(&[(b"one", b"1")]);
    let before = || {
        let mut names: Vec<_> =
            fs::read_dir(job.place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    fs::write(job.path("text"), "this is no database, and long enough to tell").unwrap();
    fs::create_dir(job.path("folder")).unwrap();
    let there = before();
    for (option, value) in [
        ("--dir", "missing"),
        ("--dir", "text"),
        ("--db", "text"),
        ("--db", "folder"),
        ("--db", "missing/state.db"),
        ("--out", "folder"),
        ("--out", "missing/OUT"),
        ("--log", "folder"),
        ("--out", ""),
        ("--out", "state.db"),
        ("--out", "state.db-wal"),
        ("--log", "state.db"),
        ("--log", "OUT"),
    ] {
        let path = if value.is_empty() { PathBuf::new() } else { job.path(value) };
        let output = job.command().arg(option).arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {value}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{option} {value}: {}", stderr(&output));
        assert!(stderr(&output).contains(value), "{option} {value}: {}", stderr(&output));
        assert_eq!(before(), there, "{option} {value}");
    }
    assert_eq!(fs::read(job.path("text")).unwrap(), b"this is no database, and long enough to tell");
    for bad in [&["--jobs", "0"][..], &["--jobs", "x"], &["--nonsense"], &["extra"]] {
        let output = job.command().args(bad).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{bad:?}: {}", stderr(&output));
    }
}
