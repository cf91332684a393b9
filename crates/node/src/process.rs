//! What the kernel tells of a process, and this one's figures under the names of Prometheus' client library.

use crate::Metrics;

/// Figures of one process, from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// Whether it has ended and only waits for its parent to learn of it.
    pub zombie: bool,
    /// Its process group.
    pub group: u32,
    /// CPU time so far, in milliseconds.
    pub cpu_ms: u64,
    /// How many threads it has.
    pub threads: u64,
    /// When it started, in clock ticks since the machine's start: with the id, this names a process beyond doubt.
    pub start_ticks: u64,
    /// Bytes of address space.
    pub virtual_size: u64,
    /// Bytes in memory.
    pub memory: u64,
}

impl ProcessStat {
    /// Of a process by its id; `None` when there is none.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name in parentheses may hold anything, also parentheses; the fields after it do not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Self {
            zombie: *fields.first()? == "Z",
            group: fields.get(2)?.parse().ok()?,
            cpu_ms: number(11)?.saturating_add(number(12)?).saturating_mul(1000) / ticks_per_second,
            threads: number(17)?,
            start_ticks: number(19)?,
            virtual_size: number(20)?,
            memory: number(21)?.saturating_mul(rustix::param::page_size() as u64),
        })
    }
}

/// Declares them; they are read at every scrape.
pub(crate) fn declare(metrics: &Metrics) {
    let gauge = |name: &str, help: &str| metrics.gauge(name, help, &[]).with(&[]);
    let cpu = gauge("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
    let resident = gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
    let virtual_size = gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.");
    let virtual_limit =
        gauge("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.");
    let descriptors = gauge("process_open_fds", "Number of open file descriptors.");
    let descriptor_limit = gauge("process_max_fds", "Maximum number of open file descriptors.");
    let threads = gauge("process_threads", "Number of OS threads of the process.");
    let started = gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
    let received =
        gauge("process_network_receive_bytes_total", "Number of bytes received by the process over the network.");
    let sent = gauge("process_network_transmit_bytes_total", "Number of bytes sent by the process over the network.");
    let boot = boot_time();
    metrics.on_scrape(move || {
        let Some(stat) = ProcessStat::of(std::process::id()) else { return };
        cpu.set(stat.cpu_ms as f64 / 1000.0);
        threads.set(stat.threads as f64);
        started.set(boot + stat.start_ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        virtual_size.set(stat.virtual_size as f64);
        resident.set(stat.memory as f64);
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        descriptors.set(open as f64);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        descriptor_limit.set(limit(&limits, "Max open files"));
        virtual_limit.set(limit(&limits, "Max address space"));
        let traffic = std::fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
        received.set(octets(&traffic, "InOctets"));
        sent.set(octets(&traffic, "OutOctets"));
    });
}

/// Seconds since the epoch at which the machine started.
fn boot_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
}

/// The soft limit of a resource; none is shown as the largest number, as Prometheus' library does.
fn limit(limits: &str, name: &str) -> f64 {
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    match line.split_whitespace().next() {
        Some("unlimited") => u64::MAX as f64,
        Some(number) => number.parse().unwrap_or(0.0),
        None => 0.0,
    }
}

/// A number of the table that holds names in one line and numbers in the next.
fn octets(table: &str, name: &str) -> f64 {
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else { return 0.0 };
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    pairs.find(|(known, _)| *known == name).and_then(|(_, number)| number.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_do_not_shift_the_figures() {
        let rest = "S 1 77 77 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 9000 4096 2 0";
        let stat = ProcessStat::parse(&format!("5 (a) Z (b c) {rest}")).unwrap();
        let (ticks, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64);
        assert_eq!((stat.zombie, stat.group, stat.threads, stat.start_ticks), (false, 77, 3, 9000));
        assert_eq!((stat.cpu_ms, stat.virtual_size, stat.memory), (200_000 / ticks, 4096, 2 * page));
        assert_eq!(ProcessStat::parse("5 (a) S 1"), None);
        assert!(ProcessStat::of(std::process::id()).unwrap().memory > 1_000_000);
    }

    #[test]
    fn tables_of_the_kernel_are_read() {
        let limits = "Limit    Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\nMax address space  unlimited  unlimited  bytes\n";
        assert_eq!(limit(limits, "Max open files").to_string(), "1024");
        assert_eq!(limit(limits, "Max address space").to_string(), (u64::MAX as f64).to_string());
        let table = "TcpExt: A B\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 77 88\n";
        assert_eq!(
            (octets(table, "InOctets").to_string(), octets(table, "OutOctets").to_string()),
            ("77".into(), "88".into())
        );
        assert!(boot_time() > 1e9);
    }
}
