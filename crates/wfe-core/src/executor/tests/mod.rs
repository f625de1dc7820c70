//! The executor without a host: a world that stores what it commits, and runs its bodies in any order.

#![allow(
    clippy::ignored_unit_patterns,
    reason = "closures over data and item are written as users write them, who know no item on the main path"
)]

mod anew;
mod answers;
mod attempts;
mod branching;
mod by_hand;
mod cancelling;
mod children;
mod closing;
mod consistency;
mod contained;
mod control;
mod definitions;
mod for_each;
mod half_undone;
mod left_children;
mod mismatch;
mod moving;
mod moving_in_undo;
mod nested;
mod numbers;
mod outside;
mod properties;
mod random;
mod received;
mod retry;
mod saga;
mod scenario;
mod stream;
mod timing;
mod town;
mod unstorable;
mod waiting;
mod world;
