//! The compilers that can be installed from the package registry: each with the hash under which it was published, so that nothing
//! else is ever run, whatever the registry answers.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use flate2::read::GzDecoder;
use konsort_crypto::HashAlgorithm;

use super::store::{MAX_SOLJSON_BYTES, Scratch};
use super::{CompilerError, CompilerSettings, failed};
use crate::tools::{Ended, Limits, Start, run};

/// Version, and the SHA-512 of its package `solc` in base64, as the registry's metadata states it (`dist.integrity`).
pub(super) const PUBLISHED: [(&str, &str); 15] = [
    ("0.4.25", "jU1YygRVy6zatgXrLY2rRm7HW1d7a8CkkEgNJwvH2VLpWhMFsMdWcJn6kUqZwcSz/Vm+w89dy7Z/aB5p6AFTrg=="),
    ("0.4.26", "o+c6FpkiHd+HPjmjEVpQgH7fqZ14tJpXhho+/bQXlXbliLIS/xjXb42Vxh+qQY1WCSTMQ0+a5vR9vi0MfhU6mA=="),
    ("0.5.2", "gZSRM+2HKe8TXeXE+RJtdPq9+8IxpukMnUXXfphJ4d5duHfKfi7lu0eBFh6WSWvnYQ8xis+sfidiurOop2q1KQ=="),
    ("0.5.17", "qpX+PGaU0Q3c6lh2vDzMoIbhv6bIrecI4bYsx+xUs01xsGFnY6Nr0L8y/QMyutTnrHN6Lb/Yl672ZVRqxka96w=="),
    ("0.6.10", "+oHwIvNjg3bxXvL9yua/Z4ZFEdkCkgRSh7aIGGb+mf/gzoA8PRKiKGYDsjMaj0CJLH1BTBOUpNFeYhhnUFfjRg=="),
    ("0.6.12", "Lm0Ql2G9Qc7yPP2Ba+WNmzw2jwsrd3u4PobHYlSOxaut3TtUbj9+5ZrT6f4DUpNPEoBaFUOEg9Op9C0mk7ge9g=="),
    ("0.7.6", "WsR/W7CXwh2VnmZapB4JrsDeLlshoKBz5Pz/zYNulB6LBsOEHI2Zj/GeKLMFcvv57OHiXHvxq5ZOQB+EdqxlxQ=="),
    ("0.8.11", "CdK4pk6VZowmXv7l4lftbr/QUWsHEr+xcdcGHJVgynD08gRwFT4zAFCb3b/eR0FUVVszcHulpGJwEoKRKKrnKw=="),
    ("0.8.19", "yqurS3wzC4LdEvmMobODXqprV4MYJcVtinuxgrp61ac8K2zz40vXA0eSAskSHPgv8dQo7Nux39i3QBsHx4pqyA=="),
    ("0.8.20", "fPRnGspIEqmhu63RFO3pc79sLA7ZmzO0Uy0L5l6hEt2wAsq0o7UV6pXkAp3Mfv9IBhg7Px/oTu3a+y4gs3BWrQ=="),
    ("0.8.24", "G5yUqjTUPc8Np74sCFwfsevhBPlUifUOfhYrgyu6CmYlC6feSw0YS6eZW47XDT23k3JYdKx5nJ+Q7whCEmNcoA=="),
    ("0.8.26", "yiPQNVf5rBFHwN6SIf3TUUvVAFKcQqmSUFeq+fb6pNRCo0ZCgpYOZDi3BVoezCPIAcKrVYd/qXlBLUP9wVrZ9g=="),
    ("0.8.28", "AFCiJ+b4RosyyNhnfdVH4ZR1+TxiL91iluPjw0EJslIu4LXGM9NYqi2z5y8TqochC4tcH9QsHfwWhOIC9jPDKA=="),
    ("0.8.30", "9Srk/gndtBmoUbg4CE6ypAzPQlElv8ntbnl6SigUBAzgXKn35v87sj04uZeoZWjtDkdzT0qKFcIo/wl63UMxdw=="),
    ("0.8.37", "ieUYdPDRGNKMsZpCfi9tY64Q+ASoL8tyhLuvf9cFiqDs+6ijlx8Wn2CRi0N71AlCvRx0V092rlUYu3b3PuxWlA=="),
];

/// The public registry, for machines whose npm says nothing else.
const REGISTRY: &str = "https://registry.npmjs.org";
/// The largest package.
const MAX_PACKAGE_BYTES: u64 = 64 * 1024 * 1024;
/// What a download may take.
const LIMITS: Limits = Limits { time: Duration::from_mins(5), memory: 1 << 30, output: 1 << 20 };

pub(super) fn integrity(version: &str) -> Option<&'static str> {
    PUBLISHED.iter().find(|(known, _)| *known == version).map(|(_, hash)| *hash)
}

/// Downloads a package and takes its soljson file out.
pub(super) async fn download(
    settings: &CompilerSettings,
    version: &str,
    integrity: &str,
) -> Result<Vec<u8>, CompilerError> {
    let package = fetch(settings, "solc", version).await?;
    check(&package, version, integrity)?;
    soljson(&package)
}

/// Version and soljson file of a package, when it is one of those published.
pub(super) fn package(file: &[u8]) -> Result<Option<(&'static str, Vec<u8>)>, CompilerError> {
    let hash = hash(file);
    let Some((version, _)) = PUBLISHED.iter().find(|(_, integrity)| *integrity == hash) else { return Ok(None) };
    Ok(Some((version, soljson(file)?)))
}

/// Fetches a package's archive: with npm when it is there, which knows the machine's registry, proxy and credentials; else with Node.
async fn fetch(settings: &CompilerSettings, name: &str, version: &str) -> Result<Vec<u8>, CompilerError> {
    let scratch = Scratch::new(&settings.store)?;
    let tools = settings.tools.unconfined();
    let target = scratch.path().join("package.tgz");
    let mut variables: Vec<(&'static str, OsString)> =
        vec![("npm_config_update_notifier", "false".into()), ("npm_config_cache", scratch.path().join("cache").into())];
    if let Some(file) = tools.settings_file(".npmrc") {
        variables.push(("npm_config_userconfig", file.into()));
    }
    let (program, args): (_, Vec<OsString>) = if let Some(npm) = tools.find("npm") {
        let mut args: Vec<OsString> = ["pack", "--silent", "--ignore-scripts"].map(OsString::from).to_vec();
        args.push(format!("{name}@{version}").into());
        if let Some(registry) = &settings.registry {
            args.extend(["--registry".into(), registry.into()]);
        }
        (npm, args)
    } else if let Some(node) = tools.find("node") {
        let registry = settings.registry.as_deref().unwrap_or(REGISTRY).trim_end_matches('/');
        let script = "fetch(process.argv[1]).then(async (answer) => { if (!answer.ok) throw new Error(`HTTP ${answer.status}`); \
                      require('fs').writeFileSync(process.argv[2], Buffer.from(await answer.arrayBuffer())) })\
                      .catch((error) => { console.error(String(error.cause || error)); process.exit(1) })";
        let url = format!("{registry}/{name}/-/{name}-{version}.tgz");
        (node, vec!["-e".into(), script.into(), url.into(), target.clone().into()])
    } else {
        return Err(CompilerError::MissingProgram {
            program: "node".into(),
            remedy: "install Node.js 18 or newer, which also runs the compiler".into(),
        });
    };
    let start = Start {
        program,
        args,
        folder: scratch.path().to_path_buf(),
        home: scratch.path().to_path_buf(),
        variables,
        own: Vec::new(),
        read: Vec::new(),
    };
    let said = parking_lot::Mutex::new(String::new());
    let ended = run(&tools, &start, LIMITS, &|_, line| {
        let mut said = said.lock();
        if said.len() < 2000 {
            said.push_str(line);
            said.push(' ');
        }
    })
    .await
    .map_err(failed("start the download"))?;
    if ended != Ended::Code(0) {
        let why = format!("{} ({})", said.lock().trim(), ended.words(LIMITS));
        return Err(CompilerError::Download { version: version.to_owned(), why });
    }
    let path = if target.is_file() { Some(target) } else { archive_in(scratch.path()) };
    let path = path.ok_or_else(|| CompilerError::Download {
        version: version.to_owned(),
        why: "the tool ended well but left no file".into(),
    })?;
    if path.metadata().map_or(0, |found| found.len()) > MAX_PACKAGE_BYTES {
        return Err(CompilerError::Download { version: version.to_owned(), why: "the package is too large".into() });
    }
    std::fs::read(path).map_err(failed("read the downloaded package"))
}

fn archive_in(folder: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "tgz"))
}

fn check(package: &[u8], version: &str, integrity: &str) -> Result<(), CompilerError> {
    let found = hash(package);
    if found == integrity {
        return Ok(());
    }
    Err(CompilerError::Integrity {
        version: version.to_owned(),
        expected: format!("sha512-{integrity}"),
        found: format!("sha512-{found}"),
    })
}

pub(super) fn hash(package: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(HashAlgorithm::Sha512.digest(package))
}

fn soljson(package: &[u8]) -> Result<Vec<u8>, CompilerError> {
    find_soljson(package)
        .map_err(|error| CompilerError::NotACompiler(error.to_string()))?
        .ok_or_else(|| CompilerError::NotACompiler("there is no soljson.js in the package".into()))
}

fn find_soljson(package: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut archive = tar::Archive::new(GzDecoder::new(package).take(4 * MAX_SOLJSON_BYTES));
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.path_bytes().as_ref() == b"package/soljson.js" {
            let mut content = Vec::new();
            entry.take(MAX_SOLJSON_BYTES).read_to_end(&mut content)?;
            return Ok(Some(content));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_another_hash_is_refused() {
        let error = check(b"something else", "0.8.26", integrity("0.8.26").unwrap()).unwrap_err();
        assert!(matches!(error, CompilerError::Integrity { .. }), "{error}");
        assert!(integrity("9.9.9").is_none());
        for (version, hash) in PUBLISHED {
            assert_eq!(base64::engine::general_purpose::STANDARD.decode(hash).unwrap().len(), 64, "{version}");
        }
    }
}
