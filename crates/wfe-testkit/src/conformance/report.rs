use std::fmt;

/// What the suite found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every case, in the order of the suite.
    pub cases: Vec<CaseReport>,
}

/// What one case came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    /// The noun it is about, and the rule as a sentence.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a case can come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The store keeps the rule.
    Passed,
    /// The store does not have what the rule is about; says what.
    Skipped(String),
    /// The store breaks the rule; says how.
    Failed(String),
}

impl Report {
    /// Names of the cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.names(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Names of the cases that were skipped.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.names(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    /// Ends the test if a case failed.
    ///
    /// # Panics
    /// If a case failed, with the whole report as message.
    pub fn assert_passed(&self) {
        assert!(self.failed().next().is_none(), "{self}");
    }

    fn names(&self, wanted: impl Fn(&Outcome) -> bool) -> impl Iterator<Item = &str> {
        self.cases.iter().filter(move |case| wanted(&case.outcome)).map(|case| case.name.as_str())
    }
}

/// One line for each case that did not pass, and one with the sums.
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
