//! Messages over the size limit, refused in the words and with the code that clients of the original know.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The lengths in the library's own text: the message's and the limit.
fn lengths(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix("Error, decoded message length too large: found ")?;
    let (found, rest) = text.split_once(" bytes, the limit is: ")?;
    Some((found.parse().ok()?, rest.strip_suffix(" bytes")?.parse().ok()?))
}

fn words(found: u64, limit: u64) -> String {
    format!("grpc: received message larger than max ({found} vs. {limit})")
}

/// What a stream's handler answers when the caller's next message cannot be read: too large is `RESOURCE_EXHAUSTED`, anything else
/// stays as it is.
pub fn unreadable(status: Status) -> Status {
    match lengths(status.message()) {
        Some((found, limit)) => Status::new(Code::ResourceExhausted, words(found, limit)),
        None => status,
    }
}

/// Does the same for the answer to a single call, whose message is read before any handler sees it.
pub(crate) fn rename(headers: &mut HeaderMap) {
    let out_of_range = headers.get(STATUS).is_some_and(|code| code.as_bytes() == b"11");
    if !out_of_range {
        return;
    }
    // The header is percent-encoded; only blanks and commas occur in this text.
    let text = headers
        .get(MESSAGE)
        .and_then(|text| text.to_str().ok())
        .unwrap_or_default()
        .replace("%20", " ")
        .replace("%2C", ",");
    let Some((found, limit)) = lengths(&text) else { return };
    if let Ok(value) = HeaderValue::from_str(&words(found, limit).replace(' ', "%20")) {
        headers.insert(MESSAGE, value);
        headers.insert(STATUS, HeaderValue::from_static("8"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Error, decoded message length too large: found 12 bytes, the limit is: 10 bytes";

    #[test]
    fn only_the_size_limit_is_renamed() {
        let renamed = unreadable(Status::out_of_range(TEXT));
        assert_eq!(renamed.code(), Code::ResourceExhausted);
        assert_eq!(renamed.message(), "grpc: received message larger than max (12 vs. 10)");
        assert_eq!(unreadable(Status::out_of_range("page 9")).code(), Code::OutOfRange);

        let mut headers = Status::out_of_range(TEXT).into_http::<()>().headers().clone();
        rename(&mut headers);
        let read = Status::from_header_map(&headers).unwrap();
        assert_eq!((read.code(), read.message()), (Code::ResourceExhausted, renamed.message()));
        let mut headers = Status::out_of_range("page 9").into_http::<()>().headers().clone();
        rename(&mut headers);
        assert_eq!(Status::from_header_map(&headers).unwrap().code(), Code::OutOfRange);
    }
}
