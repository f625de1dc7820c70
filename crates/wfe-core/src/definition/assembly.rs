//! Makes the nodes of a definition from the drafts of its builder, and checks them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    OnFailure,
    draft::{Defaults, Draft},
};
use crate::program::{Branch, Node, Verb, name_problem};

type Checked<T> = Result<T, String>;

/// The index of each step's node, by the step's id.
pub(super) type IndexById = HashMap<Arc<str>, usize>;

/// Returns the nodes of these drafts, beginning with the first step, and the index of each id. `is_own` means
/// that the definition belongs to the engine, so its waits may have reserved names.
///
/// # Errors
/// The first problem that is found. The message names the step.
pub(super) fn nodes(
    drafts: Vec<Draft>,
    defaults: &Defaults,
    is_own: bool,
) -> Checked<(Vec<Node>, IndexById)> {
    let mut assembly = Assembly {
        defaults,
        nodes: Vec::new(),
        by_id: HashMap::new(),
        sequences: 0,
        targets: HashMap::new(),
        compensations: HashSet::new(),
        helpers: HashMap::new(),
    };
    assembly.add(drafts, Around { is_own, ..Around::default() })?;
    assembly.resolve_targets()?;
    assembly.check_reachable()?;
    assembly.name_for_eaches();
    Ok((assembly.nodes, assembly.by_id))
}

struct Assembly<'a> {
    defaults: &'a Defaults,
    nodes: Vec<Node>,
    by_id: IndexById,
    sequences: usize,
    targets: HashMap<usize, String>,
    /// The sequences that are compensations.
    compensations: HashSet<usize>,
    /// The helper functions that made a step, outermost first, given by the ids under which they were used.
    helpers: HashMap<usize, Vec<String>>,
}

/// The surroundings of a sequence.
#[derive(Clone, Copy, Default)]
struct Around {
    container: Option<usize>,
    /// The sequence is inside a saga.
    saga: bool,
    /// The sequence is inside a compensation.
    in_compensation: bool,
    /// The definition belongs to the engine.
    is_own: bool,
}

impl Assembly<'_> {
    /// Adds a sequence and everything inside it. Each step comes before the steps of its branches. Returns
    /// the first step.
    fn add(&mut self, drafts: Vec<Draft>, around: Around) -> Checked<Option<Branch>> {
        let sequence = self.sequences;
        self.sequences += 1;
        let (mut first, mut previous) = (None, None::<usize>);
        for mut draft in drafts {
            self.defaults.apply(&mut draft);
            let index = self.nodes.len();
            check(&draft, around)?;
            let on_failure = self.on_failure(&draft, around);
            let id: Arc<str> = draft.id.as_str().into();
            if self.by_id.insert(id.clone(), index).is_some() {
                return Err(format!("two steps have the id {id:?}; give each step its own id"));
            }
            if let Some(target) = draft.target {
                self.targets.insert(index, target);
            }
            if !draft.helpers.is_empty() {
                self.helpers.insert(index, draft.helpers);
            }
            self.nodes.push(Node {
                index,
                on_failure,
                id: id.clone(),
                name: draft.name,
                policy: draft.policy,
                next: None,
                container: around.container,
                sequence,
                branches: Vec::new(),
                fallback: None,
                compensation: None,
                compensates_unfinished: draft.compensates_unfinished,
                cancel_when: draft.cancel_when,
                for_eaches: None,
                target: None,
                verb: Arc::new(draft.verb),
            });
            let is_saga = self.nodes[index].verb.is_saga();
            let inside = Around { container: Some(index), saga: around.saga || is_saga, ..around };
            let what = if draft.branches.len() > 1 { "a branch" } else { "the body" };
            for branch in draft.branches {
                let branch = self.body(branch, inside, &id, what)?;
                self.nodes[index].branches.push(branch);
            }
            if let Some(fallback) = draft.fallback {
                let around = Around { container: Some(index), ..around };
                self.nodes[index].fallback = Some(self.body(fallback, around, &id, "the fallback")?);
            }
            if let Some(compensation) = draft.compensation {
                let around = Around { container: Some(index), saga: false, in_compensation: true, ..around };
                self.compensations.insert(self.sequences);
                self.nodes[index].compensation =
                    Some(self.body(compensation, around, &id, "the compensation")?);
            }
            match previous.replace(index) {
                None => first = Some(Branch { first: index }),
                Some(previous) => self.nodes[previous].next = Some(index),
            }
        }
        Ok(first)
    }

    fn on_failure(&self, draft: &Draft, around: Around) -> OnFailure {
        match draft.policy.on_failure {
            Some(behaviour) => behaviour,
            None if draft.fallback.is_some() => OnFailure::Continue,
            None if around.saga => OnFailure::Compensate,
            // After a saga is compensated, the instance continues. After a compensation fails, the other
            // compensations still run.
            None if draft.verb.is_saga() || around.in_compensation => OnFailure::Continue,
            None => self.defaults.on_failure.unwrap_or_default(),
        }
    }

    fn body(&mut self, drafts: Vec<Draft>, around: Around, id: &str, what: &str) -> Checked<Branch> {
        self.add(drafts, around)?
            .ok_or_else(|| format!("{what} of step {id:?} has no steps; add at least one"))
    }

    /// Resolves the targets of all go-tos. A target must be in the go-to's own sequence or in an enclosing
    /// sequence, because a go-to cannot enter a container that has not started.
    fn resolve_targets(&mut self) -> Checked<()> {
        for (index, target) in std::mem::take(&mut self.targets) {
            let id = self.nodes[index].id.clone();
            let Some(&to) = self.by_id.get(&*target) else {
                return Err(format!("step {id:?} goes to {target:?}, but the definition has no such step"));
            };
            self.check_target(index, to)?;
            self.nodes[index].target = Some(to);
        }
        Ok(())
    }

    fn check_target(&self, from: usize, to: usize) -> Checked<()> {
        let (id, target) = (&self.nodes[from].id, &self.nodes[to].id);
        if from == to {
            return Err(format!("step {id:?} goes to itself, which would never end"));
        }
        if self.nodes[to].verb.decides_by_given() {
            return Err(format!(
                "step {id:?} goes to {target:?}, which decides by the value that the step before it gave; go to that step"
            ));
        }
        let sequence = self.nodes[to].sequence;
        let mut at = from;
        while self.nodes[at].sequence != sequence {
            if self.compensations.contains(&self.nodes[at].sequence) {
                return Err(format!(
                    "step {id:?} goes to {target:?}, out of a compensation; a compensation always runs to its end"
                ));
            }
            let Some(container) = self.nodes[at].container else {
                return Err(format!(
                    "step {id:?} goes to {target:?}, which is inside a container that {id:?} is not in; \
                     a go-to leads to a step of its own sequence or of an enclosing one"
                ));
            };
            if self.nodes[container].verb.is_side() {
                return Err(format!(
                    "step {id:?} goes to {target:?}, out of a side branch; the instance has already continued after that branch"
                ));
            }
            at = container;
        }
        Ok(())
    }

    /// Lets each step that a helper function made find the for-eaches of this helper, and of the helpers around it, by
    /// the ids that they have inside.
    fn name_for_eaches(&mut self) {
        let all: Vec<Arc<str>> = self
            .nodes
            .iter()
            .filter(|node| matches!(*node.verb, Verb::ForEach(_)))
            .map(|node| node.id.clone())
            .collect();
        let mut known: HashMap<Vec<String>, Arc<HashMap<String, Arc<str>>>> = HashMap::new();
        for (index, helpers) in std::mem::take(&mut self.helpers) {
            let inside = known.entry(helpers).or_insert_with_key(|helpers| {
                let mut inside = HashMap::new();
                for depth in (1..=helpers.len()).rev() {
                    let prefix = format!("{}.", helpers[..depth].join("."));
                    for id in &all {
                        if let Some(local) = id.strip_prefix(&*prefix) {
                            inside.entry(local.to_owned()).or_insert_with(|| id.clone());
                        }
                    }
                }
                Arc::new(inside)
            });
            self.nodes[index].for_eaches = Some(inside.clone());
        }
    }

    /// Checks that every step can be reached from the first step.
    fn check_reachable(&self) -> Checked<()> {
        let (mut reached, mut open) = (HashSet::new(), vec![0]);
        while let Some(index) = open.pop() {
            if !reached.insert(index) {
                continue;
            }
            let node = &self.nodes[index];
            open.extend(node.next.filter(|_| node.verb.goes_on()));
            open.extend(node.target);
            open.extend(
                node.branches.iter().chain(&node.fallback).chain(&node.compensation).map(|b| b.first),
            );
        }
        match self.nodes.iter().find(|node| !reached.contains(&node.index)) {
            None => Ok(()),
            Some(node) => {
                let id = &node.id;
                Err(format!(
                    "step {id:?} cannot be reached: the instance never continues after the step before it, and no go-to \
                     leads to it"
                ))
            }
        }
    }
}

fn check(draft: &Draft, around: Around) -> Checked<()> {
    let id = &*draft.id;
    if id.is_empty() {
        return Err("a step has an empty id; every step needs an id".to_owned());
    }
    // Pointer ids are paths of step ids: `price/17/look-up`.
    if id.contains(['/', '#']) {
        return Err(format!("the id of step {id:?} contains '/' or '#'; use other characters"));
    }
    let misplaced = || {
        if draft.policy.timeout.is_some() && draft.verb.body().is_none() {
            return Some(
                "it has a timeout but no body; use `fail_after` to limit the wait for an event, an activity, a child or a \
                 user task, or a deadline to limit the whole workflow"
                    .to_owned(),
            );
        }
        if !draft.verb.goes_on() {
            let extra = [
                ("cancel condition", draft.cancel_when.is_some()),
                ("retry policy", draft.policy.retry.attempts > 1),
                ("compensation", draft.compensation.is_some()),
                ("fallback", draft.fallback.is_some()),
                ("`on_failure`", draft.policy.on_failure.is_some()),
            ];
            if let Some((what, _)) = extra.into_iter().find(|(_, is_there)| *is_there) {
                return Some(format!(
                    "it is {}, so its {what} would have no effect",
                    draft.verb.with_article()
                ));
            }
        }
        let inside = match draft.verb {
            Verb::Block(_) => Some(("it consists of several steps", "make a saga of them")),
            // Its own failures are those of its cancel condition.
            Verb::Parallel(_) if draft.cancel_when.is_none() => {
                Some(("its branches consist of steps", "put the parallel into a saga"))
            }
            Verb::Race(_) => Some(("its branches consist of steps", "put the race into a saga")),
            _ => None,
        };
        if let Some((inside, saga)) = inside {
            let extra = [
                ("retry policy", draft.policy.retry.attempts > 1),
                ("fallback", draft.fallback.is_some()),
                ("`on_failure`", draft.policy.on_failure.is_some()),
            ];
            if let Some((what, _)) = extra.into_iter().find(|(_, is_there)| *is_there) {
                return Some(format!(
                    "{inside}, so its {what} would not cover their failures; set it on one of them, or {saga}"
                ));
            }
        }
        if draft.verb.is_side() && draft.cancel_when.as_ref().is_some_and(|condition| condition.ends_branch) {
            return Some(
                "it has a side branch, and the instance has already continued after it, so `cancel_branch_when` has no \
                 branch to end; use `cancel_when`"
                    .to_owned(),
            );
        }
        if draft.compensation.is_some() && !around.saga {
            let problem = "it has a compensation, but it is not inside a saga";
            return Some(if draft.compensates_unfinished {
                format!("{problem}; to run steps after it has failed, use `fallback`")
            } else {
                problem.to_owned()
            });
        }
        if draft.policy.on_failure == Some(OnFailure::Compensate) && !around.saga {
            return Some("it has `OnFailure::Compensate`, but it is not inside a saga".to_owned());
        }
        if draft.verb.ends_all() && around.in_compensation {
            return Some(
                "it ends the workflow in the middle of a compensation; a compensation always runs to its end"
                    .to_owned(),
            );
        }
        if draft.fallback.is_some() && !matches!(draft.policy.on_failure, None | Some(OnFailure::Continue)) {
            return Some(
                "it has a fallback, so its `on_failure` can only be `OnFailure::Continue`, which is the default"
                    .to_owned(),
            );
        }
        None
    };
    let reserved = || draft.verb.awaited_name().filter(|_| !around.is_own).and_then(name_problem);
    let problem = draft
        .problem
        .clone()
        .or_else(|| draft.policy.problem())
        .or_else(|| draft.verb.problem())
        .or_else(reserved)
        .or_else(misplaced);
    problem.map_or(Ok(()), |problem| Err(format!("step {id:?}: {problem}")))
}
