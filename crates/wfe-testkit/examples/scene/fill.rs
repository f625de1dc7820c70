//! Fills the store: seven instances that are stuck, others that are not, and the history of thirty days.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use wfe::{
    clock::Clock,
    operator::{Face, Operator, Verb},
    prelude::*,
    schedules::{NewSchedule, Timetable},
    traits::PersistenceProvider,
};
use wfe_core::traits::Isolation;
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{VirtualClock, generator::sqlite_history};

use super::shop::{
    BANK, Case, DELIVERY, Epoch, GIFT, IMPORT, INVOICE, ORDER, PAID, PICK, REFUND, REPORT, STOCK, TRIAL, host,
};

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The fewest instances of a store.
pub const LEAST: u64 = 100;
/// Those that are stuck, and the order whose payment has come under a wrong key.
const SPECIAL: u64 = 8;
/// The most instances that the host makes, besides the special ones.
const LIVING: u64 = 400;
/// How often a process has to die with an instance before the engine suspends the instance: twice with others beside it,
/// and ten times alone.
const DEATHS: usize = 12;
const HOUR: Duration = Duration::from_hours(1);

/// Makes the store, which must not exist, with this many instances. `now` is the time at which the scene ends.
pub async fn fill(path: &Path, instances: u64, now: DateTime<Utc>) -> Result {
    let instances = instances.max(LEAST);
    let living = LIVING.min((instances - SPECIAL) / 2);
    SqlitePersistenceProvider::file(path).open().await?.close().await;
    let mut tool = SqliteConnectOptions::new().filename(path).connect().await?;
    let script = sqlite_history(7, instances - living - SPECIAL, now);
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut tool).await?;
    tool.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
    sqlx::Connection::close(tool).await?;

    let clock = Arc::new(VirtualClock::new(now - 24 * HOUR));
    let shared: Arc<dyn Clock> = clock.clone();
    let store = Arc::new(SqlitePersistenceProvider::file(path).clock(shared.clone()).open().await?);
    poison(path, &store, &shared).await?;
    let host = host(&store, shared.clone(), Epoch::Past).await?;
    host.idle().await?;
    let operator =
        |who| Operator::shared(store.clone()).map(|one| one.acting_as(who, Face::Cli).clock(shared.clone()));

    // Yesterday: an invoice is suspended, a bank does not answer, and a refund waits for the next day of the bank.
    let invoice = start(&host, INVOICE, &case("invoice-20417", 129_900)).await?;
    start(&host, REFUND, &case("refund-3388", 4_990)).version(1).await?;
    let order = case("order-5090210", 25_900);
    start(&host, ORDER, &Case { trouble: Some(BANK.into()), ..order }).await?;
    host.idle().await?;
    host.publish(PAID, "order-5090210", "receipt-5090210".to_owned()).await?;
    host.idle().await?;
    operator("ann")?.because("the supplier disputes the amount").act(&Verb::Suspend, invoice.id()).await?;
    host.idle().await?;
    clock.advance(14 * HOUR);
    host.idle().await?;

    // This morning: a worker dies with a label, and nobody wraps a gift.
    start(&host, DELIVERY, &case("delivery-7731", 0)).await?;
    host.idle().await?;
    drop_claim(&host, "print-label", "printer-2", HOUR).await?;
    clock.advance(5 * HOUR);
    start(&host, GIFT, &case("gift-512", 3_500)).await?;
    // The payment of this order comes under the key of another one.
    start(&host, ORDER, &case("order-5090377", 8_200)).await?;
    host.publish(PAID, "order-5090737", "receipt-5090377".to_owned()).await?;
    host.idle().await?;

    everyday(&host, living).await?;
    clock.advance(4 * HOUR);
    host.idle().await?;
    schedules(&host).await?;
    host.idle().await?;
    let bell = operator("bell")?;
    let failed = host.workflow(ORDER).find("order-5050009").await?;
    if let Some(failed) = failed {
        bell.because("the customer was called").act(&Verb::Acknowledge(true), failed.id()).await?;
    }
    // The refund becomes due only now, so a host of today has to go on with it.
    host.stop().await?;
    store.close().await;
    Ok(())
}

fn case(number: &str, cents: u64) -> Case {
    Case {
        number: number.to_owned(),
        customer: ["Elm Books", "Oak & Sons", "Ms Weber", "Studio Nord"][number.len() % 4].to_owned(),
        cents,
        lines: vec!["tea".to_owned(), "pot".to_owned()],
        ..Case::default()
    }
}

fn start(host: &WorkflowHost, of: WorkflowName<Case>, case: &Case) -> wfe::host::Starting<Case> {
    let workflow = host.workflow(of);
    let start = workflow.start(case).reference(&case.number);
    start.attribute("customer", case.customer.clone()).attribute("cents", case.cents)
}

/// An import during which the process has died again and again.
async fn poison(path: &Path, store: &Arc<SqlitePersistenceProvider>, clock: &Arc<dyn Clock>) -> Result {
    let idle = WorkflowHost::builder_shared(store.clone()).clock(clock.clone()).build();
    idle.register_any(super::shop::import()?)?;
    start(&idle, IMPORT, &case("import-2291", 0)).await?;
    let steps = store.clone().step_store().ok_or("the store has no step store")?;
    for death in 0..DEATHS {
        let owner = steps.register().await?;
        let claimed = steps.claim(&owner, &[("import".to_owned(), 1)], clock.now(), 1).await?;
        let claimed = claimed.first().ok_or("the import is not due")?;
        if death >= 2 {
            steps.isolate(&claimed.id, claimed.fence, Isolation::Alone).await?;
        }
        // As if the process had died: its lock file is left, and no process holds it.
        let file = lock_file(path, owner.id());
        let text = fs::read(&file)?;
        drop(owner);
        fs::write(file, text)?;
    }
    Ok(())
}

fn lock_file(path: &Path, owner: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("-owner-{owner}"));
    name.into()
}

/// Claims an activity, as a worker does that then dies. Returns whether one was open.
async fn drop_claim(host: &WorkflowHost, activity: &str, worker: &str, lease: Duration) -> Result<bool> {
    let claim = host.activities().claim_by_name(activity, worker, lease).await?;
    let is_claimed = claim.is_some();
    std::mem::forget(claim);
    Ok(is_claimed)
}

/// The numbers of orders are larger than those of the generated history, whose references are taken.
///
/// What is not stuck: paid and unpaid orders, invoices before approval, refunds, reports, trials, goods that are picked.
async fn everyday(host: &WorkflowHost, instances: u64) -> Result {
    for number in 0..instances {
        let cents = 900 + number * 7919 % 90_000;
        let order = case(&format!("order-{}", 5_050_000 + number), cents);
        match number % 10 {
            0 => drop(start(host, INVOICE, &case(&format!("invoice-{}", 20_500 + number), cents)).await?),
            1 => drop(
                start(host, REFUND, &case(&format!("refund-{}", 3_400 + number), cents)).version(2).await?,
            ),
            2 => drop(start(host, TRIAL, &case(&format!("trial-{}", 800 + number), 0)).await?),
            3 => drop(start(host, REPORT, &case(&format!("report-{}", 100 + number), 0)).await?),
            4 => drop(start(host, IMPORT, &case(&format!("import-{}", 2_300 + number), 0)).await?),
            kind => {
                let trouble = (kind == 9).then(|| STOCK.to_owned());
                let version = if kind == 5 { 2 } else { 3 };
                let name = order.number.clone();
                start(host, ORDER, &Case { trouble, ..order }).version(version).await?;
                if kind > 7 {
                    host.idle().await?;
                    host.publish(PAID, &name, format!("receipt of {name}")).await?;
                }
            }
        }
    }
    host.idle().await?;
    // A worker is busy with the goods for the next two days.
    while drop_claim(host, PICK.name(), "picker-1", 48 * HOUR).await? {}
    Ok(())
}

async fn schedules(host: &WorkflowHost) -> Result {
    for (id, cron) in [("nightly", "0 3 * * *"), ("weekly", "0 6 * * 1"), ("monthly", "0 4 1 * *")] {
        let schedule = NewSchedule::new(id, REPORT.name(), Timetable::cron(cron)).paused(id == "monthly");
        host.schedules().create(schedule, &case(id, 0)).await?;
    }
    Ok(())
}
