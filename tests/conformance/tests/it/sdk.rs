//! The SDKs against the real program: each is generated and built as its README says, its quick start passes through a network
//! that loses answers, refuses requests and cuts streams, and what is refused arrives as an error with its code.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use conformance::{cache, konsort, once, run, workspace};
use konsort_crypto::{KeyKind, PrivateKey};
use konsort_pki::{CertificateTemplate, Name, key_file};
use serde_json::Value;

#[test]
fn the_python_quick_start_passes() {
    let folder = built("python", |folder| {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"])
            .args(["--upgrade", "--target", "packages", "-r", "requirements.txt"])
            .current_dir(folder))?;
        Ok(())
    });
    let path = std::env::join_paths([folder.join("packages"), folder.join("generated"), folder.clone()]).unwrap();
    let program = |name: &str| {
        let mut python = Command::new("python3");
        python.args(["-B", name]).env("PYTHONPATH", &path).current_dir(&folder);
        python
    };
    passes(program("examples/quickstart.py"), program("tests/refusals.py"));
}

#[test]
fn the_typescript_quick_start_passes() {
    let folder = built("typescript", |folder| {
        run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder))?;
        run(Command::new("npm").args(["run", "build"]).current_dir(folder))?;
        Ok(())
    });
    let program = |name: &str| {
        let mut node = Command::new("node");
        node.arg(folder.join("dist").join(name));
        node
    };
    passes(program("examples/quickstart.js"), program("tests/refusals.js"));
}

#[test]
fn the_go_quick_start_passes() {
    let folder = built("go", |folder| {
        std::fs::create_dir_all(folder.join("build"))?;
        run(Command::new("go").args(["build", "-o", "build/", "./examples/...", "./tests/..."]).current_dir(folder))?;
        run(Command::new("go").args(["vet", ".", "./examples/...", "./tests/..."]).current_dir(folder))?;
        Ok(())
    });
    let program = |name: &str| Command::new(folder.join("build").join(name));
    passes(program("quickstart"), program("refusals"));
}

#[test]
fn the_java_quick_start_passes() {
    let folder = built("java", |folder| {
        run(Command::new("mvn").args(["-q", "-B", "package"]).current_dir(folder))?;
        Ok(())
    });
    let program = |name: &str| {
        let mut java = Command::new("java");
        java.args(["-cp", "target/classes:target/lib/*", name]).current_dir(&folder);
        java
    };
    passes(program("examples/QuickStart.java"), program("tests/Refusals.java"));
}

/// A copy of an SDK, generated and built; again only when its sources or the API changed.
fn built(language: &str, build: impl FnOnce(&Path) -> anyhow::Result<()>) -> PathBuf {
    let source = workspace().join("sdk").join(language);
    let folder = cache("sdk").join(language);
    let files = sources(&source);
    let sdk = ["generate.py", "generator.txt"].map(|name| workspace().join("sdk").join(name));
    let api = workspace().join("crates/platform/openapi.json");
    let inputs: Vec<PathBuf> = files.iter().cloned().chain(sdk).chain([api]).collect();
    once(&folder, &inputs, || {
        // What was removed from the sources must not be built any more; packages are installed again by their tools.
        let _absent = std::fs::remove_dir_all(&folder);
        for file in &files {
            let target = folder.join(file.strip_prefix(&source)?);
            std::fs::create_dir_all(target.parent().unwrap_or(&folder))?;
            std::fs::copy(file, target)?;
        }
        run(Command::new("python3")
            .args(["-B", "generate.py", language, "--into"])
            .arg(cache("sdk"))
            .arg("--cache")
            .arg(cache("sdk"))
            .current_dir(workspace().join("sdk")))?;
        build(&folder)
    })
    .unwrap();
    folder
}

/// What is written by hand; a developer's own builds lie beside it.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let made = ["generated", "node_modules", "dist", "target", "build", "__pycache__"];
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name();
        if entry.path().is_dir() && !made.iter().any(|word| name == *word) {
            all.extend(sources(&entry.path()));
        } else if entry.path().is_file() {
            all.push(entry.path());
        }
    }
    all.sort();
    all
}

/// What `tests/refusals` of each SDK prints.
const REFUSALS: &str = "\
404 not_found method 对象不存在
no effect: True
refused_by_network failed
plan: True
session True
session_expired
";

/// Runs a quick start: what it wrote must be what it read, and every fault must have been met and overcome. Then runs what is
/// refused.
fn passes(mut quick_start: Command, mut refusals: Command) {
    let server = server();
    let proxy = Proxy::start(&server);
    let output = run(quick_start
        .env("KONSORT_URL", &proxy.url)
        .env("KONSORT_KEY", &server.key)
        .env("KONSORT_CA", server.folder.path().join("ca.pem")))
    .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let [deployed, fabric, bcos, "done"] = lines[..] else { panic!("{told}") };
    assert!(deployed.starts_with("deployed assets_"), "{told}");
    assert!(fabric.starts_with("fabric: wrote 300, read 300, block "), "{told}");
    assert!(bcos.starts_with("bcos: wrote 300, read 300, block "), "{told}");

    let met = proxy.finish();
    let count = |what: &str| met[what].as_u64().unwrap();
    // A deployment and two calls on each engine: each was carried out once, and answered when it was sent again.
    assert_eq!((count("lost"), count("replayed"), count("keyless")), (5, 5, 0), "{met}");
    assert_eq!((count("cut"), count("resumed")), (2, 2), "{met}");
    assert!(count("refused") > 5, "{met}");

    // Whoever shows a certificate that the trust root does not vouch for is not spoken to.
    let stranger = Proxy::start(&server);
    let refused = quick_start
        .env("KONSORT_URL", &stranger.url)
        .env("KONSORT_CA", server.folder.path().join("other.pem"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(stranger.finish()["refused"], 0);

    let output = run(refusals.env("KONSORT_URL", &server.url).env("KONSORT_KEY", &server.key)).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), REFUSALS);
}

/// `konsort up`: a server with a network of each engine.
struct Up {
    folder: tempfile::TempDir,
    url: String,
    key: String,
}

/// One for the tests that run at the same time.
fn server() -> Arc<Up> {
    static SHARED: Mutex<Weak<Up>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let up = Arc::new(Up::start());
        *shared = Arc::downgrade(&up);
        up
    })
}

impl Up {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut up = Self { folder, url: String::new(), key: String::new() };
        run(Command::new(konsort().unwrap())
            .args(["up", "--detach", "--output", "json", "--ports", "free", "--data"])
            .arg(up.data()))
        .unwrap();
        let record: Value = serde_json::from_slice(&std::fs::read(up.data().join("server.json")).unwrap()).unwrap();
        record["url"].as_str().unwrap().clone_into(&mut up.url);
        record["key"].as_str().unwrap().clone_into(&mut up.key);
        up.certificates();
        up
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A trust root with a certificate for 127.0.0.1, and a root that has nothing to do with it.
    fn certificates(&self) {
        let (from, until) = (1_700_000_000, 4_000_000_000);
        let root = |name: &str| {
            let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
            let certificate = CertificateTemplate::ca(Name::common_name(name), from, until).self_sign(&key).unwrap();
            (key, certificate)
        };
        let (ca_key, ca) = root("Trust root");
        let (_, other) = root("Somebody else");
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let own = CertificateTemplate::tls(Name::common_name("127.0.0.1"), from, until)
            .with_sans(["127.0.0.1"])
            .issue(key.public_key(), &ca, &ca_key)
            .unwrap();
        let write = |name: &str, text: &str| std::fs::write(self.folder.path().join(name), text).unwrap();
        write("ca.pem", &ca.pem());
        write("other.pem", &other.pem());
        write("tls.pem", &own.pem());
        key_file::write(&self.folder.path().join("tls.key"), &key).unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Ok(program) = konsort() {
            let _best_effort = Command::new(program).args(["down", "--data"]).arg(self.data()).output();
        }
    }
}

/// The bad network before the server.
struct Proxy {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    url: String,
}

impl Proxy {
    fn start(server: &Up) -> Self {
        let mut process = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/proxy.mjs"))
            .arg(&server.url)
            .args(["tls.key", "tls.pem"].map(|name| server.folder.path().join(name)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Self { process, output, url: told["url"].as_str().unwrap().to_owned() }
    }

    /// Ends it; gives what it did.
    fn finish(mut self) -> Value {
        drop(self.process.stdin.take());
        let mut told = String::new();
        self.output.read_to_string(&mut told).unwrap();
        serde_json::from_str(&told).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _ = self.process.wait();
    }
}
