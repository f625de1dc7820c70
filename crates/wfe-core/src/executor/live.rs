use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Result, WfeError,
    definition::Node,
    models::{ExecutionPointer, PointerStatus},
};

/// The pointers of a live instance, in the order they were made, and which of them the store has not seen yet.
#[derive(Debug, Default)]
pub(super) struct Live {
    pointers: BTreeMap<u64, ExecutionPointer>,
    order: HashMap<String, u64>,
    made: u64,
    unsaved: BTreeSet<u64>,
}

impl Live {
    /// As the store has them.
    pub fn stored(pointers: Vec<ExecutionPointer>) -> Self {
        let mut live = Self::default();
        for pointer in pointers {
            live.push(pointer);
        }
        live
    }

    fn push(&mut self, pointer: ExecutionPointer) -> u64 {
        self.made += 1;
        self.order.insert(pointer.id.clone(), self.made);
        self.pointers.insert(self.made, pointer);
        self.made
    }

    /// Adds a new pointer.
    pub fn add(&mut self, pointer: ExecutionPointer) {
        let at = self.push(pointer);
        self.unsaved.insert(at);
    }

    pub fn get(&self, id: &str) -> Result<&ExecutionPointer> {
        self.order.get(id).and_then(|at| self.pointers.get(at)).ok_or_else(|| missing(id))
    }

    /// The pointer, to be changed.
    pub fn edit(&mut self, id: &str) -> Result<&mut ExecutionPointer> {
        let at = *self.order.get(id).ok_or_else(|| missing(id))?;
        self.unsaved.insert(at);
        self.pointers.get_mut(&at).ok_or_else(|| missing(id))
    }

    /// The pointer, for a change that may wait for the next one before it is stored.
    pub fn edit_quietly(&mut self, id: &str) -> Result<&mut ExecutionPointer> {
        let at = self.order.get(id).ok_or_else(|| missing(id))?;
        self.pointers.get_mut(at).ok_or_else(|| missing(id))
    }

    pub fn contains(&self, id: &str) -> bool {
        self.order.contains_key(id)
    }

    /// Takes the pointer out of the live instance.
    pub fn remove(&mut self, id: &str) -> Result<ExecutionPointer> {
        let at = self.order.remove(id).ok_or_else(|| missing(id))?;
        self.unsaved.remove(&at);
        self.pointers.remove(&at).ok_or_else(|| missing(id))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &ExecutionPointer> {
        self.pointers.values()
    }

    /// Whether the engine still has something to do at any of them.
    pub fn any_active(&self) -> bool {
        self.iter().any(|p| p.active)
    }

    /// Ids of the pointers in one of these statuses.
    pub fn in_status(&self, statuses: &[PointerStatus]) -> Vec<String> {
        self.iter().filter(|p| statuses.contains(&p.status)).map(|p| p.id.clone()).collect()
    }

    /// What the store has not seen, in order.
    pub fn unsaved(&self) -> impl Iterator<Item = &ExecutionPointer> {
        self.unsaved.iter().filter_map(|at| self.pointers.get(at))
    }

    pub fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    pub fn saved(&mut self) {
        self.unsaved.clear();
    }
}

fn missing(id: &str) -> WfeError {
    WfeError::Invalid(format!("the live instance has no pointer {id:?}"))
}

/// An active, pending pointer at `node`. Its id is the path to it: reading it tells where it stands, and no clock or
/// random number is needed for it.
pub(crate) fn new_pointer(id: String, node: &Node) -> ExecutionPointer {
    ExecutionPointer {
        id,
        step_id: node.index,
        active: true,
        status: PointerStatus::Pending,
        sleep_until: None,
        persistence_data: None,
        start_time: None,
        end_time: None,
        event_name: None,
        event_key: None,
        event_published: false,
        event_data: None,
        step_name: Some(node.id.to_string()),
        retry_count: 0,
        children: Vec::new(),
        context_item: None,
        predecessor_id: None,
        outcome: None,
        scope: Vec::new(),
        extension_attributes: HashMap::new(),
    }
}
