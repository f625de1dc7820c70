//! Stores of earlier schema versions: questions read them as they are, actions and the upgrade leave the choice to people.

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::store::Place;

/// The scripts of the schema, up to version 6.
const SCRIPTS: [&str; 6] = [
    include_str!("../../../wfe-sqlite/src/sql/schema.sql"),
    include_str!("../../../wfe-sqlite/src/sql/version_2.sql"),
    include_str!("../../../wfe-sqlite/src/sql/version_3.sql"),
    include_str!("../../../wfe-sqlite/src/sql/version_4.sql"),
    include_str!("../../../wfe-sqlite/src/sql/version_5.sql"),
    include_str!("../../../wfe-sqlite/src/sql/version_6.sql"),
];

fn version_6() -> Place {
    let place = Place::empty();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(place.db()).create_if_missing(true);
        let mut store = SqliteConnection::connect_with(&options).await.unwrap();
        store.execute("PRAGMA journal_mode = WAL").await.unwrap();
        for script in SCRIPTS {
            store.execute(script).await.unwrap();
        }
        store.execute("PRAGMA application_id = 1464223025; PRAGMA user_version = 6").await.unwrap();
        store.close().await.unwrap();
    });
    place
}

#[test]
fn a_store_of_an_earlier_version_is_read_as_it_is_and_upgraded_only_on_demand() {
    let place = version_6();
    let before = std::fs::read(place.db()).unwrap();
    for question in
        ["list", "stats", "errors", "audit", "definitions", "tasks list", "doctor", "upgrade --dry-run"]
    {
        let ran = place.shell(&format!("wfe {question}"));
        assert_eq!(ran.code, 0, "{question}: {ran:?}");
    }
    let ran = place.shell("wfe publish approved order-17");
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("wfe upgrade"), "{ran:?}");
    assert_eq!(place.shell("wfe upgrade").code, 4);
    assert_eq!(std::fs::read(place.db()).unwrap(), before);

    let mut asks = place.terminal(50, 120, &["upgrade"]);
    asks.expect("from schema version 6 to");
    asks.send("n\n");
    assert_eq!(asks.end().0, 4);
    assert_eq!(std::fs::read(place.db()).unwrap(), before);
    assert!(place.shell("wfe upgrade --yes").ends(0).contains("done\ttrue"));
    place.shell("wfe publish approved order-17").ends(0);
}
