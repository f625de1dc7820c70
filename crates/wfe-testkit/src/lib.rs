#![doc = include_str!("../README.md")]

pub mod conformance;
mod virtual_clock;

pub use virtual_clock::VirtualClock;
