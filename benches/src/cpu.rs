//! CPU time of processes, read from `/proc`.

use std::collections::BTreeMap;

/// Clock ticks per second of `/proc/PID/stat`; 100 on every Linux that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process whose CPU time counts for a role.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// Role, as `peer`, `orderer`, `chaincode`.
    pub(crate) role: String,
    /// Process id.
    pub(crate) pid: u32,
}

fn fields(pid: u32) -> Option<Vec<u64>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(')')?.1;
    Some(rest.split_ascii_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect())
}

/// User and system time of a process in milliseconds, all its threads (ended ones too) together.
pub(crate) fn milliseconds(pid: u32) -> f64 {
    // Fields 14 and 15 of the line; the first three are gone.
    fields(pid).map_or(0.0, |fields| {
        (fields.get(10).unwrap_or(&0) + fields.get(11).unwrap_or(&0)) as f64 * 1000.0 / TICKS_PER_SECOND
    })
}

/// The processes below a process, by parent id.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Some(fields) = fields(pid)
        {
            parents.insert(pid, fields.first().copied().unwrap_or(0) as u32);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.remove(0);
    found
}

/// CPU milliseconds per role at one instant.
pub(crate) fn by_role(processes: &[Watched]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for process in processes {
        *sums.entry(process.role.clone()).or_insert(0.0) += milliseconds(process.pid);
    }
    sums
}

/// What each role used between two instants, per unit of work.
pub(crate) fn difference(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    units: usize,
) -> BTreeMap<String, f64> {
    let units = units.max(1) as f64;
    let mut result: BTreeMap<String, f64> =
        after.iter().map(|(role, end)| (role.clone(), (end - before.get(role).unwrap_or(&0.0)) / units)).collect();
    result.insert("total".into(), result.values().sum());
    result
}

/// Resident memory of a process in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}
