use anstyle::AnsiColor;
use serde::Serialize;
use wfe::operator::{Finding, Weight};

use crate::{
    app::App,
    failure::{Exit, Result},
    output::{Cell, Listed, Out, note},
};

#[derive(Serialize)]
#[serde(transparent)]
struct Row(Finding);

impl Listed for Row {
    const COLUMNS: &'static [&'static str] = &["weight", "code", "text", "advice"];
    const SHOWN: usize = 4;

    fn cell(&self, column: &str, _: &Out) -> Cell {
        let Self(finding) = self;
        match column {
            "weight" => {
                let (symbol, word, colour) = looks(finding.weight);
                Cell::both(format!("{symbol} {word}"), word).styled(colour.on_default())
            }
            "code" => Cell::text(finding.code),
            "text" => Cell::text(&finding.text),
            "advice" => Cell::text(&finding.advice),
            _ => Cell::default(),
        }
    }
}

fn looks(weight: Weight) -> (char, &'static str, AnsiColor) {
    match weight {
        Weight::Error => ('✕', "error", AnsiColor::Red),
        Weight::Warning => ('▲', "warning", AnsiColor::Yellow),
        Weight::Note => ('·', "note", AnsiColor::Cyan),
    }
}

pub(crate) async fn doctor(app: &App) -> Result<Exit> {
    app.out.chosen::<Row>()?;
    let session = app.look().await?;
    let findings = session.operator.doctor().await;
    session.close().await;
    let rows: Vec<Row> = findings?.into_iter().map(Row).collect();
    app.out.list(&rows)?;
    if rows.is_empty() {
        note("nothing is wrong");
    }
    let is_broken = rows.iter().any(|Row(finding)| finding.weight == Weight::Error);
    Ok(if is_broken { Exit::Nothing } else { Exit::Done })
}
