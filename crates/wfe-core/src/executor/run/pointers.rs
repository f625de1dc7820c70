use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
};

use crate::{
    Result, WfeError,
    models::{ExecutionPointer, PointerStatus, pointer_id},
};

/// The pointers of a live instance, in the order of their creation. The collection also records which pointers have
/// changes that are not stored yet.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    by_number: BTreeMap<u64, ExecutionPointer>,
    numbers: BTreeMap<String, u64>,
    made: u64,
    unsaved: BTreeSet<u64>,
    /// For each container, the paths of the ended branches that are still listed in the container's `children`.
    /// The ended branches are removed from the list together. To search the list once for each branch would take
    /// quadratic time.
    ended: HashMap<String, HashSet<String>>,
}

impl Pointers {
    /// Creates the collection from the stored pointers.
    pub fn stored(pointers: Vec<ExecutionPointer>) -> Self {
        let mut all = Self::default();
        for pointer in pointers {
            all.push(pointer);
        }
        all
    }

    fn push(&mut self, pointer: ExecutionPointer) -> u64 {
        self.made += 1;
        self.numbers.insert(pointer.id.clone(), self.made);
        self.by_number.insert(self.made, pointer);
        self.made
    }

    /// Adds a new pointer.
    pub fn add(&mut self, pointer: ExecutionPointer) {
        let at = self.push(pointer);
        self.unsaved.insert(at);
    }

    pub fn get(&self, id: &str) -> Result<&ExecutionPointer> {
        self.numbers.get(id).and_then(|at| self.by_number.get(at)).ok_or_else(|| missing(id))
    }

    /// Returns the pointer, so that the caller can change it. The next commit stores the change.
    pub fn edit(&mut self, id: &str) -> Result<&mut ExecutionPointer> {
        let at = *self.numbers.get(id).ok_or_else(|| missing(id))?;
        self.unsaved.insert(at);
        self.by_number.get_mut(&at).ok_or_else(|| missing(id))
    }

    /// Returns the pointer, so that the caller can change it. The change need not be stored until the pointer changes
    /// again.
    pub fn edit_quietly(&mut self, id: &str) -> Result<&mut ExecutionPointer> {
        let at = self.numbers.get(id).ok_or_else(|| missing(id))?;
        self.by_number.get_mut(at).ok_or_else(|| missing(id))
    }

    pub fn contains(&self, id: &str) -> bool {
        self.numbers.contains_key(id)
    }

    /// Notes that a branch of this container has begun. The first pointer of the branch is `child`.
    pub fn branch_began(&mut self, container: &str, child: &str) -> Result<()> {
        let is_again =
            self.ended.get(container).is_some_and(|ended| ended.contains(branch_of(container, child)));
        if is_again {
            self.tidy(container)?;
        }
        self.edit(container)?.children.push(child.to_owned());
        Ok(())
    }

    /// Notes that a branch of this container has ended. `path` is the path of the branch, and ends with `/`.
    pub fn branch_ended(&mut self, container: &str, path: String) -> Result<()> {
        self.edit(container)?;
        self.ended.entry(container.to_owned()).or_default().insert(path);
        Ok(())
    }

    /// The number of branches of this container that have begun but not ended.
    pub fn branches(&self, container: &str) -> Result<usize> {
        let ended = self.ended.get(container).map_or(0, HashSet::len);
        Ok(self.get(container)?.children.len().saturating_sub(ended))
    }

    /// Removes all branches from the container's list of children.
    pub fn no_branches(&mut self, container: &str) -> Result<()> {
        self.ended.remove(container);
        if !self.get(container)?.children.is_empty() {
            self.edit(container)?.children.clear();
        }
        Ok(())
    }

    /// Removes each ended branch from its container's list of children.
    pub fn tidy_all(&mut self) -> Result<()> {
        let containers: Vec<String> = self.ended.keys().cloned().collect();
        containers.iter().try_for_each(|container| self.tidy(container))
    }

    fn tidy(&mut self, container: &str) -> Result<()> {
        if let Some(ended) = self.ended.remove(container) {
            let children = &mut self.edit(container)?.children;
            children.retain(|child| !ended.contains(branch_of(container, child)));
        }
        Ok(())
    }

    /// Removes the pointer from the live instance.
    pub fn remove(&mut self, id: &str) -> Result<ExecutionPointer> {
        self.tidy(id)?;
        let at = self.numbers.remove(id).ok_or_else(|| missing(id))?;
        self.unsaved.remove(&at);
        self.by_number.remove(&at).ok_or_else(|| missing(id))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &ExecutionPointer> {
        self.by_number.values()
    }

    /// The ids of the pointers below `path`, which ends with `/`. The pointers inside a container come before the
    /// container, because they would also have ended before it. Otherwise, the ids are in the order in which the
    /// pointers were created.
    pub fn below(&self, path: &str) -> Vec<String> {
        let mut made: Vec<(u64, &String)> = self.range(path).map(|(id, at)| (*at, id)).collect();
        made.sort_unstable();
        let mut inside: HashMap<&str, Vec<&String>> = HashMap::new();
        let mut found = Vec::with_capacity(made.len());
        for (at, id) in &made {
            let around = self.by_number.get(at).and_then(|p| p.scope.last()).filter(|c| c.starts_with(path));
            inside.entry(around.map_or("", String::as_str)).or_default().push(id);
        }
        // The stack is on the heap, because the user decides how deeply containers are nested.
        let mut open: Vec<(&String, bool)> = Vec::new();
        open.extend(inside.get("").into_iter().flatten().rev().map(|id| (*id, false)));
        while let Some((id, is_expanded)) = open.pop() {
            if is_expanded {
                found.push(id.clone());
                continue;
            }
            open.push((id, true));
            open.extend(inside.get(id.as_str()).into_iter().flatten().rev().map(|id| (*id, false)));
        }
        found
    }

    /// Whether any pointer below `path` is active. The path ends with `/`.
    pub fn any_active_below(&self, path: &str) -> bool {
        self.range(path).any(|(_, at)| self.by_number.get(at).is_some_and(|p| p.active))
    }

    fn range<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a String, &'a u64)> {
        self.numbers
            .range::<str, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(move |(id, _)| id.starts_with(path))
    }

    /// The ids of all live execution pointers of a step. `first` is the id of the step's first execution pointer.
    pub fn executions(&self, first: &str) -> Vec<String> {
        let later = pointer_id::later_executions(first);
        let mut found: Vec<String> =
            self.numbers.contains_key(first).then(|| first.to_owned()).into_iter().collect();
        found.extend(
            self.range(&later).map(|(id, _)| id).filter(|id| !id[later.len()..].contains('/')).cloned(),
        );
        found
    }

    /// Whether any pointer is active.
    pub fn any_active(&self) -> bool {
        self.iter().any(|p| p.active)
    }

    /// The ids of the pointers that have one of these statuses.
    pub fn in_status(&self, statuses: &[PointerStatus]) -> Vec<String> {
        self.iter().filter(|p| statuses.contains(&p.status)).map(|p| p.id.clone()).collect()
    }

    /// The pointers with changes that are not stored yet, in the order of their creation.
    pub fn unsaved(&self) -> impl Iterator<Item = &ExecutionPointer> {
        self.unsaved.iter().filter_map(|at| self.by_number.get(at))
    }

    /// Moves the pointers that have changed since the last commit into a commit, until they are returned.
    pub fn take_unsaved(&mut self) -> Vec<ExecutionPointer> {
        self.unsaved.iter().filter_map(|at| self.by_number.remove(at)).collect()
    }

    /// Takes back the pointers that [`take_unsaved`](Self::take_unsaved) has returned, in the same order.
    pub fn return_unsaved(&mut self, pointers: Vec<ExecutionPointer>) {
        self.by_number.extend(self.unsaved.iter().copied().zip(pointers));
    }

    pub fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    pub fn saved(&mut self) {
        self.unsaved.clear();
    }
}

/// The path of a branch of this container. The first pointer of the branch is `child`. The path ends with `/`.
fn branch_of<'a>(container: &str, child: &'a str) -> &'a str {
    pointer_id::branch_path(container, child).unwrap_or(child)
}

fn missing(id: &str) -> WfeError {
    WfeError::Invalid(format!("the live instance has no pointer {id:?}"))
}
