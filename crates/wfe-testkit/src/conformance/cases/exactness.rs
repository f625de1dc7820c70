//! Exactness: a value is read exactly as it was written, or is refused when it is written.

use std::fmt::Debug;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use wfe_core::models::{Event, EventSubscription, ExecutionPointer, ScheduledCommand};

use super::prelude::*;

cases! { "exactness":
    extreme_numbers_come_back,
    random_doubles_come_back_bit_for_bit,
    null_is_not_the_same_as_nothing,
    empty_texts_are_not_the_same_as_nothing,
    nul_and_every_kind_of_character_come_back,
    json_of_every_shape_comes_back,
    ten_megabytes_come_back,
    times_come_back_to_the_nanosecond,
    a_time_is_stored_exactly_or_refused,
    milliseconds_come_back_whatever_they_are,
    counts_come_back_whatever_they_are,
    a_position_of_a_step_is_stored_exactly_or_refused,
    json_may_nest_127_deep,
    json_that_nests_128_deep_is_refused_and_nothing_is_stored,
}

/// An instance that has the value in every field that can hold the value.
fn carrying(id: &str, value: &Value) -> WorkflowInstance {
    let some = Some(value.clone());
    let pointer = ExecutionPointer {
        persistence_data: some.clone(),
        event_data: some.clone(),
        context_item: some.clone(),
        outcome: some,
        ..pointer("p")
    };
    WorkflowInstance { data: value.clone(), execution_pointers: vec![pointer], ..instance(id) }
}

/// Stores the value in every kind of row, both when a row is inserted and when it is changed. Asserts that the value is
/// read back unchanged.
async fn comes_back(store: &Store, id: &str, value: &Value) -> Checked<()> {
    let mut carrier = carrying(id, value);
    carrier.execution_pointers[0].extension_attributes = [("a".to_owned(), value.clone())].into();
    store.create_new_workflow(&carrier).await?;
    same_json(&store.get_workflow_instance(id).await?, &carrier)?;
    store.persist_workflow(&instance(id)).await?;
    store.persist_workflow(&carrier).await?;
    same_json(&store.get_workflow_instance(id).await?, &carrier)?;

    let event = Event { event_data: value.clone(), ..event(id, "name", "key", second(1)) };
    store.create_event(&event).await?;
    same_json(&store.get_event(id).await?, &event)?;

    let wait = EventSubscription {
        subscription_data: Some(value.clone()),
        ..wait(id, "i", "name", "key", second(1))
    };
    store.create_event_subscription(&wait).await?;
    same_json(&store.get_subscription(id).await?, &wait)
}

/// Asserts that the values are equal, also in two details that `==` ignores: the exact bits of a floating-point number,
/// and the difference between `1` and `1.0`.
fn same_json<T: PartialEq + Debug + serde::Serialize>(got: &T, wanted: &T) -> Checked<()> {
    assert_eq!(got, wanted);
    assert_eq!(serde_json::to_string(got)?, serde_json::to_string(wanted)?);
    Ok(())
}

async fn extreme_numbers_come_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let whole = json!([0, 1, -1, u64::MAX, i64::MIN, i64::MAX, u64::MAX - 1, 9_007_199_254_740_993_u64]);
    let doubles = [
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        -f64::from_bits(1),
        f64::EPSILON,
        0.0,
        -0.0,
        1.0,
        0.1,
        1e16,
        1e21,
        123_456_789.012_345_68,
        2.225_073_858_507_201e-308,
    ];
    comes_back(&store, "whole", &whole).await?;
    comes_back(&store, "doubles", &json!(doubles)).await?;
    comes_back(&store, "alone", &json!(u64::MAX)).await?;
    comes_back(&store, "alone, double", &json!(-0.0)).await
}

async fn random_doubles_come_back_bit_for_bit(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut random = fastrand::Rng::with_seed(2_026);
    let doubles: Vec<f64> = std::iter::repeat_with(|| f64::from_bits(random.u64(..)))
        .filter(|double| double.is_finite())
        .take(5_000)
        .collect();
    store.create_new_workflow(&carrying("i", &json!(doubles))).await?;
    let stored = store.get_workflow_instance("i").await?;
    let bits = |value: Option<&Value>| -> Vec<Option<u64>> {
        value.and_then(Value::as_array).into_iter().flatten().map(|n| n.as_f64().map(f64::to_bits)).collect()
    };
    let expected: Vec<_> = doubles.iter().map(|double| Some(double.to_bits())).collect();
    assert!(bits(Some(&stored.data)) == expected, "a double in the data has changed");
    let outcome = stored.execution_pointers[0].outcome.as_ref();
    assert!(bits(outcome) == expected, "a double in a pointer has changed");
    Ok(())
}

async fn null_is_not_the_same_as_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    comes_back(&store, "null", &Value::Null).await?;
    let nothing = instance_with("nothing", &["p"]);
    store.create_new_workflow(&nothing).await?;
    assert_eq!(store.get_workflow_instance("nothing").await?, nothing);
    let null = carrying("nothing", &Value::Null);
    store.persist_workflow(&null).await?;
    assert_eq!(store.get_workflow_instance("nothing").await?, null);
    store.persist_workflow(&nothing).await?;
    assert_eq!(store.get_workflow_instance("nothing").await?, nothing);
    let bare = wait("bare", "i", "name", "key", second(1));
    store.create_event_subscription(&bare).await?;
    assert_eq!(store.get_subscription("bare").await?.subscription_data, None);
    Ok(())
}

/// An instance that has this string in every field that can hold the string.
fn written(id: &str, text: &str) -> WorkflowInstance {
    let some = Some(text.to_owned());
    let pointer = ExecutionPointer {
        event_name: some.clone(),
        event_key: some.clone(),
        step_name: some.clone(),
        predecessor_id: some.clone(),
        children: vec![text.to_owned(); 2],
        scope: vec![text.to_owned()],
        extension_attributes: [(text.to_owned(), json!(text))].into(),
        ..pointer(&format!("p{text}"))
    };
    WorkflowInstance {
        name: format!("{id}{text}"),
        workflow_definition_id: text.to_owned(),
        root_workflow_id: some.clone(),
        description: some.clone(),
        reference: some,
        data: json!({ (text): text }),
        execution_pointers: vec![pointer],
        ..instance(&format!("{text}{id}"))
    }
}

async fn text_comes_back(store: &Store, id: &str, text: &str) -> Checked<()> {
    let instance = written(id, text);
    store.create_new_workflow(&instance).await?;
    assert_eq!(store.get_workflow_instance(&instance.id).await?, instance);
    assert_eq!(store.get_workflow_instance_by_name(&instance.name).await?, instance);

    let event = event(&format!("{text}{id}"), text, text, second(1));
    store.create_event(&event).await?;
    assert_eq!(store.get_event(&event.id).await?, event);
    assert_eq!(store.get_events(text, text, second(1)).await?, [event.id]);

    let wait = EventSubscription {
        external_token: Some(text.to_owned()),
        external_worker_id: Some(text.to_owned()),
        execution_pointer_id: text.to_owned(),
        ..wait(&format!("{text}{id}"), text, text, text, second(1))
    };
    store.create_event_subscription(&wait).await?;
    assert_eq!(store.get_subscription(&wait.id).await?, wait);
    assert_eq!(store.get_subscriptions(text, text, second(1)).await?, [wait]);
    assert_eq!(store.next_definition_sequence(text).await?, 1);
    Ok(())
}

async fn empty_texts_are_not_the_same_as_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    text_comes_back(&store, "i", "").await
}

async fn nul_and_every_kind_of_character_come_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let texts = [
        "\0",
        "before\0after",
        "\u{1}\u{7f}\u{85}\r\n\t",
        "\"\\'`;--",
        "\u{feff}ä\u{308}\u{202e}\u{fffd}\u{10ffff}🦀",
        "null",
        "42",
    ];
    for (at, text) in texts.iter().enumerate() {
        text_comes_back(&store, &at.to_string(), text).await?;
    }
    let whole: String = (0..=0xffff_u32).filter_map(char::from_u32).collect();
    comes_back(&store, "every character", &json!(whole)).await
}

async fn json_of_every_shape_comes_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let shapes = [
        json!({}),
        json!([]),
        json!(""),
        json!("null"),
        json!("{\"a\":1}"),
        json!(false),
        json!(1),
        json!(1.0),
        json!({ "": { "": [] }, "a\0b": null, "z": 1, "a": 2, "$serde_json": 3 }),
    ];
    for (at, shape) in shapes.iter().enumerate() {
        comes_back(&store, &at.to_string(), shape).await?;
    }
    Ok(())
}

async fn ten_megabytes_come_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let large = json!({ "text": "0123456789".repeat(1_000_000) });
    let stored = WorkflowInstance { data: large.clone(), ..instance("i") };
    store.create_new_workflow(&stored).await?;
    assert!(store.get_workflow_instance("i").await? == stored, "the data of an instance has changed");
    let stored = Event { event_data: large, ..event("e", "name", "key", second(1)) };
    store.create_event(&stored).await?;
    assert!(store.get_event("e").await? == stored, "the data of an event has changed");
    Ok(())
}

/// Stores an instance, an event and a wait that have this time in each of their time fields, and asserts that they are
/// read back unchanged. If the store refuses one of the three, asserts that this one is not stored. Returns the first
/// error.
async fn time_comes_back(store: &Store, id: &str, time: DateTime<Utc>) -> Checked<Option<WfeError>> {
    let some = Some(time);
    let pointer = ExecutionPointer { sleep_until: some, start_time: some, end_time: some, ..pointer("p") };
    let instance = WorkflowInstance {
        create_time: time,
        complete_time: some,
        execution_pointers: vec![pointer],
        ..instance(id)
    };
    let wait = EventSubscription { external_token_expiry: some, ..wait(id, "i", "name", "key", time) };
    let mut refused = None;
    match store.create_new_workflow(&instance).await {
        Ok(_) => assert_eq!(store.get_workflow_instance(id).await?, instance),
        Err(error) => {
            assert_err!(store.get_workflow_instance(id).await, WfeError::WorkflowNotFound(_));
            refused = Some(error);
        }
    }
    match store.create_event(&event(id, "name", "key", time)).await {
        Ok(_) => assert_eq!(store.get_event(id).await?, event(id, "name", "key", time)),
        Err(error) => {
            assert_err!(store.get_event(id).await, WfeError::EventNotFound(_));
            refused.get_or_insert(error);
        }
    }
    match store.create_event_subscription(&wait).await {
        Ok(_) => assert_eq!(store.get_subscription(id).await?, wait),
        Err(error) => {
            assert_err!(store.get_subscription(id).await, WfeError::SubscriptionNotFound(_));
            refused.get_or_insert(error);
        }
    }
    Ok(refused)
}

async fn times_come_back_to_the_nanosecond(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let epoch = DateTime::<Utc>::UNIX_EPOCH;
    let offsets = [0, 1, -1, 999_999_999, -999_999_999, 1_000_000, i64::MAX / 2, i64::MIN / 2];
    for (at, offset) in offsets.into_iter().enumerate() {
        let time = epoch + TimeDelta::nanoseconds(offset);
        if let Some(refused) = time_comes_back(&store, &at.to_string(), time).await? {
            return Err(refused.into());
        }
    }
    Ok(())
}

async fn a_time_is_stored_exactly_or_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let leap = NaiveDate::from_ymd_opt(2016, 12, 31)
        .and_then(|day| day.and_hms_nano_opt(23, 59, 59, 1_500_000_000))
        .map(|time| time.and_utc());
    let limits = [DateTime::from_timestamp_nanos(i64::MIN), DateTime::from_timestamp_nanos(i64::MAX)];
    let beyond = [limits[0] - TimeDelta::nanoseconds(1), limits[1] + TimeDelta::nanoseconds(1)];
    let extremes = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
    let times = leap.into_iter().chain(limits).chain(beyond).chain(extremes);
    for (at, time) in times.enumerate() {
        let refused = time_comes_back(&store, &at.to_string(), time).await?;
        assert!(matches!(refused, None | Some(WfeError::Unstorable { .. })), "{time}: {refused:?}");
    }
    Ok(())
}

async fn milliseconds_come_back_whatever_they_are(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for ms in [Some(i64::MIN), Some(i64::MAX), Some(0), Some(-1), None] {
        let stored = WorkflowInstance { next_execution: ms, ..instance(&format!("{ms:?}")) };
        store.create_new_workflow(&stored).await?;
        assert_eq!(store.get_workflow_instance(&stored.id).await?, stored);
        if let (Some(ms), true) = (ms, store.supports_scheduled_commands()) {
            store.schedule_command(&ScheduledCommand::process_workflow(ms.to_string(), ms)).await?;
        }
    }
    Ok(())
}

async fn counts_come_back_whatever_they_are(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for count in [0, 1, u32::MAX / 2 + 1, u32::MAX] {
        let mut stored = WorkflowInstance { version: count, ..instance_with(&count.to_string(), &["p"]) };
        stored.execution_pointers[0].retry_count = count;
        stored.execution_pointers[0].step_id = count as usize;
        store.create_new_workflow(&stored).await?;
        assert_eq!(store.get_workflow_instance(&stored.id).await?, stored);
    }
    Ok(())
}

async fn a_position_of_a_step_is_stored_exactly_or_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut far = instance_with("i", &["p"]);
    far.execution_pointers[0].step_id = usize::MAX;
    match store.create_new_workflow(&far).await {
        Ok(_) => assert_eq!(store.get_workflow_instance("i").await?, far),
        refused => {
            assert_err!(refused, WfeError::Unstorable { .. });
            assert_err!(store.get_workflow_instance("i").await, WfeError::WorkflowNotFound(_));
        }
    }
    Ok(())
}

/// A JSON value in which arrays and objects alternate, nested this many levels deep.
fn nested(levels: usize) -> Value {
    (0..levels)
        .fold(json!(1), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) })
}

async fn json_may_nest_127_deep(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let value = nested(127);
    store.create_new_workflow(&carrying("i", &value)).await?;
    assert_eq!(store.get_workflow_instance("i").await?, carrying("i", &value));
    let event = Event { event_data: value.clone(), ..event("e", "name", "key", second(1)) };
    store.create_event(&event).await?;
    assert_eq!(store.get_event("e").await?, event);
    let wait =
        EventSubscription { subscription_data: Some(value), ..wait("w", "i", "name", "key", second(1)) };
    store.create_event_subscription(&wait).await?;
    assert_eq!(store.get_subscription("w").await?, wait);
    Ok(())
}

async fn json_that_nests_128_deep_is_refused_and_nothing_is_stored(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let stored = full_instance("stored", 1);
    store.create_new_workflow(&stored).await?;
    for levels in [128, 129, 1_000] {
        let deep = nested(levels);
        let mut with_data = full_instance("i", 2);
        with_data.data = deep.clone();
        let mut variants = vec![with_data];
        let places: [fn(&mut ExecutionPointer, Value); 5] = [
            |pointer, value| pointer.persistence_data = Some(value),
            |pointer, value| pointer.event_data = Some(value),
            |pointer, value| pointer.context_item = Some(value),
            |pointer, value| pointer.outcome = Some(value),
            |pointer, value| pointer.extension_attributes = [("a".to_owned(), value)].into(),
        ];
        for place in places {
            let mut variant = full_instance("i", 2);
            place(&mut variant.execution_pointers[2], deep.clone());
            variants.push(variant);
        }
        for variant in variants {
            assert_err!(store.create_new_workflow(&variant).await, WfeError::Unstorable { .. });
            assert_err!(store.get_workflow_instance("i").await, WfeError::WorkflowNotFound(_));
            let changed = WorkflowInstance { id: stored.id.clone(), ..variant };
            assert_err!(store.persist_workflow(&changed).await, WfeError::Unstorable { .. });
            assert_eq!(store.get_workflow_instance("stored").await?, stored);
        }
        let event = Event { event_data: deep.clone(), ..event("e", "name", "key", second(1)) };
        assert_err!(store.create_event(&event).await, WfeError::Unstorable { .. });
        assert_err!(store.get_event("e").await, WfeError::EventNotFound(_));
        let wait =
            EventSubscription { subscription_data: Some(deep), ..wait("w", "i", "name", "key", second(1)) };
        assert_err!(store.create_event_subscription(&wait).await, WfeError::Unstorable { .. });
        let changed = full_instance("stored", 2);
        assert_err!(
            store.persist_workflow_with_subscriptions(&changed, &[wait]).await,
            WfeError::Unstorable { .. }
        );
        assert_eq!(store.get_workflow_instance("stored").await?, stored);
        assert_err!(store.get_subscription("w").await, WfeError::SubscriptionNotFound(_));
    }
    Ok(())
}
