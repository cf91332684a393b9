//! The table of every endpoint: method, path, roles, scope.

use super::Role::{Application, Auditor, Developer, Operator, OrganisationAdmin, PlatformAdmin};
use super::{Role, Row, Scope};
use crate::db::Kind;

/// Everybody who is logged in.
pub const ALL: &[Role] = &Role::ALL;
/// Who looks at networks and ledgers: everybody.
pub const READ: &[Role] = ALL;
/// Who runs networks.
pub const OPERATE: &[Role] = &[PlatformAdmin, OrganisationAdmin, Operator];
/// Who writes and deploys contracts.
pub const DEVELOP: &[Role] = &[PlatformAdmin, OrganisationAdmin, Operator, Developer];
/// Who looks at projects and sources.
pub const DEVELOP_READ: &[Role] = &[PlatformAdmin, OrganisationAdmin, Operator, Developer, Auditor];
/// Who sends transactions.
pub const CALL: &[Role] = &[PlatformAdmin, OrganisationAdmin, Operator, Developer, Application];
/// Who manages people.
pub const ADMIN: &[Role] = &[PlatformAdmin, OrganisationAdmin];
/// Who sees people and the audit log.
pub const ADMIN_READ: &[Role] = &[PlatformAdmin, OrganisationAdmin, Auditor];
/// Who runs the platform.
pub const PLATFORM: &[Role] = &[PlatformAdmin];
/// Who makes API keys.
pub const KEYS: &[Role] = &[PlatformAdmin, OrganisationAdmin, Operator, Developer];
/// Who may hold identities' keys in hand.
pub const IDENTITIES: &[Role] = &[PlatformAdmin, OrganisationAdmin, Operator, Developer];

const MIB: usize = 1024 * 1024;

const fn row(method: &'static str, path: &'static str, roles: &'static [Role], scope: Scope) -> Row {
    let recorded = !matches!(method.as_bytes(), b"GET");
    Row { method, path, roles, scope, secret: false, recorded, body: MIB }
}

const fn secret(row: Row) -> Row {
    Row { secret: true, ..row }
}

const fn audited(row: Row) -> Row {
    Row { recorded: true, ..row }
}

/// Changes nothing, though it is sent as a write.
const fn reads(row: Row) -> Row {
    Row { recorded: false, ..row }
}

/// With bodies of up to so many bytes.
const fn body(row: Row, bytes: usize) -> Row {
    Row { body: bytes, ..row }
}

const NETWORK: Scope = Scope::Network("id");
const CONTRACT: Scope = Scope::Record(Kind::Contract, "id");
const PROJECT: Scope = Scope::Record(Kind::Project, "id");

/// Every endpoint.
pub const TABLE: &[Row] = &[
    // Setup, sessions, the server itself.
    row("GET", "/livez", &[], Scope::Public),
    row("GET", "/readyz", &[], Scope::Public),
    row("GET", "/metrics", &[], Scope::Public),
    row("GET", "/v1/openapi.json", &[], Scope::Public),
    row("GET", "/v1/version", &[], Scope::Public),
    row("GET", "/v1/setup", &[], Scope::Public),
    secret(row("POST", "/v1/setup", &[], Scope::Public)),
    secret(row("POST", "/v1/session", &[], Scope::Public)),
    row("GET", "/v1/session", ALL, Scope::Any),
    row("DELETE", "/v1/session", ALL, Scope::Any),
    row("GET", "/v1/oidc/login", &[], Scope::Public),
    audited(row("GET", "/v1/oidc/callback", &[], Scope::Public)),
    // People, keys, organisations, settings, audit.
    row("GET", "/v1/users", ADMIN_READ, Scope::Any),
    secret(row("POST", "/v1/users", ADMIN, Scope::Any)),
    row("GET", "/v1/users/{id}", ALL, Scope::User("id")),
    row("PATCH", "/v1/users/{id}", ADMIN, Scope::User("id")),
    row("DELETE", "/v1/users/{id}", ADMIN, Scope::User("id")),
    secret(row("POST", "/v1/users/{id}/password", ALL, Scope::User("id"))),
    row("GET", "/v1/api_keys", DEVELOP_READ, Scope::Any),
    secret(row("POST", "/v1/api_keys", KEYS, Scope::Any)),
    row("DELETE", "/v1/api_keys/{id}", KEYS, Scope::ApiKey("id")),
    row("GET", "/v1/organisations", ALL, Scope::Any),
    row("POST", "/v1/organisations", PLATFORM, Scope::Any),
    row("GET", "/v1/organisations/{id}", ALL, Scope::Record(Kind::Organisation, "id")),
    row("PATCH", "/v1/organisations/{id}", ADMIN, Scope::Record(Kind::Organisation, "id")),
    row("DELETE", "/v1/organisations/{id}", PLATFORM, Scope::Record(Kind::Organisation, "id")),
    row("GET", "/v1/settings", ADMIN_READ, Scope::Any),
    row("PATCH", "/v1/settings", PLATFORM, Scope::Any),
    audited(row("GET", "/v1/audit", ADMIN_READ, Scope::Any)),
    audited(row("GET", "/v1/audit/export", ADMIN_READ, Scope::Any)),
    audited(row("GET", "/v1/audit/verify", ADMIN_READ, Scope::Any)),
    // Networks and what is in them.
    row("GET", "/v1/networks", READ, Scope::Any),
    row("POST", "/v1/networks", OPERATE, Scope::Any),
    row("POST", "/v1/networks/import", OPERATE, Scope::Any),
    row("GET", "/v1/networks/{id}", READ, NETWORK),
    row("PATCH", "/v1/networks/{id}", OPERATE, NETWORK),
    row("DELETE", "/v1/networks/{id}", OPERATE, NETWORK),
    row("POST", "/v1/networks/{id}/start", OPERATE, NETWORK),
    row("POST", "/v1/networks/{id}/stop", OPERATE, NETWORK),
    row("GET", "/v1/networks/{id}/topology", READ, NETWORK),
    row("GET", "/v1/networks/{id}/metrics", READ, NETWORK),
    row("GET", "/v1/networks/{id}/config_history", READ, NETWORK),
    row("GET", "/v1/networks/{id}/nodes", READ, NETWORK),
    row("POST", "/v1/networks/{id}/nodes", OPERATE, NETWORK),
    row("GET", "/v1/networks/{id}/nodes/{node}", READ, NETWORK),
    row("DELETE", "/v1/networks/{id}/nodes/{node}", OPERATE, NETWORK),
    row("POST", "/v1/networks/{id}/nodes/{node}/start", OPERATE, NETWORK),
    row("POST", "/v1/networks/{id}/nodes/{node}/stop", OPERATE, NETWORK),
    row("POST", "/v1/networks/{id}/nodes/{node}/restart", OPERATE, NETWORK),
    row("PUT", "/v1/networks/{id}/nodes/{node}/role", OPERATE, NETWORK),
    row("GET", "/v1/networks/{id}/nodes/{node}/logs", DEVELOP_READ, NETWORK),
    row("GET", "/v1/networks/{id}/nodes/{node}/logs/stream", DEVELOP_READ, NETWORK),
    row("GET", "/v1/networks/{id}/nodes/{node}/metrics", READ, NETWORK),
    row("GET", "/v1/networks/{id}/members", READ, NETWORK),
    row("POST", "/v1/networks/{id}/members", OPERATE, NETWORK),
    row("GET", "/v1/networks/{id}/channels", READ, NETWORK),
    row("POST", "/v1/networks/{id}/channels", OPERATE, NETWORK),
    row("GET", "/v1/networks/{id}/channels/{channel}", READ, NETWORK),
    row("PATCH", "/v1/networks/{id}/channels/{channel}", OPERATE, NETWORK),
    row("GET", "/v1/networks/{id}/identities", DEVELOP_READ, NETWORK),
    row("POST", "/v1/networks/{id}/identities", OPERATE, NETWORK),
    row("POST", "/v1/networks/{id}/identities/{organisation}/{name}/revoke", OPERATE, NETWORK),
    audited(row("GET", "/v1/networks/{id}/identities/{organisation}/{name}/download", IDENTITIES, NETWORK)),
    audited(row("GET", "/v1/networks/{id}/connection_profile", CALL, NETWORK)),
    // Projects.
    row("GET", "/v1/samples", ALL, Scope::Any),
    row("GET", "/v1/compilers", DEVELOP_READ, Scope::Any),
    body(row("POST", "/v1/compilers", PLATFORM, Scope::Any), 64 * MIB),
    row("GET", "/v1/compilers/{version}/soljson.js", DEVELOP_READ, Scope::Any),
    row("GET", "/v1/projects", DEVELOP_READ, Scope::Any),
    row("POST", "/v1/projects", DEVELOP, Scope::Any),
    row("GET", "/v1/projects/{id}", DEVELOP_READ, PROJECT),
    row("PATCH", "/v1/projects/{id}", DEVELOP, PROJECT),
    row("DELETE", "/v1/projects/{id}", DEVELOP, PROJECT),
    row("GET", "/v1/projects/{id}/files", DEVELOP_READ, PROJECT),
    row("GET", "/v1/projects/{id}/files/{*path}", DEVELOP_READ, PROJECT),
    body(row("PUT", "/v1/projects/{id}/files/{*path}", DEVELOP, PROJECT), 4 * MIB),
    row("DELETE", "/v1/projects/{id}/files/{*path}", DEVELOP, PROJECT),
    row("GET", "/v1/projects/{id}/archive", DEVELOP_READ, PROJECT),
    body(row("PUT", "/v1/projects/{id}/archive", DEVELOP, PROJECT), 32 * MIB),
    row("GET", "/v1/projects/{id}/versions", DEVELOP_READ, PROJECT),
    row("POST", "/v1/projects/{id}/versions", DEVELOP, PROJECT),
    row("GET", "/v1/projects/{id}/versions/{version}", DEVELOP_READ, PROJECT),
    row("GET", "/v1/projects/{id}/versions/{version}/diff/{other}", DEVELOP_READ, PROJECT),
    row("POST", "/v1/projects/{id}/build", DEVELOP, PROJECT),
    // Contracts.
    row("GET", "/v1/contracts", READ, Scope::Any),
    body(row("POST", "/v1/networks/{id}/contracts", DEVELOP, NETWORK), 32 * MIB),
    row("GET", "/v1/contracts/{id}", READ, CONTRACT),
    body(row("POST", "/v1/contracts/{id}/upgrade", DEVELOP, CONTRACT), 32 * MIB),
    row("GET", "/v1/contracts/{id}/interface", READ, CONTRACT),
    row("PUT", "/v1/contracts/{id}/interface", DEVELOP, CONTRACT),
    row("GET", "/v1/contracts/{id}/events", READ, CONTRACT),
    row("GET", "/v1/contracts/{id}/calls", READ, CONTRACT),
    row("POST", "/v1/contracts/{id}/methods/{method}", CALL, CONTRACT),
    reads(row("POST", "/v1/contracts/{id}/methods/{method}/simulate", ALL, CONTRACT)),
    row("GET", "/v1/contracts/{id}/openapi.json", READ, CONTRACT),
    row("GET", "/v1/contracts/{id}/code", READ, CONTRACT),
    // Explorer.
    row("GET", "/v1/networks/{id}/blocks", READ, NETWORK),
    row("GET", "/v1/networks/{id}/blocks/{block}", READ, NETWORK),
    row("GET", "/v1/networks/{id}/transactions", READ, NETWORK),
    row("GET", "/v1/networks/{id}/transactions/{tx}", READ, NETWORK),
    row("GET", "/v1/networks/{id}/transactions/{tx}/trace", READ, NETWORK),
    row("GET", "/v1/search", READ, Scope::Any),
    // Operations and events.
    row("GET", "/v1/operations", READ, Scope::Any),
    row("GET", "/v1/operations/{id}", READ, Scope::Operation("id")),
    row("POST", "/v1/operations/{id}/retry", DEVELOP, Scope::Operation("id")),
    row("POST", "/v1/operations/{id}/cancel", DEVELOP, Scope::Operation("id")),
    row("GET", "/v1/operations/{id}/log", READ, Scope::Operation("id")),
    row("GET", "/v1/events", READ, Scope::Any),
];
