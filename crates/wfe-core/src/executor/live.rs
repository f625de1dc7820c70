use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use crate::{
    Result, WfeError,
    definition::Node,
    models::{ExecutionPointer, PointerStatus},
};

/// The pointers of a live instance, in the order they were made, and which of them the store has not seen yet.
#[derive(Debug, Default)]
pub(super) struct Live {
    pointers: BTreeMap<u64, ExecutionPointer>,
    order: BTreeMap<String, u64>,
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

    /// Ids of the pointers below this path (which ends with `/`): in the order they were made, but what is inside of a
    /// container before the container, as they would have ended.
    pub fn below(&self, path: &str) -> Vec<String> {
        let mut made: Vec<(u64, &String)> = self.range(path).map(|(id, at)| (*at, id)).collect();
        made.sort_unstable();
        let mut inside: HashMap<&str, Vec<&String>> = HashMap::new();
        let mut found = Vec::with_capacity(made.len());
        for (at, id) in &made {
            let around = self.pointers.get(at).and_then(|p| p.scope.last()).filter(|c| c.starts_with(path));
            inside.entry(around.map_or("", String::as_str)).or_default().push(id);
        }
        // Its own stack: how deep containers are nested is the user's choice.
        let mut open: Vec<(&String, bool)> = Vec::new();
        open.extend(inside.get("").into_iter().flatten().rev().map(|id| (*id, false)));
        while let Some((id, is_told)) = open.pop() {
            if is_told {
                found.push(id.clone());
                continue;
            }
            open.push((id, true));
            open.extend(inside.get(id.as_str()).into_iter().flatten().rev().map(|id| (*id, false)));
        }
        found
    }

    /// Whether the engine still has something to do below this path (which ends with `/`).
    pub fn any_active_below(&self, path: &str) -> bool {
        self.range(path).any(|(_, at)| self.pointers.get(at).is_some_and(|p| p.active))
    }

    fn range<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a String, &'a u64)> {
        self.order
            .range::<str, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(move |(id, _)| id.starts_with(path))
    }

    /// Ids of the visits of the step whose first visit has this id.
    pub fn visits(&self, first: &str) -> Vec<String> {
        let later = format!("{first}#");
        let mut found: Vec<String> =
            self.order.contains_key(first).then(|| first.to_owned()).into_iter().collect();
        found.extend(
            self.range(&later).map(|(id, _)| id).filter(|id| !id[later.len()..].contains('/')).cloned(),
        );
        found
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
    ExecutionPointer { step_name: Some(node.id.to_string()), ..ExecutionPointer::with_id(id, node.index) }
}
