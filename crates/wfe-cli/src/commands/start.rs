use serde_json::Value;
use wfe::operator::{NewInstance, StartedView};

use crate::{
    app::App,
    args::Start,
    failure::{Exit, Failure, Result},
    input,
};

pub(crate) async fn start(app: &App, args: &Start) -> Result<Exit> {
    let data = match &args.data {
        Some(data) => input::data(data, &app.interrupt).await?,
        None => Value::Null,
    };
    let mut start = NewInstance::new(&args.definition.id, data);
    if let Some(version) = args.definition.version {
        start = start.version(version);
    }
    if let Some(reference) = &args.reference {
        start = start.reference(reference);
    }
    if let Some(name) = &args.name {
        start = start.name(name);
    }
    for (key, value) in &args.attr {
        start = start.attribute(key, value.clone());
    }
    let session = app.act(args.reason.text()).await?;
    let started = session.operator.start(start).await;
    session.close().await;
    told(app, &args.definition.id, &started.map_err(Failure::of_action)?)
}

/// Tells which instance was started.
pub(super) fn told(app: &App, definition: &str, started: &StartedView) -> Result<Exit> {
    let StartedView { id, version, is_new, .. } = started;
    app.out.object(started, |out| match (out.is_for_people(), is_new) {
        (true, true) => format!("started {id}; a host that has {definition} v{version} runs it\n"),
        (true, false) => format!("{id} was started with this reference before\n"),
        (false, _) => format!("{id}\t{}\n", if *is_new { "new" } else { "known" }),
    })?;
    Ok(Exit::Done)
}
