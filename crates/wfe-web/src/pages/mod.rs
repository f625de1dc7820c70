//! The pages, one subject a file.
//!
//! To add a page: write `src/pages/NAME.rs` with a constant `GROUP`, which has its place in the navigation (`None` for pages
//! that are reached from others) and one [`Route`](crate::routes::Route) for each address; then add `mod NAME;` and
//! `&NAME::GROUP` below. Nothing else: the router, the rights, the navigation, live updates and the tests of all routes are
//! made from these rows. A handler is a function `fn(Ask) -> Answer`: it asks `ask.operator`, which has the visitor's name,
//! role and redaction, and returns a [`Page`](crate::html::Page) (`.into()`), or a
//! [`Failure`](crate::reply::Failure), which `?` makes of every error of WFE. Parts of pages are in [`crate::html`]; links
//! are made by `ask.to("instances/ID")`. A page is sent again while it is open unless its route is `still()`. Forms are sent
//! to routes made by `Route::action`; without the field `sure` these answer with a page made by
//! [`Sure`](crate::html::Sure), which sends the same form again.

mod act;
mod activities;
mod audit;
mod definitions;
mod events;
mod failures;
mod find;
mod hosts;
mod instance;
mod instances;
mod overview;
mod parts;
mod schedules;
mod storage;
mod tasks;

pub(crate) use act::Jobs;
pub(crate) use storage::Jobs as Upkeep;

use crate::routes::Group;

/// All subjects, in the order of the navigation.
pub(crate) const GROUPS: &[&Group] = &[
    &overview::GROUP,
    &instances::GROUP,
    &instance::GROUP,
    &failures::GROUP,
    &definitions::GROUP,
    &tasks::GROUP,
    &activities::GROUP,
    &events::GROUP,
    &schedules::GROUP,
    &hosts::GROUP,
    &storage::GROUP,
    &audit::GROUP,
    &find::GROUP,
    &act::GROUP,
];
