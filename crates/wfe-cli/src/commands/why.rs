use anstyle::{AnsiColor, Style};
use serde::Serialize;
use wfe::{
    operator::{EventView, Explanation, Hint, Stuck},
    traits::{OpenWait, StoredEvent},
};

use crate::{
    app::App,
    args::Why,
    failure::{Exit, Failure, Result},
    output::{Cell, Listed, Out, note, safe},
};

pub(crate) async fn why(app: &App, args: &Why) -> Result<Exit> {
    let limit = usize::from(args.limit);
    if let [name, key] = &*args.event {
        let session = app.look().await?;
        let view = session.operator.waiting_for(name, key, limit).await;
        session.close().await;
        return event(app, &view?);
    }
    if args.stuck {
        app.out.chosen::<Stands>()?;
        let session = app.look().await?;
        let stuck = session.operator.stuck(limit).await;
        session.close().await;
        return all_stuck(app, stuck?);
    }
    let Some(id) = &args.id else {
        return Err(Failure::usage("name an instance, or use --event or --stuck"));
    };
    let session = app.look().await?;
    let explained = async {
        let id = session.operator.resolve(id).await?;
        session.operator.why(&id).await
    };
    let explained = explained.await;
    session.close().await;
    let explanation = explained?;
    app.out.object(&explanation, |out| text(&explanation, out))?;
    Ok(Exit::Done)
}

/// The sentence, then where the instance stands, what can be done, and what it waits for.
pub(crate) fn text(explanation: &Explanation, out: &Out) -> String {
    let mut text = String::new();
    write(explanation, out, 0, &mut text);
    text
}

fn write(explanation: &Explanation, out: &Out, depth: usize, text: &mut String) {
    let people = out.is_for_people();
    let indent = "  ".repeat(if people { depth } else { 0 });
    let headline = safe::one_line(&explanation.headline);
    let headline = if explanation.is_stuck {
        out.painted(&headline, AnsiColor::Yellow.on_default().bold())
    } else {
        out.painted(&headline, Style::new().bold())
    };
    if people {
        text.extend([&*indent, &headline, "\n"]);
    } else {
        line(out, text, "", if depth == 0 { "why" } else { "chain" }, &headline);
        line(out, text, "", "code", explanation.code.name());
    }
    for at in &explanation.at {
        line(out, text, &indent, "at", &safe::one_line(at));
    }
    for Hint { text: hint, command, .. } in &explanation.hints {
        let hint = safe::one_line(hint);
        match command {
            Some(command) => {
                let command = out.painted(&safe::one_line(command), AnsiColor::Cyan.on_default());
                let gap = if people { "   " } else { "\t" };
                line(out, text, &indent, "ends", &format!("{command}{gap}{hint}"));
            }
            None => line(out, text, &indent, "note", &hint),
        }
    }
    for next in &explanation.chain {
        write(next, out, depth + 1, text);
    }
}

fn line(out: &Out, text: &mut String, indent: &str, label: &str, value: &str) {
    if out.is_for_people() {
        let gap = " ".repeat(6_usize.saturating_sub(label.len()));
        text.extend([indent, "  ", label, &gap, value, "\n"]);
    } else {
        text.extend([label, "\t", value, "\n"]);
    }
}

/// An instance that stands although it should not.
#[derive(Serialize)]
#[serde(transparent)]
struct Stands(Stuck);

impl Listed for Stands {
    const COLUMNS: &'static [&'static str] =
        &["code", "id", "reference", "definition", "since", "headline", "command"];
    const SHOWN: usize = 7;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let Self(it) = self;
        match column {
            "code" => Cell::text(it.explanation.code.name()),
            "id" => Cell::text(&it.id),
            "reference" => Cell::maybe(it.reference.as_deref()),
            "definition" => Cell::text(format!("{}@{}", it.definition, it.version)),
            "since" => out.time(it.explanation.since),
            "headline" => Cell::text(&it.explanation.headline),
            "command" => Cell::maybe(it.explanation.hints.iter().find_map(|hint| hint.command.as_deref())),
            _ => Cell::default(),
        }
    }
}

fn all_stuck(app: &App, stuck: Vec<Stuck>) -> Result<Exit> {
    if stuck.is_empty() {
        app.out.list::<Stands>(&[])?;
        note("nothing is stuck");
        return Ok(Exit::Nothing);
    }
    if app.out.is_for_people() && app.out.columns.is_empty() {
        let texts: Vec<String> = stuck.iter().map(|it| text(&it.explanation, &app.out)).collect();
        app.out.show(&texts.join("\n"))?;
    } else {
        app.out.list(&stuck.into_iter().map(Stands).collect::<Vec<_>>())?;
    }
    Ok(Exit::Done)
}

/// Who waits for an event.
#[derive(Serialize)]
#[serde(transparent)]
struct Waiter(OpenWait);

impl Listed for Waiter {
    const COLUMNS: &'static [&'static str] = &["instance", "definition", "since", "pointer"];
    const SHOWN: usize = 4;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let Self(it) = self;
        match column {
            "instance" => Cell::text(&it.subscription.workflow_id),
            "definition" => Cell::text(format!("{}@{}", it.definition, it.version)),
            "since" => out.time(Some(it.subscription.subscribe_as_of)),
            "pointer" => Cell::text(&it.subscription.execution_pointer_id),
            _ => Cell::default(),
        }
    }
}

/// A stored event.
#[derive(Serialize)]
#[serde(transparent)]
struct Stored(StoredEvent);

impl Listed for Stored {
    const COLUMNS: &'static [&'static str] = &["event", "time", "state", "data"];
    const SHOWN: usize = 4;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        let Self(it) = self;
        match column {
            "event" => Cell::text(&it.event.id),
            "time" => out.time(Some(it.event.event_time)),
            "state" => Cell::text(match (it.is_consumed, it.position) {
                (true, _) => "consumed",
                (false, None) => "not due yet",
                (false, Some(_)) => "not consumed",
            }),
            "data" => Cell::text(it.event.event_data.to_string()),
            _ => Cell::default(),
        }
    }
}

fn event(app: &App, view: &EventView) -> Result<Exit> {
    let waits: Vec<Waiter> = view.waits.iter().cloned().map(Waiter).collect();
    let stored: Vec<Stored> = view.stored.iter().cloned().map(Stored).collect();
    app.out.object(view, |out| {
        if !out.is_for_people() {
            return prefixed("waits", &out.part(&waits)) + &prefixed("stored", &out.part(&stored));
        }
        let name = format!("{}/{}", safe::one_line(&view.name), safe::one_line(&view.key));
        let who = match waits.len() {
            0 => format!("No wait is open for the event {name}.\n"),
            1 => format!("1 wait is open for the event {name}:\n"),
            number => format!("{number} waits are open for the event {name}:\n"),
        };
        let what = match stored.len() {
            0 => "\nNo event with this name and key is stored.\n".to_owned(),
            1 => "\n1 event is stored:\n".to_owned(),
            number => format!("\n{number} events are stored, the newest first:\n"),
        };
        let part = |rows: String, is_empty| if is_empty { String::new() } else { rows };
        who + &part(out.part(&waits), waits.is_empty()) + &what + &part(out.part(&stored), stored.is_empty())
    })?;
    Ok(if waits.is_empty() && stored.is_empty() { Exit::Nothing } else { Exit::Done })
}

fn prefixed(prefix: &str, lines: &str) -> String {
    lines.lines().flat_map(|line| [prefix, "\t", line, "\n"]).collect()
}
