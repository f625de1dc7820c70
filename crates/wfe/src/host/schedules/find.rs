//! Finds the instance that runs a schedule, by its name.

use wfe_core::{Result, WfeError, traits::Loaded};

use super::status::is_over;
use crate::{host::workflow_host::RESERVED, store::StoreAccess};

/// The beginning of the names of the instances that run schedules.
pub(super) const NAMES: &str = "schedule:";

/// Reads the instance that runs a schedule.
pub(crate) async fn find(store: &StoreAccess, id: &str) -> Result<Loaded> {
    match look_up(store, id).await? {
        Found::There(loaded) => Ok(*loaded),
        Found::Free(_) | Found::Over(_) => Err(WfeError::ScheduleNotFound(id.to_owned())),
    }
}

/// Finds the instance of a schedule by its name. The name consists of the schedule's id and a number. The number
/// is 1: the instance of a changed schedule takes the name of the instance before. Only programs of earlier
/// versions have counted the schedules with this id, each of which kept its name.
pub(crate) async fn look_up(store: &StoreAccess, id: &str) -> Result<Found> {
    let (mut count, mut over) = (1_u64, None);
    loop {
        let name = format!("{RESERVED}{NAMES}{count}:{id}");
        let found = store.loss.seen(store.provider.get_workflow_instance_by_name(&name).await);
        let loaded = match found {
            Ok(instance) => store.inspect(&instance.id).await,
            Err(error) => Err(error),
        };
        match loaded {
            // The name has passed to another instance meanwhile.
            Ok(loaded) if loaded.instance.name != name => {}
            Ok(loaded) if is_over(&loaded) => (over, count) = (Some(Box::new(loaded)), count + 1),
            Ok(loaded) => return Ok(Found::There(Box::new(loaded))),
            Err(WfeError::WorkflowNotFound(_)) => return Ok(over.map_or(Found::Free(name), Found::Over)),
            Err(error) => return Err(error),
        }
    }
}

/// The instance with the name of a schedule.
pub(crate) enum Found {
    /// The schedule exists.
    There(Box<Loaded>),
    /// The schedule was deleted.
    Over(Box<Loaded>),
    /// No schedule had the id. Holds the name for the instance of a new schedule with this id.
    Free(String),
}
