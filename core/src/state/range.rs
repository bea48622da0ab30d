//! Range reads: etcd's rules over the tables of the keyspace.
//!
//! A read has two steps. The first finds the versions that the range holds, without their values: at the present
//! revision these stand in `keys`; at an older one each key is walked back to the version of that time. Filters and sorts
//! need no more than that (but for a sort by value). The second step fetches the values of what is really answered.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{ReadError, Rejection, StateError};
use super::keyspace::{Newest, version_before};
use super::position::Position;
use super::seal::Label;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use crate::proto::mvccpb::KeyValue;

/// The keys that a request names by `key` and `range_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds<'r> {
    /// No `range_end`.
    One(&'r [u8]),
    /// From the first up to the second, which is outside.
    Between(&'r [u8], &'r [u8]),
    /// A `range_end` of one zero byte: the first and all after it.
    From(&'r [u8]),
}

impl<'r> Bounds<'r> {
    pub(super) fn new(key: &'r [u8], range_end: &'r [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::From(key),
            end => Self::Between(key, end),
        }
    }

    /// The condition on the column `key` with ?1 and ?2, and their values.
    fn condition(&self) -> (&'static str, [&'r [u8]; 2]) {
        match *self {
            Self::One(key) => ("key = ?1 AND ?2 IS NOT NULL", [key, &[]]),
            Self::Between(key, end) => ("key >= ?1 AND key < ?2", [key, end]),
            Self::From(key) => ("key >= ?1 AND ?2 IS NOT NULL", [key, &[]]),
        }
    }

    /// The part of the range that lies behind a key of it.
    fn behind(&self) -> (&'static str, Option<&'r [u8]>) {
        match *self {
            Self::One(_) => ("0 AND ?1 IS NULL AND ?2 IS NULL", None),
            Self::Between(_, end) => ("key > ?1 AND key < ?2", Some(end)),
            Self::From(_) => ("key > ?1 AND ?2 IS NULL", None),
        }
    }
}

/// At what revision a read looks, and what it may see.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// The present revision, changes of the running transaction included.
    pub(super) revision: i64,
    pub(super) compacted: i64,
}

/// A version found, its value still in the table.
struct Found {
    key: Bytes,
    version: Newest,
}

/// Answers a request on a connection that stands at one state: inside of a transaction.
pub(super) fn range(
    connection: &Connection,
    view: View,
    request: &RangeRequest,
) -> Result<RangeResponse, ReadError> {
    check_revision(view, request.revision)?;
    let bounds = Bounds::new(&request.key, &request.range_end);
    let past = (request.revision > 0 && request.revision < view.revision)
        .then(|| Position::after(request.revision));
    let header = Some(ResponseHeader {
        revision: view.revision,
        ..ResponseHeader::default()
    });
    if request.count_only {
        let count = match past {
            None => count(connection, &bounds)?,
            Some(bound) => length(&scan_past(connection, &bounds, bound)?),
        };
        return Ok(RangeResponse {
            header,
            count,
            ..RangeResponse::default()
        });
    }
    let fetch = if needs_all(request) || request.limit <= 0 {
        None
    } else {
        Some(request.limit.saturating_add(1))
    };
    let (mut found, count) = match past {
        None => scan(connection, &bounds, fetch)?,
        Some(bound) => {
            let found = scan_past(connection, &bounds, bound)?;
            let count = length(&found);
            (truncate(found, fetch), count)
        }
    };
    found.retain(|found| passes(request, &found.version));
    let order = Order::of(request);
    let mut kvs = if order.by == SortTarget::Value {
        let mut kvs = with_values(connection, found)?;
        order.sort(&mut kvs, |a, b| a.value.cmp(&b.value));
        kvs
    } else {
        order.sort(&mut found, |a, b| order.compare(a, b));
        let kept = request.limit.saturating_add(1);
        let found = truncate(found, (request.limit > 0).then_some(kept));
        if request.keys_only {
            found
                .into_iter()
                .map(|found| found.version.key_value(found.key, Bytes::new()))
                .collect()
        } else {
            with_values(connection, found)?
        }
    };
    let more = request.limit > 0 && length(&kvs) > request.limit;
    kvs = truncate(kvs, (request.limit > 0).then_some(request.limit));
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    Ok(RangeResponse {
        header,
        kvs,
        more,
        count,
    })
}

const POINT: &str = "SELECT head, created, version, lease, jump, steps,
        (SELECT value FROM history WHERE position = head), (SELECT revision FROM mark)
     FROM keys WHERE key = ?1 AND version > 0";

/// The commonest read by far: one key that exists, as it is now. One statement, so it needs no transaction around it.
/// `None` when the request is another kind of read, or there is no such key: the general way answers then.
///
/// No join: SQLite plans a join by the values bound to its parameters, which here means to prepare it anew at each
/// execution, at four times the cost of the read.
pub(super) fn point(
    connection: &Connection,
    request: &RangeRequest,
) -> Result<Option<RangeResponse>, ReadError> {
    let whole = !request.count_only && !request.keys_only;
    let present = request.range_end.is_empty() && request.revision <= 0;
    if !whole || !present || needs_all(request) {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(POINT)?;
    let mut rows = statement.query([&*request.key])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let newest = Newest::from_row(row, 0)?;
    let value = row.get_ref(Newest::COLUMNS)?.as_blob_or_null();
    let value = value.ok().flatten().ok_or_else(|| missing(newest.head))?;
    let value = Label::of(&request.key, &newest).open(value)?;
    let kv = newest.key_value(request.key.clone(), value);
    let header = Some(ResponseHeader {
        revision: row.get(Newest::COLUMNS + 1)?,
        ..ResponseHeader::default()
    });
    Ok(Some(RangeResponse {
        header,
        kvs: vec![kv],
        more: false,
        count: 1,
    }))
}

/// What a transaction checks before it starts and a read before it looks.
pub(super) fn check_revision(view: View, revision: i64) -> Result<(), Rejection> {
    match revision {
        revision if revision > view.revision => Err(Rejection::FutureRevision),
        revision if revision > 0 && revision < view.compacted => Err(Rejection::Compacted),
        _ => Ok(()),
    }
}

/// The keys of a range that exist now and come after `after`, at most `limit` of them.
pub(super) fn existing_keys(
    connection: &Connection,
    bounds: &Bounds<'_>,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, Newest)>, StateError> {
    let found = match after {
        None => {
            let (condition, [low, high]) = bounds.condition();
            rows(connection, condition, [low, high], Some(limit))?
        }
        Some(after) => {
            let (condition, end) = bounds.behind();
            rows(connection, condition, params![after, end], Some(limit))?
        }
    };
    Ok(found
        .into_iter()
        .map(|found| (found.key, found.version))
        .collect())
}

/// How many keys of the range exist now.
pub(super) fn count(connection: &Connection, bounds: &Bounds<'_>) -> Result<i64, StateError> {
    let (condition, [low, high]) = bounds.condition();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT count(*) FROM keys WHERE {condition} AND version > 0"
    ))?;
    Ok(statement.query_row([low, high], |row| row.get(0))?)
}

/// The range as it is now: at most `fetch` versions, and how many there are in all.
fn scan(
    connection: &Connection,
    bounds: &Bounds<'_>,
    fetch: Option<i64>,
) -> Result<(Vec<Found>, i64), StateError> {
    let (condition, [low, high]) = bounds.condition();
    let found = rows(
        connection,
        condition,
        [low, high],
        fetch.and_then(|fetch| usize::try_from(fetch).ok()),
    )?;
    let seen = length(&found);
    let rest = match found.last() {
        Some(last) if fetch == Some(seen) => {
            let (condition, end) = bounds.behind();
            let mut statement = connection.prepare_cached(&format!(
                "SELECT count(*) FROM keys WHERE {condition} AND version > 0"
            ))?;
            statement.query_row(params![&*last.key, end], |row| row.get(0))?
        }
        _ => 0,
    };
    Ok((found, seen + rest))
}

/// The range as it was before `bound`.
fn scan_past(
    connection: &Connection,
    bounds: &Bounds<'_>,
    bound: Position,
) -> Result<Vec<Found>, StateError> {
    let (condition, [low, high]) = bounds.condition();
    let mut statement = connection.prepare_cached(&format!("SELECT key, head, created, version, lease, jump, steps FROM keys WHERE {condition} ORDER BY key"))?;
    let mut rows = statement.query([low, high])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(version) = version_at(connection, &Newest::from_row(row, 1)?, bound)? {
            found.push(Found {
                key: blob(row, 0)?,
                version,
            });
        }
    }
    Ok(found)
}

/// A key's version as it was before `bound`; `None` when the key did not exist then.
pub(super) fn version_at(
    connection: &Connection,
    newest: &Newest,
    bound: Position,
) -> Result<Option<Newest>, StateError> {
    let position = version_before(connection, newest, bound)?;
    if position == newest.head {
        return Ok(newest.exists().then_some(*newest));
    }
    let mut statement = connection.prepare_cached(
        "SELECT position, created, version, lease, 0, 0 FROM history WHERE position = ?1",
    )?;
    let version = statement
        .query_row([position.0], |row| Newest::from_row(row, 0))
        .optional()?;
    Ok(version.filter(Newest::exists))
}

/// At most `limit` of the keys that exist and fulfil a condition. The limit is not a parameter of the statement, which
/// SQLite would prepare anew for each value of it.
fn rows(
    connection: &Connection,
    condition: &str,
    parameters: impl rusqlite::Params,
    limit: Option<usize>,
) -> Result<Vec<Found>, StateError> {
    let mut statement = connection.prepare_cached(&rows_sql(condition))?;
    let found = statement.query_map(parameters, |row| {
        Ok(Found {
            key: blob(row, 0)?,
            version: Newest::from_row(row, 1)?,
        })
    })?;
    Ok(found
        .take(limit.unwrap_or(usize::MAX))
        .collect::<Result<_, _>>()?)
}

fn rows_sql(condition: &str) -> String {
    format!(
        "SELECT key, head, created, version, lease, jump, steps FROM keys
         WHERE {condition} AND version > 0 ORDER BY key"
    )
}

pub(super) fn missing(position: Position) -> StateError {
    StateError::Damaged(format!("the version at {} is missing", position.0))
}

fn with_values(connection: &Connection, found: Vec<Found>) -> Result<Vec<KeyValue>, StateError> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM history WHERE position = ?1")?;
    let mut kvs = Vec::with_capacity(found.len());
    for Found { key, version } in found {
        let mut rows = statement.query([version.head.0])?;
        let row = rows.next()?.ok_or_else(|| missing(version.head))?;
        let sealed = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let value = Label::of(&key, &version).open(sealed)?;
        kvs.push(version.key_value(key, value));
    }
    Ok(kvs)
}

pub(super) fn blob(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}

/// Whether a limit applies only after everything has been read. A sort target without an order is not such a case: etcd
/// takes the first keys up to the limit and then sorts these.
fn needs_all(request: &RangeRequest) -> bool {
    let by_key_upwards =
        request.sort_target() == SortTarget::Key && request.sort_order() == SortOrder::Ascend;
    let sorted = request.sort_order() != SortOrder::None && !by_key_upwards;
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    sorted || bounds.iter().any(|&bound| bound != 0)
}

fn passes(request: &RangeRequest, version: &Newest) -> bool {
    let within = |value: i64, low: i64, high: i64| {
        (low == 0 || value >= low) && (high == 0 || value <= high)
    };
    within(
        version.head.revision().0,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        version.created,
        request.min_create_revision,
        request.max_create_revision,
    )
}

struct Order {
    by: SortTarget,
    descending: bool,
}

impl Order {
    fn of(request: &RangeRequest) -> Self {
        Self {
            by: request.sort_target(),
            descending: request.sort_order() == SortOrder::Descend,
        }
    }

    fn compare(&self, a: &Found, b: &Found) -> std::cmp::Ordering {
        match self.by {
            SortTarget::Key | SortTarget::Value => a.key.cmp(&b.key),
            SortTarget::Version => a.version.version.cmp(&b.version.version),
            SortTarget::Create => a.version.created.cmp(&b.version.created),
            SortTarget::Mod => a.version.head.revision().cmp(&b.version.head.revision()),
        }
    }

    /// Stable, so that equals stay in the order of their keys in both directions.
    fn sort<T>(&self, items: &mut [T], compare: impl Fn(&T, &T) -> std::cmp::Ordering) {
        if self.descending {
            items.sort_by(|a, b| compare(b, a));
        } else if self.by != SortTarget::Key {
            items.sort_by(compare);
        }
    }
}

fn truncate<T>(mut items: Vec<T>, limit: Option<i64>) -> Vec<T> {
    if let Some(limit) = limit {
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    items
}

fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).expect("a vector's length fits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Missing, Place};
    use crate::proto::etcdserverpb::PutRequest;
    use crate::proto::store::{LogId, command::Body};
    use crate::state::{Durability, Reader, State, command};

    /// A join, or a limit as a parameter, would have SQLite prepare the statement anew each time: seen in a profile, and
    /// in no test.
    #[test]
    fn statements_of_reads_stay_prepared() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), None);
        let mut state = State::open(&place, Missing::Create).unwrap();
        let mut batch = state.begin().unwrap();
        for index in 1..20 {
            let key = Bytes::from(format!("key {index}"));
            let put = command(Body::Put(PutRequest {
                key,
                ..PutRequest::default()
            }));
            let log_id = LogId { term: 1, index };
            batch.apply(log_id, Some(&put), None).unwrap();
        }
        batch.commit(Durability::Lazy).unwrap();
        let reader = Reader::open(&place).unwrap();
        for index in 1..20_u8 {
            let key = Bytes::from(format!("key {index}"));
            let one = RangeRequest {
                key: key.clone(),
                ..RangeRequest::default()
            };
            assert_eq!(reader.range(&one).unwrap().kvs.len(), 1);
            let some = RangeRequest {
                range_end: Bytes::from_static(b"z"),
                limit: i64::from(index),
                ..one
            };
            assert!(!reader.range(&some).unwrap().kvs.is_empty());
        }
        let (between, _) = Bounds::Between(b"a", b"b").condition();
        for sql in [POINT.to_owned(), rows_sql(between)] {
            let statement = reader.connection().prepare_cached(&sql).unwrap();
            let runs = statement.get_status(rusqlite::StatementStatus::Run);
            let prepared = statement.get_status(rusqlite::StatementStatus::RePrepare);
            assert_eq!((runs, prepared), (19, 0), "{sql}");
        }
    }
}
