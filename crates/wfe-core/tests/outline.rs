//! Outlines of definitions: every verb as data and in the picture.

#![allow(clippy::unwrap_used, reason = "all of this is test code: it says what it expects by unwrapping it")]

use std::time::Duration;

use serde_json::{Value, json};
use wfe_core::definition::{
    Activity, Definition, Event, Every, IntoStep, OnFailure, Outline, OutputSet, Retry, WorkflowBuilder,
    WorkflowName, task,
};

fn nothing() -> impl IntoStep<u32, Left = OutputSet> {
    task::<u32>().change(|_| ())
}

fn every_verb() -> Definition<u32> {
    WorkflowBuilder::<u32>::new("everything", 3)
        .deadline(Duration::from_hours(24))
        .step("first", nothing())
        .name("The first one")
        .retry(Retry::exponential().attempts(4).jitter(0.0))
        .timeout(Duration::from_millis(1500))
        .blocking("slow", |_, _| Ok(()))
        .for_each("items", |n| (0..*n).collect(), |item| item.then("one-item", async |_, _, _| Ok(())))
        .concurrent(4)
        .if_else(
            "large",
            |n| *n > 10,
            |then| then.step("cut", nothing()),
            |other| other.step("grow", nothing()),
        )
        .if_("huge", |n| *n > 100, |then| then.go_to("again", "slow"))
        .while_("more", |n| *n > 0, |body| body.step("less", nothing()))
        .decide(
            "which",
            |n| *n,
            |by| {
                by.when(1, |one| one.step("is-one", nothing()))
                    .when(2, |two| two.step("is-two", nothing()))
                    .label("a pair")
                    .otherwise(|rest| rest.step("is-other", nothing()))
            },
        )
        .branch("checks", |by| {
            by.when(|n| *n > 1, |one| one.step("check-one", nothing()))
                .when(|n| *n > 2, |two| two.step("check-two", nothing()))
                .label("\"quoted\" <b>")
        })
        .parallel("both", |all| {
            all.branch(|one| one.step("left", nothing())).branch(|two| two.step("right", nothing()))
        })
        .race("fastest", |first| {
            first.branch(|one| one.step("fast", nothing())).branch(|two| two.step("slow-one", nothing()))
        })
        .block("together", |all| {
            all.step("try", nothing()).cancel_branch_when(|n| *n > 7).step("go-on", nothing())
        })
        .saga("booking", |saga| {
            saga.step("flight", nothing())
                .compensate_with(|cancel| cancel.step("cancel-flight", nothing()))
                .step("hotel", nothing())
                .compensate_even_if_failed(|cancel| cancel.step("cancel-hotel", nothing()))
        })
        .fallback(|fallback| fallback.step("apologise", nothing()))
        .after("later", |_| Duration::from_hours(1), |later| later.step("remind", nothing()))
        .recur(
            "poll",
            Every::interval(Duration::from_mins(5)),
            |_| false,
            |tick| tick.step("look", nothing()),
        )
        .delay("rest", |_| Duration::from_secs(1))
        .cancel_branch_when(|n| *n > 9)
        .wait_for("paid", Event::<()>::new("payment"), ToString::to_string)
        .on_timeout(|_| Duration::from_hours(1), |late| late.step("dun", nothing()))
        .activity("print", Activity::<_, ()>::new("printer"), |n| *n)
        .cancel_when(|n| *n == 0)
        .user_task("approve", |_| "May it?")
        .option("yes", |yes| yes.step("grant", nothing()))
        .plain_option("no")
        .escalate(|_| Duration::from_hours(1), |late| late.step("nudge", nothing()))
        .sub_workflow("ship", WorkflowName::new("shipment"), |n| *n)
        .version(2)
        .on_failure(OnFailure::Suspend)
        .end("over")
        .build()
        .unwrap()
}

fn branches(outline: &Outline, step: &str) -> Vec<(String, String)> {
    let step = outline.step(step).unwrap();
    step.branches.iter().map(|branch| (branch.label.clone(), branch.first.clone())).collect()
}

#[test]
fn an_outline_has_every_step_with_its_settings() {
    let definition = every_verb();
    let outline = definition.outline();
    let ids: Vec<_> = outline.steps.iter().map(|step| &*step.id).collect();
    assert_eq!(ids, definition.step_ids().collect::<Vec<_>>());
    assert_eq!(
        (outline.outline, &*outline.id, outline.version, outline.deadline_s),
        (1, "everything", 3, Some(86_400.0))
    );
    assert_eq!(outline.data.type_name, "u32");
    let labels = [
        ("items", vec![("each item", "one-item")]),
        ("large", vec![("then", "cut"), ("else", "grow")]),
        ("more", vec![("while", "less")]),
        ("which", vec![("1", "is-one"), ("a pair", "is-two"), ("otherwise", "is-other")]),
        ("checks", vec![("condition 1", "check-one"), ("\"quoted\" <b>", "check-two")]),
        ("both", vec![("1", "left"), ("2", "right")]),
        ("fastest", vec![("1", "fast"), ("2", "slow-one")]),
        ("together", vec![("all", "try")]),
        ("booking", vec![("all", "flight")]),
        ("later", vec![("later", "remind")]),
        ("poll", vec![("tick", "look")]),
        ("paid", vec![("timeout", "dun")]),
        ("approve", vec![("yes", "grant"), ("escalation", "nudge")]),
    ];
    for (step, expected) in labels {
        let expected: Vec<_> =
            expected.iter().map(|(label, first)| ((*label).to_owned(), (*first).to_owned())).collect();
        assert_eq!(branches(&outline, step), expected, "{step}");
    }
    let of = |id: &str| serde_json::to_value(outline.step(id).unwrap()).unwrap();
    assert_eq!(
        of("first"),
        json!({
            "id": "first", "name": "The first one", "kind": "step", "next": "slow", "timeout_s": 1.5, "on_failure": "fail",
            "retry": {"limit": 3, "initial_s": 1.0, "maximum_s": 300.0, "factor": 2.0, "jitter": 0.0},
        })
    );
    assert_eq!(
        of("slow"),
        json!({"id": "slow", "kind": "step", "next": "items", "on_failure": "fail", "blocking": true})
    );
    assert_eq!(of("items")["parallel"], 4);
    assert_eq!(
        of("again"),
        json!({"id": "again", "kind": "go-to", "in": "huge", "to": "slow", "on_failure": "fail"})
    );
    assert_eq!(
        of("flight"),
        json!({
            "id": "flight", "kind": "step", "in": "booking", "next": "hotel", "compensation": "cancel-flight",
            "on_failure": "compensate",
        })
    );
    assert_eq!(of("cancel-flight")["in"], "flight");
    assert_eq!(
        of("hotel"),
        json!({
            "id": "hotel", "kind": "step", "in": "booking", "compensation": "cancel-hotel", "compensates_unfinished": true,
            "on_failure": "compensate",
        })
    );
    assert_eq!(of("fastest")["kind"], "race");
    assert_eq!(
        of("try"),
        json!({
            "id": "try", "kind": "step", "in": "together", "next": "go-on", "cancellable": true,
            "cancel_ends_branch": true, "on_failure": "fail",
        })
    );
    assert_eq!(
        (&of("booking")["fallback"], &of("booking")["on_failure"]),
        (&json!("apologise"), &json!("continue"))
    );
    assert_eq!(of("poll")["every"], "300s");
    assert_eq!(of("paid")["awaits"], "payment");
    assert_eq!((&of("print")["awaits"], &of("print")["cancellable"]), (&json!("printer"), &json!(true)));
    assert_eq!(of("approve")["options"], json!(["yes", "no"]));
    let ship = of("ship");
    assert_eq!(
        (&ship["awaits"], &ship["child_version"], &ship["on_failure"]),
        (&json!("shipment"), &json!(2), &json!("suspend"))
    );
    assert_eq!(of("over"), json!({"id": "over", "kind": "end", "on_failure": "fail"}));
}

#[test]
fn an_outline_is_read_back_from_json_and_unknown_fields_are_ignored() {
    let outline = every_verb().outline();
    let mut stored = serde_json::to_value(&outline).unwrap();
    stored["a-later-field"] = json!(1);
    stored["steps"][0]["another"] = json!({"x": 1});
    assert_eq!(serde_json::from_value::<Outline>(stored).unwrap(), outline);
    let without: Value = serde_json::to_value(&outline.steps[2]).unwrap();
    assert!(without.get("fallback").is_none(), "absent settings are left out: {without}");
}

#[test]
fn another_retry_policy_gives_another_outline() {
    let one = |attempts| {
        let builder = WorkflowBuilder::<u32>::new("one", 1)
            .step("step", nothing())
            .retry(Retry::exponential().attempts(attempts));
        builder.build().unwrap().outline()
    };
    assert_eq!(one(2), one(2));
    assert_ne!(one(2), one(3));
}

#[test]
fn every_verb_is_drawn() {
    let outline = every_verb().outline();
    for (picture, expected) in [
        (outline.to_mermaid(), include_str!("every_verb.mmd")),
        (outline.to_dot(), include_str!("every_verb.dot")),
    ] {
        assert_eq!(picture, expected, "\n{picture}");
    }
}

#[test]
fn names_in_the_picture_are_escaped() {
    let name = "a\"]; end\nsubgraph x[`**b**`] %% #35; é 日本";
    let definition = WorkflowBuilder::<u32>::new("odd", 1).step("s", nothing()).name(name).build().unwrap();
    let picture = definition.outline().to_mermaid();
    let line = picture.lines().find(|line| line.contains("s0[")).unwrap();
    let text = line.trim().strip_prefix("s0[\"").unwrap().strip_suffix("\"]").unwrap();
    assert!(!text.contains(['"', '[', ']', '`', '%', '*', '\n']), "{text}");
    assert!(text.contains("é 日本"), "{text}");
    assert_eq!(picture.lines().count(), 6, "{picture}");
}

#[test]
fn a_label_before_the_first_branch_is_refused() {
    let builder = WorkflowBuilder::<u32>::new("odd", 1)
        .branch("which", |by| by.label("early").when(|_| true, |one| one.step("one", nothing())));
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("the label \"early\" comes before the first branch"), "{error}");
}

#[test]
fn each_step_of_a_circular_outline_is_drawn_once() {
    let step = |id: &str, next: &str| json!({"id": id, "kind": "step", "next": next, "on_failure": "fail"});
    let stored = json!({
        "outline": 1, "id": "odd", "version": 1, "data": {"type": "u32"}, "steps": [step("one", "two"), step("two", "one")],
    });
    let outline: Outline = serde_json::from_value(stored).unwrap();
    assert_eq!(outline.to_mermaid().matches("[\"one\"]").count(), 1);
    assert_eq!(outline.to_dot().matches("label=\"one\"").count(), 1);
}
