//! A checksum manifest of a directory tree that survives `kill -9`.
//!
//! ```text
//! cargo run --release -p wfe --example manifest -- --dir DIR --db FILE --out FILE [--jobs N] [--log FILE] [--again]
//! ```
//!
//! Each file is a durable step: once its hash is stored, the file is never hashed again, however often the program is
//! killed and started again. Several processes may run the program at once: one of them works, and the others wait to
//! take over if that process crashes. A run that is complete is not repeated, unless `--again` begins a new one. The exit
//! status is 0, or 1 if some files failed, or 2 if the job could not be done, or 130 if ctrl-C stopped it.

#[cfg(unix)]
#[path = "manifest/run.rs"]
mod run;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!(
        "manifest: this example needs Unix, as the store on SQLite does: there, names of files are bytes"
    );
    ExitCode::from(2)
}
