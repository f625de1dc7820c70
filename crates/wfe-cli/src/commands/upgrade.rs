use serde::Serialize;
use wfe::sqlite::SqliteStore;

use crate::{
    app::App,
    args::Upgrade,
    confirm::{self, Question},
    failure::{Exit, Failure, Result},
    store::Access,
};

/// The versions of the schema before and after.
#[derive(Serialize)]
struct Versions {
    from: i64,
    to: i64,
    done: bool,
}

pub(crate) async fn upgrade(app: &App, args: &Upgrade) -> Result<Exit> {
    if app.global.read_only && !args.dry_run {
        return Err(Failure::new(
            Exit::Refused,
            "the store is opened for reading only; leave --read-only out",
        ));
    }
    let store = app.store(Access::Read).await?;
    let from = store.schema_version();
    store.close().await;
    let mut versions = Versions { from, to: SqliteStore::SCHEMA_VERSION, done: false };
    let Versions { from, to, .. } = versions;
    if from < to && !args.dry_run {
        let what = format!(
            "upgrade the store from schema version {from} to {to}. Make a backup first; there is no way back, and \
             programs with an earlier WFE may be unable to open it"
        );
        confirm::ask(&Question::one(what), args.sure.yes, &app.interrupt).await?;
        app.store(Access::Upgrade).await?.close().await;
        versions.done = true;
    }
    app.out.object(&versions, |out| match (out.is_for_people(), versions.done) {
        (false, _) => format!("from\t{from}\nto\t{to}\ndone\t{}\n", versions.done),
        (true, true) => format!("upgraded from schema version {from} to {to}\n"),
        (true, false) if from < to => {
            format!("This would upgrade the store from schema version {from} to {to}.\n")
        }
        (true, false) => format!("the store has schema version {from} already\n"),
    })?;
    Ok(Exit::Done)
}
