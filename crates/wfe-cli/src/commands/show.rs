use anstyle::Style;
use serde::Serialize;
use serde_json::Value;
use wfe::{
    operator::{HistoryRow, InstanceView},
    status::InstanceStatus,
    traits::{AuditFilter, AuditRecord, ErrorRecord, InstanceSummary, Query},
};

use super::{errors::Attempt, hosts::Action, list};
use crate::{
    app::{App, Session},
    args::Show,
    failure::{Exit, Result},
    output::{Cell, Listed, Out, Sheet, note, safe},
};

/// So many rows of each part are shown; `--json` shows as many.
const ROWS: usize = 500;

/// An instance, and what else was asked for.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    view: InstanceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<HistoryRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ErrorRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Vec<InstanceSummary>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Vec<AuditRecord>>,
}

pub(crate) async fn show(app: &App, args: &Show) -> Result<Exit> {
    let session = app.look().await?;
    let mut shown = Vec::new();
    let read = async {
        for id in session.resolve(&args.ids).await? {
            shown.push(read(&session, &id, args).await?);
        }
        Ok(())
    };
    let done: Result<()> = read.await;
    session.close().await;
    done?;
    if app.out.form == crate::output::Form::Json {
        Out::json_lines(&shown)?;
    } else {
        let texts: Vec<String> = shown.iter().map(|shown| shown.text(&app.out)).collect();
        app.out.show(&texts.join("\n"))?;
    }
    Ok(Exit::Done)
}

async fn read(session: &Session, id: &str, args: &Show) -> Result<Shown> {
    let operator = &session.operator;
    let view = operator.show(id).await?;
    let data = if args.data || args.all { Some(operator.data(id).await?) } else { None };
    let history = if args.history || args.all { Some(operator.history(id, None, ROWS).await?) } else { None };
    let history = history.map(|page| first("steps", page.rows, page.next.is_some()));
    let mut shown = Shown { view, data, history, errors: None, children: None, audit: None };
    if args.all {
        let errors = operator.errors(Some(id), None, ROWS).await?;
        shown.errors = Some(first("failed attempts", errors.rows, errors.next.is_some()));
        let children = Query { parent: Some(id.to_owned()), ..Query::default() };
        let children = operator.list(&children, None, ROWS).await?;
        shown.children = Some(first("children", children.rows, children.next.is_some()));
        let audit = AuditFilter { instance: Some(id.to_owned()), ..AuditFilter::default() };
        let audit = operator.audit(&audit, None, ROWS).await?;
        shown.audit = Some(first("actions", audit.rows, audit.next.is_some()));
    }
    Ok(shown)
}

/// The rows of a part. Says so if there are more.
fn first<T>(what: &str, rows: Vec<T>, has_more: bool) -> Vec<T> {
    if has_more {
        note(&format!("only {} of the {what} are shown, there are more", rows.len()));
    }
    rows
}

impl Shown {
    fn text(&self, out: &Out) -> String {
        let mut text = self.sheet(out).text(out);
        let mut part = |title: &str, content: String| {
            if !content.is_empty() {
                text.push('\n');
                if out.is_for_people() {
                    text.push_str(&out.painted(title, Style::new().bold()));
                } else {
                    text.push_str(title);
                }
                text.push('\n');
                text.push_str(&content);
            }
        };
        if let Some(data) = &self.data {
            let pretty = serde_json::to_string_pretty(data).unwrap_or_else(|_| data.to_string());
            part("DATA", safe::json(&pretty) + "\n");
        }
        if let Some(history) = &self.history {
            part("STEPS", some(history, |rows| out.part(rows)));
        }
        if let Some(errors) = &self.errors {
            let rows: Vec<Attempt> = errors.iter().cloned().map(Attempt::of_one).collect();
            part("FAILED ATTEMPTS", some(&rows, |rows| out.part(rows)));
        }
        if let Some(children) = &self.children {
            part("CHILDREN", some(&list::plain(children.clone()), |rows| out.part(rows)));
        }
        if let Some(audit) = &self.audit {
            let rows: Vec<Action> = audit.iter().cloned().map(Action).collect();
            part("ACTIONS", some(&rows, |rows| out.part(rows)));
        }
        text
    }

    fn sheet(&self, out: &Out) -> Sheet {
        let InstanceView { summary, status, why, .. } = &self.view;
        let mut sheet = Sheet::default();
        sheet.field("id", Cell::text(&summary.id));
        sheet.maybe("reference", summary.reference.as_deref());
        sheet.maybe("name", Some(&summary.name).filter(|name| **name != summary.id));
        sheet.maybe("description", status.description.as_deref());
        sheet.field(
            "definition",
            Cell::both(
                format!("{} v{}", summary.definition, summary.version),
                format!("{}@{}", summary.definition, summary.version),
            ),
        );
        sheet.field("state", Out::state(summary.state));
        sheet.field("why", Cell::text(&why.headline));
        for at in &why.at {
            sheet.field("at", Cell::text(at));
        }
        for hint in &why.hints {
            if let Some(command) = &hint.command {
                sheet.field("ends", Cell::text(format!("{command}   {}", hint.text)));
            } else {
                sheet.field("note", Cell::text(&hint.text));
            }
        }
        requests(&mut sheet, status);
        for position in &status.positions {
            sheet.field("position", Cell::text(position.to_string()));
        }
        for progress in &status.for_each {
            sheet.field(
                "items",
                Cell::text(format!("{}: {} of {}", progress.step, progress.done, progress.total)),
            );
        }
        let attributes = list::attributes(summary);
        sheet.maybe("attributes", Some(attributes).filter(|text| !text.is_empty()));
        sheet.field("started", out.long_time(summary.create_time));
        for (label, time) in
            [("due", summary.due), ("retried", status.retried), ("ended", summary.complete_time)]
        {
            if let Some(time) = time {
                sheet.field(label, out.long_time(time));
            }
        }
        sheet.maybe("end step", status.end_step.as_deref());
        sheet.maybe("parent", summary.parent.as_deref());
        sheet.maybe("restart of", status.restart_of.as_deref());
        sheet.maybe("restarted as", status.restarted_as.as_deref());
        sheet.maybe("owner", summary.owner.map(|owner| owner.to_string()));
        sheet
    }
}

/// The request and the failure.
fn requests(sheet: &mut Sheet, status: &InstanceStatus) {
    if let Some(request) = &status.request {
        let text = format!("{} is stored; a host takes it up with the next commit", request.control);
        sheet.field("request", Cell::text(text));
    }
    sheet.maybe("closing", status.closing.map(|ending| ending.to_string()));
    sheet.maybe("failure", status.cause.as_ref().map(ToString::to_string));
}

fn some<T>(rows: &[T], text: impl FnOnce(&[T]) -> String) -> String {
    if rows.is_empty() { "none\n".to_owned() } else { text(rows) }
}

impl Listed for HistoryRow {
    const COLUMNS: &'static [&'static str] =
        &["step", "status", "start", "end", "attempts", "outcome", "number", "pointer", "item", "event"];
    const SHOWN: usize = 6;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let json = |value: &Option<Value>| Cell::maybe(value.as_ref().map(Value::to_string));
        match column {
            "number" => Cell::maybe(self.number.map(|number| number.to_string())),
            "step" => Cell::maybe(self.step.as_deref()),
            "status" => Cell::text(format!("{:?}", self.status).to_lowercase()),
            "start" => out.time(self.start),
            "end" => out.time(self.end),
            "attempts" => Cell::number(self.attempts),
            "outcome" => json(&self.outcome),
            "pointer" => Cell::text(&self.pointer),
            "item" => json(&self.item),
            "event" => Cell::maybe(self.event.as_ref().map(|event| format!("{}/{}", event.name, event.key))),
            _ => Cell::default(),
        }
    }
}
