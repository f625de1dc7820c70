#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!(
    "wfe-sqlite needs Unix: it relies on locks of open files, inodes and file owners as POSIX has them"
);

mod codec;
mod connection;
mod error;
mod file;
mod instance;
mod management;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics_off.rs"]
mod metrics;
mod options;
mod processes;
mod provider;
mod purged_events;
mod repository;
mod request;
mod row;
mod schema;
mod sql;
mod sqlx;
mod step_store;

// The dependency on libsqlite3-sys only excludes versions that bundle an SQLite with the WAL-reset corruption
// bug. sqlx opens and closes all connections, and statements run on them through wfe-sqlite-handle.
use libsqlite3_sys as _;

pub use file::sidecar_names::is_sidecar;
pub use options::{BUSY_TIMEOUT, CACHE_BYTES, LEASE, SqliteOptions};
pub use provider::SqlitePersistenceProvider;
