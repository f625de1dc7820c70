//! Shows what is longer than the screen in the reader's pager.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
};

/// Prints the text, through the pager if standard output is a terminal with fewer lines than the text.
///
/// The pager is the command in `PAGER`; if that is not set, `less -FRX`. An empty `PAGER` means no pager. If the pager
/// cannot be started, the text is printed as it is.
pub(super) fn print(text: &str) -> io::Result<()> {
    if needs_pager(text)
        && let Some(command) = pager()
        && through(&command, text)?
    {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn pager() -> Option<String> {
    match env::var("PAGER") {
        Ok(command) if command.trim().is_empty() => None,
        Ok(command) => Some(command),
        Err(_) => is_installed("less").then(|| "less -FRX".to_owned()),
    }
}

fn is_installed(command: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|folders| env::split_paths(&folders).any(|folder| folder.join(command).is_file()))
}

fn needs_pager(text: &str) -> bool {
    let out = io::stdout();
    out.is_terminal()
        && io::stdin().is_terminal()
        && rustix::termios::tcgetwinsize(&out)
            .is_ok_and(|size| size.ws_row > 0 && text.lines().count() >= usize::from(size.ws_row))
}

/// Whether the pager was there. A pager that is left before the end closes the pipe, which is no error.
fn through(command: &str, text: &str) -> io::Result<bool> {
    let mut pager = Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = pager.stdin.take() {
        match input.write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    // The shell ends with 127 if it does not find the command, and with 126 if it cannot run it.
    Ok(!matches!(pager.wait()?.code(), Some(126 | 127)))
}
