//! A server with a client to it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use konsort_node::Environment;
use konsort_platform::server::{Config, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Password of everybody in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A logged-in browser.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum As<'a> {
    Nobody,
    Browser(&'a Browser),
    Key(&'a str),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The code of a problem; checks that the answer is one.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text());
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["trace_id"].as_str().unwrap().len(), 32, "{body}");
        assert!(!body["title"].as_str().unwrap().is_empty() && !body["hint"].as_str().unwrap().is_empty());
        body["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

pub(crate) async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let task = tokio::spawn(connection);
    let response =
        tokio::time::timeout(Duration::from_mins(1), sender.send_request(request)).await.expect("an answer").unwrap();
    let (parts, body) = response.into_parts();
    let streams = parts.headers.get(header::CONTENT_TYPE).is_some_and(|media| media == "text/event-stream");
    let body = if streams { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
    task.abort();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
    pub(crate) admin: Browser,
    /// The first organisation.
    pub(crate) organisation: String,
}

pub(crate) fn config(folder: &TempDir, database_url: Option<String>) -> Config {
    Config {
        data: folder.path().join("data"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url,
        program: std::env::current_exe().unwrap(),
        environment: Environment::from_pairs::<&str, &str>([]),
    }
}

/// A session as the answer to a login gives it.
pub(crate) fn browser(answer: &Answer) -> Browser {
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    Browser {
        cookie: cookie.split(';').next().unwrap().to_owned(),
        csrf: answer.json()["csrf_token"].as_str().unwrap().to_owned(),
    }
}

/// A session whose login was answered by a page: the token for writes is asked for.
pub(crate) async fn browser_of(addr: SocketAddr, answer: &Answer) -> Browser {
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let session = call(addr, As::Nobody, "GET", "/v1/session", None, &[("cookie", &cookie)]).await.expect(200);
    Browser { cookie, csrf: session.json()["csrf_token"].as_str().unwrap().to_owned() }
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::on(None).await
    }

    pub(crate) async fn on(database_url: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(config(&folder, database_url)).await.unwrap();
        let token = server.setup_link.clone().unwrap().split_once("token=").unwrap().1.to_owned();
        let body = json!({
            "token": token, "username": "root", "password": PASSWORD, "language": "en", "organisation": "第一组织",
        });
        let addr = server.addr;
        let answer = send(addr, request(addr, Method::POST, "/v1/setup", Some(&body)).body_of(&body)).await.expect(201);
        let admin = browser(&answer);
        let organisation = answer.json()["organisation"].as_str().unwrap().to_owned();
        Self { server, folder, admin, organisation }
    }

    pub(crate) fn root(&self) -> As<'_> {
        As::Browser(&self.admin)
    }

    pub(crate) async fn call(&self, who: As<'_>, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_with(who, method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        who: As<'_>,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        call(self.server.addr, who, method, path, body, headers).await
    }

    /// An API key with a role in an organisation.
    pub(crate) async fn key(&self, role: &str, organisation: &str) -> String {
        let body = json!({"name": format!("{role} of {organisation}"), "role": role, "organisation": organisation});
        let answer = self.call(self.root(), "POST", "/v1/api_keys", Some(body)).await.expect(201);
        answer.json()["secret"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn new_organisation(&self, name: &str) -> String {
        let answer = self.call(self.root(), "POST", "/v1/organisations", Some(json!({"name": name}))).await.expect(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn new_user(&self, username: &str, role: &str, organisation: &str) -> String {
        let body = json!({"username": username, "role": role, "organisation": organisation, "password": PASSWORD});
        let answer = self.call(self.root(), "POST", "/v1/users", Some(body)).await.expect(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Answer {
        let body = json!({"username": username, "password": password});
        self.call(As::Nobody, "POST", "/v1/session", Some(body)).await
    }
}

pub(crate) async fn call(
    addr: SocketAddr,
    who: As<'_>,
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Answer {
    let mut builder = request(addr, method.parse().unwrap(), path, body.as_ref());
    match who {
        As::Nobody => {}
        As::Browser(browser) => {
            builder = builder.header(header::COOKIE, &browser.cookie).header("x-csrf-token", &browser.csrf);
        }
        As::Key(key) => builder = builder.header(header::AUTHORIZATION, format!("Bearer {key}")),
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let content = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    send(addr, builder.body(Full::new(content)).unwrap()).await
}

fn request(addr: SocketAddr, method: Method, path: &str, body: Option<&Value>) -> http::request::Builder {
    let builder = Request::builder().method(method).uri(path).header(header::HOST, addr.to_string());
    if body.is_some() { builder.header(header::CONTENT_TYPE, "application/json") } else { builder }
}

trait BodyOf {
    fn body_of(self, body: &Value) -> Request<Full<Bytes>>;
}

impl BodyOf for http::request::Builder {
    fn body_of(self, body: &Value) -> Request<Full<Bytes>> {
        self.body(Full::new(Bytes::from(body.to_string()))).unwrap()
    }
}
