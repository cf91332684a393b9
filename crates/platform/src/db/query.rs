//! SQL put together from fixed pieces and bound values.

use sqlx::any::AnyArguments;
use sqlx::query::Query as Built;
use sqlx::{Any, Arguments as _, AssertSqlSafe, Encode, Type};

/// A statement in the making; values never become part of its text. (sqlx's own builder writes `?`, which PostgreSQL refuses.)
pub struct Query {
    text: String,
    arguments: AnyArguments,
    count: usize,
    failure: Option<String>,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Query").field("text", &self.text).field("values", &self.count).finish_non_exhaustive()
    }
}

impl Query {
    /// Begins with a piece of SQL.
    pub fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), arguments: AnyArguments::default(), count: 0, failure: None }
    }

    /// Adds a piece of SQL.
    pub fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub fn push_bind<T>(&mut self, value: T) -> &mut Self
    where
        T: for<'q> Encode<'q, Any> + Type<Any> + Send,
    {
        self.count += 1;
        self.text.push('$');
        self.text.push_str(&self.count.to_string());
        if let Err(error) = self.arguments.add(value) {
            self.failure = Some(error.to_string());
        }
        self
    }

    /// The statement, to be run.
    pub fn build(&mut self) -> Built<'static, Any, AnyArguments> {
        if let Some(failure) = &self.failure {
            tracing::error!(%failure, "a value could not be bound");
        }
        sqlx::query_with(AssertSqlSafe(std::mem::take(&mut self.text)), std::mem::take(&mut self.arguments))
    }
}
