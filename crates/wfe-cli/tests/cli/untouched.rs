//! By looking, nothing is changed: no byte of the store, no file beside it, no owner.

use std::{collections::BTreeMap, fs, os::unix::process::CommandExt, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    run::Ran,
    store::{Place, host},
};

/// Every question, without those that wait.
const QUESTIONS: [&str; 26] = [
    "list",
    "list --json",
    "list --count --status open",
    "list --text order-17",
    "show order/order-22 --all",
    "why order/order-17",
    "why --stuck",
    "why --event approved order-17",
    "tail --for 10ms",
    "wait order/order-1",
    "wait order/order-17 --timeout 10ms",
    "errors",
    "errors --each",
    "definitions",
    "definitions order@3",
    "graph order --counts",
    "hosts",
    "stats",
    "audit",
    "doctor",
    "tasks list",
    "activities list",
    "schedules list",
    "check",
    "suspend --all --dry-run",
    "upgrade --dry-run",
];

/// The hash of each file, without those that SQLite has for its readers.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), file.path()))
        .filter(|(name, _)| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .map(|(name, path)| (name, Sha256::digest(fs::read(path).unwrap()).to_vec()))
        .collect()
}

#[test]
fn no_question_changes_anything() {
    let place = Place::new();
    let before = files(place.path());
    assert_eq!(before.len(), 1);
    for question in QUESTIONS {
        let ran = place.shell(&format!("wfe {question}"));
        assert!(matches!(ran.code, 0 | 1 | 5), "{question}: {ran:?}");
        assert_eq!(files(place.path()), before, "{question}");
    }
}

#[test]
fn no_question_changes_anything_beside_a_host() {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(host(&place.db()));
    runtime.block_on(host.idle()).unwrap();
    // The host writes into its own files, which are its signs of life.
    let of_store = |files: BTreeMap<String, Vec<u8>>| {
        files.into_iter().filter(|(name, _)| name == crate::store::DB).collect::<BTreeMap<_, _>>()
    };
    let names = || files(place.path()).into_keys().collect::<Vec<_>>();
    let before = (of_store(files(place.path())), names());
    for question in QUESTIONS {
        let ran = place.shell(&format!("wfe {question}"));
        assert!(matches!(ran.code, 0 | 1 | 5), "{question}: {ran:?}");
        assert_eq!((of_store(files(place.path())), names()), before, "{question}");
    }
    runtime.block_on(host.stop()).unwrap();
}

/// Runs the command as somebody who may not write into the folder, although the tests may run as root.
fn as_stranger(place: &Place, words: &[&str]) -> Ran {
    let mut command = place.command();
    command.args(words);
    if rustix::process::getuid().is_root() {
        command.uid(65534);
    }
    Ran::of(command.output().unwrap())
}

fn permit(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn in_a_folder_that_cannot_be_written_a_closed_store_is_read_and_an_open_one_is_refused() {
    let place = Place::new();
    permit(&place.db(), 0o444);
    permit(place.path(), 0o555);
    assert!(as_stranger(&place, &["list"]).ends(0).contains("order-17"));
    assert_eq!(files(place.path()).len(), 1);
    let ran = as_stranger(&place, &["suspend", "order/order-17"]);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains("orders.db"), "{ran:?}");

    permit(place.path(), 0o755);
    permit(&place.db(), 0o644);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(host(&place.db()));
    permit(place.path(), 0o555);
    let ran = as_stranger(&place, &["list"]);
    permit(place.path(), 0o755);
    runtime.block_on(host.stop()).unwrap();
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains("orders.db"), "{ran:?}");
}
