//! A picture as a list of shapes, before it is written.

/// A rectangle, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub x: i32,
    pub y: i32,
    pub w: i32,
    pub h: i32,
}

pub(super) enum Text {
    Word(String),
    /// The symbol of a compensation.
    Compensation,
    /// The number of failures at a step.
    Failed {
        step: usize,
        text: String,
    },
}

/// How a line looks; the name of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Plain,
    /// Dashed: a timeout, a go-to, a compensation.
    Side,
    /// What failures went through.
    Red,
}

pub(super) struct Edge {
    pub line: Line,
    pub corners: Vec<(i32, i32)>,
    pub has_tip: bool,
}

#[derive(Default)]
pub(super) struct Drawing {
    pub w: i32,
    pub h: i32,
    /// A box and its step, in the order in which the keyboard reaches them.
    pub boxes: Vec<(Rect, usize)>,
    /// A frame, its step, and how many frames are around it. Outer ones come first.
    pub frames: Vec<(Rect, usize, usize)>,
    pub edges: Vec<Edge>,
    /// A label, its text, and how many frames are around it.
    pub labels: Vec<(Rect, Text, usize)>,
    pub diamonds: Vec<(i32, i32)>,
    pub bars: Vec<Rect>,
    pub dots: Vec<(i32, i32)>,
    pub begin: (i32, i32),
    pub end: Option<(i32, i32)>,
}

impl Drawing {
    /// Adds a line, without corners at which it does not turn.
    pub fn edge(&mut self, line: Line, corners: &[(i32, i32)], has_tip: bool) {
        let mut kept: Vec<(i32, i32)> = vec![];
        for &next in corners {
            let is_on_line =
                |a: (i32, i32), b: (i32, i32)| a.0 == b.0 && b.0 == next.0 || a.1 == b.1 && b.1 == next.1;
            while kept.last() == Some(&next) || matches!(*kept, [.., a, b] if is_on_line(a, b)) {
                kept.pop();
            }
            kept.push(next);
        }
        self.edges.push(Edge { line, corners: kept, has_tip });
    }

    pub fn label(&mut self, (x, y): (i32, i32), room: i32, text: &str, depth: usize) {
        use crate::picture::text::{cut, wide};
        let text = cut(text, 11, room - 8);
        if !text.is_empty() {
            let rect = Rect { x, y, w: wide(&text, 11) + 8, h: 18 };
            self.labels.push((rect, Text::Word(text), depth));
        }
    }
}
