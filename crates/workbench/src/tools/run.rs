//! Running a program under limits: its whole process group ends with it, in time, and its output is bounded.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use konsort_node::{Environment, ProcessStat};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::Tools;

/// The most bytes of one line that are kept.
const MAX_LINE_BYTES: usize = 256 * 1024;
/// How often memory and time are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the output of a program that has ended is waited for.
const DRAIN: Duration = Duration::from_secs(2);

/// What a program may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) time: Duration,
    /// Bytes in memory of the whole process group.
    pub(crate) memory: u64,
    /// Bytes of output.
    pub(crate) output: u64,
}

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// Its home and temporary folder.
    pub(crate) home: PathBuf,
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Folders it may write in, when builds are confined.
    pub(crate) own: Vec<PathBuf>,
    /// Files and folders it may read besides the system's.
    pub(crate) read: Vec<PathBuf>,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
    Time,
    Memory,
    Output,
}

impl Ended {
    /// In words, for logs.
    pub(crate) fn words(self, limits: Limits) -> String {
        match self {
            Self::Code(code) => format!("ended with code {code}"),
            Self::Signal(signal) => format!("ended by signal {signal}"),
            Self::Time => format!("was stopped after {} seconds", limits.time.as_secs()),
            Self::Memory => format!("was stopped: it used more than {} MiB of memory", limits.memory >> 20),
            Self::Output => format!("was stopped: it wrote more than {} KiB of output", limits.output >> 10),
        }
    }
}

/// A process group that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    group: Option<Pid>,
}

impl Running {
    pub(crate) fn of(child: &tokio::process::Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { group }
    }

    /// Ends everything in it.
    pub(crate) fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Bytes in memory of all its processes.
    pub(crate) fn memory(&self) -> u64 {
        self.group.map_or(0, |group| group_memory(group.as_raw_nonzero().get().unsigned_abs()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Resident bytes of all processes of a group.
fn group_memory(group: u32) -> u64 {
    let Ok(folder) = std::fs::read_dir("/proc") else { return 0 };
    let ids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(ProcessStat::of).filter(|stat| stat.group == group).map(|stat| stat.memory).sum()
}

/// The command of a start, with a clean environment, in a process group of its own.
pub(crate) fn command(tools: &Tools, start: &Start) -> Command {
    let mut command = match &tools.confine {
        None => Command::new(&start.program),
        Some(helper) => {
            let mut command = Command::new(helper);
            command.arg("confine").arg("--parent").arg(std::process::id().to_string());
            for folder in &start.own {
                command.arg("--own").arg(folder);
            }
            let tool_folders = tools.path().split(':').filter(|folder| folder.starts_with('/')).flat_map(beside);
            for path in start.read.iter().cloned().chain(tool_folders).chain([start.program.clone()]) {
                command.arg("--read").arg(path);
            }
            if tools.strict {
                command.arg("--strict").arg("true");
            }
            command.arg("--files").arg("4096").arg("--").arg(&start.program);
            command
        }
    };
    command.args(&start.args).current_dir(&start.folder).env_clear();
    command.env("PATH", tools.path()).env("HOME", &start.home).env("TMPDIR", &start.home);
    for name in Environment::COMMON.iter().chain(&Environment::BUILDING) {
        if let Some(value) = tools.variable(name) {
            command.env(name, value);
        }
    }
    for (name, value) in &start.variables {
        command.env(name, value);
    }
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// A folder of programs, and the folders beside it that hold their libraries.
fn beside(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(folder);
    let mut folders = vec![folder.to_path_buf()];
    if folder.file_name().is_some_and(|name| name == "bin")
        && let Some(parent) = folder.parent()
    {
        let libraries = ["lib", "lib64", "libexec"].map(|name| parent.join(name));
        folders.extend(libraries.into_iter().filter(|path| path.is_dir()));
    }
    folders
}

/// Runs a program to its end; `line` gets every line it writes.
pub(crate) async fn run(
    tools: &Tools,
    start: &Start,
    limits: Limits,
    line: &(dyn Fn(Stream, &str) + Send + Sync),
) -> io::Result<Ended> {
    let mut child = command(tools, start).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut group = Running::of(&child);
    let (sender, mut lines) = mpsc::channel(256);
    let mut readers = tokio::task::JoinSet::new();
    if let Some(out) = child.stdout.take() {
        readers.spawn(read_lines(out, Stream::Out, sender.clone()));
    }
    if let Some(err) = child.stderr.take() {
        readers.spawn(read_lines(err, Stream::Err, sender.clone()));
    }
    drop(sender);
    let deadline = Instant::now() + limits.time;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = 0_u64;
    let mut open = true;
    let mut ended = None;
    // Until when what is left in the streams is waited for, once it has ended.
    let mut drain = deadline;
    while open || ended.is_none() {
        let before = ended;
        tokio::select! {
            next = lines.recv(), if open => match next {
                Some((stream, text, bytes)) => {
                    written += bytes as u64;
                    if written > limits.output {
                        ended.get_or_insert(Ended::Output);
                    } else {
                        line(stream, &text);
                    }
                }
                None => open = false,
            },
            status = child.wait(), if ended.is_none() => ended = Some(outcome(status?)),
            _ = look.tick(), if ended.is_none() => {
                if Instant::now() >= deadline {
                    ended = Some(Ended::Time);
                } else if group.memory() > limits.memory {
                    ended = Some(Ended::Memory);
                }
            }
            // A process that has left the group may hold them for ever.
            () = tokio::time::sleep_until(drain), if ended.is_some() => break,
        }
        if before.is_none() && ended.is_some() {
            // Whatever it left in the background would keep the streams open.
            group.kill();
            drain = Instant::now() + DRAIN;
        }
    }
    // So that it is no zombie; how it ended is known.
    let _ended = tokio::time::timeout(DRAIN, child.wait()).await;
    Ok(ended.unwrap_or(Ended::Time))
}

fn outcome(status: std::process::ExitStatus) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().map_or_else(|| Ended::Signal(status.signal().unwrap_or(0)), Ended::Code)
}

/// Sends every line; what is too long is cut, so that a program that never ends its line costs nothing.
async fn read_lines(mut reader: impl AsyncRead + Unpin, stream: Stream, sender: mpsc::Sender<(Stream, String, usize)>) {
    let mut chunk = vec![0_u8; 16 * 1024];
    let mut line: Vec<u8> = Vec::new();
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for byte in &chunk[..count] {
            let full = line.len() >= MAX_LINE_BYTES;
            if *byte != b'\n' && !full {
                line.push(*byte);
                continue;
            }
            if sender.send((stream, text(&line), line.len() + 1)).await.is_err() {
                return;
            }
            line.clear();
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
    }
    if !line.is_empty() {
        let _ = sender.send((stream, text(&line), line.len())).await;
    }
}

/// A line without the codes that colour terminals.
fn text(line: &[u8]) -> String {
    let mut plain = String::new();
    let lossy = String::from_utf8_lossy(line);
    let mut letters = lossy.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.peek() == Some(&'[') => {
                letters.next();
                for code in letters.by_ref() {
                    if ('@'..='~').contains(&code) {
                        break;
                    }
                }
            }
            '\t' => plain.push('\t'),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    const LIMITS: Limits = Limits { time: Duration::from_secs(20), memory: 1 << 30, output: 1 << 20 };

    async fn shell(script: &str, limits: Limits) -> (Ended, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let start = Start {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            folder: folder.path().into(),
            home: folder.path().into(),
            variables: Vec::new(),
            own: Vec::new(),
            read: Vec::new(),
        };
        let lines = Mutex::new(Vec::new());
        let tools = Tools::new([("PATH", "/usr/bin:/bin"), ("SECRET", "42"), ("LANG", "C")]);
        let ended = run(&tools, &start, limits, &|_, line| lines.lock().push(line.to_owned())).await.unwrap();
        (ended, lines.into_inner())
    }

    #[tokio::test]
    async fn lines_and_the_code_arrive_and_the_environment_is_clean() {
        let (ended, mut lines) =
            shell("echo \"[$SECRET] $LANG\"; printf '\\033[31mred\\033[0m' >&2; exit 3", LIMITS).await;
        lines.sort();
        assert_eq!((ended, lines), (Ended::Code(3), vec!["[] C".to_owned(), "red".to_owned()]));
    }

    #[tokio::test]
    async fn what_never_ends_is_stopped_with_its_children() {
        let limits = Limits { time: Duration::from_secs(2), ..LIMITS };
        let begun = Instant::now();
        let (ended, lines) = shell("sleep 60 & echo $!; wait", limits).await;
        assert_eq!(ended, Ended::Time);
        assert!(begun.elapsed() < Duration::from_secs(20));
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", lines[0].trim())).unwrap_or_default();
        // The end of a killed process is not instant.
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the child lives on: {}", state());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_child_in_the_background_does_not_hold_the_end_back() {
        let begun = Instant::now();
        let (ended, _) = shell("sleep 60 & exit 0", LIMITS).await;
        assert_eq!(ended, Ended::Code(0));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_child_that_has_left_the_group_does_not_hold_the_end_back() {
        let begun = Instant::now();
        let (ended, lines) = shell("setsid sleep 25 & echo done", LIMITS).await;
        assert_eq!((ended, lines), (Ended::Code(0), vec!["done".to_owned()]));
        assert!(begun.elapsed() < Duration::from_secs(15));
    }

    #[tokio::test]
    async fn a_program_that_closes_its_output_is_watched_all_the_same() {
        let limits = Limits { time: Duration::from_millis(500), ..LIMITS };
        assert_eq!(shell("exec >&- 2>&-; sleep 30", limits).await.0, Ended::Time);
        assert_eq!(shell("exec >&- 2>&-; exit 4", LIMITS).await.0, Ended::Code(4));
    }

    #[tokio::test]
    async fn endless_output_and_endless_lines_are_stopped() {
        let limits = Limits { output: 100_000, ..LIMITS };
        assert_eq!(shell("yes", limits).await.0, Ended::Output);
        assert_eq!(shell("cat /dev/zero", limits).await.0, Ended::Output);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let limits = Limits { memory: 40 << 20, ..LIMITS };
        let (ended, _) = shell("x=$(head -c 150000000 /dev/zero | tr '\\0' a); sleep 30", limits).await;
        assert_eq!(ended, Ended::Memory);
    }
}
