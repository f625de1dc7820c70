//! Reports stored instances whose definitions are not registered on this host.

use std::{collections::HashSet, sync::Arc, time::Instant};

use wfe_core::{Result, WfeError, models::WorkflowInstance};

use super::Dispatcher;
use crate::{
    engine::{state::shared::Shared, task},
    store::loss::warn_unless_fault,
};

/// How many instances each scan reads for their definitions. If more instances are due, the next scan continues after
/// those that this scan has read.
const INSTANCES_AT_MOST: usize = 256;
/// How many of these instances are in memory at the same time. The number is small, because each instance may be large.
const INSTANCES_AT_ONCE: usize = 16;
impl Dispatcher {
    /// If it is time for a scan, reports the definitions that due instances need but that are not registered here. The
    /// scan runs in a separate task: it may have to wait for a reader of the store, and nothing else must wait
    /// meanwhile.
    pub(super) fn look_for_missing(&mut self) {
        let began = Instant::now();
        if self.pace.is_time(began) {
            self.pace.news = false;
            let busy = self.actors.ids();
            let look = task::spawn(report(self.shared.clone(), busy, self.pace.read));
            self.pace.look = Some((began, look));
        }
    }
}

/// Scans the next due instances, except the busy ones. Earlier scans have covered the first `read` instances, and this
/// scan begins after them. Returns how many instances this scan and the earlier scans have covered.
async fn report(shared: Arc<Shared>, busy: HashSet<String>, read: usize) -> usize {
    let mut due =
        match shared.store.loss.seen(shared.store.provider.get_runnable_instances(shared.now()).await) {
            Ok(due) => due,
            Err(error) => {
                warn_unless_fault!(shared.store.loss, error, "due instances could not be listed");
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
                warn_unless_fault!(shared.store.loss, error, "due instances could not be read");
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

/// Reads these instances, and leaves out those that do not decode. A store may fail for the whole batch if one instance
/// does not decode. In this case, the instances are read one by one, and each instance that does not decode is logged.
async fn read_all(shared: &Shared, ids: &[String]) -> Result<Vec<WorkflowInstance>> {
    let provider = &shared.store.provider;
    match shared.store.loss.seen(provider.get_workflow_instances(ids).await) {
        Err(WfeError::Corrupt { .. }) => {}
        read => return read,
    }
    let mut instances = Vec::new();
    for id in ids {
        let read = shared.store.loss.seen(provider.get_workflow_instances(std::slice::from_ref(id)).await);
        instances.extend(shared.store.sound(read)?.into_iter().flatten());
    }
    Ok(instances)
}
