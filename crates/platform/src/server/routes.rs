//! Every route, checked against the table of access.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware};

use crate::access::{Row, row, table};
use crate::app::{App, Routes};
use crate::http::middleware::{guard, outermost};
use crate::openapi;
use crate::problem::{Problem, kinds};

/// The routes of every module.
fn all() -> Routes {
    Routes::with_openapi(openapi::base())
        .merge(super::meta::routes())
        .merge(crate::auth::routes())
        .merge(crate::organisations::routes())
        .merge(crate::settings::routes())
        .merge(crate::audit::routes())
        .merge(crate::networks::routes())
        .merge(crate::nodes::routes())
        .merge(crate::channels::routes())
        .merge(crate::identities::routes())
        .merge(crate::operations::handlers::routes())
        .merge(crate::events::stream::routes())
        .merge(crate::contracts::routes())
        .merge(crate::projects::routes())
        .merge(crate::explorer::routes())
        .merge(crate::search::routes())
}

/// The routes and the OpenAPI document; refused when a route has no row in the table or a row no route.
pub(super) fn assemble() -> Result<(Router<App>, Arc<str>), String> {
    let (router, mut document) = all().split_for_parts();
    let mut declared = Vec::new();
    for (path, item) in &mut document.paths.paths {
        for (method, _) in openapi::operations(item) {
            if row(method, path).is_none() {
                return Err(format!("{method} {path} has no row in the table of access"));
            }
            declared.push((method, path.clone()));
        }
    }
    let lost = |row: &&Row| !declared.iter().any(|(method, path)| *method == row.method && path == row.path);
    if let Some(row) = table::TABLE.iter().find(lost) {
        return Err(format!("the row {} {} has no route", row.method, row.path));
    }
    openapi::complete(&mut document);
    let mut text = document.to_pretty_json().map_err(|error| error.to_string())?;
    text.push('\n');
    Ok((router, text.into()))
}

/// The service: routes within their guard, the console beside them, everything within the outermost layer.
pub(super) fn finish(router: Router<App>, app: &App) -> Router {
    router
        .route_layer(middleware::from_fn_with_state(app.clone(), guard))
        .method_not_allowed_fallback(not_allowed)
        .fallback(console)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), outermost))
        .with_state(app.clone())
}

async fn not_allowed() -> Problem {
    Problem::new(&kinds::METHOD_NOT_ALLOWED)
}

async fn console(State(app): State<App>, request: Request) -> Response {
    app.console.answer(&request).into_response()
}
