//! The workflow: list the directory, hash each file as its own durable step, write the manifest.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wfe::{prelude::*, steps::ItemResult};

use super::{
    listing::{self, Own},
    name::Name,
    progress::say,
    sums,
};

/// The for-each over the files.
pub const HASH: &str = "hash";

/// The data of the instance. The results of the steps are stored separately.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    pub files: usize,
    pub failed: Vec<(Name, String)>,
}

/// The settings that may differ from one start of the program to the next, and are therefore not stored in the
/// instance.
pub struct Place {
    pub dir: PathBuf,
    pub out: PathBuf,
    pub own: Own,
    pub log: Option<File>,
    pub jobs: usize,
}

/// Builds the definition of the run. Each directory has its own definition. A host claims only instances whose
/// definition is registered with that host. One database can therefore hold the runs of many directories, while each
/// process works on its own run.
pub fn definition(place: Arc<Place>, id: &str) -> Result<Definition<Summary>, Error> {
    let jobs = place.jobs;
    WorkflowBuilder::<Summary>::new(id, 1)
        .with(place)
        // The list is computed once and stored. After a kill, the run continues with the same list.
        .blocking(HASH, |ctx, _| Ok(listing::list(&ctx.app.dir, &ctx.app.own)?))
        .each(|file| {
            file.blocking("sha256", |ctx, _, name| ctx.app.hash(name))
                .retry(Retry::exponential().attempts(3).initial(Duration::from_millis(50)))
                .on_failure(OnFailure::Continue)
        })
        .concurrent(jobs)
        // On failure, the run is suspended, and the next start of the program tries again.
        .on_failure(OnFailure::Suspend)
        .blocking("write", |ctx, _| {
            let (mut results, mut hashed) = (ctx.results(HASH), Vec::new());
            while let Some(result) = results.next_blocking()? {
                hashed.push(result);
            }
            write(&ctx.app.out, hashed)
        })
        .output(|summary, data| *data = summary)
        .on_failure(OnFailure::Suspend)
        .build()
}

impl Place {
    /// What has changed since a run, which began at this time and had these results. `None`: the manifest of the run is
    /// the manifest of the files as they are now.
    pub fn change(&self, results: &[ItemResult<Name>], began: DateTime<Utc>) -> io::Result<Option<String>> {
        let listed = listing::list(&self.dir, &self.own)?;
        let (now, before): (HashSet<_>, HashSet<_>) = (
            listed.iter().map(Name::as_bytes).collect(),
            results.iter().map(|one| one.item.as_bytes()).collect(),
        );
        let told = |name: &Name, what| format!("{} {what}", String::from_utf8_lossy(name.as_bytes()));
        for name in &listed {
            if !before.contains(name.as_bytes()) {
                return Ok(Some(told(name, "was added")));
            }
            if listing::changed_at(&name.below(&self.dir))?.is_none_or(|time| time > began) {
                return Ok(Some(told(name, "has changed")));
            }
        }
        let gone = results.iter().find(|one| one.result.is_ok() && !now.contains(one.item.as_bytes()));
        Ok(gone.map(|one| told(&one.item, "was removed")))
    }

    fn hash(&self, name: &Name) -> Result<String, StepError> {
        let hash = hash_file(&name.below(&self.dir))?;
        if let Some(mut log) = self.log.as_ref() {
            // The line is appended with a single write, so that the lines of several jobs do not mix.
            if let Err(error) = log.write_all(&sums::line(name, &hash)) {
                // A failure to write the log must not mark the hashed file as failed. The program exits instead, which
                // is safe because it may be killed at any moment.
                say(&format!("manifest: cannot write the log: {error}"));
                std::process::exit(2);
            }
        }
        Ok(hash)
    }
}

fn hash_file(path: &Path) -> io::Result<String> {
    // The file may have become a pipe since it was listed. Opening a pipe would block for ever.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("no longer a regular file"));
    }
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let digits = hasher.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

/// Writes OUT in the order of the sorted list. The store returns the results in the order in which the files were
/// hashed.
pub fn write(out: &Path, mut results: Vec<ItemResult<Name>>) -> Result<Summary, StepError> {
    results.sort_unstable_by_key(|result| result.index);
    let (mut summary, mut text) = (Summary { files: results.len(), failed: Vec::new() }, Vec::new());
    for ItemResult { item: name, result, .. } in results {
        match result {
            Ok(Some(Value::String(hash))) => text.extend_from_slice(&sums::line(&name, &hash)),
            Ok(other) => return Err(StepError::fatal(format!("no hash but {other:?} is stored for a file"))),
            Err(failure) => summary.failed.push((name, failure.causes.join(": "))),
        }
    }
    sums::replace(out, &text)?;
    Ok(summary)
}
