//! Range reads: etcd's rules over the tables of the keyspace.
//!
//! A read has two steps. The first finds the versions that the range holds, without their values: at the present
//! revision these stand in `keys`; at an older one each key is walked back to the version of that time. Filters and sorts
//! need no more than that (but for a sort by value). The second step fetches the values of what is really answered.
//!
//! A read beside the writer takes both steps in slices, each a read transaction of its own, because what a transaction has
//! seen the write-ahead log must keep. Versions do not change, so that the slices after the first find the state of the
//! first by looking back to its revision, as a read of an older revision does, unless compaction has overtaken them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::error::{ReadError, Rejection, StateError};
use super::keyspace::{Newest, version_before};
use super::mark::Mark;
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

    /// The condition on the column `key` with ?1 and ?2, and their values: the range, or the part of it behind a key.
    fn condition<'a>(&self, after: Option<&'a [u8]>) -> (&'static str, [Option<&'a [u8]>; 2])
    where
        'r: 'a,
    {
        match (*self, after) {
            (Self::One(key), None) => ("key = ?1 AND ?2 IS NULL", [Some(key), None]),
            (Self::One(_), Some(_)) => ("0 AND ?1 IS NULL AND ?2 IS NULL", [None, None]),
            (Self::Between(key, end), None) => ("key >= ?1 AND key < ?2", [Some(key), Some(end)]),
            (Self::Between(_, end), Some(_)) => ("key > ?1 AND key < ?2", [after, Some(end)]),
            (Self::From(key), None) => ("key >= ?1 AND ?2 IS NULL", [Some(key), None]),
            (Self::From(_), Some(_)) => ("key > ?1 AND ?2 IS NULL", [after, None]),
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

impl View {
    /// Of what is committed.
    pub(super) fn of(mark: &Mark) -> Self {
        Self {
            revision: mark.revision,
            compacted: mark.compacted,
        }
    }
}

/// Bytes of values after which a slice ends.
const SLICE_BYTES: usize = 8 << 20;

/// How a read is divided.
pub(super) struct Slices<'p> {
    /// Keys looked at, deleted ones too, or values fetched, in one slice.
    rows: usize,
    /// Bytes of values after which a slice ends.
    bytes: usize,
    /// Called between two: lets what was seen go. It fails when the revision given cannot be read any more.
    pause: &'p mut dyn FnMut(i64) -> Result<(), ReadError>,
}

impl<'p> Slices<'p> {
    /// Slices of so many keys.
    pub(super) fn of(rows: usize, pause: &'p mut dyn FnMut(i64) -> Result<(), ReadError>) -> Self {
        Self {
            rows,
            bytes: SLICE_BYTES,
            pause,
        }
    }

    /// One slice: the pause is never made.
    pub(super) fn whole(pause: &'p mut dyn FnMut(i64) -> Result<(), ReadError>) -> Self {
        Self {
            rows: usize::MAX,
            bytes: usize::MAX,
            pause,
        }
    }
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
    slices: &mut Slices<'_>,
) -> Result<RangeResponse, ReadError> {
    check_revision(view, request.revision)?;
    let bounds = Bounds::new(&request.key, &request.range_end);
    let past = request.revision > 0 && request.revision < view.revision;
    let revision = if past {
        request.revision
    } else {
        view.revision
    };
    let header = Some(ResponseHeader {
        revision: view.revision,
        ..ResponseHeader::default()
    });
    if request.count_only {
        let count = if past {
            length(&scan(connection, &bounds, revision, None, slices)?)
        } else {
            count(connection, &bounds)?
        };
        return Ok(RangeResponse {
            header,
            count,
            ..RangeResponse::default()
        });
    }
    let fetch = (!needs_all(request) && request.limit > 0).then(|| kept(request.limit));
    // What a limit leaves out is counted while it is as it was.
    let counted = (fetch.is_some() && !past).then(|| count(connection, &bounds));
    let counted = counted.transpose()?;
    let wanted = fetch.filter(|_| !past);
    let mut found = scan(connection, &bounds, revision, wanted, slices)?;
    let count = counted.unwrap_or(length(&found));
    found.truncate(fetch.unwrap_or(usize::MAX));
    found.retain(|found| passes(request, &found.version));
    let order = Order::of(request);
    let mut kvs = if order.by == SortTarget::Value {
        let mut kvs = with_values(connection, found, revision, slices)?;
        order.sort(&mut kvs, |a, b| a.value.cmp(&b.value));
        kvs
    } else {
        order.sort(&mut found, |a, b| order.compare(a, b));
        if request.limit > 0 {
            found.truncate(kept(request.limit));
        }
        if request.keys_only {
            found
                .into_iter()
                .map(|found| found.version.key_value(found.key, Bytes::new()))
                .collect()
        } else {
            with_values(connection, found, revision, slices)?
        }
    };
    let more = request.limit > 0 && length(&kvs) > request.limit;
    if more {
        kvs.truncate(kept(request.limit) - 1);
    }
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
    let (condition, ends) = bounds.condition(after);
    // The limit is no parameter of the statement, which SQLite would prepare anew for each value of it.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT key, head, created, version, lease, jump, steps FROM keys
         WHERE {condition} AND version > 0 ORDER BY key"
    ))?;
    let found = statement.query_map(ends, |row| Ok((blob(row, 0)?, Newest::from_row(row, 1)?)))?;
    Ok(found.take(limit).collect::<Result<_, _>>()?)
}

/// How many keys of the range exist now.
pub(super) fn count(connection: &Connection, bounds: &Bounds<'_>) -> Result<i64, StateError> {
    let (condition, ends) = bounds.condition(None);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT count(*) FROM keys WHERE {condition} AND version > 0"
    ))?;
    Ok(statement.query_row(ends, |row| row.get(0))?)
}

/// The versions of a revision that the range holds, at most `fetch` of them.
fn scan(
    connection: &Connection,
    bounds: &Bounds<'_>,
    revision: i64,
    fetch: Option<usize>,
    slices: &mut Slices<'_>,
) -> Result<Vec<Found>, ReadError> {
    let bound = Position::after(revision);
    let fetch = fetch.unwrap_or(usize::MAX);
    let mut found: Vec<Found> = Vec::new();
    let mut after: Option<Bytes> = None;
    loop {
        let after_key = after.as_deref();
        after = add_found(
            connection,
            bounds,
            after_key,
            bound,
            slices.rows,
            fetch,
            &mut found,
        )?;
        if after.is_none() || found.len() >= fetch {
            return Ok(found);
        }
        (slices.pause)(revision)?;
    }
}

/// One slice of them, as they were before `bound`, until there are `fetch`. Answers the last key looked at if there may be
/// more.
fn add_found(
    connection: &Connection,
    bounds: &Bounds<'_>,
    after: Option<&[u8]>,
    bound: Position,
    rows: usize,
    fetch: usize,
    found: &mut Vec<Found>,
) -> Result<Option<Bytes>, StateError> {
    let (condition, ends) = bounds.condition(after);
    let mut statement = connection.prepare_cached(&scan_sql(condition))?;
    let mut looked_at = statement.query(ends)?;
    let mut seen = 0;
    while found.len() < fetch
        && let Some(row) = looked_at.next()?
    {
        let version = version_at(connection, &Newest::from_row(row, 1)?, bound)?;
        if let Some(version) = version {
            let key = blob(row, 0)?;
            found.push(Found { key, version });
        }
        seen += 1;
        if seen == rows {
            return Ok(Some(blob(row, 0)?));
        }
    }
    Ok(None)
}

fn scan_sql(condition: &str) -> String {
    format!(
        "SELECT key, head, created, version, lease, jump, steps FROM keys
         WHERE {condition} ORDER BY key"
    )
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

pub(super) fn missing(position: Position) -> StateError {
    StateError::Damaged(format!("the version at {} is missing", position.0))
}

fn with_values(
    connection: &Connection,
    found: Vec<Found>,
    revision: i64,
    slices: &mut Slices<'_>,
) -> Result<Vec<KeyValue>, ReadError> {
    let mut kvs = Vec::with_capacity(found.len());
    let mut found = found.into_iter();
    add_values(connection, &mut found, slices, &mut kvs)?;
    while found.len() > 0 {
        (slices.pause)(revision)?;
        add_values(connection, &mut found, slices, &mut kvs)?;
    }
    Ok(kvs)
}

/// One slice of them.
fn add_values(
    connection: &Connection,
    found: &mut impl Iterator<Item = Found>,
    slices: &Slices<'_>,
    kvs: &mut Vec<KeyValue>,
) -> Result<(), StateError> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM history WHERE position = ?1")?;
    let mut bytes = 0;
    for Found { key, version } in found.take(slices.rows) {
        let mut rows = statement.query([version.head.0])?;
        let row = rows.next()?.ok_or_else(|| missing(version.head))?;
        let sealed = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let value = Label::of(&key, &version).open(sealed)?;
        bytes += value.len();
        kvs.push(version.key_value(key, value));
        if bytes >= slices.bytes {
            break;
        }
    }
    Ok(())
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

/// What is fetched for a limit: one more, which tells whether there is more.
fn kept(limit: i64) -> usize {
    usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
}

fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).expect("a vector's length fits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::database::{Missing, Place};
    use crate::proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest};
    use crate::proto::store::{LogId, command::Body};
    use crate::state::{Durability, Reader, State, command};

    /// A state with its writer.
    struct Written {
        dir: tempfile::TempDir,
        state: State,
        index: u64,
    }

    impl Written {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = State::open(&Place::new(dir.path(), None), Missing::Create).unwrap();
            let index = 0;
            Self { dir, state, index }
        }

        fn reader(&self) -> Reader {
            Reader::open(&Place::new(self.dir.path(), None)).unwrap()
        }

        fn apply(&mut self, body: Body) {
            self.index += 1;
            let log_id = LogId {
                term: 1,
                index: self.index,
            };
            let mut batch = self.state.begin().unwrap();
            batch.apply(log_id, Some(&command(body)), None).unwrap();
            batch.commit(Durability::Lazy).unwrap();
        }
    }

    fn key(number: u8) -> Bytes {
        Bytes::from(vec![b'a' + number])
    }

    fn put(number: u8, value: u8) -> Body {
        Body::Put(PutRequest {
            key: key(number),
            value: vec![value].into(),
            ..PutRequest::default()
        })
    }

    /// Puts and deletes of eight keys.
    fn changes(times: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Body>> {
        let change = (0..8_u8, any::<u8>()).prop_map(|(number, value)| match value {
            0..80 => Body::DeleteRange(DeleteRangeRequest {
                key: key(number),
                ..DeleteRangeRequest::default()
            }),
            value => put(number, value),
        });
        prop::collection::vec(change, times)
    }

    prop_compose! {
        /// Of two keys or more; `ago` says how many revisions back it looks.
        fn requests()(
            first in 0..6_u8,
            keys in 2..9_u8,
            limit in prop::sample::select(vec![0, 1, 3, 3, 6]),
            [keys_only, descending] in any::<[bool; 2]>(),
            count_only in prop::bool::weighted(0.1),
            sort_target in 0..5_i32,
            sorted in prop::bool::weighted(0.3),
            ago in prop::option::weighted(0.3, 0..12_i64),
        ) -> (RangeRequest, Option<i64>) {
            let request = RangeRequest {
                key: key(first),
                range_end: key(first + keys),
                limit,
                keys_only,
                count_only,
                sort_target,
                sort_order: if sorted { 1 + i32::from(descending) } else { 0 },
                ..RangeRequest::default()
            };
            (request, ago)
        }
    }

    proptest! {
        /// Whatever is written between two slices.
        #[test]
        fn slices_of_a_read_are_of_one_revision(
            before in changes(0..40),
            (mut request, ago) in requests(),
            slice in 1..5_usize,
            mut meanwhile in changes(0..60),
        ) {
            let mut written = Written::new();
            before.into_iter().for_each(|change| written.apply(change));
            let reader = written.reader();
            let present = reader.revisions().unwrap().current.0;
            request.revision = ago.map_or(0, |ago| (present - ago).max(1));
            let whole = reader.range(&request).unwrap();
            let sliced = reader.in_slices_of(slice).range_while(&request, &mut || {
                for change in meanwhile.split_off(meanwhile.len().saturating_sub(3)) {
                    written.apply(change);
                }
            });
            prop_assert_eq!(sliced.unwrap(), whole);
        }
    }

    /// A slice ends by the keys in it, or by the bytes.
    #[test]
    fn read_that_compaction_overtakes_is_made_anew_in_one() {
        for (bytes, keys) in [(1, 3), (3 << 20, 1000)] {
            compaction_overtakes_a_read(bytes, keys);
        }
    }

    fn compaction_overtakes_a_read(bytes: usize, keys: usize) {
        let mut written = Written::new();
        let put = |number, value: u8| {
            Body::Put(PutRequest {
                key: key(number),
                value: vec![value; bytes].into(),
                ..PutRequest::default()
            })
        };
        (0..8).for_each(|number| written.apply(put(number, 1)));
        let reader = written.reader().in_slices_of(keys);
        let request = RangeRequest {
            key: key(0),
            range_end: key(20),
            ..RangeRequest::default()
        };
        let mut pauses = 0;
        let answer = reader.range_while(&request, &mut || {
            pauses += 1;
            written.apply(put(7, 2));
            let revision = written.reader().revisions().unwrap().current.0;
            let physical = true;
            written.apply(Body::Compact(CompactionRequest { revision, physical }));
        });
        let answer = answer.unwrap();
        assert_eq!(pauses, 1, "the second time it is not let go of");
        assert_eq!((answer.count, &answer.kvs[7].value[..1]), (8, &[2][..]));
        assert_eq!(answer.header.unwrap().revision, 10);
        let gone = RangeRequest {
            revision: 5,
            ..request
        };
        let refused = reader.range(&gone).unwrap_err();
        assert!(matches!(refused, ReadError::Rejected(Rejection::Compacted)));
    }

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
        let (between, _) = Bounds::Between(b"a", b"b").condition(None);
        for sql in [POINT.to_owned(), scan_sql(between)] {
            let statement = reader.connection().prepare_cached(&sql).unwrap();
            let runs = statement.get_status(rusqlite::StatementStatus::Run);
            let prepared = statement.get_status(rusqlite::StatementStatus::RePrepare);
            assert_eq!((runs, prepared), (19, 0), "{sql}");
        }
    }
}
