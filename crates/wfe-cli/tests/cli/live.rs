//! Beside hosts of other processes: what they do is seen, and bulk actions are killed in the middle.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use wfe::prelude::*;

use crate::{
    run::Ran,
    store::{Order, Place, host},
    terminal::PATIENCE,
};

/// Says to this test binary that it is a host, and on which file.
const HOST: &str = "WFE_CLI_TEST_HOST";

/// Not a test: the process of a host, which ends with its standard input.
#[test]
fn serve() {
    let Some(path) = env::var_os(HOST) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(host(Path::new(&path)));
    println!("@ready");
    std::io::stdin().lines().for_each(drop);
    runtime.block_on(host.stop()).unwrap();
}

/// A process that runs a host on this store, until it is dropped.
struct Host(Child);

impl Host {
    fn on(place: &Place) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "live::serve", "--nocapture", "--test-threads=1"])
            .env(HOST, place.db())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("@ready")));
        // The rest of what it prints is read, so that it never waits for a reader.
        thread::spawn(move || lines.for_each(drop));
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Runs the command until its output is as wanted.
#[track_caller]
fn until(place: &Place, line: &str, mut wanted: impl FnMut(&Ran) -> bool) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let ran = place.shell(line);
        if wanted(&ran) {
            return;
        }
        assert!(Instant::now() < patience, "{line}: {ran:?}");
        // Between two looks at the condition, for as long as the patience lasts.
        thread::sleep(Duration::from_millis(20));
    }
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_requested_of_instances_is_done_by_the_hosts_beside() {
    let place = Place::new();
    let hosts = [Host::on(&place), Host::on(&place)];
    let cards = json(&place.shell("wfe hosts --json").ends(0));
    assert_eq!(cards.iter().filter(|card| card["is_alive"] == true).count(), 2, "{cards:?}");
    assert!(cards.iter().all(|card| card["card"]["definitions"].as_array().is_some_and(|it| it.len() > 5)));

    place.shell("wfe publish approved order-17 '\"Ms Weber\"'").ends(0);
    assert!(place.shell("wfe wait order/order-17 --timeout 60s").ends(0).contains("completed"));
    place.shell("wfe suspend order/order-18").ends(0);
    until(&place, "wfe list --reference order-18", |ran| ran.out.starts_with("suspended"));
    place.shell("wfe resume order/order-18").ends(0);
    until(&place, "wfe list --reference order-18", |ran| ran.out.starts_with("waiting"));
    place.shell("wfe cancel order/order-18 --reason 'out of stock'").ends(0);
    let ended = place.shell("wfe wait order/order-18 --timeout 60s");
    assert_eq!(ended.code, 1, "{ended:?}");
    place.shell("wfe tasks answer invoice/inv-1 approve").ends(0);
    place.shell("wfe wait invoice/inv-1 --timeout 60s").ends(0);
    let started = json(
        &place
            .shell("wfe start order --reference order-99 --data '{\"number\":\"order-99\"}' --json")
            .ends(0),
    );
    until(&place, "wfe list --reference order-99", |ran| ran.out.starts_with("waiting"));
    let again = json(&place.shell("wfe start order --reference order-99 --data '{}' --json").ends(0));
    assert_eq!((&started[0]["id"], &started[0]["is_new"]), (&again[0]["id"], &Value::from(true)));
    assert_eq!(again[0]["is_new"], false);
    let audit = json(&place.shell("wfe audit --of order/order-18 --json").ends(0));
    let actions: Vec<&str> = audit.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["cancel", "resume", "suspend"]);
    assert_eq!(audit[0]["reason"], "out of stock");
    assert!(audit[0]["actor"].as_str().unwrap().starts_with("ann@"));
    drop(hosts);
}

#[test]
fn a_bulk_action_that_is_killed_can_be_repeated_and_does_nothing_twice() {
    const COUNT: usize = 1500;
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::file(place.db()).open()).unwrap();
    let starter = WorkflowHost::new(store);
    starter.register_any(crate::store::order(3)).unwrap();
    let orders = starter.workflow(WorkflowName::<Order>::new("order"));
    runtime.block_on(async {
        let starts = (0..COUNT).map(|number| {
            let orders = &orders;
            async move {
                let name = format!("bulk-{number}");
                orders
                    .start(&Order { number: name.clone(), ..Order::default() })
                    .reference(name)
                    .await
                    .unwrap();
            }
        });
        futures(starts).await;
    });
    drop((orders, starter));
    let _hosts = [Host::on(&place), Host::on(&place)];
    let words = ["terminate", "--all", "--reference", "bulk-*", "--yes", "--json", "--rate", "200/s"];
    let begin = || place.command().args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut terminated = 0;
    for _ in 0..3 {
        let mut child = begin();
        until(&place, "wfe list --count --reference 'bulk-*' --status terminated", |ran| {
            let count: usize = ran.out.trim().parse().unwrap();
            count > std::mem::replace(&mut terminated, count)
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(terminated < COUNT, "the command was never killed in the middle");
    let report = json(&Ran::of(begin().wait_with_output().unwrap()).ends(0)).remove(0);
    assert!(report["done"].as_u64().unwrap() < COUNT as u64, "nothing was done before the kills: {report}");
    until(&place, "wfe list --count --reference 'bulk-*' --status terminated", |ran| {
        ran.out.trim() == COUNT.to_string()
    });
    // Each instance was asked once, however often the command was run.
    let mut asked = std::collections::BTreeMap::<String, usize>::new();
    let rows = json(&place.shell("wfe audit --action terminate --limit 500 --json").ends(0));
    let mut rows = rows;
    while let Some(last) = rows.last() {
        let after = last["cursor"].as_u64().unwrap();
        for row in &rows {
            if let Some(id) = row["instance"].as_str() {
                *asked.entry(id.to_owned()).or_default() += 1;
            }
        }
        rows = json(
            &place.shell(&format!("wfe audit --action terminate --limit 500 --after {after} --json")).out,
        );
    }
    assert_eq!(asked.len(), COUNT);
    assert!(asked.values().all(|count| *count == 1));
}

async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    // A few hundred at a time share the commits of the store.
    let mut all: Vec<_> = all.map(Box::pin).collect();
    while !all.is_empty() {
        let rest = all.split_off(all.len().min(200));
        let mut set: Vec<_> = std::mem::replace(&mut all, rest);
        std::future::poll_fn(|context| {
            set.retain_mut(|future| future.as_mut().poll(context).is_pending());
            if set.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

#[test]
fn tail_goes_on_over_the_restart_of_a_host() {
    let place = Place::new();
    let mut tail = place.terminal(50, 200, &["tail", "order/order-17", "order/order-18"]);
    let first = Host::on(&place);
    place.shell("wfe publish approved order-18 '\"Ms Weber\"'").ends(0);
    tail.expect("completed");
    first.kill();
    let second = Host::on(&place);
    place.shell("wfe publish approved order-17 '\"Mr Bell\"'").ends(0);
    tail.expect("order-17");
    until(&place, "wfe list --reference order-17", |ran| ran.out.starts_with("completed"));
    tail.expect("ship");
    tail.interrupt();
    let (code, text) = tail.end();
    assert_eq!(code, 130, "{text}");
    drop(second);
}

#[test]
fn numbers_that_are_watched_are_those_of_now() {
    let place = Place::new();
    let _host = Host::on(&place);
    let mut watches = place.terminal(50, 120, &["stats", "--watch"]);
    watches.expect("ENDED IN 24 HOURS");
    // No host has this definition. Once it is shown, the numbers were read a second time.
    place.shell("wfe start again@1").ends(0);
    watches.expect("again@1");
    place.shell("wfe start order --data '{\"number\":\"a\"}' --reference a").ends(0);
    place.shell("wfe terminate order/a").ends(0);
    assert_eq!(place.shell("wfe wait order/a --timeout 60s").code, 1);
    watches.expect("terminated");
    watches.interrupt();
    assert_eq!(watches.end().0, 0);
}

#[test]
fn a_page_of_activities_has_none_of_the_engine() {
    let place = Place::new();
    let host = Host::on(&place);
    // Behind the activities of the schedules.
    place.shell("wfe start printing --data '\"3.html\"' --reference print-3").ends(0);
    until(&place, "wfe list --reference print-3", |ran| ran.out.starts_with("waiting"));
    drop(host);
    let mut after = String::new();
    for _ in 1..=3 {
        let ran = place.shell(&format!("wfe activities list --limit 1 {after}"));
        assert!(ran.out.contains("render-pdf"), "{after}: {ran:?}");
        after = ran.err.split_once("more: ").map_or_else(String::new, |(_, after)| after.trim().to_owned());
    }
}
