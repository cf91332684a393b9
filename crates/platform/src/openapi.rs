//! The OpenAPI document: what the handlers say of themselves, and what is true of all of them.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, PathItem, Ref,
    RefOr, Required, ResponseBuilder, SecurityRequirement, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::access::{Row, Scope, row};
use crate::problem::ProblemBody;

/// The empty document that the routes are added to.
pub(crate) fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Konsort")
        .version("v1")
        .description(Some(
            "Creates, runs, watches and uses consortium networks of two engines. Errors are problem+json (RFC 9457) with a stable \
             code; texts follow Accept-Language (en, zh).",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let components = ComponentsBuilder::new()
        .schema(ProblemBody::name(), ProblemBody::schema())
        .security_scheme(
            "api_key",
            SecurityScheme::Http(
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key: kst_…")).build(),
            ),
        )
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                crate::auth::COOKIE,
                "Session of a browser; writes carry the header x-csrf-token",
            ))),
        )
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// Adds what is true of every endpoint: problems, security, headers.
pub(crate) fn complete(document: &mut OpenApi) {
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        for (method, operation) in operations(&mut item) {
            if let Some(row) = row(method, &path) {
                describe(row, operation);
            }
        }
        // A parameter that takes the rest of the path is an ordinary one to the document.
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
}

/// The operations of a path with their methods.
pub(crate) fn operations(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
    [
        ("GET", item.get.as_mut()),
        ("PUT", item.put.as_mut()),
        ("POST", item.post.as_mut()),
        ("DELETE", item.delete.as_mut()),
        ("PATCH", item.patch.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
    .collect()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn describe(row: &Row, operation: &mut Operation) {
    let public = row.scope == Scope::Public;
    let writes = row.method != "GET";
    let with_body = operation.request_body.is_some();
    let in_path = row.path.contains('{');
    let edits = matches!(row.method, "PATCH" | "PUT" | "DELETE");
    let mut statuses = vec![("400", "A parameter or the body cannot be read"), ("429", "Too many attempts")];
    if public {
        operation.security = Some(Vec::new());
    } else {
        operation.security = Some(vec![
            SecurityRequirement::new::<_, [&str; 0], &str>("api_key", []),
            SecurityRequirement::new::<_, [&str; 0], &str>("session", []),
        ]);
        statuses.push(("401", "Nobody is logged in"));
    }
    if !public || writes {
        statuses.push(("403", "The role does not allow this"));
    }
    if public && row.path == "/v1/session" {
        statuses.push(("401", "Name or password is wrong"));
    }
    if public && row.path.starts_with("/v1/oidc") {
        statuses.extend([("403", "The login was refused"), ("404", "No login provider is set up")]);
    }
    if in_path || !public {
        statuses.push(("404", "There is no such thing"));
    }
    if writes {
        statuses.extend([
            ("409", "Not possible in the present state"),
            ("422", "A field is not valid, or the network refused"),
        ]);
        if !public {
            add_header(operation, "Idempotency-Key", "Makes repetitions of this request safe for 24 hours");
        }
    } else {
        statuses.push(("422", "The network refused, or has no such thing"));
    }
    if with_body {
        statuses.extend([("413", "The body is too large"), ("415", "The media type is not accepted")]);
    }
    if edits {
        statuses.push(("412", "It was changed in the meantime"));
        add_header(operation, "If-Match", "ETag of the version that the change is meant for");
    }
    statuses.extend([
        ("500", "A fault of the server"),
        ("502", "A node or another server does not answer"),
        ("503", "The database or a driver does not answer"),
        ("507", "The disk is full"),
    ]);
    statuses.sort_unstable();
    for (status, words) in statuses {
        let content = Content::builder().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
        let mut response = ResponseBuilder::new().description(words).content("application/problem+json", content);
        if status == "429" {
            let seconds = HeaderBuilder::new()
                .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
                .description(Some("Seconds to wait"))
                .build();
            response = response.header("Retry-After", seconds);
        }
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response.build()));
    }
}

fn add_header(operation: &mut Operation, name: &str, words: &str) {
    let header = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(words))
        .schema(Some(text().max_length(Some(255))))
        .build();
    operation.parameters.get_or_insert_with(Vec::new).push(header.into());
}
