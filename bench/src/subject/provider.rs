//! A store through the base traits of the persistence contract. Two subjects are built from this file, each with its own
//! crates (`super::api`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wfe_bench_workloads::{
    Done, Place,
    ability::{Commands, DueEvents, DueInstances, Events, Instances, Subject},
    clock,
};

use super::{
    api::{
        Event, EventRepository, ExecutionPointer, PointerStatus, ScheduledCommand,
        ScheduledCommandRepository, SqlitePersistenceProvider, WorkflowInstance, WorkflowRepository,
    },
    copies, tables,
};

pub struct Store(SqlitePersistenceProvider, Place);

impl Subject for Store {
    async fn open(place: &Place) -> Done<Self> {
        Ok(Self(super::open(place).await?, place.clone()))
    }

    async fn close(&self) -> Done {
        super::close(&self.0, &self.1).await
    }
}

/// An instance as all workloads store it: data of some 300 bytes, and its first pointer.
pub fn draft(number: u64) -> WorkflowInstance {
    let data = json!({ "customer": number, "note": "x".repeat(200), "lines": [1, 2, 3] });
    let mut instance = WorkflowInstance::new("bench", 1, data);
    instance.execution_pointers.push(pointer(0));
    instance
}

pub fn pointer(step: usize) -> ExecutionPointer {
    let mut pointer = ExecutionPointer::new(step);
    pointer.step_name = Some(format!("step {step}"));
    pointer
}

pub fn complete(pointer: &mut ExecutionPointer, result: u64) {
    pointer.status = PointerStatus::Complete;
    pointer.active = false;
    pointer.outcome = Some(json!({ "step": result }));
}

impl Instances for Store {
    type Instance = WorkflowInstance;

    fn draft(number: u64, pointers: usize) -> WorkflowInstance {
        let mut instance = draft(number);
        instance.execution_pointers.extend((1..pointers).map(pointer));
        if pointers > 1 {
            instance.execution_pointers.iter_mut().for_each(|pointer| complete(pointer, 0));
        }
        instance
    }

    fn set(instance: &mut WorkflowInstance, pointer: usize, result: u64) {
        complete(&mut instance.execution_pointers[pointer], result);
    }

    fn step(instance: &mut WorkflowInstance) {
        let step = instance.execution_pointers.len();
        if let Some(last) = instance.execution_pointers.last_mut() {
            complete(last, step as u64);
        }
        instance.execution_pointers.push(pointer(step));
        instance.next_execution = i64::try_from(step).ok();
    }

    fn id(instance: &WorkflowInstance) -> &str {
        &instance.id
    }

    fn pointers(instance: &WorkflowInstance) -> usize {
        instance.execution_pointers.len()
    }

    fn is_same(one: &WorkflowInstance, other: &WorkflowInstance) -> bool {
        let value = |instance| serde_json::to_value(instance).ok();
        value(one).is_some_and(|one| Some(one) == value(other))
    }

    async fn create(&self, instance: &mut WorkflowInstance) -> Done {
        instance.id = self.0.create_new_workflow(instance).await?;
        if instance.name.is_empty() {
            instance.name.clone_from(&instance.id);
        }
        Ok(())
    }

    async fn load(&self, id: &str) -> Done<WorkflowInstance> {
        Ok(self.0.get_workflow_instance(id).await?)
    }

    async fn persist(&self, instance: &mut WorkflowInstance) -> Done {
        Ok(self.0.persist_workflow(instance).await?)
    }
}

impl DueInstances for Store {
    fn schedule_at(instance: &mut WorkflowInstance, time: Option<i64>) {
        instance.next_execution = time;
    }

    async fn due(&self) -> Done<Vec<String>> {
        Ok(self.0.get_runnable_instances(now()).await?)
    }

    fn multiply(place: &Place, id: &str, copies: usize) -> Done {
        copies::multiply(place, id, copies, &tables::INSTANCES)
    }

    fn count(place: &Place) -> Done<usize> {
        copies::count(place, "SELECT count(*) FROM workflows WHERE status = 'Runnable'")
    }
}

impl Events for Store {
    async fn create_event(&self, number: u64, due: Option<i64>) -> Done<String> {
        let mut event = Event::new("paid", format!("order {}", number % 1000), json!({ "number": number }));
        event.event_time = due.map_or_else(now, at);
        Ok(self.0.create_event(&event).await?)
    }

    async fn event(&self, id: &str) -> Done<(u64, bool)> {
        let event = self.0.get_event(id).await?;
        let number = event.event_data.get("number").and_then(Value::as_u64);
        Ok((number.ok_or("the data of an event has changed")?, event.is_processed))
    }

    async fn mark_processed(&self, id: &str) -> Done {
        Ok(self.0.mark_event_processed(id).await?)
    }
}

impl DueEvents for Store {
    async fn due_events(&self) -> Done<Vec<String>> {
        Ok(self.0.get_runnable_events(now()).await?)
    }

    fn multiply_event(place: &Place, id: &str, copies: usize) -> Done {
        copies::multiply(place, id, copies, &tables::EVENTS)
    }
}

impl Commands for Store {
    async fn schedule(&self, number: u64, due: i64) -> Done {
        let command = ScheduledCommand::process_workflow(number.to_string(), due);
        Ok(self.0.schedule_command(&command).await?)
    }

    fn scheduled(place: &Place) -> Done<Vec<(u64, i64)>> {
        copies::pairs(place, "SELECT data, execute_time FROM scheduled_commands")
    }
}

fn at(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

fn now() -> DateTime<Utc> {
    at(clock::now_ms())
}
