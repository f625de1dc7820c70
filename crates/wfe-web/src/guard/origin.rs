//! Which names the dashboard answers to, and which pages may send forms to it.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header};

use crate::reply::Failure;

/// The names of the server, besides those of this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(pub(crate) Vec<String>);

impl Hosts {
    /// Refuses names that a stranger may have pointed at this machine.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let host = headers
            .get(header::HOST)
            .map_or_else(|| uri.authority().map(axum::http::uri::Authority::as_str), |it| it.to_str().ok());
        if host.is_some_and(|host| self.knows(host)) {
            return Ok(());
        }
        let text = "The dashboard does not answer to the name in the address. It answers to localhost, to addresses in \
                    numbers, and to the names that were given to it.";
        Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, "This name is not known", text))
    }

    fn knows(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
            || self
                .0
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&name) || known.eq_ignore_ascii_case(host))
    }
}

/// The name without the port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => {
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

/// Refuses what the page of another site has sent.
pub(super) fn check_unsafe(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or(""));
    let is_own = match (text(header::HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let of = origin.split_once("://").map(|(_, of)| of);
            of.is_some() && of == text(header::HOST)
        }
        // No browser: only a program knows a token to send.
        (None, None) => text(header::AUTHORIZATION).is_some_and(|it| it.starts_with("Bearer ")),
    };
    if is_own {
        Ok(())
    } else {
        Err(Failure::forbidden("The form was not sent from a page of the dashboard."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_and_given_ones_are_known() {
        let hosts = Hosts(vec!["wfe.example.org".to_owned()]);
        for known in [
            "localhost",
            "LOCALHOST:4400",
            "a.localhost",
            "127.0.0.1:80",
            "10.0.0.7",
            "[::1]:4400",
            "[::1]",
            "wfe.example.org",
            "WFE.example.org:443",
        ] {
            assert!(hosts.knows(known), "{known}");
        }
        for strange in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "wfe.example.org.evil",
            ":80",
        ] {
            assert!(!hosts.knows(strange), "{strange}");
        }
    }
}
