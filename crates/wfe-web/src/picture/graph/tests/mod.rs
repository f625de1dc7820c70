mod drafts;

use serde_json::json;

use self::drafts::{Dice, large, nested, order, outline};
use super::{
    drawing::{Line, Rect},
    reading::read,
    sizes::{GAP, TALL},
    *,
};

fn none(_: Target<'_>) -> Option<String> {
    None
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of links")]
fn linked(target: Target<'_>) -> Option<String> {
    Some(match target {
        Target::Here(step) => format!("instances?step={step}"),
        Target::Failed(step) => format!("failures?step={step}"),
    })
}

/// Facts about steps, made by chance.
fn busy(outline: &Outline, dice: &mut Dice) -> Facts {
    let mut facts = Facts { failed_when: "since yesterday", ..Facts::default() };
    for step in &outline.steps {
        let here = State::ALL[..6].iter().map(|state| (*state, dice.below(3) as u64 * 1_180)).collect();
        let failed = dice.below(3) as u64 * 31;
        let p95 = Some(Duration::from_millis(dice.below(100_000) as u64));
        facts.steps.insert(step.id.clone(), StepFacts { here, failed, p50: p95, p95, late: None });
    }
    facts
}

// ---------- what must never be in a picture ----------

fn meet(a: &Rect, b: &Rect, by: i32) -> bool {
    a.x < b.x + b.w + by && b.x < a.x + a.w + by && a.y < b.y + b.h + by && b.y < a.y + a.h + by
}

fn holds(a: &Rect, b: &Rect, by: i32) -> bool {
    a.x + by <= b.x && a.y + by <= b.y && b.x + b.w + by <= a.x + a.w && b.y + b.h + by <= a.y + a.h
}

fn faults(layout: &Layout<'_>) -> Vec<String> {
    let (p, mut faults) = (&layout.drawing, vec![]);
    let apart = |a: &Rect, frame: &Rect| !meet(a, frame, 8) || holds(frame, a, 8);
    let page = Rect { x: 0, y: 0, w: p.w, h: p.h };
    let mut never = |is_bad: bool, what: &str, at: &Rect| {
        if is_bad {
            faults.push(format!("{what}: {at:?}"));
        }
    };
    for (n, (a, ..)) in p.boxes.iter().enumerate() {
        never(p.boxes[..n].iter().any(|b| meet(a, &b.0, 8)), "two boxes meet", a);
        never(p.frames.iter().any(|f| !apart(a, &f.0)), "a frame cuts a box", a);
        never(p.labels.iter().any(|b| meet(a, &b.0, 0)), "a label covers a box", a);
        never(!holds(&page, a, 16), "a box leaves the page", a);
    }
    for (n, (a, ..)) in p.frames.iter().enumerate() {
        never(p.frames[..n].iter().any(|f| !apart(a, &f.0)), "two frames meet", a);
        never(!holds(&page, a, 8), "a frame leaves the page", a);
    }
    for (n, (a, ..)) in p.labels.iter().enumerate() {
        never(p.labels[..n].iter().any(|b| meet(a, &b.0, 0)), "two labels meet", a);
        never(!holds(&page, a, 8), "a label leaves the page", a);
    }
    for w in p.edges.iter().flat_map(|edge| edge.corners.windows(2)) {
        let ((ax, ay), (bx, by)) = (w[0], w[1]);
        let line = Rect { x: ax.min(bx), y: ay.min(by), w: (ax - bx).abs(), h: (ay - by).abs() };
        let title = |r: &Rect| Rect { x: r.x + 8, y: r.y + 7, w: r.w - 16, h: 20 };
        never(line.w > 0 && line.h > 0, "a line is aslant", &line);
        never(p.boxes.iter().any(|b| meet(&line, &b.0, -1)), "a line crosses a box", &line);
        never(p.frames.iter().any(|f| meet(&line, &title(&f.0), -1)), "a line crosses a title", &line);
        never(!holds(&page, &line, 8), "a line leaves the page", &line);
    }
    let side = p.edges.iter().filter(|edge| edge.line == Line::Side).flat_map(|edge| edge.corners.windows(2));
    let falls = side.filter(|w| w[0].0 == w[1].0);
    let mut falls: Vec<_> = falls.map(|w| (w[0].0, w[0].1.min(w[1].1), w[0].1.max(w[1].1))).collect();
    falls.sort_unstable();
    if falls.windows(2).any(|w| w[0].0 == w[1].0 && w[1].1 < w[0].2) {
        faults.push("two ways share a lane".to_owned());
    }
    faults
}

fn layout<'o>(outline: &'o Outline, facts: &Facts) -> Layout<'o> {
    let steps = read(outline);
    let failed =
        outline.steps.iter().map(|step| facts.steps.get(&step.id).map_or(0, |it| it.failed)).collect();
    Layout::new(steps, failed)
}

#[test]
fn nothing_overlaps_in_what_people_write() {
    for outline in [
        order(),
        nested(),
        large(),
        outline("one", "only"),
        outline("empty", ""),
        outline("hollow", "if:empty while:idle decide:none [a ] [b ] parallel:some [1 x ] [2 y ] end:end"),
        outline("jumps", "a b go-to:back >a c go-to:on >e d e"),
        outline(
            "twelve",
            &format!(
                "decide:twelve{}",
                (1..=12)
                    .map(|n| [" [case".to_owned(), n.to_string(), format!(" b{n} ]")].concat())
                    .collect::<Vec<_>>()
                    .concat()
            ),
        ),
        outline("fallbacks", "a ~[ b c ] wait-for:d [timeout e ] ~[ f ] while:g [ h ] ~[ i end:j ] k"),
    ] {
        let facts = busy(&outline, &mut Dice::of(7));
        let layout = layout(&outline, &facts);
        assert_eq!(faults(&layout), [""; 0], "{}", outline.id);
        let reached = layout.item_of.iter().filter(|it| it.is_some()).count();
        let drawn = layout.drawing.boxes.len()
            + layout
                .items
                .iter()
                .filter(|it| matches!(it.shape(), reading::Shape::Body | reading::Shape::Fork))
                .count();
        assert_eq!(drawn, reached, "{}: each step is one box or one frame", outline.id);
    }
}

#[test]
fn nothing_overlaps_in_what_chance_makes() {
    let (mut steps, mut jumps, mut beside) = (0, 0, 0);
    for seed in 1..=600 {
        let mut dice = Dice::of(seed);
        let outline = dice.outline();
        let facts = busy(&outline, &mut dice);
        let layout = layout(&outline, &facts);
        assert_eq!(faults(&layout), [""; 0], "seed {seed}");
        assert!(layout.item_of.iter().all(Option::is_some), "seed {seed}: a step is not drawn");
        steps += outline.steps.len();
        jumps += outline.steps.iter().filter(|it| it.to.is_some()).count();
        beside += outline.steps.iter().filter(|it| it.compensation.is_some()).count();
    }
    assert!(
        steps > 5_000 && jumps > 300 && beside > 500,
        "{steps} steps, {jumps} go-tos, {beside} compensations"
    );
}

#[test]
fn facts_move_nothing() {
    for seed in 1..=100 {
        let mut dice = Dice::of(seed);
        let outline = dice.outline();
        let (quiet, facts) = (Facts::default(), busy(&outline, &mut dice));
        let (quiet, busy) = (layout(&outline, &quiet), layout(&outline, &facts));
        assert_eq!(quiet.drawing.boxes, busy.drawing.boxes, "seed {seed}");
        assert_eq!((quiet.drawing.w, quiet.drawing.h), (busy.drawing.w, busy.drawing.h), "seed {seed}");
    }
}

/// Puts a step behind another one. `None`: nothing can come behind it.
fn with_a_step_behind(outline: &Outline, n: usize) -> Option<Outline> {
    let facts = Facts::default();
    let layout = layout(outline, &facts);
    let item = &layout.items[layout.item_of[n]?];
    let is_small = layout.columns[item.column].is_small;
    if is_small || !item.is_open {
        return None;
    }
    let mut edited = serde_json::to_value(outline).unwrap();
    let next = edited["steps"][n]["next"].take();
    edited["steps"][n]["next"] = json!("new");
    let new = json!({"id": "new", "kind": "step", "next": next, "on_failure": "fail"});
    edited["steps"].as_array_mut().unwrap().push(new);
    Some(serde_json::from_value(edited).unwrap())
}

#[test]
fn a_new_step_moves_only_what_follows_and_only_downwards() {
    let mut edits = 0;
    for seed in 1..=300 {
        let mut dice = Dice::of(seed);
        let outline = dice.outline();
        for _ in 0..3 {
            let n = dice.below(outline.steps.len());
            let Some(edited) = with_a_step_behind(&outline, n) else { continue };
            let facts = Facts::default();
            let (old, new) = (layout(&outline, &facts), layout(&edited, &facts));
            let after = old.item_of[n].unwrap();
            for (i, a) in old.items.iter().enumerate() {
                let b = &new.items[new.item_of[a.step].unwrap()];
                assert_eq!(a.x, b.x, "seed {seed}, behind {n}: {} moved sideways", outline.steps[a.step].id);
                let allowed = if i <= after { 0..=0 } else { 0..=TALL + GAP };
                assert!(
                    allowed.contains(&(b.y - a.y)),
                    "seed {seed}, behind {n}: {} moved",
                    outline.steps[a.step].id
                );
            }
            edits += 1;
        }
    }
    assert!(edits > 300, "{edits} edits");
}

#[test]
fn five_hundred_steps_are_laid_out_and_written_in_no_time() {
    let outline = large();
    assert_eq!(outline.steps.len(), 500);
    let facts = busy(&outline, &mut Dice::of(1));
    let best = (0..10).map(|_| {
        let begin = std::time::Instant::now();
        let graph = Graph::new(&outline, &facts);
        let made = graph.svg(&linked).into_string().len() + graph.table(&linked).into_string().len();
        assert!(made > 100_000);
        begin.elapsed()
    });
    let best = best.min().unwrap();
    eprintln!("500 steps: {best:?}");
    // Without optimisation, and on a machine that does other things, it takes a multiple.
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 20 });
    assert!(best <= bound, "{best:?}");
}

// ---------- what is written ----------

#[test]
fn a_box_has_a_link_and_a_title_that_says_it_all() {
    let (outline, mut facts) = (order(), Facts { failed_when: "since yesterday", ..Facts::default() });
    facts.steps.insert(
        "charge".to_owned(),
        StepFacts { here: vec![(State::Running, 5), (State::Suspended, 4)], ..StepFacts::default() },
    );
    facts.steps.insert("ship".to_owned(), StepFacts { failed: 1_031, ..StepFacts::default() });
    facts.selected = Some("charge".to_owned());
    let graph = Graph::new(&outline, &facts);
    let svg = graph.svg(&linked).into_string();
    assert!(svg.contains(r#"<a class="node sel" href="instances?step=charge"><title>charge: step. Here now: 5 running, 4 suspended</title>"#), "{svg}");
    let failed = "<a href=\"failures?step=ship\"><title>ship: 1\u{202f}031 failed since yesterday</title>";
    assert!(svg.contains(failed), "{svg}");
    assert!(svg.contains(r#"<path class="e red""#));
    assert!(svg.contains("reverts reserve"));
    assert!(!svg.contains("style="), "the policy of pages forbids it");
    let table = graph.table(&linked).into_string();
    for step in &outline.steps {
        assert!(
            table.contains(&format!("href=\"instances?step={}\"", step.id)),
            "{} is not in the table",
            step.id
        );
        assert!(
            svg.contains(&format!("step={}\"", step.id)) || svg.contains(&format!("<title>{}: ", step.id))
        );
    }
    assert_eq!(table.matches("<tr").count(), outline.steps.len() + 1);
}

#[test]
fn hostile_names_are_drawn_harmlessly() {
    let long = "x".repeat(10_000_000);
    for (name, forbidden) in [
        ("<script>alert(1)</script>", "<script"),
        ("\"><svg onload=x>", "<svg onload"),
        ("a\u{1b}[2J\u{0}\u{202e}b", "\u{1b}"),
        (&long, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\u{0}"),
    ] {
        let outline: Outline = serde_json::from_value(json!({
            "outline": 1, "id": name, "version": 1, "data": {"type": name},
            "steps": [
                {"id": name, "name": name, "kind": name, "next": "w", "on_failure": "fail"},
                {"id": "w", "name": name, "kind": "user-task", "options": [name], "branches": [{"label": name, "first": "d"}], "awaits": name, "on_failure": "fail"},
                {"id": "d", "kind": "decide", "branches": [{"label": name, "first": "e"}], "on_failure": "fail"},
                {"id": "e", "kind": "go-to", "to": name, "on_failure": "fail"},
            ],
        }))
        .unwrap();
        let mut facts = Facts::default();
        facts.steps.insert(
            name.to_owned(),
            StepFacts {
                failed: u64::MAX,
                late: Some(name.to_owned()),
                here: vec![(State::Due, u64::MAX)],
                ..StepFacts::default()
            },
        );
        let graph = Graph::new(&outline, &facts);
        assert_eq!(faults(&graph.layout), [""; 0]);
        for written in [graph.svg(&none).into_string(), graph.table(&none).into_string(), graph.file()] {
            assert!(!written.contains(forbidden));
            assert!(written.len() < 40_000, "{} bytes", written.len());
        }
    }
}

#[test]
fn an_outline_that_contradicts_itself_is_drawn_as_far_as_it_can_be() {
    let deep: Vec<_> = (0..500).map(|n| json!({"id": format!("s{n}"), "kind": "saga", "branches": [{"label": "all", "first": format!("s{}", n + 1)}], "on_failure": "fail"})).collect();
    for steps in [
        json!([]),
        json!([{"id": "a", "kind": "step", "next": "a", "on_failure": "fail"}]),
        json!([{"id": "a", "kind": "step", "next": "nowhere", "to": "nowhere", "compensation": "a", "on_failure": "fail"}]),
        json!([{"id": "a", "kind": "saga", "branches": [{"label": "all", "first": "a"}], "fallback": "a", "on_failure": "fail"}]),
        json!([{"id": "a", "kind": "step", "on_failure": "fail"}, {"id": "a", "kind": "step", "on_failure": "fail"}]),
        json!([{"id": "a", "kind": "go-to", "to": "b", "compensation": "b", "on_failure": "fail"}, {"id": "b", "kind": "step", "on_failure": "fail"}]),
        json!(deep),
    ] {
        let outline: Outline = serde_json::from_value(
            json!({"outline": 1, "id": "odd", "version": 1, "data": {"type": "D"}, "steps": steps}),
        )
        .unwrap();
        let facts = Facts::default();
        let graph = Graph::new(&outline, &facts);
        assert_eq!(faults(&graph.layout), [""; 0], "{}", outline.steps.len());
        assert!(graph.file().contains("</svg>"));
    }
}

#[test]
fn a_file_has_its_own_colours_and_symbols_and_no_links() {
    let (outline, facts) = (nested(), Facts::default());
    let file = Graph::new(&outline, &facts).file();
    assert!(file.starts_with(r#"<svg class="g" xmlns="http://www.w3.org/2000/svg""#), "{}", &file[..200]);
    assert!(
        file.contains("prefers-color-scheme:dark") && !file.contains("var(") && !file.contains("href=\"inst")
    );
    for used in file.split("href=\"#").skip(1).filter_map(|it| it.split('"').next()) {
        assert!(file.contains(&format!("<symbol id=\"{used}\"")), "{used} is not defined");
    }
    if let Some(folder) = std::env::var_os("WFE_PICTURES") {
        let folder = std::path::PathBuf::from(folder);
        for outline in [order(), nested()] {
            let facts = busy(&outline, &mut Dice::of(3));
            std::fs::write(folder.join(format!("{}.svg", outline.id)), Graph::new(&outline, &facts).file())
                .unwrap();
        }
    }
}
