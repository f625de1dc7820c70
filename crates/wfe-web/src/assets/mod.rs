//! The files of the pages: the style, the library htmx with its extension for server-sent events, and a script of our own.
//!
//! Each is also stored compressed, by `gzip -9n < FILE > FILE.gz`; a test compares the two. The name of a file has the hash
//! of its content, so that browsers keep it for ever and never mix versions. htmx and its extension are those of the npm
//! package `htmx.org` 4.0.1, `dist/htmx.min.js` and `dist/ext/hx-sse.min.js`, under the licence 0BSD beside them.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    reply::{Failure, Reply},
    routes::{Group, Kind, Route},
};

/// A file, as it is and compressed.
pub(crate) struct File {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    packed: &'static [u8],
    hash: u64,
}

macro_rules! file {
    ($name:ident, $path:literal, $kind:literal) => {
        pub(crate) static $name: File = File {
            name: $path,
            kind: $kind,
            plain: include_bytes!($path),
            packed: include_bytes!(concat!($path, ".gz")),
            hash: hash(include_bytes!($path)),
        };
    };
}

file!(STYLE, "style.css", "text/css; charset=utf-8");
file!(THEME, "theme.js", "text/javascript; charset=utf-8");
file!(SCRIPT, "dashboard.js", "text/javascript; charset=utf-8");
file!(HTMX, "htmx-4.0.1.min.js", "text/javascript; charset=utf-8");
file!(SSE, "htmx-sse-4.0.1.min.js", "text/javascript; charset=utf-8");

static FILES: [&File; 5] = [&STYLE, &THEME, &SCRIPT, &HTMX, &SSE];

pub(crate) const GROUP: Group = Group {
    nav: None,
    routes: &[Route::open("/assets/{file}", Kind::Asset, |ask| {
        Box::pin(async move {
            let name = ask.param("file")?;
            let file = FILES.iter().find(|file| file.hashed_name() == name);
            let file = file.ok_or_else(|| Failure::missing("No file of the dashboard has this name."))?;
            Ok(Reply::Raw(file.response(takes_gzip(&ask.headers))))
        })
    })],
};

fn takes_gzip(headers: &HeaderMap) -> bool {
    let takes = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    takes.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip") && !coding.contains("q=0"))
}

impl File {
    /// The path below that of the dashboard.
    pub(crate) fn path(&self) -> String {
        format!("assets/{}", self.hashed_name())
    }

    fn hashed_name(&self) -> String {
        let (name, ending) = self.name.rsplit_once('.').unwrap_or((self.name, ""));
        format!("{name}-{:016x}.{ending}", self.hash)
    }

    fn response(&self, packed: bool) -> Response {
        let bytes = if packed { self.packed } else { self.plain };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        (StatusCode::OK, headers, Body::from(bytes)).into_response()
    }
}

/// The hash FNV-1a. It tells versions of one file apart, and protects nothing.
const fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
        let byte = bytes[at];
        hash = (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}
