//! The connection to a container engine, and its errors in words a person can act on.

use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::OnceCell;

use crate::DriverError;

/// Seconds that one request may take; a stop waits for the node's grace meanwhile.
const PATIENCE: u64 = 120;

/// Where the engine listens, and how to speak to it.
#[derive(Debug)]
pub(super) struct Engine {
    address: Address,
    docker: OnceCell<Docker>,
    /// Whether the engine runs without root's rights, so that root in a container is the engine's own user.
    rootless: OnceCell<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Socket(PathBuf),
    Http(String),
    /// Cannot be used, and why.
    Refused(String),
}

impl Engine {
    /// `unix:///path`, a path, `tcp://127.0.0.1:port` or `http://127.0.0.1:port`; without one, the first socket that is there of
    /// Docker and podman.
    pub(super) fn new(endpoint: Option<&str>) -> Self {
        let address = endpoint.map_or_else(Address::usual, Address::parse);
        Self { address, docker: OnceCell::new(), rootless: OnceCell::new() }
    }

    /// The client, once the engine has answered for the first time.
    pub(super) async fn docker(&self) -> Result<&Docker, DriverError> {
        self.docker
            .get_or_try_init(|| async {
                let client = match &self.address {
                    Address::Socket(path) => {
                        Docker::connect_with_unix(&path.to_string_lossy(), PATIENCE, API_DEFAULT_VERSION)
                    }
                    Address::Http(address) => Docker::connect_with_http(address, PATIENCE, API_DEFAULT_VERSION),
                    Address::Refused(why) => {
                        return Err(DriverError::Unavailable {
                            driver: "the container engine".to_owned(),
                            why: why.clone(),
                            remedy: "name a socket of this machine, such as /var/run/docker.sock".to_owned(),
                        });
                    }
                };
                match client {
                    Ok(client) => client.negotiate_version().await,
                    Err(error) => Err(error),
                }
                .map_err(|error| self.explain("reach the container engine", error))
            })
            .await
    }

    pub(super) async fn is_rootless(&self) -> Result<bool, DriverError> {
        let rootless = self.rootless.get_or_try_init(|| async {
            let info = self.docker().await?.info().await;
            let info = info.map_err(|error| self.explain("ask the container engine about itself", error))?;
            Ok(info.security_options.unwrap_or_default().iter().any(|option| option.contains("rootless")))
        });
        rootless.await.copied()
    }

    /// What an error means: the engine's own word, or why it does not answer.
    pub(super) fn explain(&self, what: &str, error: Error) -> DriverError {
        match error {
            Error::DockerResponseServerError { message, .. } => {
                DriverError::Failed { what: what.to_owned(), why: message.trim().to_owned() }
            }
            Error::DockerStreamError { error } => DriverError::Failed { what: what.to_owned(), why: error },
            Error::JsonDataError { message, .. } => {
                let why = format!("the container engine's answer is not understood: {message}");
                DriverError::Failed { what: what.to_owned(), why }
            }
            other => {
                let (why, remedy) = self.address.trouble(&chain(&other));
                DriverError::Unavailable { driver: self.address.to_string(), why, remedy }
            }
        }
    }
}

impl Address {
    fn parse(endpoint: &str) -> Self {
        if let Some(path) = endpoint.strip_prefix("unix://").or_else(|| endpoint.starts_with('/').then_some(endpoint)) {
            return Self::Socket(PathBuf::from(path));
        }
        let host = endpoint.strip_prefix("tcp://").or_else(|| endpoint.strip_prefix("http://"));
        let Some(host) = host.map(|host| host.trim_end_matches('/')) else {
            return Self::Refused(format!("{endpoint} is neither unix:///path nor tcp://127.0.0.1:port"));
        };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let local = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if local {
            Self::Http(format!("tcp://{host}"))
        } else {
            // Whoever can speak to an engine is root on its machine: never in clear text across a network.
            Self::Refused(format!("{endpoint} is on another machine and would be spoken to without encryption"))
        }
    }

    /// The first socket that is there, or Docker's, so that the error names something.
    fn usual() -> Self {
        let user = rustix::process::getuid().as_raw();
        let places = [
            "/var/run/docker.sock".to_owned(),
            format!("/run/user/{user}/docker.sock"),
            "/run/podman/podman.sock".to_owned(),
            format!("/run/user/{user}/podman/podman.sock"),
        ];
        let there = places.iter().find(|place| Path::new(place).exists());
        Self::Socket(PathBuf::from(there.unwrap_or(&places[0])))
    }

    /// Why nothing answers there, and what to do.
    fn trouble(&self, error: &str) -> (String, String) {
        use std::io::ErrorKind;
        let start =
            "start it (systemctl start docker, or systemctl start podman.socket), or name its socket in the settings";
        let Self::Socket(path) = self else {
            return (error.to_owned(), start.to_owned());
        };
        match std::os::unix::net::UnixStream::connect(path) {
            Err(gone) if gone.kind() == ErrorKind::NotFound => {
                ("the socket is not there".to_owned(), format!("install Docker or podman and {start}"))
            }
            Err(denied) if denied.kind() == ErrorKind::PermissionDenied => (
                "this user may not open the socket".to_owned(),
                "add the user to the group docker and log in again, or use podman's socket of this user".to_owned(),
            ),
            Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {
                ("the socket is there, but nothing listens on it".to_owned(), start.to_owned())
            }
            _ => (error.to_owned(), "look at the engine's log (journalctl -u docker), then try again".to_owned()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "the container engine at {}", path.display()),
            Self::Http(address) => write!(out, "the container engine at {address}"),
            Self::Refused(_) => out.write_str("the container engine"),
        }
    }
}

/// An error with everything that is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Whether the engine said that there is no such thing.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine said that it is so already.
pub(super) fn is_already(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 304 | 409, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to() {
        assert_eq!(Address::parse("unix:///run/x.sock"), Address::Socket("/run/x.sock".into()));
        assert_eq!(Address::parse("/run/x.sock"), Address::Socket("/run/x.sock".into()));
        for good in ["tcp://127.0.0.1:2375", "http://localhost:2375/", "http://[::1]:2375"] {
            assert!(matches!(Address::parse(good), Address::Http(_)), "{good}");
        }
        for bad in ["tcp://10.0.0.1:2375", "http://docker.example.com", "ssh://me@there", "", "docker.sock"] {
            assert!(matches!(Address::parse(bad), Address::Refused(_)), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_missing_or_dead_engine_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let say =
            |endpoint: String| async move { Engine::new(Some(&endpoint)).docker().await.unwrap_err().to_string() };
        let text = say(path.display().to_string()).await;
        assert!(
            text.contains("docker.sock does not answer: the socket is not there; install Docker or podman"),
            "{text}"
        );
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let text = say(path.display().to_string()).await;
        assert!(text.contains("nothing listens on it; start it (systemctl start docker"), "{text}");
        let text = say("tcp://127.0.0.1:1".to_owned()).await;
        assert!(text.contains("tcp://127.0.0.1:1 does not answer") && text.contains("refused"), "{text}");
        let text = say("tcp://10.9.8.7:2375".to_owned()).await;
        assert!(text.contains("another machine"), "{text}");
    }
}
