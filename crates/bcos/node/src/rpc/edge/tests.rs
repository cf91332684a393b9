//! Bounds on what waits for a reader, and who may call from a web page.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use http::{HeaderMap, HeaderValue, header};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{Cors, CorsHeaders, Session};

fn session(messages: usize, bytes: usize) -> (Session, mpsc::Receiver<Message>) {
    let (outbox, queue) = mpsc::channel(messages);
    let session = Session {
        id: 1,
        remote: ([127, 0, 0, 1], 1).into(),
        outbox,
        waiting: Arc::new(AtomicUsize::new(0)),
        most_waiting: bytes,
        slow: AtomicBool::new(false),
        ended: CancellationToken::new(),
    };
    (session, queue)
}

#[test]
fn a_reader_that_leaves_too_many_messages_loses_its_connection() {
    let (session, mut queue) = session(2, 1_000);
    assert!(session.send_text("one".into()) && session.send_text("two".into()));
    assert!(!session.is_closed());
    assert!(!session.send_text("three".into()));
    assert!(session.is_closed());
    assert!(!session.send_binary(vec![1]), "nothing is queued for a closed connection");
    assert_eq!(queue.try_recv().unwrap(), Message::text("one"));
}

#[test]
fn bytes_count_too_but_one_large_answer_passes() {
    let (session, _queue) = session(100, 10);
    assert!(session.send_binary(vec![0; 50]), "alone it may be larger than the bound");
    assert!(!session.send_binary(vec![0; 1]));
    assert!(session.is_closed());
}

#[test]
fn pages_of_other_origins_are_not_let_in_when_origins_are_named() {
    let cors = Cors { origins: "http://one, http://two".into(), credentials: true, ..Cors::default() };
    let allowed = |cors: &Cors, origin: &'static str| {
        let mut headers = HeaderMap::new();
        CorsHeaders::from(cors.clone()).allow(&mut headers, Some(HeaderValue::from_static(origin)));
        let get = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        (get(header::ACCESS_CONTROL_ALLOW_ORIGIN), get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS))
    };
    assert_eq!(allowed(&cors, "http://two"), (Some("http://two".into()), Some("true".into())));
    assert_eq!(allowed(&cors, "http://three"), (None, None));
    let open = Cors { credentials: true, ..Cors::default() };
    assert_eq!(allowed(&open, "http://any"), (Some("*".into()), None), "everybody, but without credentials");
}
