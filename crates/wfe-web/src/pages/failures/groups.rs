//! The failures by their reason: those that are open, and those that are dealt with.

use maud::{Markup, html};
use wfe::{
    operator::Role,
    traits::{InstanceState, MAX_ROWS},
};

use super::{
    By, Filter, Reason, WORDS,
    act::{Do, Scope},
    detail::Detail,
    trend::Trends,
};
use crate::{
    ask::{Ask, Fields},
    html::{Page, Pager, ago, empty, icon, num, since, symbol, text},
    picture::sparkline,
    reply::{Failure, Reply},
};

/// The most reasons on a page.
const ROWS: usize = 100;
/// The number of columns.
const COLUMNS: usize = 7;

/// What the page shows.
struct Found {
    filter: Filter,
    reasons: Vec<Reason>,
    /// Whether all failures were looked at.
    is_whole: bool,
    /// The row that is open.
    open: Option<(String, Detail)>,
}

pub(super) async fn page(ask: &Ask) -> Result<Reply, Failure> {
    let filter = Filter::of(&ask.query);
    let query = filter.query(&[InstanceState::Suspended, InstanceState::Failed]);
    let window = ask.operator.failure_groups(&query).await?;
    let groups = window.rows.into_iter().filter(|group| filter.is_shown(group)).collect::<Vec<_>>();
    let trends = if groups.is_empty() { Trends::default() } else { Trends::read(ask, &filter).await? };
    let reasons = Reason::all(filter.by, groups, &trends);
    // The first one is open unless the address says otherwise.
    let wanted = ask.query.all("open").next();
    let open = match wanted {
        Some(name) => reasons.iter().take(ROWS).find(|reason| reason.key.name() == name),
        None => reasons.first(),
    };
    let open = match open {
        Some(reason) => {
            Some((reason.key.name(), Detail::read(ask, &filter.of_reason(reason), reason).await?))
        }
        None => None,
    };
    Ok(show(ask, &Found { filter, reasons, is_whole: window.is_whole, open }).into())
}

fn show(ask: &Ask, found: &Found) -> Page {
    let Found { filter, reasons, .. } = found;
    let (title, lead) = says(ask, found);
    Page::new(title).lead(lead).tools(tools(ask, found)).body(html! {
        (tabs(ask, if filter.acknowledged { "acknowledged" } else { "" }))
        (line(ask, filter))
        @if reasons.is_empty() { (nothing(ask, found)) } @else { (table(ask, found)) }
        @if reasons.len() > ROWS {
            (Pager {
                says: format!("The {ROWS} most frequent of {} reasons. A filter shows the others.", num(reasons.len() as u64)),
                first: None,
                next: None,
            }.markup())
        }
    })
}

/// The title, which is the answer, and the sentence below it.
fn says(ask: &Ask, Found { filter, reasons, is_whole, .. }: &Found) -> (String, Markup) {
    let count: u64 = reasons.iter().map(Reason::count).sum();
    let plus = if *is_whole { "" } else { "+" };
    let kind = if filter.acknowledged { "dealt with" } else { "open" };
    let s = |n: u64| if n == 1 { "" } else { "s" };
    if count == 0 {
        let kind = if filter.acknowledged { "No failure is dealt with" } else { "No open failure" };
        return (kind.to_owned(), html! {});
    }
    let many = reasons.len() as u64;
    let title = if filter.acknowledged {
        format!("{}{plus} failure{} dealt with", num(count), s(count))
    } else {
        format!("{}{plus} {kind} failure{}, for {} reason{}", num(count), s(count), num(many), s(many))
    };
    let new: Vec<&Reason> = reasons.iter().filter(|reason| reason.is_new(ask.now)).collect();
    let lead = html! {
        @if filter.acknowledged {
            "They stand in no count of what is open. What fails anew is open again."
        } @else if new.is_empty() {
            "None is new since yesterday: each reason is known for more than a day."
        } @else {
            @if new.len() == reasons.len() { "All are new since yesterday: " } @else { (num(new.len() as u64)) " new since yesterday: " }
            @for (at, reason) in new.iter().take(3).enumerate() {
                @if at > 0 { ", " }
                (place(reason)) ", first " (ago(ask.now, reason.first))
            }
            @if new.len() > 3 { " and " (num(new.len() as u64 - 3)) " more" }
            "."
        }
        @if !is_whole { " The newest " (num(MAX_ROWS)) " instances were looked at." }
    };
    (title, lead)
}

/// Where it failed, in words.
fn place(reason: &Reason) -> Markup {
    let key = &reason.key;
    let step = key.step.as_deref().filter(|step| !step.is_empty());
    html! {
        @match (&key.definition, step) {
            (Some(definition), Some(step)) => { (text(definition)) span.arrow { "›" } (text(step)) },
            (Some(definition), None) => (text(definition)),
            (None, _) => code { (text(key.code.as_deref().unwrap_or(""))) },
        }
    }
}

/// What can be done to all that the filter selects.
fn tools(ask: &Ask, Found { filter, reasons, .. }: &Found) -> Markup {
    let count = |of: fn(&Reason) -> u64| reasons.iter().map(of).sum::<u64>();
    let (failed, suspended) = (count(|it| it.failed), count(|it| it.suspended));
    // A text selects rows of this page, not instances.
    let acts = ask.visitor.role() >= Role::Operator && filter.text.is_none() && failed + suspended > 0;
    html! {
        @if acts {
            @for verb in Do::of(filter.acknowledged, failed, suspended) {
                @if verb != Do::Skip {
                    a.b href=(verb.link(ask, &Scope::of(filter))) { (verb.word()) " all " (num(verb.count(failed, suspended))) "…" }
                }
            }
        }
    }
}

pub(super) fn tabs(ask: &Ask, current: &str) -> Markup {
    let tabs = [("", "Open"), ("attempts", "Every attempt"), ("acknowledged", "Dealt with")];
    html! {
        ul.tabs aria-label="Failures" {
            @for (tab, label) in tabs {
                @let link = Fields::default().with("tab", Some(tab).filter(|tab| !tab.is_empty())).link();
                li { a href={ (ask.to("failures")) (link) } aria-current=[(tab == current).then_some("page")] { (label) } }
            }
        }
    }
}

/// The line with the filter. It works without a script: what is typed is sent as `f`.
fn line(ask: &Ask, filter: &Filter) -> Markup {
    let fields = filter.fields();
    let chips = fields.0.iter().filter(|(name, _)| WORDS.contains(&name.as_str()) || name == "text");
    html! {
        form.filter role="search" aria-label="Filter" action=(ask.to("failures")) {
            (icon("search"))
            @for (name, value) in fields.0.iter().filter(|(name, _)| name != "by") {
                input type="hidden" name=(name) value=(value);
            }
            @for (name, value) in chips {
                @let label = if value.is_empty() { "none" } else { value.as_str() };
                span.chip {
                    span { (name) ":" } (text(label))
                    a href={ (ask.to("failures")) (fields.with(name, None).link()) } title={ "Take off " (name) } {
                        (icon("x")) span.vh { "Take off " (name) ":" (label) }
                    }
                }
            }
            label.vh for="filter" { "Add a filter" }
            input id="filter" name="f" placeholder="Add a filter: definition:…, step:…, code:…, or a text" autocomplete="off" maxlength="512";
            label.vh for="by" { "Grouped by" }
            select id="by" name="by" {
                @for (by, name, label) in By::ALL {
                    option value=(name) selected[by == filter.by] { (label) }
                }
            }
            button.b.bare { "Show" }
        }
    }
}

fn nothing(ask: &Ask, Found { filter, .. }: &Found) -> Markup {
    let bare = Filter { acknowledged: filter.acknowledged, ..Filter::default() };
    let fields = filter.fields();
    let is_filtered = *filter != Filter { by: filter.by, ..bare.clone() };
    html! {
        @if is_filtered {
            (empty("No failure matches the filter.", &html! {
                "Take off a part of it, or "
                a href={ (ask.to("failures")) (fields.with("text", None).with("definition", None).with("step", None).with("code", None).link()) } { "all of it" } "."
            }))
        } @else if filter.acknowledged {
            (empty("No failure is dealt with.", &html! {
                "Whoever deals with an " a href=(ask.to("failures")) { "open failure" } " acknowledges it, and it moves here."
            }))
        } @else {
            (empty("Nothing is broken.", &html! {
                "No instance is suspended or ended by a failure that is not dealt with. Attempts that were retried stand under "
                a href={ (ask.to("failures")) "?tab=attempts" } { "every attempt" } "."
            }))
        }
    }
}

fn table(ask: &Ask, found: &Found) -> Markup {
    let label =
        if found.filter.acknowledged { "Failures dealt with, by reason" } else { "Open failures by reason" };
    html! {
        div.tw tabindex="0" role="region" aria-label=(label) {
            table.t {
                thead {
                    tr {
                        th scope="col" { @if found.filter.acknowledged { "Were" } @else { "Open" } }
                        th scope="col" { div.two.w11 { "Where" span.p2 { "Last error" } } }
                        th.p2 scope="col" { "24 hours" }
                        th.n.p2 scope="col" { "First" }
                        th.n scope="col" { "Last" }
                        th.p2 scope="col" { "State" }
                        th.n.p2 scope="col" { "Do" }
                    }
                }
                tbody { @for reason in found.reasons.iter().take(ROWS) { (row(ask, found, reason)) } }
            }
        }
    }
}

fn row(ask: &Ask, found: &Found, reason: &Reason) -> Markup {
    let filter = &found.filter;
    let name = reason.key.name();
    let open = found.open.as_ref().filter(|(open, _)| *open == name).map(|(_, detail)| detail);
    let class = if reason.failed > 0 { "fail" } else { "susp" };
    // An open row closes: its link opens none.
    let other = filter.fields().with("open", Some(if open.is_some() { "-" } else { name.as_str() }));
    let is_new = reason.is_new(ask.now);
    let acts = ask.visitor.role() >= Role::Operator;
    let does =
        Do::of(filter.acknowledged, reason.failed, reason.suspended).filter(|_| acts).collect::<Vec<_>>();
    html! {
        tr.open[open.is_some()] {
            td {
                div.cnts {
                    @if reason.failed > 0 { (symbol("fail", &format!("{} failed", num(reason.failed)))) }
                    @if reason.suspended > 0 { (symbol("susp", &format!("{} suspended", num(reason.suspended)))) }
                }
            }
            td.main {
                div.two.w11 {
                    a.nw.strong.clip href={ (ask.to("failures")) (other.link()) }
                        aria-expanded=(if open.is_some() { "true" } else { "false" }) { (place(reason)) }
                    span.clip title=(reason.message) {
                        @if let Some(code) = &reason.key.code { code { (text(code)) } " " }
                        span.q { (text(&reason.message)) }
                    }
                }
            }
            td.p2 { (sparkline(&reason.hours, class, "hours")) }
            td.n.q.p2 { (since(ask.now, reason.first)) }
            td.n.q { (since(ask.now, reason.last)) }
            td.p2 { @if is_new { span.tag.new { "new" } } @else { span.tag { "known" } } }
            // An open row has room for its buttons, also where the page is narrow.
            td.n.p2 {
                @if open.is_none() {
                    @for (at, verb) in does.iter().enumerate() {
                        @if at > 0 { " \u{a0} " }
                        (self::does(ask, filter, reason, *verb, "do"))
                    }
                }
            }
        }
        @if let Some(detail) = open {
            @let buttons = html! {
                @if !does.is_empty() {
                    div.bs { @for verb in &does { (self::does(ask, filter, reason, *verb, "b")) } }
                }
            };
            tr.more { td colspan=(COLUMNS) { (detail.markup(ask, reason, &buttons)) } }
        }
    }
}

/// A link that asks first, and acts on the instances of this row.
fn does(ask: &Ask, filter: &Filter, reason: &Reason, verb: Do, class: &str) -> Markup {
    let count = verb.count(reason.failed, reason.suspended);
    let where_ = reason.key.name();
    html! {
        a class=(class) href=(verb.link(ask, &Scope::of(&filter.of_reason(reason)))) {
            (verb.word()) @if !matches!(verb, Do::Ack | Do::Reopen | Do::Skip) { " " (num(count)) } "…"
            span.vh { " " (where_) }
        }
    }
}
