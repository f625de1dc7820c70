//! The workflow: list the directory, hash each file as its own durable step, write the manifest.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wfe::{
    definition::{Definition, OnFailure, Retry, WorkflowBuilder, blocking, blocking_item, each_from},
    steps::{Ctx, ItemResult, StepError},
};

use crate::{
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
    pub files: u64,
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
pub fn definition(place: &Arc<Place>, id: &str) -> wfe::Result<Definition> {
    let (lister, hasher, writer) = (Arc::clone(place), Arc::clone(place), Arc::clone(place));
    // The list is computed once and stored. After a kill, the run continues with the same list.
    let files = each_from(blocking(move |_: &Ctx, _: &Summary| Ok(listing::list(&lister.dir, &lister.own)?)))
        // On failure, the run is suspended, and the next start of the program tries again.
        .on_failure(OnFailure::Suspend);
    WorkflowBuilder::<Summary>::new(id, 1)
        .for_each(HASH, files.parallel(place.jobs), |file| {
            file.then(
                "sha256",
                blocking_item(move |_: &Ctx, _: &Summary, name: Name| hasher.hash(&name))
                    .retry(Retry::up_to(2).initial(Duration::from_millis(50)))
                    .on_failure(OnFailure::Continue),
            )
        })
        .then(
            "write",
            blocking(move |ctx: &Ctx, _: &Summary| {
                let mut gathered = Gathered::default();
                let mut results = ctx.results::<Name>(HASH);
                while let Some(result) = results.next_blocking()? {
                    gathered.add(result)?;
                }
                Ok(gathered.write(&writer.out)?)
            })
            .on_failure(OnFailure::Suspend)
            .output(|summary: &Summary, data: &mut Summary| *data = summary.clone()),
        )
        .build()
}

impl Place {
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

/// The results of all files, gathered for writing OUT.
#[derive(Default)]
pub struct Gathered {
    hashes: Vec<(u64, Name, String)>,
    failed: Vec<(u64, Name, String)>,
}

impl Gathered {
    pub fn add(&mut self, result: ItemResult<Name>) -> Result<(), StepError> {
        match result.result {
            Ok(Some(serde_json::Value::String(hash))) => self.hashes.push((result.index, result.item, hash)),
            Ok(other) => return Err(StepError::fatal(format!("no hash but {other:?} is stored for a file"))),
            Err(failure) => self.failed.push((result.index, result.item, failure.causes.join(": "))),
        }
        Ok(())
    }

    /// Writes OUT in the order of the sorted list. The store returns the results in the order in which the files were
    /// hashed.
    pub fn write(mut self, out: &Path) -> io::Result<Summary> {
        self.hashes.sort_unstable_by_key(|(index, ..)| *index);
        self.failed.sort_unstable_by_key(|(index, ..)| *index);
        let files = (self.hashes.len() + self.failed.len()) as u64;
        sums::replace(out, self.hashes.iter().map(|(_, name, hash)| sums::line(name, hash)))?;
        let failed = self.failed.into_iter().map(|(_, name, cause)| (name, cause)).collect();
        Ok(Summary { files, failed })
    }
}
