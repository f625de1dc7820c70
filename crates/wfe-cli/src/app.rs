//! What every command works with: the store, how to print, and whether to end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use wfe::{
    Operator,
    clock::{Clock, SystemClock},
    operator::Face,
    sqlite::SqliteStore,
    traits::ListCursor,
};

use crate::{
    args::{Global, When},
    failure::{Failure, Result},
    interrupt::Interrupt,
    output::{Out, Zone},
    store::{self, Access},
};

/// A command that is running.
pub(crate) struct App {
    pub(crate) out: Out,
    pub(crate) interrupt: Interrupt,
    pub(crate) global: Global,
}

impl App {
    pub(crate) fn new(global: Global) -> Result<Self> {
        let zone = if global.utc { Some(Zone::Utc) } else { global.zone.map(Zone::Named) };
        let out = Out::new(global.json, zone, global.columns.clone(), SystemClock.now());
        let interrupt = Interrupt::watch().map_err(|error| {
            Failure::new(crate::failure::Exit::Unusable, format!("cannot start: {error}"))
        })?;
        Ok(Self { out, interrupt, global })
    }

    /// Opens the store to look.
    pub(crate) async fn look(&self) -> Result<Session> {
        self.session(Access::Read, None).await
    }

    /// Opens the store to act, for this reason.
    pub(crate) async fn act(&self, reason: Option<&str>) -> Result<Session> {
        let access = if self.global.read_only { Access::Read } else { Access::Write };
        self.session(access, reason).await
    }

    pub(crate) async fn store(&self, access: Access) -> Result<SqliteStore> {
        store::open(self.global.db.as_deref(), access).await
    }

    async fn session(&self, access: Access, reason: Option<&str>) -> Result<Session> {
        let store = Arc::new(self.store(access).await?);
        let mut operator = Operator::shared(store.clone())?.acting_as(self.actor(), Face::Cli);
        if let Some(reason) = reason {
            operator = operator.because(reason);
        }
        Ok(Session { store, operator })
    }

    /// Who acts: what was given, or user@machine.
    pub(crate) fn actor(&self) -> String {
        if let Some(actor) = &self.global.actor {
            return actor.clone();
        }
        let named = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
        let user = named("USER").or_else(|| named("LOGNAME"));
        let user = user.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
        format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
    }

    pub(crate) fn ago(&self, when: Option<When>) -> Result<Option<DateTime<Utc>>> {
        when.map(|when| when.ago(self.out.now, self.out.zone)).transpose().map_err(Failure::usage)
    }

    pub(crate) fn ahead(&self, when: Option<When>) -> Result<Option<DateTime<Utc>>> {
        when.map(|when| when.ahead(self.out.now, self.out.zone)).transpose().map_err(Failure::usage)
    }
}

/// An open store.
pub(crate) struct Session {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) operator: Operator,
}

impl Session {
    /// Closes the store, so that a command leaves nothing behind.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }

    pub(crate) async fn resolve(&self, texts: &[String]) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for text in texts {
            let id = self.operator.resolve(text).await?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

/// Reads the cursor of a list of instances.
pub(crate) fn list_cursor(text: Option<&str>) -> Result<Option<ListCursor>> {
    Ok(text.map(str::parse).transpose()?)
}

/// Reads the cursor of any other list.
pub(crate) fn cursor(text: Option<&str>) -> Result<Option<wfe::traits::Cursor>> {
    text.map(str::parse)
        .transpose()
        .map(|cursor| cursor.map(wfe::traits::Cursor))
        .map_err(|_| Failure::usage("not a cursor; pass the one that the page before ended with"))
}
