//! Endings and control requests as single words in JSON.

/// A pending control request: `suspend`, `resume`, `cancel` or `terminate`.
pub(super) mod control {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::traits::Control;

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(control: &Option<Control>, serializer: S) -> Result<S::Ok, S::Error> {
        control.map(Control::name).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Control>, D::Error> {
        let Some(word) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let all = [Control::Suspend, Control::Resume, Control::Cancel, Control::Terminate];
        let found = all.into_iter().find(|control| control.name() == word);
        found.map(Some).ok_or_else(|| D::Error::custom(format_args!("no control request {word:?}")))
    }
}

/// An ending: `completed`, `failed`, `cancelled` or `terminated`.
pub(super) mod ending {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::traits::Ending;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(ending: &Ending, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(ending)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ending, D::Error> {
        let word = String::deserialize(deserializer)?;
        let all = [Ending::Completed, Ending::Failed, Ending::Cancelled, Ending::Terminated];
        let found = all.into_iter().find(|ending| ending.to_string() == word);
        found.ok_or_else(|| D::Error::custom(format_args!("no ending {word:?}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::traits::{Control, EndedCount, Ending, InstanceState, InstanceSummary};

    #[test]
    fn requests_and_endings_are_words_in_json() {
        let time = chrono::DateTime::UNIX_EPOCH;
        let mut summary = InstanceSummary::new("i", "d", 1, InstanceState::Due, time);
        summary.request = Some(Control::Cancel);
        let stored = json!(summary);
        assert_eq!(stored["request"], "cancel");
        assert_eq!(serde_json::from_value::<InstanceSummary>(stored).unwrap(), summary);
        summary.request = None;
        let stored = json!(summary);
        assert_eq!(stored.get("request"), None);
        assert_eq!(serde_json::from_value::<InstanceSummary>(stored).unwrap(), summary);

        let count = EndedCount { from: time, definition: "d".to_owned(), ending: Ending::Failed, count: 1 };
        assert_eq!(json!(count)["ending"], "failed");
        assert_eq!(serde_json::from_value::<EndedCount>(json!(count)).unwrap(), count);
    }
}
