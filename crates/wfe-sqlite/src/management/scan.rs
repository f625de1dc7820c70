//! Runs the statements of `sql::listings`: finds the leader that can be used, and stops when enough rows were found.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use wfe_core::{
    Result,
    sync::lock,
    traits::{ListCursor, MAX_ROWS},
};

use super::filter::{Filter, Leader};
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, to_integer},
    request::{Script, Sql, Taken, Value},
    row::Row,
    sql::listings::{self, FILTER},
};

/// The number of columns before those of the summary.
pub(super) const BEFORE: usize = 5;

/// A statement that searches the data ends when the rows that it has looked at have this many bytes of data.
const MAX_DATA: u64 = 64 << 20;

/// What is read of the selected instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Nothing,
    /// The columns of their rows.
    Row,
    /// Their waits and attributes, too.
    Summary,
}

/// What a statement has found.
pub(super) struct Scanned<T> {
    /// The selected instances, in order. Empty if nothing of them was read.
    pub(super) rows: Vec<Result<T>>,
    /// How many instances are selected.
    pub(super) selected: u64,
    pub(super) looked_at: u64,
    /// Where the statement has ended, if more rows may follow.
    pub(super) next: Option<ListCursor>,
    /// Whether there are as many rows as asked for, or all.
    pub(super) is_whole: bool,
}

/// How far a statement is.
struct Progress<T> {
    rows: Vec<Result<T>>,
    selected: u64,
    looked_at: u64,
    bytes: u64,
    last: Option<(i64, i64)>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The statement has returned all of its rows.
    All,
    /// Enough instances are selected.
    Full,
    /// It has looked at enough data.
    Enough,
    /// The set is too large.
    Useless,
}

/// Runs a query until `limit` instances are selected, from the cursor on. `decode` decodes a row whose summary begins after
/// [`BEFORE`] other columns.
pub(super) async fn scan<T: Send + 'static>(
    store: &SqlitePersistenceProvider,
    filter: &Filter,
    after: Option<ListCursor>,
    limit: u64,
    detail: Detail,
    decode: impl Fn(Row<'_>) -> Result<T> + Clone + Send + 'static,
) -> Result<Scanned<T>> {
    let nothing = || Scanned { rows: Vec::new(), selected: 0, looked_at: 0, next: None, is_whole: true };
    if limit == 0 {
        return Ok(Scanned { next: after, ..nothing() });
    }
    let after = match after.map(|cursor| Ok((cursor.key, to_integer("a cursor", cursor.seq)?))) {
        None => None,
        Some(Ok(after)) => Some(after),
        // No instance has such a number. The cursor is of another store.
        Some(Err::<_, wfe_core::WfeError>(_)) => return Ok(nothing()),
    };
    let (reads_rows, max_data) =
        (detail != Detail::Nothing, if filter.reads_data { MAX_DATA } else { u64::MAX });
    for leader in &filter.leaders {
        let mut script = Script::default();
        leader.add(&mut script, filter, after, detail);
        let bounds =
            Bounds { limit, max_data, reads_rows, is_set: leader.is_set(), max_rows: filter.max_rows };
        if let Some(found) = run(store, script, bounds, decode.clone()).await? {
            return Ok(found);
        }
    }
    Ok(nothing())
}

/// When a statement ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many selected rows are enough.
    pub(super) limit: u64,
    /// How many bytes of data may be looked at.
    pub(super) max_data: u64,
    /// Whether the selected rows are decoded.
    pub(super) reads_rows: bool,
    /// Whether the leader is a set.
    pub(super) is_set: bool,
    /// How many rows the leader yields at most. A set that has more is useless.
    pub(super) max_rows: u64,
}

impl Bounds {
    /// Those of a page of this many rows, all of which are decoded.
    pub(super) fn of_page(limit: usize, is_set: bool) -> Self {
        Self { limit: limit as u64, max_data: u64::MAX, reads_rows: true, is_set, max_rows: MAX_ROWS }
    }
}

/// Runs the statement of a listing. `None` means that its leader is a set which is too large.
pub(super) async fn run<T: Send + 'static>(
    store: &SqlitePersistenceProvider,
    mut script: Script,
    bounds: Bounds,
    decode: impl Fn(Row<'_>) -> Result<T> + Send + 'static,
) -> Result<Option<Scanned<T>>> {
    let progress = Arc::new(Mutex::new(Progress {
        rows: Vec::new(),
        selected: 0,
        looked_at: 0,
        bytes: 0,
        last: None,
        end: End::All,
    }));
    let taking = Arc::clone(&progress);
    script.take = Some(Box::new(move |_, row| {
        let mut progress = lock(&taking);
        let number = |column: usize| row.get::<Option<i64>>(column).ok().flatten().unwrap_or(0);
        if number(0).unsigned_abs() > bounds.max_rows {
            progress.end = End::Useless;
            return Taken::End;
        }
        progress.looked_at += 1;
        progress.last = Some((number(1), number(2)));
        progress.bytes = progress.bytes.saturating_add(number(3).unsigned_abs());
        if number(4) == 1 {
            progress.selected += 1;
            if bounds.reads_rows {
                progress.rows.push(decode(row));
            }
        }
        progress.end = match () {
            () if progress.selected == bounds.limit => End::Full,
            () if progress.bytes > bounds.max_data => End::Enough,
            () => return Taken::Skip,
        };
        Taken::End
    }));
    store.read(script).await?;
    let mut progress = lock(&progress);
    if progress.end == End::Useless {
        return Ok(None);
    }
    let is_window = !bounds.is_set && progress.looked_at == bounds.max_rows;
    let is_at_end = progress.end == End::All && !is_window;
    let cursor = |(key, seq): (i64, i64)| Some(ListCursor { key, seq: u64::try_from(seq).ok()? });
    Ok(Some(Scanned {
        rows: std::mem::take(&mut progress.rows),
        selected: progress.selected,
        looked_at: progress.looked_at,
        next: if is_at_end { None } else { progress.last.and_then(cursor) },
        is_whole: is_at_end || progress.end == End::Full,
    }))
}

impl Leader {
    /// Whether the leader sorts a set, which is complete or useless.
    fn is_set(&self) -> bool {
        !matches!(
            self,
            Self::All
                | Self::Definition(_)
                | Self::Attribute(_)
                | Self::Open(..)
                | Self::Ended(..)
                | Self::Due
        )
    }

    /// Adds the statement of this leader.
    fn add(&self, script: &mut Script, filter: &Filter, after: Option<(i64, i64)>, detail: Detail) {
        let is_newest = filter.order().0;
        let seq = Value::Int(after.map_or(if is_newest { i64::MAX } else { i64::MIN }, |(_, seq)| seq));
        let add = Add { script, filter, detail };
        match self {
            Self::All if is_newest => add.walk(&listings::NEWEST, [seq]),
            Self::All => add.walk(&listings::OLDEST, [seq]),
            Self::Definition(id) if is_newest => {
                add.walk(&listings::NEWEST_OF_DEFINITION, [id.clone(), seq]);
            }
            Self::Definition(id) => add.walk(&listings::OLDEST_OF_DEFINITION, [id.clone(), seq]),
            Self::Attribute(needle) if is_newest => {
                add.walk(&listings::NEWEST_WITH_ATTRIBUTE, [needle.clone(), seq]);
            }
            Self::Attribute(needle) => add.walk(&listings::OLDEST_WITH_ATTRIBUTE, [needle.clone(), seq]),
            Self::Open(definition, version, of_status) => {
                let arm = |wanted: bool| {
                    let [definition, version] = [definition.clone(), version.clone()];
                    [definition.clone(), definition, version.clone(), version, wanted.into(), seq.clone()]
                };
                let arms = joined(of_status.iter().map(|wanted| arm(*wanted)));
                let statement = if is_newest { &listings::NEWEST_OPEN } else { &listings::OLDEST_OPEN };
                add.walk(statement, arms);
            }
            Self::Ended(definition, endings, [from, until]) => {
                let (key, seq) = after.unwrap_or((i64::MAX, i64::MAX));
                let definition = || [definition.clone(), definition.clone()];
                let bounds = || [key, seq, *from, *until].map(Value::Int);
                let mut values = Vec::with_capacity(34);
                for ending in endings {
                    values.extend(definition());
                    values.push(ending.clone());
                    values.extend(bounds());
                }
                values.extend(definition());
                values.extend(bounds());
                add.walk(&listings::LAST_ENDED, filled::<34>(values));
            }
            Self::Due => {
                let (key, seq) = after.unwrap_or((i64::MIN, i64::MIN));
                add.walk(&listings::FIRST_DUE, [key, seq].map(Value::Int));
            }
            Self::Name(name) => add.set(&listings::NAMED, [name.clone()], after),
            Self::Id(range) => add.set(&listings::BY_ID, range.clone(), after),
            Self::Reference(range) => add.set(&listings::BY_REFERENCE, range.clone(), after),
            Self::Parent(parent) => add.set(&listings::CHILDREN, [parent.clone()], after),
            Self::Requested => add.set(&listings::REQUESTED, [], after),
            Self::EventName(name) => add.set_of_waiting(&listings::WAITING_FOR_NAME, [name.clone()], after),
            Self::Event(event) => add.set_of_waiting(&listings::WAITING_FOR_EVENT, event.clone(), after),
            Self::States(states) => add.set(&listings::IN_STATES, (**states).clone(), after),
        }
    }
}

/// The values of both parts.
fn joined(arms: impl Iterator<Item = [Value; 6]>) -> [Value; 12] {
    filled(arms.flatten().collect())
}

fn filled<const N: usize>(values: Vec<Value>) -> [Value; N] {
    let mut values = values.into_iter();
    std::array::from_fn(|_| values.next().unwrap_or(Value::Null))
}

struct Add<'a> {
    script: &'a mut Script,
    filter: &'a Filter,
    detail: Detail,
}

impl Add<'_> {
    fn walk<const A: usize, const N: usize>(self, statement: &Sql<N>, leader: [Value; A]) {
        let reads_all = Value::from(self.detail == Detail::Summary);
        let reads_row = Value::from(self.detail != Detail::Nothing);
        let mut values = Vec::with_capacity(N);
        values.extend([reads_all.clone(), reads_all.clone()]);
        values.extend_from_slice(&self.filter.values);
        values.extend(leader);
        values.extend([self.filter.window(), reads_row, reads_all]);
        const { assert!(FILTER + A + 5 == N, "another number of arguments than parameters") };
        self.script.add(statement, filled(values));
    }

    fn set<const A: usize, const N: usize>(
        self,
        statement: &Sql<N>,
        set: [Value; A],
        after: Option<(i64, i64)>,
    ) {
        let values = &self.filter.values;
        self.set_with(statement, values, set, after);
    }

    /// A set that shows by itself that its instances wait for the event.
    fn set_of_waiting<const A: usize, const N: usize>(
        self,
        statement: &Sql<N>,
        set: [Value; A],
        after: Option<(i64, i64)>,
    ) {
        let values = self.filter.values_of_waiting.as_ref().unwrap_or(&self.filter.values);
        self.set_with(statement, values, set, after);
    }

    fn set_with<const A: usize, const N: usize>(
        self,
        statement: &Sql<N>,
        filter: &[Value; FILTER],
        set: [Value; A],
        after: Option<(i64, i64)>,
    ) {
        let (is_descending, key) = self.filter.order();
        let (first, second) = match after {
            None => (i64::MIN, i64::MIN),
            Some((key, seq)) if is_descending => (!key, !seq),
            Some(after) => after,
        };
        let reads_all = Value::from(self.detail == Detail::Summary);
        let reads_row = Value::from(self.detail != Detail::Nothing);
        let mut values = Vec::with_capacity(N);
        values.extend([reads_all.clone(), reads_all.clone()]);
        values.extend_from_slice(filter);
        values.extend(set);
        let window = || self.filter.window();
        values.extend([self.filter.behind_window(), is_descending.into(), is_descending.into()]);
        values.extend([Value::Int(key), window(), Value::Int(first), Value::Int(second)]);
        values.extend([window(), window(), reads_row, reads_all]);
        const { assert!(FILTER + A + 13 == N, "another number of arguments than parameters") };
        self.script.add(statement, filled(values));
    }
}

/// Skips the columns before those of the summary.
pub(super) fn columns(row: Row<'_>) -> Fields<'_> {
    let mut fields = Fields::new(row, "workflows", "");
    (0..BEFORE).for_each(|_| fields.skip());
    fields
}

/// The time in milliseconds of a column, as near as a time can be.
pub(super) fn from_millis(millis: i64) -> DateTime<Utc> {
    let nearest = if millis < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_millis(millis).unwrap_or(nearest)
}
