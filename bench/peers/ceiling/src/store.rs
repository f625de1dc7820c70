//! The abilities of a store.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;
use wfe_bench_workloads::{
    Done, Place,
    ability::{Commands, DueEvents, DueInstances, Events, Instances, Subject},
    clock::now_ms,
};

use crate::{instance::Instance, schema, writer::Writer};

#[path = "../../../src/subject/copies.rs"]
mod copies;
use copies::{Object, Rows};

/// `LOADS`: whether a step cycle reads what it changes.
pub struct Ceiling<const LOADS: bool = false>(pub Writer);

fn ids(file: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    file.prepare_cached(query)?.query_map([now_ms()], |row| row.get(0))?.collect()
}

impl<const LOADS: bool> Subject for Ceiling<LOADS> {
    async fn open(place: &Place) -> Done<Self> {
        Ok(Self(Writer::open(place)?))
    }

    async fn close(&self) -> Done {
        self.0.close()
    }
}

impl<const LOADS: bool> Instances for Ceiling<LOADS> {
    type Instance = Instance;

    fn draft(number: u64, pointers: usize) -> Instance {
        Instance::new(number, pointers, now_ms())
    }

    fn set(instance: &mut Instance, pointer: usize, result: u64) {
        instance.set(pointer, result);
    }

    fn step(instance: &mut Instance) {
        instance.step();
    }

    fn id(instance: &Instance) -> &str {
        &instance.id
    }

    fn pointers(instance: &Instance) -> usize {
        instance.pointers.len()
    }

    fn is_same(one: &Instance, other: &Instance) -> bool {
        one == other
    }

    async fn create(&self, instance: &mut Instance) -> Done {
        let created = instance.clone();
        self.0.run(move |file| created.insert(file)).await?;
        instance.is_stored();
        Ok(())
    }

    async fn load(&self, id: &str) -> Done<Instance> {
        let id = id.to_owned();
        self.0.run(move |file| Instance::load(file, &id)).await
    }

    async fn persist(&self, instance: &mut Instance) -> Done {
        let change = instance.change();
        self.0.run(move |file| change.store(file)).await?;
        instance.is_stored();
        Ok(())
    }

    async fn current(&self, known: &Instance) -> Done<Instance> {
        if LOADS { self.load(&known.id).await } else { Ok(known.clone()) }
    }
}

/// The id of a copy: that of the original with another beginning, since originals may differ in their ends only.
macro_rules! copied_id {
    () => {
        ("id", "printf('%08x', nth) || substr(id, 9)")
    };
}

const INSTANCES: Object = Object {
    base: "SELECT max(seq) FROM workflows",
    rows: &[
        Rows {
            table: "workflows",
            of: "id = :id",
            replaced: &[
                ("seq", "base + nth"),
                copied_id!(),
                ("name", "printf('%08x', nth) || substr(name, 9)"),
            ],
            omitted: &[],
        },
        Rows {
            table: "execution_pointers",
            of: "workflow = (SELECT seq FROM workflows WHERE id = :id)",
            replaced: &[("workflow", "base + nth")],
            omitted: &["seq"],
        },
    ],
};

const EVENTS: Object = Object {
    base: "SELECT max(seq) FROM events",
    rows: &[Rows { table: "events", of: "id = :id", replaced: &[copied_id!()], omitted: &["seq"] }],
};

impl DueInstances for Ceiling {
    fn schedule_at(instance: &mut Instance, time: Option<i64>) {
        instance.next_execution = time;
    }

    async fn due(&self) -> Done<Vec<String>> {
        self.0.run(|file| ids(file, schema::DUE)).await
    }

    fn multiply(place: &Place, id: &str, copies: usize) -> Done {
        copies::multiply(place, id, copies, &INSTANCES)
    }

    fn count(place: &Place) -> Done<usize> {
        copies::count(place, "SELECT count(*) FROM workflows WHERE status = 'Runnable'")
    }
}

impl Events for Ceiling {
    async fn create_event(&self, number: u64, due: Option<i64>) -> Done<String> {
        let (id, key) = (Uuid::now_v7().to_string(), format!("order {}", number % 1000));
        let (created, data) = (id.clone(), serde_json::json!({ "number": number }).to_string());
        let time = due.unwrap_or_else(now_ms);
        self.0
            .run(move |file| {
                file.prepare_cached(schema::INSERT_EVENT)?.execute(params![created, key, data, time])
            })
            .await?;
        Ok(id)
    }

    async fn event(&self, id: &str) -> Done<(u64, bool)> {
        let id = id.to_owned();
        let found: Option<(String, bool)> = self
            .0
            .run(move |file| {
                let mut statement = file.prepare_cached(schema::LOAD_EVENT)?;
                statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .await?;
        let (data, is_processed) = found.ok_or("an event is not there")?;
        let data: serde_json::Value = serde_json::from_str(&data)?;
        Ok((data["number"].as_u64().ok_or("the data of an event has changed")?, is_processed))
    }

    async fn mark_processed(&self, id: &str) -> Done {
        let id = id.to_owned();
        self.0.run(move |file| file.prepare_cached(schema::MARK_EVENT)?.execute([id])).await?;
        Ok(())
    }
}

impl DueEvents for Ceiling {
    async fn due_events(&self) -> Done<Vec<String>> {
        self.0.run(|file| ids(file, schema::DUE_EVENTS)).await
    }

    fn multiply_event(place: &Place, id: &str, copies: usize) -> Done {
        copies::multiply(place, id, copies, &EVENTS)
    }
}

impl Commands for Ceiling {
    async fn schedule(&self, number: u64, due: i64) -> Done {
        let number = number.to_string();
        self.0.run(move |file| file.prepare_cached(schema::SCHEDULE)?.execute(params![number, due])).await?;
        Ok(())
    }

    fn scheduled(place: &Place) -> Done<Vec<(u64, i64)>> {
        copies::pairs(place, "SELECT data, execute_time FROM scheduled_commands")
    }
}
