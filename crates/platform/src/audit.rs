//! The audit log: who did what, when, to what, with which outcome; append-only, each record bound to the one before by a hash.
//!
//! A record's hash is SHA-256 over the hash before and the record's text exactly as stored, so a changed, removed or inserted
//! record shows in [`Audit::verify`]. The newest hash is also kept in a file beside the database, so that records cut off at the
//! end show too.

mod handlers;

use std::path::{Path, PathBuf};

use konsort_crypto::hash::sha256_parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::access::{Caller, Proof, Role, ScopeFilter};
use crate::db::{Connection, Db, DbError, Query};
use crate::time;

pub(crate) use handlers::routes;

/// The hash before the first record.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// `usr_…`, `key_…`, `local` or `anonymous`.
    pub id: String,
    /// Name at that time.
    pub name: String,
    /// Role at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Organisation at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// How it proved who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Actor {
    /// Of a caller.
    pub fn of(caller: &Caller, address: Option<String>) -> Self {
        Self {
            id: caller.id.clone(),
            name: caller.name.clone(),
            role: Some(caller.role),
            organisation: caller.organisation.clone(),
            proof: Some(caller.proof),
            address,
        }
    }

    /// Of somebody who is not logged in.
    pub fn anonymous(address: Option<String>) -> Self {
        Self { id: "anonymous".to_owned(), name: String::new(), role: None, organisation: None, proof: None, address }
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// Who.
    pub actor: Actor,
    /// What: method and path of the endpoint (`POST /v1/networks`), or a name of the server's own acts.
    pub action: String,
    /// On what: the path, or an id.
    pub target: String,
    /// The network it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// HTTP status of the answer.
    pub status: u16,
    /// Code of the problem when it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// After, or what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// Id of the request in the server's log.
    pub trace_id: String,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// Position, from 1.
    pub seq: i64,
    /// When.
    pub at: String,
    /// What was done.
    #[serde(flatten)]
    pub entry: Entry,
    /// Hash of the record before.
    pub prev: String,
    /// Hash of this record.
    pub hash: String,
}

/// What is hashed: the stored text.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    seq: i64,
    at: i64,
    #[serde(flatten)]
    entry: Entry,
}

/// Which records to show.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Actor's id.
    pub actor: Option<String>,
    /// Beginning of the action.
    pub action: Option<String>,
    /// Network.
    pub network: Option<String>,
    /// From this time on, milliseconds since 1970.
    pub from: Option<i64>,
    /// Before this time.
    pub to: Option<i64>,
    /// Seen by whom.
    pub scope: ScopeFilter,
}

/// Outcome of checking the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Whether every record is as it was written and none is missing.
    pub ok: bool,
    /// Records checked.
    pub records: i64,
    /// Hash of the newest record; 64 zeros when there is none.
    pub head: String,
    /// First record that is not as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<i64>,
    /// What is wrong with it: `missing`, `altered`, `columns_differ`, `head_differs` or `end_missing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The same in Chinese words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_zh: Option<String>,
}

/// What can be wrong with a chain: code, words, Chinese words.
type Fault = [&'static str; 3];
const MISSING: Fault = ["missing", "a record is missing", "缺少一条记录"];
const ALTERED: Fault = ["altered", "the record is not as it was written", "记录与写入时不一致"];
const COLUMNS: Fault =
    ["columns_differ", "the columns of the record differ from what it says", "记录的列与其内容不一致"];
const HEAD: Fault =
    ["head_differs", "the record differs from the head kept outside of the database", "记录与数据库外保存的链头不一致"];
const END: Fault = ["end_missing", "records at the end are missing", "缺少末尾的记录"];

#[derive(Debug, Clone)]
struct Head {
    seq: i64,
    hash: String,
}

/// Who waits to be told that an entry is durable.
type Told = oneshot::Sender<Result<(), DbError>>;

/// The audit log.
#[derive(Debug)]
pub struct Audit {
    db: Db,
    anchor: PathBuf,
    waiting: parking_lot::Mutex<Vec<(Entry, Told)>>,
    /// Held by the one that writes.
    turn: tokio::sync::Mutex<()>,
}

fn hash_of(prev: &str, doc: &str) -> String {
    hex::encode(sha256_parts(&[prev.as_bytes(), b"\n", doc.as_bytes()]))
}

async fn newest(connection: &mut Connection) -> Result<Head, DbError> {
    let row = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetch_optional(connection).await?;
    row.map_or_else(
        || Ok(Head { seq: 0, hash: NOTHING.to_owned() }),
        |row| Ok(Head { seq: row.try_get(0)?, hash: row.try_get(1)? }),
    )
}

fn read(row: &AnyRow) -> Result<AuditRecord, DbError> {
    let doc: String = row.try_get("doc")?;
    let stored: Stored =
        serde_json::from_str(&doc).map_err(|error| DbError::Failed(format!("audit record: {error}")))?;
    Ok(AuditRecord {
        seq: row.try_get("seq")?,
        at: time::rfc3339(stored.at),
        entry: stored.entry,
        prev: row.try_get("prev")?,
        hash: row.try_get("hash")?,
    })
}

impl Audit {
    /// The log of a database; the newest hash is also kept in a file of the data folder.
    pub fn new(db: Db, folder: &Path) -> Self {
        Self {
            db,
            anchor: folder.join("audit.head"),
            waiting: parking_lot::Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Adds a record; it is durable when this returns. Whoever comes first writes for all who came until its turn, so that many
    /// requests at once cost one write to the disk.
    pub async fn append(&self, entry: Entry) -> Result<(), DbError> {
        let (told, mut written) = oneshot::channel();
        self.waiting.lock().push((entry, told));
        let _turn = self.turn.lock().await;
        let batch = std::mem::take(&mut *self.waiting.lock());
        if !batch.is_empty() {
            let (entries, waiting): (Vec<Entry>, Vec<Told>) = batch.into_iter().unzip();
            let outcome = self.write(&entries).await;
            for told in waiting {
                // One that does not wait any more needs no answer.
                let _ = told.send(outcome.clone());
            }
        }
        written.try_recv().unwrap_or_else(|_| Err(DbError::Failed("an audit record was not written".to_owned())))
    }

    async fn write(&self, entries: &[Entry]) -> Result<(), DbError> {
        let mut transaction = self.db.begin().await?;
        let mut last = newest(&mut transaction).await?;
        for entry in entries {
            let stored = Stored { seq: last.seq + 1, at: time::now(), entry: entry.clone() };
            let doc = serde_json::to_string(&stored).map_err(|error| DbError::Failed(error.to_string()))?;
            let next = Head { seq: stored.seq, hash: hash_of(&last.hash, &doc) };
            sqlx::query(
                "INSERT INTO audit (seq, at, actor, action, network, organisation, doc, prev, hash)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(stored.seq)
            .bind(stored.at)
            .bind(&entry.actor.id)
            .bind(&entry.action)
            .bind(entry.network.as_deref())
            .bind(entry.actor.organisation.as_deref())
            .bind(&doc)
            .bind(&last.hash)
            .bind(&next.hash)
            .execute(&mut *transaction)
            .await?;
            last = next;
        }
        transaction.commit().await?;
        self.keep(&last).await;
        Ok(())
    }

    /// Keeps the newest hash outside of the database. A failure is logged only: the record itself is safe.
    async fn keep(&self, head: &Head) {
        let text = format!("{} {}\n", head.seq, head.hash);
        let beside = self.anchor.with_extension("head.new");
        let written = async {
            tokio::fs::write(&beside, text).await?;
            tokio::fs::rename(&beside, &self.anchor).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, file = %self.anchor.display(), "cannot keep the head of the audit log");
        }
    }

    /// Records that a filter lets through, newest first, of sequence numbers below `before`.
    pub async fn list(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, DbError> {
        let mut query = Query::new("SELECT seq, doc, prev, hash FROM audit WHERE seq < ");
        query.push_bind(before.unwrap_or(i64::MAX));
        if let Some(actor) = &filter.actor {
            query.push(" AND actor = ").push_bind(actor.clone());
        }
        if let Some(action) = &filter.action {
            // A range instead of LIKE: it uses the index and knows no wildcards.
            query.push(" AND action >= ").push_bind(action.clone());
            query.push(" AND action < ").push_bind(format!("{action}\u{10ffff}"));
        }
        if let Some(network) = &filter.network {
            query.push(" AND network = ").push_bind(network.clone());
        }
        if let Some(from) = filter.from {
            query.push(" AND at >= ").push_bind(from);
        }
        if let Some(to) = filter.to {
            query.push(" AND at < ").push_bind(to);
        }
        crate::db::push_scope(&mut query, &filter.scope, "network");
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(limit as i64);
        query.build().fetch_all(self.db.read()).await?.iter().map(read).collect()
    }

    /// Walks the whole chain.
    pub async fn verify(&self) -> Result<Verification, DbError> {
        // Records that are written meanwhile are not waited for; the anchor is read first, so it cannot be ahead of them.
        let anchor = tokio::fs::read_to_string(&self.anchor).await.ok().and_then(|text| {
            let (seq, hash) = text.trim().split_once(' ')?;
            Some(Head { seq: seq.parse().ok()?, hash: hash.to_owned() })
        });
        let mut last = Head { seq: 0, hash: NOTHING.to_owned() };
        let mut anchored = anchor.is_none();
        let broken = |seq: i64, last: &Head, fault: Fault| {
            let [code, problem, problem_zh] = fault.map(|text| Some(text.to_owned()));
            Verification {
                ok: false,
                records: last.seq,
                head: last.hash.clone(),
                broken_at: Some(seq),
                code,
                problem,
                problem_zh,
            }
        };
        loop {
            let rows = sqlx::query(
                "SELECT seq, at, actor, action, network, organisation, doc, prev, hash FROM audit WHERE seq > $1
                 ORDER BY seq LIMIT 1000",
            )
            .bind(last.seq)
            .fetch_all(self.db.read())
            .await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let seq: i64 = row.try_get("seq")?;
                let doc: String = row.try_get("doc")?;
                let prev: String = row.try_get("prev")?;
                let hash: String = row.try_get("hash")?;
                if seq != last.seq + 1 {
                    return Ok(broken(last.seq + 1, &last, MISSING));
                }
                if prev != last.hash || hash != hash_of(&prev, &doc) {
                    return Ok(broken(seq, &last, ALTERED));
                }
                let same = serde_json::from_str::<Stored>(&doc).ok().is_some_and(|stored| {
                    stored.seq == seq
                        && row.try_get::<i64, _>("at").ok() == Some(stored.at)
                        && row.try_get::<String, _>("actor").ok() == Some(stored.entry.actor.id)
                        && row.try_get::<String, _>("action").ok() == Some(stored.entry.action)
                        && row.try_get::<Option<String>, _>("network").ok() == Some(stored.entry.network)
                        && row.try_get::<Option<String>, _>("organisation").ok()
                            == Some(stored.entry.actor.organisation)
                });
                if !same {
                    return Ok(broken(seq, &last, COLUMNS));
                }
                if let Some(anchor) = anchor.as_ref().filter(|anchor| anchor.seq == seq) {
                    if anchor.hash != hash {
                        return Ok(broken(seq, &last, HEAD));
                    }
                    anchored = true;
                }
                last = Head { seq, hash };
            }
        }
        if !anchored {
            return Ok(broken(last.seq + 1, &last, END));
        }
        let (code, problem, problem_zh) = (None, None, None);
        Ok(Verification { ok: true, records: last.seq, head: last.hash, broken_at: None, code, problem, problem_zh })
    }
}
