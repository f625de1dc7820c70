//! What is wrong with a cron expression, in words that name the field and the way to write it.

use std::str::FromStr;

use croner::Cron;

/// The fields of an expression with seven fields, with their values.
const FIELDS: [(&str, &str); 7] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, `L`, or a number with `W`"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7 (0 and 7 are Sunday), or SUN to SAT"),
    ("year", "1 to 9999"),
];

/// Why this expression is invalid. `error` is what the parser says; it is the answer if no field is wrong alone.
pub(super) fn cron_problem(expression: &str, error: &str) -> String {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if expression.trim_start().starts_with('@') {
        return "the shorthands are @hourly, @daily, @weekly, @monthly and @yearly".to_owned();
    }
    let first = match fields.len() {
        5 => 1,
        6 | 7 => 0,
        count => {
            return format!(
                "it has {count} fields; write minute, hour, day of the month, month and day of the week, with the second \
                 before them and the year after them if you need these"
            );
        }
    };
    let wrong = fields.iter().zip(&FIELDS[first..]).enumerate().find(|(at, (field, _))| {
        let alone: Vec<&str> =
            (0..fields.len()).map(|other| if other == *at { **field } else { "*" }).collect();
        Cron::from_str(&alone.join(" ")).is_err()
    });
    match wrong {
        Some((_, (field, (name, values)))) => match wrapping(field) {
            Some((from, to)) => format!(
                "the {name} {field:?} runs past the end of its values; write it as two ranges, such as \"{from}-…,…-{to}\""
            ),
            None => {
                format!("the {name} is {field:?}; its values are {values}, with `*`, lists, ranges and steps")
            }
        },
        None => error.trim_end_matches('.').to_lowercase(),
    }
}

/// The ends of a range in this field that begins after its end, such as `FRI-MON` or `22-2`.
fn wrapping(field: &str) -> Option<(&str, &str)> {
    const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let value = |text: &str| {
        let name = text.to_ascii_uppercase();
        let named = |names: &[&str]| names.iter().position(|it| *it == name);
        text.parse().ok().or_else(|| named(&DAYS)).or_else(|| named(&MONTHS))
    };
    field.split(',').find_map(|part| {
        let (from, to) = part.split('/').next()?.split_once('-')?;
        (value(from)? > value(to)?).then_some((from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_expression_is_explained_by_its_field_and_the_way_to_write_it() {
        for (expression, problem) in [
            (
                "0 22-2 * * *",
                "the hour \"22-2\" runs past the end of its values; write it as two ranges, such as \"22-…,…-2\"",
            ),
            ("0 9 * * FRI-MON", "the day of the week \"FRI-MON\" runs past the end of its values"),
            ("0 24 * * *", "the hour is \"24\"; its values are 0 to 23"),
            ("61 * * * *", "the minute is \"61\"; its values are 0 to 59"),
            (
                "0 9 * * FUNDAY",
                "the day of the week is \"FUNDAY\"; its values are 0 to 7 (0 and 7 are Sunday), or SUN to SAT",
            ),
            ("0 9 * *", "it has 4 fields; write minute, hour"),
            ("", "it has 0 fields"),
            ("@midnight", "the shorthands are @hourly, @daily"),
            ("99 0 9 * * *", "the second is \"99\""),
        ] {
            let error = Cron::from_str(expression).map(|_| ()).unwrap_err().to_string();
            let said = cron_problem(expression, &error);
            assert!(said.starts_with(problem), "{expression}: {said}");
        }
    }
}
