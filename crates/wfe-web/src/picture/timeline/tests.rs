use chrono::TimeDelta;
use wfe::{
    Operator, WorkflowHost,
    definition::{OnFailure, WorkflowBuilder},
    sqlite::SqliteStore,
    steps::StepError,
};

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The order of the pages' examples: it waited for two days, and a step has failed for good.
fn order() -> Timeline {
    let (start, day) = (at("2026-11-27T11:04:10Z"), at("2026-11-29T13:12:00Z"));
    let after = |ms| start + TimeDelta::milliseconds(ms);
    let row = |step: &str, state, depth, took: &str, marks| Row {
        step: step.to_owned(),
        name: step.to_owned(),
        state,
        depth,
        took: took.to_owned(),
        marks,
        ..Row::default()
    };
    let done = Some(State::Completed);
    let ran = |from, to| Mark::Ran { from, to, state: State::Completed };
    let items =
        (0..24).map(|n| Item { state: State::Completed, attempts: if n == 10 { 2 } else { 1 } }).collect();
    let fails: Vec<_> = [9, 73, 264, 724, 1_644].map(|s| day + TimeDelta::seconds(s)).into();
    let mut charge: Vec<Mark> = fails.windows(2).map(|w| Mark::Backoff { from: w[0], to: w[1] }).collect();
    charge.extend(fails.iter().map(|at| Mark::Attempt { at: *at, text: "card_declined".to_owned() }));
    charge.push(Mark::Here { from: fails[4], state: State::Suspended });
    Timeline {
        rows: vec![
            row("validate", done, 0, "12 ms", vec![ran(start, after(12))]),
            Row {
                symbol: Some("loop"),
                ..row(
                    "price",
                    done,
                    0,
                    "4.1 s",
                    vec![Mark::Container { from: after(50), to: Some(after(4_150)) }],
                )
            },
            Row {
                items: 24,
                ..row(
                    "look-up",
                    done,
                    1,
                    "p50 1.3 s",
                    vec![Mark::Items { from: after(50), to: after(4_150), items }],
                )
            },
            Row {
                symbol: Some("branch"),
                ..row("total > 1 000", done, 0, "yes", vec![Mark::Decided { at: after(4_300) }])
            },
            Row {
                note: "Ms Weber published approved/order-17".to_owned(),
                ..row("approval", done, 1, "2 d 2 h", vec![Mark::Waited { from: after(4_400), to: day }])
            },
            Row {
                symbol: Some("saga"),
                ..row("buy", Some(State::Suspended), 0, "open", vec![Mark::Container { from: day, to: None }])
            },
            Row {
                note: "compensated by release".to_owned(),
                ..row("reserve", done, 1, "210 ms", vec![ran(day, day + TimeDelta::milliseconds(210))])
            },
            Row { is_here: true, ..row("charge", Some(State::Suspended), 1, "5 attempts", charge) },
            row("ship", None, 1, "", vec![]),
            row("notify", None, 0, "", vec![]),
        ],
        until: Some(day + TimeDelta::seconds(1_644 + 7_200)),
    }
}

fn link(step: &str) -> Option<String> {
    (step != "ship").then(|| format!("?step={step}"))
}

#[test]
fn idle_stretches_are_folded_and_each_row_says_what_it_shows() {
    let shown = order().markup(&link).into_string();
    assert!(shown.contains(">2 d 2 h<") && shown.contains(">2 h<"), "both folds say how long: {shown}");
    assert_eq!(order().scale().pieces.iter().filter(|it| it.is_fold).count(), 2);
    assert!(shown.contains(r#"aria-label="24 items: 24 completed, 1 tried again""#), "{shown}");
    assert!(shown.contains(r#"aria-label="5 failed attempts, suspended for 2 h""#), "{shown}");
    assert!(shown.contains(r#"aria-label="not reached""#));
    assert_eq!(shown.matches(r#"class="bar done""#).count(), 2 + 23);
    assert_eq!(shown.matches(r#"class="bar retry""#).count(), 1, "the odd item");
    assert!(
        shown.contains(r#"<tr class="on">"#)
            && shown.contains(r#"href="?step=charge""#)
            && !shown.contains("?step=ship")
    );
    assert!(!shown.contains("style="));
    if let Some(folder) = std::env::var_os("WFE_PICTURES") {
        let css = "style.css";
        let page = format!(
            "<!doctype html><meta charset=utf-8><link rel=stylesheet href={css}>{}<main><div class=tw>{}</div>{}{}</main>",
            crate::picture::sprite().into_string(),
            shown,
            crate::picture::bars(&hours(), "Ended").into_string(),
            crate::picture::sparkline(&[0, 0, 3, 8, 2, 0, 0, 5, 20, 11], "fail", "hours").into_string(),
        );
        std::fs::write(std::path::Path::new(&folder).join("timeline.html"), page).unwrap();
    }
}

fn hours() -> Vec<crate::picture::Hour> {
    let hour = |n: u64| crate::picture::Hour {
        name: format!("{:02}:00", (n + 16) % 24),
        completed: 1_700 - (n * 141 % 1_600),
        failed: if n.is_multiple_of(5) { n } else { 0 },
        url: Some("x".to_owned()),
    };
    (0..24).map(hour).collect()
}

#[test]
fn more_than_sixty_items_are_counted() {
    let from = at("2026-11-27T11:00:00Z");
    let items = |n| {
        (0..n)
            .map(|n| Item { state: if n % 9 == 0 { State::Failed } else { State::Completed }, attempts: 1 })
            .collect()
    };
    let shown = |n| {
        let marks = vec![Mark::Items { from, to: from + TimeDelta::seconds(60), items: items(n) }];
        let row = Row { name: "each".to_owned(), state: Some(State::Completed), marks, ..Row::default() };
        Timeline { rows: vec![row], until: None }.markup(&|_| None).into_string()
    };
    assert_eq!(shown(60).matches("<rect class=\"bar").count(), 60);
    let counted = shown(61);
    assert_eq!(counted.matches("<rect class=\"bar").count(), 2);
    assert!(counted.contains(">54 completed<") && counted.contains(">7 failed<"), "{counted}");
    assert!(shown(100_000).len() < 5_000);
}

#[test]
fn hostile_names_are_shown_harmlessly() {
    for name in
        ["<script>alert(1)</script>".to_owned(), "\u{202e}\u{1b}[2J".to_owned(), "y".repeat(10_000_000)]
    {
        let from = at("2026-11-27T11:00:00Z");
        let marks = vec![Mark::Attempt { at: from, text: name.clone() }];
        let row = Row {
            name: name.clone(),
            took: name.clone(),
            note: name.clone(),
            step: name.clone(),
            marks,
            ..Row::default()
        };
        let shown = Timeline { rows: vec![row], until: None }.markup(&|_| None).into_string();
        assert!(!shown.contains("<script") && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
        assert!(shown.len() < 5_000, "{}", shown.len());
    }
}

#[tokio::test]
async fn the_timeline_of_an_instance_is_read_from_what_an_operator_knows() {
    let definition = WorkflowBuilder::<Vec<u32>>::new("order", 1)
        .then("validate", async |_, _| Ok(()))
        .for_each("price", Vec::clone, |each| each.then("look-up", async |_, _, _| Ok(())))
        .saga("buy", |buy| {
            buy.then("reserve", async |_, _| Ok(()))
                .then("charge", async |_, _| Err::<(), _>(StepError::fatal("no").with_code("declined")))
                .on_failure(OnFailure::Suspend)
        })
        .then("notify", async |_, _| Ok(()))
        .build()
        .unwrap();
    let outline = definition.outline();
    let store = SqliteStore::new(":memory:").await.unwrap();
    let host = WorkflowHost::new(store);
    let workflow = host.register(definition).unwrap();
    host.start().await.unwrap();
    let instance = workflow.start(&vec![1, 2, 3]).await.unwrap();
    let operator: Operator = host.operator().unwrap();
    while operator.status(instance.id()).await.unwrap().state == wfe::status::State::Running {
        tokio::task::yield_now().await;
    }
    let view = operator.show(instance.id()).await.unwrap();
    let history = operator.history(instance.id(), None, 500).await.unwrap().rows;
    let failures = operator.errors(Some(instance.id()), None, 500).await.unwrap().rows;
    let now = view.status.create_time + TimeDelta::hours(2);
    let timeline = Timeline::of(Some(&outline), &view, &history, &failures, now);
    host.stop().await.unwrap();

    let row = |step: &str| timeline.rows.iter().find(|it| it.step == step).unwrap();
    let steps: Vec<&str> = timeline.rows.iter().map(|it| &*it.step).collect();
    assert_eq!(steps, ["validate", "price", "look-up", "buy", "reserve", "charge", "notify"]);
    assert!(matches!(*row("validate").marks, [Mark::Ran { state: State::Completed, .. }]), "{timeline:#?}");
    assert!(matches!(*row("price").marks, [Mark::Container { to: Some(_), .. }]), "{:?}", row("price"));
    assert!(
        matches!(&*row("look-up").marks, [Mark::Items { items, .. }] if items.len() == 3),
        "{:?}",
        row("look-up")
    );
    assert!(matches!(*row("buy").marks, [Mark::Container { to: None, .. }]), "{:?}", row("buy"));
    let charge = row("charge");
    assert!(charge.is_here && charge.state == Some(State::Suspended), "{charge:?}");
    assert!(
        matches!(&*charge.marks, [Mark::Attempt { text, .. }, Mark::Here { state: State::Suspended, .. }] if text.contains("declined")),
        "{charge:?}"
    );
    assert_eq!((row("notify").state, row("notify").marks.len()), (None, 0));
    assert_eq!((row("look-up").depth, row("charge").depth, row("notify").depth), (1, 1, 0));
}
