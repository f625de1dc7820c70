//! Definitions: what is there, who has it, where do instances pile up, and where do they fail?

mod facts;
mod start;
mod versions;

use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};
use maud::{Markup, html};
use wfe::{
    definition::Outline,
    operator::{DefinitionView, Role},
};

use crate::{
    ask::{Ask, Fields, segment},
    html::{Page, ago, class, empty, icon, num, section, symbol, table, text},
    picture::{Graph, Target, took},
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Definitions", path: "definitions", key: 'd' }),
    routes: &[
        Route::page("/definitions", |ask| Box::pin(list(ask))),
        Route::page("/definitions/{id}/{version}", |ask| Box::pin(definition(ask))),
        Route::page("/definitions/{id}/{version}/svg", |ask| Box::pin(file(ask))).still(),
        Route::page("/definitions/{id}/{version}/start", |ask| Box::pin(start::form(ask))).still(),
        Route::action("/definitions/{id}/{version}/start", Role::Operator, |ask| Box::pin(start::start(ask))),
    ],
};

/// The address of a version, from the dashboard's own path.
fn path(id: &str, version: u32) -> String {
    format!("definitions/{}/{version}", segment(id))
}

/// The instances that this filter selects.
fn instances(ask: &Ask, words: &[String]) -> String {
    let fields = words.iter().map(|word| {
        let quoted = if word.contains([' ', '"']) { format!("{word:?}") } else { word.clone() };
        ("f".to_owned(), quoted)
    });
    format!("{}{}", ask.to("instances"), Fields(fields.collect()).link())
}

fn open(view: &DefinitionView) -> u64 {
    view.open.iter().map(|it| it.count).sum()
}

/// The id and the version in the path.
fn named(ask: &Ask) -> Result<(String, u32), Failure> {
    let id = ask.param("id")?.to_owned();
    let version = ask.param("version")?.parse();
    Ok((id, version.map_err(|_| Failure::wrong("A version is a whole number."))?))
}

async fn list(ask: Ask) -> Result<Reply, Failure> {
    let mut views = ask.operator.definitions().await?;
    views.sort_by(|a, b| a.id.cmp(&b.id).then(b.version.cmp(&a.version)));
    let missing = views.iter().filter(|it| it.hosts.is_empty() && open(it) > 0).count();
    let lead = match missing {
        0 => html! { "Each version that hosts have stored, or that open instances need." },
        1 => html! { "One version has open instances, and no living host has it." },
        n => html! { (n) " versions have open instances, and no living host has them." },
    };
    let rows = html! { @for view in &views { (row(&ask, view)) } };
    let body = if views.is_empty() {
        empty(
            "No definition is known.",
            &html! { "A host stores the outline of a definition when it starts." },
        )
    } else {
        table("Definitions", false, &["Definition", "Open", "Hosts", "First stored"], &rows)
    };
    Ok(Page::new("Definitions").lead(lead).body(body).into())
}

fn row(ask: &Ask, view: &DefinitionView) -> Markup {
    let (of, open) = (format!("definition:{}@{}", view.id, view.version), open(view));
    html! {
        tr {
            th.nw scope="row" {
                a href=(ask.to(&path(&view.id, view.version))) { (text(&view.id)) " " span.q { "v" (view.version) } }
            }
            td.nw {
                @if open > 0 {
                    a.cnts href=(instances(ask, &[of, "status:open".to_owned()])) {
                        @for count in view.open.iter().filter(|it| it.count > 0) {
                            span title=(count.state.name()) { (symbol(class(count.state), &num(count.count))) }
                        }
                    }
                } @else { span.q { "none" } }
            }
            td.nw {
                @match (view.hosts.len(), open) {
                    (0, 0) => span.q { "none" },
                    (0, _) => (symbol("due", "none has it")),
                    (n, _) => (n),
                }
            }
            td.nw.q {
                @if let Some(time) = view.first_stored { (ago(ask.now, time)) }
                @if view.outlines > 1 { ", changed under the same version" }
            }
        }
    }
}

async fn definition(ask: Ask) -> Result<Reply, Failure> {
    let (id, version) = named(&ask)?;
    let mut views: Vec<DefinitionView> = ask.operator.definitions().await?;
    views.retain(|it| it.id == id);
    views.sort_by_key(|it| std::cmp::Reverse(it.version));
    let outline = match ask.operator.outline(&id, Some(version)).await {
        Ok(outline) => outline,
        Err(wfe::WfeError::OutlineNotFound { .. }) if views.iter().any(|it| it.version == version) => {
            let why = html! { "No host has stored its outline. Start a host that has this version." };
            let body = html! { (versions::tabs(&ask, &views, version)) (empty("There is no picture of this version.", &why)) };
            return Ok(Page::new(format!("{id} v{version}")).body(body).into());
        }
        Err(error) => return Err(error.into()),
    };
    let (facts, sample) = facts::facts(&ask, &outline).await?;
    let graph = Graph::new(&outline, &facts);
    let of = format!("definition:{id}@{version}");
    let links = |target: Target<'_>| {
        Some(match target {
            Target::Here(_) => instances(&ask, &[of.clone(), "status:open".to_owned()]),
            Target::Failed(step) if step.len() < 400 => {
                instances(&ask, &[of.clone(), "status:failed".to_owned(), format!("failed-at:{step}")])
            }
            Target::Failed(_) => return None,
        })
    };
    let times = format!("times of the newest {sample}");
    let steps = html! { div.tw tabindex="0" role="region" aria-label="Steps" { (graph.table(&links)) } };
    let difference = versions::difference(&ask, &views, &outline).await?;
    Ok(Page::new(format!("{id} v{version}"))
        .head(head(&ask, &views, &outline))
        .tools(tools(&ask, &outline))
        .body(html! {
            (versions::tabs(&ask, &views, version))
            div.cols.wide {
                section.sec {
                    h2.vh #h-graph { "Graph" }
                    div.graph tabindex="0" role="region" aria-label="Graph" { (graph.svg(&links)) }
                    p.keyline {
                        span { "A box: the open instances of this version." }
                        span { (symbol("fail", "")) "Red: ended as failed there in the last 24 hours." }
                    }
                }
                div { (section("h-steps", "Steps", Some(&times), None, &steps)) (difference) }
            }
        })
        .into())
}

fn head(ask: &Ask, views: &[DefinitionView], outline: &Outline) -> Markup {
    let view = views.iter().find(|it| it.version == outline.version);
    html! {
        p.crumb { a href=(ask.to("definitions")) { "Definitions" } }
        div.ttl { h1 { (text(&outline.id)) " v" (outline.version) } }
        p.meta {
            @if let Some(view) = view {
                span { "open " b { (num(open(view))) } }
                span { "on " b { (view.hosts.len()) @if view.hosts.len() == 1 { " host" } @else { " hosts" } } }
                @if let Some(time) = view.first_stored { span { "stored " (ago(ask.now, time)) } }
            }
            span { "data " b { (text(&crate::picture::clean(&outline.data.type_name))) } }
            @if let Some(seconds) = outline.deadline_s {
                span { "deadline " b { (took(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())) } }
            }
        }
    }
}

fn tools(ask: &Ask, outline: &Outline) -> Markup {
    let here = ask.to(&path(&outline.id, outline.version));
    html! {
        div.bs {
            a.b.bare href={ (here) "/svg" } download={ (segment(&outline.id)) "-v" (outline.version) ".svg" } { (icon("save")) "SVG" }
            @if ask.visitor.role() >= Role::Operator { a.b.go href={ (here) "/start" } { "Start…" } }
        }
    }
}

/// The picture as a file, with what stands at its steps now.
async fn file(ask: Ask) -> Result<Reply, Failure> {
    let (id, version) = named(&ask)?;
    let outline = ask.operator.outline(&id, Some(version)).await?;
    let (facts, _) = facts::facts(&ask, &outline).await?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"))];
    Ok(Reply::Raw((kind, Graph::new(&outline, &facts).file()).into_response()))
}
