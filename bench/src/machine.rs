//! What Linux reports about this process and the others. On other systems these columns stay empty.

use std::fs;

/// The unit of times in /proc (`USER_HZ`), the same on every Linux that Rust supports.
const TICK_US: u64 = 10_000;

/// Counters that only grow.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Processor time of this process, in microseconds.
    own_cpu_us: u64,
    /// Processor time of all processes, in microseconds.
    all_cpu_us: u64,
    /// Bytes that this process has written to the disk.
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
    // The name of the program may contain any character. It ends at the last parenthesis.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * TICK_US)
}

fn all_cpu_us() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|&at| fields.get(at)).sum::<u64>();
    Some(busy * TICK_US)
}

fn written_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}
