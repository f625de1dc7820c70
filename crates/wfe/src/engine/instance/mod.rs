//! One instance at work: its actor, the messages to the actor, and how its steps are stored.

pub(in crate::engine) mod actor;
pub(in crate::engine) mod commit;
pub(in crate::engine) mod isolated_run;
pub(in crate::engine) mod life;
pub(in crate::engine) mod mail;
pub(in crate::engine) mod mailbox;
pub(in crate::engine) mod ownership;
pub(in crate::engine) mod prefetch;
pub(in crate::engine) mod quarantine;
pub(in crate::engine) mod suspect;
