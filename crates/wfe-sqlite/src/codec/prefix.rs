//! Ranges of texts with a prefix.

/// The first text, in the order of the bytes, that is behind all texts with this prefix. Empty if no text is
/// behind: the prefix is empty, or has no other character than the last one of Unicode.
pub(crate) fn behind(prefix: &str) -> String {
    let mut behind = prefix.to_owned();
    while let Some(last) = behind.pop() {
        // The surrogates are no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            behind.push(next);
            break;
        }
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_text_with_it_follows() {
        for (prefix, expected) in [
            ("wfe.a:", "wfe.a;"),
            ("wfe.\u{d7ff}", "wfe.\u{e000}"),
            ("wfe.a\u{10ffff}\u{10ffff}", "wfe.b"),
            ("wfe.\u{7f}", "wfe.\u{80}"),
            ("", ""),
            ("\u{10ffff}", ""),
        ] {
            assert_eq!(behind(prefix), expected);
            assert!(expected.is_empty() || format!("{prefix}\u{10ffff}") < behind(prefix));
        }
    }
}
