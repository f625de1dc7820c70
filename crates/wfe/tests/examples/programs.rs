//! The binaries of the examples.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The folder of the examples' binaries, as new as this test: `cargo test` builds them with the tests, but
/// `cargo test --test NAME` alone does not.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        // The packages for which this test was compiled: other packages turn on other features, with which cargo would
        // compile the examples and all they depend on once more. Of these, `wfe-web` turns on the metrics.
        let packages: &[&str] = if cfg!(feature = "metrics") { &["--workspace"] } else { &["-p", "wfe"] };
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--examples"])
            .args(packages)
            .args(if cfg!(debug_assertions) { None } else { Some("--release") })
            .status();
        assert!(status.unwrap().success());
        let test = std::env::current_exe().unwrap();
        test.parent().unwrap().parent().unwrap().join("examples")
    })
}
