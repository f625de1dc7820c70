//! A request, as handlers see it.

use std::net::IpAddr;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use wfe::Operator;

use crate::{app::App, guard::Visitor, reply::Failure};

/// The longest value of a query, in bytes.
pub(crate) const MAX_WORD: usize = 512;

/// A request by a visitor who may make it.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) app: App,
    pub(crate) visitor: Visitor,
    /// Asks and acts as the visitor.
    pub(crate) operator: Operator,
    pub(crate) now: DateTime<Utc>,
    /// What leads from the page to the dashboard's own path: `./`, or `../` for each level below.
    pub(crate) root: String,
    /// The path of the request, also that part which the dashboard is mounted below.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) params: Fields,
    pub(crate) query: Fields,
    pub(crate) form: Fields,
}

impl Ask {
    /// The variable part of the path with this name.
    pub(crate) fn param<'a>(&'a self, name: &'a str) -> Result<&'a str, Failure> {
        self.params.get(name).ok_or_else(|| Failure::missing("The address lacks a part."))
    }

    /// Acts as the visitor, for the reason that the form gives.
    pub(crate) fn acting(&self) -> Operator {
        match self.form.get("reason") {
            Some(reason) => self.operator.because(reason),
            None => self.operator.clone(),
        }
    }

    /// A link to a path of the dashboard, from this page.
    pub(crate) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }
}

/// Names and values, in their order. A name may come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

impl Fields {
    /// Reads a query or the body of a form.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Reads a query, and refuses one with a value that is too long.
    pub(crate) fn query(text: &str) -> Result<Self, Failure> {
        let fields = Self::parse(text.as_bytes());
        if let Some((name, _)) = fields.0.iter().find(|(_, value)| value.len() > MAX_WORD) {
            return Err(Failure::wrong(format!("The value of {name:?} is longer than {MAX_WORD} bytes.")));
        }
        Ok(fields)
    }

    /// The first value that is not empty.
    pub(crate) fn get<'f>(&'f self, name: &'f str) -> Option<&'f str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of this name.
    pub(crate) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The text of a query with these fields, with its `?`, or nothing if there are none.
    pub(crate) fn link(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish();
        format!("?{pairs}")
    }

    /// The same fields without those of this name, and with this value in their place if there is one.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> Self {
        let mut fields: Vec<_> = self.0.iter().filter(|(key, _)| key != name).cloned().collect();
        fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        Self(fields)
    }
}

/// A part of a path, as it stands in a link.
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut link = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => link.push(char::from(byte)),
            // A dot is written out too: a part that is `..` leads elsewhere.
            _ => {
                let _ = write!(link, "%{byte:02X}");
            }
        }
    }
    link
}
