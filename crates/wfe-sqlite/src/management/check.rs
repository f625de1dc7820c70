//! The integrity check.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use wfe_core::{
    Result, WfeError,
    traits::{CheckDepth, Checkup, Progress},
};

use crate::{
    SqlitePersistenceProvider,
    codec::Fields,
    connection::{
        aside,
        execute::{self, Lent},
    },
    error,
    request::{Done, Script, Sql},
    schema,
    sql::{sequences, upkeep as sql},
};

/// The statements of a check. Each returns one line for each fault.
const QUICK: [Sql<0>; 1] = [sql::QUICK_CHECK];
const FULL: [Sql<0>; 7] = [
    sql::INTEGRITY_CHECK,
    sql::LOST_POINTERS,
    sql::LOST_STEPS,
    sql::STRAY_SUBSCRIPTIONS,
    sql::UNSATISFIABLE,
    sql::STRAY_POSITIONS,
    sql::NO_JSON,
];

pub(super) async fn check(
    store: &SqlitePersistenceProvider,
    depth: CheckDepth,
    progress: &dyn Progress,
) -> Result<Checkup> {
    let steps: &'static [Sql<0>] = match depth {
        CheckDepth::Quick => &QUICK,
        CheckDepth::Full => &FULL,
    };
    let (total, done) = (steps.len() as u64 + 1, Arc::new(AtomicU64::new(0)));
    let follow = || progress.advanced(done.load(Relaxed), Some(total));
    let mut faults = Vec::new();
    let mut script = Script::default();
    script.add(&sequences::BROKEN, []);
    for row in store.read(script).await?.iter().flat_map(|done| &done.rows) {
        let table = Fields::new(row, "sqlite_sequence", "").string("name")?;
        faults.push(format!("sqlite_sequence, row {table}: the counter of this table is missing or wrong"));
    }
    done.fetch_add(1, Relaxed);
    let Some(another) = &store.another else {
        for step in steps {
            if follow().is_break() {
                return Err(WfeError::Cancelled);
            }
            faults.extend(lines(&store.read(one(step)).await?)?);
            done.fetch_add(1, Relaxed);
        }
        let _ = follow();
        return Ok(Checkup { faults });
    };
    let mut opened = another.reading(true).await?;
    let is_earlier = another.version < schema::VERSION;
    let (counts, counter) = (Arc::clone(store.counts()), Arc::clone(&done));
    let location = another.path.display().to_string();
    let found = aside::run(store.timer.runtime(), "wfe-sqlite-check", follow, move |runtime, cancel| {
        let failed = |error| cancel.or(error::of(&location, error::storage("checking", &Arc::new(error))));
        let found = runtime
            .block_on(execute::lend(&mut opened.connection))
            .map_err(|error| failed(error.into()))
            .and_then(|mut handle| {
                cancel.interrupts(&mut handle);
                let lent = Lent::new(&handle, &counts).of_earlier_version(is_earlier);
                let mut faults = Vec::new();
                // Each step reads a snapshot of its own, so that the log can be checkpointed in between.
                for step in steps {
                    cancel.check()?;
                    match lent.read(&mut one(step)).map_err(error::SqliteError::from) {
                        Ok(done) => faults.extend(lines(&done)?),
                        // What SQLite cannot read is a fault, too.
                        Err(error) if error::is_damage(&error) => faults.push(error.to_string()),
                        Err(error) => return Err(failed(error)),
                    }
                    counter.fetch_add(1, Relaxed);
                }
                Ok(faults)
            });
        opened.close(runtime);
        found
    })
    .await?;
    // The check is complete, so there is nothing left to end.
    let _ = progress.advanced(total, Some(total));
    faults.extend(found);
    Ok(Checkup { faults })
}

fn one(step: &Sql<0>) -> Script {
    let mut script = Script::default();
    script.add(step, []);
    script
}

fn lines(done: &[Done]) -> Result<Vec<String>> {
    done.iter()
        .flat_map(|done| &done.rows)
        .map(|row| Fields::new(row, "sqlite_schema", "").string("fault"))
        .collect()
}
