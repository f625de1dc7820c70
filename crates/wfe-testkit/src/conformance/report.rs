use std::fmt;

/// The result of a run of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The results of all cases, in the order of the suite.
    pub cases: Vec<CaseReport>,
}

/// The result of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    /// The name of the case: its subject, and its rule as a sentence.
    pub name: String,
    /// Whether the store passed.
    pub outcome: Outcome,
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The store follows the rule.
    Passed,
    /// The case needs an optional part that the store does not have. The string says which part is missing.
    Skipped(String),
    /// The store breaks the rule. The string describes the failure.
    Failed(String),
}

impl Report {
    /// Returns the names of the cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.names(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Returns the names of the cases that were skipped.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.names(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    /// Asserts that no case failed.
    ///
    /// # Panics
    /// If a case failed. The message is the whole report.
    pub fn assert_passed(&self) {
        assert!(self.failed().next().is_none(), "{self}");
    }

    fn names(&self, wanted: impl Fn(&Outcome) -> bool) -> impl Iterator<Item = &str> {
        self.cases.iter().filter(move |case| wanted(&case.outcome)).map(|case| case.name.as_str())
    }
}

/// Prints one line for each case that did not pass, and one line with the totals.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            match &case.outcome {
                Outcome::Passed => {}
                Outcome::Skipped(reason) => writeln!(f, "skipped  {}: {reason}", case.name)?,
                Outcome::Failed(reason) => writeln!(f, "FAILED   {}: {reason}", case.name)?,
            }
        }
        let (failed, skipped) = (self.failed().count(), self.skipped().count());
        let passed = self.cases.len() - failed - skipped;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}
