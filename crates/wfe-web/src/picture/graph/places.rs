//! Where items stand and lines lead: containers first, then what is inside.

use super::{
    drawing::{Line, Rect, Text},
    layout::{Layout, Via},
    reading::Shape,
    sizes::{BOX, GAP, LANE, PAD, SMALL, TALL, TITLE, TRACK, UNDO},
};
use crate::picture::text::{spaced, wide};

impl Layout<'_> {
    pub(super) fn place(&mut self) {
        let root = &self.columns[0];
        let (x, foot, is_open) = (GAP + root.left.max(BOX), 36 + root.h, root.is_open);
        self.drawing.w = x + root.right.max(BOX) + GAP;
        self.drawing.h = foot + if is_open { 38 } else { GAP };
        self.drawing.begin = (x, 12);
        self.drawing.end = is_open.then_some((x, foot + 27));
        let has_steps = !root.items.is_empty();
        if has_steps {
            self.drawing.edge(Line::Plain, &[(x, 17), (x, 36)], true);
        }
        self.place_column(0, x, 36);
        (0..self.items.len()).for_each(|i| self.place_item(i));
        if is_open {
            self.drawing.edge(Line::Plain, &[(x, if has_steps { foot } else { 17 }), (x, foot + 20)], true);
        }
        self.place_ways();
        let Self { drawing, item_of, .. } = self;
        drawing.boxes.sort_by_key(|(_, step)| item_of[*step]);
    }

    fn place_ways(&mut self) {
        for (from, to, way) in std::mem::take(&mut self.ways) {
            let (from, to) = (&self.items[from], &self.items[to]);
            let mut at = (from.x + from.edge, from.y + 22);
            let mut corners = vec![at];
            for via in way {
                match via {
                    Via::Lane(c, n) => at.0 = self.columns[c].x + self.columns[c].core + LANE * n,
                    Via::Head(i, n) => at.1 = self.items[i].y + TITLE + TRACK * n + 6,
                    Via::Foot(i, n) => {
                        let item = &self.items[i];
                        at.1 = item.y + item.h - PAD - TRACK * (item.feet - n) + 6;
                    }
                }
                corners.push(at);
            }
            corners.extend([(at.0, to.y + 10), (to.x + to.edge, to.y + 10)]);
            self.drawing.edge(Line::Side, &corners, true);
        }
    }

    /// The items of a column, the arrows between them, their compensations, and the way of failures to these.
    fn place_column(&mut self, c: usize, x: i32, y: i32) {
        let lanes = if self.columns[c].is_crossed { self.columns[self.columns[c].group].lanes } else { 0 };
        let column = &mut self.columns[c];
        (column.x, column.y) = (x, y);
        let beside = x + column.core + LANE * lanes + UNDO;
        let axis = beside + column.beside.0;
        let items = column.items.clone();
        let (mut at, mut open, mut above) = (y, None, None);
        for i in items {
            let item = &mut self.items[i];
            (item.x, item.y) = (x, at);
            let (step, depth, side) = (item.step, item.depth, x + item.edge);
            let middle = at + if item.shape() == Shape::Box { 22 } else { 32 };
            let next = at + item.row + GAP;
            let before = std::mem::replace(&mut open, item.is_open.then_some(at + item.h));
            let compensation = item.compensation;
            if let Some(foot) = before {
                self.drawing.edge(Line::Plain, &[(x, foot), (x, at)], true);
            }
            let even_failed = self.steps[step].source.compensates_unfinished && compensation.is_some();
            if self.failed[step] > 0
                && !even_failed
                && let Some(above) = above
            {
                if compensation.is_none() {
                    self.drawing.edge(Line::Red, &[(side, middle), (axis, middle), (axis, above)], true);
                    self.failed_label(step, (side, axis, middle), depth);
                } else {
                    let (x, y) = (beside - 16, at - GAP / 2);
                    let corners = [(side, at + 8), (x, at + 8), (x, y), (axis - 42, y), (axis - 42, above)];
                    self.drawing.edge(Line::Red, &corners, true);
                }
            }
            if let Some(column) = compensation {
                self.place_column(column, axis, at);
                let first = self.columns[column].items.first().map_or(SMALL, |&i| self.items[i].left);
                let line = if self.failed[step] > 0 && even_failed { Line::Red } else { Line::Side };
                self.drawing.edge(line, &[(side, middle), (axis - first, middle)], false);
                let rect = Rect { x: beside - 54, y: middle - 9, w: 25, h: 18 };
                self.drawing.labels.push((rect, Text::Compensation, depth));
                if let Some(above) = above {
                    self.drawing.edge(Line::Side, &[(axis, at), (axis, above)], true);
                }
                above = Some(at + self.columns[column].h);
            }
            at = next;
        }
    }

    /// The number of failures, on the line that leads to a compensation. If it has no room there, the box shows it.
    fn failed_label(&mut self, step: usize, (from, to, middle): (i32, i32, i32), depth: usize) {
        let number = spaced(self.failed[step]);
        let fits = |text: &String| wide(text, 12) + 34 + 24 <= to - from;
        let Some(text) = [format!("{number} failed"), number].into_iter().find(fits) else { return };
        let width = wide(&text, 12) + 34;
        let rect = Rect { x: (from + to - width) / 2, y: middle - 11, w: width, h: 22 };
        self.drawing.labels.push((rect, Text::Failed { step, text }, depth));
    }

    fn place_item(&mut self, i: usize) {
        let item = &self.items[i];
        let (x, y, step) = (item.x, item.y, item.step);
        if item.shape() == Shape::Box {
            self.drawing.boxes.push((Rect { x: x - item.left, y, w: 2 * item.left, h: TALL }, step));
            return;
        }
        let rect = Rect { x: x - item.left, y, w: item.left + item.edge, h: item.h };
        self.drawing.frames.push((rect, step, item.depth));
        for c in item.columns.clone() {
            let (x, y) = (x + self.columns[c].x, y + self.columns[c].y);
            self.place_column(c, x, y);
        }
        self.place_inside(i);
    }
}
