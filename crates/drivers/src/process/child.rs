//! One running process: known beyond doubt, told to stop, noticed when it ends.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use konsort_node::ProcessStat;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use crate::log::Log;
use crate::record::{Run, failed};
use crate::{DriverError, Launch, Stopped, now_ms};

/// A process of a node, held by a handle of the kernel that never means another process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) run: Run,
    handle: AsyncFd<OwnedFd>,
    /// Of a process that this very program started, whose exit status it is told.
    child: Option<Child>,
}

impl Process {
    /// Starts a node in a process group of its own, so that a signal to the platform's terminal is not for it.
    pub(super) fn spawn(program: &Path, launch: &Launch, log: &Log) -> Result<Self, DriverError> {
        let node = &launch.node.node;
        if !launch.folder.is_dir() {
            let why = "it is not there; make the node's files first".to_owned();
            return Err(DriverError::Failed { what: format!("use the folder {}", launch.folder.display()), why });
        }
        let output = log.open().map_err(|error| failed(&format!("open the log {}", log.path().display()), &error))?;
        let what = || format!("start {} for {node}", program.display());
        let errors = output.try_clone().map_err(|error| failed(&what(), &error))?;
        let child = Command::new(program)
            .args(&launch.args)
            .env_clear()
            .envs(&launch.env)
            .current_dir(&launch.folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(|error| failed(&what(), &error))?;
        let gone = || DriverError::Failed { what: what(), why: "it ended at once; its log tells why".to_owned() };
        let pid = child.id().ok_or_else(gone)?;
        let run = Run { pid, ticks: ticks(pid).unwrap_or_default(), boot: boot(), at: now_ms() };
        match open_handle(pid) {
            Ok(handle) => Ok(Self { run, handle, child: Some(child) }),
            Err(error) => {
                // Nobody would know of it.
                kill_group(pid);
                Err(failed(&what(), &error))
            }
        }
    }

    /// Takes over a process of an earlier run of this program; none when it is gone.
    pub(super) fn adopt(run: &Run) -> Result<Option<Self>, DriverError> {
        if run.boot != boot() {
            return Ok(None);
        }
        // First the handle, then the check: the handle is then of the process that was checked.
        match open_handle(run.pid) {
            Ok(handle) => Ok(is_alive(run).then(|| Self { run: run.clone(), handle, child: None })),
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
            Err(error) => Err(failed(&format!("take over process {}", run.pid), &error)),
        }
    }

    /// Waits for the end and says how it came about. Safe to drop and call again.
    pub(super) async fn ended(&mut self) -> String {
        if let Some(child) = &mut self.child {
            return match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => format!("it ended, its exit status cannot be read: {error}"),
            };
        }
        // Readable means ended.
        let _ended = self.handle.readable().await;
        "it ended; an earlier run of the platform had started it, so its exit status is not known".to_owned()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended already, which is what is wanted.
        let _gone = pidfd_send_signal(self.handle.get_ref(), signal);
    }

    /// Stops it, by force when `grace` has passed.
    pub(super) async fn stop(&mut self, grace: Duration) -> Stopped {
        self.signal(Signal::TERM);
        let how = if tokio::time::timeout(grace, self.ended()).await.is_ok() {
            Stopped::Gracefully
        } else {
            self.signal(Signal::KILL);
            self.ended().await;
            Stopped::Forced
        };
        self.sweep();
        how
    }

    /// Ends what an ended node has left behind (chaincode that it had started), which would hold its ports.
    pub(super) fn sweep(&self) {
        // The group's number cannot have been given to others as long as one of the group is left.
        kill_group(self.run.pid);
    }
}

fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _empty = kill_process_group(group, Signal::KILL);
    }
}

// The safe constructor is deprecated because some types could close their descriptor behind its back; an owned one cannot.
#[allow(deprecated, reason = "its successor is unsafe to call, and this is the case in which the old one is right")]
fn open_handle(pid: u32) -> std::io::Result<AsyncFd<OwnedFd>> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
    AsyncFd::new(pidfd_open(id, PidfdFlags::empty())?)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "it ended by itself without an error".to_owned(),
        (Some(code), _) => format!("it ended with exit code {code}; its log tells why"),
        (None, Some(9)) => "it was killed by signal 9, as the system does when memory runs out".to_owned(),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// Whether this very process still runs (a zombie does not).
pub(super) fn is_alive(run: &Run) -> bool {
    run.ticks != 0 && ticks(run.pid) == Some(run.ticks) && run.boot == boot()
}

/// Start time of a live process; none when there is none or only its zombie.
fn ticks(pid: u32) -> Option<u64> {
    ProcessStat::of(pid).filter(|stat| !stat.zombie).map(|stat| stat.start_ticks)
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// CPU time in milliseconds and resident memory in bytes.
pub(super) fn figures(pid: u32) -> Option<(u64, u64)> {
    ProcessStat::of(pid).map(|stat| (stat.cpu_ms, stat.memory))
}

/// A process of this launch that was made by a run of this program which died before it could write the id down: it writes to the
/// node's log, leads its group and was called with the launch's arguments.
pub(super) fn find_unrecorded(launch: &Launch, log: &Path) -> Option<Run> {
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let folder = entry.path();
        if std::fs::read_link(folder.join("fd/1")).is_ok_and(|output| output == log)
            && std::fs::read(folder.join("cmdline")).is_ok_and(|line| called_with(&line, &launch.args))
            && let Some(stat) = ProcessStat::of(pid).filter(|stat| stat.group == pid && !stat.zombie)
        {
            return Some(Run { pid, ticks: stat.start_ticks, boot: boot(), at: now_ms() });
        }
    }
    None
}

fn called_with(line: &[u8], args: &[String]) -> bool {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    line.split(|&byte| byte == 0).skip(1).eq(args.iter().map(String::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_id() {
        let pid = std::process::id();
        let run = Run { pid, ticks: ticks(pid).unwrap(), boot: boot(), at: 0 };
        assert!(is_alive(&run));
        assert!(!is_alive(&Run { ticks: run.ticks + 1, ..run.clone() }));
        assert!(!is_alive(&Run { boot: "another".into(), ..run.clone() }));
        assert!(figures(pid).unwrap().1 > 1_000_000);
    }

    #[test]
    fn command_lines_are_compared_in_full() {
        assert!(called_with(b"konsort\0peer\0node\0start\0", &["peer".into(), "node".into(), "start".into()]));
        assert!(!called_with(b"konsort\0peer\0node\0", &["peer".into(), "node".into(), "start".into()]));
        assert!(called_with(b"konsort\0", &[]));
    }
}
