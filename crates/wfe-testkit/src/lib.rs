//! wfe-testkit
