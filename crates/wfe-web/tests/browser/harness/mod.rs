//! Drives a browser over the pages of a server on this machine.

mod axe;
mod browser;
mod commands;
mod driver;
mod server;

pub use browser::{Browser, View};
pub use driver::Driver;
pub use server::Server;
