//! The writes of a workflow of three empty steps: a start and three commits.

use rusqlite::params;
use wfe_bench_workloads::{
    Done,
    ability::{Flows, Instances, Steps},
    clock::now_ms,
};

use crate::{
    instance::{self, Instance},
    schema,
    store::Ceiling,
};

const STEPS: usize = 3;

impl Flows for Ceiling {
    async fn flow(&self, number: u64) -> Done<String> {
        let mut instance = self.begin(number).await?;
        for _ in 1..STEPS {
            self.commit(&mut instance).await?;
        }
        let Instance { id, mut pointers, .. } = instance;
        let mut last = pointers.pop().ok_or("the last step is missing")?;
        last.active = false;
        "Complete".clone_into(&mut last.status);
        let ended = id.clone();
        self.0
            .run(move |file| {
                let mut statement = file.prepare_cached(schema::END_WORKFLOW)?;
                let workflow = statement.query_row(params![ended, now_ms()], |row| row.get(0))?;
                instance::update(file, workflow, &last)
            })
            .await?;
        Ok(id)
    }

    async fn is_completed(&self, id: &str, number: u64) -> Done<bool> {
        let found = self.load(id).await?;
        let is_ended =
            found.next_execution.is_none() && found.pointers.iter().all(|one| one.status == "Complete");
        let data: serde_json::Value = serde_json::from_str(&found.data)?;
        Ok(is_ended && found.pointers.len() == STEPS && data["customer"] == number)
    }
}
