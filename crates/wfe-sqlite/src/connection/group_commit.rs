//! Runs the requests of one batch as one transaction.
//!
//! Requests of the same shape (the same statements) are joined into query texts of 32, 16, … 1 requests, so
//! that query texts repeat and stay prepared. Each query text has one savepoint. If a request fails, its query
//! text is rolled back and sent again with a savepoint for each request, so that the failure affects no other
//! request. Failures are rare, and a savepoint for each request from the start would cost two statements and a
//! copy of each page that the request changes.

use std::{collections::VecDeque, sync::Arc};

use wfe_core::WfeError;

use crate::{
    connection::{
        execute::{self, Sent},
        sql_text::{Frame, RELEASE, SAVEPOINT, Savepoints, Texts},
    },
    error,
    file::Loss,
    request::{Done, Script, Statement, Written},
    sqlx::{self, SqliteConnection},
};

/// The maximum number of requests in one query text.
const COPIES: usize = 32;
/// The maximum number of statements in one query text. A query text is prepared once, statement by statement,
/// and the preparation of a longer query text would take too long.
const STATEMENTS: usize = 256;
/// A request with more statements is sent as runs of equal statements, because a query text of the whole
/// request would hardly ever repeat.
const LONG: usize = 40;
/// Takes the write lock at once, because a transaction that begins with a read cannot wait for the lock later.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The result of one request.
pub(crate) type Answer = Result<Written, WfeError>;

/// The outcome of a batch.
pub(crate) enum Batch {
    /// One result for each request. Everything that was written is durable.
    Answered(Vec<Answer>),
    /// Nothing was written: the write lock was not available.
    NotBegun(Arc<sqlx::Error>),
    /// Nothing was written: a statement's error, or a full disk in the COMMIT, ended the whole transaction.
    Ended(Arc<sqlx::Error>),
    /// The COMMIT failed: the outcome is unknown.
    Unknown(Arc<sqlx::Error>),
    /// Nothing was written: the database is lost.
    Lost(Loss),
    /// The loss of the database was found after the COMMIT: the changes may be in the previous file.
    LostSince(Loss),
}

/// Why the work on a batch ends early.
enum Stop {
    NotBegun(Arc<sqlx::Error>),
    Ended(Arc<sqlx::Error>),
    Unknown(Arc<sqlx::Error>),
}

/// Runs these requests in one transaction.
pub(crate) async fn run(connection: &mut SqliteConnection, texts: &mut Texts, scripts: &[&Script]) -> Batch {
    let mut work = Work {
        connection,
        texts,
        scripts,
        answers: std::iter::repeat_with(|| None).take(scripts.len()).collect(),
        savepoints: scripts.len() > 1,
        is_open: false,
    };
    match work.all().await {
        Ok(()) => Batch::Answered(
            work.answers.into_iter().map(|answer| answer.unwrap_or(Err(WfeError::Closed("store")))).collect(),
        ),
        Err(Stop::NotBegun(error)) => Batch::NotBegun(error),
        Err(Stop::Ended(error)) => {
            work.roll_back(&error).await;
            Batch::Ended(error)
        }
        Err(Stop::Unknown(error)) => {
            work.roll_back(&error).await;
            Batch::Unknown(error)
        }
    }
}

struct Work<'a> {
    connection: &'a mut SqliteConnection,
    texts: &'a mut Texts,
    scripts: &'a [&'a Script],
    answers: Vec<Option<Answer>>,
    savepoints: bool,
    is_open: bool,
}

impl Work<'_> {
    async fn all(&mut self) -> Result<(), Stop> {
        let mut chunks = chunks(self.scripts);
        // Usually there is one chunk. A separate text for the BEGIN or the COMMIT costs little compared to
        // several chunks. Otherwise each text would have to be prepared both with and without the BEGIN and the
        // COMMIT.
        let is_alone = chunks.len() == 1 && !self.is_long(&chunks[0]);
        if !is_alone {
            self.begin().await?;
        }
        while let Some(chunk) = chunks.pop_front() {
            if self.is_long(&chunk) {
                self.long(chunk.requests[0]).await?;
                continue;
            }
            let savepoints = if self.savepoints { chunk.savepoints } else { Savepoints::None };
            let (opens, closes) = if self.is_open { (None, false) } else { (Some(BEGIN), true) };
            let frame = Frame { opens, savepoints, closes };
            for rest in self.together(chunk.requests, frame).await?.into_iter().rev() {
                chunks.push_front(rest);
            }
        }
        if !self.is_open {
            return Ok(());
        }
        let frame = Frame { closes: true, ..Frame::default() };
        match self.send(&[], frame, &[]).await.error {
            Some(error) => Err(failed_commit(error)),
            None => Ok(()),
        }
    }

    fn is_long(&self, chunk: &Chunk) -> bool {
        self.scripts[chunk.requests[0]].statements.len() > LONG
    }

    async fn begin(&mut self) -> Result<(), Stop> {
        let frame = Frame { opens: Some(BEGIN), ..Frame::default() };
        if let Some(error) = self.send(&[], frame, &[]).await.error {
            return Err(Stop::NotBegun(Arc::new(error)));
        }
        self.is_open = true;
        Ok(())
    }

    /// Sends these requests of one shape as one query text. If one of the requests fails, returns the requests
    /// that must still be sent: all of them again, each with a savepoint; or, if each request had a savepoint
    /// already, the requests after the failed request.
    async fn together(&mut self, requests: Vec<usize>, frame: Frame) -> Result<Vec<Chunk>, Stop> {
        let scripts = self.scripts;
        let statements = &scripts[requests[0]].statements;
        let sent = self.send(statements, frame, &requests).await;
        let (ended, step) = (sent.done.len(), frame.copy(statements.len()));
        let Some(error) = sent.error else {
            self.answer(&requests, sent.done, frame);
            self.is_open = !frame.closes;
            return Ok(Vec::new());
        };
        if frame.opens.is_some() && ended == 0 {
            return Err(Stop::NotBegun(Arc::new(error)));
        }
        self.is_open = true;
        if ended < frame.before() {
            return Err(Stop::Ended(Arc::new(error)));
        }
        if ended >= frame.before() + requests.len() * step {
            return Err(failed_commit(error));
        }
        if error::ends_connection(&error) {
            return Err(Stop::Ended(Arc::new(error)));
        }
        if frame.savepoints == Savepoints::Whole && requests.len() > 1 {
            self.take_back(&Arc::new(error)).await?;
            return Ok(vec![Chunk { requests, savepoints: Savepoints::Each }]);
        }
        let (whole, statement) = ((ended - frame.before()) / step, (ended - frame.before()) % step);
        self.answer(&requests[..whole], sent.done, frame);
        // With savepoints, the first statement of each copy is its SAVEPOINT, and the last statement is its
        // RELEASE.
        let statement = statement.checked_sub(usize::from(frame.savepoints == Savepoints::Each));
        self.refuse(requests[whole], statement, error).await?;
        let rest = sized(requests[whole + 1..].to_vec(), statements.len()).into_iter();
        Ok(rest.map(|chunk| Chunk { savepoints: frame.savepoints, ..chunk }).collect())
    }

    /// Stores the results of requests whose statements have all ended.
    fn answer(&mut self, requests: &[usize], done: Vec<Done>, frame: Frame) {
        let mut results = done.into_iter().skip(frame.before());
        for &index in requests {
            let length = self.scripts[index].statements.len();
            let mut own: Vec<Done> = results.by_ref().take(frame.copy(length)).collect();
            if frame.savepoints == Savepoints::Each {
                own.pop();
                own.remove(0);
            }
            self.answers[index] = Some(Ok(Written::Done(own)));
        }
    }

    /// Sends a long request as runs of equal statements.
    async fn long(&mut self, index: usize) -> Result<(), Stop> {
        let script = self.scripts[index];
        if self.savepoints {
            self.plain(SAVEPOINT).await?;
        }
        let (mut done, mut value) = (Vec::with_capacity(script.statements.len()), 0);
        while let Some(statement) = script.statements.get(done.len()) {
            let run = script.statements[done.len()..].iter().take_while(|other| *other == statement).count();
            let copies = size(run, 1);
            let values = &script.values[value..value + copies * statement.parameters];
            value += values.len();
            let text = self.texts.get(&[*statement], copies, Frame::default());
            let sent = execute::send(self.connection, text, values, copies, copies).await;
            done.extend(sent.done);
            if let Some(error) = sent.error {
                return self.refuse(index, Some(done.len()), error).await;
            }
        }
        if self.savepoints {
            self.plain(RELEASE).await?;
        }
        self.answers[index] = Some(Ok(Written::Done(done)));
        Ok(())
    }

    /// Rolls back a failed request and stores its result.
    async fn refuse(
        &mut self,
        index: usize,
        statement: Option<usize>,
        error: sqlx::Error,
    ) -> Result<(), Stop> {
        if error::is_damage(&error) || error::ends_connection(&error) {
            // The other results of the batch are not reliable either.
            return Err(Stop::Ended(Arc::new(error)));
        }
        let guard = statement.filter(|&at| {
            self.scripts[index].statements.get(at).is_some_and(|statement| statement.is_guard)
                && error::is_not_null_violation(&error)
        });
        let error = Arc::new(error);
        if self.savepoints {
            self.take_back(&error).await?;
        } else {
            self.roll_back(&error).await;
        }
        self.answers[index] = Some(match (guard, statement) {
            (Some(at), _) => Ok(Written::Refused(at)),
            (None, Some(at)) if error::is_constraint_violation(&error) => {
                Err(error::broken_rule(self.scripts[index], at, &error))
            }
            (None, _) => Err(error::storage("writing", &error)),
        });
        Ok(())
    }

    /// Rolls back to the savepoint. If the savepoint no longer exists, the given error has ended the
    /// transaction.
    async fn take_back(&mut self, error: &Arc<sqlx::Error>) -> Result<(), Stop> {
        self.plain("ROLLBACK TO r").await.map_err(|stop| match stop {
            // The error that ended SQLite's thread takes precedence, because nothing may be sent to that thread
            // any more.
            Stop::Ended(crash) if error::is_crash(&crash) => Stop::Ended(crash),
            _ => Stop::Ended(Arc::clone(error)),
        })?;
        self.plain(RELEASE).await
    }

    /// Sends a statement without arguments inside the transaction; an error means that the transaction has
    /// ended.
    async fn plain(&mut self, text: &'static str) -> Result<(), Stop> {
        match execute::send(self.connection, text.into(), [], 1, 0).await.error {
            Some(error) => Err(Stop::Ended(Arc::new(error))),
            None => Ok(()),
        }
    }

    async fn roll_back(&mut self, after: &sqlx::Error) {
        self.is_open = false;
        // The transaction ends with its connection.
        if error::ends_connection(after) {
            return;
        }
        // The ROLLBACK fails exactly if SQLite has already ended the transaction. Then there is nothing to roll
        // back.
        let _ = execute::send(self.connection, "ROLLBACK".into(), [], 1, 0).await;
    }

    async fn send(&mut self, statements: &[Statement], frame: Frame, of: &[usize]) -> Sent {
        let text = self.texts.get(statements, of.len(), frame);
        let values = of.iter().flat_map(|&index| &self.scripts[index].values);
        let count = frame.text(of.len(), statements.len());
        execute::send(self.connection, text, values, count, count).await
    }
}

/// A COMMIT that failed because of a full disk, or because of the lock, certainly wrote nothing: a transaction
/// is valid only if its last WAL frame was written.
fn failed_commit(error: sqlx::Error) -> Stop {
    let is_certain = error::is_full(&error) || error::is_busy(&error);
    let error = Arc::new(error);
    if is_certain { Stop::Ended(error) } else { Stop::Unknown(error) }
}

/// Requests of one shape that are sent together. Each request is given by its index in the batch.
struct Chunk {
    requests: Vec<usize>,
    savepoints: Savepoints,
}

impl Chunk {
    fn of(requests: Vec<usize>) -> Self {
        Self { requests, savepoints: Savepoints::Whole }
    }
}

/// Groups requests by shape, and cuts each group into chunks whose sizes are powers of two, so that the query
/// texts repeat. Requests with the same key keep their order: the second request with a key comes in a later
/// wave.
fn chunks(scripts: &[&Script]) -> VecDeque<Chunk> {
    use std::collections::HashMap;
    let mut waves: Vec<Vec<Vec<usize>>> = Vec::new();
    let (mut seen, mut groups) = (HashMap::new(), HashMap::new());
    for (index, script) in scripts.iter().enumerate() {
        let wave = seen.entry(script.key).and_modify(|wave| *wave += 1).or_insert(0_usize);
        if waves.len() <= *wave {
            waves.push(Vec::new());
        }
        let shapes = &mut waves[*wave];
        let group = *groups.entry((*wave, &script.statements)).or_insert_with(|| {
            shapes.push(Vec::new());
            shapes.len() - 1
        });
        shapes[group].push(index);
    }
    let mut all = VecDeque::new();
    for group in waves.into_iter().flatten() {
        let length = scripts[group[0]].statements.len();
        if length > LONG {
            all.extend(group.into_iter().map(|index| Chunk::of(vec![index])));
        } else {
            all.extend(sized(group, length));
        }
    }
    all
}

/// How many of `count` requests of `length` statements to send in one query text: the largest of 32, 16, … 1
/// that fits.
fn size(count: usize, length: usize) -> usize {
    let most = COPIES.min(STATEMENTS / length.max(1)).min(count).max(1);
    1 << most.ilog2()
}

fn sized(mut group: Vec<usize>, length: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    while !group.is_empty() {
        let rest = group.split_off(size(group.len(), length));
        chunks.push(Chunk::of(group));
        group = rest;
    }
    chunks
}

#[cfg(test)]
mod tests;
