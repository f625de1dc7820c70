use serde::Serialize;
use wfe::{operator::NewEvent, traits::Published};

use crate::{
    app::App,
    args::Publication,
    failure::{Exit, Failure, Result},
    input,
};

/// What became of an event.
#[derive(Serialize)]
struct Told<'p> {
    name: &'p str,
    key: &'p str,
    #[serde(flatten)]
    published: &'p Published,
}

pub(crate) async fn publish(app: &App, args: &Publication) -> Result<Exit> {
    let mut event = NewEvent::new(&args.name, &args.key);
    if let Some(data) = &args.data {
        event = event.data(input::data(data, &app.interrupt).await?);
    }
    if let Some(id) = &args.id {
        event = event.id(id);
    }
    if let Some(time) = app.ahead(args.effective)? {
        event = event.effective(time);
    }
    let session = app.act(args.reason.text()).await?;
    let published = session.operator.publish(event).await;
    session.close().await;
    let published = published.map_err(Failure::of_action)?;
    let told = Told { name: &args.name, key: &args.key, published: &published };
    app.out.object(&told, |out| text(out.is_for_people(), &published))?;
    Ok(Exit::Done)
}

fn text(is_for_people: bool, published: &Published) -> String {
    let Published { id, is_new, is_consumed, waits, .. } = published;
    if !is_for_people {
        let known = if *is_new { "new" } else { "known" };
        return format!("{id}\t{known}\t{waits}\n");
    }
    let waits = match waits {
        0 => "nobody waits for it yet".to_owned(),
        1 => "1 wait gets it".to_owned(),
        &Published::MANY => format!("{} or more waits get it", Published::MANY),
        waits => format!("{waits} waits get it"),
    };
    match (is_new, is_consumed) {
        (true, _) => format!("published {id}: {waits}\n"),
        (false, true) => format!("{id} was published before, and was received\n"),
        (false, false) => format!("{id} was published before: {waits}\n"),
    }
}
