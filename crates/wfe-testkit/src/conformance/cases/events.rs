//! Events.

use wfe_core::{Kind, models::Event};

use super::prelude::*;

cases! { "events":
    an_event_comes_back_as_it_went_in,
    the_store_makes_an_event_id_where_none_is_given,
    an_event_id_that_exists_is_refused_and_nothing_is_written,
    a_missing_event_is_not_found,
    runnable_events_are_the_unprocessed_ones_that_are_due_oldest_first,
    events_of_a_name_and_key_come_oldest_first_processed_ones_too,
    names_and_keys_of_events_are_compared_character_by_character,
    marking_an_event_twice_is_fine,
    marking_an_event_changes_nothing_else,
}

async fn an_event_comes_back_as_it_went_in(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, is_processed) in [("e", false), ("f", true)] {
        let stored = Event { is_processed, ..event(id, "name", "key", second(5)) };
        assert_eq!(store.create_event(&stored).await?, id);
        assert_eq!(store.get_event(id).await?, stored);
    }
    Ok(())
}

async fn the_store_makes_an_event_id_where_none_is_given(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let nameless = event("", "name", "key", second(5));
    let (one, two) = (store.create_event(&nameless).await?, store.create_event(&nameless).await?);
    assert_ne!(one, two);
    for id in [one, two] {
        assert_ne!(id, "");
        assert_eq!(store.get_event(&id).await?, Event { id, ..nameless.clone() });
    }
    Ok(())
}

async fn an_event_id_that_exists_is_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let first = event("e", "name", "key", second(5));
    store.create_event(&first).await?;
    assert_err!(
        store.create_event(&event("e", "other", "other", second(6))).await,
        WfeError::AlreadyExists { kind: Kind::Event, id } if id == "e"
    );
    assert_eq!(store.get_event("e").await?, first);
    assert_eq!(store.get_events("other", "other", second(9)).await?, Vec::<String>::new());
    Ok(())
}

async fn a_missing_event_is_not_found(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event(&event("e", "name", "key", second(5))).await?;
    assert_err!(store.get_event("m").await, WfeError::EventNotFound(id) if id == "m");
    assert_err!(store.mark_event_processed("m").await, WfeError::EventNotFound(id) if id == "m");
    assert_err!(store.mark_event_unprocessed("m").await, WfeError::EventNotFound(id) if id == "m");
    assert_err!(store.get_event("").await, WfeError::EventNotFound(_));
    Ok(())
}

async fn runnable_events_are_the_unprocessed_ones_that_are_due_oldest_first(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, at) in [("c", 30), ("z", 10), ("done", 15), ("y", 20), ("b", -50), ("ahead", 31)] {
        store.create_event(&event(id, "name", id, second(at))).await?;
    }
    store.mark_event_processed("done").await?;
    assert_eq!(store.get_runnable_events(second(30)).await?, ["b", "z", "y", "c"]);
    store.mark_event_unprocessed("done").await?;
    assert_eq!(store.get_runnable_events(second(20)).await?, ["b", "z", "done", "y"]);
    assert_eq!(store.get_runnable_events(second(-51)).await?, Vec::<String>::new());
    Ok(())
}

async fn events_of_a_name_and_key_come_oldest_first_processed_ones_too(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, at) in [("c", 30), ("z", 10), ("y", 20), ("b", -50), ("ahead", 31)] {
        store.create_event(&event(id, "name", "key", second(at))).await?;
    }
    store.create_event(&event("n", "other", "key", second(1))).await?;
    store.create_event(&event("k", "name", "other", second(1))).await?;
    store.mark_event_processed("z").await?;
    assert_eq!(store.get_events("name", "key", second(30)).await?, ["b", "z", "y", "c"]);
    assert_eq!(store.get_events("name", "key", second(10)).await?, ["b", "z"]);
    assert_eq!(store.get_events("key", "name", second(30)).await?, Vec::<String>::new());
    Ok(())
}

async fn names_and_keys_of_events_are_compared_character_by_character(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let texts = ["", "a", "A", "a ", "%", "_", "a'b", "1", "1.0", "ä", "a\u{308}"];
    for name in texts {
        for key in texts {
            store.create_event(&event(&format!("{name}/{key}"), name, key, second(1))).await?;
        }
    }
    for name in texts {
        for key in texts {
            assert_eq!(store.get_events(name, key, second(1)).await?, [format!("{name}/{key}")]);
        }
    }
    Ok(())
}

async fn marking_an_event_twice_is_fine(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event(&event("e", "name", "key", second(5))).await?;
    for _ in 0..2 {
        store.mark_event_processed("e").await?;
        assert!(store.get_event("e").await?.is_processed);
    }
    for _ in 0..2 {
        store.mark_event_unprocessed("e").await?;
        assert!(!store.get_event("e").await?.is_processed);
    }
    Ok(())
}

async fn marking_an_event_changes_nothing_else(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (marked, other) = (event("e", "name", "key", second(5)), event("f", "name", "key", second(5)));
    store.create_event(&marked).await?;
    store.create_event(&other).await?;
    store.mark_event_processed("e").await?;
    assert_eq!(store.get_event("e").await?, Event { is_processed: true, ..marked });
    assert_eq!(store.get_event("f").await?, other);
    Ok(())
}
