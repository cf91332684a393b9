//! `GET /v1/search`: one box that takes anything.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::access::{Caller, ScopeFilter};
use crate::app::{App, Routes};
use crate::contracts::known::find;
use crate::db::{DbError, Filter, Kind, Page, Query, push_scope};
use crate::http::{self, Json};
use crate::index::query::{self, LedgerRow, TransactionFilter};
use crate::networks::model::NetworkDoc;
use crate::problem::Problem;

/// Most results of one kind.
const OF_A_KIND: u32 = 8;
/// Shortest text that is searched for as the beginning of something.
const SHORTEST_PREFIX: usize = 4;
/// Longest text that is searched for.
const LONGEST: usize = 256;

/// What to search for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// A height, hash, transaction id, address, key written, or a name or part of a name of a network, node, organisation,
    /// contract or project.
    #[param(max_length = 256)]
    q: String,
    /// Only on this network.
    network: Option<String>,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Found {
    /// `network`, `node`, `organisation`, `contract`, `project`, `channel`, `block`, `transaction`, `address`, `key`.
    pub kind: String,
    /// The network.
    pub network: Option<String>,
    /// Channel or group.
    pub channel: Option<String>,
    /// Id of the thing: of a record, a node, a block's height, a transaction's id, an address, a key.
    pub id: String,
    /// What to show.
    pub title: String,
    /// More of it: hash of a block, status of a transaction, name of the network.
    pub detail: String,
}

/// Results of a search.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SearchResult {
    /// Best first.
    pub items: Vec<Found>,
}

/// Searches everything the caller sees.
#[utoipa::path(get, path = "/v1/search", tag = "explorer", operation_id = "search", params(SearchQuery),
    responses((status = 200, body = SearchResult)))]
async fn search(
    State(app): State<App>,
    caller: Caller,
    http::Query(asked): http::Query<SearchQuery>,
) -> Result<Json<SearchResult>, Problem> {
    let text = asked.q.trim();
    let text = text[..text.floor_char_boundary(LONGEST)].to_owned();
    if text.is_empty() {
        return Ok(Json(SearchResult { items: Vec::new() }));
    }
    let scope = caller.scope();
    let ledgers = visible(&app, &scope, asked.network.as_deref()).await?;
    let (names, ledger) =
        tokio::join!(by_name(&app, &scope, asked.network.as_deref(), &text), on_ledgers(&app, &ledgers, &text));
    let (mut items, ledger) = (names?, ledger?);
    // What was asked for exactly comes first.
    let exact = |found: &Found| found.id.eq_ignore_ascii_case(&text) || found.title.eq_ignore_ascii_case(&text);
    items.extend(ledger);
    items.sort_by_key(|found| !exact(found));
    Ok(Json(SearchResult { items }))
}

/// The indexed channels that a caller sees.
async fn visible(app: &App, scope: &ScopeFilter, network: Option<&str>) -> Result<Vec<LedgerRow>, Problem> {
    let mut all = app.control.index.every_ledger();
    if let Some(network) = network {
        all.retain(|ledger| ledger.network == network);
    }
    if *scope != ScopeFilter::default() {
        let mut seen = std::collections::HashMap::new();
        for ledger in &all {
            if !seen.contains_key(&ledger.network) {
                let sees = app.records.sees(scope, Kind::Network, &ledger.network).await?;
                seen.insert(ledger.network.clone(), sees);
            }
        }
        all.retain(|ledger| seen.get(&ledger.network).copied().unwrap_or(false));
    }
    Ok(all)
}

/// Records and parts of networks by a part of their names.
async fn by_name(app: &App, scope: &ScopeFilter, network: Option<&str>, text: &str) -> Result<Vec<Found>, Problem> {
    let needle = text.to_lowercase();
    let mut found = Vec::new();
    // Networks are few: their names, nodes and channels are compared one by one.
    let mut page = Page { size: 200, ..Page::default() };
    let filter = Filter { scope: scope.clone(), ..Filter::default() };
    let mut hits = [0_u32; 3];
    loop {
        let part = app.records.list::<NetworkDoc>(Kind::Network, &filter, &page).await?;
        for record in &part.items {
            if network.is_some_and(|network| network != record.id) {
                continue;
            }
            let hit = |kind: &str, id: &str, title: &str, detail: &str| Found {
                kind: kind.to_owned(),
                network: Some(record.id.clone()),
                channel: None,
                id: id.to_owned(),
                title: title.to_owned(),
                detail: detail.to_owned(),
            };
            if record.name.to_lowercase().contains(&needle) || record.id == text {
                hits[0] += 1;
                if hits[0] <= OF_A_KIND {
                    found.push(hit("network", &record.id, &record.name, &record.doc.spec.consensus));
                }
            }
            for node in &record.doc.spec.nodes {
                let named = node.id.to_lowercase().contains(&needle)
                    || node.hostname.to_lowercase().contains(&needle)
                    || node
                        .node_id
                        .as_deref()
                        .is_some_and(|id| id.starts_with(&needle) && needle.len() >= SHORTEST_PREFIX);
                if named {
                    hits[1] += 1;
                    if hits[1] <= OF_A_KIND {
                        found.push(hit("node", &node.id, &node.id, &record.name));
                    }
                }
            }
            for channel in &record.doc.spec.channels {
                if channel.name.to_lowercase().contains(&needle) {
                    hits[2] += 1;
                    if hits[2] <= OF_A_KIND {
                        let mut one = hit("channel", &channel.name, &channel.name, &record.name);
                        one.channel = Some(channel.name.clone());
                        found.push(one);
                    }
                }
            }
        }
        match part.next_page_token {
            Some(token) => page.token = Some(token),
            None => break,
        }
    }
    found.extend(records(app, scope, network, &needle, text).await?);
    Ok(found)
}

/// Contracts, projects and organisations by a part of their names.
async fn records(
    app: &App,
    scope: &ScopeFilter,
    network: Option<&str>,
    needle: &str,
    exact: &str,
) -> Result<Vec<Found>, Problem> {
    let mut found = Vec::new();
    for kind in [Kind::Contract, Kind::Project, Kind::Organisation] {
        if network.is_some() && kind != Kind::Contract {
            continue;
        }
        let escaped = needle.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let mut query = Query::new("SELECT id, name, network FROM resources WHERE kind = ");
        query.push_bind(kind.name().to_owned()).push(" AND (LOWER(name) LIKE ").push_bind(format!("%{escaped}%"));
        query.push(" ESCAPE '\\' OR id = ").push_bind(exact.to_owned()).push(")");
        if let Some(network) = network {
            query.push(" AND network = ").push_bind(network.to_owned());
        }
        // Organisations are few, and have a rule of their own.
        let ask = kind == Kind::Organisation && *scope != ScopeFilter::default();
        if kind != Kind::Organisation {
            push_scope(&mut query, scope, "network");
        }
        query.push(" ORDER BY name LIMIT 200");
        let rows = query.build().fetch_all(app.db.read()).await.map_err(DbError::from)?;
        let mut taken = 0;
        for row in rows {
            if taken == OF_A_KIND {
                break;
            }
            let read = || -> Result<(String, String, Option<String>), sqlx::Error> {
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
            };
            let (id, name, of) = read().map_err(DbError::from)?;
            if ask && !app.records.sees(scope, kind, &id).await? {
                continue;
            }
            taken += 1;
            found.push(Found {
                kind: kind.name().to_owned(),
                network: of,
                channel: None,
                id,
                title: name,
                detail: String::new(),
            });
        }
    }
    Ok(found)
}

/// Blocks, transactions, senders, contracts and keys.
async fn on_ledgers(app: &App, ledgers: &[LedgerRow], text: &str) -> Result<Vec<Found>, Problem> {
    let pool = app.db.read();
    let numbers: Vec<i64> = ledgers.iter().map(|ledger| ledger.id).collect();
    let of = |id: i64| ledgers.iter().find(|ledger| ledger.id == id);
    let hit = |kind: &str, ledger: i64, id: String, title: String, detail: String| {
        let ledger = of(ledger);
        Found {
            kind: kind.to_owned(),
            network: ledger.map(|ledger| ledger.network.clone()),
            channel: ledger.map(|ledger| ledger.channel.clone()),
            id,
            title,
            detail,
        }
    };
    let mut found = Vec::new();
    if let Ok(height) = text.trim_start_matches('#').parse::<u64>() {
        for row in query::blocks_at(pool, &numbers, height).await.map_err(DbError::from)?.into_iter().take(20) {
            found.push(hit("block", row.ledger, row.height.to_string(), format!("#{}", row.height), row.hash));
        }
    }
    if text.len() >= SHORTEST_PREFIX {
        // Hashes of one engine are written with 0x, of the other without.
        let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let hex = bare.len() >= SHORTEST_PREFIX && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        let spellings = if hex { vec![format!("0x{bare}"), bare.to_owned()] } else { vec![text.to_owned()] };
        for prefix in &spellings {
            if hex {
                for row in query::blocks_by_hash(pool, &numbers, prefix, OF_A_KIND).await.map_err(DbError::from)? {
                    found.push(hit("block", row.ledger, row.height.to_string(), format!("#{}", row.height), row.hash));
                }
            }
            for row in query::transactions_by_id(pool, &numbers, prefix, OF_A_KIND).await.map_err(DbError::from)? {
                found.push(hit("transaction", row.ledger, row.id.clone(), row.id, row.code));
            }
        }
    }
    // Who sent or was called: an address, a chaincode, an identity.
    for &ledger in numbers.iter().take(200) {
        for (as_sender, word) in [(true, "sender"), (false, "contract")] {
            let filter = TransactionFilter {
                sender: as_sender.then(|| text.to_owned()),
                contract: (!as_sender).then(|| text.to_owned()),
                ..TransactionFilter::default()
            };
            let rows = query::transactions(pool, ledger, &filter, 1).await.map_err(DbError::from)?;
            if let Some(row) = rows.into_iter().next() {
                let shown = if as_sender { row.sender } else { row.contract };
                if let (false, Some(of)) = (as_sender, of(ledger)) {
                    let known = app.control.contracts.of(&app.control, &of.network).await?;
                    if let Some(contract) = find(&known, &of.channel, &shown) {
                        found.push(hit("contract", ledger, contract.id.clone(), contract.name.clone(), shown.clone()));
                    }
                }
                found.push(hit("address", ledger, shown.clone(), shown, word.to_owned()));
            }
        }
    }
    let keyed = query::transactions_by_term(pool, &numbers, text, OF_A_KIND).await.map_err(DbError::from)?;
    for row in keyed {
        let (height, _) = row.place();
        let one = hit("transaction", row.ledger, row.id.clone(), row.id, format!("#{height} {}", row.method));
        if !found.contains(&one) {
            found.push(one);
        }
    }
    if text.chars().count() >= 2 {
        for term in query::terms_by_prefix(pool, &numbers, text, OF_A_KIND).await.map_err(DbError::from)? {
            found.push(Found {
                kind: "key".to_owned(),
                network: None,
                channel: None,
                id: term.clone(),
                title: term,
                detail: String::new(),
            });
        }
    }
    Ok(found)
}

/// The route.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(search))
}
