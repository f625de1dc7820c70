//! What operators do: an action and the record of it are stored together, or neither is.

use serde_json::Map;
use wfe_core::{
    models::Event,
    traits::{
        AUDIT, Acted, Action, Audit, AuditFilter, AuditRecord, Control, Cursor, EventFilter, Expected, Face,
        InstanceState, Intervention, Known, Management, Query, Requested, TimeRange,
    },
};

use super::{
    listings::{ends, selected},
    prelude::*,
    retries::{end, ended},
};

cases! { "acting":
    each_action_is_stored_with_its_record,
    an_action_that_changes_nothing_leaves_no_record,
    an_action_that_fails_leaves_no_record_and_changes_nothing,
    records_are_listed_newest_first_by_instance_actor_action_and_time,
    a_record_is_an_event_of_the_engine_that_no_instance_receives,
    a_failure_is_acknowledged_until_the_instance_fails_again,
    a_claim_can_be_taken_away_from_its_worker,
}

fn audit(action: &str) -> Audit {
    let mut audit = Audit::new("ann@host", Face::Cli, action);
    audit.reason = Some("a \"reason\"".to_owned());
    audit.detail = json!({ "n": 1.5 });
    audit
}

/// All records, the newest first.
async fn records(store: &dyn Management) -> Checked<Vec<AuditRecord>> {
    Ok(store.audit(&AuditFilter::default(), None, 500).await?.rows)
}

/// Acts, and checks that exactly one record was stored, or none.
async fn acts(store: &dyn Management, action: Action<'_>, is_recorded: bool) -> Checked<Acted> {
    let before = records(store).await?;
    let audit = audit(&format!("number {}", before.len())).of("an instance");
    let what = format!("{action:?}");
    let acted = store.act(action, &audit).await?;
    let after = records(store).await?;
    assert_eq!(after.len(), before.len() + usize::from(is_recorded), "{what}: {acted:?}");
    if is_recorded {
        assert_eq!((&after[0].audit, after[0].time), (&audit, second(0)), "{what}");
    }
    Ok(acted)
}

fn suspended(id: &str) -> WorkflowInstance {
    WorkflowInstance { status: WorkflowStatus::Suspended, ..parked(id) }
}

/// The commit that makes an ended instance runnable again.
fn again(id: &str) -> StepCommit {
    StepCommit {
        status: Some(WorkflowStatus::Runnable),
        next_execution: Some(Some(second_ms(9))),
        upserted: vec![pointer("q")],
        release: true,
        ..commit(id)
    }
}

async fn each_action_is_stored_with_its_record(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let steps = steps(&store)?;
    assert_eq!(acts(&*asked, Action::Note, true).await?, Acted::Noted);

    store.create_new_workflow(&parked("i")).await?;
    let suspend = Action::Request { id: "i", control: Control::Suspend, intervention: None };
    assert_eq!(acts(&*asked, suspend, true).await?, Acted::Requested(Requested::Accepted));
    assert_eq!(steps.load("i").await?.control.map(|request| request.control), Some(Control::Suspend));
    store.create_new_workflow(&suspended("s")).await?;
    let skip = Intervention::Skip;
    let skips = Action::Request { id: "s", control: Control::Resume, intervention: Some(&skip) };
    acts(&*asked, skips, true).await?;
    assert_eq!(steps.load("s").await?.control.and_then(|request| request.intervention), Some(skip));

    let attributes = Map::from_iter([("customer".to_owned(), json!("acme"))]);
    let new = WorkflowInstance { reference: Some("r".to_owned()), ..instance("new") };
    let start = Action::Start { instance: &new, known: Known::Existing, attributes: &attributes };
    let Acted::Started(started) = acts(&*asked, start, true).await? else { unmet("no start") };
    assert!(started.is_new && started.fence.is_none());
    assert_eq!(steps.find(DEFINITION, "r").await?, Some("new".to_owned()));
    assert_eq!(asked.summary("new", second(0)).await?.attributes, attributes);
    let by = |value: Value| Query { attributes: vec![("customer".to_owned(), value)], ..Query::default() };
    assert_eq!(selected(&*asked, &by(json!("acme"))).await?, ["new"]);
    assert_eq!(selected(&*asked, &by(json!("acm"))).await?, Vec::<String>::new());

    let revision = ended(&store, &instance("failed"), Ending::Failed).await?;
    let reopen = Action::Reopen { revision, at: second(8), step: &again("failed") };
    acts(&*asked, reopen, true).await?;
    assert_eq!(steps.load("failed").await?.ending, None);

    ends(&store, &instance("over"), Ending::Failed).await?;
    let next = instance("next");
    let Acted::Started(started) =
        acts(&*asked, Action::Restart { of: "over", instance: &next }, true).await?
    else {
        unmet("no restart")
    };
    assert_eq!((started.id.as_str(), started.restart_of.as_deref()), ("next", Some("over")));

    store.create_new_workflow(&WorkflowInstance { name: "n".to_owned(), ..parked("old") }).await?;
    let old = Expected { id: "old".to_owned(), revision: steps.load("old").await?.revision, request: None };
    let successor = WorkflowInstance { name: "n".to_owned(), ..parked("successor") };
    let replaced = acts(&*asked, Action::Replace { old: &old, new: &successor }, true).await?;
    assert_eq!(replaced, Acted::Replaced(Some("successor".to_owned())));

    let event = Event { id: "e".to_owned(), ..Event::new("paid", "7", json!(1)) };
    let publish = Action::Publish { event: &event, is_dated: false, receiver: None };
    let Acted::Published(published) = acts(&*asked, publish, true).await? else { unmet("nothing published") };
    assert!(published.is_new);
    assert_eq!(store.get_event("e").await?.event_name, "paid");

    store.create_event_subscription(&wait("w", "i", "wfe.user-task", "w", second(0))).await?;
    let answer = super::prelude::event("answer", "wfe.user-task", "w", second(0));
    let answers = || Action::Answer { wait: "w", token: None, event: &answer };
    assert_eq!(acts(&*asked, answers(), true).await?, Acted::Answered(true));
    assert_eq!(acts(&*asked, answers(), false).await?, Acted::Answered(false));

    ends(&store, &instance("gone"), Ending::Completed).await?;
    let Acted::Deleted(report) = acts(&*asked, Action::Delete { id: "gone" }, true).await? else {
        unmet("nothing deleted")
    };
    assert_eq!(report.instances, 1);
    assert_err!(asked.summary("gone", second(0)).await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn an_action_that_changes_nothing_leaves_no_record(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let steps = steps(&store)?;
    store.create_new_workflow(&suspended("s")).await?;
    let suspend = Action::Request { id: "s", control: Control::Suspend, intervention: None };
    assert_eq!(acts(&*asked, suspend, false).await?, Acted::Requested(Requested::Redundant));

    let new = WorkflowInstance { reference: Some("r".to_owned()), ..instance("new") };
    steps.start(None, &new).await?;
    let again_ = WorkflowInstance { id: "other".to_owned(), name: "other".to_owned(), ..new };
    let start = Action::Start { instance: &again_, known: Known::Existing, attributes: &Map::new() };
    let Acted::Started(started) = acts(&*asked, start, false).await? else { unmet("no start") };
    assert!(!started.is_new);

    let revision = ended(&store, &instance("failed"), Ending::Failed).await?;
    let reopen = Action::Reopen { revision: revision + 1, at: second(8), step: &again("failed") };
    acts(&*asked, reopen, false).await?;

    let old = Expected { id: "s".to_owned(), revision: 99, request: None };
    let successor = parked("successor");
    let replaced = acts(&*asked, Action::Replace { old: &old, new: &successor }, false).await?;
    assert_eq!(replaced, Acted::Replaced(None));

    let event = Event { id: "e".to_owned(), ..Event::new("paid", "7", json!(1)) };
    let publish = || Action::Publish { event: &event, is_dated: false, receiver: None };
    acts(&*asked, publish(), true).await?;
    acts(&*asked, publish(), false).await?;
    Ok(())
}

async fn an_action_that_fails_leaves_no_record_and_changes_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    store.create_new_workflow(&parked("open")).await?;
    ends(&store, &instance("completed"), Ending::Completed).await?;
    let audit = audit("tries");
    let skip = Intervention::Skip;
    let taken = instance("open");
    let event = Event { id: "e".to_owned(), ..Event::new("paid", "7", json!(1)) };
    for action in [
        Action::Request { id: "none", control: Control::Suspend, intervention: None },
        Action::Request { id: "completed", control: Control::Suspend, intervention: None },
        Action::Request { id: "open", control: Control::Resume, intervention: Some(&skip) },
        Action::Start { instance: &taken, known: Known::Existing, attributes: &Map::new() },
        Action::Restart { of: "open", instance: &instance("new") },
        Action::Reopen { revision: 1, at: second(8), step: &again("none") },
        Action::Publish { event: &event, is_dated: false, receiver: Some("completed") },
        Action::Publish { event: &event, is_dated: false, receiver: Some("none") },
        Action::Answer { wait: "none", token: None, event: &super::prelude::event("a", "n", "k", second(0)) },
        Action::Release { wait: "none" },
        Action::Acknowledge { id: "none", acknowledged: true },
        Action::Acknowledge { id: "open", acknowledged: true },
        Action::Delete { id: "none" },
        Action::Delete { id: "open" },
    ] {
        let what = format!("{action:?}");
        assert!(asked.act(action, &audit).await.is_err(), "{what}");
        assert_eq!(records(&*asked).await?, [], "{what}");
    }
    assert_err!(store.get_event("e").await, WfeError::EventNotFound(_));
    let mut left = selected(&*asked, &Query::default()).await?;
    left.sort();
    assert_eq!(left, ["completed", "open"]);
    Ok(())
}

async fn records_are_listed_newest_first_by_instance_actor_action_and_time(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for (number, (actor, action, of)) in (0..).zip([
        ("ann", "suspend", Some("i")),
        ("bob", "suspend", Some("j")),
        ("ann", "backup", None),
        ("ann", "resume", Some("i")),
    ]) {
        bench.clock.set(second(number));
        let mut audit = Audit::new(actor, Face::Program, action);
        audit.instance = of.map(str::to_owned);
        asked.act(Action::Note, &audit).await?;
    }
    let all = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let range = TimeRange { from: Some(second(1)), until: Some(second(3)) };
    for (filter, expected) in [
        (all(), &[3, 2, 1, 0][..]),
        (AuditFilter { instance: text("i"), ..all() }, &[3, 0]),
        (AuditFilter { instance: text(Audit::STORE), ..all() }, &[2]),
        (AuditFilter { instance: text("none"), ..all() }, &[]),
        (AuditFilter { actor: text("ann"), ..all() }, &[3, 2, 0]),
        (AuditFilter { action: text("suspend"), ..all() }, &[1, 0]),
        (AuditFilter { action: text("suspend"), actor: text("ann"), ..all() }, &[0]),
        (AuditFilter { time: range, ..all() }, &[2, 1]),
    ] {
        for limit in [1, 2, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = asked.audit(&filter, after, limit).await?;
                assert!(page.rows.len() <= limit);
                found.extend(page.rows.iter().map(|record| (record.time - second(0)).num_seconds()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter:?}, {limit}");
        }
    }
    assert_eq!(asked.audit(&all(), Some(Cursor(0)), 9).await?.rows, []);
    Ok(())
}

async fn a_record_is_an_event_of_the_engine_that_no_instance_receives(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    store.create_new_workflow(&parked("i")).await?;
    asked.act(Action::Note, &audit("notes").of("i")).await?;
    asked.act(Action::Note, &audit("notes")).await?;
    assert_eq!(asked.events(&EventFilter::default(), None, 9).await?.rows, []);
    let named = EventFilter { name: Some(AUDIT.to_owned()), ..EventFilter::default() };
    let rows = asked.events(&named, None, 9).await?.rows;
    let keys: Vec<_> =
        rows.iter().map(|row| (row.event.event_key.as_str(), row.event.is_processed)).collect();
    assert_eq!(keys, [(Audit::STORE, true), ("i", true)]);
    assert!(rows.iter().all(|row| row.event.id.starts_with("wfe.audit:") && row.position.is_some()));
    assert_eq!(store.get_runnable_events(second(9)).await?, Vec::<String>::new());
    Ok(())
}

async fn a_failure_is_acknowledged_until_the_instance_fails_again(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let steps = steps(&store)?;
    for id in ["i", "j"] {
        ends(&store, &instance(id), Ending::Failed).await?;
    }
    let by = |acknowledged| Query { acknowledged: Some(acknowledged), ..Query::default() };
    let acknowledge = |acknowledged| Action::Acknowledge { id: "i", acknowledged };
    assert_eq!(acts(&*asked, acknowledge(false), false).await?, Acted::Acknowledged(false));
    let before = steps.load("i").await?;
    assert_eq!(acts(&*asked, acknowledge(true), true).await?, Acted::Acknowledged(true));
    assert_eq!(acts(&*asked, acknowledge(true), false).await?, Acted::Acknowledged(false));
    assert_eq!(selected(&*asked, &by(true)).await?, ["i"]);
    assert_eq!(selected(&*asked, &by(false)).await?, ["j"]);
    let summary = asked.summary("i", second(0)).await?;
    assert!(summary.is_acknowledged && summary.attributes.is_empty(), "{summary:?}");
    // Nothing else has changed, and a read does not return what was stored before.
    let after = steps.load("i").await?;
    assert!(after.revision > before.revision);
    assert_eq!(after.instance, before.instance);
    let groups = asked.failure_groups(&by(false), second(0)).await?.rows;
    assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), 1);

    // It runs again, and fails again.
    steps.reopen(after.revision, second(8), &again("i")).await?;
    assert!(!asked.summary("i", second(0)).await?.is_acknowledged);
    assert_err!(asked.act(acknowledge(true), &audit("acknowledge")).await, WfeError::Invalid(_));
    let owner = steps.register().await?;
    let claimed = steps.claim(&owner, &definitions(), second(9), 9).await?;
    let mut cause = failure("i", "p");
    cause.error.error_time = second(9);
    let fails = StepCommit { cause: Some(cause), ..end("i", Ending::Failed) };
    done(&store, claimed[0].fence, fails).await?;
    let states = vec![InstanceState::Failed];
    assert_eq!(
        selected(&*asked, &Query { states, ..by(false) }).await?,
        ["i", "j"].map(str::to_owned).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(acts(&*asked, acknowledge(true), true).await?, Acted::Acknowledged(true));
    assert_eq!(acts(&*asked, acknowledge(false), true).await?, Acted::Acknowledged(true));
    assert_eq!(selected(&*asked, &by(true)).await?, Vec::<String>::new());
    Ok(())
}

async fn a_claim_can_be_taken_away_from_its_worker(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let steps = steps(&store)?;
    store.create_new_workflow(&parked("i")).await?;
    store.create_event_subscription(&wait("w", "i", "wfe.activity:pack", "w", second(0))).await?;
    let release = || Action::Release { wait: "w" };
    assert_eq!(acts(&*asked, release(), false).await?, Acted::Released(false));
    let claim = async |token: &str| steps.claim_wait("wfe.activity:pack", token, "worker", second(60)).await;
    assert!(claim("one").await?.is_some());
    assert!(claim("two").await?.is_none());
    assert_eq!(acts(&*asked, release(), true).await?, Acted::Released(true));
    assert!(claim("two").await?.is_some());
    store.terminate_subscription("w").await?;
    assert_err!(asked.act(release(), &audit("release")).await, WfeError::SubscriptionNotFound(_));
    Ok(())
}
