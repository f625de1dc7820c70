//! The scenarios, by subject. The name of each scenario is the sentence that it proves.

mod branching;
mod children;
mod control;
mod events;
mod external_tasks;
mod failing;
mod hostile;
mod large;
mod looping;
mod nesting;
mod publishing;
mod races;
mod retried;
mod sagas;
mod schedules;
mod timing;
mod versions;

use super::Scenario;

/// Every scenario of the suite.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        branching::SCENARIOS,
        looping::SCENARIOS,
        races::SCENARIOS,
        timing::SCENARIOS,
        schedules::SCENARIOS,
        events::SCENARIOS,
        publishing::SCENARIOS,
        external_tasks::SCENARIOS,
        children::SCENARIOS,
        sagas::SCENARIOS,
        failing::SCENARIOS,
        retried::SCENARIOS,
        control::SCENARIOS,
        versions::SCENARIOS,
        nesting::SCENARIOS,
        hostile::SCENARIOS,
        large::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// The scenarios of one file. The compiler reports a scenario that is missing here as dead code.
macro_rules! scenarios {
    ($noun:literal: $($scenario:ident),* $(,)?) => {
        pub(super) const SCENARIOS: &[$crate::scenarios::Scenario] = &[$(
            $crate::scenarios::Scenario {
                noun: $noun,
                rule: stringify!($scenario),
                play: |stage| Box::pin($scenario(stage)),
            }
        ),*];
    };
}

/// Imports that nearly every scenario needs.
mod prelude {
    pub(super) use std::{sync::Arc, time::Duration};

    pub(super) use serde_json::json;
    pub(super) use wfe::{
        Outcome,
        clock::Clock,
        definition::{Activity, Event, OnFailure, Retry, WorkflowBuilder, WorkflowName},
        status::State,
        steps::{Next, StepError},
        traits::Ending,
    };

    pub(super) use super::scenarios;
    pub(super) use crate::{
        conformance::checked::{Checked, unmet},
        scenarios::{
            stage::{Stage, completed, words},
            words::{Gate, Story, begin, built, count, explode, flaky, note},
        },
        steps::{fail, mark, mark_item},
    };

    pub(super) const MINUTE: Duration = Duration::from_mins(1);
    pub(super) const HOUR: Duration = Duration::from_hours(1);
    pub(super) const DAY: Duration = Duration::from_hours(24);
}

use scenarios;
