//! The lines inside frames.

use super::{
    drawing::{Line, Rect},
    layout::Layout,
    reading::{Kind, Shape},
    sizes::{BOX, FORK, PAD, TALL, TRACK},
};
use crate::picture::text::{clean, wide};

/// A frame that is being drawn.
struct Frame {
    x: i32,
    y: i32,
    /// The top of what is inside.
    top: i32,
    foot: i32,
    side: i32,
    /// Where the branches meet.
    join: i32,
    depth: usize,
    inner: Vec<usize>,
}

/// A column in a frame.
struct Spot {
    x: i32,
    /// The lower end of its last item.
    bottom: i32,
    /// The lower end of the column, with the compensation of its last item.
    low: i32,
    joins: bool,
    kind: Kind,
    /// The left side of its first item, and the height at which a line meets it.
    first: Option<(i32, i32)>,
    label: String,
}

impl Layout<'_> {
    fn spot(&self, c: usize) -> Spot {
        let column = &self.columns[c];
        let last = column.items.last().map(|&i| &self.items[i]);
        Spot {
            x: column.x,
            bottom: last.map_or(column.y, |item| item.y + item.h),
            low: column.y + column.h,
            joins: column.is_open,
            kind: column.kind,
            first: column.items.first().map(|&i| (column.x - self.items[i].left, column.y + 22)),
            label: column.label.to_string(),
        }
    }

    pub(super) fn place_inside(&mut self, i: usize) {
        let item = &self.items[i];
        let foot = item.y + item.h;
        let frame = Frame {
            x: item.x,
            y: item.y,
            top: item.y + self.top(i),
            foot,
            side: item.x + item.edge,
            join: foot - PAD - TRACK * item.feet,
            depth: item.depth,
            inner: item.columns.clone(),
        };
        let is_open = item.is_open;
        match item.shape() {
            Shape::Body => self.body(i, &frame),
            Shape::Fork if !item.is_stacked => self.fork(i, &frame),
            _ => self.stack(i, &frame),
        }
        if self.items[i].shape() == Shape::Fork && is_open {
            self.drawing.edge(Line::Plain, &[(frame.x, frame.join), (frame.x, foot)], false);
        }
    }

    /// The way out of a sequence, the arrow of a loop, and the way to the fallback.
    fn body(&mut self, i: usize, frame: &Frame) {
        let &Frame { x, y, foot, side, join, .. } = frame;
        let is_loop = self.steps[self.items[i].step].is_loop();
        let main = self.spot(frame.inner[0]);
        if is_loop {
            let corners = [(side, foot - 16), (side + 16, foot - 16), (side + 16, y + 20), (side, y + 20)];
            self.drawing.edge(Line::Plain, &corners, true);
        } else if main.first.is_some() && main.joins {
            self.drawing.edge(Line::Plain, &[(x, main.bottom), (x, foot)], false);
        }
        let Some(fallback) = frame.inner.get(1).map(|&c| self.spot(c)) else { return };
        let Some(to) = fallback.first else { return };
        let column = &self.columns[frame.inner[0]];
        let has_one = |i: &&usize| self.items[**i].compensation.is_some();
        let compensated = column.items.iter().find(has_one);
        let end = x + column.right;
        if let Some(mut from) = compensated.or(column.items.first()).map(|&i| &self.items[i]) {
            // From the last of what stands in its row.
            let beside = |c: usize| self.columns[c].items.first().map(|&i| &self.items[i]);
            while let Some(next) = from.compensation.and_then(beside) {
                from = next;
            }
            let is_box = from.shape() == Shape::Box || compensated.is_some();
            let (start, middle) = (from.x + from.edge, from.y + if is_box { 22 } else { 32 });
            let corners = [(start, middle), (end + 22, middle), (end + 22, to.1), to];
            self.drawing.edge(Line::Side, &corners, true);
        }
        if fallback.joins {
            let end = if main.joins && main.first.is_some() && !is_loop { join } else { foot };
            let corners = [(fallback.x, fallback.bottom), (fallback.x, join), (x, join), (x, end)];
            self.drawing.edge(Line::Plain, &corners, false);
        }
    }

    /// Branches beside each other, under a diamond or a bar.
    fn fork(&mut self, i: usize, frame: &Frame) {
        let &Frame { x, top, join, depth, .. } = frame;
        let (bus, is_bar) = (top + 15, self.steps[self.items[i].step].is_bar());
        let spots: Vec<Spot> = frame.inner.iter().map(|&c| self.spot(c)).collect();
        let last = spots.last().map_or(x, |it| it.x);
        if is_bar {
            let bars = [bus, join].map(|y| Rect { x: x - 14, y: y - 1, w: last - x + 28, h: 3 });
            self.drawing.bars.extend(bars);
        } else {
            self.drawing.diamonds.push((x, bus));
        }
        let joined = spots.iter().rposition(|it| it.joins);
        let mut before = x;
        for (n, spot) in spots.iter().enumerate() {
            let (cx, has_steps) = (spot.x, spot.first.is_some());
            let line = if spot.kind == Kind::Instead { Line::Side } else { Line::Plain };
            let end = if has_steps { top + FORK } else { join - 8 };
            match (n, is_bar) {
                (_, true) => self.drawing.edge(line, &[(cx, bus), (cx, end)], has_steps),
                (0, _) => self.drawing.edge(line, &[(x, bus + 11), (x, end)], has_steps),
                _ => {
                    let from = if n + 1 == spots.len() { x + 11 } else { cx };
                    self.drawing.edge(line, &[(from, bus), (cx, bus), (cx, end)], has_steps);
                }
            }
            if spot.joins {
                let from = if has_steps { spot.bottom } else { join - 8 };
                let to = if is_bar || Some(n) != joined { cx } else { x };
                self.drawing.edge(Line::Plain, &[(cx, from), (cx, join), (to, join)], false);
            }
            if has_steps || n == 0 {
                let room = self.columns[frame.inner[n]].right.max(BOX);
                self.drawing.label((cx + 5, top + FORK - 22), room, &spot.label, depth + 1);
            } else if !is_bar {
                self.drawing.label((before + 22, bus - 9), cx - before - 40, &spot.label, depth + 1);
            }
            before = cx;
        }
    }

    /// Branches below each other, at the right of a diamond, a bar or a box.
    fn stack(&mut self, i: usize, frame: &Frame) {
        let &Frame { x, top, foot, join, depth, .. } = frame;
        let item = &self.items[i];
        let step = &self.steps[item.step];
        let (bus, is_bar, passes, number) = (top + 15, step.is_bar(), step.passes, item.step);
        let is_side = item.shape() == Shape::Side;
        let (many, end) = (frame.inner.len() > 1, frame.side - PAD);
        let spots: Vec<Spot> = frame.inner.iter().map(|&c| self.spot(c)).collect();
        let joins = spots.iter().any(|it| it.joins && it.kind != Kind::Apart);
        let (from, trunk) = if is_side {
            self.drawing.boxes.push((Rect { x: x - BOX, y: top, w: 2 * BOX, h: TALL }, number));
            if passes {
                self.drawing.edge(Line::Plain, &[(x, top + TALL), (x, foot)], false);
            } else if joins {
                self.drawing.edge(Line::Plain, &[(x, join), (x, foot)], false);
            }
            ((x + BOX, top + 22), x + BOX + 14)
        } else {
            if is_bar {
                self.drawing.bars.push(Rect { x: x - 14, y: bus - 1, w: 28, h: 3 });
            } else {
                self.drawing.diamonds.push((x, bus));
            }
            ((x, bus + if is_bar { 2 } else { 11 }), x)
        };
        let mut is_joined = false;
        for (n, spot) in spots.iter().enumerate() {
            let has_steps = spot.first.is_some();
            let to = spot.first.unwrap_or((end, self.columns[frame.inner[n]].y + 22));
            let start = if n + 1 == spots.len() { from } else { (trunk, to.1) };
            let line = if is_side && spot.kind != Kind::Way { Line::Side } else { Line::Plain };
            self.drawing.edge(line, &[start, (trunk, start.1), (trunk, to.1), to], has_steps);
            let left = if many { trunk } else { from.0 };
            let room = to.0 - left - 28;
            let width = wide(&clean(&spot.label), 11).min(room - 8);
            self.drawing.label(((left + to.0 - width) / 2 - 7, to.1 - 9), room, &spot.label, depth + 1);
            if !spot.joins {
                continue;
            }
            if spot.kind == Kind::Apart {
                self.drawing.edge(Line::Side, &[(spot.x, spot.bottom), (spot.x, spot.bottom + 10)], false);
                self.drawing.dots.push((spot.x, spot.bottom + 12));
            } else if many {
                let out = if has_steps { spot.low + 12 } else { to.1 };
                let (first, turn) = if has_steps { ((spot.x, spot.bottom), spot.x) } else { (to, to.0) };
                let mut corners = vec![first, (turn, out), (end, out)];
                if !std::mem::replace(&mut is_joined, true) {
                    corners.extend([(end, join), (x, join)]);
                }
                self.drawing.edge(Line::Plain, &corners, false);
            } else {
                let corners = [(spot.x, spot.bottom), (spot.x, join), (x, join)];
                self.drawing.edge(Line::Plain, &corners, false);
            }
        }
    }
}
