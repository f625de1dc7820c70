//! Who works on the store, and who has acted on it.

use serde::Serialize;
use serde_json::Value;
use wfe::traits::{AuditFilter, AuditRecord, Host, TimeRange};

use crate::{
    app::{self, App},
    args::AuditArgs,
    failure::{Exit, Result},
    output::{Cell, Listed, Out, note},
};

#[derive(Serialize)]
#[serde(transparent)]
struct Card(Host);

impl Listed for Card {
    const COLUMNS: &'static [&'static str] = &[
        "owner",
        "alive",
        "pid",
        "program",
        "machine",
        "started",
        "bodies",
        "instances",
        "definitions",
        "next_due",
        "wfe_version",
        "written",
        "running",
    ];
    const SHOWN: usize = 9;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let Self(Host { owner, is_alive, card, .. }) = self;
        match column {
            "owner" => return Cell::number(owner),
            "alive" => {
                return Cell::text(match is_alive {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "unknown",
                });
            }
            _ => {}
        }
        let Some(card) = card else { return Cell::default() };
        match column {
            "pid" => Cell::number(card.pid),
            "program" => Cell::text(&card.program),
            "machine" => Cell::maybe(card.machine.as_deref()),
            "started" => out.time(Some(card.started)),
            "bodies" => Cell::text(format!("{}/{}", card.bodies_running, card.bodies_limit)),
            "instances" => Cell::text(format!("{}/{}", card.instances_busy, card.instances_limit)),
            "definitions" => {
                let names: Vec<String> =
                    card.definitions.iter().map(|(id, version)| format!("{id}@{version}")).collect();
                Cell::text(names.join(" "))
            }
            "next_due" => out.time(card.next_due),
            "wfe_version" => Cell::text(&card.wfe_version),
            "written" => out.time(Some(card.written)),
            "running" => {
                let bodies: Vec<String> =
                    card.running.iter().map(|body| format!("{}:{}", body.instance, body.step)).collect();
                Cell::text(bodies.join(" "))
            }
            _ => Cell::default(),
        }
    }
}

pub(crate) async fn hosts(app: &App) -> Result<Exit> {
    app.out.chosen::<Card>()?;
    let session = app.look().await?;
    let hosts = session.operator.hosts().await;
    session.close().await;
    let cards: Vec<Card> = hosts?.into_iter().map(Card).collect();
    app.out.list(&cards)?;
    if cards.is_empty() {
        note("no host works on this store");
    }
    Ok(Exit::Done)
}

/// A recorded action.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Action(pub(crate) AuditRecord);

impl Listed for Action {
    const COLUMNS: &'static [&'static str] =
        &["time", "actor", "action", "instance", "reason", "detail", "face", "bulk", "cursor"];
    const SHOWN: usize = 6;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let Self(AuditRecord { cursor, time, audit, .. }) = self;
        match column {
            "time" => out.time(Some(*time)),
            "actor" => Cell::text(&audit.actor),
            "action" => Cell::text(&audit.action),
            "instance" => Cell::maybe(audit.instance.as_deref()),
            "reason" => Cell::maybe(audit.reason.as_deref()),
            "detail" => Cell::maybe(Some(&audit.detail).filter(|it| !it.is_null()).map(Value::to_string)),
            "face" => Cell::text(audit.face.name()),
            "bulk" => Cell::maybe(audit.bulk.as_deref()),
            "cursor" => Cell::number(cursor.0),
            _ => Cell::default(),
        }
    }
}

pub(crate) async fn audit(app: &App, args: &AuditArgs) -> Result<Exit> {
    app.out.chosen::<Action>()?;
    let time = TimeRange { from: app.ago(args.since)?, until: app.ago(args.until)? };
    let after = app::cursor(args.paging.after.as_deref())?;
    let session = app.look().await?;
    let read = async {
        let instance = match &args.of {
            // The record of a deleted instance is still there.
            Some(text) => match session.operator.resolve(text).await {
                Err(wfe::WfeError::WorkflowNotFound(_)) => Some(text.clone()),
                id => Some(id?),
            },
            None => None,
        };
        let filter = AuditFilter { instance, actor: args.by.clone(), action: args.action.clone(), time };
        let page = session.operator.audit(&filter, after, args.paging.limit()).await?;
        Ok((filter != AuditFilter::default(), page))
    };
    let done: Result<_> = read.await;
    session.close().await;
    let (is_filtered, page) = done?;
    let rows: Vec<Action> = page.rows.into_iter().map(Action).collect();
    app.out.page(&rows, page.next)?;
    if rows.is_empty() {
        note("no recorded actions");
        return Ok(if is_filtered { Exit::Nothing } else { Exit::Done });
    }
    Ok(Exit::Done)
}
