//! A prepared statement that is looked up once for a whole batch.

use rusqlite::{CachedStatement, Connection};

/// Fetched from the connection's cache at first use and kept until the batch ends: at a hundred puts a batch, the lookup
/// by its SQL text would be a tenth of the work.
pub(super) struct Lazy<'c> {
    connection: &'c Connection,
    sql: &'static str,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Lazy<'c> {
    pub(super) fn new(connection: &'c Connection, sql: &'static str) -> Self {
        Self {
            connection,
            sql,
            statement: None,
        }
    }

    pub(super) fn get(&mut self) -> rusqlite::Result<&mut CachedStatement<'c>> {
        match &mut self.statement {
            Some(statement) => Ok(statement),
            empty => Ok(empty.insert(self.connection.prepare_cached(self.sql)?)),
        }
    }
}
