//! Writes the table that tells the same as the picture.

use maud::{Markup, html};

use super::{Graph, Links, StepFacts, Target, layout::Layout, svg::says};
use crate::picture::{State, clean, icon, took};

/// A row: the step, where it stands, and its indentation.
struct Row {
    step: usize,
    label: String,
    depth: usize,
}

pub(super) fn write(graph: &Graph<'_>, links: Links<'_>) -> Markup {
    let mut rows = vec![];
    collect(&graph.layout, 0, 0, &mut rows);
    html! {
        table.t {
            thead {
                tr {
                    th scope="col" { "Step" }
                    th scope="col" { "Here now" }
                    th.n scope="col" { "Failed" }
                    th.n.p2 scope="col" { "p50" }
                    th.n scope="col" { "p95" }
                }
            }
            tbody { @for row in &rows { (write_row(graph, links, row)) } }
        }
    }
}

fn write_row(graph: &Graph<'_>, links: Links<'_>, row: &Row) -> Markup {
    let layout = &graph.layout;
    let step = &layout.steps[row.step];
    let nothing = StepFacts::default();
    let facts = graph.facts(row.step).unwrap_or(&nothing);
    let id = &step.source.id;
    let says = clean(&says(step, |n| layout.steps[n].name()));
    let how = if row.label.is_empty() { says } else { format!("{} · {says}", row.label) };
    let indent = (row.depth > 0).then(|| format!("ind{}", row.depth.min(6)));
    let symbol = if step.compensates.is_some() { "undo" } else { step.symbol };
    let name = clean(step.name());
    let selected = (graph.facts.selected.as_ref() == Some(id)).then_some("on");
    html! {
        tr class=[selected] {
            th.nw scope="row" {
                span class={ "st kind" @if let Some(indent) = indent { " " (indent) } } {
                    (icon(symbol))
                    @match links(Target::Here(id)) {
                        Some(url) => a href=(url) title=(how) { (name) },
                        None => span title=(how) { (name) },
                    }
                    " "
                    span.q { (how) }
                }
            }
            td.nw {
                span.cnts { @for (state, count) in facts.here.iter().filter(|it| it.1 > 0) { (state.count(*count)) } }
            }
            td.n {
                @if facts.failed > 0 {
                    @let count = State::Failed.count(facts.failed);
                    @match links(Target::Failed(id)) { Some(url) => a href=(url) { (count) }, None => (count) }
                }
            }
            td.n.p2 { @if let Some(p50) = facts.p50 { (took(p50)) } }
            td.n { @if let Some(p95) = facts.p95 { (took(p95)) } }
        }
    }
}

/// The steps in the order of the picture, compensations after the steps of their sequence.
fn collect(layout: &Layout<'_>, c: usize, depth: usize, rows: &mut Vec<Row>) {
    let column = &layout.columns[c];
    for (n, &i) in column.items.iter().enumerate() {
        let item = &layout.items[i];
        let label = if n == 0 { clean(&column.label) } else { String::new() };
        rows.push(Row { step: item.step, label, depth });
        item.columns.iter().for_each(|&c| collect(layout, c, depth + 1, rows));
    }
    for c in column.items.iter().filter_map(|&i| layout.items[i].compensation) {
        collect(layout, c, depth, rows);
    }
}
