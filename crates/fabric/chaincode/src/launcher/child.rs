//! Child processes: started in a process group of their own, output to a log, ended as a group.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{OnceLock, mpsc},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    sync::{oneshot, watch},
};

use super::{RunningProcess, logfile::LogFile};

/// After a polite request to end.
const GRACE: Duration = Duration::from_secs(2);
/// How much of a failed command's output goes into the error.
const TAIL: usize = 1500;

struct Job {
    command: Command,
    runtime: tokio::runtime::Handle,
    reply: oneshot::Sender<io::Result<tokio::process::Child>>,
}

/// Children are told to die with the thread that started them, so that thread must live as long as the process: it is one of its own,
/// not one of the runtime's, which come and go.
async fn spawn(command: Command) -> io::Result<tokio::process::Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let started = std::thread::Builder::new().name("chaincode-spawner".into()).spawn(move || {
            for Job { mut command, runtime, reply } in jobs {
                let _context = runtime.enter();
                let _ = reply.send(command.spawn());
            }
        });
        if let Err(error) = started {
            tracing::error!("cannot start the thread that starts chaincode: {error}");
        }
        sender
    });
    let gone = || io::Error::other("the thread that starts chaincode is not running");
    let (reply, child) = oneshot::channel();
    let job = Job { command, runtime: tokio::runtime::Handle::current(), reply };
    spawner.send(job).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Child {
    group: Option<Pid>,
    ended: watch::Receiver<Option<String>>,
    log: PathBuf,
    /// The last output, for errors.
    tail: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
}

impl Child {
    /// Starts a command; its output goes to the log, its input is empty. `cleanup` is removed when it has ended.
    pub(crate) async fn start(mut command: Command, log: &Path, cleanup: Option<PathBuf>) -> io::Result<Self> {
        let mut file = LogFile::open(log)?;
        let line = format!("--- konsort: starting {}\n", command.as_std().get_program().display());
        file.write(line.as_bytes())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = spawn(command).await?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let tail = std::sync::Arc::<parking_lot::Mutex<Vec<u8>>>::default();
        let file = std::sync::Arc::new(parking_lot::Mutex::new(file));
        let pumps = [
            child.stdout.take().map(|pipe| pump(pipe, file.clone(), tail.clone()).boxed()),
            child.stderr.take().map(|pipe| pump(pipe, file.clone(), tail.clone()).boxed()),
        ];
        let pumps: Vec<_> = pumps.into_iter().flatten().map(tokio::spawn).collect();
        let (sender, ended) = watch::channel(None);
        tokio::spawn(async move {
            let code = match child.wait().await {
                Ok(status) => exit_text(status),
                Err(error) => format!("unknown status: {error}"),
            };
            // What it left behind in its group has no parent to end it.
            kill(group, Signal::KILL);
            for pump in pumps {
                // A descendant outside the group may hold the pipe open.
                let _ = tokio::time::timeout(Duration::from_millis(500), pump).await;
            }
            let _ = file.lock().write(format!("--- konsort: ended with {code}\n").as_bytes());
            if let Some(folder) = cleanup {
                let _ = std::fs::remove_dir_all(folder);
            }
            let _ = sender.send(Some(code));
        });
        Ok(Self { group, ended, log: log.to_path_buf(), tail })
    }

    /// Waits for the end; `Ok` for exit code 0, else the code and the last lines of output.
    pub(crate) async fn finish(self) -> Result<(), String> {
        let code = self.wait().await;
        if code == "0" {
            return Ok(());
        }
        let tail = self.tail.lock();
        let text = String::from_utf8_lossy(&tail);
        let text = text.trim();
        Err(if text.is_empty() { format!("exit status {code}") } else { format!("exit status {code}: {text}") })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.borrow().is_none() {
            kill(self.group, Signal::KILL);
        }
    }
}

impl RunningProcess for Child {
    fn wait(&self) -> BoxFuture<'_, String> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(code) => code.clone().unwrap_or_default(),
                Err(_) => "unknown status".to_owned(),
            }
        }
        .boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        async move {
            kill(self.group, Signal::TERM);
            if tokio::time::timeout(GRACE, self.wait()).await.is_err() {
                kill(self.group, Signal::KILL);
                let _ = tokio::time::timeout(GRACE, self.wait()).await;
            }
        }
        .boxed()
    }

    fn log(&self) -> Option<PathBuf> {
        Some(self.log.clone())
    }
}

fn kill(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may have ended already.
        let _ = kill_process_group(group, signal);
    }
}

fn exit_text(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

async fn pump(
    mut pipe: impl AsyncRead + Unpin,
    file: std::sync::Arc<parking_lot::Mutex<LogFile>>,
    tail: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let bytes = &buffer[..count];
        {
            let mut tail = tail.lock();
            tail.extend_from_slice(bytes);
            let surplus = tail.len().saturating_sub(TAIL);
            tail.drain(..surplus);
        }
        // A full disk costs the log, not the chaincode.
        let wait = file.lock().write(bytes).ok().flatten();
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
    }
}
