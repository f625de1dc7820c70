//! What handlers answer, and how they fail.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use wfe_core::WfeError;

use crate::html::Page;

/// What a handler answers.
pub(crate) enum Reply {
    Page(Box<Page>),
    /// Look there: a link, relative to the page that answers.
    See(String),
    /// Something else than a page.
    Raw(Response),
}

/// Why a request was not answered as wanted. It is shown as a page.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { status, title: title.into(), text: text.into() }
    }

    /// The request itself is wrong.
    pub(crate) fn wrong(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "This request is wrong", text)
    }

    /// There is no such thing.
    pub(crate) fn missing(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Nothing is here", text)
    }

    /// The visitor may not do this.
    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "This is not allowed", text)
    }
}

impl From<WfeError> for Failure {
    fn from(error: WfeError) -> Self {
        let (status, title) = match &error {
            WfeError::WorkflowNotFound(_)
            | WfeError::OutlineNotFound { .. }
            | WfeError::ScheduleNotFound(_) => (StatusCode::NOT_FOUND, "Nothing is here"),
            WfeError::Forbidden { .. } => (StatusCode::FORBIDDEN, "This is not allowed"),
            WfeError::Invalid(_) | WfeError::Unstorable { .. } | WfeError::Ambiguous { .. } => {
                (StatusCode::BAD_REQUEST, "This request is wrong")
            }
            WfeError::NoEffect { .. } | WfeError::CannotRetry { .. } => {
                (StatusCode::CONFLICT, "Nothing was changed")
            }
            WfeError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "The store is busy"),
            WfeError::Unsupported(_) => (StatusCode::NOT_IMPLEMENTED, "This store cannot do that"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "The store did not answer"),
        };
        let mut text = error.to_string();
        if let Some(first) = text.get(..1).map(str::to_uppercase) {
            text.replace_range(..1, &first);
        }
        Self::new(status, title, format!("{text}."))
    }
}

/// Sends the browser there with a `GET`.
pub(crate) fn see(link: &str) -> Response {
    match HeaderValue::from_str(link) {
        Ok(link) => (StatusCode::SEE_OTHER, [(header::LOCATION, link)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
