//! What is known about one reason: how the newest instance failed, and what its instances share.

use std::collections::BTreeSet;

use maud::{Markup, html};
use wfe::{
    WfeError,
    traits::{ErrorRecord, InstanceState, InstanceSummary, MAX_PAGE},
};

use super::{Filter, Reason};
use crate::{
    ask::Ask,
    html::{num, symbol, text},
    pages::{
        instances::called,
        parts::{instance_page as to, short},
    },
};

/// How many instances are compared.
const COMPARED: usize = 50;
/// How many of them are linked.
const LINKED: usize = 5;
/// The most pages of failures of one instance that are read for its last failure.
const PAGES: usize = 4;

/// What is known about one reason.
pub(super) struct Detail {
    /// The last failure of the example, if it is stored.
    last: Option<ErrorRecord>,
    instances: Vec<InstanceSummary>,
    filter: Filter,
}

impl Detail {
    pub(super) async fn read(ask: &Ask, filter: &Filter, reason: &Reason) -> Result<Self, WfeError> {
        let (mut last, mut after) = (None, None);
        for _ in 0..PAGES {
            let page = ask.operator.errors(Some(&reason.example), after, MAX_PAGE).await?;
            let of_step =
                |record: &ErrorRecord| filter.step.as_ref().is_none_or(|step| record.failure.step == *step);
            last = page.rows.into_iter().rfind(of_step).or(last);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let query = filter.query(&[InstanceState::Suspended, InstanceState::Failed]);
        let instances = ask.operator.list(&query, None, COMPARED).await?.rows;
        Ok(Self { last, instances, filter: filter.clone() })
    }

    pub(super) fn markup(&self, ask: &Ask, reason: &Reason, buttons: &Markup) -> Markup {
        let name = self
            .instances
            .iter()
            .find(|row| row.id == reason.example)
            .map_or_else(|| reason.example.clone(), called);
        html! {
            div.box.cols.even {
                div {
                    h2 { "The newest one, " a href=(to(ask, &reason.example)) { (text(&name)) } }
                    (self.chain(reason))
                }
                div {
                    h2 { "What they share" }
                    (self.shared(ask, reason))
                    (buttons)
                }
            }
        }
    }

    /// The error and its sources, outermost first.
    fn chain(&self, reason: &Reason) -> Markup {
        let Some(ErrorRecord { failure, .. }) = &self.last else {
            return html! { p { (text(&reason.message)) } };
        };
        let causes = if failure.causes.is_empty() {
            std::slice::from_ref(&failure.error.message)
        } else {
            failure.causes.as_slice()
        };
        html! {
            ol.chain { @for cause in causes.iter().take(20) { li { (text(&short(cause))) } } }
            p.q {
                @if !failure.code.is_empty() { code { (text(&failure.code)) } ", " }
                @if failure.attempt > 0 { "attempt " (num(u64::from(failure.attempt))) }
                @if !failure.step.is_empty() { " of step " (text(&failure.step)) }
            }
        }
    }

    fn shared(&self, ask: &Ask, reason: &Reason) -> Markup {
        let versions: BTreeSet<_> =
            self.instances.iter().map(|row| (row.definition.as_str(), row.version)).collect();
        let compared = self.instances.len() as u64;
        let which = if reason.count() > compared { "The newest" } else { "All" };
        let attempts: BTreeSet<u32> =
            self.instances.iter().filter_map(|row| row.cause.as_ref()).map(|cause| cause.attempt).collect();
        let others: Vec<_> =
            self.instances.iter().filter(|row| row.id != reason.example).take(LINKED).collect();
        let rest = reason.count().saturating_sub(others.len() as u64 + 1);
        html! {
            ul.facts {
                @if compared > 1 {
                    li {
                        (which) " " (num(compared)) " are of "
                        @for (at, (definition, version)) in versions.iter().take(LINKED).enumerate() {
                            @if at > 0 { ", " }
                            b { (text(definition)) " v" (version) }
                        }
                        @if versions.len() > LINKED { " and others" }
                        "."
                    }
                    @if attempts.len() == 1 {
                        @for attempt in &attempts { li { "Each has failed for good at attempt " (attempt) "." } }
                    }
                }
                @if reason.failed > 0 && reason.suspended > 0 {
                    li { (symbol("fail", &num(reason.failed))) " have ended, " (symbol("susp", &num(reason.suspended))) " stand and wait for somebody." }
                }
                @if others.is_empty() {
                    li { "It is the only one." }
                } @else {
                    li {
                        "Others: "
                        @for (at, row) in others.iter().enumerate() {
                            @if at > 0 { ", " }
                            a href=(to(ask, &row.id)) { (text(&called(row))) }
                        }
                        @if rest > 0 { ", " a href=(self.listed(ask)) { (num(rest)) " more" } }
                    }
                }
            }
        }
    }

    /// The list of the instances.
    fn listed(&self, ask: &Ask) -> String {
        let fields = self.filter.instances();
        format!("{}{}", ask.to("instances"), fields.link())
    }
}
