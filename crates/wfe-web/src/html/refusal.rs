//! Pages for whom nothing may be shown, and for what is not there.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};

use crate::reply::Failure;

/// A page without anything of the store, and without files: it is also for those who may not have them.
pub(crate) fn plain(failure: &Failure) -> Response {
    let body = html! { h1 { (failure.title) } p { (failure.text) } };
    respond(failure.status, &failure.title, None, &body)
}

/// The page on which people sign in.
pub(crate) fn sign_in(root: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        h1 { "Sign in" }
        p.lead { "Open the address that " code { "wfe dashboard" } " has printed, or enter its code or your token." }
        @if let Some(wrong) = wrong { div.note.fail role="alert" { p { (wrong) } } }
        form.form method="post" action={ (root) "login" } {
            label.f { "Code or token" input name="secret" type="password" required autocomplete="off"; }
            button.b.go { "Sign in" }
        }
    };
    let status = if wrong.is_some() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    respond(status, "Sign in", Some(root), &body)
}

fn respond(status: StatusCode, title: &str, root: Option<&str>, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · WFE" }
                link rel="icon" href="data:,";
                @if let Some(root) = root {
                    link rel="stylesheet" href={ (root) (crate::assets::STYLE.path()) };
                    script src={ (root) (crate::assets::THEME.path()) } {}
                }
            }
            body { main id="main" { (body) } }
        }
    };
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response()
}
