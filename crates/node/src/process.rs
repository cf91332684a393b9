//! The process's own figures, under the names of Prometheus' client library.

use crate::Metrics;

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
        let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
        // The name in parentheses may hold spaces; the fields after it do not.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        cpu.set((number(11) + number(12)) / ticks);
        threads.set(number(17));
        started.set(boot + number(19) / ticks);
        virtual_size.set(number(20));
        resident.set(number(21) * rustix::param::page_size() as f64);
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
