//! The same action on many instances.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};
use wfe_core::{
    Result, WfeError,
    traits::{Acted, Action, Count, InstanceSummary, ListCursor, Order, Progress, Query},
};

use super::{
    Effect, Operator, Verb,
    rights::{Of, unexpected},
};

/// How many instances are acted on at once. They share transactions of the store.
const BATCH: usize = 200;
/// How many examples a preview has.
const EXAMPLES: usize = 5;
/// How many refusals a report names.
const REFUSALS: usize = 1000;
/// Up to which number matching instances are counted.
const COUNTED: u64 = 1_000_000;

/// The instances of a bulk action.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each bulk action")]
#[non_exhaustive]
pub enum Over {
    /// The instances with these ids.
    Ids(Vec<String>),
    /// The instances that a query selects, the newest first. The order of the query does not matter.
    Query(Query),
}

/// A bulk action that has not begun. [`Operator::bulk`] returns it.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before it is run"]
pub struct Bulk {
    operator: Operator,
    verb: Verb,
    over: Over,
    rate: Option<f64>,
}

/// What a bulk action would do.
///
/// Its JSON: `{"count": {"n": 4, "is_exact": true}, "examples": [ … ]}`. The examples are [`InstanceSummary`]s.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Preview {
    /// The number of instances. Instances that have changed by then may refuse the action.
    pub count: Count,
    /// Up to five of the instances.
    pub examples: Vec<InstanceSummary>,
}

/// What a bulk action has done. What is `None` is left out of its JSON:
///
/// ```json
/// {
///   "bulk": "9f0c…", "action": "resume", "matched": 41, "done": 38, "redundant": 1, "refused": 2,
///   "refusals": [{ "instance": "0193…", "code": "no-effect", "message": "cannot resume workflow \"0193…\": …" }],
///   "is_complete": true
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BulkReport {
    /// The id of the bulk action, which every record of it has.
    pub bulk: String,
    /// The name of the action.
    pub action: &'static str,
    /// The number of instances that the action was tried on.
    pub matched: u64,
    /// The number of instances that were changed.
    pub done: u64,
    /// The number of instances for which what was requested held already.
    pub redundant: u64,
    /// The number of instances that were not changed, because the action was refused for them.
    pub refused: u64,
    /// The refusals, at most 1 000.
    pub refusals: Vec<Refusal>,
    /// Whether the action was tried on all instances. If not, repeat it: what was done is then redundant or refused.
    pub is_complete: bool,
    /// The error of the store that has ended the action early. `None` means that no error has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}

/// A refused action on one instance. Its JSON is shown at [`BulkReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The id of the instance.
    pub instance: String,
    /// The [code](WfeError::code) of the error.
    pub code: &'static str,
    /// The error.
    pub message: String,
}

impl Operator {
    /// Does the same to many instances, once it is [run](Bulk::run).
    ///
    /// ```
    /// # use wfe::{operator::{Over, Verb}, traits::{InstanceState, Query}};
    /// # async fn example(operator: wfe::Operator) -> wfe::Result<()> {
    /// let stands = Query {
    ///     states: vec![InstanceState::Suspended],
    ///     definition: Some("order".to_owned()),
    ///     ..Query::default()
    /// };
    /// let resume = operator.because("the bank is open again").bulk(Verb::Resume, Over::Query(stands)).rate(50.0);
    /// println!("{} instances", resume.preview().await?.count.n);
    /// let report = resume.run(&()).await?;
    /// println!("{} resumed, {} refused", report.done, report.refused);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bulk(&self, verb: Verb, over: Over) -> Bulk {
        Bulk { operator: self.clone(), verb, over, rate: None }
    }
}

impl Bulk {
    /// Sets the highest number of instances per second. By default, the action is as fast as it can be while hosts keep
    /// half of the store's writer.
    pub fn rate(self, per_second: f64) -> Self {
        Self { rate: Some(per_second), ..self }
    }

    /// What the action would do now: the number of instances, and five of them. Changes nothing, and is recorded nowhere.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden): the action itself would be refused, or the query searches for what is hidden.
    /// * [`Invalid`](WfeError::Invalid): see [`Query::check`].
    /// * The errors of the store.
    pub async fn preview(&self) -> Result<Preview> {
        let operator = &self.operator;
        operator.permit(self.verb.kind(), self.concerns()).await?;
        match &self.over {
            Over::Query(_) => {
                let query = self.query();
                let count = operator.count(&query, COUNTED).await?;
                let mut examples = Vec::new();
                let mut after = None;
                // Few of the newest instances may match: the examples are worth a few reads, not all.
                for _ in 0..EXAMPLES {
                    let window = operator.list(&query, after, EXAMPLES - examples.len()).await?;
                    examples.extend(window.rows);
                    after = window.next;
                    if after.is_none() || examples.len() == EXAMPLES {
                        break;
                    }
                }
                Ok(Preview { count, examples })
            }
            Over::Ids(ids) => {
                let (mut seen, mut examples) = (HashSet::new(), Vec::new());
                for id in ids.iter().filter(|id| seen.insert(id.as_str())) {
                    if examples.len() == EXAMPLES {
                        break;
                    }
                    match operator.summary(id).await {
                        Ok(summary) => examples.push(summary),
                        Err(WfeError::WorkflowNotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                let n = ids.iter().collect::<HashSet<_>>().len() as u64;
                Ok(Preview { count: Count { n, is_exact: true }, examples })
            }
        }
    }

    /// Does it. `progress` gets how many instances are dealt with; if it ends the call, the action stops after its
    /// batch, and the report says how far it came.
    ///
    /// Only instances that were stored when the action began are touched. They are acted on in batches of up to 200 at
    /// once, and after each batch the action rests for as long as the batch took, so that hosts keep half of the store's
    /// writer. A refusal stops neither the batch nor the action.
    ///
    /// Each change is recorded with the id of the bulk action. So are its beginning, with the query, and its end, with the
    /// counts. If the future is dropped, or the process ends, what was done stays done, and the record of the end is
    /// missing. In each case the action can be repeated.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden), [`Invalid`](WfeError::Invalid), and the errors of the store: nothing was done.
    ///   An error after the beginning is part of the report.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn run(&self, progress: &dyn Progress) -> Result<BulkReport> {
        let Self { operator, verb, over, rate } = self;
        if rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(WfeError::Invalid("the rate must be a number above zero".to_owned()));
        }
        let bulk = format!("{:032x}", fastrand::u128(..));
        let mut detail = match verb.detail() {
            Value::Null => json!({}),
            detail => detail,
        };
        let total = match over {
            Over::Query(query) => {
                detail["query"] = json!(query);
                let count = operator.count(&self.query(), COUNTED).await?;
                Some(count.n).filter(|_| count.is_exact)
            }
            Over::Ids(ids) => {
                detail["ids"] = json!(ids.len());
                Some(ids.len() as u64)
            }
        };
        let note = |phase: &'static str, report: Option<&BulkReport>| {
            let (bulk, mut detail) = (bulk.clone(), detail.clone());
            detail["phase"] = json!(phase);
            if let Some(report) = report {
                for (name, count) in [
                    ("matched", report.matched),
                    ("done", report.done),
                    ("redundant", report.redundant),
                    ("refused", report.refused),
                ] {
                    detail[name] = json!(count);
                }
                detail["is_complete"] = json!(report.is_complete);
            }
            async move {
                let permit = operator.permit(verb.kind(), self.concerns()).await?;
                match permit.detail(detail).bulk(Some(&bulk)).act(Action::Note).await? {
                    Acted::Noted => Ok(()),
                    other => unexpected(&other),
                }
            }
        };
        note("begin", None).await?;
        let mut report = BulkReport {
            bulk: bulk.clone(),
            action: verb.kind().name(),
            matched: 0,
            done: 0,
            redundant: 0,
            refused: 0,
            refusals: Vec::new(),
            is_complete: false,
            stopped_by: None,
        };
        let went = self.all(&bulk, &mut report, total, progress).await;
        let noted = note("end", Some(&report)).await;
        if let Err(error) = went.and(noted) {
            report.stopped_by = Some(error.to_string());
        }
        Ok(report)
    }

    async fn all(
        &self,
        bulk: &str,
        report: &mut BulkReport,
        total: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut instances = Instances::new(self);
        let size = match self.rate {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 200")]
            Some(rate) => rate.ceil().clamp(1.0, 200.0) as usize,
            None => BATCH,
        };
        while let Some(ids) = instances.next(size).await? {
            let began = Instant::now();
            let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let acted = stream::iter(ids).map(|id| async move {
                let effect = self.operator.act_in(&self.verb, &id, Some(bulk)).await;
                (id, effect)
            });
            let mut acted = acted.buffer_unordered(BATCH);
            let mut fatal = None;
            while let Some((instance, effect)) = acted.next().await {
                report.matched += 1;
                match effect {
                    Ok(Effect::Redundant) => report.redundant += 1,
                    Ok(_) => report.done += 1,
                    Err(error) => {
                        report.refused += 1;
                        if report.refusals.len() < REFUSALS {
                            let (code, message) = (error.code(), error.to_string());
                            report.refusals.push(Refusal { instance, code, message });
                        }
                        if is_fatal(&error) {
                            fatal = Some(error);
                        }
                    }
                }
            }
            if let Some(error) = fatal {
                return Err(error);
            }
            if instances.is_over() {
                break;
            }
            if progress.advanced(report.matched, total).is_break() {
                return Ok(());
            }
            let took = began.elapsed();
            let slow = self.rate.map_or(Duration::ZERO, |rate| {
                Duration::try_from_secs_f64(f64::from(count) / rate)
                    .unwrap_or(Duration::MAX)
                    .saturating_sub(took)
            });
            tokio::time::sleep(took.max(slow)).await;
        }
        report.is_complete = true;
        // The last batch is reported too; there is nothing left to end.
        let _over = progress.advanced(report.matched, total);
        Ok(())
    }

    /// What the whole action concerns. Without one definition, rights are checked for each instance only.
    fn concerns(&self) -> Of<'_> {
        match &self.over {
            Over::Query(Query { definition: Some(definition), .. }) => Of::Definition(definition),
            Over::Query(_) | Over::Ids(_) => Of::Each,
        }
    }

    /// The query, newest first: instances that are started later come before its beginning, and are never reached.
    fn query(&self) -> Query {
        match &self.over {
            Over::Query(query) => Query { order: Order::Newest, ..query.clone() },
            Over::Ids(_) => Query::default(),
        }
    }
}

/// Whether every further action would fail in the same way.
fn is_fatal(error: &WfeError) -> bool {
    matches!(
        error,
        WfeError::Unusable { .. }
            | WfeError::ReadOnly { .. }
            | WfeError::SchemaTooOld { .. }
            | WfeError::SchemaTooNew { .. }
            | WfeError::Full { .. }
            | WfeError::Closed(_)
            | WfeError::Unsupported(_)
    )
}

/// The instances of a bulk action, in batches.
struct Instances<'b> {
    bulk: &'b Bulk,
    query: Query,
    after: Option<ListCursor>,
    ids: std::vec::IntoIter<String>,
    is_over: bool,
}

impl<'b> Instances<'b> {
    fn new(bulk: &'b Bulk) -> Self {
        let mut seen = HashSet::new();
        let ids = match &bulk.over {
            Over::Ids(ids) => ids.iter().filter(|id| seen.insert(id.as_str())).cloned().collect(),
            Over::Query(_) => Vec::new(),
        };
        Self { bulk, query: bulk.query(), after: None, ids: ids.into_iter(), is_over: false }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next batch, of at most `size` ids, or `None` after the last one.
    async fn next(&mut self, size: usize) -> Result<Option<Vec<String>>> {
        if self.is_over {
            return Ok(None);
        }
        if let Over::Ids(_) = self.bulk.over {
            let ids: Vec<String> = self.ids.by_ref().take(size).collect();
            self.is_over = self.ids.len() == 0;
            return Ok(Some(ids).filter(|ids| !ids.is_empty()));
        }
        loop {
            let window = self.bulk.operator.list(&self.query, self.after, size).await?;
            self.after = window.next;
            self.is_over = window.next.is_none();
            if !window.rows.is_empty() {
                return Ok(Some(window.rows.into_iter().map(|row| row.id).collect()));
            }
            if self.is_over {
                return Ok(None);
            }
        }
    }
}
