//! Typed documents in the table `resources`, with versions, scopes and pages.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::page::{Page, PageOf, cut, push_page};
use super::{Connection, Db, DbError, Query};
use crate::access::ScopeFilter;
use crate::problem::Problem;
use crate::time;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An organisation.
    Organisation,
    /// A network; its document has the specification under `spec`.
    Network,
    /// What is remembered of a node.
    Node,
    /// A channel or group.
    Channel,
    /// An identity.
    Identity,
    /// A project of sources.
    Project,
    /// A contract on a network.
    Contract,
    /// One deployment of a contract.
    Deployment,
}

impl Kind {
    /// Its name in the table and in problems.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Network => "network",
            Self::Node => "node",
            Self::Channel => "channel",
            Self::Identity => "identity",
            Self::Project => "project",
            Self::Contract => "contract",
            Self::Deployment => "deployment",
        }
    }
}

/// A stored record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<T> {
    /// Its id.
    pub id: String,
    /// The network it belongs to.
    pub network: Option<String>,
    /// The organisation it belongs to.
    pub organisation: Option<String>,
    /// Display name.
    pub name: String,
    /// Counts changes; its ETag.
    pub version: i64,
    /// The document.
    pub doc: T,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// A record to be made.
#[derive(Debug, Clone, Copy)]
pub struct New<'a, T> {
    /// Its id, from [`crate::ids::new`].
    pub id: &'a str,
    /// The network it belongs to.
    pub network: Option<&'a str>,
    /// The organisation it belongs to.
    pub organisation: Option<&'a str>,
    /// Display name.
    pub name: &'a str,
    /// The document.
    pub doc: &'a T,
}

/// Which records a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this network.
    pub network: Option<String>,
    /// Of this organisation.
    pub organisation: Option<String>,
    /// Of exactly this name.
    pub name: Option<String>,
    /// Seen by a caller: [`crate::access::Caller::scope`].
    pub scope: ScopeFilter,
}

/// Adds the condition that a row's `network` and `organisation` are in a scope. A network is seen by the organisation that made it
/// and by those in it; what belongs to a network is seen by those who see the network; the rest by its organisation.
pub fn push_scope(query: &mut Query, scope: &ScopeFilter, network_column: &'static str) {
    if let Some(organisation) = &scope.organisation {
        query.push(" AND (organisation = ").push_bind(organisation.clone());
        query.push(" OR ").push(network_column).push(" IN (SELECT network FROM memberships WHERE organisation = ");
        query.push_bind(organisation.clone()).push("))");
    }
    if let Some(networks) = &scope.networks {
        query.push(" AND ").push(network_column).push(" IN (''");
        for network in networks {
            query.push(", ").push_bind(network.clone());
        }
        query.push(")");
    }
}

fn push_kind_scope(query: &mut Query, scope: &ScopeFilter, kind: Kind) {
    match (kind, &scope.organisation) {
        // One sees one's own organisation and those one shares a network with.
        (Kind::Organisation, Some(organisation)) => {
            query.push(" AND (id = ").push_bind(organisation.clone());
            query.push(
                " OR id IN (SELECT m.organisation FROM memberships m JOIN memberships own ON own.network = m.network
                 WHERE own.organisation = ",
            );
            query.push_bind(organisation.clone()).push("))");
        }
        (Kind::Organisation, None) => {}
        (Kind::Network, _) => push_scope(query, scope, "id"),
        _ => push_scope(query, scope, "network"),
    }
}

/// Reads and writes records.
#[derive(Debug, Clone)]
pub struct Repository {
    db: Db,
}

const COLUMNS: &str = "id, network, organisation, name, version, doc, created_at, updated_at";

fn read<T: DeserializeOwned>(row: &AnyRow) -> Result<Record<T>, DbError> {
    let doc: String = row.try_get("doc")?;
    let id: String = row.try_get("id")?;
    let doc = serde_json::from_str(&doc).map_err(|error| DbError::Failed(format!("document of {id}: {error}")))?;
    Ok(Record {
        id,
        network: row.try_get("network")?,
        organisation: row.try_get("organisation")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        doc,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn text_of(doc: &impl Serialize) -> Result<String, DbError> {
    serde_json::to_string(doc).map_err(|error| DbError::Failed(error.to_string()))
}

impl Repository {
    /// On a database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Makes a record; [`DbError::Exists`] when its id is taken.
    pub async fn create<T: Serialize + Sync>(&self, kind: Kind, new: New<'_, T>) -> Result<(), DbError> {
        let mut transaction = self.db.begin().await?;
        Self::create_in(&mut transaction, kind, new).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// [`Repository::create`] as part of a transaction.
    pub async fn create_in<T: Serialize + Sync>(
        connection: &mut Connection,
        kind: Kind,
        new: New<'_, T>,
    ) -> Result<(), DbError> {
        let now = time::now();
        let doc = text_of(new.doc)?;
        sqlx::query(
            "INSERT INTO resources (kind, id, network, organisation, name, version, doc, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $7)",
        )
        .bind(kind.name())
        .bind(new.id)
        .bind(new.network)
        .bind(new.organisation)
        .bind(new.name)
        .bind(&doc)
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(|error| match DbError::from(error) {
            DbError::Exists { .. } => DbError::Exists { kind: kind.name(), name: new.name.to_owned() },
            other => other,
        })?;
        members(connection, kind, new.id, &doc).await
    }

    /// A record, whoever asks: scope has been checked by the route's row of the table.
    pub async fn find<T: DeserializeOwned>(&self, kind: Kind, id: &str) -> Result<Option<Record<T>>, DbError> {
        let row = sqlx::query(
            "SELECT id, network, organisation, name, version, doc, created_at, updated_at FROM resources
             WHERE kind = $1 AND id = $2",
        )
        .bind(kind.name())
        .bind(id)
        .fetch_optional(self.db.read())
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// A record, or [`DbError::NotFound`].
    pub async fn get<T: DeserializeOwned>(&self, kind: Kind, id: &str) -> Result<Record<T>, DbError> {
        self.find(kind, id).await?.ok_or_else(|| DbError::NotFound { kind: kind.name(), id: id.to_owned() })
    }

    /// A record read inside of a transaction.
    pub async fn get_in<T: DeserializeOwned>(
        connection: &mut Connection,
        kind: Kind,
        id: &str,
    ) -> Result<Record<T>, DbError> {
        let row = sqlx::query(
            "SELECT id, network, organisation, name, version, doc, created_at, updated_at FROM resources
             WHERE kind = $1 AND id = $2",
        )
        .bind(kind.name())
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
        row.as_ref().map(read).transpose()?.ok_or_else(|| DbError::NotFound { kind: kind.name(), id: id.to_owned() })
    }

    /// Replaces name and document. With `expected`, only that version: else [`DbError::Stale`]. Returns the new version.
    pub async fn update<T: Serialize + Sync>(
        &self,
        kind: Kind,
        id: &str,
        expected: Option<i64>,
        name: &str,
        doc: &T,
    ) -> Result<i64, DbError> {
        let mut transaction = self.db.begin().await?;
        let version = Self::update_in(&mut transaction, kind, id, expected, name, doc).await?;
        transaction.commit().await?;
        Ok(version)
    }

    /// [`Repository::update`] as part of a transaction.
    pub async fn update_in<T: Serialize + Sync>(
        connection: &mut Connection,
        kind: Kind,
        id: &str,
        expected: Option<i64>,
        name: &str,
        doc: &T,
    ) -> Result<i64, DbError> {
        let doc = text_of(doc)?;
        let row = sqlx::query(
            "UPDATE resources SET name = $1, doc = $2, updated_at = $3, version = version + 1
             WHERE kind = $4 AND id = $5 AND (version = $6 OR $6 = -1) RETURNING version",
        )
        .bind(name)
        .bind(&doc)
        .bind(time::now())
        .bind(kind.name())
        .bind(id)
        .bind(expected.unwrap_or(-1))
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Err(Self::why_not(connection, kind, id).await) };
        members(connection, kind, id, &doc).await?;
        Ok(row.try_get(0)?)
    }

    /// Removes a record.
    pub async fn delete(&self, kind: Kind, id: &str, expected: Option<i64>) -> Result<(), DbError> {
        let mut transaction = self.db.begin().await?;
        Self::delete_in(&mut transaction, kind, id, expected).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// [`Repository::delete`] as part of a transaction.
    pub async fn delete_in(
        connection: &mut Connection,
        kind: Kind,
        id: &str,
        expected: Option<i64>,
    ) -> Result<(), DbError> {
        let done = sqlx::query("DELETE FROM resources WHERE kind = $1 AND id = $2 AND (version = $3 OR $3 = -1)")
            .bind(kind.name())
            .bind(id)
            .bind(expected.unwrap_or(-1))
            .execute(&mut *connection)
            .await?;
        if done.rows_affected() == 0 {
            return Err(Self::why_not(connection, kind, id).await);
        }
        if kind == Kind::Network {
            sqlx::query("DELETE FROM memberships WHERE network = $1").bind(id).execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn why_not(connection: &mut Connection, kind: Kind, id: &str) -> DbError {
        let row = sqlx::query("SELECT version FROM resources WHERE kind = $1 AND id = $2")
            .bind(kind.name())
            .bind(id)
            .fetch_optional(connection)
            .await;
        match row {
            Ok(Some(row)) => DbError::Stale { found: row.try_get(0).unwrap_or(0) },
            Ok(None) => DbError::NotFound { kind: kind.name(), id: id.to_owned() },
            Err(error) => error.into(),
        }
    }

    /// A page of records.
    pub async fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        filter: &Filter,
        page: &Page,
    ) -> Result<PageOf<Record<T>>, Problem> {
        let mut query = Query::new("SELECT ");
        query.push(COLUMNS).push(" FROM resources WHERE kind = ").push_bind(kind.name().to_owned());
        if let Some(network) = &filter.network {
            query.push(" AND network = ").push_bind(network.clone());
        }
        if let Some(organisation) = &filter.organisation {
            query.push(" AND organisation = ").push_bind(organisation.clone());
        }
        if let Some(name) = &filter.name {
            query.push(" AND name = ").push_bind(name.clone());
        }
        push_kind_scope(&mut query, &filter.scope, kind);
        push_page(&mut query, page, "name")?;
        let rows = query.build().fetch_all(self.db.read()).await.map_err(DbError::from)?;
        let items = rows.iter().map(read).collect::<Result<Vec<Record<T>>, DbError>>()?;
        Ok(cut(items, page, |record| (record.created_at, &record.name, &record.id)))
    }

    /// Whether a caller's scope includes a record.
    pub async fn sees(&self, scope: &ScopeFilter, kind: Kind, id: &str) -> Result<bool, DbError> {
        let mut query = Query::new("SELECT id FROM resources WHERE kind = ");
        query.push_bind(kind.name().to_owned()).push(" AND id = ").push_bind(id.to_owned());
        push_kind_scope(&mut query, scope, kind);
        Ok(query.build().fetch_optional(self.db.read()).await?.is_some())
    }
}

/// Keeps the table of who is in a network in step with the network's document.
async fn members(connection: &mut Connection, kind: Kind, id: &str, doc: &str) -> Result<(), DbError> {
    if kind != Kind::Network {
        return Ok(());
    }
    let value: serde_json::Value =
        serde_json::from_str(doc).map_err(|error| DbError::Failed(format!("document of {id}: {error}")))?;
    sqlx::query("DELETE FROM memberships WHERE network = $1").bind(id).execute(&mut *connection).await?;
    let organisations = value.pointer("/spec/organisations").and_then(serde_json::Value::as_array);
    let mut seen = std::collections::BTreeSet::new();
    for organisation in organisations.into_iter().flatten() {
        let Some(organisation) = organisation.get("id").and_then(serde_json::Value::as_str) else { continue };
        if seen.insert(organisation) {
            sqlx::query("INSERT INTO memberships (network, organisation) VALUES ($1, $2)")
                .bind(id)
                .bind(organisation)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}
