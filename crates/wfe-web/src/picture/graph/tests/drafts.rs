//! Outlines for tests: written as words, or made by chance.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wfe_core::definition::Outline;

/// The order of the pages' examples.
pub fn order() -> Outline {
    outline(
        "order",
        "validate each:price [ look-up ] if:large [then wait-for:approval [timeout user-task:sign ] ] \
         saga:buy [ reserve ^[ release ] charge ^[ refund ] activity:ship ] ~[ apologise ] sub-workflow:notify",
    )
}

/// Nested as deep and as mixed as definitions can be.
pub fn nested() -> Outline {
    outline(
        "nested",
        "read parallel:split [1 if:stock [then each:lines [ saga:line [ take ^[ put-back check-it ] wait-for:weighed [timeout \
         user-task:weigh-by-hand go-to:retake >take ] sub-workflow:pack ^[ unpack ] block:label-it [ print ^[ void ] \
         stick-it-on-the-box-and-on-its-papers ] activity:hand-over ] ~[ notify-buyer go-to:next-line >close ] ] close ] \
         [else decide:why [sold-out order-more delay:two-days go-to:again >stock ] [recalled user-task:recall \
         [escalation call-boss ] [timeout close-shop end:over ] ] ] ] \
         [2 saga:pay [ charge ^[ if:paid [then refund ] note ] while:settle [ ask-bank delay:an-hour ] race:first [1 card-answer ] [2 bank-answer ] ] ] \
         [3 recur:remind [tick mail-buyer after:escalate [later user-task:call ] ] ] go-to:from-start >read end:done",
    )
}

/// A definition of 500 steps with frames of all kinds.
pub fn large() -> Outline {
    let round = |k| {
        format!(
            " a{k} each:b{k} [ saga:s{k} [ c{k} ^[ u{k} ] wait-for:e{k} [timeout user-task:t{k} ] ] ] if:f{k} [then g{k} ] [else go-to:h{k} >a{k} ]"
        )
    };
    outline("large", &(0..50).map(round).collect::<String>())
}

/// Words are `kind:id` (or the id of a step), `[label …]` for a branch, `~[…]` for a fallback, `^[…]` for a compensation and
/// `>id` for the target of a go-to.
pub fn outline(id: &str, text: &str) -> Outline {
    let text = text.replace('[', " [ ").replace(']', " ] ").replace("~ ", " ~ ").replace("^ ", " ^ ");
    let (mut steps, mut words) = (vec![], text.split_whitespace());
    sequence(&mut words, &mut steps, false);
    serde_json::from_value(json!({
        "outline": 1, "id": id, "version": 3, "data": {"type": "Data"}, "steps": steps,
    }))
    .unwrap()
}

fn sequence<'w>(
    words: &mut impl Iterator<Item = &'w str>,
    steps: &mut Vec<Value>,
    labelled: bool,
) -> (Option<String>, String) {
    let (mut first, mut last, mut role, mut label) = (None::<String>, None::<usize>, "", String::new());
    let mut is_label = labelled;
    while let Some(word) = words.next() {
        if std::mem::take(&mut is_label) {
            word.clone_into(&mut label);
            if word == "]" {
                break;
            }
            continue;
        }
        match (word, last) {
            ("]", _) => break,
            ("~", _) => role = "fallback",
            ("^", _) => role = "compensation",
            ("[", Some(n)) => {
                let kind = steps[n]["kind"].as_str().unwrap().to_owned();
                let is_labelled =
                    role.is_empty() && !matches!(&*kind, "for-each" | "while" | "saga" | "block");
                let (inner, label) = sequence(words, steps, is_labelled);
                let Some(inner) = inner else { continue };
                match std::mem::take(&mut role) {
                    "" => steps[n]["branches"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!({"label": label, "first": inner})),
                    role => steps[n][role] = json!(inner),
                }
            }
            (word, Some(n)) if word.starts_with('>') => steps[n]["to"] = json!(word[1..]),
            _ => {
                let (kind, id) = word.split_once(':').unwrap_or(("step", word));
                let kind = if kind == "each" { "for-each" } else { kind };
                if let Some(n) = last {
                    steps[n]["next"] = json!(id);
                }
                first.get_or_insert_with(|| id.to_owned());
                last = Some(steps.len());
                steps.push(json!({"id": id, "kind": kind, "branches": [], "on_failure": "fail"}));
            }
        }
    }
    (first, label)
}

/// Chance that can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn outline(&mut self) -> Outline {
        let (mut n, mut text) = (0, String::new());
        self.sequence(0, &mut n, &mut text);
        outline("random", &text)
    }

    /// A sequence of steps of all kinds. Go-tos lead to any earlier step, wherever it is.
    fn sequence(&mut self, depth: usize, n: &mut usize, out: &mut String) {
        const KINDS: [&str; 17] = [
            "step",
            "wait-for",
            "recur",
            "go-to",
            "activity",
            "user-task",
            "delay",
            "after",
            "sub-workflow",
            "each",
            "while",
            "saga",
            "if",
            "decide",
            "parallel",
            "race",
            "block",
        ];
        for _ in 0..=self.below(4) {
            let kind = match self.below(24) {
                0 => "end",
                any => KINDS[any % if depth > 3 { 9 } else { KINDS.len() }],
            };
            let id = *n;
            *n += 1;
            let _ = write!(out, " {kind}:s{id}");
            if kind == "go-to" {
                let _ = write!(out, " >s{}", self.below(id + 1));
            }
            let branches = match kind {
                "step" | "go-to" | "end" | "delay" => 0,
                _ if depth > 3 => 0,
                "wait-for" | "activity" | "sub-workflow" => self.below(2),
                "user-task" => self.below(4),
                "if" => self.below(3),
                "decide" | "parallel" | "race" => self.below(7),
                _ => 1,
            };
            for b in 0..branches {
                let label = match (kind, b) {
                    ("each" | "while" | "saga" | "block", _) => "",
                    ("if", 0) => "then",
                    ("if", _) => "else",
                    ("user-task", 0) => "escalation",
                    ("decide", _) => ["a-long-condition-of-an-order", "b", "otherwise"][b % 3],
                    _ => "timeout",
                };
                let _ = write!(out, " [{label} ");
                if kind != "decide" || self.below(6) > 0 {
                    self.sequence(depth + 1, n, out);
                }
                out.push_str(" ]");
            }
            for (mark, one_in) in [("^", 4), ("~", 6)] {
                let fits = depth < 4
                    && !matches!(kind, "go-to" | "end")
                    && (mark == "^" || !matches!(kind, "block" | "race" | "parallel"));
                if fits && self.below(one_in) == 0 {
                    let _ = write!(out, " {mark}[ ");
                    self.sequence(depth + 2, n, out);
                    out.push_str(" ]");
                }
            }
            if matches!(kind, "go-to" | "end") {
                break;
            }
        }
    }
}
