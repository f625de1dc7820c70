//! Every attempt that has failed, also those that were retried.

use maud::{Markup, html};
use wfe::traits::{Cursor, ErrorRecord, Page as Rows};

use super::groups::tabs;
use crate::{
    ask::Ask,
    html::{Page, Pager, ago, empty, id, num, text},
    pages::parts::{cursor, instance_page as to, short},
    reply::{Failure, Reply},
};

/// The number of attempts on a page.
const ROWS: usize = 50;

pub(super) async fn page(ask: &Ask) -> Result<Reply, Failure> {
    let after = cursor(ask)?;
    let page = ask.operator.errors(None, after, ROWS).await?;
    Ok(show(ask, &page).into())
}

fn show(ask: &Ask, Rows { rows, next }: &Rows<ErrorRecord>) -> Page {
    let is_first = ask.query.get("after").is_none();
    let here = format!("{}?tab=attempts", ask.to("failures"));
    Page::new("Every failed attempt")
        .lead(html! { "Newest first. An attempt that is retried stands here too; only what has failed for good is under " a href=(ask.to("failures")) { "open" } "." })
        .body(html! {
            (tabs(ask, "attempts"))
            @if rows.is_empty() {
                (empty(if is_first { "No attempt has failed." } else { "No earlier attempt has failed." }, &html! {
                    "Each attempt of a step that fails is kept, until its instance is purged."
                }))
            } @else {
                div.tw tabindex="0" role="region" aria-label="Failed attempts" {
                    table.t {
                        thead {
                            tr {
                                th scope="col" { "When" }
                                th scope="col" { div.two.w11 { "Step" span.p2 { "Error" } } }
                                th.n.p2 scope="col" { "Attempt" }
                                th.n scope="col" { "Instance" }
                            }
                        }
                        tbody { @for record in rows { (row(ask, record)) } }
                    }
                }
            }
            (Pager {
                says: format!("{} shown.", num(rows.len() as u64)),
                first: (!is_first).then(|| (here.clone(), "Newest")),
                next: next.map(|Cursor(next)| (format!("{here}&after={next}"), "Older")),
            }.markup())
        })
}

fn row(ask: &Ask, ErrorRecord { failure, .. }: &ErrorRecord) -> Markup {
    let instance = &failure.error.workflow_id;
    let message = short(&failure.message());
    let step = if failure.step.is_empty() { "no step" } else { &failure.step };
    html! {
        tr {
            td.q { (ago(ask.now, failure.error.error_time)) }
            td.main {
                div.two.w11 {
                    span.nw.strong.clip { (text(step)) }
                    span.clip title=(message) {
                        @if !failure.code.is_empty() { code { (text(&failure.code)) } " " }
                        span.q { (text(&message)) }
                    }
                }
            }
            td.n.q.p2 { @if failure.attempt > 0 { (num(u64::from(failure.attempt))) } }
            td.n { a href=(to(ask, instance)) { (id(instance)) } }
        }
    }
}
