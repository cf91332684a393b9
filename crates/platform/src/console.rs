//! The console: its built files are part of the program; every other address that a browser asks for shows its first page, which
//! then shows the right one.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::OnceLock;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use konsort_crypto::hash::sha256;

use crate::problem::{Problem, kinds};

/// What `npm run build` made of `console/`.
const BUILD: &[u8] = include_bytes!("../../../console/dist.tar.gz");

#[derive(Debug)]
struct Page {
    plain: Bytes,
    packed: Option<Bytes>,
    media: &'static str,
    tag: HeaderValue,
    /// Its name changes with its content.
    hashed: bool,
}

/// The console's files, unpacked when the first of them is asked for.
#[derive(Debug, Default)]
pub(crate) struct Console(OnceLock<HashMap<String, Page>>);

fn media_of(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(6));
    encoder.write_all(bytes).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < bytes.len()).then(|| Bytes::from(packed))
}

/// Every file of the build. It is our own: what cannot be read is left out, and the console's tests miss it.
fn unpack() -> HashMap<String, Page> {
    let mut pages = HashMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(BUILD));
    for mut entry in archive.entries().into_iter().flatten().flatten() {
        let Ok(name) = entry.path().map(|path| path.to_string_lossy().into_owned()) else { continue };
        let mut plain = Vec::new();
        if entry.read_to_end(&mut plain).is_err() {
            continue;
        }
        let media = media_of(&name);
        let packs = !matches!(media, "image/png" | "font/woff2");
        let packed = if packs { pack(&plain) } else { None };
        let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", &hex::encode(sha256(&plain))[..32])) else { continue };
        let hashed = name.starts_with("assets/");
        pages.insert(name, Page { plain: plain.into(), packed, media, tag, hashed });
    }
    pages
}

impl Console {
    fn page(&self, path: &str) -> Option<&Page> {
        self.0.get_or_init(unpack).get(path)
    }

    /// Answers what no other route answers.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let path = request.uri().path();
        let api = path == "/v1" || path.starts_with("/v1/");
        if api || !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Problem::new(&kinds::NO_SUCH_ROUTE).into_response();
        }
        let name = path.trim_start_matches('/');
        let name = if name.is_empty() { "index.html" } else { name };
        if let Some(page) = self.page(name) {
            return show(page, request.headers());
        }
        // A missing script must not be answered by a page of text.
        if name.starts_with("assets/") {
            return Problem::new(&kinds::NOT_FOUND).with("what", "file").into_response();
        }
        match self.page("index.html") {
            Some(page) => show(page, request.headers()),
            None => Problem::new(&kinds::NO_SUCH_ROUTE).detail("this build has no console").into_response(),
        }
    }
}

fn show(page: &Page, headers: &HeaderMap) -> Response {
    let caching = if page.hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|tag| tag.trim().trim_start_matches("W/") == page.tag))
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let takes_packed = headers
            .get(header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| text.split(',').any(|part| part.trim().split(';').next() == Some("gzip")));
        let packed = page.packed.clone().filter(|_| takes_packed);
        let is_packed = packed.is_some();
        let mut response = packed.unwrap_or_else(|| page.plain.clone()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.media));
        if is_packed {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let out = response.headers_mut();
    out.insert(header::ETAG, page.tag.clone());
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}
