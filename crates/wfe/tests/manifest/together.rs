//! Several processes that do the same job at once.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Job, PATIENCE, hex, lines, program, stderr};

/// The same job as several processes, each with a log of its own, started at the same moment.
struct Crowd<'a> {
    job: &'a Job,
    children: Vec<Child>,
}

impl<'a> Crowd<'a> {
    const SIZE: usize = 3;

    fn start(job: &'a Job) -> Self {
        let mut children: Vec<_> = (0..Self::SIZE)
            .map(|number| {
                // The shell waits for its input to end, and becomes the program.
                let mut command = Command::new("sh");
                command.args(["-c", "read go; exec \"$0\" \"$@\""]).arg(program());
                command.args(job.command().get_args()).arg("--log").arg(Self::log(job, number));
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        // All are there; now they go.
        for child in &mut children {
            drop(child.stdin.take());
        }
        Self { job, children }
    }

    fn log(job: &Job, number: usize) -> PathBuf {
        job.path(&format!("log-{number}"))
    }

    fn logged(&self, number: usize) -> Vec<Vec<u8>> {
        lines(&Self::log(self.job, number))
    }

    /// Every line of every log, sorted.
    fn all_logged(job: &Job) -> Vec<Vec<u8>> {
        let mut all: Vec<_> = (0..Self::SIZE).flat_map(|number| lines(&Self::log(job, number))).collect();
        all.sort();
        all
    }

    /// Which process hashes, once one has hashed so many files.
    fn at_work(&mut self, files: usize) -> usize {
        let began = Instant::now();
        loop {
            if let Some(number) = (0..Self::SIZE).find(|&number| self.logged(number).len() >= files) {
                return number;
            }
            assert!(
                self.children.iter_mut().all(|child| child.try_wait().unwrap().is_none()),
                "one has ended"
            );
            assert!(began.elapsed() < PATIENCE, "nobody hashes");
            thread::yield_now();
        }
    }

    /// Waits for each process to end, within the patience for all of them.
    fn ended(mut self) -> Vec<Output> {
        let began = Instant::now();
        while self.children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            assert!(began.elapsed() < PATIENCE, "not all of them end");
            thread::sleep(Duration::from_millis(5));
        }
        let children = std::mem::take(&mut self.children);
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
    }
}

impl Drop for Crowd<'_> {
    /// A test that failed leaves none behind.
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn numbered(count: usize) -> (Job, String) {
    let files: Vec<_> = (0..count)
        .map(|i| (format!("{}/f{i:05}", i % 7).into_bytes(), format!("content {i}").into_bytes()))
        .collect();
    let job = Job::over(&files.iter().map(|(n, c)| (n.as_slice(), c.as_slice())).collect::<Vec<_>>());
    let mut sorted = files;
    sorted.sort();
    let sums =
        sorted.iter().map(|(name, content)| format!("{}  {}\n", hex(content), String::from_utf8_lossy(name)));
    let sums = sums.collect();
    (job, sums)
}

fn lines_of(text: &str) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = text.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
    lines.sort();
    lines
}

#[test]
fn three_processes_at_once_hash_each_file_once_and_all_end_well() {
    let (job, sums) = numbered(600);
    for output in Crowd::start(&job).ended() {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.ends_with("OUT: 600 files, 0 failed\n"), "{said}");
    }
    assert_eq!(fs::read_to_string(job.out()).unwrap(), sums);
    assert_eq!(Crowd::all_logged(&job), lines_of(&sums));
    let mut left: Vec<_> = fs::read_dir(job.place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    // Of processes that close at the same moment, each may leave SQLite's own two files to the other.
    left.retain(|name| name != "state.db-wal" && name != "state.db-shm");
    left.sort();
    assert_eq!(left, ["OUT", "dir", "log-0", "log-1", "log-2", "state.db"]);
}

#[test]
fn when_the_one_of_three_that_hashes_is_killed_another_goes_on_where_it_was() {
    let (job, sums) = numbered(1_200);
    let mut crowd = Crowd::start(&job);
    let at_work = crowd.at_work(300);
    crowd.children[at_work].kill().unwrap();
    let killed_at = crowd.logged(at_work).len();
    assert!(killed_at < 1_200, "killed too late");
    for (number, output) in crowd.ended().into_iter().enumerate() {
        let expected = if number == at_work { None } else { Some(0) };
        assert_eq!(output.status.code(), expected, "{}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(job.out()).unwrap(), sums);
    let mut all = Crowd::all_logged(&job);
    let repeated = all.len() - 1_200;
    assert!(repeated <= job.jobs, "{repeated} files were hashed again");
    all.dedup();
    assert_eq!(all, lines_of(&sums));
}

#[test]
fn what_stops_a_run_ends_all_who_wait_for_it_and_the_next_start_goes_on() {
    let (job, sums) = numbered(300);
    let mut crowd = Crowd::start(&job);
    crowd.at_work(1);
    // Nothing can take the place of a folder.
    fs::create_dir(job.out()).unwrap();
    for output in crowd.ended() {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.lines().last().unwrap().contains("cannot write"), "{said}");
    }
    fs::remove_dir(job.out()).unwrap();
    for output in Crowd::start(&job).ended() {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(job.out()).unwrap(), sums);
    assert_eq!(Crowd::all_logged(&job), lines_of(&sums));
}

#[test]
fn what_another_process_is_writing_is_left_alone_and_what_a_killed_one_left_is_cleared_away() {
    let job = Job::over(&[(b"one", b"1")]);
    let (held, left) = (job.path("OUT.manifest-partial"), job.path("OUT.manifest-partial-1"));
    fs::write(&held, "half of it").unwrap();
    fs::write(&left, "half of it, and more than all will be".repeat(9)).unwrap();
    let file = fs::File::open(&held).unwrap();
    file.try_lock().unwrap();
    assert_eq!(job.run().status.code(), Some(0));
    assert_eq!(fs::read_to_string(job.out()).unwrap(), format!("{}  one\n", hex(b"1")));
    assert_eq!(fs::read_to_string(&held).unwrap(), "half of it");
    assert!(!left.exists());
}
