use std::collections::BTreeMap;

use serde::Serialize;
use wfe::{definition::Outline, status::State as InstanceState};
use wfe_web::picture::{self, Facts, State, StepFacts};

use crate::{
    app::{App, Session},
    args::{DefinitionVersion, Graph, GraphFormat},
    failure::{Exit, Failure, Result},
    output::note,
};

/// A drawing.
#[derive(Serialize)]
struct Drawing<'d> {
    definition: &'d str,
    version: u32,
    format: &'static str,
    text: String,
}

pub(crate) async fn graph(app: &App, args: &Graph) -> Result<Exit> {
    let session = app.look().await?;
    let found = outline(&session, args).await;
    session.close().await;
    let (mut outline, facts) = found?;
    let (format, text) = match args.format {
        GraphFormat::Svg => ("svg", picture::Graph::new(&outline, &facts).file()),
        format => {
            facts.steps.iter().for_each(|(step, facts)| mark(&mut outline, step, facts, args.counts));
            match format {
                GraphFormat::Dot => ("dot", outline.to_dot()),
                _ => ("mermaid", outline.to_mermaid()),
            }
        }
    };
    let drawing = Drawing { definition: &outline.id, version: outline.version, format, text };
    app.out.object(&drawing, |_| drawing.text.clone())?;
    Ok(Exit::Done)
}

async fn outline(session: &Session, args: &Graph) -> Result<(Outline, Facts)> {
    let operator = &session.operator;
    let mut facts = Facts { failed_when: "for good", ..Facts::default() };
    if let Some(text) = &args.of {
        let status = operator.status(&operator.resolve(text).await?).await?;
        let outline = operator.outline(&status.definition, Some(status.version)).await?;
        let mut here: BTreeMap<(&str, State), u64> = BTreeMap::new();
        for position in &status.positions {
            *here.entry((&position.step, State::at(&position.waits))).or_default() += 1;
        }
        for ((step, state), count) in here {
            facts.steps.entry(step.to_owned()).or_default().here.push((state, count));
        }
        if let Some(cause) = &status.cause {
            let facts = facts.steps.entry(cause.step.clone()).or_default();
            facts.failed = u64::from(status.state == InstanceState::Failed);
        }
        return Ok((outline, facts));
    }
    let Some(DefinitionVersion { id, version }) = &args.definition else {
        return Err(Failure::usage("name a definition"));
    };
    let outline = operator.outline(id, *version).await?;
    if args.counts {
        let counts = operator.step_counts(id, outline.version).await?;
        for count in counts.rows.iter().filter(|count| count.active + count.failed > 0) {
            let kind = outline.step(&count.step).map_or("", |step| &step.kind);
            let here = vec![(State::active(kind), count.active)];
            let known = StepFacts { here, failed: count.failed, ..StepFacts::default() };
            facts.steps.insert(count.step.clone(), known);
        }
        if !counts.is_whole {
            note(&format!("only {} instances were looked at", counts.looked_at));
        }
    }
    Ok((outline, facts))
}

/// Writes into the box of a step how many instances are there.
fn mark(outline: &mut Outline, step: &str, facts: &StepFacts, is_count: bool) {
    let here: u64 = facts.here.iter().map(|it| it.1).sum();
    let text = match (is_count, here, facts.failed) {
        (true, active, 0) => format!("{active} active"),
        (true, active, failed) => format!("{active} active, {failed} failed"),
        (false, 0, _) => "failed".to_owned(),
        (false, 1, _) => "here".to_owned(),
        (false, count, _) => format!("{count} here"),
    };
    if let Some(step) = outline.steps.iter_mut().find(|it| it.id == step) {
        let name = step.name.as_ref().unwrap_or(&step.id);
        step.name = Some(format!("{name} ({text})"));
    }
}
