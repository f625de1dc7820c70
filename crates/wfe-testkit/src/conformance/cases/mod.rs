//! The cases, by subject. The name of each case is a sentence: the rule that the case checks.

mod acquiring;
mod acting;
mod attributes;
mod bounds;
mod claiming;
mod commands;
mod commits;
mod concurrency;
mod control;
mod deaths;
mod durability;
mod early_events;
mod errors;
mod events;
mod exactness;
mod finishing;
mod history;
mod hosts;
mod instances;
mod listings;
mod liveness;
mod news;
mod ownership;
mod pointers;
mod positions;
mod publishing;
mod random;
mod refusals;
mod removing;
mod replacing;
mod reports;
mod restarts;
mod retries;
mod set_back;
mod starts;
mod streams;
mod subscriptions;
mod tokens;
mod undated;
mod work;

use super::case::Case;

/// Every case of the suite.
pub(super) fn all() -> impl Iterator<Item = &'static Case> {
    [
        instances::CASES,
        pointers::CASES,
        events::CASES,
        early_events::CASES,
        subscriptions::CASES,
        tokens::CASES,
        commands::CASES,
        errors::CASES,
        exactness::CASES,
        bounds::CASES,
        concurrency::CASES,
        durability::CASES,
        starts::CASES,
        attributes::CASES,
        replacing::CASES,
        restarts::CASES,
        retries::CASES,
        commits::CASES,
        refusals::CASES,
        control::CASES,
        history::CASES,
        streams::CASES,
        set_back::CASES,
        positions::CASES,
        undated::CASES,
        publishing::CASES,
        finishing::CASES,
        claiming::CASES,
        acquiring::CASES,
        ownership::CASES,
        liveness::CASES,
        deaths::CASES,
        hosts::CASES,
        news::CASES,
        work::CASES,
        listings::CASES,
        acting::CASES,
        reports::CASES,
        removing::CASES,
        random::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Imports that nearly every case needs.
mod prelude {
    pub(super) use std::sync::Arc;

    pub(super) use serde_json::{Value, json};
    pub(super) use wfe_core::{
        WfeError,
        models::{WorkflowInstance, WorkflowStatus},
        traits::{Committed, Ending, Fence, Finished, Owner, StepCommit},
    };

    pub(super) use crate::conformance::{
        bench::{Bench, Store, done, finished_rows, management, must_keep_commands, offered, owned, steps},
        case::{assert_err, cases},
        checked::{Checked, Stop, unmet},
        samples::{
            DEFINITION, commit, consumed, definitions, event, failure, finished_pointer, full_instance,
            full_pointer, full_wait, instance, instance_with, parked, pointer, second, second_ms, texts,
            wait,
        },
    };
}
