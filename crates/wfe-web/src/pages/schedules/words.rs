//! What a schedule does, in words.

use wfe::schedules::CatchUp;

/// What happens to ticks that no host has processed in time.
pub(super) fn catch_up(catch_up: CatchUp) -> String {
    match catch_up {
        CatchUp::One => "one instance starts for all of them, for the newest".to_owned(),
        CatchUp::All(0) | CatchUp::None => "no instance starts for them".to_owned(),
        CatchUp::All(1) => "one instance starts, for the newest".to_owned(),
        CatchUp::All(most) => format!("an instance starts for each, for the newest {most} at most"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_told_in_words() {
        assert_eq!(catch_up(CatchUp::All(3)), "an instance starts for each, for the newest 3 at most");
    }
}
