//! Texts of explanations: lengths of time, names that may be hostile, commands for a shell.

use std::fmt::{self, Display, Write, from_fn};

use chrono::{DateTime, TimeDelta, Utc};

/// The longest name that a sentence shows. The fields of the answers have the whole names.
const LONGEST: usize = 120;

/// A name of the program in a sentence: characters that could change how a terminal or a page shows the rest are
/// escaped, and a long name is cut.
pub(in crate::operator) fn plain(name: &str) -> impl Display + '_ {
    from_fn(move |f| {
        let mut letters = name.chars();
        for letter in letters.by_ref().take(LONGEST) {
            write_plain(letter, f)?;
        }
        if letters.next().is_some() { f.write_char('…') } else { Ok(()) }
    })
}

/// The first line of a text, as [`plain`] shows it.
pub(in crate::operator) fn first_line(text: &str) -> String {
    plain(text.lines().next().unwrap_or_default()).to_string()
}

fn write_plain(letter: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if is_unsafe(letter) { write!(f, "{}", letter.escape_unicode()) } else { f.write_char(letter) }
}

/// Control characters, line separators, and the marks that turn the direction of a text.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A command, quoted for a POSIX shell so that each argument reaches the program as it is.
pub(in crate::operator) fn command(words: &[&str]) -> String {
    let mut line = String::from("wfe");
    // The first word is the name of a command. Arguments behind `--` are no options.
    let is_option = |word: &&str| word.starts_with('-');
    let ends_options = words.iter().skip(1).any(is_option);
    for (at, word) in words.iter().enumerate() {
        if at == 1 && ends_options {
            line.push_str(" --");
        }
        line.push(' ');
        line.push_str(&quoted(word));
    }
    line
}

fn quoted(word: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-./:@%+=,#".contains(letter);
    if !word.is_empty() && !word.starts_with('#') && word.chars().all(is_bare) {
        return word.to_owned();
    }
    if !word.chars().any(is_unsafe) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut text = String::from("$'");
    for letter in word.chars() {
        match letter {
            '\'' | '\\' => text.extend(['\\', letter]),
            letter if is_unsafe(letter) => {
                let mut bytes = [0; 4];
                // Three octal digits, so that no digit that follows belongs to the escape.
                text.extend(letter.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}")));
            }
            letter => text.push(letter),
        }
    }
    text.push('\'');
    text
}

/// A length of time in its two largest units: `2 d 4 h`, `3 min`, `12 s`, `less than 1 s`.
pub(in crate::operator) fn length(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    if seconds <= 0 {
        return "less than 1 s".to_owned();
    }
    let units = [
        ("d", seconds / 86_400),
        ("h", seconds / 3600 % 24),
        ("min", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let first = units.iter().position(|(_, count)| *count > 0).unwrap_or(units.len() - 1);
    let shown = units.iter().skip(first).take(2).filter(|(_, count)| *count > 0);
    shown.map(|(unit, count)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// How long ago a time was: `2 d 4 h ago`.
pub(in crate::operator) fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ago", length(now - time))
}

/// `, since 2 d 4 h`, or nothing.
pub(super) fn since(since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    since.map_or_else(String::new, |since| format!(", since {}", length(now - since)))
}

/// `, for another 3 h`, `, for ever`, or `, past its time since 5 min`.
pub(super) fn until(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    match until {
        None => ", for ever".to_owned(),
        Some(until) if until <= now => format!(", past its time since {}", length(now - until)),
        Some(until) => format!(", for another {}", length(until - now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_two_largest_units() {
        for (seconds, text) in [
            (-5, "less than 1 s"),
            (0, "less than 1 s"),
            (12, "12 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3600, "1 h"),
            (187_200, "2 d 4 h"),
            (86_459, "1 d"),
        ] {
            assert_eq!(length(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn a_hostile_name_changes_nothing_around_it() {
        let hostile = "a\x1b[2J\u{202e}b\nc";
        assert_eq!(plain(hostile).to_string(), "a\\u{1b}[2J\\u{202e}b\\u{a}c");
        assert_eq!(plain(&"x".repeat(121)).to_string(), format!("{}…", "x".repeat(120)));
        assert_eq!(first_line("one\ntwo"), "one");
    }

    #[test]
    fn the_arguments_of_a_command_are_quoted_for_a_shell() {
        assert_eq!(command(&["why", "0199f3"]), "wfe why 0199f3");
        assert_eq!(command(&["publish", "a b", "it's"]), r"wfe publish 'a b' 'it'\''s'");
        assert_eq!(command(&["publish", "a", "-x"]), "wfe publish -- a -x");
        assert_eq!(command(&["publish", "", "$(rm)"]), "wfe publish '' '$(rm)'");
        assert_eq!(command(&["publish", "a\n1'\\", "é"]), "wfe publish $'a\\0121\\'\\\\' 'é'");
    }

    /// Every argument arrives as it is.
    #[cfg(unix)]
    #[test]
    fn a_shell_gives_back_each_argument() {
        let words = [
            "a b",
            "it's",
            "-x",
            "",
            "$(echo 1)`id`",
            "a\n\t\x1b[1m'\\\"",
            "é\u{202e}x",
            "#no",
            "*?[a]",
            "!!",
        ];
        for word in words {
            let line = command(&["publish", word, "end"]).replacen("wfe publish", "printf '%s\\0'", 1);
            let line = line.replacen("printf '%s\\0' --", "printf '%s\\0'", 1);
            let Ok(output) = std::process::Command::new("bash").args(["-c", &line]).output() else { return };
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{word}\0end\0"), "{line}");
        }
    }
}
