//! Lists in parts: each page says where the next one starts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Query;
use crate::problem::{Problem, kinds};

/// Order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Created,
    /// Newest first.
    #[default]
    CreatedDescending,
    /// By name.
    Name,
}

/// Which part of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Most items, 1 to 200; 0 means 50.
    pub size: u32,
    /// `next_page_token` of the page before.
    pub token: Option<String>,
    /// Order.
    pub order: Order,
}

impl Page {
    /// Number of items to show.
    pub fn limit(&self) -> usize {
        if self.size == 0 { 50 } else { self.size.min(200) as usize }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOf<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last one.
    pub next_page_token: Option<String>,
}

impl<T> PageOf<T> {
    /// The same page with other items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> PageOf<U> {
        PageOf { items: self.items.into_iter().map(change).collect(), next_page_token: self.next_page_token }
    }
}

/// Where a page starts: after this value of the ordering column and this id.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    o: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    i: String,
}

/// Makes an opaque page token of what the next page needs to know.
pub fn encode_token(cursor: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

/// Reads a page token.
pub fn decode_token<T: DeserializeOwned>(token: &str) -> Result<T, Problem> {
    if token.len() > 1024 {
        return Err(Problem::new(&kinds::INVALID_PAGE_TOKEN));
    }
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Problem::new(&kinds::INVALID_PAGE_TOKEN))
}

/// Adds beginning, order and length of a page to a list with the columns `created_at` and `id` and one of names.
pub(crate) fn push_page(query: &mut Query, page: &Page, name: &'static str) -> Result<(), Problem> {
    let (column, sign) = match page.order {
        Order::Created => ("created_at", " > "),
        Order::CreatedDescending => ("created_at", " < "),
        Order::Name => (name, " > "),
    };
    if let Some(token) = &page.token {
        let cursor: Cursor = decode_token(token)?;
        let same_order = cursor.o == page.order as u8;
        query.push(" AND (").push(column).push(sign);
        match (page.order, cursor.t, cursor.n) {
            (Order::Name, None, Some(text)) if same_order => {
                query.push_bind(text.clone()).push(" OR (").push(column).push(" = ").push_bind(text);
            }
            (Order::Created | Order::CreatedDescending, Some(at), None) if same_order => {
                query.push_bind(at).push(" OR (").push(column).push(" = ").push_bind(at);
            }
            _ => return Err(Problem::new(&kinds::INVALID_PAGE_TOKEN)),
        }
        query.push(" AND id").push(sign).push_bind(cursor.i).push("))");
    }
    query.push(" ORDER BY ").push(column);
    query.push(if page.order == Order::CreatedDescending { " DESC, id DESC" } else { ", id" });
    // One more than is shown tells whether there is a next page.
    query.push(" LIMIT ").push_bind(page.limit() as i64 + 1);
    Ok(())
}

/// Takes off the item that only says that there is more, and makes the token of the next page. `keys` gives time, name and id.
pub(crate) fn cut<T>(mut items: Vec<T>, page: &Page, keys: impl Fn(&T) -> (i64, &str, &str)) -> PageOf<T> {
    let more = items.len() > page.limit();
    items.truncate(page.limit());
    let next_page_token = items.last().filter(|_| more).map(|last| {
        let (at, name, id) = keys(last);
        let (t, n) = if page.order == Order::Name { (None, Some(name.to_owned())) } else { (Some(at), None) };
        encode_token(&Cursor { o: page.order as u8, t, n, i: id.to_owned() })
    });
    PageOf { items, next_page_token }
}
