//! The code by which each kind of step moves an instance, with one file for each kind. The fixed properties of a kind
//! are in its [`Verb`](crate::program::Verb).

mod activity;
mod block;
mod decide;
mod delay;
mod end;
mod for_each;
mod go_to;
mod if_else;
mod parallel;
mod race;
mod recur;
mod run_body;
mod saga;
mod schedule;
mod sub_workflow;
mod user_task;
mod wait_for;
mod while_loop;
