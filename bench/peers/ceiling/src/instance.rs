//! An instance, with values that are ready to be stored, and what has been changed in it.

use rusqlite::{CachedStatement, Connection, Result, params, types::Null};
use uuid::Uuid;

use crate::schema;

#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    pub id: String,
    pub step_name: Option<String>,
    pub active: bool,
    pub status: String,
    pub outcome: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Instance {
    pub id: String,
    pub data: String,
    pub next_execution: Option<i64>,
    pub create_time: i64,
    pub pointers: Vec<Pointer>,
    /// Pointers that are stored, but not as they are now.
    changed: Vec<usize>,
    /// How many pointers are stored.
    stored: usize,
}

/// What one request stores.
pub struct Change {
    id: String,
    next_execution: Option<i64>,
    updated: Vec<Pointer>,
    /// The position of the first new pointer, and the new pointers.
    inserted: (usize, Vec<Pointer>),
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.data, self.next_execution, &self.pointers)
            == (&other.id, &other.data, other.next_execution, &other.pointers)
    }
}

impl Pointer {
    fn new(step: usize) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            step_name: Some(format!("step {step}")),
            active: true,
            status: "Pending".to_owned(),
            outcome: None,
        }
    }

    fn complete(&mut self, result: u64) {
        self.active = false;
        "Complete".clone_into(&mut self.status);
        self.outcome = Some(serde_json::json!({ "step": result }).to_string());
    }
}

impl Instance {
    pub fn new(number: u64, pointers: usize, create_time: i64) -> Self {
        let data = serde_json::json!({ "customer": number, "note": "x".repeat(200), "lines": [1, 2, 3] });
        let mut pointers: Vec<_> = (0..pointers).map(Pointer::new).collect();
        if pointers.len() > 1 {
            pointers.iter_mut().for_each(|pointer| pointer.complete(0));
        }
        Self {
            id: Uuid::now_v7().to_string(),
            data: data.to_string(),
            next_execution: Some(0),
            create_time,
            pointers,
            changed: Vec::new(),
            stored: 0,
        }
    }

    pub fn set(&mut self, pointer: usize, result: u64) {
        self.pointers[pointer].complete(result);
        if pointer < self.stored && !self.changed.contains(&pointer) {
            self.changed.push(pointer);
        }
    }

    pub fn step(&mut self) {
        let step = self.pointers.len();
        self.set(step - 1, step as u64);
        self.pointers.push(Pointer::new(step));
        self.next_execution = i64::try_from(step).ok();
    }

    /// What has to be stored.
    pub fn change(&self) -> Change {
        Change {
            id: self.id.clone(),
            next_execution: self.next_execution,
            updated: self.changed.iter().map(|at| self.pointers[*at].clone()).collect(),
            inserted: (self.stored, self.pointers[self.stored..].to_vec()),
        }
    }

    /// Everything is stored now.
    pub fn is_stored(&mut self) {
        self.changed.clear();
        self.stored = self.pointers.len();
    }

    pub fn insert(&self, file: &Connection) -> Result<()> {
        let (id, next, created, data) = (&self.id, self.next_execution, self.create_time, &self.data);
        let values = params![id, id, Null, "bench", 1, Null, Null, next, "Runnable", created, Null, data];
        file.prepare_cached(schema::INSERT_WORKFLOW)?.execute(values)?;
        insert(file, file.last_insert_rowid(), 0, &self.pointers)
    }

    pub fn load(file: &Connection, id: &str) -> Result<Self> {
        let mut statement = file.prepare_cached(schema::LOAD_WORKFLOW)?;
        let (workflow, next_execution, create_time, data): (i64, _, _, _) =
            statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?)))?;
        let mut statement: CachedStatement<'_> = file.prepare_cached(schema::LOAD_POINTERS)?;
        let pointer = |row: &rusqlite::Row<'_>| {
            Ok(Pointer {
                id: row.get(0)?,
                active: row.get(1)?,
                status: row.get(2)?,
                step_name: row.get(3)?,
                outcome: row.get(4)?,
            })
        };
        let pointers = statement.query_map([workflow], pointer)?.collect::<Result<Vec<_>>>()?;
        let (id, stored) = (id.to_owned(), pointers.len());
        Ok(Self { id, data, next_execution, create_time, pointers, changed: Vec::new(), stored })
    }
}

impl Change {
    pub fn store(&self, file: &Connection) -> Result<()> {
        let mut statement = file.prepare_cached(schema::UPDATE_WORKFLOW)?;
        let workflow: i64 = statement.query_row(params![self.id, self.next_execution], |row| row.get(0))?;
        for pointer in &self.updated {
            update(file, workflow, pointer)?;
        }
        let (first, pointers) = &self.inserted;
        insert(file, workflow, *first, pointers)
    }
}

pub fn update(file: &Connection, workflow: i64, pointer: &Pointer) -> Result<()> {
    let values = params![workflow, pointer.id, pointer.active, pointer.status, pointer.outcome];
    file.prepare_cached(schema::UPDATE_POINTER)?.execute(values)?;
    Ok(())
}

pub fn insert(file: &Connection, workflow: i64, first: usize, pointers: &[Pointer]) -> Result<()> {
    let mut statement = file.prepare_cached(schema::INSERT_POINTER)?;
    for (position, Pointer { id, step_name, active, status, outcome }) in (first..).zip(pointers) {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        statement.execute(params![
            workflow, position, id, position, active, status, Null, Null, Null, Null, Null, Null, false,
            Null, step_name, 0, "[]", Null, Null, outcome, "[]", "{}"
        ])?;
    }
    Ok(())
}
