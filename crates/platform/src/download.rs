//! Files to download.

use std::io::Write as _;

use axum::response::{IntoResponse, Response};
use flate2::Crc;
use http::{HeaderValue, header};
use konsort_engines::call::Download;

/// A file as an answer that browsers save and never show.
pub(crate) fn answer(file: Download) -> Response {
    let name: String = file
        .name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@'))
        .take(100)
        .collect();
    let mut response = file.bytes.into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_str(&file.media_type);
    headers.insert(header::CONTENT_TYPE, media.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Files as a ZIP archive, stored without compression: a few small texts (APPNOTE 6.3.3, 4.3.7 to 4.3.16).
pub(crate) fn zip(name: &str, files: &[Download]) -> Download {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    for file in files {
        let mut crc = Crc::new();
        crc.update(&file.bytes);
        let offset = bytes.len();
        // Version 2.0, names in UTF-8, stored, no time (1 January 1980).
        let mut common = Vec::from([20, 0, 0, 0x08, 0, 0, 0, 0, 0x21, 0]);
        common.extend(crc.sum().to_le_bytes());
        common.extend(small(file.bytes.len()));
        common.extend(small(file.bytes.len()));
        common.extend(u16::try_from(file.name.len()).unwrap_or(u16::MAX).to_le_bytes());
        common.extend([0, 0]);
        // Writing to memory does not fail.
        let _ = bytes.write_all(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(file.name.as_bytes());
        bytes.extend(&file.bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 3]);
        directory.extend(&common);
        directory.extend([0, 0, 0, 0, 0, 0]);
        // A plain file that only its owner reads.
        directory.extend((0o100_600_u32 << 16).to_le_bytes());
        directory.extend(small(offset));
        directory.extend(file.name.as_bytes());
    }
    let start = bytes.len();
    let count = u16::try_from(files.len()).unwrap_or(u16::MAX).to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend(small(directory.len()));
    bytes.extend(small(start));
    bytes.extend([0, 0]);
    Download { name: name.to_owned(), media_type: "application/zip".to_owned(), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_read_by_others() {
        let file = |name: &str, text: &str| Download {
            name: name.to_owned(),
            media_type: "text/plain".to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        let archive = zip("a.zip", &[file("cert.pem", "one"), file("key.pem", "two\n")]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, &archive.bytes).unwrap();
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
                      print([(i.filename, z.read(i).decode()) for i in z.infolist()])";
        let shown = std::process::Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert_eq!(text.trim(), "[('cert.pem', 'one'), ('key.pem', 'two\\n')]", "{:?}", shown.stderr);
    }
}
