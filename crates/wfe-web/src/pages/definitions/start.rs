//! Starting an instance: data as JSON, filled with those of the newest instance.

use maud::html;
use serde_json::Value;
use wfe::{
    operator::{NewInstance, hidden},
    traits::Query,
};

use super::{named, path};
use crate::{
    ask::{Ask, segment},
    html::{Page, Sure, text},
    reply::{Failure, Reply},
};

/// The longest data that a form is filled with, in bytes.
const LONGEST: usize = 64 * 1024;

pub(super) async fn form(ask: Ask) -> Result<Reply, Failure> {
    let (id, version) = named(&ask)?;
    let outline = ask.operator.outline(&id, Some(version)).await?;
    let example = example(&ask, &id).await?;
    let here = ask.to(&path(&id, version));
    Ok(Page::new(format!("Start {id} v{version}"))
        .lead(html! { "Its data are a " code { (text(&crate::picture::clean(&outline.data.type_name))) } "." })
        .body(html! {
            form.sure method="post" action={ (here) "/start" } {
                label.f {
                    "Data, as JSON"
                    textarea name="data" rows="12" cols="60" spellcheck="false" required { (example.as_deref().unwrap_or("null")) }
                }
                @if example.is_some() { p.q { "These are the data of the newest instance." } }
                div.form {
                    label.f { "Reference, which makes the start idempotent" input name="reference" autocomplete="off" maxlength="512"; }
                    div.bs { button.b.go { "Start…" } a.b href=(here) { "Back" } }
                }
            }
        })
        .into())
}

/// The data of the newest instance. Data with something hidden in them are no example.
async fn example(ask: &Ask, id: &str) -> Result<Option<String>, Failure> {
    let query = Query { definition: Some(id.to_owned()), ..Query::default() };
    let newest = ask.operator.list(&query, None, 1).await?;
    let Some(newest) = newest.rows.first() else { return Ok(None) };
    let data = ask.operator.data(&newest.id).await?;
    let (text, hidden) = (data.to_string(), hidden().to_string());
    if text.len() > LONGEST || text.contains(&hidden) {
        return Ok(None);
    }
    Ok(serde_json::to_string_pretty(&data).ok())
}

pub(super) async fn start(ask: Ask) -> Result<Reply, Failure> {
    let (id, version) = named(&ask)?;
    let data = ask.form.get("data").unwrap_or("null");
    let data: Value = serde_json::from_str(data)
        .map_err(|error| Failure::wrong(format!("The data are not JSON: {error}.")))?;
    let reference = ask.form.get("reference");
    if ask.form.get("sure").is_none() {
        let here = ask.to(&path(&id, version));
        let sure = Sure {
            verb: format!("Start {id} v{version}"),
            what: html! {
                "Starts a new instance" @if let Some(reference) = reference { ", unless there is one with the reference " b { (text(reference)) } }
                ". A host with this version runs it."
            },
            fields: &ask.form,
            action: format!("{here}/start"),
            back: format!("{here}/start"),
            ..Sure::default()
        };
        return Ok(sure.page().into());
    }
    let operator = ask.acting();
    let mut new = NewInstance::new(&id, data).version(version);
    if let Some(reference) = reference {
        new = new.reference(reference);
    }
    let started = operator.start(new).await?;
    Ok(Reply::See(ask.to(&format!("instances/{}", segment(&started.id)))))
}
