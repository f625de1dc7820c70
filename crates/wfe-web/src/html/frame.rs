//! The frame that all pages share: header, navigation, content, footer.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::icon;
use crate::{
    ask::{Ask, segment},
    assets,
    guard::Visitor,
    pages, picture,
    reply::Failure,
    routes::Route,
};

/// What htmx may do under the policy for content; what a person has opened stays open.
const HTMX: &str =
    r#"{"includeIndicatorCSS":false,"extensions":"sse","morphIgnore":["data-htmx-powered","open"]}"#;

/// The content of a page.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    head: Option<Markup>,
    lead: Option<Markup>,
    tools: Option<Markup>,
    body: Markup,
    status: StatusCode,
}

impl Page {
    /// A page with this title, which is an answer if the page has one.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            head: None,
            lead: None,
            tools: None,
            body: html! {},
            status: StatusCode::OK,
        }
    }

    /// The sentence below the title.
    pub(crate) fn lead(self, lead: Markup) -> Self {
        Self { lead: Some(lead), ..self }
    }

    /// What stands in place of the title and the sentence.
    pub(crate) fn head(self, head: Markup) -> Self {
        Self { head: Some(head), ..self }
    }

    /// What stands beside the title: buttons and links.
    pub(crate) fn tools(self, tools: Markup) -> Self {
        Self { tools: Some(tools), ..self }
    }

    pub(crate) fn body(self, body: Markup) -> Self {
        Self { body, ..self }
    }

    /// What stands in `main`, and is sent again while the page is open.
    fn content(&self, is_live: bool) -> Markup {
        html! {
            div.head {
                div {
                    @if let Some(head) = &self.head { (head) } @else {
                        h1 { (self.title) }
                        @if let Some(lead) = &self.lead { p.lead { (lead) } }
                    }
                }
                div.bs {
                    @if let Some(tools) = &self.tools { (tools) }
                    @if is_live {
                        button #pause.b.bare type="button" hidden aria-pressed="false" title="Pause live updates (p)" {
                            (icon("pause")) "Pause"
                        }
                    }
                }
            }
            (self.body)
        }
    }
}

/// What the frame says around a page.
pub(crate) struct Frame {
    root: String,
    store: Option<String>,
    visitor: Visitor,
    now: DateTime<Utc>,
    current: Option<&'static str>,
    live: Option<String>,
}

impl Frame {
    pub(crate) fn of(ask: &Ask, route: &Route) -> Self {
        // The first part of the path is that of the subject, also of pages that are reached from it.
        let subject = route.path.split('/').nth(1).unwrap_or("");
        let current =
            pages::GROUPS.iter().filter_map(|group| group.nav.as_ref()).find(|nav| nav.path == subject);
        let live = route.live_path().map(|path| {
            let path: Vec<String> = path
                .split('/')
                .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                    Some(name) => segment(ask.params.get(name).unwrap_or("")),
                    None => part.to_owned(),
                })
                .collect();
            format!("{}{}{}", ask.root, path.join("/").trim_start_matches('/'), ask.query.link())
        });
        Self {
            root: ask.root.clone(),
            store: ask.app.title.clone(),
            visitor: ask.visitor.clone(),
            now: ask.now,
            current: current.map(|nav| nav.path),
            live,
        }
    }

    fn title(&self, title: &str) -> String {
        match &self.store {
            Some(store) => format!("{title} · WFE {store}"),
            None => format!("{title} · WFE"),
        }
    }

    /// What is sent again while the page is open, and its hash.
    pub(crate) fn part(&self, page: &Page) -> (String, u64) {
        let part = html! { title { (self.title(&page.title)) } (page.content(true)) }.into_string();
        let mut hash = DefaultHasher::new();
        part.hash(&mut hash);
        (part, hash.finish())
    }

    /// The whole page.
    pub(crate) fn whole(&self, page: &Page) -> Response {
        self.respond(page, self.live.as_deref())
    }

    /// The page that says what went wrong.
    pub(crate) fn failed(&self, failure: &Failure) -> Response {
        self.respond(&Self::failure(failure, &self.root), None)
    }

    /// What a page says that could not be made.
    pub(crate) fn failure(failure: &Failure, root: &str) -> Page {
        let page = Page { status: failure.status, ..Page::new(failure.title.clone()) };
        page.body(html! {
            div.note.fail role="alert" { (icon("warn")) p { (super::text(&failure.text)) } a.b href={ (root) "overview" } { "Overview" } }
        })
    }

    fn respond(&self, page: &Page, live: Option<&str>) -> Response {
        let html = self.markup(page, live).into_string();
        (page.status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
    }

    fn markup(&self, page: &Page, live: Option<&str>) -> Markup {
        let root = &self.root;
        let content = page.content(live.is_some());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="htmx-config" content=(HTMX);
                    title { (self.title(&page.title)) }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href={ (root) (assets::STYLE.path()) };
                    script src={ (root) (assets::THEME.path()) } {}
                    @if live.is_some() {
                        script src={ (root) (assets::HTMX.path()) } defer {}
                        script src={ (root) (assets::SSE.path()) } defer {}
                    }
                    script src={ (root) (assets::SCRIPT.path()) } defer {}
                }
                body {
                    (picture::sprite())
                    a.skip href="#main" { "Skip to the content" }
                    (self.header())
                    @match live {
                        Some(live) => main id="main" hx-sse:connect=(live) hx-swap="innerMorph" { (content) },
                        None => main id="main" { (content) },
                    }
                    (self.footer(live.is_some()))
                }
            }
        }
    }

    fn header(&self) -> Markup {
        let root = &self.root;
        let version = concat!("WFE ", env!("CARGO_PKG_VERSION"));
        html! {
            header.top {
                a.brand href={ (root) "overview" } title=(version) { (icon("mark")) "WFE" @if let Some(store) = &self.store { " " span { (store) } } }
                nav.nav aria-label="Pages" {
                    ul {
                        @for nav in pages::GROUPS.iter().filter_map(|group| group.nav.as_ref()) {
                            li {
                                a href={ (root) (nav.path) } data-key=(nav.key)
                                    aria-current=[(self.current == Some(nav.path)).then_some("page")] { (nav.title) }
                            }
                        }
                    }
                }
                form.find role="search" action={ (root) "find" } {
                    (icon("search"))
                    label.vh for="q" { "Find an instance by id, reference or text" }
                    input id="q" name="q" type="search" placeholder="Id, reference, text" autocomplete="off" maxlength="512";
                    kbd aria-hidden="true" { "/" }
                }
                div.tools {
                    button #theme.b.bare type="button" hidden { (icon("theme")) span.vh { "Change the theme" } }
                    a.b.bare href="#keys" title="Keys (?)" { (icon("help")) span.vh { "Keys and help" } }
                }
            }
        }
    }

    fn footer(&self, is_live: bool) -> Markup {
        let kbd = |key: &str| html! { kbd { (key) } };
        html! {
            footer.foot data-now=(self.now.to_rfc3339()) {
                p #live role="status" aria-live="polite" { @if is_live { "As it was when the page was loaded." } }
                span.sp {}
                span { "Signed in as " (self.visitor.actor()) ", " (self.visitor.role()) }
                span #zone { "Times in UTC" }
                details #keys {
                    summary { "Keys: " (kbd("?")) }
                    p {
                        (kbd("/")) " find · " (kbd("g")) " and a letter: go to a page · " (kbd("j")) " " (kbd("k")) " move · " (kbd("x")) " mark · "
                        (kbd("Enter")) " open · " (kbd("r")) " resume · " (kbd("p")) " pause live updates"
                    }
                }
            }
        }
    }
}
