//! Compares what commands print with the files in `transcripts/`, in a pipe (`.pipe`) and on a terminal (`.tty`). Each
//! file is one run over one store: its commands see what those before have changed. `SNAPSHOTS=overwrite` writes the files
//! anew.

use std::{fmt::Write as _, fs, path::Path};

use regex::Regex;
use snapbox::{Assert, Data, Redactions};

use crate::{run::Ran, store::Place};

/// The commands of a transcript, as they stand in it.
fn commands(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("$ ")).collect()
}

/// What is different in each run.
fn redactions(place: &Place) -> Redactions {
    let mut redactions = Redactions::new();
    for (placeholder, pattern) in [
        ("[ID]", "\\b[0-9a-f]{8}(-[0-9a-f]{1,12}){0,4}(…|\\b)"),
        (
            "[N]",
            "(?:unprocessed events|events|rows|log_pages|moved_pages|freed_bytes|pointers)(?:\\t| +)(?<redacted>\\d+)",
        ),
        ("[N]", "\"(?:position|cursor|rows|events)\":(?<redacted>\\d+)"),
        ("[N]", "moved (?<redacted>\\d+) pages"),
        ("[BULK]", "\\b[0-9a-f]{32}\\b"),
        ("[TIME]", "\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?( ?(UTC|Z))?"),
        ("[AGO]", "(\\d+ (s|min|h|d) )*\\d+ (s|min|h|d) ago|\\bnow\\b"),
        ("[AHEAD]", "\\bin \\d+ (s|min|h|d)\\b"),
        ("[LENGTH]", "\\b(\\d+ (min|h|d) )?\\d+ (ms|s|min|h|d)\\b"),
        ("[SIZE]", "\\d+(\\.\\d)? (B|kB|MB|GB|TB)\\b"),
        ("[BYTES]", "\\b\\d{5,}\\b"),
        ("[FOLDER]", &regex::escape(&place.path().canonicalize().unwrap().to_string_lossy())),
        ("[MACHINE]", "ann@[\\w.-]+"),
    ] {
        redactions.insert(placeholder, Regex::new(pattern).unwrap()).unwrap();
    }
    redactions
}

/// Columns are as wide as what differs from run to run.
fn without_widths(text: &str) -> String {
    let gaps = Regex::new("  +").unwrap();
    text.lines().map(|line| gaps.replace_all(line.trim_end(), "  ").into_owned() + "\n").collect()
}

fn compare(file: &Path, run: impl Fn(&Place, &str) -> Ran) {
    let text = fs::read_to_string(file).unwrap();
    let place = Place::new();
    let mut transcript = String::new();
    for command in commands(&text) {
        let ran = run(&place, command);
        writeln!(transcript, "$ {command}").unwrap();
        transcript.push_str(&without_widths(&ran.out));
        for line in without_widths(&ran.err).lines() {
            writeln!(transcript, "! {line}").unwrap();
        }
        if ran.code != 0 {
            writeln!(transcript, "? {}", ran.code).unwrap();
        }
        transcript.push('\n');
    }
    let transcript = transcript.trim_end().to_owned() + "\n";
    let expected = Data::read_from(file, None);
    Assert::new()
        .action_env("SNAPSHOTS")
        .normalize_paths(false)
        .redact_with(redactions(&place))
        .eq(transcript, expected);
}

fn each(extension: &str, run: impl Fn(&Place, &str) -> Ran) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/transcripts");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == extension));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        compare(&file, &run);
    }
}

#[test]
fn commands_print_in_a_pipe_what_their_transcripts_show() {
    each("pipe", Place::shell);
}

#[test]
fn commands_print_on_a_terminal_what_their_transcripts_show() {
    each("tty", |place, command| {
        let words = crate::run::words(command.strip_prefix("wfe ").unwrap());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, out) = place.terminal(50, 250, &words).end();
        Ran { code, out, err: String::new() }
    });
}
