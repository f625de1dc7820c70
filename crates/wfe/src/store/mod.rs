mod access;
mod base_traits;
mod engine_store;
pub(crate) mod faults;
pub(crate) mod guarantees;
pub(crate) mod loss;
mod own_waits;
mod reopening;

pub(crate) use access::StoreAccess;
pub use guarantees::Guarantees;
pub(crate) use own_waits::check_own;
