//! What the model remembers, and what a request does to it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::call::{Answer, Compare, Operand, Range, Request, Response, Target};
use crate::history::Text;

/// Keys, revision and leases. Cloning copies three words: maps are shared until one is changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The revision of the last change.
    pub revision: i64,
    keys: Arc<BTreeMap<Text, Stored>>,
    leases: Arc<BTreeSet<i64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stored {
    value: Text,
    create: i64,
    modified: i64,
    version: i64,
    lease: i64,
}

/// The puts of a key since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Puts {
    /// The revision of the first.
    pub(super) create: i64,
    /// The revision of the last.
    pub(super) modified: i64,
    /// How many.
    pub(super) version: i64,
}

/// A key as it was answered. What is `None` was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Text,
    /// Its value.
    pub value: Option<Text>,
    /// The revision at which it was created.
    pub create: Option<i64>,
    /// The revision of its last put.
    pub modified: Option<i64>,
    /// How often it was put since it was created.
    pub version: Option<i64>,
    /// Its lease; 0 for none.
    pub lease: Option<i64>,
}

impl KeyValue {
    /// A key of which only the value is known.
    pub fn of(key: Text, value: Text) -> Self {
        Self {
            key,
            value: Some(value),
            create: None,
            modified: None,
            version: None,
            lease: None,
        }
    }

    /// Whether nothing recorded contradicts what the model says.
    pub fn agrees_with(&self, model: &Self) -> bool {
        fn same<T: PartialEq>(recorded: &Option<T>, model: &Option<T>) -> bool {
            recorded.is_none() || recorded == model
        }
        self.key == model.key
            && same(&self.value, &model.value)
            && same(&self.create, &model.create)
            && same(&self.modified, &model.modified)
            && same(&self.version, &model.version)
            && same(&self.lease, &model.lease)
    }
}

impl Stored {
    fn shown(&self, key: &Text) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: Some(self.value.clone()),
            create: Some(self.create),
            modified: Some(self.modified),
            version: Some(self.version),
            lease: Some(self.lease),
        }
    }
}

impl State {
    /// No keys and no leases.
    pub fn at(revision: i64) -> Self {
        Self {
            revision,
            keys: Arc::default(),
            leases: Arc::default(),
        }
    }

    /// Bytes that the maps take, about. What two states share is counted twice: that is little, since a change copies.
    pub(super) fn owned(&self) -> usize {
        // A node of a tree is three quarters full.
        let keys = self.keys.len() * size_of::<(Text, Stored)>() * 4 / 3;
        let values = self.keys.iter().map(|(key, stored)| {
            let heap = |text: &Text| text.as_bytes().len().saturating_sub(Text::INLINE);
            heap(key) + heap(&stored.value)
        });
        keys + values.sum::<usize>() + self.leases.len() * size_of::<i64>() * 4 / 3
    }

    /// The state after a request and what it answers; `None` if the request would be refused.
    pub fn apply(self, request: &Request) -> Option<(Self, Answer)> {
        let mut after = self;
        // Whatever a request changes, it changes at one new revision.
        let at = after.revision + 1;
        let mut answer = Answer::default();
        match request {
            Request::Txn {
                compare,
                then,
                otherwise,
            } => {
                let held = compare.iter().all(|compare| after.holds(compare));
                answer.succeeded = Some(held);
                for request in if held { then } else { otherwise } {
                    answer.responses.push(after.apply_one(request, at)?);
                }
            }
            request => answer.responses.push(after.apply_one(request, at)?),
        }
        answer.revision = Some(after.revision);
        Some((after, answer))
    }

    fn apply_one(&mut self, request: &Request, at: i64) -> Option<Response> {
        let mut response = Response::default();
        match request {
            Request::Get {
                range,
                limit,
                revision,
            } => self.get(range, *limit, *revision, &mut response)?,
            Request::Put { key, value, lease } => {
                self.put(key, value, *lease, at, &mut response)?;
            }
            Request::Delete(range) => {
                let keys = self.within(range).map(|(key, _)| key.clone()).collect();
                response.deleted = Some(self.delete(keys, at));
            }
            Request::Grant(lease) => {
                if !Arc::make_mut(&mut self.leases).insert(*lease) {
                    return None;
                }
            }
            Request::Revoke(lease) => {
                if !Arc::make_mut(&mut self.leases).remove(lease) {
                    return None;
                }
                let attached = self
                    .keys
                    .iter()
                    .filter(|(_, stored)| stored.lease == *lease);
                let keys = attached.map(|(key, _)| key.clone()).collect();
                self.delete(keys, at);
            }
            Request::KeepAlive(lease) => {
                if !self.leases.contains(lease) {
                    return None;
                }
            }
            Request::Txn { .. } => return None,
        }
        Some(response)
    }

    fn get(
        &self,
        range: &Range,
        limit: i64,
        revision: Option<i64>,
        response: &mut Response,
    ) -> Option<()> {
        match revision {
            Some(revision) if revision > self.revision => return None,
            // What was there then is not remembered; that the revision had come is all that can be said.
            Some(revision) if revision < self.revision => return Some(()),
            _ => {}
        }
        let mut kvs: Vec<KeyValue> = self
            .within(range)
            .map(|(key, stored)| stored.shown(key))
            .collect();
        response.count = Some(kvs.len() as i64);
        if limit > 0 {
            kvs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        response.kvs = Some(kvs);
        Some(())
    }

    fn put(
        &mut self,
        key: &Text,
        value: &Text,
        lease: i64,
        at: i64,
        response: &mut Response,
    ) -> Option<()> {
        if lease != 0 && !self.leases.contains(&lease) {
            return None;
        }
        let before = self.keys.get(key);
        response.previous = Some(before.map(|stored| stored.shown(key)).into_iter().collect());
        let (create, version) =
            before.map_or((at, 1), |stored| (stored.create, stored.version + 1));
        let stored = Stored {
            value: value.clone(),
            create,
            modified: at,
            version,
            lease,
        };
        Arc::make_mut(&mut self.keys).insert(key.clone(), stored);
        self.revision = at;
        Some(())
    }

    /// Whether the key was last put at this revision, to this value.
    pub(super) fn was_put(&self, key: &Text, value: &Text, revision: i64) -> bool {
        let stored = self.keys.get(key);
        stored.is_some_and(|stored| stored.modified == revision && stored.value == *value)
    }

    /// How a key was put, if it is there.
    pub(super) fn puts(&self, key: &Text) -> Option<Puts> {
        let stored = self.keys.get(key)?;
        Some(Puts {
            create: stored.create,
            modified: stored.modified,
            version: stored.version,
        })
    }

    /// The keys of a range, in order.
    fn within(&self, range: &Range) -> impl Iterator<Item = (&Text, &Stored)> {
        self.keys
            .range(range.key.clone()..)
            .take_while(|(key, _)| range.holds(key))
    }

    /// Deletes `keys`, which are there, at one revision; gives how many.
    #[expect(clippy::needless_pass_by_value, reason = "a list made for this")]
    fn delete(&mut self, keys: Vec<Text>, at: i64) -> i64 {
        if !keys.is_empty() {
            let stored = Arc::make_mut(&mut self.keys);
            for key in &keys {
                stored.remove(key);
            }
            self.revision = at;
        }
        keys.len() as i64
    }

    fn holds(&self, compare: &Compare) -> bool {
        let stored = self.keys.get(&compare.key);
        let number = match compare.target {
            Target::Value => return self.value_holds(compare, stored),
            Target::Version => stored.map(|stored| stored.version),
            Target::Create => stored.map(|stored| stored.create),
            Target::Mod => stored.map(|stored| stored.modified),
            Target::Lease => stored.map(|stored| stored.lease),
        };
        match &compare.operand {
            Operand::Number(operand) => compare.result.is(number.unwrap_or(0).cmp(operand)),
            Operand::Text(_) => false,
        }
    }

    /// The value of a key that is not there is no value: no comparison of it holds.
    fn value_holds(&self, compare: &Compare, stored: Option<&Stored>) -> bool {
        let (Some(stored), Operand::Text(operand)) = (stored, &compare.operand) else {
            return false;
        };
        let field: Ordering = stored.value.cmp(operand);
        compare.result.is(field)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "revision {}:", self.revision)?;
        for (key, stored) in self.keys.iter() {
            write!(
                formatter,
                " {key}={:?}@{}",
                stored.value.as_str(),
                stored.modified
            )?;
        }
        for lease in self.leases.iter() {
            write!(formatter, " lease {lease}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str, lease: i64) -> Request {
        Request::Put {
            key: key.into(),
            value: value.into(),
            lease,
        }
    }

    fn delete(key: &str) -> Request {
        Request::Delete(Range {
            key: key.into(),
            end: None,
        })
    }

    /// The revision after all of `requests`, and each key with create, mod and version; none if one was refused.
    fn after(requests: &[Request]) -> Option<String> {
        let state = requests.iter().try_fold(State::at(1), |state, request| {
            state.apply(request).map(|(after, _)| after)
        })?;
        let keys = state.keys.iter().map(|(key, stored)| {
            let (create, modified, version) = (stored.create, stored.modified, stored.version);
            format!(", {key} {create} {modified} {version}")
        });
        Some(state.revision.to_string() + &keys.collect::<String>())
    }

    fn is(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_key_counts_its_puts_from_when_it_was_created() {
        let twice = [put("a", "1", 0), put("b", "1", 0), put("a", "2", 0)];
        assert_eq!(after(&twice), is("4, a 2 4 2, b 3 3 1"));
        let again = [put("a", "1", 0), delete("a"), put("a", "2", 0)];
        assert_eq!(after(&again), is("4, a 4 4 1"));
    }

    #[test]
    fn only_what_changes_something_makes_a_revision() {
        assert_eq!(after(&[put("a", "1", 0), delete("a")]), is("3"));
        assert_eq!(after(&[delete("a"), Request::Grant(7)]), is("1"));
    }

    #[test]
    fn a_lease_must_be_there_and_takes_its_keys_with_it() {
        assert_eq!(after(&[put("a", "1", 7)]), None);
        assert_eq!(after(&[Request::Revoke(7)]), None);
        assert_eq!(after(&[Request::KeepAlive(7)]), None);
        assert_eq!(after(&[Request::Grant(7), Request::Grant(7)]), None);
        let ended = [
            Request::Grant(7),
            put("a", "1", 7),
            put("b", "1", 0),
            Request::Revoke(7),
        ];
        assert_eq!(after(&ended), is("4, b 3 3 1"));
        let gone = [&ended[..], &[put("c", "1", 7)]].concat();
        assert_eq!(after(&gone), None);
    }
}
