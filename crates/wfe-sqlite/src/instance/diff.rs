//! Reads stored instances, and compares a stored instance with the instance that is to replace it. A read returns the
//! cached copy if this copy is up to date.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use tokio::task::coop::consume_budget;
use wfe_core::{
    Kind, Result, WfeError,
    models::{ExecutionPointer, WorkflowInstance},
    sync::lock,
};

use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, json},
    instance::cache::{Stored, StoredPointer, WEIGHT_OF_ROW, WEIGHT_OF_TEXT},
    metrics,
    request::{Done, Role, Script, Taken, Value, text_bytes},
    sql,
};

/// The number of pointer positions in one revision. The position of a pointer is `revision * POSITIONS + index`. The
/// revision is the one that stored the pointer, and the index counts the pointers that were stored in this revision. So
/// a new pointer comes after all existing pointers, and the positions of the existing pointers need not be read.
const POSITIONS: i64 = 1 << 20;

/// The revision that follows `previous`. If one revision does not have enough positions for the new pointers, further
/// revisions are skipped.
pub(crate) fn next_revision(previous: i64, new_pointers: usize) -> i64 {
    // The second term is far below 2^63 / POSITIONS, because so many pointers do not fit into memory.
    previous + 1 + i64::try_from(new_pointers).unwrap_or(i64::MAX) / POSITIONS
}

/// The first position for pointers that are stored in the revision after `previous`.
pub(crate) fn first_position(previous: i64) -> i64 {
    (previous + 1) * POSITIONS
}

/// Refuses a list in which two pointers have the same id.
pub(crate) fn check_pointers(pointers: &[ExecutionPointer]) -> Result<()> {
    let mut ids = HashSet::with_capacity(pointers.len());
    match pointers.iter().find(|pointer| !ids.insert(pointer.id.as_str())) {
        Some(twice) => Err(WfeError::AlreadyExists { kind: Kind::Pointer, id: twice.id.clone() }),
        None => Ok(()),
    }
}

fn weight(text_bytes: usize) -> usize {
    WEIGHT_OF_ROW + WEIGHT_OF_TEXT * text_bytes
}

/// The index of the statement that loads an instance, and the index of the statement that loads its pointers, in a
/// script of [`add_reads`].
pub(crate) const INSTANCE: usize = 1;
pub(crate) const POINTERS: usize = 2;

/// Adds the three read statements of [`SqlitePersistenceProvider::stored`]. These must be the first statements of the
/// script.
pub(crate) fn add_reads(script: &mut Script, id: &str, copy: Option<&Stored>) {
    let stamp = || [id.into(), copy.map(|copy| copy.seq).into(), copy.map(|copy| copy.revision).into()];
    script.add(&sql::workflows::STAMP, [id.into()]);
    script.add(&sql::workflows::LOAD, stamp());
    script.add(&sql::pointers::LOAD, stamp());
}

/// Pointers that were decoded as their rows arrived.
type Arrived = Arc<Mutex<Vec<Result<StoredPointer>>>>;

/// Decodes the pointers of [`add_reads`] as their rows arrive. An instance may have thousands of them, which need not be
/// kept as rows too.
fn decode_on_arrival(script: &mut Script, id: &str) -> Arrived {
    let (pointers, id) = (Arrived::default(), id.to_owned());
    let arriving = Arc::clone(&pointers);
    script.take = Some(Box::new(move |at, row| {
        if at == POINTERS {
            let decoded = codec::pointer::decode(row, 0, &id);
            lock(&arriving).push(decoded.map(|(position, pointer, bytes)| StoredPointer {
                position,
                pointer: Arc::new(pointer),
                weight: weight(bytes),
            }));
        }
        Taken::collect_if(at != POINTERS)
    }));
    pointers
}

/// Decodes the results of the three statements of [`add_reads`]. `None` means that the instance does not
/// exist.
fn from_reads(done: &[Done], pointers: &Arrived, copy: Option<Arc<Stored>>) -> Result<Option<Arc<Stored>>> {
    let [stamp, instance, ..] = done else {
        return Err(WfeError::Persistence(
            "a read returned fewer rows than expected: a bug in wfe-sqlite".to_owned(),
        ));
    };
    if stamp.rows.is_empty() {
        return Ok(None);
    }
    let Some(row) = instance.rows.first() else { return Ok(copy) };
    let (seq, revision, mut instance, bytes) = codec::workflow::decode(row)?;
    let data = Arc::new(std::mem::take(&mut instance.data));
    let mut pointers = std::mem::take(&mut *lock(pointers)).into_iter().collect::<Result<Vec<_>>>()?;
    pointers.sort_by_key(|pointer| pointer.position);
    Ok(Some(Arc::new(Stored {
        seq,
        revision,
        instance: Arc::new(instance),
        data,
        pointers,
        weight: weight(bytes),
    })))
}

/// Maps the id of each instance to its revision and the instance. If the instance or one of its pointers does not
/// decode, the id is mapped to the error.
pub(crate) type Found = HashMap<String, Result<(i64, WorkflowInstance)>>;

/// Decodes the results of `workflows::LOAD_MANY` and `pointers::LOAD_MANY`.
pub(crate) fn decode_many(instances: &Done, pointers: &Done) -> Result<Found> {
    let (mut found, mut ids) = (HashMap::new(), HashMap::new());
    for row in &instances.rows {
        // The id decodes: the row was found by its id, which is a string of the caller.
        let (seq, id) = codec::workflow::key(row)?;
        ids.insert(seq, id.to_owned());
        let decoded = codec::workflow::decode(row);
        found.insert(id.to_owned(), decoded.map(|(_, revision, instance, _)| (revision, instance)));
    }
    for row in &pointers.rows {
        let seq = Fields::new(row, "execution_pointers", "").int("workflow")?;
        // The instance of each pointer was found: both statements read the same snapshot, and there is a
        // foreign key.
        if let Some(id) = ids.get(&seq)
            && let Some(one) = found.get_mut(id)
            && let Ok((_, instance)) = one
        {
            match codec::pointer::decode(row, 1, id) {
                Ok((_, pointer, _)) => instance.execution_pointers.push(pointer),
                Err(error) => *one = Err(error),
            }
        }
    }
    Ok(found)
}

impl SqlitePersistenceProvider {
    /// Whether this copy is at the revision that is stored now.
    async fn is_current(&self, copy: &Stored, id: &str) -> Result<bool> {
        let mut script = Script::default();
        script.add(&sql::workflows::STAMP, [id.into()]);
        let done = self.read(script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { return Ok(false) };
        let mut fields = Fields::new(row, "workflows", id);
        Ok((fields.int("seq")?, fields.int("revision")?) == (copy.seq, copy.revision))
    }

    /// Reads an instance as it is stored now. `None` means that the instance does not exist.
    pub(crate) async fn stored(&self, id: &str) -> Result<Option<Arc<Stored>>> {
        let last = self.last_commit()?;
        if let Some(last) = last
            && let Some(copy) = self.cache.if_current(id, last)
        {
            // Nothing else here yields: a task that reads again and again would keep its thread from all other tasks. The
            // caller copies all pointers, which takes as long as one small read for each of these groups.
            for _ in 0..=copy.pointers.len() / 64 {
                consume_budget().await;
            }
            metrics::looked_up(true);
            return Ok(Some(copy));
        }
        let start = last.and_then(|last| self.cache.read_begins(last));
        let copy = self.cache.get(id);
        // One statement shows whether a copy is up to date. Only if it is not, the rows are read, in a transaction.
        if let Some(copy) = &copy
            && self.is_current(copy, id).await?
        {
            self.cache.put(Arc::clone(copy), start);
            metrics::looked_up(true);
            return Ok(Some(Arc::clone(copy)));
        }
        let mut script = Script::default();
        add_reads(&mut script, id, copy.as_deref());
        let pointers = decode_on_arrival(&mut script, id);
        let done = self.read(script).await?;
        let stored = from_reads(&done, &pointers, copy)?;
        match &stored {
            Some(stored) => {
                metrics::looked_up(false);
                self.cache.put(Arc::clone(stored), start);
            }
            None => self.cache.remove(id),
        }
        Ok(stored)
    }
}

/// A new instance and its pointers, encoded as columns. The instance already has its id and its name. Its row number is
/// in the result of the statement that inserts it.
pub(crate) struct New {
    pub(crate) revision: i64,
    pub(crate) columns: [Value; 12],
    pub(crate) pointers: Vec<[Value; 21]>,
}

impl New {
    pub(crate) fn encode(instance: &WorkflowInstance) -> Result<Self> {
        check_pointers(&instance.execution_pointers)?;
        Ok(Self {
            revision: next_revision(0, instance.execution_pointers.len()),
            columns: codec::workflow::encode(instance)?,
            pointers: instance
                .execution_pointers
                .iter()
                .map(codec::pointer::encode)
                .collect::<Result<_>>()?,
        })
    }

    /// Whether the instance has pointers.
    pub(crate) fn begun(&self) -> Value {
        begun(self.pointers.len())
    }

    /// The copy to cache once the instance is stored. Its `seq` is not known yet.
    pub(crate) fn stored(&self, mut instance: WorkflowInstance) -> Stored {
        let pointers = std::mem::take(&mut instance.execution_pointers)
            .into_iter()
            .zip(&self.pointers)
            .zip(first_position(0)..)
            .map(|((pointer, columns), position)| StoredPointer {
                position,
                pointer: Arc::new(pointer),
                weight: weight(text_bytes(columns)),
            })
            .collect();
        let weight = weight(text_bytes(&self.columns));
        let data = Arc::new(std::mem::take(&mut instance.data));
        Stored { seq: 0, revision: self.revision, instance: Arc::new(instance), data, pointers, weight }
    }

    /// Adds statements that insert the pointers of the instance. An earlier statement of the script must insert the
    /// instance itself.
    pub(crate) fn add_pointers(&self, script: &mut Script, id: &str) {
        for (columns, position) in self.pointers.iter().zip(first_position(0)..) {
            script.add_with(&sql::pointers::PUT_NEW, [id.into(), position.into()], columns, []);
        }
    }

    /// Adds statements that insert the pointers of a child instance. The script creates the child instance, unless it
    /// already exists.
    pub(crate) fn add_pointers_of_child(&self, script: &mut Script, id: &Value) {
        for (columns, position) in self.pointers.iter().zip(first_position(0)..) {
            script.add_with(&sql::pointers::PUT_IN_CHILD, [position.into()], columns, [id.clone()]);
        }
    }
}

/// Adds to `script` the statements that turn the stored instance into `instance`. Returns the copy that is to be cached
/// after these statements have run. If one of them refuses the script, the stored instance has changed since it was
/// read.
pub(crate) fn add_difference(
    script: &mut Script,
    stored: &Stored,
    instance: &WorkflowInstance,
) -> Result<Stored> {
    let (pointers, difference) = pointer_difference(stored, &instance.execution_pointers)?;
    let new = pointers.iter().filter(|pointer| pointer.position >= first_position(stored.revision)).count();
    let revision = next_revision(stored.revision, new);
    // First, because it refuses the script if the revision is another one: then nothing was written yet.
    let row = instance_difference(script, stored, instance, revision)?;
    difference.add_to(script, stored.seq);
    Ok(Stored { pointers, ..row })
}

/// Whether an instance with this many pointers has begun. An instance without pointers begins later, at its
/// first step.
fn begun(pointers: usize) -> Value {
    (pointers > 0).then_some(1_i64).into()
}

/// Adds the statements that change the row of the instance. Returns the copy, without its pointers.
fn instance_difference(
    script: &mut Script,
    stored: &Stored,
    new: &WorkflowInstance,
    revision: i64,
) -> Result<Stored> {
    let begun = begun(new.execution_pointers.len());
    let old = &*stored.instance;
    let name = if new.name.is_empty() { &old.name } else { &new.name };
    let same_data = json::same(&stored.data, &new.data);
    let same_state = new.status == old.status
        && new.next_execution == old.next_execution
        && new.complete_time == old.complete_time;
    let same_rest = *name == old.name
        && new.root_workflow_id == old.root_workflow_id
        && new.workflow_definition_id == old.workflow_definition_id
        && new.version == old.version
        && new.description == old.description
        && new.reference == old.reference
        && new.create_time == old.create_time;
    let mut copy = Stored {
        seq: stored.seq,
        revision,
        instance: Arc::clone(&stored.instance),
        data: Arc::clone(&stored.data),
        pointers: Vec::new(),
        weight: stored.weight,
    };
    let (seq, read) = (Value::from(stored.seq), Value::from(stored.revision));
    // The copies share what stays the same, whatever its size.
    if !(same_state && same_rest) {
        copy.instance = Arc::new(WorkflowInstance {
            id: old.id.clone(),
            name: name.clone(),
            root_workflow_id: new.root_workflow_id.clone(),
            workflow_definition_id: new.workflow_definition_id.clone(),
            version: new.version,
            description: new.description.clone(),
            reference: new.reference.clone(),
            execution_pointers: Vec::new(),
            next_execution: new.next_execution,
            status: new.status,
            data: serde_json::Value::Null,
            create_time: new.create_time,
            complete_time: new.complete_time,
        });
    }
    let revision = Value::from(revision);
    if !same_rest {
        let kept = &*copy.instance;
        if kept.name != old.name {
            script.guard_or(
                &sql::workflows::NAME_IS_FREE_FOR,
                [(&kept.name).into(), (&kept.id).into()],
                WfeError::AlreadyExists { kind: Kind::WorkflowName, id: kept.name.clone() },
            );
        }
        let columns = codec::workflow::encode_all_but_id_and_data(kept)?;
        script.add_with(&sql::workflows::UPDATE, [revision, begun], &columns, [seq.clone(), read]);
    } else if same_state {
        script.add(&sql::workflows::TOUCH, [revision, begun, seq.clone(), read]);
    } else {
        let columns = codec::workflow::encode_state(&copy.instance)?;
        script.add_with(&sql::workflows::UPDATE_STATE, [revision, begun], &columns, [seq.clone(), read]);
    }
    // If another writer has changed the instance since it was read, this statement changes no row, and so refuses the script.
    script.last_is(Role::MustChange);
    if !same_data {
        // The text comes before the clone, because it refuses data that is nested too deeply: cloning such data would
        // overflow the stack.
        let text = json::text("a workflow's data", &new.data)?;
        (copy.data, copy.weight) = (Arc::new(new.data.clone()), weight(text.len()));
        script.add(&sql::workflows::UPDATE_DATA, [text.into(), seq]);
    }
    Ok(copy)
}

/// How the stored pointers of an instance must change.
#[derive(Default)]
struct PointerDifference<'a> {
    /// The ids of the pointers to remove, in the stored order.
    removed: Vec<&'a str>,
    /// The pointers to store: whether the pointer is stored already, its position, and its columns.
    put: Vec<(bool, i64, [Value; 21])>,
}

impl PointerDifference<'_> {
    fn add_to(self, script: &mut Script, seq: i64) {
        let seq = Value::from(seq);
        for id in self.removed {
            script.add(&sql::pointers::REMOVE, [seq.clone(), id.into()]);
        }
        for (is_stored, position, columns) in self.put {
            if is_stored {
                let [id, columns @ ..] = columns;
                script.add_with(&sql::pointers::CHANGE, [position.into()], &columns, [seq.clone(), id]);
                script.last_is(Role::MustChange);
            } else {
                script.add_with(&sql::pointers::INSERT, [seq.clone(), position.into()], &columns, []);
            }
        }
    }
}

/// In the new order of the pointers, each pointer keeps its stored position as long as these positions increase. The
/// first pointer that is new or breaks this order gets a new position above all stored positions. All pointers after it
/// get new positions as well.
fn pointer_difference<'a>(
    stored: &'a Stored,
    new: &[ExecutionPointer],
) -> Result<(Vec<StoredPointer>, PointerDifference<'a>)> {
    // The usual case needs no map: the stored pointers are in their order, and new pointers follow.
    let in_place = stored.pointers.len() <= new.len()
        && stored.pointers.iter().zip(new).all(|(old, new)| old.pointer.id == new.id);
    let mut by_id: HashMap<&str, &StoredPointer> = HashMap::new();
    if !in_place {
        by_id = stored.pointers.iter().map(|old| (old.pointer.id.as_str(), old)).collect();
    }
    let (mut kept, mut difference) = (Vec::with_capacity(new.len()), PointerDifference::default());
    let (mut last, mut fresh) = (i64::MIN, first_position(stored.revision));
    let mut is_appending = false;
    for (at, pointer) in new.iter().enumerate() {
        let old = if in_place { stored.pointers.get(at) } else { by_id.remove(pointer.id.as_str()) };
        let in_order = old.filter(|old| !is_appending && old.position > last);
        let is_same = old.is_some_and(|old| codec::pointer::same(&old.pointer, pointer));
        let position = if let Some(old) = in_order {
            last = old.position;
            old.position
        } else {
            is_appending = true;
            fresh += 1;
            fresh - 1
        };
        if let (Some(old), true) = (old, is_same && in_order.is_some()) {
            kept.push(old.clone());
            continue;
        }
        let columns = codec::pointer::encode(pointer)?;
        kept.push(StoredPointer {
            position,
            pointer: match old {
                Some(old) if is_same => Arc::clone(&old.pointer),
                _ => Arc::new(pointer.clone()),
            },
            weight: weight(text_bytes(&columns)),
        });
        difference.put.push((old.is_some(), position, columns));
    }
    let ids = stored.pointers.iter().map(|old| old.pointer.id.as_str());
    difference.removed = ids.filter(|id| by_id.contains_key(id)).collect();
    Ok((kept, difference))
}
