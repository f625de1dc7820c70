use std::collections::HashMap;

use crate::program::{CancelCondition, OnFailure, Policy, Retry, Verb};

/// A step as collected by the builder. When the definition is assembled, each draft becomes a node.
pub(crate) struct Draft {
    pub id: String,
    pub name: Option<String>,
    pub policy: Policy,
    pub verb: Verb,
    pub branches: Vec<Vec<Draft>>,
    pub fallback: Option<Vec<Draft>>,
    pub compensation: Option<Vec<Draft>>,
    pub compensates_unfinished: bool,
    pub cancel_when: Option<CancelCondition>,
    pub target: Option<String>,
    /// The modifiers that were called, to refuse a second call of one of them.
    pub called: Vec<&'static str>,
    /// The first problem of a modifier. Assembly returns it with the step's id, which a helper's step gets late.
    pub problem: Option<String>,
    /// The ids under which helper functions were used that made this step, outermost first.
    pub helpers: Vec<String>,
}

/// What a whole definition sets for its steps.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// The retry policy of the steps that do work and have none of their own.
    pub retry: Option<Retry>,
    /// What happens instead of [`OnFailure::Fail`], where that is the default of a step.
    pub on_failure: Option<OnFailure>,
}

impl Defaults {
    /// Applies the retry policy to this step, if it does work and has no policy of its own.
    pub fn apply(&self, draft: &mut Draft) {
        let does_work = matches!(draft.verb, Verb::RunBody(_) | Verb::Activity(_));
        if let Some(retry) = self.retry.as_ref().filter(|_| does_work && !draft.called.contains(&RETRY)) {
            draft.policy.retry = retry.clone();
        }
    }
}

/// The name of the modifier that sets a step's own retry policy.
pub(crate) const RETRY: &str = "`retry`";

impl Draft {
    pub fn new(id: impl Into<String>, verb: Verb) -> Self {
        Self {
            id: id.into(),
            name: None,
            policy: Policy::default(),
            verb,
            branches: Vec::new(),
            fallback: None,
            compensation: None,
            compensates_unfinished: false,
            cancel_when: None,
            target: None,
            called: Vec::new(),
            problem: None,
            helpers: Vec::new(),
        }
    }

    /// Keeps the first problem of this step.
    pub fn problem(&mut self, problem: impl FnOnce() -> String) {
        self.problem.get_or_insert_with(problem);
    }
}

/// Puts the steps of a helper function under the id that its caller gave: under `ship`, the step `pack` becomes
/// `ship.pack`. So a definition can use a helper twice. Go-tos inside of the helper lead to its own steps.
///
/// The first step, which was made without an id, becomes `ship.1`. If it is the only one, it becomes `ship`.
pub(super) fn put_under(helper: &str, drafts: &mut [Draft]) {
    for (at, draft) in drafts.iter_mut().enumerate().filter(|(_, draft)| draft.id.is_empty()) {
        draft.id = (at + 1).to_string();
    }
    let mut ids = HashMap::new();
    each(drafts, &mut |draft| {
        ids.insert(draft.id.clone(), format!("{helper}.{}", draft.id));
    });
    if let [only] = drafts {
        ids.insert(only.id.clone(), helper.to_owned());
    }
    each(drafts, &mut |draft| {
        draft.helpers.insert(0, helper.to_owned());
        for id in [Some(&mut draft.id), draft.target.as_mut()].into_iter().flatten() {
            if let Some(full) = ids.get(id) {
                id.clone_from(full);
            }
        }
    });
}

/// Calls `f` for each of these steps and for all steps inside them.
fn each(drafts: &mut [Draft], f: &mut impl FnMut(&mut Draft)) {
    for draft in drafts {
        f(draft);
        let Draft { branches, fallback, compensation, .. } = draft;
        for inner in branches.iter_mut().chain(fallback).chain(compensation) {
            each(inner, f);
        }
    }
}
