//! Requests to the database: constant SQL, its arguments, and its results.

use std::sync::Arc;

use wfe_core::WfeError;
use wfe_sqlite_handle::{self as handle, ToSql, ToSqlOutput, ValueRef};

use crate::{
    instance::cache::Stored,
    row::{Row, Rows},
};

/// One constant SQL statement with `N` anonymous parameters.
///
/// At compile time, `N` is compared with the number of parameters in the statement's text, because a missing argument
/// would silently be NULL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql<const N: usize> {
    text: &'static str,
    own: Option<Own>,
    /// Whether the statement may change an instance or its pointers.
    writes_instances: bool,
}

const fn contains(text: &[u8], word: &[u8]) -> bool {
    let mut at = 0;
    while at + word.len() <= text.len() {
        let mut same = 0;
        while same < word.len() && text[at + same] == word[same] {
            same += 1;
        }
        if same == word.len() {
            return true;
        }
        at += 1;
    }
    false
}

/// The table that a statement writes. Only a statement that writes nothing but rows of the subject of its [`Script`]
/// has this value. The subject is an instance or a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// The statement writes rows of `workflows`.
    Instance,
    /// The statement writes rows of `execution_pointers`.
    Pointers,
    /// The statement writes rows of `event_subscriptions`.
    Waits,
}

impl Own {
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Instance => "workflows",
            Self::Pointers => "execution_pointers",
            Self::Waits => "event_subscriptions",
        }
    }
}

impl<const N: usize> Sql<N> {
    pub(crate) const fn new(text: &'static str) -> Self {
        let (bytes, mut at, mut parameters) = (text.as_bytes(), 0, 0);
        while at < bytes.len() {
            if bytes[at] == b'?' {
                parameters += 1;
            }
            assert!(bytes[at] != b';', "one statement only");
            at += 1;
        }
        assert!(parameters == N, "another number of parameters than declared");
        let writes_instances = contains(bytes, b"UPDATE workflows")
            || contains(bytes, b"INTO workflows")
            || contains(bytes, b"DELETE FROM workflows")
            || contains(bytes, b"UPDATE execution_pointers")
            || contains(bytes, b"INTO execution_pointers")
            || contains(bytes, b"DELETE FROM execution_pointers");
        Self { text, own: None, writes_instances }
    }

    /// Marks the statement as one that writes only rows of the subject of its script. If the statement breaks
    /// a rule of the schema, the error is reported as a fault of the subject.
    pub(crate) const fn own(self, own: Own) -> Self {
        Self { own: Some(own), ..self }
    }

    pub(crate) const fn text(&self) -> &'static str {
        self.text
    }

    const fn statement(&self, role: Role) -> Statement {
        let writes_instances = self.writes_instances;
        Statement { text: self.text, parameters: N, role, own: self.own, writes_instances }
    }
}

/// An argument of a statement. An argument is cheap to clone, because a request may have to be sent again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    /// A text that the program contains, such as the name of a status.
    Fixed(&'static str),
    Text(Arc<str>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.as_str().into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<'a> From<&'a Option<String>> for Value {
    fn from(value: &'a Option<String>) -> Self {
        value.as_deref().into()
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> handle::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Fixed(text) => ValueRef::Text(text.as_bytes()),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The number of bytes of text in these arguments.
pub(crate) fn text_bytes(values: &[Value]) -> usize {
    let bytes = |value: &Value| match value {
        Value::Null | Value::Int(_) => 0,
        Value::Fixed(text) => text.len(),
        Value::Text(text) => text.len(),
    };
    values.iter().map(bytes).sum()
}

/// How a statement takes part in its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs.
    Plain,
    /// A guard: refuses the script if it returns a row.
    Guard,
    /// Runs, and refuses the script if it changes no row. The condition under which the script may write is part of this
    /// statement, which saves a guard.
    MustChange,
    /// Runs only if the statement before it has changed a row.
    IfChanged,
    /// Runs only if the statement before it has changed no row.
    IfUnchanged,
}

/// One statement of a [`Script`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) text: &'static str,
    pub(crate) parameters: usize,
    pub(crate) role: Role,
    pub(crate) own: Option<Own>,
    pub(crate) writes_instances: bool,
}

/// Receives each row as it arrives, together with the index of the statement that returned the row. Runs on the thread
/// that reads the rows.
pub(crate) type Take = Box<dyn FnMut(usize, Row<'_>) -> Taken + Send>;

/// What becomes of a row that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The row is collected.
    Collect,
    /// The row was decoded already, or is not needed.
    Skip,
    /// As `Skip`, and the statement returns no more rows.
    End,
}

impl Taken {
    /// Collects the row if `condition` holds.
    pub(crate) fn collect_if(condition: bool) -> Self {
        if condition { Self::Collect } else { Self::Skip }
    }
}

/// Adds further statements to a script, which run only if the script changes something.
pub(crate) type More<'a> = &'a (dyn Fn(&mut Script) + Send + Sync);

/// Adds no statements.
pub(crate) const NOTHING: More<'static> = &|_| {};

/// A copy of an instance for the cache.
pub(crate) struct NewCopy {
    pub(crate) stored: Stored,
    /// The index of the statement that inserts the instance, and determines its `seq`. `None` if the instance has one.
    pub(crate) inserted: Option<usize>,
}

/// Statements that belong together: either all of them take effect or none.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) statements: Vec<Statement>,
    pub(crate) values: Vec<Value>,
    refusals: Vec<(usize, WfeError)>,
    /// The hash of the subject.
    pub(crate) key: u64,
    /// Whether the script stores a change that concerns other hosts. The other hosts are notified once the change is
    /// durable.
    pub(crate) notifies: bool,
    /// The one instance that the script changes, as it is stored once the script is durable.
    pub(crate) copy: Option<NewCopy>,
    /// Processes the rows of a script that reads. `None` means that all rows are collected.
    pub(crate) take: Option<Take>,
}

impl Script {
    /// Creates a script about the subject `key`.
    pub(crate) fn about(key: &str) -> Self {
        Self { key: hash(key), ..Self::default() }
    }

    /// The subject of the script, if the subject is among the arguments of the statements.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.values.iter().find_map(|value| match value {
            Value::Text(text) if hash(text) == self.key => Some(&**text),
            _ => None,
        })
    }

    /// The same script. When it is stored, other hosts are notified.
    pub(crate) fn notifying(self) -> Self {
        Self { notifies: true, ..self }
    }

    /// Adds a statement and returns its index.
    pub(crate) fn add<const N: usize>(&mut self, sql: &Sql<N>, values: [Value; N]) -> usize {
        self.add_as(Role::Plain, sql, values)
    }

    /// Like [`add`](Self::add), but the statement takes part in the script in this role.
    pub(crate) fn add_as<const N: usize>(&mut self, role: Role, sql: &Sql<N>, values: [Value; N]) -> usize {
        self.statements.push(sql.statement(role));
        self.values.extend(values);
        self.statements.len() - 1
    }

    /// Like [`add`](Self::add), but with a model's columns between other arguments.
    pub(crate) fn add_with<const A: usize, const M: usize, const B: usize, const N: usize>(
        &mut self,
        sql: &Sql<N>,
        before: [Value; A],
        model: &[Value; M],
        after: [Value; B],
    ) -> usize {
        const { assert!(A + M + B == N, "another number of arguments than parameters") };
        self.statements.push(sql.statement(Role::Plain));
        self.values.extend(before);
        self.values.extend_from_slice(model);
        self.values.extend(after);
        self.statements.len() - 1
    }

    /// Changes the role of the statement that was added last.
    pub(crate) fn last_is(&mut self, role: Role) {
        if let Some(last) = self.statements.last_mut() {
            last.role = role;
        }
    }

    /// Adds a guard and returns its index. If the guard's condition does not hold, the script writes nothing,
    /// and its result is the index of the guard.
    pub(crate) fn guard<const N: usize>(&mut self, sql: &Sql<N>, values: [Value; N]) -> usize {
        self.add_as(Role::Guard, sql, values)
    }

    /// Adds a guard. If the guard's condition does not hold, the script writes nothing, and its result is
    /// `error`.
    pub(crate) fn guard_or<const N: usize>(&mut self, sql: &Sql<N>, values: [Value; N], error: WfeError) {
        let index = self.guard(sql, values);
        self.refusals.push((index, error));
    }

    /// Whether the script may change instances of which it has no copy.
    pub(crate) fn may_change_others(&self) -> bool {
        self.copy.is_none() && self.statements.iter().any(|statement| statement.writes_instances)
    }

    /// The approximate number of bytes of memory that the script takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.statements) + size_of_val(&*self.values) + text_bytes(&self.values)
    }

    /// Takes the errors of the guards out of the script. Each error comes with the index of its guard.
    pub(crate) fn take_refusals(&mut self) -> Vec<(usize, WfeError)> {
        std::mem::take(&mut self.refusals)
    }
}

fn hash(key: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The result of one statement.
#[derive(Default)]
pub(crate) struct Done {
    /// The number of changed rows. It is meaningful only for a statement that changes rows.
    pub(crate) changes: u64,
    /// The number (`seq`) of the row that was inserted last. It is meaningful only for a statement that inserts rows.
    pub(crate) inserted: i64,
    /// The returned rows.
    pub(crate) rows: Rows,
}

/// The result of a script that ended without an error.
pub(crate) enum Written {
    /// The result of every statement.
    Done(Vec<Done>),
    /// The condition of the statement with this index did not hold: of a guard, or of a statement that must change a
    /// row. Nothing was written.
    Refused(usize),
}

impl Written {
    /// The results of the statements. `None` if nothing was written.
    pub(crate) fn done(&self) -> Option<&[Done]> {
        match self {
            Self::Done(done) => Some(done),
            Self::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_counted_when_compiling() {
        const TWO: Sql<2> = Sql::new("SELECT ?, ?");
        let mut script = Script::about("a");
        script.add(&TWO, [1_i64.into(), "x".into()]);
        assert_eq!(script.values.len(), 2);
        assert_eq!(script.key, Script::about("a").key);
        assert_eq!((script.subject(), Script::about("x").subject()), (None, None));
        assert_eq!(Script { key: Script::about("x").key, ..script }.subject(), Some("x"));
    }
}
