use super::*;

const LEASE: Duration = Duration::from_secs(16);

/// A folder with a database, and its owners' files.
fn place() -> (tempfile::TempDir, OwnerFiles) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.db"), "").unwrap();
    let files = OwnerFiles::new(Sidecars::of(&folder.path().join("a.db")).unwrap());
    (folder, files)
}

/// What lies in the folder beside the database.
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
fn what_a_killed_owner_left_is_found_until_it_is_buried_and_other_files_are_not_touched() {
    let (folder, files) = place();
    for name in ["a.db-owner-7", "a.db-owner-x", "a.db-owner-", "b.db-owner-7"] {
        File::create(folder.path().join(name)).unwrap();
    }
    let _one = files.make(8, LEASE).unwrap();
    assert_eq!((files.life(7), files.life(8)), (Life::Missing, Life::Alive), "no owner has written it");
    let sign = Sign { lease: LEASE, beat: 3 };
    write_sign(&File::create(files.path(7)).unwrap(), &files.path(7), sign).unwrap();
    for _ in 0..2 {
        assert_eq!((files.dead().unwrap(), files.life(7)), (vec![7], Life::Dead));
    }
    for id in [7, 8, 9] {
        files.bury(id);
    }
    assert_eq!(names(folder.path()), ["a.db-owner-", "a.db-owner-8", "a.db-owner-x", "b.db-owner-7"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_owners_file_keeps_nobody_from_starting_and_is_nobodys_sign_of_life() {
    let (folder, files) = place();
    fs::create_dir(folder.path().join("a.db-owner-5")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.db-owner-6")).unwrap();
    nix::unistd::mkfifo(&folder.path().join("a.db-owner-7"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let one = files.make(1, LEASE).unwrap();
    for id in [5, 6, 7] {
        assert_eq!((files.life(id), files.sign(id)), (Life::Missing, None), "{id}");
    }
    drop(one);
    assert_eq!(names(folder.path()), ["a.db-owner-5", "a.db-owner-6", "a.db-owner-7"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_was_taken_away_or_replaced_is_put_back_and_its_owner_is_lost() {
    for how in ["removed", "renamed", "replaced"] {
        let (folder, files) = place();
        let one = files.make(1, LEASE).unwrap();
        files.look_after(1).unwrap();
        files.beat(1, LEASE).unwrap();
        fs::rename(&one.path, folder.path().join("elsewhere")).unwrap();
        match how {
            "removed" => fs::remove_file(folder.path().join("elsewhere")).unwrap(),
            "replaced" => fs::write(&one.path, "another's").unwrap(),
            _ => {}
        }
        assert!(is_lost(&files.look_after(1)), "{how}");
        assert_eq!(files.life(1), Life::Alive, "{how}");
        // It says what the one before said, and goes on.
        files.beat(1, LEASE).unwrap();
        assert_eq!(files.sign(1), Some(Sign { lease: LEASE, beat: 2 }), "{how}");
        // For ever: somebody may have taken it for dead meanwhile.
        assert!(is_lost(&files.look_after(1)), "{how}");
        let other = files.make(2, LEASE).unwrap();
        files.look_after(2).unwrap();
        drop((one, other));
        assert!(!folder.path().join("a.db-owner-1").exists(), "{how}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_put_back_is_told_and_what_lies_there_instead_stays() {
    let (_folder, files) = place();
    let one = files.make(1, LEASE).unwrap();
    let path = one.path.clone();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..2 {
        assert!(is_lost(&files.look_after(1)) && is_lost(&files.beat(1, LEASE)));
        assert_eq!(files.life(1), Life::Missing);
    }
    drop(one);
    assert!(path.is_dir());
}

#[cfg(unix)]
#[test]
fn who_ends_removes_only_his_own_file() {
    let (_folder, files) = place();
    let one = files.make(1, LEASE).unwrap();
    let path = one.path.clone();
    fs::remove_file(&path).unwrap();
    let other = File::create(&path).unwrap();
    other.lock().unwrap();
    drop(one);
    assert!(sidecars::is_same(&other, &path).unwrap());
}

#[cfg(unix)]
#[test]
fn who_was_slow_to_bury_the_dead_does_not_remove_the_file_of_the_living() {
    let (_folder, files) = place();
    let path = files.path(1);
    let left = File::create(&path).unwrap();
    // Somebody else is faster, and a new owner takes the place.
    fs::remove_file(&path).unwrap();
    let _one = files.make(1, LEASE).unwrap();
    left.try_lock().unwrap();
    assert!(!sidecars::remove(&left, &path).unwrap());
    assert_eq!(files.life(1), Life::Alive);
}

#[cfg(unix)]
#[test]
fn an_owners_file_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, files) = place();
    let one = files.make(1, LEASE).unwrap();
    assert_eq!(fs::metadata(&one.path).unwrap().permissions().mode() & 0o777, 0o600);
}
