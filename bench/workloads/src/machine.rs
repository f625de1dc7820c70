//! What Linux reports about this process and the others. On other systems these columns stay empty.

use std::fs;

/// The unit of times in /proc (`USER_HZ`), the same on every Linux that Rust supports.
const TICK_US: u64 = 10_000;

/// Counters that only grow.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Processor time of this process and of the children that it has waited for, in microseconds.
    own_cpu_us: u64,
    /// Processor time of all processes, in microseconds.
    all_cpu_us: u64,
    /// Bytes that this process, and the children that it has waited for, have written to the disk.
    written_bytes: u64,
}

/// The differences between two readings.
pub struct Used {
    pub cpu_us: u64,
    pub others_cpu_us: u64,
    pub written_bytes: u64,
}

impl Reading {
    pub fn now() -> Option<Self> {
        Some(Self { own_cpu_us: own_cpu_us()?, all_cpu_us: all_cpu_us()?, written_bytes: written_bytes()? })
    }

    pub fn since(self, before: Self) -> Used {
        let cpu_us = self.own_cpu_us.saturating_sub(before.own_cpu_us);
        let all = self.all_cpu_us.saturating_sub(before.all_cpu_us);
        Used {
            cpu_us,
            others_cpu_us: all.saturating_sub(cpu_us),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

fn own_cpu_us() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may contain any character. It ends at the last parenthesis. The fields are the user and system
    // times of this process, and of its children.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: Option<Vec<u64>> = fields.get(11..15)?.iter().map(|ticks| ticks.parse().ok()).collect();
    Some(ticks?.iter().sum::<u64>() * TICK_US)
}

fn all_cpu_us() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq, steal: what other guests of a virtual machine take
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| fields.get(at)).sum::<u64>();
    Some(busy * TICK_US)
}

fn written_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

/// Bytes of this process that are in memory.
pub fn resident_bytes() -> Option<u64> {
    Some(1024 * status_of("self", "VmRSS:")?)
}

/// How often the threads of this process that still run have begun to wait.
pub fn waits() -> Option<u64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let of = |thread: fs::DirEntry| {
        status_of(&format!("self/task/{}", thread.file_name().to_str()?), "voluntary_ctxt_switches:")
    };
    Some(threads.filter_map(|thread| of(thread.ok()?)).sum())
}

/// Nanoseconds that the threads of this process that still run have been on a core: more precise than the ticks of a
/// [`Reading`].
pub fn running_ns() -> Option<u64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let of = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(threads.filter_map(|thread| of(thread.ok()?)).sum())
}

/// Bytes of the write-ahead log beside a database file. 0 if there is none.
pub fn log_bytes(database: &std::path::Path) -> u64 {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).map_or(0, |log| log.len())
}

fn status_of(process: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}
