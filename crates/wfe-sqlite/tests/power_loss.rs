//! Power cuts from the first start to the first close. The test records what a process does to its files, and opens the
//! store on every state that the disk may have after each single step.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use wfe_core::{models::WorkflowInstance, traits::WorkflowRepository};
use wfe_sqlite::SqlitePersistenceProvider;

/// The variable that names the database to the child process.
const DATABASE: &str = "WFE_POWER_DATABASE";
/// How many bytes the disk writes atomically.
const SECTOR: usize = 512;

async fn create(store: &SqlitePersistenceProvider, name: &str) {
    let mut instance = WorkflowInstance::new("d", 1, json!(null));
    instance.name = name.to_owned();
    store.create_new_workflow(&instance).await.unwrap();
}

/// The child's side: for each acknowledged instance, it creates a file beside the database. Without the variable this is no
/// separate test.
#[tokio::test]
async fn child() {
    let Ok(database) = env::var(DATABASE) else { return };
    let store = SqlitePersistenceProvider::file(&database).open().await.unwrap();
    for name in ["a", "b"] {
        create(&store, name).await;
        fs::write(format!("{database}-stored-{name}"), "").unwrap();
    }
    store.close().await;
}

/// A change of a file.
#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

enum Step {
    Made(String),
    Changed(String, Change),
    Synced(String),
    FolderSynced,
    Removed(String),
}

/// The recorded steps of a process up to the first close.
fn recorded() -> Vec<Step> {
    let place = tempfile::tempdir().unwrap();
    let (shim, log, database) =
        (place.path().join("shim.so"), place.path().join("log"), place.path().join("folder/a.db"));
    fs::create_dir(place.path().join("folder")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault_shim.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&shim, &source])
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success(), "the C compiler refused the shim");
    let ran = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--test-threads=1"])
        .env("LD_PRELOAD", shim)
        .env("WFE_RECORD", &log)
        .env("WFE_RECORD_OF", &database)
        .env(DATABASE, &database)
        .output();
    assert!(ran.unwrap().status.success());
    steps(&fs::read(log).unwrap())
}

fn steps(mut log: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while !log.is_empty() {
        let (line, rest) = log.split_at(log.iter().position(|byte| *byte == b'\n').unwrap());
        let line: Vec<_> = std::str::from_utf8(line).unwrap().split(' ').collect();
        let [what, end, at, count] = line[..] else { panic!("{line:?}") };
        let (at, count) = (at.parse().unwrap(), count.parse().unwrap());
        let (bytes, rest) = rest[1..].split_at(count);
        log = rest;
        let end = if end == "=" { String::new() } else { end.to_owned() };
        steps.push(match what {
            "c" => Step::Made(end),
            "w" => Step::Changed(end, Change::Write { at, bytes: bytes.to_vec() }),
            "t" => Step::Changed(end, Change::Cut(at)),
            "s" => Step::Synced(end),
            "d" => Step::FolderSynced,
            "u" => Step::Removed(end),
            other => panic!("{other}"),
        });
    }
    steps
}

/// A file: the state that is certainly on the disk, and the pending changes.
#[derive(Clone, Default)]
struct File {
    certain: Vec<u8>,
    pending: Vec<Change>,
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Cut(length) => bytes.resize(*length, 0),
        Change::Write { at, bytes: new } => {
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
    }
}

impl File {
    fn with(&self, changes: impl IntoIterator<Item = Change>) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        changes.into_iter().for_each(|change| apply(&mut bytes, &change));
        bytes
    }

    /// The change with zeros in place of data that is added behind the end.
    fn zeroed(&self, change: &Change) -> Change {
        match change {
            Change::Write { at, bytes } if *at >= self.certain.len() => {
                Change::Write { at: *at, bytes: vec![0; bytes.len()] }
            }
            other => other.clone(),
        }
    }

    /// The possible states on the disk: with all pending changes, or none; up to each step, without each one, with each one
    /// alone; the new length with zeros instead of one change, or of all; and a part of the first page.
    fn possible(&self) -> BTreeSet<Vec<u8>> {
        let all = &self.pending;
        let mut possible = BTreeSet::from([self.with([]), self.with(all.clone())]);
        possible.insert(self.with(all.iter().map(|change| self.zeroed(change))));
        for at in 0..all.len() {
            let but_zeros = |(other, change)| if other == at { self.zeroed(change) } else { change.clone() };
            possible.insert(self.with(all.iter().enumerate().map(but_zeros)));
            possible.insert(self.with(all[..at].to_vec()));
            possible.insert(self.with([all[at].clone()]));
            possible.insert(self.with(all.iter().take(at).chain(&all[at + 1..]).cloned()));
            if let Change::Write { at: 0, bytes } = &all[at]
                && bytes.len() > SECTOR
            {
                let head = Change::Write { at: 0, bytes: bytes[..SECTOR].to_vec() };
                let tail = Change::Write { at: SECTOR, bytes: bytes[SECTOR..].to_vec() };
                for part in [head, tail] {
                    possible.insert(self.with([part.clone()]));
                    possible
                        .insert(self.with(all.iter().take(at).chain([&part]).chain(&all[at + 1..]).cloned()));
                }
            }
        }
        possible
    }
}

/// The files on the disk, by the suffixes of their names.
type Disk = BTreeMap<String, Vec<u8>>;

/// The files and their possible states. The index of the log is memory, and lost in a power cut.
#[derive(Clone, Default)]
struct Folder {
    now: BTreeMap<String, File>,
    /// The folder as of its last sync: files created since may be missing, and files removed since may be there.
    synced: BTreeMap<String, File>,
}

impl Folder {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Made(end) => drop(self.now.insert(end.clone(), File::default())),
            Step::Removed(end) => drop(self.now.remove(end)),
            Step::Changed(end, change) => self.now.get_mut(end).unwrap().pending.push(change.clone()),
            Step::Synced(end) => {
                let file = self.now.get_mut(end).unwrap();
                *file = File { certain: file.with(file.pending.clone()), pending: Vec::new() };
            }
            Step::FolderSynced => self.synced = self.now.clone(),
        }
        // The name of a file is written with the file, or the file is lost with its name.
        for (end, file) in &self.now {
            if let Some(synced) = self.synced.get_mut(end) {
                *synced = file.clone();
            }
        }
    }

    /// The possible disks: each file in each of its states, the others in their newest state, or as they were last synced.
    fn possible(&self) -> BTreeSet<Disk> {
        let mut all = BTreeSet::new();
        for files in [&self.now, &self.synced] {
            let meant = |file: &File| file.with(file.pending.clone());
            let least = |file: &File| file.certain.clone();
            for others in [&meant as &dyn Fn(&File) -> Vec<u8>, &least] {
                for (end, file) in files {
                    for bytes in file.possible() {
                        let mut disk: Disk =
                            files.iter().map(|(end, file)| (end.clone(), others(file))).collect();
                        disk.insert(end.clone(), bytes);
                        all.insert(disk);
                    }
                }
            }
        }
        all
    }
}

/// Opens a store on this disk, finds these instances, and creates another one. A refused file must not be changed.
async fn goes_on(disk: &Disk, stored: &BTreeSet<String>) -> Result<(), String> {
    let place = memory();
    let file = |end: &str| place.path().join(format!("a.db{end}"));
    for (end, bytes) in disk {
        fs::write(file(end), bytes).unwrap();
    }
    let store = match SqlitePersistenceProvider::file(file("")).open().await {
        Ok(store) => store,
        Err(error) => {
            for (end, bytes) in disk {
                assert!(fs::read(file(end)).unwrap() == *bytes, "a.db{end} was touched");
            }
            return Err(error.to_string());
        }
    };
    for name in stored {
        store.get_workflow_instance_by_name(name).await.map_err(|error| error.to_string())?;
    }
    create(&store, "another").await;
    store.close().await;
    Ok(())
}

/// A folder in memory, where a sync costs nothing: the test itself decides what is on the disk.
fn memory() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[tokio::test]
async fn after_a_power_cut_at_any_step_of_the_first_start_the_store_opens_and_has_what_it_acknowledged() {
    let (mut folder, mut stored, mut seen) = (Folder::default(), BTreeSet::new(), BTreeSet::new());
    let (mut without_first_page, mut failed) = (0, Vec::new());
    for (number, step) in recorded().iter().enumerate() {
        match step {
            Step::Made(end) if end.starts_with("-stored-") => {
                stored.insert(end["-stored-".len()..].to_owned());
                continue;
            }
            Step::Changed(end, _) | Step::Made(end) | Step::Removed(end) | Step::Synced(end)
                if !["", "-wal", "-journal"].contains(&end.as_str()) =>
            {
                continue;
            }
            // The changes that are pending then are also pending before the next other step.
            Step::Changed(..) => {
                folder.take(step);
                continue;
            }
            _ => {}
        }
        let possible = folder.possible();
        folder.take(step);
        for disk in possible.into_iter().chain(folder.possible()) {
            let is_without =
                disk.get("").is_some_and(|bytes| !bytes.is_empty() && !bytes.starts_with(b"SQLite"));
            if !seen.insert((disk.clone(), stored.clone())) {
                continue;
            }
            without_first_page += usize::from(is_without);
            if let Err(error) = goes_on(&disk, &stored).await {
                let lengths: Vec<_> = disk.iter().map(|(end, bytes)| (end, bytes.len())).collect();
                failed.push(format!("after step {number}, {lengths:?}: {error}"));
            }
        }
    }
    assert_eq!(stored.len(), 2);
    assert!(without_first_page > 0, "a file may have its length before it has its first page");
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), seen.len(), failed.join("\n"));
}

/// The journals of the first start, each with the database as it is just before the journal is removed.
fn journals() -> Vec<Disk> {
    let (mut folder, mut journals) = (Folder::default(), Vec::new());
    for step in recorded() {
        match &step {
            Step::Removed(end) if end == "-journal" => {
                let files = folder.now.iter().filter(|(end, _)| ["", "-journal"].contains(&end.as_str()));
                journals.push(files.map(|(end, file)| (end.clone(), file.certain.clone())).collect());
            }
            _ => {}
        }
        folder.take(&step);
    }
    assert!(journals.len() >= 3, "one creates the first page, one the schema, one changes to WAL mode");
    journals
}

#[tokio::test]
async fn a_missing_first_page_is_taken_from_the_journal_beside_the_file() {
    for mut disk in journals() {
        for length in [SECTOR, 4096] {
            disk.get_mut("").unwrap()[..length].fill(0);
            goes_on(&disk, &BTreeSet::new()).await.unwrap();
        }
    }
}

/// SQLite would truncate the file, or delete the journal.
#[tokio::test]
async fn a_file_that_is_no_database_is_not_changed_whatever_journal_is_beside_it() {
    let [empty, page, ..] = &journals()[..] else { panic!("two of them") };
    let spoiled = |at: usize| {
        let mut disk = page.clone();
        disk.get_mut("-journal").unwrap()[at] ^= 1;
        disk
    };
    // A journal of an empty file; and journals of a page with another beginning, page size or checksum.
    for (number, mut disk) in [empty.clone(), spoiled(0), spoiled(26), spoiled(4612)].into_iter().enumerate()
    {
        disk.insert(String::new(), b"no database, however long this text may be: ".repeat(200));
        let error = goes_on(&disk, &BTreeSet::new()).await.unwrap_err();
        assert!(error.contains("it is not a database"), "{number}: {error}");
    }
}
