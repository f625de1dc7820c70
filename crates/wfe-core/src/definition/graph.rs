use std::{
    any::TypeId, fmt, marker::PhantomData, ops::Deref, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::draft::{Defaults, Draft};
use crate::{
    Result, WfeError,
    limits::LONGEST_DEFINITION_ID,
    models::{ExecutionPointer, WorkflowInstance},
    program::{AnyData, Data, Node},
    steps::{StepError, to_value},
    traits::OWN_NAMES,
};

/// A workflow definition: an id, a version, and a graph of steps over data of type `D`. It is cheap to clone.
///
/// It dereferences to [`AnyDefinition`], which has its methods.
pub struct Definition<D> {
    erased: AnyDefinition,
    data: PhantomData<fn(D)>,
}

impl<D> Definition<D> {
    /// The data of `definition` must be of type `D`.
    pub(super) fn of(definition: AnyDefinition) -> Self {
        Self { erased: definition, data: PhantomData }
    }
}

impl<D> Deref for Definition<D> {
    type Target = AnyDefinition;

    fn deref(&self) -> &AnyDefinition {
        &self.erased
    }
}

impl<D> From<Definition<D>> for AnyDefinition {
    fn from(definition: Definition<D>) -> Self {
        definition.erased
    }
}

// Derived, `Clone` would ask the same of the data.
impl<D> Clone for Definition<D> {
    fn clone(&self) -> Self {
        Self::of(self.erased.clone())
    }
}

impl<D> fmt::Debug for Definition<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.erased.fmt(f)
    }
}

/// A [`Definition`] whose data type is erased, so that a list can hold definitions of several workflows. It is cheap to
/// clone.
#[derive(Clone)]
pub struct AnyDefinition(Arc<Inner>);

struct Inner {
    id: Arc<str>,
    version: u32,
    deadline: Option<Duration>,
    data_type: TypeId,
    data_name: &'static str,
    decode: fn(&Value) -> serde_json::Result<AnyData>,
    nodes: Vec<Node>,
    by_id: super::assembly::IndexById,
}

impl AnyDefinition {
    /// The id of the definition.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    pub(crate) fn shared_id(&self) -> Arc<str> {
        self.0.id.clone()
    }

    /// The version of the definition.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The stable ids of all steps. Each container comes before the steps inside it.
    pub fn step_ids(&self) -> impl Iterator<Item = &str> {
        self.0.nodes.iter().map(|n| &*n.id)
    }

    /// The display name of a step, which is the step's id by default. Returns `None` if the definition has no
    /// step with this id.
    #[must_use]
    pub fn step_name(&self, id: &str) -> Option<&str> {
        self.find(id).map(|n| n.name.as_deref().unwrap_or(&n.id))
    }

    /// Creates an instance with a pointer at the first step. The id of the instance is empty until the store
    /// assigns one.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): `D` is not the data type of the definition.
    /// * [`Serialization`](WfeError::Serialization): JSON cannot represent the data.
    pub fn instance<D: Data>(&self, data: &D, now: DateTime<Utc>) -> Result<WorkflowInstance> {
        self.instance_of::<D>(to_value(data), now)
    }

    /// Like [`instance`](Self::instance), for data of type `D` that were serialised before.
    ///
    /// # Errors
    /// The errors of [`instance`](Self::instance).
    pub fn instance_of<D: Data>(
        &self,
        data: serde_json::Result<Value>,
        now: DateTime<Utc>,
    ) -> Result<WorkflowInstance> {
        if TypeId::of::<D>() != self.0.data_type {
            let (id, wanted, given) = (self.id(), self.0.data_name, std::any::type_name::<D>());
            return Err(WfeError::Invalid(format!(
                "the data of workflow {id:?} is of type {wanted}, not {given}"
            )));
        }
        let new = WorkflowInstance::created_at(self.id(), self.version(), data?, now);
        Ok(WorkflowInstance { execution_pointers: vec![self.first_pointer()], ..new })
    }

    pub(crate) fn first_pointer(&self) -> ExecutionPointer {
        let first = &self.0.nodes[0];
        first.new_pointer(String::from(&*first.id))
    }

    /// Decodes the data into the definition's data type. Fails if the data does not fit the type, or if the
    /// type's own code panics.
    pub(crate) fn decode(&self, data: &Value) -> std::result::Result<AnyData, StepError> {
        let misfit = |e| StepError::fatal(e).with_code(StepError::DEFINITION);
        std::panic::catch_unwind(AssertUnwindSafe(|| (self.0.decode)(data).map_err(misfit)))
            .unwrap_or_else(|payload| Err(StepError::from_panic("reading the data", payload)))
    }

    /// Checks that this stored data can be read as the definition's data type.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the data cannot be read.
    pub fn check_data(&self, data: &Value) -> Result<()> {
        let Err(error) = self.decode(data) else { return Ok(()) };
        let (id, version, wanted) = (self.id(), self.version(), self.0.data_name);
        Err(WfeError::Invalid(format!(
            "the data does not fit version {version} of workflow {id:?}, which has data of type {wanted}: {error}"
        )))
    }

    /// The reason why this data of the type `given` cannot be read as the definition's data type, or `None` if
    /// it can be read.
    pub(crate) fn misfit(&self, data: &Value, given: &str) -> Option<String> {
        let error = self.decode(data).err()?;
        let (id, wanted) = (self.id(), self.0.data_name);
        Some(format!(
            "the data of workflow {id:?} is of type {wanted}, and data of type {given} cannot be converted to it: {error}"
        ))
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        &self.0.nodes[index]
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Node> {
        self.0.by_id.get(id).map(|&at| &self.0.nodes[at])
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// The name of the definition's data type.
    pub(super) fn data_name(&self) -> &'static str {
        self.0.data_name
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.0.deadline
    }

    pub(super) fn assemble<D: Data>(
        id: &str,
        version: u32,
        deadline: Option<Duration>,
        drafts: Vec<Draft>,
        defaults: &Defaults,
        is_own: bool,
    ) -> Result<Self> {
        let invalid = |problem| WfeError::InvalidDefinition { definition: id.to_owned(), problem };
        if id.is_empty() {
            return Err(invalid("its id is empty".to_owned()));
        }
        if id.len() > LONGEST_DEFINITION_ID {
            // The message quotes only the beginning of the id, because the whole id may be very long.
            return Err(WfeError::InvalidDefinition {
                definition: id.chars().take(64).chain(['…']).collect(),
                problem: format!(
                    "its id has {} bytes; at most {LONGEST_DEFINITION_ID} are allowed, because every claim sends the id",
                    id.len()
                ),
            });
        }
        if version == 0 {
            return Err(invalid("its version is 0; versions begin with 1".to_owned()));
        }
        if drafts.is_empty() {
            return Err(invalid("it has no steps".to_owned()));
        }
        if id.starts_with(OWN_NAMES) && !is_own {
            return Err(invalid(format!("ids that begin with {OWN_NAMES:?} are reserved for the engine")));
        }
        let (nodes, by_id) = super::assembly::nodes(drafts, defaults, is_own).map_err(invalid)?;
        Ok(Self(Arc::new(Inner {
            id: id.into(),
            version,
            deadline,
            data_type: TypeId::of::<D>(),
            data_name: std::any::type_name::<D>(),
            decode: |value| D::deserialize(value).map(AnyData::new),
            nodes,
            by_id,
        })))
    }
}

impl fmt::Debug for AnyDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.step_ids().collect();
        f.debug_struct("Definition")
            .field("id", &self.0.id)
            .field("version", &self.0.version)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}
