//! Compiler processes: one per compiler in use, kept ready for a while, stopped when they take too long or too much.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::store::SOLJSON;
use super::{CompilerError, CompilerInfo, CompilerSettings, failed};
use crate::tools::{Ended, Limits, Running, Start, Stream, command, run};
use crate::values::Suite;

/// How long an unused process stays.
const IDLE: Duration = Duration::from_mins(1);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The longest answer.
const MAX_ANSWER_BYTES: u64 = 128 * 1024 * 1024;
const SCRIPT: &str = include_str!("worker.js");

/// Why there is no output.
#[derive(Debug)]
pub(super) enum Stopped {
    Time,
    Memory,
    Failed(CompilerError),
}

impl From<CompilerError> for Stopped {
    fn from(error: CompilerError) -> Self {
        Self::Failed(error)
    }
}

#[derive(Debug)]
pub(super) struct Workers {
    settings: CompilerSettings,
    permits: Semaphore,
    idle: Arc<Mutex<Vec<Idle>>>,
    native: tokio::sync::OnceCell<Option<CompilerInfo>>,
}

#[derive(Debug)]
struct Idle {
    version: String,
    since: Instant,
    process: Process,
}

#[derive(Debug)]
struct Process {
    // Dropping ends the whole process group; the child is kept so that it is waited for.
    group: Running,
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    version: String,
}

impl Workers {
    pub(super) fn new(settings: &CompilerSettings) -> Self {
        Self {
            settings: settings.clone(),
            permits: Semaphore::new(settings.processes.max(1)),
            idle: Arc::default(),
            native: tokio::sync::OnceCell::new(),
        }
    }

    /// Ends the idle processes of a compiler whose file changes.
    pub(super) fn forget(&self, version: &str) {
        self.idle.lock().retain(|idle| idle.version != version);
    }

    /// The compiler on the search path.
    pub(super) async fn native(&self) -> Option<CompilerInfo> {
        self.native.get_or_init(|| async { self.look_for_native().await }).await.clone()
    }

    async fn look_for_native(&self) -> Option<CompilerInfo> {
        let tools = self.settings.tools.unconfined();
        let start = self.start(tools.find("solc")?, vec!["--version".into()]);
        let limits = Limits { time: Duration::from_secs(10), memory: 1 << 30, output: 64 * 1024 };
        let said = Mutex::new(String::new());
        let hear = |stream: Stream, line: &str| {
            if stream == Stream::Out {
                said.lock().push_str(line);
                said.lock().push('\n');
            }
        };
        if run(&tools, &start, limits, &hear).await.ok()? != Ended::Code(0) {
            return None;
        }
        let said = said.into_inner();
        let long_version = said.lines().find_map(|line| line.trim().strip_prefix("Version: "))?.trim().to_owned();
        let version = long_version.split(['+', '-']).next()?.to_owned();
        super::Release::parse(&version)?;
        Some(CompilerInfo {
            version,
            long_version,
            installed: true,
            origin: "native".into(),
            suite: Suite::Keccak,
            size: 0,
            sha256: String::new(),
        })
    }

    fn start(&self, program: PathBuf, args: Vec<OsString>) -> Start {
        Start {
            program,
            args,
            folder: self.settings.store.clone(),
            home: self.settings.store.clone(),
            variables: Vec::new(),
            own: Vec::new(),
            read: Vec::new(),
        }
    }

    /// Starts a process for a soljson file and waits until it is ready. An uploaded file is a program of somebody else's: it is confined
    /// when there is something to confine it with.
    async fn open(&self, soljson: &Path, uploaded: bool) -> Result<Process, Stopped> {
        let tools = if uploaded { self.settings.tools.strict() } else { self.settings.tools.unconfined() };
        let node = tools.find("node").ok_or_else(|| CompilerError::MissingProgram {
            program: "node".into(),
            remedy: "install Node.js 18 or newer, or a native solc".into(),
        })?;
        let soljson = soljson.canonicalize().map_err(failed("find the compiler's file"))?;
        // The heap of scripts; what WebAssembly takes is looked at from outside.
        let heap = format!("--max-old-space-size={}", (self.settings.memory >> 20).max(64));
        let args = vec![heap.into(), "-e".into(), SCRIPT.into(), "--".into(), "worker".into(), soljson.clone().into()];
        let mut start = self.start(node, args);
        start.read.extend(soljson.parent().map(Path::to_path_buf));
        let mut child = command(&tools, &start)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start the compiler process"))?;
        let group = Running::of(&child);
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(CompilerError::Process("it has no input or output".into()).into());
        };
        let output = BufReader::new(output);
        let mut process = Process { group, _child: child, input, output, version: String::new() };
        let hello = process.answer(self.settings.time, self.settings.memory).await?;
        if let Some(version) = hello["version"].as_str() {
            version.clone_into(&mut process.version);
            return Ok(process);
        }
        let why = hello["error"].as_str().unwrap_or("it does not answer as a compiler").to_owned();
        Err(CompilerError::NotACompiler(why).into())
    }

    /// What a soljson file says of itself: its version, and the hash of its selectors by a contract whose selector is known.
    pub(super) async fn probe(&self, soljson: &Path, uploaded: bool) -> Result<(String, Suite), CompilerError> {
        let _permit = self.permits.acquire().await;
        self.make_room();
        let fault = |stopped: Stopped| match stopped {
            Stopped::Failed(error) => error,
            Stopped::Time => CompilerError::NotACompiler("it did not answer in time".into()),
            Stopped::Memory => CompilerError::NotACompiler("it used too much memory".into()),
        };
        let mut process = self.open(soljson, uploaded).await.map_err(fault)?;
        let input = json!({
            "language": "Solidity",
            "sources": { "a.sol": { "content": "contract A { function set(uint256 x) public {} }" } },
            "settings": { "outputSelection": { "*": { "*": ["evm.methodIdentifiers"] } } },
        });
        let output = process.compile(&input.to_string(), &self.settings).await.map_err(fault)?;
        let output: Value =
            serde_json::from_str(&output).map_err(|error| CompilerError::NotACompiler(error.to_string()))?;
        let selector = output["contracts"]["a.sol"]["A"]["evm"]["methodIdentifiers"]["set(uint256)"].as_str();
        let selector = format!("0x{}", selector.unwrap_or_default());
        let suite = [Suite::Keccak, Suite::Sm3].into_iter().find(|suite| suite.selector("set(uint256)") == selector);
        let suite =
            suite.ok_or_else(|| CompilerError::NotACompiler("it does not compile the simplest contract".into()))?;
        Ok((process.version.clone(), suite))
    }

    /// Compiles with a process that is ready, or a new one.
    pub(super) async fn compile(&self, info: &CompilerInfo, input: &str) -> Result<String, Stopped> {
        let permit = self.permits.acquire().await;
        if info.origin == "native" {
            return self.compile_natively(input).await;
        }
        let ready = {
            let mut idle = self.idle.lock();
            let found = idle.iter().position(|idle| idle.version == info.version);
            found.map(|index| idle.swap_remove(index).process)
        };
        let soljson = self.settings.store.join(&info.version).join(SOLJSON);
        let uploaded = info.origin == super::UPLOADED;
        if ready.is_none() {
            self.make_room();
        }
        let warm = ready.is_some();
        let mut process = match ready {
            Some(process) => process,
            None => self.open(&soljson, uploaded).await?,
        };
        let output = match process.compile(input, &self.settings).await {
            // One that waited may have ended meanwhile; a fresh one tells whether the sources are the reason.
            Err(Stopped::Failed(CompilerError::Process(_))) if warm => {
                process = self.open(&soljson, uploaded).await?;
                process.compile(input, &self.settings).await?
            }
            other => other?,
        };
        self.idle.lock().push(Idle { version: info.version.clone(), since: Instant::now(), process });
        drop(permit);
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
            if let Some(idle) = Weak::upgrade(&idle) {
                idle.lock().retain(|idle| idle.since.elapsed() < IDLE);
            }
        });
        Ok(output)
    }

    /// Ends idle processes so that never more than allowed exist.
    fn make_room(&self) {
        let mut idle = self.idle.lock();
        let busy = self.settings.processes.max(1) - self.permits.available_permits();
        while idle.len() + busy > self.settings.processes.max(1) {
            let Some(oldest) = (0..idle.len()).min_by_key(|index| idle[*index].since) else { return };
            idle.swap_remove(oldest);
        }
    }

    async fn compile_natively(&self, input: &str) -> Result<String, Stopped> {
        let tools = self.settings.tools.unconfined();
        let solc = tools.find("solc").ok_or_else(|| CompilerError::NotInstalled("native".into()))?;
        let start = self.start(solc, vec!["--standard-json".into()]);
        let mut child = command(&tools, &start)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start the compiler"))?;
        let mut group = Running::of(&child);
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(CompilerError::Process("it has no input or output".into()).into());
        };
        let input = input.to_owned();
        // Written beside reading, or both sides could wait for each other.
        let writing = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
        let mut answer = String::new();
        let reading = async {
            let mut stdout = stdout.take(MAX_ANSWER_BYTES);
            stdout.read_to_string(&mut answer).await
        };
        let watched = watch(reading, &group, self.settings.time, self.settings.memory).await;
        group.kill();
        writing.abort();
        watched?.map_err(|error| CompilerError::Process(error.to_string()))?;
        Ok(answer)
    }
}

impl Process {
    async fn compile(&mut self, input: &str, settings: &CompilerSettings) -> Result<String, Stopped> {
        let line = json!({ "input": input }).to_string();
        let written = async {
            self.input.write_all(line.as_bytes()).await?;
            self.input.write_all(b"\n").await?;
            self.input.flush().await
        };
        match tokio::time::timeout(settings.time, written).await {
            Err(_) => return Err(Stopped::Time),
            Ok(Err(error)) => return Err(CompilerError::Process(error.to_string()).into()),
            Ok(Ok(())) => {}
        }
        let answer = self.answer(settings.time, settings.memory).await?;
        match (&answer["output"], &answer["error"]) {
            (Value::String(output), _) => Ok(output.clone()),
            (_, Value::String(error)) => Err(CompilerError::Process(error.clone()).into()),
            _ => Err(CompilerError::Process("it answered without output".into()).into()),
        }
    }

    async fn answer(&mut self, time: Duration, memory: u64) -> Result<Value, Stopped> {
        let mut line = Vec::new();
        let reading = async {
            let mut output = (&mut self.output).take(MAX_ANSWER_BYTES);
            output.read_until(b'\n', &mut line).await
        };
        watch(reading, &self.group, time, memory).await?.map_err(|error| CompilerError::Process(error.to_string()))?;
        if line.last() != Some(&b'\n') {
            return Err(CompilerError::Process("it ended in the middle of its work".into()).into());
        }
        serde_json::from_slice(&line).map_err(|error| CompilerError::Process(error.to_string()).into())
    }
}

/// Waits for something while looking at time and memory of a process group.
async fn watch<T>(future: impl Future<Output = T>, group: &Running, time: Duration, memory: u64) -> Result<T, Stopped> {
    let deadline = Instant::now() + time;
    let mut look = tokio::time::interval(LOOK);
    tokio::pin!(future);
    loop {
        tokio::select! {
            done = &mut future => return Ok(done),
            _ = look.tick() => {
                if Instant::now() >= deadline {
                    return Err(Stopped::Time);
                }
                if group.memory() > memory {
                    return Err(Stopped::Memory);
                }
            }
        }
    }
}
