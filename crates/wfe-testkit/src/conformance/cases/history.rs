//! Finished pointers and the items of containers: stored separately from the live instance, and read in pages.

use wfe_core::traits::Items;

use super::prelude::*;

cases! { "history":
    completion_numbers_count_the_whole_instance_in_order,
    history_comes_by_its_innermost_container,
    history_comes_in_pages,
    a_pointer_comes_back_from_history_as_it_left,
    history_of_an_unknown_instance_or_container_is_empty,
    history_of_two_instances_is_apart,
    plain_writes_do_not_change_history,
    items_come_back_in_order_from_any_position,
    items_come_in_pages_without_gap_or_repetition,
    large_items_come_in_pages_of_at_least_one,
    items_of_two_containers_and_of_two_instances_are_apart,
    items_of_an_unknown_container_are_none,
    a_container_may_have_no_items,
    items_come_back_as_they_went_in,
    plain_writes_do_not_change_items,
}

async fn finish(store: &Store, fence: Fence, pointers: &[(&str, &[&str])]) -> Checked<()> {
    let finished = pointers.iter().map(|(id, scope)| finished_pointer(id, scope)).collect();
    done(store, fence, StepCommit { finished, ..commit("i") }).await
}

async fn page(store: &Store, container: &str, after: u64, limit: usize) -> Checked<Vec<(u64, String)>> {
    let rows = finished_rows(store, "i", container, after, limit).await?;
    Ok(rows.into_iter().map(|row| (row.number, row.pointer.id)).collect())
}

fn rows(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
    rows.iter().map(|&(number, id)| (number, id.to_owned())).collect()
}

async fn completion_numbers_count_the_whole_instance_in_order(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["z", "y", "x", "box"])).await?;
    finish(&store, fence, &[("z", &[]), ("x", &["box"])]).await?;
    finish(&store, fence, &[]).await?;
    finish(&store, fence, &[("y", &["box"]), ("box", &[])]).await?;
    assert_eq!(page(&store, "", 0, 9).await?, rows(&[(1, "z"), (4, "box")]));
    assert_eq!(page(&store, "box", 0, 9).await?, rows(&[(2, "x"), (3, "y")]));
    Ok(())
}

async fn history_comes_by_its_innermost_container(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    finish(&store, fence, &[("a", &["outer", "inner"]), ("b", &["outer"]), ("c", &[]), ("d", &["inner"])])
        .await?;
    assert_eq!(page(&store, "inner", 0, 9).await?, rows(&[(1, "a"), (4, "d")]));
    assert_eq!(page(&store, "outer", 0, 9).await?, rows(&[(2, "b")]));
    assert_eq!(page(&store, "", 0, 9).await?, rows(&[(3, "c")]));
    Ok(())
}

async fn history_comes_in_pages(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let mut expected = Vec::new();
    for n in 1..=25_u64 {
        let id = format!("p{n}");
        // Other pointers finish in between, so that the numbers on a page have gaps.
        finish(&store, fence, &[(&id, &["box"]), (&format!("other {n}"), &["other"])]).await?;
        expected.push((2 * n - 1, id));
    }
    let mut read = Vec::new();
    loop {
        let after = read.last().map_or(0, |(number, _): &(u64, String)| *number);
        let next = page(&store, "box", after, 10).await?;
        if next.is_empty() {
            break;
        }
        assert_eq!(next.len(), (expected.len() - read.len()).min(10));
        read.extend(next);
    }
    assert_eq!(read, expected);
    assert_eq!(page(&store, "box", 4, 1).await?, rows(&[(5, "p3")]));
    Ok(())
}

async fn a_pointer_comes_back_from_history_as_it_left(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["p", "q"])).await?;
    let mut null = finished_pointer("q", &["inner"]);
    null.outcome = Some(Value::Null);
    let gone = [full_pointer("p", 1), null, full_pointer("new", 2)];
    done(&store, fence, StepCommit { finished: gone.to_vec(), ..commit("i") }).await?;
    let stored = finished_rows(&store, "i", "inner", 0, 9).await?;
    let expected: Vec<_> = (1..).zip(gone).map(|(number, pointer)| Finished { number, pointer }).collect();
    assert_eq!(stored, expected);
    Ok(())
}

async fn history_of_an_unknown_instance_or_container_is_empty(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    assert_eq!(page(&store, "", 0, 9).await?, rows(&[]));
    finish(&store, fence, &[("a", &["box"])]).await?;
    assert_eq!(page(&store, "unknown", 0, 9).await?, rows(&[]));
    assert_eq!(page(&store, "", 0, 9).await?, rows(&[]));
    assert_eq!(page(&store, "box", 1, 9).await?, rows(&[]));
    assert_eq!(page(&store, "box", u64::MAX, 9).await?, rows(&[]));
    assert_eq!(finished_rows(&store, "unknown", "box", 0, 9).await?, []);
    Ok(())
}

async fn history_of_two_instances_is_apart(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["p"])).await?;
    let (_other, other) = owned(&store, &instance_with("j", &["p"])).await?;
    finish(&store, fence, &[("p", &["box"])]).await?;
    assert_eq!(finished_rows(&store, "j", "box", 0, 9).await?, []);
    let finished = vec![full_pointer("q", 1), finished_pointer("p", &["box"])];
    done(&store, other, StepCommit { finished, ..commit("j") }).await?;
    assert_eq!(page(&store, "box", 0, 9).await?, rows(&[(1, "p")]));
    let theirs = finished_rows(&store, "j", "box", 0, 9).await?;
    assert_eq!(theirs, [Finished { number: 2, pointer: finished_pointer("p", &["box"]) }]);
    Ok(())
}

async fn plain_writes_do_not_change_history(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["a", "b"])).await?;
    finish(&store, fence, &[("a", &[])]).await?;
    for pointers in [&["b", "c"][..], &[], &["a", "z"]] {
        store.persist_workflow(&instance_with("i", pointers)).await?;
        assert_eq!(store.get_workflow_instance("i").await?, instance_with("i", pointers));
        assert_eq!(page(&store, "", 0, 9).await?, rows(&[(1, "a")]));
    }
    finish(&store, fence, &[("z", &[])]).await?;
    assert_eq!(page(&store, "", 0, 9).await?, rows(&[(1, "a"), (2, "z")]));
    Ok(())
}

async fn store_items(
    store: &Store,
    fence: Fence,
    id: &str,
    container: &str,
    values: &[Value],
) -> Checked<()> {
    let items = vec![Items { container: container.to_owned(), values: values.to_vec() }];
    done(store, fence, StepCommit { items, ..commit(id) }).await
}

/// Reads all items from this index on, page by page.
async fn all_items(store: &Store, from: u64, limit: usize) -> Checked<Vec<Value>> {
    let mut read = Vec::new();
    loop {
        let next = steps(store)?.items("i", "box", from + read.len() as u64, limit).await?;
        assert!(next.len() <= limit);
        if next.is_empty() {
            return Ok(read);
        }
        read.extend(next);
    }
}

async fn items_come_back_in_order_from_any_position(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["box"])).await?;
    let values: Vec<_> = (0..1_000).map(|n| json!({ "n": n })).collect();
    store_items(&store, fence, "i", "box", &values).await?;
    for from in [0, 1, 255, 256, 257, 511, 998, 999] {
        assert_eq!(all_items(&store, from, 100).await?, values[usize::try_from(from)?..], "from {from}");
    }
    for beyond in [1_000, 1_001, u64::MAX] {
        assert_eq!(steps(&store)?.items("i", "box", beyond, 9).await?, Vec::<Value>::new());
    }
    assert_eq!(store.get_workflow_instance("i").await?, instance_with("i", &["box"]));
    Ok(())
}

async fn items_come_in_pages_without_gap_or_repetition(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let values: Vec<_> = (0..700).map(|n| json!(n)).collect();
    store_items(&store, fence, "i", "box", &values).await?;
    for limit in [3, 64, 256, 699, 700, 5_000] {
        assert_eq!(all_items(&store, 0, limit).await?, values, "{limit} at a time");
    }
    assert_eq!(steps(&store)?.items("i", "box", 300, 1).await?, values[300..301]);
    Ok(())
}

async fn large_items_come_in_pages_of_at_least_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let values: Vec<_> = (0..30).map(|n| json!(format!("{n}:{}", "x".repeat(100_000)))).collect();
    store_items(&store, fence, "i", "box", &values).await?;
    for limit in [1, 1_000] {
        assert!(all_items(&store, 0, limit).await? == values, "{limit} at a time");
    }
    Ok(())
}

async fn items_of_two_containers_and_of_two_instances_are_apart(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["box", "bag"])).await?;
    let (_other, other) = owned(&store, &instance_with("j", &["box"])).await?;
    store_items(&store, fence, "i", "box", &[json!(1)]).await?;
    store_items(&store, fence, "i", "bag", &[json!(2), json!(3)]).await?;
    store_items(&store, other, "j", "box", &[json!(4)]).await?;
    let steps = steps(&store)?;
    assert_eq!(steps.items("i", "box", 0, 9).await?, [json!(1)]);
    assert_eq!(steps.items("i", "bag", 0, 9).await?, [json!(2), json!(3)]);
    assert_eq!(steps.items("j", "box", 0, 9).await?, [json!(4)]);
    Ok(())
}

async fn items_of_an_unknown_container_are_none(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, _fence) = owned(&store, &instance_with("i", &["box"])).await?;
    let steps = steps(&store)?;
    assert_eq!(steps.items("i", "box", 0, 9).await?, Vec::<Value>::new());
    assert_eq!(steps.items("unknown", "box", 0, 9).await?, Vec::<Value>::new());
    Ok(())
}

async fn a_container_may_have_no_items(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    store_items(&store, fence, "i", "box", &[]).await?;
    assert_eq!(all_items(&store, 0, 9).await?, Vec::<Value>::new());
    Ok(())
}

async fn items_come_back_as_they_went_in(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let values = [
        Value::Null,
        json!([]),
        json!({}),
        json!("a\0b"),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.0),
        json!(5e-324),
        (0..126).fold(json!(1), |inner, _| json!([inner])),
    ];
    store_items(&store, fence, "i", "box", &values).await?;
    let stored = all_items(&store, 0, 4).await?;
    assert_eq!(serde_json::to_string(&stored)?, serde_json::to_string(&values)?);
    Ok(())
}

async fn plain_writes_do_not_change_items(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["box"])).await?;
    store_items(&store, fence, "i", "box", &[json!(1), json!(2)]).await?;
    store.persist_workflow(&instance_with("i", &["box", "q"])).await?;
    store.persist_workflow(&full_instance("i", 1)).await?;
    assert_eq!(all_items(&store, 0, 9).await?, [json!(1), json!(2)]);
    assert_eq!(steps(&store)?.load("i").await?.instance, full_instance("i", 1));
    Ok(())
}
