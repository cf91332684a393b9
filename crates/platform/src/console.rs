//! The console: its built files are part of the program; every other address that a browser asks for shows its first page, which
//! then shows the right one.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use parking_lot::RwLock;
use rust_embed::RustEmbed;

use crate::problem::{Problem, kinds};

#[derive(RustEmbed)]
#[folder = "../../console/dist"]
struct Files;

#[derive(Debug, Clone)]
struct Page {
    plain: Bytes,
    packed: Option<Bytes>,
    media: &'static str,
    tag: HeaderValue,
    /// Its name changes with its content.
    hashed: bool,
}

/// Files that were asked for, packed.
#[derive(Debug, Default)]
pub(crate) struct Console(RwLock<HashMap<String, Arc<Page>>>);

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

impl Console {
    fn page(&self, path: &str) -> Option<Arc<Page>> {
        // While developing, files change under the running server.
        if !cfg!(debug_assertions)
            && let Some(page) = self.0.read().get(path)
        {
            return Some(Arc::clone(page));
        }
        let file = Files::get(path)?;
        let plain = Bytes::from(file.data.into_owned());
        let media = media_of(path);
        let packs = !matches!(media, "image/png" | "font/woff2");
        let tag = HeaderValue::from_str(&format!("\"{}\"", &hex::encode(file.metadata.sha256_hash())[..32])).ok()?;
        let packed = if packs { pack(&plain) } else { None };
        let page = Arc::new(Page { packed, plain, media, tag, hashed: path.starts_with("assets/") });
        if !cfg!(debug_assertions) {
            self.0.write().insert(path.to_owned(), Arc::clone(&page));
        }
        Some(page)
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
            return show(&page, request.headers());
        }
        // A missing script must not be answered by a page of text.
        if name.starts_with("assets/") {
            return Problem::new(&kinds::NOT_FOUND).with("what", "file").into_response();
        }
        match self.page("index.html") {
            Some(page) => show(&page, request.headers()),
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
