use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use wfe::{
    definition::{Outline, OutlineStep},
    operator::DefinitionView,
};

use crate::{
    app::App,
    args::Definitions,
    failure::{Exit, Result},
    output::{Cell, Listed, Out, Sheet, note, safe},
};

impl Listed for DefinitionView {
    const COLUMNS: &'static [&'static str] =
        &["definition", "version", "open", "hosts", "first_stored", "outlines", "states"];
    const SHOWN: usize = 6;

    fn cell(&self, column: &str, out: &Out) -> Cell {
        match column {
            "definition" => Cell::text(&self.id),
            "version" => Cell::number(self.version),
            "open" => Cell::number(self.open.iter().map(|count| count.count).sum::<u64>()),
            "hosts" => Cell::number(self.hosts.len()),
            "first_stored" => out.time(self.first_stored),
            "outlines" => Cell::number(self.outlines),
            "states" => {
                let counts: Vec<String> =
                    self.open.iter().map(|count| format!("{} {}", count.count, count.state)).collect();
                Cell::text(counts.join(", "))
            }
            _ => Cell::default(),
        }
    }
}

/// A step of a definition.
#[derive(Serialize)]
#[serde(transparent)]
struct Step(OutlineStep);

impl Listed for Step {
    const COLUMNS: &'static [&'static str] =
        &["step", "kind", "next", "in", "awaits", "retries", "timeout", "on_failure", "name", "to"];
    const SHOWN: usize = 8;

    fn cell(&self, column: &str, _: &Out) -> Cell {
        let Self(step) = self;
        match column {
            "step" => Cell::text(&step.id),
            "kind" => Cell::text(&step.kind),
            "next" => Cell::maybe(step.next.as_deref()),
            "in" => Cell::maybe(step.container.as_deref()),
            "awaits" => Cell::maybe(step.awaits.as_deref()),
            "retries" => match &step.retry {
                None => Cell::default(),
                Some(retry) if retry.limit == u32::MAX => Cell::text("no limit"),
                Some(retry) => Cell::number(retry.limit),
            },
            "timeout" => Cell::maybe(step.timeout_s.map(|seconds| format!("{seconds} s"))),
            "on_failure" => Cell::text(word(&step.on_failure)),
            "name" => Cell::maybe(step.name.as_deref()),
            "to" => Cell::maybe(step.to.as_deref()),
            _ => Cell::default(),
        }
    }
}

/// The word for a value whose JSON is a text. A value whose JSON is more than that has no word; `--json` shows it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

pub(crate) async fn definitions(app: &App, args: &Definitions) -> Result<Exit> {
    let Some(definition) = &args.definition else {
        app.out.chosen::<DefinitionView>()?;
        let session = app.look().await?;
        let views = session.operator.definitions().await;
        session.close().await;
        let views = views?;
        app.out.list(&views)?;
        if views.is_empty() {
            note("no definitions: no host has stored one, and no instance is open");
        }
        return Ok(Exit::Done);
    };
    let session = app.look().await?;
    let outlines = async {
        let operator = &session.operator;
        let first = args.diff.first().copied().or(definition.version);
        let one = operator.outline(&definition.id, first).await?;
        let other = match args.diff.get(1) {
            Some(version) => Some(operator.outline(&definition.id, Some(*version)).await?),
            None => None,
        };
        Ok((one, other))
    };
    let outlines: Result<_> = outlines.await;
    session.close().await;
    match outlines? {
        (one, None) => app.out.object(&one, |out| text(&one, out))?,
        (one, Some(other)) => {
            let difference = Difference::between(&one, &other)?;
            app.out.object(&difference, |out| difference.text(out))?;
        }
    }
    Ok(Exit::Done)
}

fn text(outline: &Outline, out: &Out) -> String {
    let mut sheet = Sheet::default();
    sheet.field("definition", Cell::text(&outline.id));
    sheet.field("version", Cell::number(outline.version));
    sheet.field("data", Cell::text(&outline.data.type_name));
    sheet.maybe("deadline", outline.deadline_s.map(|seconds| format!("{seconds} s")));
    let steps: Vec<Step> = outline.steps.iter().cloned().map(Step).collect();
    format!("{}\n{}", sheet.text(out), out.part(&steps))
}

/// How two versions of a definition differ.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    definition: String,
    from: u32,
    to: u32,
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<Change>,
}

/// A field that differs.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    /// The step; missing for a field of the definition itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    field: String,
    from: Value,
    to: Value,
}

impl Difference {
    fn between(one: &Outline, other: &Outline) -> Result<Self> {
        let has = |outline: &Outline, id: &str| outline.step(id).is_some();
        let only = |these: &Outline, those: &Outline| -> Vec<String> {
            let ids = these.steps.iter().map(|step| &step.id);
            ids.filter(|id| !has(those, id)).cloned().collect()
        };
        let mut changed = changes(None, &head(one)?, &head(other)?);
        for step in &one.steps {
            if let Some(same) = other.step(&step.id) {
                changed.extend(changes(Some(&step.id), &fields(step)?, &fields(same)?));
            }
        }
        Ok(Self {
            definition: one.id.clone(),
            from: one.version,
            to: other.version,
            added: only(other, one),
            removed: only(one, other),
            changed,
        })
    }

    fn text(&self, out: &Out) -> String {
        let mut text = String::new();
        let gap = if out.is_for_people() { " " } else { "\t" };
        let mut line = |sign: &str, what: &str| {
            text.extend([sign, gap, &safe::one_line(what), "\n"]);
        };
        for step in &self.removed {
            line("-", step);
        }
        for step in &self.added {
            line("+", step);
        }
        for Change { step, field, from, to } in &self.changed {
            let step = step.as_deref().unwrap_or(&self.definition);
            line("~", &format!("{step}: {field}: {from} → {to}"));
        }
        if text.is_empty() && out.is_for_people() {
            text = format!(
                "the outlines of {} v{} and v{} are equal\n",
                safe::one_line(&self.definition),
                self.from,
                self.to
            );
        }
        text
    }
}

/// The fields of its JSON.
fn fields(value: &impl Serialize) -> Result<Map<String, Value>> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    Ok(value.map_err(wfe::WfeError::from)?)
}

/// What an outline says besides its steps and its version.
fn head(outline: &Outline) -> Result<Map<String, Value>> {
    let mut head = fields(outline)?;
    head.remove("steps");
    head.remove("version");
    Ok(head)
}

fn changes(step: Option<&str>, one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<Change> {
    let fields: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let change = |field: &String| {
        // A field that is left out has no value: null.
        let value = |of: &Map<String, Value>| of.get(field).cloned().unwrap_or_default();
        let (from, to) = (value(one), value(other));
        (from != to).then(|| Change { step: step.map(str::to_owned), field: field.clone(), from, to })
    };
    fields.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use wfe::definition::{Retry, WorkflowBuilder};

    use super::*;

    #[test]
    fn versions_differ_by_their_steps_and_their_settings() {
        let one = WorkflowBuilder::<u32>::new("count", 1)
            .then("one", async |_, _| Ok(()))
            .then("two", async |_, _| Ok(()))
            .build()
            .unwrap()
            .outline();
        let other = WorkflowBuilder::<u32>::new("count", 2)
            .then("one", async |_, _| Ok(()))
            .retry(Retry::exponential().attempts(3))
            .then("three", async |_, _| Ok(()))
            .build()
            .unwrap()
            .outline();
        let difference = Difference::between(&one, &other).unwrap();
        assert_eq!(
            (&*difference.removed, &*difference.added),
            (&["two".to_owned()][..], &["three".to_owned()][..])
        );
        let fields: Vec<&str> = difference.changed.iter().map(|change| &*change.field).collect();
        assert_eq!(fields, ["next", "retry"]);
        assert_eq!(Difference::between(&one, &one).unwrap().changed, []);
    }
}
