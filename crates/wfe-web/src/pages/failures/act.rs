//! What can be done to all instances with a failure: it is asked first, then done.

use maud::{Markup, html};
use wfe::{
    operator::{Over, Preview, Verb},
    traits::InstanceState,
};

use super::Filter;
use crate::{
    ask::{Ask, Fields},
    html::{Sure, num, text},
    pages::{act::begin, instances::called, parts::instance_page as to},
    reply::{Failure, Reply},
};

/// Above this number of instances, the number has to be typed.
const TYPED: u64 = 100;

/// What can be done to failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    Retry,
    Resume,
    Skip,
    Ack,
    Reopen,
}

impl Do {
    const ALL: [Self; 5] = [Self::Retry, Self::Resume, Self::Skip, Self::Ack, Self::Reopen];

    /// What can be done to so many failed and suspended instances. What has ended cannot be resumed, and what stands cannot
    /// be retried.
    pub(super) fn of(acknowledged: bool, failed: u64, suspended: u64) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |verb| match verb {
            Self::Retry => failed > 0,
            Self::Resume | Self::Skip => suspended > 0,
            Self::Ack => !acknowledged && failed + suspended > 0,
            Self::Reopen => acknowledged && failed + suspended > 0,
        })
    }

    pub(super) fn count(self, failed: u64, suspended: u64) -> u64 {
        match self {
            Self::Retry => failed,
            Self::Resume | Self::Skip => suspended,
            Self::Ack | Self::Reopen => failed + suspended,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Resume => "resume",
            Self::Skip => "skip",
            Self::Ack => "ack",
            Self::Reopen => "reopen",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Resume => "Resume",
            Self::Skip => "Skip",
            Self::Ack => "Ack",
            Self::Reopen => "Open again",
        }
    }

    fn verb(self) -> Verb {
        match self {
            Self::Retry => Verb::Retry,
            Self::Resume => Verb::Resume,
            Self::Skip => Verb::Skip,
            Self::Ack => Verb::Acknowledge(true),
            Self::Reopen => Verb::Acknowledge(false),
        }
    }

    fn states(self) -> &'static [InstanceState] {
        match self {
            Self::Retry => &[InstanceState::Failed],
            Self::Resume | Self::Skip => &[InstanceState::Suspended],
            Self::Ack | Self::Reopen => &[InstanceState::Suspended, InstanceState::Failed],
        }
    }

    /// What will happen, and what stays.
    fn says(self) -> Markup {
        html! {
            @match self {
                Self::Retry => "Each goes on at the step that failed, with all its attempts. What was done before stays done, and what was compensated stays compensated.",
                Self::Resume => "Each tries the step that failed again, with all its attempts.",
                Self::Skip => "Each goes on behind the step that failed, as if the step had ended without an outcome.",
                Self::Ack => "They leave the list of open failures. The instances stay as they are; if one fails anew, it is open again.",
                Self::Reopen => "They come back to the list of open failures. The instances stay as they are.",
            }
        }
    }

    /// The page that asks.
    pub(super) fn link(self, ask: &Ask, Scope(fields): &Scope) -> String {
        format!("{}{}", ask.to("failures/act"), fields.with("do", Some(self.name())).link())
    }
}

/// The failures that are acted on, as fields of an address.
pub(super) struct Scope(Fields);

impl Scope {
    pub(super) fn of(filter: &Filter) -> Self {
        Self(filter.fields().with("by", None).with("text", None))
    }
}

/// Asks, for those who have followed a link.
pub(super) async fn ask(ask: Ask) -> Result<Reply, Failure> {
    let fields = ask.query.clone();
    question(&ask, &fields, None).await
}

/// Does it if it is sure; asks otherwise.
pub(super) async fn act(ask: Ask) -> Result<Reply, Failure> {
    let (verb, filter) = read(&ask.form)?;
    if ask.form.get("sure").is_none() {
        return question(&ask, &ask.form, None).await;
    }
    let operator = ask.acting();
    let bulk = operator.bulk(verb.verb(), Over::Query(filter.query(verb.states())));
    let count = bulk.preview().await?.count.n;
    if count > TYPED && ask.form.get("typed").map(str::trim) != Some(&count.to_string()) {
        let again = format!("The number is {} now. Type it, so that it is sure.", num(count));
        return question(&ask, &ask.form, Some(again)).await;
    }
    let over = Over::Query(filter.query(verb.states()));
    Ok(begin(&ask, &operator, verb.verb(), over, verb.word(), back(&filter)).await)
}

fn read(fields: &Fields) -> Result<(Do, Filter), Failure> {
    let verb = fields.get("do").and_then(Do::named);
    let verb = verb.ok_or_else(|| Failure::wrong("The form does not say what to do."))?;
    let filter = Filter::of(fields);
    Ok((verb, Filter { text: None, ..filter }))
}

/// The list to which one comes back: that of all reasons, because the reason is gone if all went well. It leads from the
/// dashboard's own path.
fn back(filter: &Filter) -> String {
    let fields = Filter { acknowledged: filter.acknowledged, ..Filter::default() }.fields();
    format!("./failures{}", fields.link())
}

async fn question(ask: &Ask, fields: &Fields, again: Option<String>) -> Result<Reply, Failure> {
    let (verb, filter) = read(fields)?;
    let bulk = ask.operator.bulk(verb.verb(), Over::Query(filter.query(verb.states())));
    let Preview { count, examples, .. } = bulk.preview().await?;
    let number = format!("{}{}", num(count.n), if count.is_exact { "" } else { "+" });
    let s = if count.n == 1 { "" } else { "s" };
    let of = match &filter.definition {
        Some(definition) => format!("instance{s} of {definition}"),
        None => format!("instance{s}"),
    };
    let kind = match verb {
        Do::Retry => "failed ",
        Do::Resume | Do::Skip => "suspended ",
        Do::Ack | Do::Reopen => "",
    };
    let title = format!("{} {number} {kind}{of}", verb.word());
    let examples =
        examples.iter().map(|row| html! { a href=(to(ask, &row.id)) { (text(&called(row))) } }).collect();
    let sure = Sure {
        verb: title,
        what: html! {
            @if let Some(step) = filter.step.as_deref().filter(|step| !step.is_empty()) { "Failed at step " b { (text(step)) } }
            @if let Some(code) = &filter.code { " with the code " code { (text(code)) } }
            @if filter.step.is_some() || filter.code.is_some() { ". " }
            (verb.says())
        },
        examples,
        fields,
        action: ask.to("failures/act"),
        back: format!("{}{}", ask.to("failures"), filter.fields().link()),
        typed: (count.n > TYPED).then_some(count.n),
        again,
        ..Sure::default()
    };
    Ok(sure.page().into())
}
