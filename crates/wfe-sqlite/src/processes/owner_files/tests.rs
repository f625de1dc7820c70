use wfe_core::traits::HostCard;

use super::*;
use crate::processes::host_card::StoredCard;

const LEASE: Duration = Duration::from_secs(16);

/// Creates a folder with a database. Returns the folder, and the lock files of the database's owners.
fn folder_with_database() -> (tempfile::TempDir, OwnerFiles) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.db"), "").unwrap();
    let files = OwnerFiles::new(Sidecars::of(&folder.path().join("a.db")).unwrap());
    (folder, files)
}

/// The names of the files beside the database.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "a.db").collect();
    names.sort();
    names
}

fn is_lost(result: &Result<()>) -> bool {
    matches!(result, Err(WfeError::OwnerLost { owner: 1, .. }))
}

#[test]
fn the_file_of_a_killed_owner_is_found_until_it_is_removed_and_other_files_are_not_touched() {
    let (folder, files) = folder_with_database();
    for name in ["a.db-owner-7", "a.db-owner-x", "a.db-owner-", "b.db-owner-7"] {
        File::create(folder.path().join(name)).unwrap();
    }
    let _one = files.make(8, LEASE).unwrap();
    assert_eq!(
        (files.liveness(7), files.liveness(8)),
        (Liveness::Missing, Liveness::Alive),
        "no owner has written it"
    );
    let sign = Sign { lease: LEASE, beat: 3 };
    write_sign(&File::create(files.path(7)).unwrap(), &files.path(7), sign).unwrap();
    for _ in 0..2 {
        assert_eq!((files.dead().unwrap(), files.liveness(7)), (vec![7], Liveness::Dead));
    }
    for id in [7, 8, 9] {
        files.remove_lock_file(id);
    }
    assert_eq!(names(folder.path()), ["a.db-owner-", "a.db-owner-8", "a.db-owner-x", "b.db-owner-7"]);
}

#[test]
fn a_file_that_is_no_owners_keeps_no_host_from_starting_and_is_no_sign_of_life() {
    let (folder, files) = folder_with_database();
    fs::create_dir(folder.path().join("a.db-owner-5")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.db-owner-6")).unwrap();
    nix::unistd::mkfifo(&folder.path().join("a.db-owner-7"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let one = files.make(1, LEASE).unwrap();
    for id in [5, 6, 7] {
        assert_eq!((files.liveness(id), files.sign(id)), (Liveness::Missing, None), "{id}");
    }
    drop(one);
    assert_eq!(names(folder.path()), ["a.db-owner-5", "a.db-owner-6", "a.db-owner-7"]);
}

#[test]
fn a_file_that_was_removed_or_replaced_is_put_back_and_its_owner_is_lost() {
    for how in ["removed", "renamed", "replaced"] {
        let (folder, files) = folder_with_database();
        let one = files.make(1, LEASE).unwrap();
        files.check_lock_file(1).unwrap();
        files.heartbeat(1, LEASE).unwrap();
        fs::rename(&one.path, folder.path().join("elsewhere")).unwrap();
        match how {
            "removed" => fs::remove_file(folder.path().join("elsewhere")).unwrap(),
            "replaced" => fs::write(&one.path, "another's").unwrap(),
            _ => {}
        }
        assert!(is_lost(&files.check_lock_file(1)), "{how}");
        assert_eq!(files.liveness(1), Liveness::Alive, "{how}");
        // The new file continues the heartbeats of the old one.
        files.heartbeat(1, LEASE).unwrap();
        assert_eq!(files.sign(1), Some(Sign { lease: LEASE, beat: 2 }), "{how}");
        // For ever: another process may have taken it for dead meanwhile.
        assert!(is_lost(&files.check_lock_file(1)), "{how}");
        let other = files.make(2, LEASE).unwrap();
        files.check_lock_file(2).unwrap();
        drop((one, other));
        assert!(!folder.path().join("a.db-owner-1").exists(), "{how}");
    }
}

#[test]
fn a_file_that_cannot_be_put_back_is_reported_and_the_file_in_its_place_stays() {
    let (_folder, files) = folder_with_database();
    let one = files.make(1, LEASE).unwrap();
    let path = one.path.clone();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..2 {
        assert!(is_lost(&files.check_lock_file(1)) && is_lost(&files.heartbeat(1, LEASE)));
        assert_eq!(files.liveness(1), Liveness::Missing);
    }
    drop(one);
    assert!(path.is_dir());
}

#[test]
fn an_owner_that_ends_removes_only_its_own_file() {
    let (_folder, files) = folder_with_database();
    let one = files.make(1, LEASE).unwrap();
    let path = one.path.clone();
    fs::remove_file(&path).unwrap();
    let other = File::create(&path).unwrap();
    other.lock().unwrap();
    drop(one);
    assert!(sidecars::is_same(&other, &path).unwrap());
}

#[test]
fn a_late_removal_of_a_dead_owners_file_spares_the_file_of_a_new_owner() {
    let (_folder, files) = folder_with_database();
    let path = files.path(1);
    let left = File::create(&path).unwrap();
    // Another process is faster, and a new owner creates its file.
    fs::remove_file(&path).unwrap();
    let _one = files.make(1, LEASE).unwrap();
    left.try_lock().unwrap();
    assert!(!sidecars::remove(&left, &path).unwrap());
    assert_eq!(files.liveness(1), Liveness::Alive);
}

#[test]
fn an_owners_file_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, files) = folder_with_database();
    let one = files.make(1, LEASE).unwrap();
    assert_eq!(fs::metadata(&one.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_card_outlives_heartbeats_and_the_removal_of_the_file_and_a_new_owner_has_none() {
    let (_folder, files) = folder_with_database();
    let one = files.make(1, LEASE).unwrap();
    assert_eq!(files.card(1), None);
    // More bytes than characters, which earlier versions must not read half of.
    let card = |number: u32| HostCard::new(1, format!("𝕨𝕨{number}"), chrono::DateTime::UNIX_EPOCH);
    let stored = |number: u32| Some(StoredCard { number, card: card(number) });
    for number in 1..=2 {
        files.describe(1, &card(number)).unwrap();
        files.heartbeat(1, LEASE).unwrap();
        assert_eq!(files.card(1), stored(number));
        assert_eq!(files.sign(1), Some(Sign { lease: LEASE, beat: number.into() }));
    }
    fs::remove_file(&one.path).unwrap();
    assert!(is_lost(&files.check_lock_file(1)));
    assert_eq!(files.card(1), stored(2));
    files.describe(1, &card(3)).unwrap();
    assert_eq!((files.card(1), files.all().unwrap()), (stored(3), vec![(1, Some(true))]));
    let left = fs::read(&one.path).unwrap();
    drop(one);
    assert_eq!((files.card(1), files.all().unwrap()), (None, vec![]));
    fs::write(files.path(1), left).unwrap();
    assert_eq!((files.card(1), files.all().unwrap()), (stored(3), vec![(1, Some(false))]));
    let _again = files.make(1, LEASE).unwrap();
    assert_eq!((files.card(1), files.all().unwrap()), (None, vec![(1, Some(true))]));
}

#[test]
fn a_card_that_is_too_long_is_refused_and_the_last_one_stands() {
    let (_folder, files) = folder_with_database();
    let _one = files.make(1, LEASE).unwrap();
    let mut card = HostCard::new(1, "a", chrono::DateTime::UNIX_EPOCH);
    files.describe(1, &card).unwrap();
    card.program = "a".repeat(host_card::MAX_BYTES);
    assert!(matches!(files.describe(1, &card), Err(WfeError::Unstorable { .. })));
    assert_eq!(files.card(1).unwrap().card.program, "a");
}
