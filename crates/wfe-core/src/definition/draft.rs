use crate::program::{Ask, Policy, Verb};

/// A step before the definition is put together.
pub(crate) struct Draft {
    pub id: String,
    pub name: Option<String>,
    pub policy: Policy,
    pub verb: Verb,
    pub branches: Vec<Vec<Draft>>,
    pub fallback: Option<Vec<Draft>>,
    pub undo: Option<Vec<Draft>>,
    pub cancel_when: Option<Ask<bool>>,
    pub target: Option<String>,
}

impl Draft {
    pub fn new(id: impl Into<String>, verb: Verb) -> Self {
        Self {
            id: id.into(),
            name: None,
            policy: Policy::default(),
            verb,
            branches: Vec::new(),
            fallback: None,
            undo: None,
            cancel_when: None,
            target: None,
        }
    }
}
