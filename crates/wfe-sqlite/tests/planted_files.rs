//! Files that another user has put beside a database: they are neither followed nor written to, and are used only if they
//! belong to the owner of the database. Some of these tests need two users, and so root.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, Lines, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use wfe_core::{
    Result, WfeError,
    models::WorkflowInstance,
    traits::{StepStore, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

/// Far longer than an opening takes: an opening that waits for a pipe fails the test instead of stopping it.
const LONG: Duration = Duration::from_mins(1);
/// A user and a group without programs and files: Linux gives both this number.
const NOBODY: u32 = 65_534;

/// Set by the gate, which runs as root: a test that needs root fails where it cannot run.
const DEMAND_ROOT: &str = "WFE_DEMAND_ROOT";

async fn open(database: &Path) -> Result<SqlitePersistenceProvider> {
    tokio::time::timeout(LONG, SqlitePersistenceProvider::file(database).open()).await.unwrap()
}

async fn create(store: &SqlitePersistenceProvider) {
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Everything in a folder: names, kinds, and a hash of what is in the regular files.
fn contents(folder: &Path) -> Vec<(PathBuf, u32, Option<u64>)> {
    let hash = |bytes: Vec<u8>| {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    };
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let bytes = found.is_file().then(|| hash(fs::read(&path).unwrap()));
            (path, found.mode(), bytes)
        })
        .collect();
    all.sort();
    all
}

/// Puts something at a path.
type Put<'a> = Box<dyn Fn(&Path) + 'a>;

/// What an attacker may put at a path where a file will be opened. A device, which only root can create, is recognised by the
/// same check as a pipe.
fn traps(victim: &Path) -> [(&'static str, Put<'_>); 6] {
    let nowhere = victim.with_extension("nowhere");
    [
        ("a link", Box::new(move |path| symlink(victim, path).unwrap())),
        ("a link to nothing", Box::new(move |path| symlink(&nowhere, path).unwrap())),
        ("a link to a device", Box::new(|path| symlink("/dev/zero", path).unwrap())),
        ("a hard link", Box::new(move |path| fs::hard_link(victim, path).unwrap())),
        ("a pipe", Box::new(|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()))),
        ("a folder", Box::new(|path| fs::create_dir(path).unwrap())),
    ]
}

#[tokio::test]
async fn nothing_that_is_planted_beside_a_database_is_followed_opened_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (database, elsewhere) = (folder.path().join("a.db"), tempfile::tempdir().unwrap());
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "another user's: ".repeat(1_000)).unwrap();
    let store = open(&database).await.unwrap();
    create(&store).await;
    store.close().await;
    let before = contents(elsewhere.path());
    for suffix in ["-gate", "-turn", "-bell", "-wal", "-shm", "-journal"] {
        for (name, put) in traps(&victim) {
            let path = beside(&database, suffix);
            put(&path);
            let planted = contents(folder.path());
            match open(&database).await {
                Err(WfeError::Unusable { path: named, reason, .. }) => {
                    assert_eq!(named, path, "{name}");
                    assert!(reason.contains("remove"), "{reason}");
                }
                other => panic!("{suffix}, {name}: {other:?}"),
            }
            assert_eq!(contents(folder.path()), planted, "{suffix}, {name}");
            if name == "a folder" { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
            assert_eq!(contents(elsewhere.path()), before, "{suffix}, {name}");
        }
    }
    open(&database).await.unwrap().close().await;
}

/// Only a file with the name of an owner's lock file may be anything: it then counts as no lock.
#[tokio::test]
async fn a_file_with_the_name_of_an_owners_lock_file_keeps_no_program_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let (database, elsewhere) = (folder.path().join("a.db"), tempfile::tempdir().unwrap());
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "another user's").unwrap();
    for (number, (_, put)) in traps(&victim).into_iter().enumerate() {
        put(&beside(&database, &format!("-owner-{}", number + 1)));
    }
    let planted = contents(folder.path());
    let store = open(&database).await.unwrap();
    let owners = [store.register().await.unwrap(), store.register().await.unwrap()];
    store.heartbeat(&owners[1]).await.unwrap();
    assert!(owners[0].id() > 1_000_000 && owners[1].id() > owners[0].id(), "their names cannot be guessed");
    drop(owners);
    store.close().await;
    fs::remove_file(&database).unwrap();
    assert_eq!(contents(folder.path()), planted);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "another user's");
}

/// Whether the test runs as root. If not, prints a line that says so, even if the test's output is captured.
#[expect(clippy::explicit_write, reason = "the other way of printing is captured")]
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(env::var_os(DEMAND_ROOT).is_none(), "{test} needs root, and {DEMAND_ROOT} demands it");
        writeln!(std::io::stderr(), "not run: {test} needs root").unwrap();
    }
    is_root
}

/// The variable that names the database to a child process.
const DATABASE: &str = "WFE_PLANTED_DATABASE";

/// A child's side, possibly as another user: opens the database, writes, and becomes an owner; then it waits for its input to
/// end. Without the variable this is no separate test.
#[tokio::test]
async fn child() {
    let Some(database) = env::var_os(DATABASE) else { return };
    let database = Path::new(&database);
    match open(database).await {
        Ok(store) => {
            create(&store).await;
            let owner = store.register().await.unwrap();
            println!("\n@{}", owner.id());
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
            drop(owner);
            store.close().await;
        }
        Err(error) => println!("\n@{error}"),
    }
}

/// This program as another user, on a database of that user.
struct AsNobody {
    folder: TempDir,
    database: PathBuf,
}

impl AsNobody {
    async fn new() -> Self {
        // A folder that every user may read.
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let store = open(&database).await.unwrap();
        create(&store).await;
        store.close().await;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The folder of this program is perhaps not readable. Another process copies the program: otherwise a child that is
        // started meanwhile would inherit the copy, open for writing, and no process could run it.
        let copied =
            Command::new("cp").arg(env::current_exe().unwrap()).arg(folder.path().join("program")).status();
        assert!(copied.unwrap().success());
        for path in [folder.path(), &database] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { folder, database }
    }

    /// Starts the child; returns it and its first line.
    fn run(&self, user: u32) -> (As, String) {
        let mut child = Command::new(self.folder.path().join("program"))
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DATABASE, &self.database)
            .current_dir(self.folder.path())
            .uid(user)
            .gid(user)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = lines.by_ref().map(std::result::Result::unwrap);
        let said = said.find_map(|line| line.strip_prefix('@').map(str::to_owned)).unwrap();
        (As { child, _lines: lines }, said)
    }

    /// The files beside the database.
    fn beside(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| wfe_sqlite::is_sidecar(&self.database, path)).collect()
    }
}

/// A child process.
struct As {
    child: Child,
    /// Kept open, since the child continues to print.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl As {
    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn is_number(said: &str) -> bool {
    said.parse::<u64>().is_ok()
}

#[tokio::test]
async fn the_sidecars_that_root_creates_belong_to_the_owner_of_the_database_who_continues_with_them() {
    if !is_root("what root leaves beside another user's database") {
        return;
    }
    let place = AsNobody::new().await;
    let (administrator, said) = place.run(0);
    assert!(is_number(&said), "{said}");
    let made = place.beside();
    assert_eq!(made.len(), 6, "{made:?}");
    for path in &made {
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (NOBODY, NOBODY, 0o600), "{path:?}");
    }
    // The same while a service runs, and after a kill.
    let (service, said) = place.run(NOBODY);
    assert!(is_number(&said), "{said}");
    administrator.kill();
    service.end();
    let (service, said) = place.run(NOBODY);
    assert!(is_number(&said), "{said}");
    service.end();
    assert_eq!(place.beside(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn lock_files_of_another_user_keep_no_program_from_starting() {
    if !is_root("another user's lock files beside a database") {
        return;
    }
    let place = AsNobody::new().await;
    let planted: Vec<_> =
        (1..50).map(|number| beside(&place.database, &format!("-owner-{number}"))).collect();
    for path in &planted {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    // The files belong to another user than the service, which may not open them, and than root, which may.
    for user in [NOBODY, 0] {
        let (child, said) = place.run(user);
        assert!(is_number(&said), "{said}");
        child.end();
        let mut left = place.beside();
        left.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        assert_eq!(left, planted);
    }
}

#[tokio::test]
async fn another_users_files_are_refused_by_name_and_so_is_another_users_database() {
    if !is_root("another user's files beside a database") {
        return;
    }
    let place = AsNobody::new().await;
    for suffix in ["-gate", "-turn", "-bell", "-wal", "-shm", "-journal"] {
        let path = beside(&place.database, suffix);
        fs::write(&path, "planted").unwrap();
        for user in [NOBODY, 0] {
            let (child, said) = place.run(user);
            assert!(said.contains(&format!("{}: ", path.display())), "{suffix}, as {user}: {said}");
            assert!(said.contains("belongs to user 0, but the database belongs to user 65534"), "{said}");
            child.end();
            assert_eq!(fs::read_to_string(&path).unwrap(), "planted");
        }
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(place.beside(), Vec::<PathBuf>::new());
    // Another user who may write to the file and the folder still cannot create files for the owner.
    fs::set_permissions(&place.database, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (child, said) = place.run(NOBODY - 1);
    assert!(said.contains("run the program as the owner of the database, or as root"), "{said}");
    child.end();
    assert_eq!(place.beside(), Vec::<PathBuf>::new());
}
