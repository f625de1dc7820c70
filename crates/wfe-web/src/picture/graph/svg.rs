//! Writes a picture as SVG.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    Graph, Links, StepFacts, Target,
    drawing::{Edge, Line, Rect, Text},
    reading::{Kind, Shape, Step},
};
use crate::picture::{
    State, clean, spaced,
    text::{cut, wide},
    took,
};

/// What is around the picture.
pub(super) enum Frame {
    /// A page, which has the symbols and the colours.
    Page,
    /// Nothing: the markup comes before all shapes.
    File(Markup),
}

pub(super) fn write(graph: &Graph<'_>, links: Links<'_>, frame: &Frame) -> Markup {
    let drawing = &graph.layout.drawing;
    let (w, h) = (drawing.w, drawing.h);
    let title = format!("{} v{} as a graph", clean(&graph.outline.id), graph.outline.version);
    let (namespace, around) = match frame {
        Frame::Page => (None, None),
        Frame::File(style) => (Some("http://www.w3.org/2000/svg"), Some(style)),
    };
    let writer = Writer { graph, links };
    html! {
        svg.g xmlns=[namespace] width=(w) height=(h) viewBox={ "0 0 " (w) " " (h) } role="group" aria-labelledby="graph-title" {
            title id="graph-title" { (title) }
            @if let Some(around) = around { (around) }
            (writer.frames(0, drawing.frames.len()))
            g.edges {
                (writer.edges())
                @for label in &drawing.labels { (writer.label(label)) }
            }
            @for (rect, step) in &drawing.boxes { (writer.step(*rect, *step)) }
        }
    }
}

struct Writer<'g> {
    graph: &'g Graph<'g>,
    links: Links<'g>,
}

impl Writer<'_> {
    /// The frames from one number to another, each with those that are inside.
    fn frames(&self, from: usize, to: usize) -> Markup {
        let frames = &self.graph.layout.drawing.frames;
        let mut groups = vec![];
        let mut at = from;
        while at < to {
            let inside = frames[at + 1..to].iter().take_while(|it| it.2 > frames[at].2).count();
            groups.push((at, at + 1 + inside));
            at += 1 + inside;
        }
        html! {
            @for (at, end) in groups {
                g.frame { (self.frame(frames[at].0, frames[at].1)) (self.frames(at + 1, end)) }
            }
        }
    }

    fn frame(&self, rect: Rect, step: usize) -> Markup {
        let Rect { x, y, w, h } = rect;
        let step = &self.graph.layout.steps[step];
        let (name, says) = match step.shape {
            Shape::Side => (step.word.to_owned(), aside(step)),
            _ => (step.name().to_owned(), step.says.clone()),
        };
        let name = cut(&name, 14, w - 56);
        let says = cut(&says, 11, w - 56 - wide(&name, 14));
        html! {
            title { (clean(step.name())) ": " (clean(&step.says)) }
            rect x={ (x) ".5" } y={ (y) ".5" } width=(w - 1) height=(h - 1) rx="9" {}
            use.i href={ "#i-" (step.symbol) } x=(x + 13) y=(y + 9) width="13" height="13" {}
            text.nm x=(x + 33) y=(y + 20) { (name) tspan.sub dx="7" { (says) } }
        }
    }

    fn edges(&self) -> Markup {
        let drawing = &self.graph.layout.drawing;
        let (x, y) = drawing.begin;
        html! {
            @for is_red in [false, true] {
                @for edge in drawing.edges.iter().filter(|edge| (edge.line == Line::Red) == is_red) { (path(edge)) }
            }
            circle.term cx=(x) cy=(y) r="5" {}
            @if let Some((x, y)) = drawing.end {
                circle.hair.dia cx=(x) cy=(y) r="6.5" {}
                circle.term cx=(x) cy=(y) r="3.5" {}
            }
            @for (x, y) in &drawing.dots { circle.term cx=(x) cy=(y) r="3" {} }
            @for (x, y) in &drawing.diamonds { path.dia d={ "M" (x) " " (y - 11) "l11 11-11 11-11-11z" } {} }
            @for Rect { x, y, w, h } in &drawing.bars { rect.term x=(x) y=(y) width=(w) height=(h) rx="2" {} }
        }
    }

    fn label(&self, (Rect { x, y, w, h }, text, depth): &(Rect, Text, usize)) -> Markup {
        let class = ["lab", "lab in", "lab in2"][*depth.min(&2)];
        let plate = html! { rect x=(x) y=(y) width=(w) height=(h) {} };
        match text {
            Text::Word(word) => html! {
                g class=(class) { (plate) text.sub x=(x + w / 2) y=(y + 13) text-anchor="middle" { (word) } }
            },
            Text::Compensation => html! {
                g class=(class) { (plate) use.bgi href="#i-undo" x=(x + 6) y=(y + 2) width="13" height="13" {} }
            },
            Text::Failed { step, text } => {
                let id = &self.graph.layout.steps[*step].source.id;
                let title = format!("{}: {}", clean(id), self.failed(self.graph.layout.failed[*step]));
                let inside = html! {
                    title { (title) }
                    g class=(class) {
                        (plate)
                        use.gl.fail href="#i-fail" x=(x + 8) y=(y + 5) width="12" height="12" {}
                        text.red x=(x + 26) y=(y + 15) { (text) }
                    }
                };
                self.linked("", Target::Failed(id), &inside)
            }
        }
    }

    /// A link around something, or a group if there is none.
    fn linked(&self, class: &str, target: Target<'_>, inside: &Markup) -> Markup {
        let class = Some(class).filter(|class| !class.is_empty());
        let url = (self.links)(target);
        html! {
            @if let Some(url) = url { a class=[class] href=(url) { (inside) } } @else { g class=[class] { (inside) } }
        }
    }

    fn step(&self, rect: Rect, number: usize) -> Markup {
        let Rect { x, y, w, h } = rect;
        let layout = &self.graph.layout;
        let step = &layout.steps[number];
        let says = says(step, |n| layout.steps[n].name());
        let nothing = StepFacts::default();
        let facts = self.graph.facts(number).unwrap_or(&nothing);
        let class = match (self.graph.facts.selected.as_ref() == Some(&step.source.id), facts.failed > 0) {
            (true, _) => "node sel",
            (_, true) => "node hurt",
            _ => "node",
        };
        let symbol = if step.compensates.is_some() { "undo" } else { step.symbol };
        let (end, text_x) = (x + w - 12, x + 33);
        let is_told =
            |it: &(Rect, Text, usize)| matches!(&it.1, Text::Failed { step, .. } if *step == number);
        let is_told = facts.failed > 0 && layout.drawing.labels.iter().any(is_told);
        let room = end + 4 - text_x;
        let (counts, left) =
            counts(facts, !is_told, (end, y), text_x + wide(&cut(step.name(), 14, room), 14).min(84));
        let p95 = facts.p95.map(|p95| format!("p95 {}", took(p95)));
        let fits = |p95: &String| wide(&clean(&says), 11) + wide(p95, 11) + 8 <= room;
        let corner = match (&facts.late, p95.filter(fits)) {
            (Some(late), _) => Some((cut(late, 12, room / 2), "sub late", 12)),
            (None, Some(p95)) => Some((p95, "sub", 11)),
            (None, None) => None,
        };
        let taken = corner.as_ref().map_or(0, |(text, _, px)| wide(text, *px) + 8);
        let inside = html! {
            title { (clean(step.name())) ": " (clean(&says)) (self.here_now(facts)) }
            rect x={ (x) ".5" } y={ (y) ".5" } width=(w - 1) height=(h - 1) rx="6" {}
            use.i href={ "#i-" (symbol) } x=(x + 11) y=(y + 9) width="14" height="14" {}
            text.nm x=(text_x) y=(y + 20) { (cut(step.name(), 14, left - text_x)) }
            text.sub x=(text_x) y=(y + 35) { (cut(&says, 11, room - taken)) }
            (counts)
            @if let Some((text, class, _)) = corner {
                text class=(class) x=(end) y=(y + 35) text-anchor="end" { (text) }
            }
        };
        self.linked(class, Target::Here(&step.source.id), &inside)
    }

    fn failed(&self, count: u64) -> String {
        match self.graph.facts.failed_when {
            "" => format!("{} failed", spaced(count)),
            when => format!("{} failed {when}", spaced(count)),
        }
    }

    /// The end of the sentence about a box: what stands there.
    fn here_now(&self, facts: &StepFacts) -> String {
        let here = facts.here.iter().filter(|it| it.1 > 0);
        let here = here.map(|(state, count)| format!("{} {}", spaced(*count), state.word()));
        let failed = (facts.failed > 0).then(|| self.failed(facts.failed));
        let all: Vec<String> = here.chain(failed).chain(facts.late.as_deref().map(clean)).collect();
        if all.is_empty() { String::new() } else { format!(". Here now: {}", all.join(", ")) }
    }
}

/// The counts in the upper right of a box, from the right, as far as there is room, and where they begin.
fn counts(facts: &StepFacts, with_failed: bool, (end, y): (i32, i32), least: i32) -> (Markup, i32) {
    let failed = if with_failed { facts.failed } else { 0 };
    let all = facts.here.iter().copied().chain([(State::Failed, failed)]).rev().filter(|it| it.1 > 0);
    let (mut at, mut shown) = (end, vec![]);
    for (state, count) in all {
        let text = spaced(count);
        let glyph = at - text.chars().map(|c| if c.is_ascii_digit() { 8 } else { 5 }).sum::<i32>() - 16;
        if glyph < least + 9 {
            break;
        }
        shown.push((state.class(), text, at, glyph));
        at = glyph - 9;
    }
    let markup = html! {
        @for (class, text, at, glyph) in shown {
            text class={ "cnt " (class) } x=(at) y=(y + 20) text-anchor="end" { (text) }
            use class={ "gl " (class) } href={ "#i-" (class) } x=(glyph) y=(y + 10) width="12" height="12" {}
        }
    };
    (markup, at)
}

/// The second line of a box.
pub(super) fn says<'s>(step: &Step<'_>, name: impl Fn(usize) -> &'s str) -> String {
    match step.compensates {
        Some(of) if step.says == "step" => format!("reverts {}", clean(name(of))),
        _ => step.says.clone(),
    }
}

/// What is beside the title of a frame around a box.
fn aside(step: &Step<'_>) -> String {
    let labels = |kind: Kind| {
        let ways = step.branches.iter().filter(|it| it.kind == kind && it.first.is_some());
        ways.take(8).map(|it| clean(&it.label)).collect::<Vec<_>>().join(", ")
    };
    let (ways, instead, apart) = (labels(Kind::Way), labels(Kind::Instead), labels(Kind::Apart));
    match (&*ways, &*instead) {
        ("", "") if matches!(&*step.source.kind, "recur" | "after") => "the main path goes on".to_owned(),
        ("", "") => format!("{apart} beside it"),
        ("", _) => format!("or {instead}"),
        (_, "") => ways,
        _ => format!("{ways}, or {instead}"),
    }
}

/// A line with round corners. A tip ends it 4 pixels early.
fn path(edge: &Edge) -> Markup {
    let toward = |a: (i32, i32), b: (i32, i32), by: i32| {
        (a.0 + (b.0 - a.0).signum() * by, a.1 + (b.1 - a.1).signum() * by)
    };
    let length = |a: (i32, i32), b: (i32, i32)| (b.0 - a.0).abs() + (b.1 - a.1).abs();
    let [.., before, last] = *edge.corners else { return html! {} };
    let class = match edge.line {
        Line::Plain => "",
        Line::Side => " side",
        Line::Red => " red",
    };
    let mut d = format!("M{} {}", edge.corners[0].0, edge.corners[0].1);
    // Writing to a text cannot fail.
    for w in edge.corners.windows(3) {
        let r = 6.min(length(w[0], w[1]) / 2).min(length(w[1], w[2]) / 2);
        let ((ax, ay), (bx, by)) = (toward(w[1], w[0], r), toward(w[1], w[2], r));
        let _ = write!(d, "L{ax} {ay}Q{} {} {bx} {by}", w[1].0, w[1].1);
    }
    let (x, y) = if edge.has_tip { toward(last, before, 4) } else { last };
    let _ = write!(d, "L{x} {y}");
    let tip = match ((last.0 - before.0).signum(), (last.1 - before.1).signum()) {
        (0, 1) => "l-4-6.5h8z",
        (0, _) => "l-4 6.5h8z",
        (1, _) => "l-6.5-4v8z",
        _ => "l6.5-4v8z",
    };
    html! {
        path class={ "e" (class) } d=(d) {}
        @if edge.has_tip { path class={ "tip" (class) } d={ "M" (last.0) " " (last.1) (tip) } {} }
    }
}
