//! The versions of a definition, and how two of them differ.

use maud::{Markup, html};
use serde_json::{Map, Value};
use wfe::{
    definition::{Outline, OutlineStep},
    operator::DefinitionView,
};

use crate::{
    ask::Ask,
    html::{num, section, text},
    picture::clean,
    reply::Failure,
};

/// Rows of the difference.
const ROWS: usize = 200;

pub(super) fn tabs(ask: &Ask, views: &[DefinitionView], version: u32) -> Markup {
    html! {
        ul.tabs aria-label="Versions" {
            @for view in views.iter().take(50) {
                li {
                    a href=(ask.to(&super::path(&view.id, view.version))) aria-current=[(view.version == version).then_some("page")] {
                        "v" (view.version) span.num { (num(super::open(view))) }
                    }
                }
            }
        }
    }
}

/// How this version differs from the one that the query names with `against`, or from the one before it.
pub(super) async fn difference(
    ask: &Ask,
    views: &[DefinitionView],
    outline: &Outline,
) -> Result<Markup, Failure> {
    let wanted = ask.query.get("against").map(str::parse::<u32>);
    let wanted = wanted.transpose().map_err(|_| Failure::wrong("A version is a whole number."))?;
    let before =
        views.iter().filter(|it| it.version < outline.version && it.outlines > 0).map(|it| it.version).max();
    let Some(against) = wanted.or(before) else { return Ok(html! {}) };
    let other = ask.operator.outline(&outline.id, Some(against)).await?;
    let rows = rows(&other, outline)?;
    let title = format!("v{} against v{against}", outline.version);
    let body = html! {
        @if rows.is_empty() { p.q { "Their outlines are equal; their code may differ." } }
        dl.diff {
            @for (step, change) in rows.iter().take(ROWS) { dt { (text(&clean(step))) } dd { (change) } }
        }
        @if rows.len() > ROWS { p.q { "and " (num((rows.len() - ROWS) as u64)) " more changes" } }
    };
    Ok(section("h-diff", &title, None, None, &body))
}

fn fields(value: &OutlineStep) -> Result<Map<String, Value>, Failure> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    Ok(value.map_err(wfe::WfeError::from)?)
}

/// Each step that is new, was removed or has changed, with what changed.
fn rows(old: &Outline, new: &Outline) -> Result<Vec<(String, Markup)>, Failure> {
    let mut rows = vec![];
    for step in old.steps.iter().filter(|it| new.step(&it.id).is_none()) {
        rows.push((step.id.clone(), html! { del { "removed" } " " (step.kind) }));
    }
    for step in &new.steps {
        let Some(was) = old.step(&step.id) else {
            rows.push((step.id.clone(), html! { ins { "new" } " " (clean(&step.kind)) }));
            continue;
        };
        let (was, is) = (fields(was)?, fields(step)?);
        let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for name in names.into_iter().filter(|name| was.get(*name) != is.get(*name)) {
            let shown = |of: &Map<String, Value>| {
                of.get(name).map(|it| clean(&it.as_str().map_or_else(|| it.to_string(), str::to_owned)))
            };
            let change = html! {
                (name.replace('_', " ")) " "
                @if let Some(was) = shown(&was) { del { (was) } }
                " → "
                @match shown(&is) { Some(is) => ins { (is) }, None => span.q { "none" } }
            };
            rows.push((step.id.clone(), change));
        }
    }
    Ok(rows)
}
