//! What the commands do, one subject a file.

mod activities;
mod backup;
mod dashboard;
mod definitions;
mod doctor;
mod errors;
mod graph;
mod hosts;
mod list;
mod manual;
mod publish;
mod purge;
mod schedules;
mod show;
mod start;
mod stats;
mod tail;
mod tasks;
mod upgrade;
mod verbs;
mod why;

use wfe::operator::Verb;

use crate::{
    app::App,
    args::{Cli, Command},
    failure::{Exit, Result},
};

/// Runs the command.
pub(crate) async fn run(Cli { global, command }: Cli) -> Result<Exit> {
    let app = &App::new(global)?;
    match command {
        Command::List(args) => list::list(app, &args).await,
        Command::Show(args) => show::show(app, &args).await,
        Command::Why(args) => why::why(app, &args).await,
        Command::Tail(args) => tail::tail(app, &args).await,
        Command::Wait(args) => tail::wait(app, &args).await,
        Command::Errors(args) => errors::errors(app, &args).await,
        Command::Definitions(args) => definitions::definitions(app, &args).await,
        Command::Graph(args) => graph::graph(app, &args).await,
        Command::Hosts => hosts::hosts(app).await,
        Command::Stats(args) => stats::stats(app, &args).await,
        Command::Audit(args) => hosts::audit(app, &args).await,
        Command::Dashboard(args) => dashboard::dashboard(app, &args).await,
        Command::Doctor => doctor::doctor(app).await,
        Command::Start(args) => start::start(app, &args).await,
        Command::Publish(args) => publish::publish(app, &args).await,
        Command::Suspend(args) => verbs::verb(app, Verb::Suspend, &args.targets, &args.acting).await,
        Command::Resume(args) => verbs::verb(app, Verb::Resume, &args.targets, &args.acting).await,
        Command::Retry(args) => verbs::verb(app, Verb::Retry, &args.targets, &args.acting).await,
        Command::Restart(args) => verbs::restart(app, &args).await,
        Command::Skip(args) => verbs::verb(app, Verb::Skip, &args.targets, &args.acting).await,
        Command::ResumeFrom(args) => {
            verbs::verb(app, Verb::ResumeFrom(args.step), &args.targets, &args.acting).await
        }
        Command::Cancel(args) => verbs::verb(app, Verb::Cancel, &args.targets, &args.acting).await,
        Command::Terminate(args) => verbs::verb(app, Verb::Terminate, &args.targets, &args.acting).await,
        Command::Ack(args) => {
            verbs::verb(app, Verb::Acknowledge(!args.revert), &args.targets, &args.acting).await
        }
        Command::Delete(args) => verbs::verb(app, Verb::Delete, &args.targets, &args.acting).await,
        Command::Tasks(command) => tasks::tasks(app, command).await,
        Command::Activities(command) => activities::activities(app, command).await,
        Command::Schedules(command) => schedules::schedules(app, command).await,
        Command::Purge(args) => purge::purge(app, &args).await,
        Command::PurgeEvents(args) => purge::purge_events(app, &args).await,
        Command::Backup(args) => backup::backup(app, &args).await,
        Command::Check(args) => backup::check(app, &args).await,
        Command::Compact(args) => backup::compact(app, &args).await,
        Command::Checkpoint(args) => backup::checkpoint(app, &args).await,
        Command::Upgrade(args) => upgrade::upgrade(app, &args).await,
        Command::Completion(args) => manual::completion(&args),
        Command::Man(args) => manual::man(&args),
    }
}
