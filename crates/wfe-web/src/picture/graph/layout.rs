//! Where each step of a definition stands.
//!
//! * **Model**: a column is a sequence, an item is a box or a frame, a frame holds columns. What stands in a row of a column
//!   is one item on the column's axis, and at its right, beyond all lanes, the column of its compensation.
//! * **Two passes** over two flat vectors in which parents come first: [sizes](super::sizes) backwards,
//!   [places](super::places) forwards. No map is iterated and no count is looked at, so the same outline gives the same
//!   picture, and a failure or a busy step moves no box.
//! * **Stable**: the first branch that does something goes straight down; a new step moves only what follows it. Whether
//!   branches stand beside or below each other depends on how many boxes they need, not on pixels.
//! * **Go-to**: climb from both ends to the column that they share. Each column passed gives a lane at its right, each frame
//!   left gives a track at its foot, each frame entered one below its title: reserved before the sizes, so never in a box.

use std::borrow::Cow;

use super::{
    drawing::Drawing,
    reading::{Kind, Shape, Step},
};

/// Branches that need more boxes beside each other stand below each other.
const BESIDE: usize = 4;
/// Frames are drawn up to this depth; what is inside deeper ones is left out.
const DEEPEST: usize = 64;

/// A sequence. Until it is placed, `x` and `y` count from the axis and the top of its frame. `core` is how far its items
/// reach to the right of the axis; lanes and compensations follow. Columns below each other share those of `group`.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Column<'o> {
    pub frame: Option<usize>,
    pub items: Vec<usize>,
    pub label: Cow<'o, str>,
    pub kind: Kind,
    pub group: usize,
    pub lanes: i32,
    pub is_crossed: bool,
    pub compensates: bool,
    pub is_open: bool,
    pub is_small: bool,
    pub span: usize,
    pub left: i32,
    pub core: i32,
    pub right: i32,
    /// How far compensations reach to the left and to the right of their axis.
    pub beside: (i32, i32),
    pub h: i32,
    pub x: i32,
    pub y: i32,
}

/// A step that stands in a column. `edge` is its right side, `right` what it needs there, a loop's arrow included. `row` is
/// its height with that of its compensation.
#[derive(Default)]
pub(super) struct Item {
    pub step: usize,
    pub column: usize,
    pub depth: usize,
    pub shape: Option<Shape>,
    pub columns: Vec<usize>,
    pub compensation: Option<usize>,
    pub is_open: bool,
    pub is_stacked: bool,
    pub heads: i32,
    pub feet: i32,
    pub left: i32,
    pub edge: i32,
    pub right: i32,
    pub h: i32,
    pub row: i32,
    pub x: i32,
    pub y: i32,
}

impl Item {
    pub fn shape(&self) -> Shape {
        self.shape.unwrap_or(Shape::Box)
    }
}

/// What a go-to passes on its way.
pub(super) enum Via {
    Lane(usize, i32),
    Head(usize, i32),
    Foot(usize, i32),
}

pub(super) struct Layout<'o> {
    pub steps: Vec<Step<'o>>,
    /// The item of each step. Steps to which no way leads have none.
    pub item_of: Vec<Option<usize>>,
    pub columns: Vec<Column<'o>>,
    pub items: Vec<Item>,
    pub ways: Vec<(usize, usize, Vec<Via>)>,
    /// How many failures there were at each step.
    pub failed: Vec<u64>,
    pub drawing: Drawing,
}

impl<'o> Layout<'o> {
    pub fn new(steps: Vec<Step<'o>>, failed: Vec<u64>) -> Self {
        let item_of = vec![None; steps.len()];
        let first = (!steps.is_empty()).then_some(0);
        let (columns, items, ways, drawing) = Default::default();
        let mut layout = Self { steps, item_of, columns, items, ways, failed, drawing };
        layout.chain(first, None, "".into(), Kind::Way, 0);
        layout.route();
        layout.measure();
        layout.place();
        layout
    }

    /// Follows `next` from `first`, and makes a column of it and of all that is inside. Each step stands in one place: a
    /// second way to it ends.
    fn chain(
        &mut self,
        first: Option<usize>,
        frame: Option<usize>,
        label: Cow<'o, str>,
        kind: Kind,
        depth: usize,
    ) -> usize {
        let c = self.columns.len();
        self.columns.push(Column { frame, label, kind, group: c, is_open: true, ..Column::default() });
        let mut next = first.filter(|_| depth <= DEEPEST);
        while let Some(n) = next
            && self.item_of[n].is_none()
        {
            let i = self.items.len();
            self.item_of[n] = Some(i);
            let shape = self.steps[n].shape;
            self.items.push(Item { step: n, column: c, depth, shape: Some(shape), ..Item::default() });
            self.columns[c].items.push(i);
            let inner = self.inside(i, depth);
            let compensation = self.steps[n].compensation.filter(|&first| self.item_of[first].is_none());
            if let Some(first) = compensation {
                let beside = self.chain(Some(first), Some(i), "".into(), Kind::Way, depth);
                self.columns[beside].is_small = true;
                self.items[i].compensation = Some(beside);
                self.columns[c].compensates = true;
            }
            let spans = || inner.iter().map(|&c| self.columns[c].span);
            let is_stacked = shape == Shape::Side || shape == Shape::Fork && spans().sum::<usize>() > BESIDE;
            let most = spans().max().unwrap_or(0);
            let span = if is_stacked { 1 + most } else { spans().sum::<usize>().max(1) };
            if is_stacked {
                for &c in &inner {
                    self.columns[c].group = inner[0];
                }
            }
            let column = &mut self.columns[c];
            column.span = column.span.max(span + usize::from(column.compensates));
            let is_open = self.goes_on(n, &inner);
            self.columns[c].is_open = is_open;
            let item = &mut self.items[i];
            (item.columns, item.is_open, item.is_stacked) = (inner, is_open, is_stacked);
            next = self.steps[n].next;
        }
        c
    }

    /// The columns inside the frame of an item.
    fn inside(&mut self, i: usize, depth: usize) -> Vec<usize> {
        let n = self.items[i].step;
        let (shape, fallback) = (self.steps[n].shape, self.steps[n].fallback);
        let branches: Vec<(Cow<'o, str>, Option<usize>, Kind)> =
            self.steps[n].branches.iter().map(|it| (it.label.clone(), it.first, it.kind)).collect();
        let (mut inner, mut idle) = (vec![], vec![]);
        for (label, first, kind) in branches {
            match first.filter(|&first| self.item_of[first].is_none()) {
                Some(first) => inner.push(self.chain(Some(first), Some(i), label, kind, depth + 1)),
                None => idle.push(label),
            }
        }
        // Branches in which nothing is done share one way, the last.
        let is_idle = match shape {
            Shape::Fork => !idle.is_empty() || inner.is_empty(),
            Shape::Body => inner.is_empty(),
            Shape::Box | Shape::Side => false,
        };
        if is_idle {
            inner.push(self.chain(None, Some(i), idle.join(", ").into(), Kind::Way, depth + 1));
        }
        if shape == Shape::Body {
            inner.truncate(1);
            if let Some(first) = fallback.filter(|&first| self.item_of[first].is_none()) {
                let c = self.chain(Some(first), Some(i), "".into(), Kind::Instead, depth + 1);
                self.columns[c].is_small = true;
                inner.push(c);
            }
        }
        inner
    }

    /// Whether the sequence goes on after a step.
    fn goes_on(&self, n: usize, inner: &[usize]) -> bool {
        let step = &self.steps[n];
        let joins = |&c: &usize| self.columns[c].is_open && self.columns[c].kind != Kind::Apart;
        match step.shape {
            Shape::Box => !step.is_last(),
            Shape::Side => step.passes || inner.iter().any(joins),
            Shape::Body | Shape::Fork => step.is_loop() || inner.iter().any(joins),
        }
    }

    /// Reserves lanes and tracks for each go-to.
    fn route(&mut self) {
        for from in 0..self.items.len() {
            let Some(to) = self.steps[self.items[from].step].to.and_then(|to| self.item_of[to]) else {
                continue;
            };
            if self.compensation_around(from) != self.compensation_around(to) {
                continue; // no definition has such a go-to
            }
            let (mut a, mut b, mut up, mut down) = (from, to, vec![], vec![]);
            while self.items[a].column != self.items[b].column {
                let leaves = self.items[a].depth >= self.items[b].depth;
                let end = if leaves { &mut a } else { &mut b };
                let column = self.items[*end].column;
                // Only the outermost column has no frame, and the ends are not both in it.
                let Some(frame) = self.columns[column].frame else { break };
                *end = frame;
                let lane = self.lane(column);
                let item = &mut self.items[frame];
                let (way, count) =
                    if leaves { (&mut up, &mut item.feet) } else { (&mut down, &mut item.heads) };
                way.extend([lane, if leaves { Via::Foot(frame, *count) } else { Via::Head(frame, *count) }]);
                *count += 1;
            }
            up.push(self.lane(self.items[a].column));
            up.extend(down.into_iter().rev());
            self.ways.push((from, to, up));
        }
    }

    /// The column of the innermost compensation that an item belongs to.
    fn compensation_around(&self, item: usize) -> Option<usize> {
        let mut column = self.items[item].column;
        while let Some(frame) = self.columns[column].frame {
            if self.items[frame].compensation == Some(column) {
                return Some(column);
            }
            column = self.items[frame].column;
        }
        None
    }

    fn lane(&mut self, column: usize) -> Via {
        let group = self.columns[column].group;
        self.columns[column].is_crossed = true;
        self.columns[group].lanes += 1;
        Via::Lane(column, self.columns[group].lanes)
    }
}
