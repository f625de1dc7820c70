//! Where a time stands in a strip: to scale in pieces, and long stretches in which nothing ran are folded.

use chrono::{DateTime, Utc};
use std::time::Duration;

use crate::picture::took;

/// A place in a strip, in hundredths of a per cent of its width.
pub(super) type X = i64;

pub(super) const WHOLE: X = 10_000;
const FOLD: X = 1_000;
const MOST_FOLDS: usize = 3;
/// The room that the label of a time needs.
const LABEL: X = 900;

/// A part of the time. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub from: i64,
    pub to: i64,
    pub x: X,
    pub w: X,
    pub is_fold: bool,
}

/// A label of the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    pub x: X,
    pub text: String,
    pub anchor: &'static str,
    /// Whether a line goes through all rows there.
    pub has_line: bool,
}

#[derive(Debug)]
pub(super) struct Scale {
    pub pieces: Vec<Piece>,
}

impl Scale {
    /// `points` are all times at which something began or ended, with the first and the last of the picture; `busy` are
    /// the stretches in which something ran.
    pub fn new(mut points: Vec<i64>, mut busy: Vec<(i64, i64)>) -> Self {
        points.sort_unstable();
        points.dedup();
        let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
            return Self { pieces: vec![] };
        };
        busy.sort_unstable();
        let (mut idle, mut runs_until, mut at) = (vec![], first, 0);
        for w in points.windows(2) {
            while let Some((_, until)) = busy.get(at).filter(|it| it.0 <= w[0]) {
                (runs_until, at) = (runs_until.max(*until), at + 1);
            }
            if runs_until <= w[0] && busy.get(at).is_none_or(|it| it.0 >= w[1]) {
                idle.push((w[0], w[1]));
            }
        }
        idle.sort_by_key(|(from, to)| from - to);
        let (mut left, mut folds) = (last - first, vec![]);
        for &(from, to) in idle.iter().take(MOST_FOLDS) {
            let length = to - from;
            if length < 1_000 || length == left || length.saturating_mul(10) < left.saturating_mul(6) {
                break;
            }
            left -= length;
            folds.push((from, to));
        }
        folds.sort_unstable();
        let mut pieces = vec![];
        let mut at = first;
        for &(from, to) in &folds {
            if at < from {
                pieces.push(Piece { from: at, to: from, x: 0, w: 0, is_fold: false });
            }
            pieces.push(Piece { from, to, x: 0, w: FOLD, is_fold: true });
            at = to;
        }
        if at < last || pieces.is_empty() {
            pieces.push(Piece { from: at, to: last, x: 0, w: 0, is_fold: false });
        }
        let room = WHOLE - FOLD * X::try_from(folds.len()).unwrap_or(0);
        let weight = |piece: &Piece| {
            let (from, to) =
                (points.partition_point(|&it| it < piece.from), points.partition_point(|&it| it <= piece.to));
            X::try_from(2 + (to - from).min(20)).unwrap_or(2)
        };
        let all: X = pieces.iter().filter(|it| !it.is_fold).map(weight).sum();
        let mut x = 0;
        for piece in &mut pieces {
            if !piece.is_fold {
                piece.w = room * weight(piece) / all.max(1);
            }
            piece.x = x;
            x += piece.w;
        }
        if let Some(last) = pieces.last_mut() {
            last.w = WHOLE - last.x;
        }
        Self { pieces }
    }

    pub fn x(&self, time: i64) -> X {
        let Some(piece) = self.pieces.iter().find(|it| time <= it.to).or(self.pieces.last()) else {
            return 0;
        };
        let length = (piece.to - piece.from).max(1);
        let part = (time.clamp(piece.from, piece.to) - piece.from).saturating_mul(piece.w) / length;
        piece.x + part
    }

    pub fn ticks(&self) -> Vec<Tick> {
        let (mut ticks, mut day) = (vec![], String::new());
        for piece in &self.pieces {
            let length = piece.to - piece.from;
            if piece.is_fold {
                let text = took(Duration::from_millis(length.unsigned_abs()));
                ticks.push(Tick { x: piece.x + piece.w / 2, text, anchor: "middle", has_line: false });
                continue;
            }
            let today = format(piece.from, "%Y-%m-%d");
            let pattern = match (day.is_empty(), today == day) {
                (true, _) => "%H:%M:%S",
                (false, true) => "%H:%M",
                (false, false) => "%a %H:%M",
            };
            day = today;
            ticks.push(Tick {
                x: piece.x + 40,
                text: format(piece.from, pattern),
                anchor: "start",
                has_line: true,
            });
            let Some(step) = step(length, piece.w / LABEL - 1) else { continue };
            let is_short = length < 600_000;
            let mut at =
                if is_short { piece.from + step } else { piece.from - piece.from.rem_euclid(step) + step };
            while at < piece.to {
                let x = self.x(at);
                if x >= piece.x + LABEL + 200 && x + LABEL / 2 <= piece.x + piece.w {
                    let text = if is_short {
                        format!("+{}", took(Duration::from_millis((at - piece.from).unsigned_abs())))
                    } else if step < 86_400_000 {
                        format(at, "%H:%M")
                    } else {
                        format(at, "%b %-d")
                    };
                    ticks.push(Tick { x, text, anchor: "middle", has_line: true });
                }
                at += step;
            }
        }
        ticks
    }
}

/// The smallest step of people by which a length has at most this many ticks.
fn step(length: i64, most: i64) -> Option<i64> {
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const STEPS: [i64; 36] = [
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        200,
        500,
        SECOND,
        2 * SECOND,
        5 * SECOND,
        10 * SECOND,
        20 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        20 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
        14 * DAY,
        30 * DAY,
        60 * DAY,
        120 * DAY,
        360 * DAY,
        3_600 * DAY,
        36_000 * DAY,
    ];
    STEPS.into_iter().find(|step| most > 0 && length / step <= most)
}

/// The time, in UTC.
pub(super) fn format(millis: i64, pattern: &str) -> String {
    DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default().format(pattern).to_string()
}

/// The place as the value of an attribute.
pub(super) fn percent(x: X) -> String {
    format!("{}.{:02}%", x / 100, x % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_long_idle_stretch_is_folded_and_what_ran_is_not() {
        let points = vec![0, 4_000, 50 * HOUR, 50 * HOUR + 60_000];
        let scale = Scale::new(points.clone(), vec![(0, 4_000), (50 * HOUR, 50 * HOUR + 60_000)]);
        let folds: Vec<_> = scale.pieces.iter().filter(|it| it.is_fold).map(|it| (it.from, it.to)).collect();
        assert_eq!(folds, [(4_000, 50 * HOUR)]);
        assert!(scale.x(4_000) > 2_000, "what is before the fold has room");
        let busy = Scale::new(points, vec![(0, 50 * HOUR + 60_000)]);
        assert_eq!(busy.pieces.len(), 1, "a body that runs for two days is no idle stretch");
    }

    #[test]
    fn times_keep_their_order_and_stay_inside() {
        for seed in 1..200_u64 {
            let mut at = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut next = |below: u64| {
                at ^= at << 13;
                at ^= at >> 7;
                at ^= at << 17;
                i64::try_from(at % below).unwrap()
            };
            let (mut points, mut busy, mut time) = (vec![0], vec![], 0);
            for _ in 0..next(30) {
                let from = time + if next(4) == 0 { next(90 * 86_400_000) } else { next(5_000) };
                time = from + next(3_000);
                points.extend([from, time]);
                busy.push((from, time));
            }
            let scale = Scale::new(points.clone(), busy);
            let xs: Vec<X> = points.iter().map(|&it| scale.x(it)).collect();
            assert!(xs.is_sorted() && xs.iter().all(|x| (0..=WHOLE).contains(x)), "{seed}: {xs:?}");
            let ticks = scale.ticks();
            let near = |w: &[Tick]| w[0].anchor == w[1].anchor && w[1].x - w[0].x < 500;
            assert!(ticks.len() < 30 && !ticks.windows(2).any(near), "{seed}: {ticks:?}");
        }
        let scale = Scale::new(vec![5], vec![]);
        assert_eq!((scale.x(5), scale.pieces.len()), (0, 1));
        assert!(Scale::new(vec![], vec![]).ticks().is_empty());
    }
}
