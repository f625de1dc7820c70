//! How large items and columns are: what is inside first, then containers.

use super::{
    layout::{Column, Layout},
    reading::{Kind, Shape},
};
use crate::picture::text::{clean, wide};

// In pixels.
/// Half a box.
pub(super) const BOX: i32 = 124;
/// Half a small box: compensation, fallback, go-to, end.
pub(super) const SMALL: i32 = 66;
pub(super) const TALL: i32 = 44;
pub(super) const GAP: i32 = 24;
pub(super) const PAD: i32 = 16;
pub(super) const TITLE: i32 = 30;
pub(super) const LANE: i32 = 18;
pub(super) const TRACK: i32 = 12;
/// Below the title of a fork: 4 of air, the diamond (22), 24 for the labels of the branches.
pub(super) const FORK: i32 = 50;
/// From a step to its compensation.
pub(super) const UNDO: i32 = 80;

impl Column<'_> {
    /// What compensations need at the right of the lanes.
    fn tail(&self) -> i32 {
        if self.compensates { UNDO + self.beside.0 + self.beside.1 } else { 0 }
    }
}

impl Layout<'_> {
    pub(super) fn measure(&mut self) {
        for i in (0..self.items.len()).rev() {
            let inner = self.items[i].columns.clone();
            for &c in &inner {
                self.measure_column(c);
            }
            match self.items[i].shape() {
                Shape::Box => {
                    let is_small = self.columns[self.items[i].column].is_small || !self.items[i].is_open;
                    let half = if is_small { SMALL } else { BOX };
                    let item = &mut self.items[i];
                    (item.left, item.edge, item.right, item.h) = (half, half, half, TALL);
                }
                Shape::Body => self.measure_body(i, &inner),
                Shape::Fork if !self.items[i].is_stacked => self.measure_fork(i, &inner),
                Shape::Fork | Shape::Side => self.measure_stack(i, &inner),
            }
            let beside = self.items[i].compensation;
            if let Some(c) = beside {
                self.measure_column(c);
            }
            self.items[i].row = self.items[i].h.max(beside.map_or(0, |c| self.columns[c].h));
        }
        self.measure_column(0);
    }

    fn measure_column(&mut self, c: usize) {
        let column = &self.columns[c];
        let (mut left, mut core, mut h, mut beside) = (0, 0, 0, (SMALL, SMALL));
        for item in column.items.iter().map(|&i| &self.items[i]) {
            (left, core, h) = (left.max(item.left), core.max(item.right), h + item.row + GAP);
            if let Some(c) = item.compensation {
                beside = (beside.0.max(self.columns[c].left), beside.1.max(self.columns[c].right));
            }
        }
        let column = &mut self.columns[c];
        (column.left, column.core, column.h, column.beside) = (left, core, (h - GAP).max(0), beside);
        let least = if column.items.is_empty() { 2 } else { 0 };
        column.right = (column.core + LANE * column.lanes + column.tail()).max(least);
    }

    fn measure_body(&mut self, i: usize, inner: &[usize]) {
        let top = self.top(i);
        let (mut edge, mut deep, mut joins) = (BOX, top + 8, false);
        for (n, &c) in inner.iter().enumerate() {
            let column = &mut self.columns[c];
            column.x = if n == 0 { 0 } else { edge + 44 + column.left };
            column.y = top;
            edge = edge.max(column.x + column.right);
            deep = deep.max(top + column.h);
            joins |= n > 0 && column.is_open;
        }
        self.frame(i, inner, edge, deep, joins);
    }

    /// Branches beside each other.
    fn measure_fork(&mut self, i: usize, inner: &[usize]) {
        let top = self.top(i);
        let (mut edge, mut deep) = (BOX, 0);
        for (n, &c) in inner.iter().enumerate() {
            let column = &mut self.columns[c];
            column.y = top + FORK;
            column.x = match n {
                0 => 0,
                _ if column.items.is_empty() => edge + LANE,
                _ => edge + GAP + column.left,
            };
            edge = edge.max(column.x + column.right);
            deep = deep.max(column.y + column.h);
        }
        self.frame(i, inner, edge, deep, true);
    }

    /// Branches below each other, at the right of a diamond or of a box.
    fn measure_stack(&mut self, i: usize, inner: &[usize]) {
        let top = self.top(i);
        let is_side = self.items[i].shape() == Shape::Side;
        let columns = || inner.iter().map(|&c| &self.columns[c]);
        let stub = columns().map(|c| wide(&clean(&c.label), 11) + 54).max().unwrap_or(0).clamp(104, 200);
        let left = columns().map(|c| c.left).max().unwrap_or(0);
        let x = if is_side { BOX } else { 0 } + stub + left;
        // Lanes pass right of all rows; compensations stand beyond them only where one of them ends.
        let reach =
            columns().map(|c| if c.is_crossed { c.core } else { c.core + c.tail() }).max().unwrap_or(0);
        let beyond = columns().map(|c| if c.is_crossed { c.tail() } else { 0 }).max().unwrap_or(0);
        let right = reach + LANE * inner.first().map_or(0, |&c| self.columns[c].lanes) + beyond;
        let (mut y, many) = (top + if is_side { 0 } else { FORK }, inner.len() > 1);
        let (mut deep, mut joins) = (y + TALL, false);
        for &c in inner {
            let column = &mut self.columns[c];
            (column.x, column.y, column.right) = (x, y, right);
            if column.is_crossed {
                column.core = reach;
            }
            let is_apart = column.kind == Kind::Apart;
            deep = y + column.h.max(TALL) + if is_apart { 16 } else { 12 * i32::from(many) };
            y = deep + GAP;
            joins |= column.is_open && !is_apart;
        }
        let edge = x + right + if many && joins { LANE } else { 0 };
        self.frame(i, inner, edge, deep, joins);
    }

    /// The top of what is inside a frame, counted from the top of the frame.
    pub(super) fn top(&self, i: usize) -> i32 {
        TITLE + TRACK * self.items[i].heads
    }

    fn frame(&mut self, i: usize, inner: &[usize], edge: i32, deep: i32, joins: bool) {
        let is_stack = self.items[i].is_stacked;
        let first = inner.first().filter(|_| !is_stack).map_or(0, |&c| self.columns[c].left);
        let is_loop = self.steps[self.items[i].step].is_loop();
        let item = &mut self.items[i];
        (item.left, item.edge) = (BOX.max(first) + PAD, edge + PAD);
        item.right = item.edge + if is_loop { LANE } else { 0 };
        item.h = deep + if joins { PAD } else { 0 } + TRACK * item.feet + PAD;
    }
}
