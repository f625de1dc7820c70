//! Data that is given on the command line.

use std::{
    fs,
    io::{self, Read},
};

use serde_json::Value;

use crate::{
    failure::{Failure, Result},
    interrupt::Interrupt,
};

/// The most bytes that are read as data.
const MOST: u64 = 64 << 20;

/// Reads data: JSON, `@FILE` for a file with JSON, or `-` for standard input.
///
/// # Errors
/// [`Exit::Usage`](crate::failure::Exit::Usage): it cannot be read, or is no JSON.
/// [`Exit::Interrupted`](crate::failure::Exit::Interrupted): Ctrl-C, while standard input or a pipe gives nothing.
pub(crate) async fn data(text: &str, interrupt: &Interrupt) -> Result<Value> {
    let text = text.to_owned();
    interrupt.or(move || parse(&text)).await
}

fn parse(text: &str) -> Result<Value> {
    let failed = |what: &str, error: io::Error| Failure::usage(format!("cannot read {what}: {error}"));
    let (what, json) = match text.strip_prefix('@') {
        Some(path) => {
            let file = fs::File::open(path).map_err(|error| failed(path, error))?;
            (path, read(file).map_err(|error| failed(path, error))?)
        }
        None if text == "-" => {
            ("standard input", read(io::stdin()).map_err(|error| failed("standard input", error))?)
        }
        None => ("the data", text.to_owned()),
    };
    if json.len() as u64 > MOST {
        return Err(Failure::usage(format!("{what} is longer than {MOST} bytes")));
    }
    serde_json::from_str(&json).map_err(|error| {
        let hint = if what == "the data" && !json.trim_start().starts_with(['{', '[', '"']) {
            "; a text stands in quotation marks, as in '\"text\"'"
        } else {
            ""
        };
        Failure::usage(format!("{what} is not JSON ({error}){hint}"))
    })
}

fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MOST + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_comes_from_the_line_or_from_a_file() {
        assert_eq!(parse("{\"a\":1}").unwrap(), json!({ "a": 1 }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(parse(&format!("@{}", path.display())).unwrap(), json!([1, 2]));
        assert!(parse("hello").unwrap_err().message.unwrap().contains("quotation marks"));
        assert!(parse("@/no/such/file").unwrap_err().message.unwrap().contains("/no/such/file"));
    }
}
