//! wfe-sqlite
