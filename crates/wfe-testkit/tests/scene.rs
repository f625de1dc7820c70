//! The scene of the example holds what it promises.

#[path = "../examples/scene/fill.rs"]
mod fill;
#[path = "../examples/scene/shop.rs"]
mod shop;

use std::{collections::BTreeSet, sync::Arc};

use wfe::{
    clock::{Clock, SystemClock},
    operator::{Code, Operator},
    traits::Query,
};
use wfe_sqlite::SqlitePersistenceProvider;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_instances_are_stuck_for_seven_reasons_beside_a_host() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    fill::fill(&path, 300, clock.now()).await.unwrap();

    let store = Arc::new(SqlitePersistenceProvider::file(&path).open().await.unwrap());
    let operator = Operator::shared(store.clone()).unwrap();
    assert_eq!(operator.count(&Query::default(), 1_000).await.unwrap().n, 300);
    let host = shop::host(&store, clock, shop::Epoch::Present).await.unwrap();
    host.idle().await.unwrap();
    let stuck = operator.stuck(100).await.unwrap();
    let found: Vec<_> = stuck.iter().map(|one| one.explanation.headline.clone()).collect();
    let codes: BTreeSet<_> = stuck.iter().map(|one| one.explanation.code.name()).collect();
    let expected = [
        Code::NoDefinition,
        Code::ActivityUnclaimed,
        Code::LeaseOver,
        Code::Child,
        Code::SuspendedFailure,
        Code::SuspendedBy,
        Code::Poison,
    ];
    assert_eq!(codes, expected.iter().map(|code| code.name()).collect(), "{found:#?}");
    assert_eq!(stuck.len(), expected.len(), "{found:#?}");
    host.stop().await.unwrap();
}
