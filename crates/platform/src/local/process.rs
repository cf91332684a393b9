//! Nodes as child processes: started from their configuration folder, known by process id and start time, stopped by signal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use super::LocalError;

/// How long a node may take to listen.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A started node. The start time guards against a process id that the system has given to someone else since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProcess {
    /// Name of the node.
    pub name: String,
    /// Process id.
    pub pid: i32,
    /// Start time of the process in clock ticks after boot (field 22 of `/proc/PID/stat`).
    pub started: u64,
}

impl NodeProcess {
    /// Starts a node by this command, its output going to the end of `log_path`.
    pub(super) fn start(name: &str, mut command: Command, log_path: &Path) -> Result<Self, LocalError> {
        let open = |source| LocalError::Io { what: format!("open the log {}", log_path.display()), source };
        let log = OpenOptions::new().create(true).append(true).open(log_path).map_err(open)?;
        let second = log.try_clone().map_err(open)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            // A Ctrl-C in the terminal is for the command, which then stops its nodes in order.
            .process_group(0)
            .spawn()
            .map_err(|source| LocalError::Io {
                what: format!("start {} for {name}", command.get_program().display()),
                source,
            })?;
        let pid = child.id() as i32;
        // The child is not waited for here: a detached start leaves it to init, a foreground start reaps it in `stopped`.
        let started = start_time(pid).unwrap_or_default();
        Ok(Self { name: name.to_owned(), pid, started })
    }

    /// The running process with an id, to be watched or ended later without mistaking another one for it.
    pub fn of(name: &str, pid: i32) -> Option<Self> {
        Some(Self { name: name.to_owned(), pid, started: start_time(pid)? })
    }

    /// Whether this very process still runs (a zombie does not).
    pub fn is_running(&self) -> bool {
        start_time(self.pid) == Some(self.started) && self.started != 0
    }

    /// Waits until the node accepts connections on all these ports of 127.0.0.1.
    pub(super) async fn listens_on(&self, ports: &[u16], log: &Path) -> Result<(), LocalError> {
        let until = Instant::now() + READY_TIMEOUT;
        for &port in ports {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
                let (node, log) = (self.name.clone(), log.to_path_buf());
                if !self.is_running() {
                    return Err(LocalError::NodeStopped { node, tail: log_tail(&log, 2000), log });
                }
                if Instant::now() > until {
                    let seconds = READY_TIMEOUT.as_secs();
                    return Err(LocalError::NotReady { node, endpoint: address.to_string(), seconds, log });
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Asks the process to stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && self.is_running()
            && test_kill_process(pid).is_ok()
        {
            // It may have ended between the check and here, which is what was wanted anyway.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// Start time of a live process, `None` when there is none or only its zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name stands in parentheses and may hold spaces; what follows the last one is regular.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The processes of the last start, as its file names them; none when there is no such file.
pub(super) fn read_all(file: &Path) -> Vec<NodeProcess> {
    std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Stops all given nodes: a polite signal to every one, then, after `grace`, the end.
pub(super) fn stop_all(processes: &[NodeProcess], grace: Duration) -> Vec<String> {
    for process in processes {
        process.terminate();
    }
    let until = Instant::now() + grace;
    while Instant::now() < until && processes.iter().any(NodeProcess::is_running) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut forced = Vec::new();
    for process in processes.iter().filter(|process| process.is_running()) {
        process.kill();
        forced.push(process.name.clone());
    }
    forced
}

/// The last `bytes` of a log, from a line start.
fn log_tail(path: &Path, bytes: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(match text.split_once('\n') {
            Some((_, rest)) if length > bytes => rest.to_owned(),
            _ => text,
        })
    };
    read().unwrap_or_default()
}
