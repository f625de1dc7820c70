//! What operators list: which instances a query selects, in which order, and how its pages continue.

use std::collections::BTreeSet;

use wfe_core::traits::{
    Control, InstanceState, InstanceSummary, ListCursor, Management, Order, Query, TextMatch, TimeRange,
    WaitFilter,
};

use super::{prelude::*, retries::end};

cases! { "listings":
    every_instance_is_in_exactly_one_state,
    a_query_selects_what_matches_all_of_its_fields,
    the_instances_of_the_engine_are_listed_on_demand_only,
    pages_lose_and_repeat_nothing_while_instances_start_and_end,
    instances_are_listed_by_their_end,
    instances_are_listed_by_their_due_time,
    a_page_is_as_long_as_asked_for_and_no_longer_than_allowed,
    a_query_that_no_store_can_answer_is_refused,
    a_summary_tells_what_the_instance_waits_for_and_what_it_failed_at,
    an_unknown_instance_has_no_summary,
}

/// The ids that a query selects, in order, read in pages of this length.
async fn pages(store: &dyn Management, query: &Query, limit: usize) -> Checked<Vec<String>> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(query, second(0), after, limit).await?;
        assert!(page.rows.len() <= limit, "{} rows, {limit} asked for", page.rows.len());
        assert!(page.looked_at >= page.rows.len() as u64);
        ids.extend(page.rows.into_iter().map(|row| row.id));
        let Some(next) = page.next else { return Ok(ids) };
        assert_ne!(after, Some(next), "the listing does not continue");
        after = Some(next);
    }
}

/// The ids that a query selects. Checks that the number of rows of a page changes nothing, and that the count is the same.
pub(super) async fn selected(store: &dyn Management, query: &Query) -> Checked<Vec<String>> {
    let ids = pages(store, query, 1).await?;
    for limit in [2, 3, 100] {
        assert_eq!(pages(store, query, limit).await?, ids, "pages of {limit}: {query:?}");
    }
    let count = store.count(query, second(0), 1_000).await?;
    assert_eq!((count.n, count.is_exact), (ids.len() as u64, true), "{query:?}");
    if ids.len() > 1 {
        let capped = store.count(query, second(0), 1).await?;
        assert_eq!((capped.n, capped.is_exact), (1, false), "{query:?}");
    }
    Ok(ids)
}

fn sorted(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

async fn selects(store: &dyn Management, query: Query, expected: &[&str]) -> Checked<()> {
    let found = selected(store, &query).await?;
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), sorted(expected), "{query:?}");
    let oldest = selected(store, &Query { order: Order::Oldest, ..query.clone() }).await?;
    assert!(
        oldest.iter().eq(found.iter().rev()),
        "the oldest first are the newest first, backwards: {query:?}"
    );
    Ok(())
}

/// Ends an instance that is runnable and has no owner.
pub(super) async fn ends(store: &Store, instance: &WorkflowInstance, ending: Ending) -> Checked<()> {
    let (_owner, fence) = owned(store, instance).await?;
    done(store, fence, end(&instance.id, ending)).await
}

/// A store with one instance in each state. The id of each is the name of its state.
async fn one_of_each(store: &Store) -> Checked<Owner> {
    let (owner, _) = owned(store, &instance("running")).await?;
    store.create_new_workflow(&instance("due")).await?;
    let asleep = WorkflowInstance { next_execution: Some(second_ms(1)), ..instance("asleep") };
    store.create_new_workflow(&asleep).await?;
    store.create_new_workflow(&parked("waiting")).await?;
    let (_other, fence) = owned(store, &instance("suspended")).await?;
    let suspends = StepCommit {
        status: Some(WorkflowStatus::Suspended),
        cause: Some(failure("suspended", "p")),
        next_execution: Some(None),
        release: true,
        ..commit("suspended")
    };
    done(store, fence, suspends).await?;
    for (id, ending) in [
        ("completed", Ending::Completed),
        ("failed", Ending::Failed),
        ("cancelled", Ending::Cancelled),
        ("terminated", Ending::Terminated),
    ] {
        ends(store, &instance(id), ending).await?;
    }
    Ok(owner)
}

async fn every_instance_is_in_exactly_one_state(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let _owner = one_of_each(&store).await?;
    let all: Vec<_> = InstanceState::ALL.iter().map(|state| state.name()).collect();
    selects(&*asked, Query::default(), &all).await?;
    for state in InstanceState::ALL {
        let of = |states: Vec<InstanceState>| Query { states, ..Query::default() };
        selects(&*asked, of(vec![state]), &[state.name()]).await?;
        let summary = asked.summary(state.name(), second(0)).await?;
        assert_eq!(summary.state, state);
        for other in InstanceState::ALL.into_iter().filter(|other| *other != state) {
            selects(&*asked, of(vec![state, other]), &[state.name(), other.name()]).await?;
        }
    }
    // One second later, the one that was asleep is due.
    let due = Query { states: vec![InstanceState::Due], ..Query::default() };
    assert_eq!(asked.count(&due, second(1), 9).await?.n, 2);
    Ok(())
}

async fn a_query_selects_what_matches_all_of_its_fields(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let _owner = one_of_each(&store).await?;
    let steps = steps(&store)?;
    let mut other = WorkflowInstance { version: 2, reference: Some("order-7".to_owned()), ..parked("other") };
    other.data = json!({ "note": "50% of A_B\\C" });
    steps.start(None, &other).await?;
    let mut third = WorkflowInstance { reference: Some("order-71".to_owned()), ..parked("third") };
    "bill".clone_into(&mut third.workflow_definition_id);
    third.create_time = second(4);
    "a name".clone_into(&mut third.name);
    steps.start(None, &third).await?;
    let wait = wait("w", "third", "paid", "k", second(0));
    store.create_event_subscription(&wait).await?;
    steps.request("other", Control::Suspend).await?;
    let query = Query::default;
    let text = |text: &str| Query { text: Some(text.to_owned()), ..query() };
    let reference = |reference: TextMatch| Query { reference: Some(reference), ..query() };
    let definition = |id: &str| Query { definition: Some(id.to_owned()), ..query() };
    for (query, expected) in [
        (definition("bill"), &["third"][..]),
        (definition("none"), &[]),
        (Query { version: Some(2), ..definition(DEFINITION) }, &["other"]),
        (reference(TextMatch::Exact("order-7".to_owned())), &["other"]),
        (reference(TextMatch::Prefix("order-7".to_owned())), &["other", "third"]),
        (reference(TextMatch::Prefix("order-71".to_owned())), &["third"]),
        (reference(TextMatch::Prefix("rder".to_owned())), &[]),
        (Query { name: Some("a name".to_owned()), ..query() }, &["third"]),
        (Query { name: Some("third".to_owned()), ..query() }, &[]),
        (Query { id_prefix: Some("t".to_owned()), ..query() }, &["terminated", "third"]),
        (Query { id_prefix: Some("\u{10ffff}".to_owned()), ..query() }, &[]),
        (text("50% of a_b"), &["other"]),
        (text("50% of aXb"), &[]),
        (text("\\\\C"), &["other"]),
        (text("%"), &["other"]),
        (text("\0"), &[]),
        (Query { requested: true, ..query() }, &["other"]),
        (Query { created: TimeRange { from: Some(second(4)), until: None }, ..query() }, &["third"]),
        (Query { created: TimeRange { from: Some(second(3)), until: Some(second(4)) }, ..query() }, &[]),
        (
            Query { completed: TimeRange { from: Some(second(5)), until: Some(second(6)) }, ..query() },
            &["completed", "failed", "cancelled", "terminated"],
        ),
        (Query { completed: TimeRange { from: None, until: Some(second(5)) }, ..query() }, &[]),
        (Query { code: Some(failure("x", "p").code), ..query() }, &["suspended", "failed"]),
        (Query { code: Some("none".to_owned()), ..query() }, &[]),
        (
            Query {
                failed_at: Some(failure("x", "p").step),
                states: vec![InstanceState::Failed, InstanceState::Waiting],
                ..query()
            },
            &["failed"],
        ),
        (
            Query { waits: Some(WaitFilter::Event { name: "paid".to_owned(), key: None }), ..query() },
            &["third"],
        ),
        (
            Query {
                waits: Some(WaitFilter::Event { name: "paid".to_owned(), key: Some("none".to_owned()) }),
                ..query()
            },
            &[],
        ),
        (Query { waits: Some(WaitFilter::Timer), ..query() }, &["asleep"]),
        (Query { waits: Some(WaitFilter::Nobody), ..query() }, &["waiting"]),
        (Query { waits: Some(WaitFilter::Task), ..query() }, &[]),
        (Query { parent: Some("due".to_owned()), ..query() }, &[]),
        (Query { acknowledged: Some(false), ..query() }, &["suspended", "failed"]),
        (Query { acknowledged: Some(true), ..query() }, &[]),
    ] {
        selects(&*asked, query, expected).await?;
    }
    Ok(())
}

async fn the_instances_of_the_engine_are_listed_on_demand_only(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let of_engine =
        |id: &str| WorkflowInstance { workflow_definition_id: "wfe.schedule".to_owned(), ..instance(id) };
    store.create_new_workflow(&of_engine("its")).await?;
    ends(&store, &of_engine("ended"), Ending::Failed).await?;
    store.create_new_workflow(&instance("ours")).await?;
    selects(&*asked, Query::default(), &["ours"]).await?;
    selects(&*asked, Query { include_own: true, ..Query::default() }, &["its", "ended", "ours"]).await?;
    assert_eq!(asked.summary("its", second(0)).await?.id, "its");
    let open = asked.open_counts(second(0)).await?;
    assert_eq!(open.iter().map(|of| of.count).sum::<u64>(), 1, "{open:?}");
    let range = TimeRange { from: Some(second(0)), until: Some(second(60)) };
    assert_eq!(asked.ended_counts(range, std::time::Duration::from_mins(1)).await?, []);
    assert_eq!(asked.failure_groups(&Query::default(), second(0)).await?.rows, []);
    Ok(())
}

async fn pages_lose_and_repeat_nothing_while_instances_start_and_end(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for number in 0..12 {
        store.create_new_workflow(&parked(&format!("i{number}"))).await?;
    }
    let all: Vec<_> = (0..12).map(|number| format!("i{number}")).collect();
    for (round, order) in [Order::Newest, Order::Oldest].into_iter().enumerate() {
        let query = Query { order, definition: Some(DEFINITION.to_owned()), ..Query::default() };
        let (mut seen, mut after, mut number) = (Vec::new(), None, 0);
        loop {
            let page = asked.list(&query, second(0), after, 3).await?;
            seen.extend(page.rows.into_iter().map(|row| row.id));
            // Others start and end meanwhile.
            ends(&store, &instance(&format!("new-{round}-{number}")), Ending::Completed).await?;
            number += 1;
            after = page.next;
            if after.is_none() || number > 30 {
                break;
            }
        }
        let ours: Vec<_> = seen.iter().filter(|id| all.contains(id)).cloned().collect();
        let expected: Vec<_> =
            if order == Order::Newest { all.iter().rev().cloned().collect() } else { all.clone() };
        assert_eq!(ours, expected, "{order:?}");
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "an instance was repeated: {seen:?}");
    }
    // A cursor that was printed and parsed is the same.
    let page = asked.list(&Query::default(), second(0), None, 3).await?;
    let Some(next) = page.next else { unmet("the first page of many is the last") };
    let parsed: ListCursor = next.to_string().parse()?;
    let [one, other] = [next, parsed].map(Some);
    let query = Query::default();
    assert_eq!(asked.list(&query, second(0), one, 3).await?, asked.list(&query, second(0), other, 3).await?);
    Ok(())
}

async fn instances_are_listed_by_their_end(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for (id, ended) in [("a", 5), ("b", 9), ("c", 7), ("d", 7)] {
        let (_owner, fence) = owned(&store, &instance(id)).await?;
        let ending = if id == "c" { Ending::Failed } else { Ending::Completed };
        done(&store, fence, StepCommit { complete_time: Some(second(ended)), ..end(id, ending) }).await?;
    }
    store.create_new_workflow(&instance("open")).await?;
    let query = Query { order: Order::LastEnded, ..Query::default() };
    assert_eq!(selected(&*asked, &query).await?, ["b", "d", "c", "a"]);
    let failed = Query { states: vec![InstanceState::Failed], ..query.clone() };
    assert_eq!(selected(&*asked, &failed).await?, ["c"]);
    let completed = TimeRange { from: Some(second(7)), until: Some(second(9)) };
    assert_eq!(selected(&*asked, &Query { completed, ..query.clone() }).await?, ["d", "c"]);
    let named = Query { id_prefix: Some("c".to_owned()), ..query };
    assert_eq!(selected(&*asked, &named).await?, ["c"]);
    Ok(())
}

async fn instances_are_listed_by_their_due_time(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for (id, due) in [("a", 3), ("b", -2), ("c", 1), ("d", 1)] {
        let due = WorkflowInstance { next_execution: Some(second_ms(due)), ..instance(id) };
        store.create_new_workflow(&due).await?;
    }
    store.create_new_workflow(&parked("waiting")).await?;
    let query = Query { order: Order::FirstDue, ..Query::default() };
    assert_eq!(selected(&*asked, &query).await?, ["b", "c", "d", "a"]);
    let due = Query { states: vec![InstanceState::Due], ..query.clone() };
    assert_eq!(selected(&*asked, &due).await?, ["b"]);
    let page = asked.list(&query, second(0), None, 1).await?;
    assert_eq!(page.rows[0].due, Some(second(-2)));
    Ok(())
}

async fn a_page_is_as_long_as_asked_for_and_no_longer_than_allowed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for number in 0..3 {
        store.create_new_workflow(&parked(&number.to_string())).await?;
    }
    let query = Query::default();
    for (limit, rows, is_last) in
        [(0, 0, true), (1, 1, false), (2, 2, false), (4, 3, true), (usize::MAX, 3, true)]
    {
        let page = asked.list(&query, second(0), None, limit).await?;
        assert_eq!((page.rows.len(), page.next.is_none(), page.is_whole), (rows, is_last, true), "{limit}");
    }
    let beyond = ListCursor { key: 0, seq: 0 };
    assert_eq!(asked.list(&query, second(0), Some(beyond), 9).await?.rows, []);
    let all = ListCursor { key: i64::MIN, seq: u64::MAX };
    asked.list(&query, second(0), Some(all), 9).await?;
    Ok(())
}

async fn a_query_that_no_store_can_answer_is_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let query = Query { version: Some(1), ..Query::default() };
    assert_err!(asked.list(&query, second(0), None, 9).await, WfeError::Invalid(_));
    assert_err!(asked.count(&query, second(0), 9).await, WfeError::Invalid(_));
    assert_err!(asked.failure_groups(&query, second(0)).await, WfeError::Invalid(_));
    Ok(())
}

async fn a_summary_tells_what_the_instance_waits_for_and_what_it_failed_at(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let _owner = one_of_each(&store).await?;
    for (id, name) in [("w1", "paid"), ("w2", "shipped")] {
        store.create_event_subscription(&wait(id, "waiting", name, "k", second(0))).await?;
    }
    let mut listed: Vec<InstanceSummary> = asked.list(&Query::default(), second(0), None, 99).await?.rows;
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    for summary in &listed {
        assert_eq!(&asked.summary(&summary.id, second(0)).await?, summary);
        assert_eq!((summary.definition.as_str(), summary.version), (DEFINITION, 1));
        assert_eq!((summary.create_time, summary.name.as_str()), (second(0), summary.id.as_str()));
        assert_eq!(summary.complete_time.is_some(), summary.state.is_final());
        assert_eq!(summary.owner.is_some(), summary.state == InstanceState::Running);
        let has_failed = [InstanceState::Suspended, InstanceState::Failed].contains(&summary.state);
        assert_eq!(summary.cause.is_some(), has_failed, "{summary:?}");
        if let Some(cause) = &summary.cause {
            let failure = failure(&summary.id, "p");
            assert_eq!(
                (&cause.step, &cause.code, cause.attempt),
                (&failure.step, &failure.code, failure.attempt)
            );
            assert_eq!(cause.time, failure.error.error_time);
            assert!(!summary.is_acknowledged);
        }
        let waits = summary.waits.as_ref().map(|waits| (waits.name.as_str(), waits.count));
        assert_eq!(waits, (summary.id == "waiting").then_some(("paid", 2)));
    }
    Ok(())
}

async fn an_unknown_instance_has_no_summary(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    assert_err!(asked.summary("none", second(0)).await, WfeError::WorkflowNotFound(id) if id == "none");
    assert_err!(asked.history("none", None, 9).await, WfeError::WorkflowNotFound(id) if id == "none");
    Ok(())
}
