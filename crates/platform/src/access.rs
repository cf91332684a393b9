//! Who may do what: six roles, one table of every endpoint, one rule of which things an organisation sees.
//!
//! The table ([`table::TABLE`]) names for every method and path the roles that may use it and its [`Scope`]. The server refuses to
//! start with a route that has no row, and with a row that has no route, so there is no way around it. Roles and scope are
//! checked before any handler runs; things outside the caller's scope are answered like things that do not exist.

pub mod table;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::db::Kind;
use crate::problem::{Problem, kinds};

/// What a user or key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the platform; sees everything.
    PlatformAdmin,
    /// Runs an organisation: its users, keys, networks.
    OrganisationAdmin,
    /// Runs networks: creates, starts, stops, configures.
    Operator,
    /// Writes and deploys contracts.
    Developer,
    /// A program that calls contracts and reads ledgers.
    Application,
    /// Sees everything of its networks and changes nothing.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::PlatformAdmin,
        Self::OrganisationAdmin,
        Self::Operator,
        Self::Developer,
        Self::Application,
        Self::Auditor,
    ];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform_admin",
            Self::OrganisationAdmin => "organisation_admin",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Application => "application",
            Self::Auditor => "auditor",
        }
    }

    /// Whether it is held in an organisation only: without one it would reach over all of them.
    pub const fn needs_organisation(self) -> bool {
        !matches!(self, Self::PlatformAdmin | Self::Auditor | Self::Operator)
    }

    /// Whether one who has this role may give `other` to a user or key.
    pub fn may_give(self, other: Self) -> bool {
        match self {
            Self::PlatformAdmin => true,
            Self::OrganisationAdmin => other != Self::PlatformAdmin,
            Self::Operator | Self::Developer => other == self || other == Self::Application,
            Self::Application | Self::Auditor => false,
        }
    }
}

/// What an endpoint is about, which decides who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Anybody, also without login.
    Public,
    /// Nothing in particular: lists, which the handler narrows by [`Caller::scope`], and creations.
    Any,
    /// The network whose id is the path parameter of this name.
    Network(&'static str),
    /// The record of a kind whose id is the path parameter of this name.
    Record(Kind, &'static str),
    /// The operation whose id is the path parameter of this name: visible to its organisation and to who sees its network.
    Operation(&'static str),
    /// The user whose id is the path parameter of this name: visible to the organisation's administrators and to the user.
    User(&'static str),
    /// The API key whose id is the path parameter of this name: visible to its owner and to the organisation's administrators.
    ApiKey(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Who may use it; not looked at when the scope is public.
    pub roles: &'static [Role],
    /// What it is about.
    pub scope: Scope,
    /// Whether it answers with a secret, so that the answer must not be kept for idempotency.
    pub secret: bool,
    /// Whether it is recorded in the audit log: what writes, and what gives out more than one sees every day.
    pub recorded: bool,
    /// Largest body in bytes.
    pub body: usize,
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    table::TABLE.iter()
}

/// The row of a method and path.
pub fn row(method: &str, path: &str) -> Option<&'static Row> {
    // HEAD is answered by what answers GET.
    let wanted = if method == "HEAD" { "GET" } else { method };
    rows().find(|candidate| candidate.method == wanted && candidate.path == path)
}

/// How a caller proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// By a login, kept in a cookie.
    Session,
    /// By an API key.
    ApiKey,
    /// It is the server itself.
    Server,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `usr_…` or `key_…`.
    pub id: String,
    /// The user behind it: the user, or the key's owner.
    pub user: String,
    /// Name for people and records.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Organisation; `None` only for platform-wide users.
    pub organisation: Option<String>,
    /// An API key may be limited to some networks.
    pub networks: Option<Vec<String>>,
    /// How it proved who it is.
    pub proof: Proof,
}

/// Which things a list shows; see [`crate::db::Filter::scope`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeFilter {
    /// Only of this organisation and of networks it is in; `None`: of all.
    pub organisation: Option<String>,
    /// Only of these networks; `None`: of all.
    pub networks: Option<Vec<String>>,
}

impl Caller {
    /// What its lists show. Platform administrators see all; an auditor or operator of no organisation too.
    pub fn scope(&self) -> ScopeFilter {
        let organisation = if self.role == Role::PlatformAdmin { None } else { self.organisation.clone() };
        ScopeFilter { organisation, networks: self.networks.clone() }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::new(&kinds::UNAUTHENTICATED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_appears_twice_and_auditors_only_read() {
        for (index, row) in rows().enumerate() {
            assert!(
                !rows().take(index).any(|other| other.method == row.method && other.path == row.path),
                "{} {} twice",
                row.method,
                row.path
            );
            let own_session = row.path.starts_with("/v1/session") || row.path.contains("/password");
            // Compiling, simulating and reading by a call change nothing but need a body.
            let reads = row.method == "GET" || row.path.ends_with("/simulate") || own_session;
            assert!(
                reads || row.scope == Scope::Public || !row.roles.contains(&Role::Auditor),
                "an auditor could change something by {} {}",
                row.method,
                row.path
            );
        }
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        assert!(!Role::OrganisationAdmin.may_give(Role::PlatformAdmin));
        assert!(!Role::Developer.may_give(Role::Operator));
        assert!(!Role::Auditor.may_give(Role::Auditor));
        assert!(Role::PlatformAdmin.may_give(Role::PlatformAdmin));
    }
}
