//! The guide: one chapter for each subject, with snippets that are compiled and run.
//!
//! | chapter | subject |
//! |---|---|
//! | [`steps_and_data`] | Steps and data |
//! | [`branches_and_loops`] | Branches and loops |
//! | [`events_activities_and_tasks`] | Events, activities and user tasks |
//! | [`failures_and_sagas`] | Failures and sagas |
//! | [`children_and_schedules`] | Child workflows and schedules |
//! | [`operate`] | Operate: what an operator can ask and do from a program |
//! | [`what_to_do_when`] | What to do when … |
//! | [`running_as_a_service`] | Running WFE as a service |
//! | [`metrics_and_alerts`] | Metrics and alerts |
//! | [`back_up_and_restore`] | Back up, check, restore and move a store |
//! | [`testing`] | Testing workflows |
//! | [`changing_a_running_workflow`] | Changing a running workflow |
//! | [`coming_from`] | Coming from Workflow Core, Temporal or Hangfire |
//! | [`troubleshooting`] | Troubleshooting |

#[doc = include_str!("steps_and_data.md")]
pub mod steps_and_data {}

#[doc = include_str!("branches_and_loops.md")]
pub mod branches_and_loops {}

#[doc = include_str!("events_activities_and_tasks.md")]
pub mod events_activities_and_tasks {}

#[doc = include_str!("failures_and_sagas.md")]
pub mod failures_and_sagas {}

#[doc = include_str!("children_and_schedules.md")]
pub mod children_and_schedules {}

#[doc = include_str!("operate.md")]
pub mod operate {}

#[doc = include_str!("what_to_do_when.md")]
pub mod what_to_do_when {}

#[doc = include_str!("running_as_a_service.md")]
pub mod running_as_a_service {}

// The crate `wfe-web` compiles the snippets, which need it.
#[cfg_attr(not(doctest), doc = include_str!("metrics_and_alerts.md"))]
pub mod metrics_and_alerts {}

#[doc = include_str!("back_up_and_restore.md")]
pub mod back_up_and_restore {}

#[doc = include_str!("testing.md")]
#[expect(clippy::test_attr_in_doctest, reason = "the chapter shows how a test is written")]
pub mod testing {}

#[doc = include_str!("changing_a_running_workflow.md")]
pub mod changing_a_running_workflow {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}
