//! Instances that others have stored, of definitions that are not registered here.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use wfe_core::{Result, WfeError, logging, models::WorkflowInstance};

use super::Dispatcher;
use crate::engine::state::shared::Shared;

/// Instances read for their definitions at each look. Where more are due, the next look goes on behind them.
const INSTANCES_AT_MOST: usize = 256;
/// Of these, so many are in memory at once: each may be large.
const INSTANCES_AT_ONCE: usize = 16;
/// A look lists all that is due, also what other hosts work on: the pause after it is so many times as long as it took. So
/// however much that is, it takes a thousandth of a core.
const PAUSE_FOR_LOOK: u32 = 1000;
/// Without news that anything was stored there is a look this often, since a crash can swallow news.
const WITHOUT_NEWS: Duration = Duration::from_mins(1);

/// When to look for them again. Real time: it is about what a look costs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last look ended, and how long it took; `None`: there was none.
    last: Option<(Instant, Duration)>,
    /// Somebody has stored something since the last look began.
    news: bool,
    /// How many due instances earlier looks have read.
    read: usize,
    /// The look that is under way, and when it began.
    look: Option<(Instant, JoinHandle<usize>)>,
}

impl Pace {
    pub fn hear(&mut self) {
        self.news = true;
    }

    /// A look is under way. The host is not idle before it has ended.
    pub fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Until the look that is under way has ended.
    pub async fn look_ends(&mut self) {
        if let Some((began, look)) = &mut self.look {
            let (began, read) = (*began, look.await);
            self.look = None;
            // An error: it panicked; the next one begins at the same place.
            self.read = read.unwrap_or(self.read);
            self.looked(began, Instant::now());
        }
    }

    fn is_time(&self, now: Instant) -> bool {
        if self.is_looking() {
            return false;
        }
        let Some((end, took)) = self.last else { return true };
        let pause = took.saturating_mul(PAUSE_FOR_LOOK);
        let pause = if self.news { pause } else { pause.max(WITHOUT_NEWS) };
        now.saturating_duration_since(end) >= pause
    }

    fn looked(&mut self, began: Instant, ended: Instant) {
        self.last = Some((ended, ended.saturating_duration_since(began)));
    }
}

impl Dispatcher {
    /// Tells which definitions due instances need that are not registered here, if it is time to look for that. In a task of
    /// its own: it reads as a program does, which may have to wait, and nothing else has to wait for it.
    pub(super) fn look_for_missing(&mut self) {
        let began = Instant::now();
        if self.pace.is_time(began) {
            self.pace.news = false;
            let busy = self.actors.ids();
            let look = tokio::spawn(report(self.shared.clone(), busy, self.pace.read));
            self.pace.look = Some((began, look));
        }
    }
}

/// Looks through the next due instances but these, after so many that were read before; gives how many were read by then.
async fn report(shared: Arc<Shared>, busy: HashSet<String>, read: usize) -> usize {
    let mut due = match shared.loss.seen(shared.provider.get_runnable_instances(shared.now()).await) {
        Ok(due) => due,
        Err(error) => {
            logging::warn!(%error, "due instances could not be listed");
            return read;
        }
    };
    due.retain(|id| !busy.contains(id));
    if due.is_empty() {
        return read;
    }
    let from = read % due.len();
    due.rotate_left(from);
    due.truncate(INSTANCES_AT_MOST);
    let read = from + due.len();
    let mut seen = HashSet::new();
    for ids in due.chunks(INSTANCES_AT_ONCE) {
        let instances = match read_all(&shared, ids).await {
            Ok(instances) => instances,
            Err(error) => {
                logging::warn!(%error, "due instances could not be read");
                return read;
            }
        };
        for instance in instances {
            let (definition, version) = (instance.workflow_definition_id, instance.version);
            if !seen.contains(&(definition.clone(), version)) {
                shared.is_registered(&definition, version, &instance.id);
                seen.insert((definition, version));
            }
        }
    }
    read
}

/// Those of them that decode. A store need not leave out the others: then they are read one by one, and it is told which do not.
async fn read_all(shared: &Shared, ids: &[String]) -> Result<Vec<WorkflowInstance>> {
    let provider = &shared.provider;
    match shared.loss.seen(provider.get_workflow_instances(ids).await) {
        Err(WfeError::Corrupt { .. }) => {}
        read => return read,
    }
    let mut instances = Vec::new();
    for id in ids {
        let read = shared.loss.seen(provider.get_workflow_instances(std::slice::from_ref(id)).await);
        instances.extend(shared.sound(read)?.into_iter().flatten());
    }
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_what_a_look_costs_and_without_news_it_is_long() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_time(start), "the first one, when the host starts");
        let end = start + Duration::from_millis(20);
        pace.looked(start, end);
        pace.hear();
        assert!(!pace.is_time(end + Duration::from_millis(19_999)));
        assert!(pace.is_time(end + Duration::from_secs(20)));
        pace.news = false;
        assert!(!pace.is_time(end + Duration::from_secs(59)));
        assert!(pace.is_time(end + Duration::from_mins(1)));
        let late = end + Duration::from_mins(9);
        pace.looked(late, late + Duration::from_secs(1));
        assert!(!pace.is_time(late + Duration::from_mins(16)), "also without news");
    }
}
