//! Real processes, which really die: this test binary once more, with a folder to work in.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, IntoStep, Retry, WorkflowBuilder, task},
    models::WorkflowStatus,
    steps::StepError,
    traits::WorkflowRepository,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::crash::{KILL_AFTER, KillAfter, processes_at_every_commit};

use crate::support::Line;

const FOLDER: &str = "WFE_CRASH_FOLDER";
/// Set: the process does not abort, but says that it is time to kill it, and stands still.
const BY_OTHERS: &str = "WFE_CRASH_BY_OTHERS";

/// Writes its key into a file: the world outside.
fn act(folder: &Path, word: &'static str) -> impl IntoStep<Line> {
    let file = folder.join("effects");
    task::<Line>()
        .call(move |ctx, _| {
            let key = ctx.idempotency_key();
            let place = key.split_once('/').map_or("", |(_, place)| place);
            let mut file = fs::File::options().create(true).append(true).open(&file)?;
            file.write_all(format!("{place}\n").as_bytes())?;
            Ok(())
        })
        .output(move |(), line| line.words.push(word.to_owned()))
}

fn definition(folder: &Path) -> Definition<Line> {
    WorkflowBuilder::<Line>::new("w", 1)
        .for_each("each", |_| vec![1_u32, 2, 3], |one| one.step("a", act(folder, "a")))
        .saga("saga", |saga| {
            saga.step("b", act(folder, "b"))
                .compensate_with(|undo| undo.step("un-b", act(folder, "un-b")))
                .call("fail", |_, _| Err::<(), _>(StepError::fatal("broken")))
        })
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .step("c", act(folder, "c"))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = Arc::new(SqlitePersistenceProvider::file(folder.join("state.db")).open().await.unwrap());
    let store = match env::var(BY_OTHERS) {
        Err(_) => KillAfter::from_env(store),
        Ok(commits) => KillAfter::new(store, commits.parse().unwrap(), || {
            println!("\n@now");
            loop {
                std::thread::park();
            }
        })
        .into_store(),
    };
    let host = WorkflowHost::builder_shared(store).build();
    let workflow = host.register(definition(&folder)).unwrap();
    host.start().await.unwrap();
    let instance = workflow.start(&Line::default()).reference("it").name("it").await.unwrap();
    assert!(matches!(instance.outcome().await.unwrap(), Outcome::Completed(_)));
    host.stop().await.unwrap();
}

fn command(folder: &TempDir) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "processes::serve", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The final state: status, data, and which effects there were.
fn state(folder: &TempDir) -> (WorkflowStatus, Line, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let instance = runtime.block_on(async {
        let store = SqlitePersistenceProvider::file(folder.path().join("state.db")).open().await.unwrap();
        store.get_workflow_instance_by_name("it").await.unwrap()
    });
    let effects = fs::read_to_string(folder.path().join("effects")).unwrap();
    let mut times = BTreeMap::<_, usize>::new();
    effects.lines().for_each(|key| *times.entry(key.to_owned()).or_default() += 1);
    assert!(times.values().all(|times| *times <= 2), "at most once more for the one death: {times:?}");
    (instance.status, serde_json::from_value(instance.data).unwrap(), times.into_keys().collect())
}

#[test]
fn a_process_that_aborts_after_any_commit_comes_to_the_same_end() {
    let deaths = processes_at_every_commit(|| tempfile::tempdir().unwrap(), command, state, 1..);
    assert!(deaths >= 10, "{deaths}");
}

#[test]
fn a_process_that_is_killed_comes_to_the_same_end() {
    let whole = tempfile::tempdir().unwrap();
    assert!(command(&whole).env_remove(KILL_AFTER).status().unwrap().success());
    for commits in [1, 2, 5, 9] {
        let place = tempfile::tempdir().unwrap();
        let mut child =
            command(&place).env(BY_OTHERS, commits.to_string()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "@now"), "it came to {commits} commits");
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        assert!(command(&place).env_remove(KILL_AFTER).status().unwrap().success());
        assert_eq!(state(&place), state(&whole), "killed after commit {commits}");
    }
}
