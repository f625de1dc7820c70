//! What axe-core finds on a page: version 4.14.1 of the npm package `axe-core`, under the licence MPL-2.0 beside it.

use serde::Deserialize;

/// The library. It is evaluated in the page by the driver, which the page's policy for content does not concern.
pub const SOURCE: &str = include_str!("../axe/axe-4.14.1.min.js");

/// Runs all rules on the page.
pub const RUN: &str = "const done = arguments[0];
    axe.run(document, { resultTypes: ['violations'] }).then(
        (found) => done(found.violations.map(({ id, help, nodes }) => ({
            id, help, nodes: nodes.map(({ html, failureSummary }) => html + ': ' + failureSummary),
        }))),
        (error) => done([{ id: 'axe', help: String(error), nodes: [] }]),
    );";

/// A rule that is broken.
#[derive(Debug, Deserialize)]
pub struct Violation {
    id: String,
    help: String,
    nodes: Vec<String>,
}

impl Violation {
    /// The rule and the first elements that break it.
    pub fn tell(&self) -> String {
        let nodes: Vec<&str> = self.nodes.iter().take(3).map(String::as_str).collect();
        format!("{} ({}), {} times: {}", self.id, self.help, self.nodes.len(), nodes.join("; "))
    }
}
