//! Who did what, and why?

use maud::{Markup, html};
use serde_json::Value;
use wfe::{
    WfeError,
    operator::ActionKind,
    traits::{AuditFilter, AuditRecord, Cursor, Query, TextMatch},
};

use crate::{
    ask::{Ask, Fields, segment},
    html::{Page, Pager, empty, id, num, since, table, text},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Audit", path: "audit", key: 'u' }),
    routes: &[Route::page("/audit", |ask| Box::pin(audit(ask)))],
};

/// Rows of a page.
const ROWS: usize = 50;
/// So much of what else a record says is shown, in characters. All of it is in the title.
const DETAIL: usize = 160;
/// The fields of the filter, as they stand in the address.
const FIELDS: [&str; 3] = ["actor", "action", "instance"];

async fn audit(ask: Ask) -> Result<Reply, Failure> {
    let filter = filter(&ask).await?;
    let after = cursor(&ask.query)?;
    let page = ask.operator.audit(&filter, after, ROWS).await?;
    let shown: Vec<(String, String)> = ask
        .query
        .0
        .iter()
        .filter(|(name, value)| FIELDS.contains(&&**name) && !value.is_empty())
        .cloned()
        .collect();
    let shown = Fields(shown);
    let link = |after: Option<String>| format!("audit{}", shown.with("after", after.as_deref()).link());
    let pager = Pager {
        says: format!("{} shown, newest first.", num(page.rows.len() as u64)),
        first: after.is_some().then(|| (link(None), "Newest")),
        next: page.next.map(|next| (link(Some(next.0.to_string())), "Older")),
    };
    Ok(Page::new("Audit")
        .lead(html! { "What people and programs did through the dashboard, the command line and " code { "Operator" } ", with their reasons." })
        .body(html! {
            (form(&ask.query))
            @if page.rows.is_empty() { (nothing(&shown, after.is_some())) } @else { (rows(&ask, &shown, &page.rows)) }
            (pager.markup())
        })
        .into())
}

async fn filter(ask: &Ask) -> Result<AuditFilter, Failure> {
    let word = |name| ask.query.get(name).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned);
    let instance = match word("instance") {
        Some(text) => match ask.operator.resolve(&text).await {
            Err(WfeError::WorkflowNotFound(_)) => {
                let query = Query { reference: Some(TextMatch::Exact(text.clone())), ..Query::default() };
                let found = ask.operator.list(&query, None, 1).await?.rows.into_iter().next();
                // The records of a deleted instance are still there.
                Some(found.map_or(text, |row| row.id))
            }
            id => Some(id?),
        },
        None => None,
    };
    Ok(AuditFilter { instance, actor: word("actor"), action: word("action"), ..AuditFilter::default() })
}

/// The position behind which the page begins.
pub(super) fn cursor(query: &Fields) -> Result<Option<Cursor>, Failure> {
    let wrong = |_| Failure::wrong("The address has no position that is one.");
    query.get("after").map(|after| after.parse().map(Cursor).map_err(wrong)).transpose()
}

fn form(query: &Fields) -> Markup {
    let action = query.get("action").unwrap_or("");
    let is_known = ActionKind::ALL.iter().any(|kind| kind.name() == action);
    html! {
        form.form role="search" aria-label="Filter" action="audit" {
            label.f { "Who" input name="actor" value=[query.get("actor")] maxlength="512" placeholder="Anybody" autocomplete="off"; }
            label.f {
                "What"
                select name="action" {
                    option value="" { "Anything" }
                    @for kind in ActionKind::ALL { option value=(kind.name()) selected[kind.name() == action] { (words(kind.name())) } }
                    @if !is_known && !action.is_empty() { option value=(action) selected { (action) } }
                }
            }
            label.f { "Instance" input name="instance" value=[query.get("instance")] maxlength="512" placeholder="Id or reference" autocomplete="off"; }
            button.b { "Filter" }
            @if FIELDS.iter().any(|name| query.get(name).is_some()) { a.b.bare href="audit" { "Show all" } }
        }
    }
}

/// The name of an action, as words.
fn words(action: &str) -> String {
    action.replace('_', " ")
}

fn rows(ask: &Ask, shown: &Fields, records: &[AuditRecord]) -> Markup {
    let with = |name: &str, value: &str| format!("audit{}", shown.with(name, Some(value)).link());
    let rows = html! {
        @for AuditRecord { time, audit, cursor } in records {
            tr id={ "a-" (cursor.0) } {
                th.nw scope="row" { a href=(with("actor", &audit.actor)) title="Only this actor" { (text(&audit.actor)) } }
                td.nw { a href=(with("action", &audit.action)) title="Only this action" { (text(&words(&audit.action))) } }
                td.nw {
                    @match &audit.instance {
                        Some(of) => a href=(ask.to(&format!("instances/{}", segment(of)))) { (id(of)) },
                        None => span.q { @if audit.bulk.is_some() { "many" } @else { "the store" } },
                    }
                }
                td.main {
                    div.two.w11 {
                        @match &audit.reason {
                            Some(reason) => span.clip title=(reason) { (text(reason)) },
                            None => span.q { "no reason given" },
                        }
                        (detail(&audit.detail))
                    }
                }
                td.q.p3 { (audit.face) }
                td.n.q { (since(ask.now, *time)) }
            }
        }
    };
    table(
        "Actions",
        false,
        &["Who", "What", "Instance", "Reason, and what else is known", "Through", "When"],
        &rows,
    )
}

fn detail(detail: &Value) -> Markup {
    if detail.is_null() {
        return html! {};
    }
    let whole = detail.to_string();
    let short: String = whole.chars().take(DETAIL).collect();
    html! { span.clip.q title=(whole) { code { (text(&short)) @if short.len() < whole.len() { "…" } } } }
}

fn nothing(shown: &Fields, is_later: bool) -> Markup {
    if is_later {
        return empty("No older action is recorded.", &html! { "Go back to the newest ones below." });
    }
    if shown.0.is_empty() {
        let way = html! { "What people do here, or with " code { "wfe" } ", is recorded with who did it and why: suspend an instance, and it stands here." };
        return empty("Nobody has acted yet.", &way);
    }
    let way = html! {
        "Take off a filter: "
        @for (at, (name, value)) in shown.0.iter().enumerate() {
            @if at > 0 { ", " }
            a href={ "audit" (shown.with(name, None).link()) } { (name) " " (text(value)) }
        }
        ", or " a href="audit" { "see all" } "."
    };
    empty("No recorded action matches.", &way)
}
