//! From drafts to nodes, and what is checked on the way.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{OnFailure, draft::Draft};
use crate::program::{Branch, Node, Policy, Verb, name_problem};

type Checked<T> = Result<T, String>;

/// Where each id stands.
pub(super) type Places = HashMap<Arc<str>, usize>;

/// The nodes of these drafts, the first one first, and where each id stands. A definition of the engine's own may wait for
/// what is the engine's.
///
/// # Errors
/// What is wrong, naming the step.
pub(super) fn nodes(drafts: Vec<Draft>, is_own: bool) -> Checked<(Vec<Node>, Places)> {
    let mut assembly = Assembly {
        nodes: Vec::new(),
        by_id: HashMap::new(),
        sequences: 0,
        targets: HashMap::new(),
        compensations: HashSet::new(),
    };
    assembly.add(drafts, Around { is_own, ..Around::default() })?;
    assembly.resolve_targets()?;
    assembly.check_reachable()?;
    Ok((assembly.nodes, assembly.by_id))
}

struct Assembly {
    nodes: Vec<Node>,
    by_id: Places,
    sequences: usize,
    targets: HashMap<usize, String>,
    /// The sequences of compensations.
    compensations: HashSet<usize>,
}

/// Where a sequence stands.
#[derive(Clone, Copy, Default)]
struct Around {
    container: Option<usize>,
    /// A saga is around it.
    saga: bool,
    /// It is in a compensation.
    in_compensation: bool,
    /// The definition is one of the engine's own.
    is_own: bool,
}

impl Assembly {
    /// Adds a sequence and what is in it, each step before its branches; gives its first step.
    fn add(&mut self, drafts: Vec<Draft>, around: Around) -> Checked<Option<Branch>> {
        let sequence = self.sequences;
        self.sequences += 1;
        let (mut first, mut previous) = (None, None::<usize>);
        for draft in drafts {
            let index = self.nodes.len();
            check(&draft, around)?;
            let id: Arc<str> = draft.id.as_str().into();
            if self.by_id.insert(id.clone(), index).is_some() {
                return Err(format!("step {id:?} stands in it twice; give each step an id of its own"));
            }
            if let Some(target) = draft.target {
                self.targets.insert(index, target);
            }
            self.nodes.push(Node {
                index,
                on_failure: on_failure(&draft.policy, draft.fallback.is_some(), &draft.verb, around),
                id: id.clone(),
                name: draft.name,
                policy: draft.policy,
                next: None,
                container: around.container,
                sequence,
                branches: Vec::new(),
                fallback: None,
                compensation: None,
                cancel_when: draft.cancel_when,
                target: None,
                verb: Arc::new(draft.verb),
            });
            let is_saga = self.nodes[index].verb.is_saga();
            let inside = Around { container: Some(index), saga: around.saga || is_saga, ..around };
            for branch in draft.branches {
                let branch = self.body(branch, inside, &id, "body")?;
                self.nodes[index].branches.push(branch);
            }
            if let Some(fallback) = draft.fallback {
                let around = Around { container: Some(index), ..around };
                self.nodes[index].fallback = Some(self.body(fallback, around, &id, "fallback")?);
            }
            if let Some(compensation) = draft.compensation {
                let around = Around { container: Some(index), saga: false, in_compensation: true, ..around };
                self.compensations.insert(self.sequences);
                self.nodes[index].compensation =
                    Some(self.body(compensation, around, &id, "compensation")?);
            }
            match previous.replace(index) {
                None => first = Some(Branch { first: index }),
                Some(previous) => self.nodes[previous].next = Some(index),
            }
        }
        Ok(first)
    }

    fn body(&mut self, drafts: Vec<Draft>, around: Around, id: &str, what: &str) -> Checked<Branch> {
        self.add(drafts, around)?.ok_or_else(|| format!("the {what} of {id:?} has no steps; give it one"))
    }

    /// A go-to leads to a step of its own sequence, or of one around it: anything else would be the middle of
    /// something that has not begun.
    fn resolve_targets(&mut self) -> Checked<()> {
        for (index, target) in std::mem::take(&mut self.targets) {
            let id = self.nodes[index].id.clone();
            let Some(&to) = self.by_id.get(&*target) else {
                return Err(format!("step {id:?} goes to {target:?}, which is no step of it"));
            };
            self.check_target(index, to)?;
            self.nodes[index].target = Some(to);
        }
        Ok(())
    }

    fn check_target(&self, from: usize, to: usize) -> Checked<()> {
        let (id, target) = (&self.nodes[from].id, &self.nodes[to].id);
        if from == to {
            return Err(format!("step {id:?} goes to itself, and would do so for ever"));
        }
        let sequence = self.nodes[to].sequence;
        let mut at = from;
        while self.nodes[at].sequence != sequence {
            if self.compensations.contains(&self.nodes[at].sequence) {
                return Err(format!(
                    "step {id:?} goes to {target:?}, out of a compensation; that is always done in full"
                ));
            }
            let Some(container) = self.nodes[at].container else {
                return Err(format!(
                    "step {id:?} goes to {target:?}, which is inside of something that {id:?} is not in; \
                     a go-to leads to a step of its own sequence or of one around it"
                ));
            };
            if self.nodes[container].verb.is_side() {
                return Err(format!(
                    "step {id:?} goes to {target:?}, out of a side branch: the instance has gone on there already"
                ));
            }
            at = container;
        }
        Ok(())
    }

    /// Every step can be reached from the first one.
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
                    "step {id:?} cannot be reached: the step before it never goes on, and no go-to leads there"
                ))
            }
        }
    }
}

fn on_failure(policy: &Policy, has_fallback: bool, verb: &Verb, around: Around) -> OnFailure {
    match policy.on_failure {
        Some(behaviour) => behaviour,
        None if has_fallback => OnFailure::Continue,
        None if around.saga => OnFailure::Compensate,
        // What comes behind a saga runs when its compensation is done; of several compensations, each is tried.
        None if verb.is_saga() || around.in_compensation => OnFailure::Continue,
        None => OnFailure::Fail,
    }
}

fn check(draft: &Draft, around: Around) -> Checked<()> {
    let id = &*draft.id;
    if id.is_empty() {
        return Err("a step has an empty id; give it one".to_owned());
    }
    // Pointer ids are paths of step ids: `price/17/look-up`.
    if id.contains(['/', '#']) {
        return Err(format!("the id of step {id:?} has '/' or '#' in it; use other characters"));
    }
    let misplaced = || {
        if draft.policy.timeout.is_some() && draft.verb.body().is_none() {
            return Some(
                "it has a timeout, which limits each attempt of a body, but it runs none; for an event, an activity, a child \
                 or a user task use `fail_after` on that, for all of the workflow its deadline"
                    .to_owned(),
            );
        }
        if !draft.verb.goes_on() {
            let extra = [
                ("cancel condition", draft.cancel_when.is_some()),
                ("compensation", draft.compensation.is_some()),
                ("fallback", draft.fallback.is_some()),
                ("failure behaviour", draft.policy.on_failure.is_some()),
            ];
            if let Some((what, _)) = extra.into_iter().find(|(_, is_there)| *is_there) {
                return Some(format!(
                    "it is {}, which does nothing itself: its {what} would have no effect",
                    draft.verb.with_article()
                ));
            }
        }
        if draft.compensation.is_some() && !around.saga {
            return Some("it has a compensation, but no saga is around it".to_owned());
        }
        if draft.policy.on_failure == Some(OnFailure::Compensate) && !around.saga {
            return Some("its failure is to be compensated, but no saga is around it".to_owned());
        }
        if draft.verb.ends_all() && around.in_compensation {
            return Some("it ends the workflow in the middle of a compensation".to_owned());
        }
        if draft.fallback.is_some() && !matches!(draft.policy.on_failure, None | Some(OnFailure::Continue)) {
            return Some("it has a fallback, but its failure is not to be continued behind".to_owned());
        }
        None
    };
    let reserved = || draft.verb.awaited_name().filter(|_| !around.is_own).and_then(name_problem);
    let problem =
        draft.policy.problem().or_else(|| draft.verb.problem()).or_else(reserved).or_else(misplaced);
    problem.map_or(Ok(()), |problem| Err(format!("step {id:?}: {problem}")))
}
