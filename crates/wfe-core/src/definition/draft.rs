use crate::program::{Ask, Policy, Verb};

/// A step as collected by the builder. When the definition is assembled, each draft becomes a node.
pub(crate) struct Draft {
    pub id: String,
    pub name: Option<String>,
    pub policy: Policy,
    pub verb: Verb,
    pub branches: Vec<Vec<Draft>>,
    pub fallback: Option<Vec<Draft>>,
    pub compensation: Option<Vec<Draft>>,
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
            compensation: None,
            cancel_when: None,
            target: None,
        }
    }
}
