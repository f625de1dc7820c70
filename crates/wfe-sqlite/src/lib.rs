#![doc = include_str!("../README.md")]

mod admission;
mod batch;
mod beside;
mod cache;
mod codec;
mod companions;
mod error;
mod file;
mod first_page;
mod liveness;
mod log;
mod look;
mod network;
mod news;
mod observer;
mod open;
mod options;
mod outcome;
mod owner_files;
mod provider;
mod reader;
mod repository;
mod schema;
mod script;
mod sequences;
mod sidecars;
mod sql;
mod step_store;
mod stored;
mod texts;
mod thread;
mod transaction;
mod turnstile;
mod writer;

// Named so that a bundled SQLite with the WAL-reset corruption bug fails to resolve; sqlx is the only way to it.
use libsqlite3_sys as _;

pub use companions::is_companion;
pub use options::{BUSY_TIMEOUT, CACHE_BYTES, LEASE, SqliteOptions};
pub use provider::SqlitePersistenceProvider;
