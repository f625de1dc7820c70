//! An expense that needs an approval.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfe::prelude::*;

pub const APPROVE: &str = "approve";
pub const REJECT: &str = "reject";
/// The person who decides if the boss does not.
pub const DIRECTOR: &str = "Ms Grant";

const ANSWER_WITHIN: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Expense {
    pub id: String,
    pub who: String,
    pub cents: u64,
    pub boss: String,
    /// The person who was reminded to answer.
    pub reminded: Option<String>,
    pub decided_by: Option<String>,
    pub comment: Option<String>,
    pub paid: bool,
}

pub fn expense() -> Result<Definition<Expense>, Error> {
    WorkflowBuilder::<Expense>::new("expense", 1)
        .user_task("decide", |expense| format!("May {} spend {} cents?", expense.who, expense.cents))
        .assignee(|expense| expense.boss.clone())
        .output(|answer, expense| {
            expense.decided_by = answer.user;
            expense.comment = answer.data.as_str().map(str::to_owned);
        })
        .option(APPROVE, |approved| approved.change("pay", |expense| expense.paid = true))
        .plain_option(REJECT)
        // If no answer comes in time, two things happen: the task is reassigned, and the escalation branch runs.
        .reassign(|_| ANSWER_WITHIN, |_| DIRECTOR)
        .escalate(
            |_| ANSWER_WITHIN,
            |late| late.change("remind", |expense| expense.reminded = Some(expense.boss.clone())),
        )
        .build()
}
