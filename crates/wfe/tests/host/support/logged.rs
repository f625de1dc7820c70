use std::{
    fmt::{self, Write},
    sync::{Mutex, OnceLock},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Context, Layer, SubscriberExt},
    registry,
    util::SubscriberInitExt,
};

/// How often hosts of this program have warned that a definition is missing, of each definition and version; and what else
/// they have logged as an error.
pub struct Missed;

static WARNINGS: Mutex<Vec<(String, u32)>> = Mutex::new(Vec::new());
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// All of it, with its level.
static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

impl Missed {
    /// Takes note from now on. The tests of a program have one log.
    pub fn listen() {
        static LISTENS: OnceLock<()> = OnceLock::new();
        LISTENS.get_or_init(|| registry().with(Self).init());
    }

    pub fn times(definition: &str, version: u32) -> usize {
        let missed = WARNINGS.lock().unwrap();
        missed.iter().filter(|(of, number)| of == definition && *number == version).count()
    }

    /// How often an error was logged in which this stands.
    pub fn errors(part: &str) -> usize {
        ERRORS.lock().unwrap().iter().filter(|error| error.contains(part)).count()
    }

    /// How many warnings and errors there are in which both stand.
    pub fn messages(part: &str, other: &str) -> usize {
        let lines = LINES.lock().unwrap();
        lines.iter().filter(|(_, line)| line.contains(part) && line.contains(other)).count()
    }

    /// The levels of all warnings and errors in which this stands, in any field.
    pub fn levels(part: &str) -> Vec<Level> {
        let lines = LINES.lock().unwrap();
        lines.iter().filter(|(_, line)| line.contains(part)).map(|(level, _)| *level).collect()
    }
}

impl<S: Subscriber> Layer<S> for Missed {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        LINES.lock().unwrap().push((*event.metadata().level(), std::mem::take(&mut fields.line)));
        match *event.metadata().level() {
            Level::WARN => {}
            Level::ERROR => return ERRORS.lock().unwrap().extend(fields.error),
            _ => return,
        }
        if let (true, Some(definition), Some(version)) =
            (fields.is_missing, fields.definition, fields.version)
        {
            WARNINGS.lock().unwrap().push((definition, version));
        }
    }
}

#[derive(Default)]
struct Fields {
    definition: Option<String>,
    version: Option<u32>,
    error: Option<String>,
    /// Whether it says that a definition is missing.
    is_missing: bool,
    line: String,
}

impl Fields {
    fn note(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.line, "{field}={value:?} "); // a string takes all
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, &value);
        if field.name() == "wfe.definition.id" {
            self.definition = Some(value.to_owned());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "wfe.definition.version" {
            self.version = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, value);
        if field.name() == "message" {
            self.is_missing = format!("{value:?}").contains("definition that is not registered");
        }
        if field.name() == "error" {
            self.error = Some(format!("{value:?}"));
        }
    }
}
