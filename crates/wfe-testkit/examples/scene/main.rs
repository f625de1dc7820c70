//! A scene for trying the faces of an operator: a shop with the history of thirty days, in which seven instances are stuck, each
//! for another reason.
//!
//! ```text
//! cargo run -p wfe-testkit --example scene -- FILE [--instances N] [--serve]
//! ```
//!
//! Without `--serve`, it makes the file. With `--serve`, it makes the file if it is missing, and then runs a host on it
//! until Ctrl-C: orders begin and end, and an instance that is mended goes on.

#![allow(clippy::print_stdout, reason = "a program for people")]

mod fill;
mod shop;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use fill::Result;
use shop::{Case, Epoch, ORDER, PAID, PICK};
use wfe::clock::{Clock, SystemClock};
use wfe_sqlite::SqlitePersistenceProvider;

const USAGE: &str = "usage: scene FILE [--instances N] [--serve]";
/// How often an order begins.
const PACE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result {
    let (mut file, mut instances, mut serves) = (None, 200_000, false);
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--serve") => serves = true,
            Some("--instances") => {
                let number = args.next().ok_or("--instances needs a number")?;
                instances = number.to_string_lossy().parse()?;
            }
            Some(other) if other.starts_with('-') => return Err(format!("unknown option {other}").into()),
            _ if file.is_none() => file = Some(PathBuf::from(arg)),
            _ => return Err("more than one file".into()),
        }
    }
    let file = file.ok_or("no file is named")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if !file.exists() {
        fill::fill(&file, instances, clock.now()).await?;
        println!("made {} with {} instances", file.display(), instances.max(fill::LEAST));
    } else if !serves {
        return Err(format!("{} exists already", file.display()).into());
    }
    if serves { serve(&file, clock).await } else { Ok(()) }
}

/// Runs a host, with a worker that picks goods, until Ctrl-C.
async fn serve(file: &std::path::Path, clock: Arc<dyn Clock>) -> Result {
    let store = Arc::new(SqlitePersistenceProvider::file(file).open().await?);
    let host = shop::host(&store, clock.clone(), Epoch::Present).await?;
    println!("serves {}; Ctrl-C ends it", file.display());
    let worker = host.activities().worker(PICK, "picker-2");
    let picking = worker.run(async |lines, _| Ok(format!("box of {}", lines.join(", "))));
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        ended = picking => ended?,
        ended = orders(&host, &*clock) => ended?,
    }
    host.stop().await?;
    store.close().await;
    Ok(())
}

/// Starts an order every few seconds, and pays it when the next one begins. One of ten finds nothing on the shelf.
async fn orders(host: &wfe::WorkflowHost, clock: &dyn Clock) -> Result {
    let mut before: Option<String> = None;
    for number in 0_u64.. {
        let name = format!("order-{}-{number}", clock.now().format("%m%dT%H%M%S"));
        let case = Case {
            number: name.clone(),
            customer: "Elm Books".to_owned(),
            cents: 1_000 + number,
            lines: vec!["tea".to_owned()],
            trouble: (number % 10 == 9).then(|| shop::STOCK.to_owned()),
            ..Case::default()
        };
        host.workflow(ORDER).start(&case).reference(&name).await?;
        if let Some(paid) = before.replace(name) {
            host.publish(PAID, &paid, format!("receipt of {paid}")).await?;
        }
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}
