//! Removes instances in transactions of a bounded number of rows. What belongs to an instance is found on a reader, and
//! removed by row numbers, so the writer is held only for the removal itself.

use wfe_core::{Result, traits::PurgeReport};

use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, hexadecimal},
    request::{Done, Role, Script},
    sql::removals as sql,
};

/// An instance that has ended, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) seq: i64,
    pub(super) revision: i64,
    /// The id that the rows of the instance name. It is the former id if the removal has begun.
    pub(super) id: String,
    /// Whether the removal has begun.
    pub(super) is_going: bool,
}

/// The numbers of rows that belong to an instance, without its own row.
#[derive(Debug, Default)]
struct Parts {
    pointers: Vec<i64>,
    subscriptions: Vec<i64>,
    failures: Vec<i64>,
    commands: Vec<i64>,
}

impl Parts {
    fn len(&self) -> usize {
        self.pointers.len() + self.subscriptions.len() + self.failures.len() + self.commands.len()
    }

    /// Keeps only the first `limit` rows: pointers first.
    fn truncate(&mut self, mut limit: usize) {
        for rows in [&mut self.pointers, &mut self.subscriptions, &mut self.failures, &mut self.commands] {
            rows.truncate(limit);
            limit -= rows.len();
        }
    }
}

/// The statements that read the parts of one instance.
const READS: usize = 6;
/// How many instances are read in one snapshot. With more, a batch of large instances would read many rows in vain.
const CHUNK: usize = 16;

/// What one transaction removes.
pub(super) struct Batch {
    /// The instances that are removed whole.
    whole: Vec<(Ended, Parts)>,
    /// The instance of which only these parts fit.
    partial: Option<(Ended, Parts)>,
}

impl Batch {
    /// Takes as many of these instances as fit in a transaction of `limit` rows, in their order.
    pub(super) async fn read(
        store: &SqlitePersistenceProvider,
        instances: &[Ended],
        limit: usize,
    ) -> Result<Self> {
        let mut batch = Self { whole: Vec::new(), partial: None };
        let mut left = limit.max(2);
        for chunk in instances.chunks(CHUNK) {
            let all = parts(store, chunk, left).await?;
            for (instance, mut parts) in chunk.iter().zip(all) {
                if parts.len() < left {
                    left -= parts.len() + 1;
                    batch.whole.push((instance.clone(), parts));
                } else if batch.whole.is_empty() {
                    parts.truncate(left - 1);
                    batch.partial = Some((instance.clone(), parts));
                    return Ok(batch);
                } else {
                    return Ok(batch);
                }
            }
            if left < 2 {
                break;
            }
        }
        Ok(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.partial.is_none()
    }

    /// The number of instances that the batch takes.
    pub(super) fn instances(&self) -> usize {
        self.whole.len() + usize::from(self.partial.is_some())
    }

    /// The statements of the transaction. The statement about the row of each instance comes first.
    pub(super) fn script(&self) -> Script {
        let mut script = Script::default();
        for (instance, _) in &self.whole {
            script.add(&sql::REMOVE, [instance.seq.into(), instance.revision.into()]);
        }
        if let Some((instance, parts)) = &self.partial {
            if !instance.is_going {
                script.add(&sql::MARK, [instance.seq.into(), instance.revision.into()]);
            }
            script.add(&sql::REMOVE_POINTERS, [hexadecimal::numbers(&parts.pointers).into()]);
        }
        let parts: [fn(&Parts) -> &[i64]; 3] =
            [|parts| &parts.subscriptions, |parts| &parts.failures, |parts| &parts.commands];
        for (statement, parts) in
            [&sql::REMOVE_SUBSCRIPTIONS, &sql::REMOVE_FAILURES, &sql::REMOVE_COMMANDS].into_iter().zip(parts)
        {
            let rows: Vec<(&str, &[i64])> = self
                .whole
                .iter()
                .chain(&self.partial)
                .map(|(instance, of)| (&*instance.id, parts(of)))
                .filter(|(_, rows)| !rows.is_empty())
                .collect();
            if !rows.is_empty() {
                script.add(statement, [hexadecimal::rows(&rows).into()]);
            }
        }
        script
    }

    /// What the transaction has removed, from the results of the statements of [`script`](Self::script).
    pub(super) fn removed(&self, store: &SqlitePersistenceProvider, done: &[Done]) -> PurgeReport {
        let mut report = PurgeReport::default();
        for ((instance, parts), done) in self.whole.iter().zip(done) {
            if done.changes > 0 {
                store.cache.remove(&instance.id);
                report.instances += 1;
                // The pointers were removed by the foreign key, which does not count them.
                report.rows += 1 + u64::try_from(parts.pointers.len()).unwrap_or(u64::MAX);
            }
        }
        let mut others = done.iter().skip(self.whole.len());
        if let Some((instance, _)) = &self.partial {
            if !instance.is_going {
                others.next();
            }
            store.cache.remove(&instance.id);
        }
        report.rows += others.map(|done| done.changes).sum::<u64>();
        report
    }
}

/// Removes an instance whose removal has begun, up to its end.
pub(super) async fn finish(store: &SqlitePersistenceProvider, seq: i64, limit: usize) -> Result<PurgeReport> {
    let mut report = PurgeReport::default();
    loop {
        let going = going(store, Some(seq), 1).await?;
        let batch = Batch::read(store, &going, limit).await?;
        if batch.is_empty() {
            return Ok(report);
        }
        add(&mut report, remove(store, &batch).await?);
    }
}

/// Removes one batch in a transaction.
pub(super) async fn remove(store: &SqlitePersistenceProvider, batch: &Batch) -> Result<PurgeReport> {
    let done = store.writer.run(batch.script()).await?;
    Ok(batch.removed(store, &done))
}

pub(super) fn add(report: &mut PurgeReport, more: PurgeReport) {
    report.instances += more.instances;
    report.events += more.events;
    report.rows += more.rows;
}

/// The instances whose removal has begun, or the one with this number.
pub(super) async fn going(
    store: &SqlitePersistenceProvider,
    seq: Option<i64>,
    limit: i64,
) -> Result<Vec<Ended>> {
    let mut script = Script::default();
    script.add(&sql::GOING, [seq.into(), seq.into(), limit.into()]);
    read(store, script, true).await
}

/// Reads instances: number, revision, id.
pub(super) async fn read(
    store: &SqlitePersistenceProvider,
    script: Script,
    is_going: bool,
) -> Result<Vec<Ended>> {
    let done = store.read(script).await?;
    let rows = done.iter().flat_map(|done| &done.rows);
    store.sound(rows.map(|row| {
        let mut fields = Fields::new(row, "workflows", "");
        let (seq, revision) = (fields.int("seq")?, fields.int("revision")?);
        Ok(Ended { seq, revision, id: fields.string("id")?, is_going })
    }))
}

/// The parts of each of these instances, up to `limit` rows of each kind.
async fn parts(store: &SqlitePersistenceProvider, instances: &[Ended], limit: usize) -> Result<Vec<Parts>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut script = Script::default();
    for Ended { seq, id, .. } in instances {
        script.add(&sql::POINTERS, [(*seq).into(), limit.into()]);
        script.add(&sql::POSITIONS, [id.into(), limit.into()]);
        script.add(&sql::SUBSCRIPTIONS, [id.into(), id.into(), id.into(), limit.into()]);
        script.add(&sql::FOREIGN_SUBSCRIPTIONS, [id.into(), limit.into()]);
        script.add(&sql::FAILURES, [id.into(), limit.into()]);
        script.add(&sql::COMMAND, [id.into(), limit.into()]);
    }
    let done = store.read(script).await?;
    done.chunks(READS)
        .map(|done| {
            let mut parts = Parts::default();
            for (at, done) in done.iter().enumerate() {
                let into = match at {
                    0 => &mut parts.pointers,
                    1..=3 => &mut parts.subscriptions,
                    4 => &mut parts.failures,
                    _ => &mut parts.commands,
                };
                for row in &done.rows {
                    into.push(Fields::new(row, "sqlite_schema", "").int("seq")?);
                }
            }
            Ok(parts)
        })
        .collect()
}

/// Refuses a script whose first statement has changed nothing: the instance has changed since it was read.
pub(super) fn must_change(script: &mut Script) {
    if let Some(first) = script.statements.first_mut() {
        first.role = Role::MustChange;
    }
}
