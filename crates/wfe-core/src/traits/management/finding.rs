use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It is good to know.
    Note,
    /// It may become a fault, or slows work down.
    Warning,
    /// Instances do not continue, or data are in danger.
    Error,
}

/// Something that is wrong, or may become wrong, with a store, its file or its hosts. Its JSON:
///
/// ```json
/// { "code": "wal_large", "weight": "warning", "text": "the log has 812 MB", "advice": "run `wfe checkpoint`" }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// A stable name of the kind of the finding.
    pub code: &'static str,
    /// How bad it is.
    pub weight: Weight,
    /// What was found.
    pub text: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    /// A finding.
    pub fn new(
        code: &'static str,
        weight: Weight,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { code, weight, text: text.into(), advice: advice.into() }
    }
}
