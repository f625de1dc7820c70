//! What is wrong with the files of a store: for `doctor`.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wfe_core::{
    Result,
    traits::{Finding, Weight},
};

use crate::{SqlitePersistenceProvider, schema};

/// Reads the files of the store.
pub(super) async fn findings(store: &SqlitePersistenceProvider) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let (has, current) = (store.schema_version(), schema::VERSION);
    if has < current {
        found.push(Finding::new(
            "schema_old",
            Weight::Warning,
            format!("the schema has version {has}, and this program writes {current}"),
            "upgrade the store; until then it can only be read",
        ));
    }
    if let Some(path) = store.path() {
        let path = path.to_owned();
        // A slow disk must not stop the runtime. A panic there is none of the store.
        let modes = tokio::task::spawn_blocking(move || mode(&path)).await;
        found.extend(modes.ok().flatten());
    }
    Ok(found)
}

/// Whether others than the owner and its group may read or write the database.
#[cfg(unix)]
fn mode(path: &Path) -> Option<Finding> {
    // A file that is gone is reported by every call.
    let mode = std::fs::metadata(path).ok()?.mode();
    let (code, weight, may) = match mode & 0o006 {
        0 => return None,
        0o004 => ("readable_by_all", Weight::Note, "read"),
        _ => ("writable_by_all", Weight::Warning, "write"),
    };
    let text = format!("every user of this machine may {may} {} (mode {:o})", path.display(), mode & 0o777);
    Some(Finding::new(code, weight, text, "run `chmod o-rw` on it and on the files beside it"))
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<Finding> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_that_all_users_may_use_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        fs::write(&path, "").unwrap();
        let with = |bits: u32| {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            mode(&path).map(|finding| (finding.code, finding.weight))
        };
        assert_eq!(with(0o660), None);
        assert_eq!(with(0o644), Some(("readable_by_all", Weight::Note)));
        assert_eq!(with(0o662), Some(("writable_by_all", Weight::Warning)));
        assert_eq!(with(0o666), Some(("writable_by_all", Weight::Warning)));
        assert_eq!(mode(&folder.path().join("gone")), None);
    }
}
