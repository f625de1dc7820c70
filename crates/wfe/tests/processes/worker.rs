//! A process that runs a host: this test binary once more, told what to do by lines of its input.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use wfe::{
    Outcome, WfeError, WorkflowHost,
    definition::{Definition, Event, Retry, WorkflowBuilder},
    steps::StepError,
};
use wfe_sqlite::SqlitePersistenceProvider;

/// Says to a worker where it works: the folder of the database and of all files below.
const FOLDER: &str = "WFE_WORKER_FOLDER";
const NAME: &str = "WFE_WORKER_NAME";
/// Milliseconds.
const LEASE: &str = "WFE_WORKER_LEASE";
const POLL: &str = "WFE_WORKER_POLL";
/// That it logs to its standard error.
const LOGS: &str = "WFE_WORKER_LOGS";

/// How long a condition may take to come true on a loaded machine before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Who finished an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub by: Vec<String>,
}

/// The place of a test: a database, and a line in `log` for each body that began.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub async fn provider(&self) -> SqlitePersistenceProvider {
        provider(self.0.path(), Duration::from_secs(30)).await
    }

    /// Bodies that began: the worker's name and the instance's id, in order.
    pub fn begun(&self) -> Vec<(String, String)> {
        let log = fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(name, id)| (name.to_owned(), id.to_owned())).collect()
    }

    pub fn begun_by(&self, name: &str) -> usize {
        self.begun().iter().filter(|(by, _)| by == name).count()
    }

    /// How many heartbeats each owner has sent, as its lock file says.
    pub fn heartbeats(&self) -> Vec<u64> {
        let files = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let owners = files.filter(|path| path.to_string_lossy().contains("-owner-"));
        // In the first line of the file; the card of the host follows.
        let beats = |path| {
            let text = fs::read_to_string(path).unwrap();
            text.lines().next().unwrap().split_whitespace().last().unwrap().parse().unwrap()
        };
        owners.map(beats).collect()
    }

    /// Lets the bodies of this worker end.
    pub fn let_go(&self, name: &str) {
        fs::write(self.0.path().join(format!("go-{name}")), "").unwrap();
    }

    fn command(&self, name: &str, lease: Duration, poll: Duration) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "worker::serve", "--nocapture", "--test-threads=1"])
            .env(FOLDER, self.0.path())
            .env(NAME, name)
            .env(LEASE, lease.as_millis().to_string())
            .env(POLL, poll.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    /// A worker that may die at any moment, from its start on. What it logs goes to this file.
    pub fn doomed(&self, name: &str, log: &str) -> Doomed {
        let log = fs::File::options().create(true).append(true).open(self.0.path().join(log)).unwrap();
        let (lease, poll) = (Duration::from_secs(30), Duration::from_millis(50));
        Doomed(
            self.command(name, lease, poll).env(LOGS, "").stdout(Stdio::null()).stderr(log).spawn().unwrap(),
        )
    }

    pub fn worker(&self, name: &str, lease: Duration, poll: Duration) -> Worker {
        let (worker, said) = self.worker_that_says(name, lease, poll);
        assert_eq!(said, "ready");
        worker
    }

    /// With its first word: that it is ready, or why the store cannot be opened.
    pub fn worker_that_says(&self, name: &str, lease: Duration, poll: Duration) -> (Worker, String) {
        let mut child = self.command(name, lease, poll).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Worker { child, input, answers };
        let said = worker.answer();
        (worker, said)
    }
}

pub struct Worker {
    child: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    pub fn answer(&mut self) -> String {
        loop {
            let line = self.answers.next().expect("the worker goes on").unwrap();
            if let Some(answer) = line.strip_prefix('@') {
                return answer.to_owned();
            }
        }
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Starts an instance; gives its id.
    pub fn start(&mut self, definition: &str) -> String {
        self.ask(&format!("start {definition}"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the host, and the process with it.
    pub fn stop(mut self) {
        assert_eq!(self.ask("stop"), "stopped");
        self.ends();
    }

    /// Waits for the end of the process, whose host was stopped.
    pub fn ends(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has ended by itself, or the test has failed and must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process of which nothing is known but whether it lives.
pub struct Doomed(Child);

impl Doomed {
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // As below.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until this is so; gives how long it took.
pub fn until(mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it did not come about");
        thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

async fn provider(folder: &Path, lease: Duration) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(folder.join("state.db")).lease(lease).open().await.unwrap()
}

/// Adds to `log`.
fn note(folder: &Path, lines: &str) -> io::Result<()> {
    fs::File::options().create(true).append(true).open(folder.join("log"))?.write_all(lines.as_bytes())
}

/// A workflow of one step, which ends when its worker is let go and says who has done it. With `pause`, the first
/// attempt fails at once and is tried again after so many milliseconds.
pub fn holding(id: &str, folder: PathBuf, name: &str, pause: Option<u64>) -> Definition<Done> {
    let name = name.to_owned();
    WorkflowBuilder::<Done>::new(id, 1)
        .then("hold", async move |ctx, _| {
            note(&folder, &format!("{name} {}\n", ctx.instance_id()))?;
            if pause.is_some() && ctx.attempt() == 1 {
                return Err(StepError::retryable("later"));
            }
            while !folder.join(format!("go-{name}")).exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(name)
        })
        .retry(Retry::every(Duration::from_millis(pause.unwrap_or(0))).attempts(2))
        .output(|name, done| done.by.push(name))
        .build()
        .unwrap()
}

/// How many bodies of `kills` and `counts` run in this process.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// A step that aborts the process, unless the file `harmless` is there; and one that takes a while, as often as it says. In
/// `log`, that a body begins, as `kills` or `counts`; and if others run, that too, as `beside`.
pub fn killing(folder: &Path) -> [Definition<Done>; 2] {
    fn begin(folder: &Path, what: &str, id: &str) -> io::Result<()> {
        let beside = RUNNING.fetch_add(1, Ordering::SeqCst);
        let beside = if beside > 0 { format!("beside {id}\n") } else { String::new() };
        note(folder, &format!("{what} {id}\n{beside}"))
    }
    let kills = WorkflowBuilder::<Done>::new("kills", 1)
        .with(folder.to_owned())
        .call("kill", |ctx, _| {
            begin(&ctx.app, "kills", ctx.instance_id())?;
            if !ctx.app.join("harmless").exists() {
                std::process::abort();
            }
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
        .build();
    let counts = WorkflowBuilder::<Done>::new("counts", 1)
        .with(folder.to_owned())
        .while_(
            "all",
            |done| done.by.len() < 10,
            |round| {
                round
                    .then("count", async |ctx, _| {
                        begin(&ctx.app, "counts", ctx.instance_id())?;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        RUNNING.fetch_sub(1, Ordering::SeqCst);
                        Ok(String::new())
                    })
                    .output(|name, done| done.by.push(name))
            },
        )
        .build();
    [kills.unwrap(), counts.unwrap()]
}

/// Two branches at once: one that ends when its worker is let go, and one that fails at first and is tried again a second
/// later. In `log`, too, that the first one is told that nobody wants it any more: as `told-` and its worker's name.
fn branching(folder: PathBuf, name: &str) -> Definition<Done> {
    WorkflowBuilder::<Done>::new("branches", 1)
        .with((folder, name.to_owned()))
        .parallel("both", |both| {
            both.branch(|one| {
                one.then("long", async |ctx, _| {
                    let (folder, name) = &ctx.app;
                    note(folder, &format!("{name} {}\n", ctx.instance_id()))?;
                    while !folder.join(format!("go-{name}")).exists() {
                        if ctx.cancellation().is_cancelled() {
                            note(folder, &format!("told-{name} {}\n", ctx.instance_id()))?;
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    Ok(())
                })
            })
            .branch(|other| {
                other
                    .call("again", |ctx, _| {
                        let (folder, name) = &ctx.app;
                        note(folder, &format!("{name} {}\n", ctx.instance_id()))?;
                        if ctx.attempt() == 1 { Err(StepError::retryable("later")) } else { Ok(name.clone()) }
                    })
                    .retry(Retry::every(Duration::from_secs(1)).attempts(2))
                    .output(|name, done| done.by.push(name))
            })
        })
        .build()
        .unwrap()
}

/// Fails until the file `mended` is there. In `log`, each body that began, as `fails`.
fn failing(folder: PathBuf) -> Definition<Done> {
    WorkflowBuilder::<Done>::new("fails", 1)
        .with(folder)
        .call("fail", |ctx, _| {
            note(&ctx.app, &format!("fails {}\n", ctx.instance_id()))?;
            if ctx.app.join("mended").exists() {
                Ok(ctx.idempotency_key())
            } else {
                Err(StepError::fatal("not mended"))
            }
        })
        .output(|key, done| done.by.push(key))
        .build()
        .unwrap()
}

/// Waits for three events of one stream, and writes down what each says.
fn listening() -> Definition<Done> {
    WorkflowBuilder::<Done>::new("listen", 1)
        .while_(
            "all",
            |done| done.by.len() < 3,
            |round| {
                round
                    .wait_for("word", Event::<String>::new("word"), |_| "k")
                    .output(|word, done| done.by.push(word))
            },
        )
        .build()
        .unwrap()
}

/// The worker's side. Without the variables this is no test of its own.
#[tokio::test]
async fn serve() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let millis = |variable| Duration::from_millis(env::var(variable).unwrap().parse().unwrap());
    let name = env::var(NAME).unwrap();
    if env::var_os(LOGS).is_some() {
        tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    }
    let provider = SqlitePersistenceProvider::file(folder.join("state.db")).lease(millis(LEASE)).open().await;
    let provider = match provider {
        Ok(provider) => provider,
        Err(error) => return println!("\n@error {error}"),
    };
    let host = WorkflowHost::builder(provider)
        .poll_interval(millis(POLL))
        .concurrent_bodies_of("queue", "hold", 1)
        .build();
    // Some that all know, one that only this worker knows, one that pauses, one of which only one body runs at once, and one
    // with branches.
    host.register(listening()).unwrap();
    host.register(failing(folder.clone())).unwrap();
    host.register(holding("hold", folder.clone(), &name, None)).unwrap();
    host.register(holding(&format!("only-{name}"), folder.clone(), &name, None)).unwrap();
    host.register(holding("queue", folder.clone(), &name, None)).unwrap();
    host.register(branching(folder.clone(), &name)).unwrap();
    // The pause is longer than the second by which a host claims ahead: for the first part of it, no host owns the instance.
    host.register(holding("pause", folder.clone(), &name, Some(2_000))).unwrap();
    for definition in killing(&folder) {
        host.register(definition).unwrap();
    }
    host.start().await.unwrap();
    println!("\n@ready");
    let (lines, mut input) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || std::io::stdin().lines().try_for_each(|line| lines.send(line.unwrap())));
    while let Some(line) = input.recv().await {
        match line.split_once(' ') {
            Some(("start", definition)) => {
                let id = host.start_workflow(definition, &Done::default()).await;
                println!("\n@{}", id.unwrap_or_else(|error| format!("error {error}")));
            }
            Some(("wait", id)) => match host.outcome::<Done>(id).await {
                Ok(Outcome::Completed(done)) => println!("\n@{}", done.by.join(",")),
                Ok(other) => println!("\n@{other:?}"),
                Err(error) => println!("\n@error {error}"),
            },
            Some(("retry", id)) => match host.retry(id).await {
                Ok(()) => println!("\n@retried"),
                Err(WfeError::CannotRetry { reason, .. }) => println!("\n@refused {reason:?}"),
                Err(error) => println!("\n@error {error}"),
            },
            // As a program that has a look at its own database, or copies it.
            Some(("copy", suffix)) => {
                fs::read(folder.join(format!("state.db{suffix}"))).unwrap();
                println!("\n@copied");
            }
            Some(("stands", id)) => {
                let positions = host.status(id).await.unwrap().positions;
                println!("\n@{:?}", positions.iter().map(|position| &position.waits).collect::<Vec<_>>());
            }
            _ => break,
        }
    }
    match host.stop().await {
        Ok(()) => println!("\n@stopped"),
        Err(error) => println!("\n@error {error}"),
    }
}
