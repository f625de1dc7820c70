use std::collections::BTreeMap;

use serde::Serialize;
use wfe::definition::Outline;

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
    let outline = outline(&session, args).await;
    session.close().await;
    let outline = outline?;
    let (format, text) = match args.format {
        GraphFormat::Mermaid => ("mermaid", outline.to_mermaid()),
        GraphFormat::Dot => ("dot", outline.to_dot()),
    };
    let drawing = Drawing { definition: &outline.id, version: outline.version, format, text };
    app.out.object(&drawing, |_| drawing.text.clone())?;
    Ok(Exit::Done)
}

async fn outline(session: &Session, args: &Graph) -> Result<Outline> {
    let operator = &session.operator;
    if let Some(text) = &args.of {
        let status = operator.status(&operator.resolve(text).await?).await?;
        let mut outline = operator.outline(&status.definition, Some(status.version)).await?;
        let mut here: BTreeMap<&str, u64> = BTreeMap::new();
        for position in &status.positions {
            *here.entry(&position.step).or_default() += 1;
        }
        if let Some(cause) = &status.cause {
            here.entry(&cause.step).or_insert(0);
        }
        for (step, count) in here {
            mark(
                &mut outline,
                step,
                &match count {
                    0 => "failed".to_owned(),
                    1 => "here".to_owned(),
                    count => format!("{count} here"),
                },
            );
        }
        return Ok(outline);
    }
    let Some(DefinitionVersion { id, version }) = &args.definition else {
        return Err(Failure::usage("name a definition"));
    };
    let mut outline = operator.outline(id, *version).await?;
    if args.counts {
        let counts = operator.step_counts(id, outline.version).await?;
        for count in counts.rows.iter().filter(|count| count.active + count.failed > 0) {
            let failed = if count.failed > 0 { format!(", {} failed", count.failed) } else { String::new() };
            mark(&mut outline, &count.step, &format!("{} active{failed}", count.active));
        }
        if !counts.is_whole {
            note(&format!("only {} instances were looked at", counts.looked_at));
        }
    }
    Ok(outline)
}

/// Writes something into the box of a step.
fn mark(outline: &mut Outline, step: &str, text: &str) {
    if let Some(step) = outline.steps.iter_mut().find(|it| it.id == step) {
        let name = step.name.as_ref().unwrap_or(&step.id);
        step.name = Some(format!("{name} ({text})"));
    }
}
