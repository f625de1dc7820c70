use std::{any::TypeId, collections::HashMap, fmt, panic::AssertUnwindSafe, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{AnyData, Data, Policy};
use crate::{
    Result, WfeError,
    executor::{Primitive, new_pointer},
    models::{ExecutionPointer, WorkflowInstance, WorkflowStatus},
    steps::StepError,
};

/// A workflow program: an id, a version, and a graph of steps over one type of data. Cheap to clone.
#[derive(Clone)]
pub struct Definition(Arc<Inner>);

struct Inner {
    id: Arc<str>,
    version: u32,
    data_type: TypeId,
    data_name: &'static str,
    decode: fn(&Value) -> serde_json::Result<AnyData>,
    nodes: Vec<Node>,
    by_id: HashMap<Arc<str>, usize>,
}

/// One step of a definition.
pub(crate) struct Node {
    pub index: usize,
    pub id: Arc<str>,
    pub name: Option<String>,
    pub primitive: Arc<dyn Primitive>,
    pub policy: Policy,
    /// What follows in the same sequence; `None`: the sequence ends here.
    pub next: Option<usize>,
    /// The container around it; `None`: it is on the main path.
    pub container: Option<usize>,
    pub branches: Vec<Branch>,
}

/// A sequence inside a container, by its first step.
pub(crate) struct Branch {
    pub first: usize,
}

/// A step before the definition is put together.
pub(crate) struct Draft {
    pub id: String,
    pub name: Option<String>,
    pub policy: Policy,
    pub primitive: Arc<dyn Primitive>,
    pub branches: Vec<Vec<Draft>>,
}

impl Definition {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    pub(crate) fn shared_id(&self) -> Arc<str> {
        self.0.id.clone()
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The stable ids of its steps, each container before what is in it.
    pub fn step_ids(&self) -> impl Iterator<Item = &str> {
        self.0.nodes.iter().map(|n| &*n.id)
    }

    /// What people call a step; `None`: there is no such step.
    #[must_use]
    pub fn step_name(&self, id: &str) -> Option<&str> {
        self.find(id).map(|n| n.name.as_deref().unwrap_or(&n.id))
    }

    /// A new instance that stands at the first step. Its id is empty: the store makes one.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the definition's data has another type; or the data does not fit JSON
    /// ([`Serialization`](WfeError::Serialization)).
    pub fn instance<D: Data>(&self, data: &D, now: DateTime<Utc>) -> Result<WorkflowInstance> {
        if TypeId::of::<D>() != self.0.data_type {
            let (id, wanted, given) = (self.id(), self.0.data_name, std::any::type_name::<D>());
            return Err(WfeError::Invalid(format!("workflow {id:?} runs on {wanted}, not on {given}")));
        }
        Ok(WorkflowInstance {
            id: String::new(),
            name: String::new(),
            root_workflow_id: None,
            workflow_definition_id: self.id().to_owned(),
            version: self.version(),
            description: None,
            reference: None,
            execution_pointers: vec![self.first_pointer()],
            next_execution: Some(0),
            status: WorkflowStatus::Runnable,
            data: super::to_value(data)?,
            create_time: now,
            complete_time: None,
        })
    }

    pub(crate) fn first_pointer(&self) -> ExecutionPointer {
        let first = &self.0.nodes[0];
        new_pointer(first.id.to_string(), first)
    }

    /// The data, typed; `Err`: why it is none of the definition's. A panic in the user's type counts as that.
    pub(crate) fn decode(&self, data: &Value) -> std::result::Result<AnyData, StepError> {
        let misfit = |e| StepError::fatal(e).with_code(StepError::DEFINITION);
        std::panic::catch_unwind(AssertUnwindSafe(|| (self.0.decode)(data).map_err(misfit)))
            .unwrap_or_else(|payload| Err(StepError::from_panic("reading the data", &*payload)))
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        &self.0.nodes[index]
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Node> {
        self.0.by_id.get(id).map(|&at| &self.0.nodes[at])
    }

    pub(super) fn assemble<D: Data>(id: &str, version: u32, drafts: Vec<Draft>) -> Result<Self> {
        let invalid = |problem| WfeError::InvalidDefinition { definition: id.to_owned(), problem };
        if id.is_empty() {
            return Err(invalid("its id is empty".to_owned()));
        }
        if drafts.is_empty() {
            return Err(invalid("it has no steps".to_owned()));
        }
        let mut inner = Inner {
            id: id.into(),
            version,
            data_type: TypeId::of::<D>(),
            data_name: std::any::type_name::<D>(),
            decode: |value| D::deserialize(value).map(|data| Arc::new(data) as AnyData),
            nodes: Vec::new(),
            by_id: HashMap::new(),
        };
        inner.add(drafts, None).map_err(invalid)?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    /// Adds a sequence and what is in it, each step before its branches; gives the position of its first step.
    fn add(
        &mut self,
        drafts: Vec<Draft>,
        container: Option<usize>,
    ) -> std::result::Result<Option<usize>, String> {
        let (mut first, mut previous) = (None, None::<usize>);
        for draft in drafts {
            let index = self.nodes.len();
            let id: Arc<str> = check(&draft)?.into();
            if self.by_id.insert(id.clone(), index).is_some() {
                return Err(format!("step {id:?} stands in it twice; give each step an id of its own"));
            }
            self.nodes.push(Node {
                index,
                id: id.clone(),
                name: draft.name,
                primitive: draft.primitive,
                policy: draft.policy,
                next: None,
                container,
                branches: Vec::new(),
            });
            for branch in draft.branches {
                let first = self.add(branch, Some(index))?;
                let first = first.ok_or_else(|| format!("the body of {id:?} has no steps; give it one"))?;
                self.nodes[index].branches.push(Branch { first });
            }
            match previous.replace(index) {
                None => first = Some(index),
                Some(previous) => self.nodes[previous].next = Some(index),
            }
        }
        Ok(first)
    }
}

fn check(draft: &Draft) -> std::result::Result<&str, String> {
    let id = &*draft.id;
    if id.is_empty() {
        return Err("a step has an empty id; give it one".to_owned());
    }
    // Pointer ids are paths of step ids: `price/17/look-up`.
    if id.contains(['/', '#']) {
        return Err(format!("the id of step {id:?} has '/' or '#' in it; use other characters"));
    }
    let problem = draft.policy.retry.problem().or_else(|| draft.primitive.problem());
    problem.map_or(Ok(id), |problem| Err(format!("step {id:?}: {problem}")))
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.step_ids().collect();
        f.debug_struct("Definition")
            .field("id", &self.0.id)
            .field("version", &self.0.version)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}
