//! The image that nodes run in: our own program, the libraries that it is linked to, and three small text files. Nothing is fetched.

use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{Context, SHA256};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::engine::{Engine, is_absent};
use crate::DriverError;
use crate::record::failed;

/// Where the program is in the image.
pub(super) const PROGRAM: &str = "/usr/local/bin/konsort";
/// With its host part, without which podman would look for it in a registry.
const REPOSITORY: &str = "localhost/konsort-node";
/// Changed whenever the image is put together in another way.
const LAYOUT: &str = "konsort node image 1";

/// Small files: accounts for tools that want a name, and where the C library looks names up.
const TEXTS: [(&str, &str); 3] = [
    ("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
];

/// A file of the image: its path there, and where it is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    path: PathBuf,
    from: PathBuf,
}

/// Makes the image unless the engine has it, and gives its name. The name holds the hash of everything in it.
pub(super) async fn ensure(engine: &Engine, program: &Path) -> Result<String, DriverError> {
    let docker = engine.docker().await?;
    let program = program.to_owned();
    let looked = tokio::task::spawn_blocking(move || -> Result<_, DriverError> {
        let contents = contents(&program)?;
        let tag = hash(&contents).map_err(|error| failed("read the program for the node image", &error))?;
        Ok((contents, tag))
    });
    let (contents, tag) = looked.await.map_err(|error| failed("make the node image", &error))??;
    let name = format!("{REPOSITORY}:{tag}");
    if is_there(engine, &name).await? {
        return Ok(name);
    }
    let (sender, receiver) = mpsc::channel(8);
    let packing = tokio::task::spawn_blocking(move || {
        if let Err(error) = pack(&contents, Pipe(sender.clone())) {
            // The request then fails with this error; when it has failed already, nobody hears.
            let _nobody = sender.blocking_send(Err(error));
        }
    });
    // The tag as part of the name: podman takes no notice of it elsewhere.
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(&name).build();
    let body = bollard::body_try_stream(ReceiverStream::new(receiver));
    let made = docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await;
    made.map_err(|error| engine.explain("make the node image", error))?;
    packing.await.map_err(|error| failed("make the node image", &error))?;
    remove_others(engine, &name).await;
    Ok(name)
}

/// Whether the engine has the image.
pub(super) async fn is_there(engine: &Engine, name: &str) -> Result<bool, DriverError> {
    match engine.docker().await?.inspect_image(name).await {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(engine.explain("look for the node image", error)),
    }
}

/// Removes the images of other builds, each of which is as large as the program. Those that containers use stay.
async fn remove_others(engine: &Engine, name: &str) {
    let Ok(docker) = engine.docker().await else { return };
    let filters = std::collections::HashMap::from([("reference", vec![REPOSITORY])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = docker.list_images(Some(options)).await.unwrap_or_default();
    for other in images.iter().flat_map(|image| &image.repo_tags).filter(|other| *other != name) {
        let options = RemoveImageOptionsBuilder::new().force(false).build();
        if let Err(error) = docker.remove_image(other, Some(options), None).await {
            tracing::debug!(%error, image = %other, "an image of another build stays");
        }
    }
}

/// The program and what it is linked to, in a fixed order.
fn contents(program: &Path) -> Result<Vec<Content>, DriverError> {
    let what = format!("find the libraries of {}", program.display());
    let mut contents = vec![Content { path: PathBuf::from(PROGRAM), from: program.to_owned() }];
    let Some(loader) = loader(program).map_err(|error| failed(&what, &error))? else {
        return Ok(contents);
    };
    // The loader itself says what it would load, and from where.
    let listed = Command::new(&loader).arg("--list").arg(program).output().map_err(|error| failed(&what, &error))?;
    if !listed.status.success() {
        return Err(failed(&what, &String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&listed.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        return Err(failed(&what, &missing.trim()));
    }
    let mut paths = libraries(&text);
    // Older C libraries load these on their own when they look a name up.
    if let Some(folder) = paths.iter().find(|path| path.ends_with("libc.so.6")).and_then(|path| path.parent()) {
        let resolvers = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"].map(|name| folder.join(name));
        paths.extend(resolvers.into_iter().filter(|path| path.exists()));
    }
    paths.push(loader);
    paths.sort();
    paths.dedup();
    contents.extend(paths.into_iter().map(|path| Content { from: path.clone(), path }));
    Ok(contents)
}

/// The paths in a loader's list: `name => /path (0x…)` or `/path (0x…)`.
fn libraries(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let place = line.split_once("=>").map_or(line, |(_, place)| place).trim();
        let place = place.rsplit_once(" (").map_or(place, |(place, _)| place);
        place.starts_with('/').then(|| PathBuf::from(place))
    };
    text.lines().filter_map(path).collect()
}

/// The loader that a program names (ELF program header `PT_INTERP`); none for a program that needs none.
fn loader(program: &Path) -> std::io::Result<Option<PathBuf>> {
    const INTERPRETER: u64 = 3;
    let mut head = Vec::new();
    std::fs::File::open(program)?.take(64 << 10).read_to_end(&mut head)?;
    let wrong = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let number = |at: u64, bytes: usize| -> std::io::Result<u64> {
        let at = usize::try_from(at).map_err(|_| wrong("its headers are damaged"))?;
        let slice = head.get(at..at.saturating_add(bytes)).ok_or_else(|| wrong("its headers are damaged"))?;
        Ok(slice.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    // 64 bits, little end first: every machine that we are built for.
    if head.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err(wrong("it is not a 64-bit program of this system"));
    }
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let header = start.saturating_add(index * size);
        if number(header, 4)? != INTERPRETER {
            continue;
        }
        let (at, length) = (number(header.saturating_add(8), 8)?, number(header.saturating_add(32), 8)?);
        let range = usize::try_from(at).ok().zip(usize::try_from(at.saturating_add(length.min(4096))).ok());
        let name = range.and_then(|(from, to)| head.get(from..to)).ok_or_else(|| wrong("its headers are damaged"))?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        return Ok(Some(PathBuf::from(String::from_utf8_lossy(name).into_owned())));
    }
    Ok(None)
}

/// The first 16 hex digits of a hash over names and bytes.
fn hash(contents: &[Content]) -> std::io::Result<String> {
    let mut context = Context::new(&SHA256);
    context.update(LAYOUT.as_bytes());
    let mut buffer = vec![0; 1 << 20];
    for content in contents {
        context.update(content.path.as_os_str().as_encoded_bytes());
        let mut file = std::fs::File::open(&content.from)?;
        context.update(&file.metadata()?.len().to_le_bytes());
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            context.update(&buffer[..read]);
        }
    }
    let digest = hex::encode(context.finish());
    Ok(digest[..16].to_owned())
}

/// Writes the image's file system as one archive.
fn pack(contents: &[Content], out: impl Write) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::with_capacity(256 << 10, out));
    let header = |kind: tar::EntryType, mode: u32, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header
    };
    let mut tmp = header(tar::EntryType::Directory, 0o1777, 0);
    archive.append_data(&mut tmp, "tmp/", std::io::empty())?;
    for (path, text) in TEXTS {
        let mut file = header(tar::EntryType::Regular, 0o644, text.len() as u64);
        archive.append_data(&mut file, path, text.as_bytes())?;
    }
    for content in contents {
        let file = std::fs::File::open(&content.from)?;
        let size = file.metadata()?.len();
        let mut entry = header(tar::EntryType::Regular, 0o755, size);
        let path = content.path.strip_prefix("/").unwrap_or(&content.path);
        archive.append_data(&mut entry, path, file.take(size))?;
    }
    archive.into_inner()?.flush()
}

/// Hands what is written to a request's body.
struct Pipe(mpsc::Sender<std::io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_libraries_are_found_and_packed() {
        let own = std::env::current_exe().unwrap();
        let contents = contents(&own).unwrap();
        let names: Vec<String> = contents.iter().map(|content| content.path.display().to_string()).collect();
        assert_eq!(names[0], PROGRAM);
        assert!(names.iter().any(|name| name.ends_with("/libc.so.6")), "{names:?}");
        assert!(names.iter().any(|name| name.contains("/ld-")), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("vdso")), "{names:?}");
        let small: Vec<Content> = contents[1..].to_vec();
        let mut packed = Vec::new();
        pack(&small, &mut packed).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let paths: Vec<PathBuf> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into()).collect();
        assert!(paths.contains(&PathBuf::from("etc/nsswitch.conf")), "{paths:?}");
        assert_eq!(paths.len(), small.len() + 4);
        assert_eq!(hash(&small).unwrap(), hash(&small).unwrap());
        assert_ne!(hash(&small).unwrap(), hash(&small[1..]).unwrap());
    }

    #[test]
    fn damaged_programs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(loader(&path).is_err());
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [0, 3, 40, 57, 70, 200] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(loader(&path).is_err(), "{length}");
        }
        // Offsets beyond everything.
        let mut wild = whole[..1000].to_vec();
        wild[32..40].fill(0xff);
        std::fs::write(&path, &wild).unwrap();
        assert!(loader(&path).is_err());
    }

    #[test]
    fn lists_of_both_c_libraries_are_understood() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x4)\n";
        let wanted = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"];
        assert_eq!(libraries(text), wanted.map(PathBuf::from));
    }
}
