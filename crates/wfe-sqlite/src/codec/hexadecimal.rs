//! Encodes strings in JSON arguments as hexadecimal digits, because SQLite's JSON functions end a string at a
//! NUL.

use std::fmt::Write;

/// Ids as a JSON list.
pub(crate) fn ids(ids: &[String]) -> String {
    list(ids, |list, id| push(list, id))
}

/// Definitions as a JSON list of `[id, version]`.
pub(crate) fn definitions(definitions: &[(String, u32)]) -> String {
    list(definitions, |list, (id, version)| {
        list.push('[');
        push(list, id);
        // Writing to a String cannot fail, here and below.
        let _ = write!(list, ",{version}]");
    })
}

/// Ids, each with the numbers of rows that belong to it, as a JSON list of `[id, [number, …]]`.
pub(crate) fn rows(rows: &[(&str, &[i64])]) -> String {
    list(rows, |list, (id, numbers)| {
        list.push('[');
        push(list, id);
        let _ = write!(list, ",{}]", self::numbers(numbers));
    })
}

/// Numbers as a JSON list.
pub(crate) fn numbers(numbers: &[i64]) -> String {
    list(numbers, |list, number| {
        let _ = write!(list, "{number}");
    })
}

fn list<T>(values: &[T], push: impl Fn(&mut String, &T)) -> String {
    let mut list = String::from("[");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            list.push(',');
        }
        push(&mut list, value);
    }
    list.push(']');
    list
}

fn push(list: &mut String, text: &str) {
    list.push('"');
    for byte in text.bytes() {
        let _ = write!(list, "{byte:02x}");
    }
    list.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_json_whatever_the_texts() {
        assert_eq!(ids(&[]), "[]");
        assert_eq!(ids(&["a\0".to_owned(), String::new()]), r#"["6100",""]"#);
        assert_eq!(definitions(&[("\"".to_owned(), 7)]), r#"[["22",7]]"#);
    }
}
