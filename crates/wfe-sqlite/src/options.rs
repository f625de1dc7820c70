//! The options of a provider: the location of the database, and how the provider uses the database.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wfe_core::{
    Result, WfeError,
    clock::{Clock, SystemClock},
};

use crate::SqlitePersistenceProvider;

/// The default of [`busy_timeout`](SqliteOptions::busy_timeout): how long a call may wait in total, for other processes
/// that hold the database and for earlier calls. A commit takes milliseconds. The timeout is meant for a process that
/// is suspended in the middle of a commit.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The default of [`lease`](SqliteOptions::lease): how long an owner may show no sign of life before other hosts take
/// over its instances. This lease is far longer than a process is delayed on a busy machine. It is short enough that
/// the work of an unresponsive process is not delayed by minutes.
pub const LEASE: Duration = Duration::from_secs(30);
/// The shortest lease that is allowed. A heartbeat is written six times in each lease. The interval between two
/// heartbeats must be longer than the tens of milliseconds that a thread may wait for a processor core.
const SHORTEST_LEASE: Duration = Duration::from_millis(600);
/// The default of [`cache_bytes`](SqliteOptions::cache_bytes): the memory for copies of stored instances. It is enough
/// for some ten thousand small instances.
pub const CACHE_BYTES: usize = 64 << 20;

/// The location of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Memory,
    File(PathBuf),
}

impl Location {
    /// The name that errors use for the database.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Memory => ":memory:".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Opens a [`SqlitePersistenceProvider`] with options other than the defaults.
#[must_use = "nothing is opened before `open`"]
pub struct SqliteOptions {
    location: Result<Location>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) busy_timeout: Duration,
    pub(crate) cache_bytes: usize,
    pub(crate) lease: Duration,
    pub(crate) access: Access,
}

/// What opening the store may do to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) writes: bool,
    pub(crate) creates: bool,
    pub(crate) upgrades: bool,
}

impl SqliteOptions {
    pub(crate) fn url(url: &str) -> Self {
        Self::at(parse(url))
    }

    pub(crate) fn file(path: &Path) -> Self {
        Self::at(if path.as_os_str().is_empty() {
            Err(unusable("", "the path is empty; name a file"))
        } else {
            Ok(Location::File(path.to_owned()))
        })
    }

    fn at(location: Result<Location>) -> Self {
        Self {
            location,
            clock: Arc::new(SystemClock),
            busy_timeout: BUSY_TIMEOUT,
            cache_bytes: CACHE_BYTES,
            lease: LEASE,
            access: Access { writes: true, creates: true, upgrades: true },
        }
    }

    /// The clock that decides when tokens expire and when events become due. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a call waits, from its beginning, before it fails with [`WfeError::Busy`]. A call waits for other
    /// processes that hold the database. If the program sends more calls than the database serves, a call also waits
    /// for a permit of its queue ([how much](SqlitePersistenceProvider#how-much-waits)). The maximum is 24 days. Even
    /// with a timeout of zero, a call that gets a permit at once is tried once. Default: [`BUSY_TIMEOUT`].
    pub fn busy_timeout(mut self, wait: Duration) -> Self {
        self.busy_timeout = wait.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// The approximate number of bytes of memory for copies of stored instances. With 0, no copies are kept, and each
    /// `persist_workflow` first reads the stored instance. Default: [`CACHE_BYTES`].
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How long hosts of this provider may show no sign of life, because they are stopped or hang, before other hosts
    /// take over their instances. A lease of less than 600 ms counts as 600 ms. If a lease is shorter than four poll
    /// intervals of the host that observes it, that host waits for four of its own poll intervals instead. The lease
    /// does not matter for a killed process: other hosts can take over its instances at once. Each host keeps the lease
    /// with which it began. Other processes respect that lease, even if their own lease differs. Default: [`LEASE`].
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(SHORTEST_LEASE);
        self
    }

    /// Opens the database for reading only. Every call that would write returns [`WfeError::ReadOnly`].
    ///
    /// Such a store changes nothing: it creates and upgrades no database, and writes no byte of it. It makes none of WFE's
    /// files beside the database, registers no owner and takes no lock that a writer waits for. SQLite's own `-wal` and `-shm`
    /// are created if they are missing, because every reader needs them; they stay until a store that writes is closed.
    ///
    /// A store of an earlier schema version, from 3 on, is read as it is: what the version does not know is missing or has its
    /// default. Listings of such a store may be slower, because it lacks some indexes. [`StepStore::news`] never has an item,
    /// because nothing notifies a reader.
    ///
    /// If the folder cannot be written, the file is read without locks and without its log (`immutable`). That needs a store
    /// that is closed: the log is missing or empty, and no program has the store open. While the file is read in this way,
    /// nobody must write to it.
    ///
    /// [`StepStore::news`]: wfe_core::traits::StepStore::news
    pub fn read_only(mut self) -> Self {
        self.access = Access { writes: false, creates: false, upgrades: false };
        self
    }

    /// Whether a missing database is created. With `false`, opening fails with [`WfeError::Unusable`] if there is no file at
    /// the path, or an empty one. Default: `true`.
    pub fn create(mut self, creates: bool) -> Self {
        self.access.creates = creates && self.access.writes;
        self
    }

    /// Whether a database of an earlier schema version is upgraded. With `false`, such a database is opened as by
    /// [`read_only`](Self::read_only), and every call that would write returns [`WfeError::SchemaTooOld`]. This does not change
    /// when another program upgrades the database; open it again then. Default: `true`.
    pub fn upgrade(mut self, upgrades: bool) -> Self {
        self.access.upgrades = upgrades && self.access.writes;
        self
    }

    /// Opens the database. Creates the database and its tables if they are missing, unless the options forbid it.
    ///
    /// # Errors
    /// Returns the same errors as [`SqlitePersistenceProvider::new`], and also:
    /// * [`Unusable`](WfeError::Unusable): the file is missing or empty, and must not be created. Or the folder cannot be
    ///   written, the database is to be read only, and its log has commits or a program has it open. Or a database in memory is
    ///   to be read only.
    /// * [`SchemaTooOld`](WfeError::SchemaTooOld): the database must not be upgraded, and its schema version is below 3.
    pub async fn open(mut self) -> Result<SqlitePersistenceProvider> {
        let location = std::mem::replace(&mut self.location, Ok(Location::Memory))?;
        SqlitePersistenceProvider::open(location, self).await
    }
}

impl std::fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("location", &self.location)
            .field("busy_timeout", &self.busy_timeout)
            .field("cache_bytes", &self.cache_bytes)
            .field("lease", &self.lease)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

fn unusable(url: &str, reason: impl Into<String>) -> WfeError {
    WfeError::Unusable { path: PathBuf::from(url), reason: reason.into(), source: None }
}

/// Parses `:memory:`, `sqlite::memory:`, `sqlite:relative.db` or `sqlite:///absolute/path.db`. Percent escapes are
/// decoded as in sqlx.
fn parse(url: &str) -> Result<Location> {
    if url == ":memory:" {
        return Ok(Location::Memory);
    }
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return Err(unusable(
            url,
            "not an SQLite URL; use \":memory:\", \"sqlite:file.db\" or \"sqlite:///path/to/file.db\"",
        ));
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        // "Read, write, create" is the default, and users of sqlx often write it by habit.
        if parameter != "mode=rwc" {
            return Err(unusable(
                url,
                format!(
                    "unknown URL parameter {parameter:?}; options are set with SqlitePersistenceProvider::builder"
                ),
            ));
        }
    }
    if path == ":memory:" {
        return Ok(Location::Memory);
    }
    if path.is_empty() {
        return Err(unusable(url, "the path is empty; name a file"));
    }
    let path = PathBuf::from(OsString::from_vec(decode(path)));
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(unusable(url, "the path contains a NUL character"));
    }
    Ok(Location::File(path))
}

/// Decodes percent escapes. All other bytes stay unchanged.
fn decode(text: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits always make a byte.
                decoded.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_database_in_memory_or_a_file() {
        for url in [":memory:", "sqlite::memory:", "sqlite://:memory:"] {
            assert_eq!(parse(url).unwrap(), Location::Memory, "{url}");
        }
        for (url, path) in [
            ("sqlite:a.db", "a.db"),
            ("sqlite://a.db", "a.db"),
            ("sqlite:///tmp/a.db", "/tmp/a.db"),
            ("sqlite:/path/to/a.db", "/path/to/a.db"),
            ("sqlite:a%20b%3F%25.db?mode=rwc", "a b?%.db"),
            ("sqlite:100%.db", "100%.db"),
            ("sqlite:%C3%A4.db", "ä.db"),
        ] {
            assert_eq!(parse(url).unwrap(), Location::File(path.into()), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_and_named() {
        for url in [
            "",
            "a.db",
            "postgres://host/db",
            "sqlite:",
            "sqlite://",
            "sqlite:a.db?mode=ro",
            "sqlite:a.db?x",
            "sqlite:a%00.db",
        ] {
            match parse(url) {
                Err(WfeError::Unusable { path, .. }) => assert_eq!(path, PathBuf::from(url)),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
