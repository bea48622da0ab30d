//! Watches: what a store that tells its changes promises about the telling.
//!
//! The truth is the list of changes by revision; a [`Watch`] is what one watcher asked for and what it was sent. The promises
//! are those of etcd's documentation, each with a name of its own here:
//!
//! * *ordered*: revisions never go back;
//! * *unique*: no change is sent twice;
//! * *atomic*: all changes of a revision that the watcher wants come in one response;
//! * *reliable*: what was sent has no hole in it: between the start and the last change that was sent nothing is missing;
//! * *resumable*: a watch that follows another, from the revision after its last, misses nothing in between (the start of a
//!   watch binds it, so this is *reliable* from the first response on, told apart by where the hole is);
//! * *bookmarkable*: after a progress notice of a revision nothing up to it is still to come, and nothing up to it is missing;
//! * *true*: a change that is sent happened, with this key, value and revision;
//! * *previous*: the previous value that is sent with a change is what the key held before;
//! * *filter*: nothing is sent that was not asked for.

use std::collections::BTreeSet;

use super::Report;
use crate::deadline;
use crate::history::Value;

/// What a change did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It has a new value.
    Put,
    /// It is gone.
    Delete,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision of the store that it made; one revision may hold changes of several keys.
    pub revision: i64,
    /// Which key.
    pub key: Value,
    /// Put or delete.
    pub kind: ChangeKind,
    /// The new value; nil for a delete.
    pub value: Value,
}

/// A change as a watcher was sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The change.
    pub change: Change,
    /// What the key held before, if that was asked for: nil if nothing.
    pub previous: Option<Value>,
}

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Changes.
    Changes(Vec<Sent>),
    /// All up to this revision has been sent.
    Progress(i64),
}

/// Whether a watch is the first of its watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It is.
    Fresh,
    /// It follows another, from the revision after the last that the other was sent.
    Resumed,
}

/// What a watcher asked for, and what it was sent.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What it is called in a report.
    pub name: String,
    /// The keys: from the first, up to but not including the second.
    pub keys: (Value, Value),
    /// The kind of changes that were not wanted, if any.
    pub without: Option<ChangeKind>,
    /// The first revision wanted.
    pub start: i64,
    /// Whether it follows another watch.
    pub begin: Begin,
    /// What it was sent, in order.
    pub responses: Vec<Response>,
}

impl Watch {
    fn wants(&self, change: &Change) -> bool {
        self.keys.0 <= change.key
            && change.key < self.keys.1
            && self.without != Some(change.kind)
            && change.revision >= self.start
    }
}

/// A broken promise, in words.
type Broken = (&'static str, String);

/// Judges watches by the truth: every change of the store, in the order of revisions. If changes of unknown outcome may be
/// missing there, give what a watch from the first revision after the end of the run was sent.
#[must_use]
pub fn watches(truth: &[Change], watches: &[Watch]) -> Report {
    if !truth.is_sorted_by_key(|change| change.revision) {
        return Report::unknown("the changes are not in the order of their revisions");
    }
    let mut broken: Vec<Broken> = Vec::new();
    let mut sent = 0;
    for watch in watches {
        let mut judge = Judge::new(truth, watch);
        for response in &watch.responses {
            judge.response(response);
        }
        sent += judge.sent.len();
        broken.extend(
            judge
                .broken
                .into_iter()
                .map(|(name, words)| (name, format!("{}: {name}: {words}", watch.name))),
        );
    }
    let names: BTreeSet<&str> = broken.iter().map(|(name, _)| *name).collect();
    let report = match names.len() {
        _ if sent == 0 && broken.is_empty() => Report::unknown("no watcher was sent anything"),
        0 => Report::pass(),
        _ => Report::fail(format!(
            "not kept: {}",
            names.into_iter().collect::<Vec<_>>().join(", ")
        ))
        .with_witness(broken.into_iter().map(|(_, words)| words).take(12)),
    };
    report.with("watches", watches.len()).with("sent", sent)
}

/// Follows one watch through its responses.
struct Judge<'a> {
    truth: &'a [Change],
    watch: &'a Watch,
    /// The changes that the watch wants, and how many of them are behind it.
    wanted: Vec<&'a Change>,
    behind: usize,
    /// (revision, key) of all that was sent.
    sent: BTreeSet<(i64, &'a Value)>,
    last_revision: i64,
    last_response: Option<usize>,
    responses: usize,
    bookmark: i64,
    broken: Vec<Broken>,
}

impl<'a> Judge<'a> {
    fn new(truth: &'a [Change], watch: &'a Watch) -> Self {
        Self {
            truth,
            watch,
            wanted: truth.iter().filter(|change| watch.wants(change)).collect(),
            behind: 0,
            sent: BTreeSet::new(),
            last_revision: i64::MIN,
            last_response: None,
            responses: 0,
            bookmark: i64::MIN,
            broken: Vec::new(),
        }
    }

    fn response(&mut self, response: &'a Response) {
        self.responses += 1;
        match response {
            Response::Changes(changes) => {
                for sent in changes {
                    self.change(sent);
                }
                // Only with the whole response is it clear what a revision should have brought along.
                let up_to = changes.iter().map(|sent| sent.change.revision).max();
                if let Some(up_to) = up_to {
                    self.no_hole(up_to, "before what was sent");
                }
            }
            Response::Progress(revision) => {
                if *revision < self.last_revision {
                    self.break_promise(
                        "ordered",
                        format!("progress {revision} after revision {}", self.last_revision),
                    );
                }
                self.no_hole(*revision, "before progress");
                self.bookmark = self.bookmark.max(*revision);
            }
        }
    }

    fn change(&mut self, sent: &'a Sent) {
        let change = &sent.change;
        let revision = change.revision;
        let is_new = self.sent.insert((revision, &change.key));
        if !is_new {
            self.break_promise(
                "unique",
                format!("{} at revision {revision} was sent twice", change.key),
            );
            return;
        }
        if !self.watch.wants(change) {
            self.break_promise(
                "filter",
                format!("{} at revision {revision} was not asked for", change.key),
            );
        }
        let happened = self.of_revision(revision).contains(change);
        if !happened {
            self.break_promise(
                "true",
                format!("{} at revision {revision} did not happen so", change.key),
            );
        }
        if revision < self.last_revision {
            let words = format!("revision {revision} after {}", self.last_revision);
            self.break_promise("ordered", words);
        }
        if revision == self.last_revision && self.last_response != Some(self.responses) {
            self.break_promise(
                "atomic",
                format!("revision {revision} came in more than one response"),
            );
        }
        if revision <= self.bookmark {
            let words = format!("revision {revision} after progress {}", self.bookmark);
            self.break_promise("bookmarkable", words);
        }
        self.previous(sent);
        self.last_revision = self.last_revision.max(revision);
        self.last_response = Some(self.responses);
    }

    fn previous(&mut self, sent: &Sent) {
        let Some(told) = &sent.previous else { return };
        let change = &sent.change;
        let before = self
            .truth
            .partition_point(|other| other.revision < change.revision);
        let last = self.truth[..before]
            .iter()
            .inspect(|_| deadline::look())
            .rfind(|other| other.key == change.key);
        let held = last.map_or(&Value::Nil, |last| &last.value);
        if told != held {
            let words = format!(
                "{} at revision {} held {held} before, not {told}",
                change.key, change.revision
            );
            self.break_promise("previous", words);
        }
    }

    /// Everything wanted up to a revision must have been sent.
    fn no_hole(&mut self, up_to: i64, place: &str) {
        while let Some(change) = self
            .wanted
            .get(self.behind)
            .filter(|change| change.revision <= up_to)
        {
            self.behind += 1;
            if !self.sent.contains(&(change.revision, &change.key)) {
                let is_first = self
                    .sent
                    .range(..(change.revision, &change.key))
                    .next()
                    .is_none();
                let promise = match (place, is_first && self.watch.begin == Begin::Resumed) {
                    (_, true) => "resumable",
                    ("before progress", false) => "bookmarkable",
                    (_, false)
                        if self
                            .sent
                            .range((change.revision, &Value::Nil)..)
                            .any(|sent| sent.0 == change.revision) =>
                    {
                        "atomic"
                    }
                    (_, false) => "reliable",
                };
                let words = format!(
                    "{} at revision {} is missing {place}, {up_to}",
                    change.key, change.revision
                );
                self.break_promise(promise, words);
            }
        }
    }

    fn of_revision(&self, revision: i64) -> &'a [Change] {
        let start = self
            .truth
            .partition_point(|change| change.revision < revision);
        let end = self
            .truth
            .partition_point(|change| change.revision <= revision);
        &self.truth[start..end]
    }

    fn break_promise(&mut self, name: &'static str, words: String) {
        self.broken.push((name, words));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::*;

    fn put(revision: i64, key: i64) -> Change {
        Change {
            revision,
            key: key.into(),
            kind: ChangeKind::Put,
            value: (revision * 10).into(),
        }
    }

    /// Revisions from 1 on, each with the keys of a mask; a key that has a value is deleted now and then.
    fn truth(masks: &[u8]) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for (revision, mask) in (1_i64..).zip(masks) {
            for key in (0_i64..3).filter(|key| mask >> key & 1 == 1) {
                let mut change = put(revision, key);
                if mask & 8 != 0 {
                    change.kind = ChangeKind::Delete;
                    change.value = Value::Nil;
                }
                changes.push(change);
            }
        }
        changes
    }

    /// What a right store sends: one response a revision, with a progress notice at the end.
    fn right(truth: &[Change], start: i64, without: Option<ChangeKind>, begin: Begin) -> Watch {
        let mut watch = Watch {
            name: "w".to_owned(),
            keys: (0.into(), 2.into()),
            without,
            start,
            begin,
            responses: Vec::new(),
        };
        for group in truth.chunk_by(|one, other| one.revision == other.revision) {
            let sent: Vec<Sent> = group
                .iter()
                .filter(|change| watch.wants(change))
                .map(|change| {
                    let before = truth
                        .iter()
                        .rfind(|old| old.key == change.key && old.revision < change.revision);
                    let previous = before.map_or(Value::Nil, |before| before.value.clone());
                    Sent {
                        change: change.clone(),
                        previous: Some(previous),
                    }
                })
                .collect();
            if !sent.is_empty() {
                watch.responses.push(Response::Changes(sent));
            }
        }
        watch.responses.push(Response::Progress(
            truth.last().map_or(0, |change| change.revision),
        ));
        watch
    }

    fn broken_by(truth: &[Change], watch: Watch) -> String {
        watches(truth, &[watch]).reason
    }

    fn changes(watch: &mut Watch, place: usize) -> &mut Vec<Sent> {
        match &mut watch.responses[place] {
            Response::Changes(changes) => changes,
            Response::Progress(_) => panic!("the test wants changes there"),
        }
    }

    const TWO_KEYS: &[u8] = &[3, 3, 3];

    #[test]
    fn each_promise_is_missed_by_its_name() {
        let truth = truth(TWO_KEYS);
        let watch = || right(&truth, 1, None, Begin::Fresh);
        let spoilt = |spoil: &dyn Fn(&mut Watch)| {
            let mut watch = watch();
            spoil(&mut watch);
            broken_by(&truth, watch)
        };
        assert_eq!(spoilt(&|_| {}), "");
        assert_eq!(
            spoilt(&|watch| watch.responses.swap(0, 1)),
            "not kept: ordered, reliable"
        );
        assert_eq!(
            spoilt(&|watch| watch.responses.insert(1, watch.responses[0].clone())),
            "not kept: unique"
        );
        assert_eq!(
            spoilt(&|watch| {
                let late = changes(watch, 1).split_off(1);
                watch.responses.insert(2, Response::Changes(late));
            }),
            "not kept: atomic"
        );
        assert_eq!(
            spoilt(&|watch| {
                watch.responses.remove(1);
            }),
            "not kept: reliable"
        );
        assert_eq!(
            spoilt(&|watch| {
                watch.responses.remove(2);
            }),
            "not kept: bookmarkable"
        );
        assert_eq!(
            spoilt(&|watch| {
                watch.begin = Begin::Resumed;
                watch.responses.remove(0);
            }),
            "not kept: resumable"
        );
        assert_eq!(
            spoilt(&|watch| watch.responses.insert(2, Response::Progress(3))),
            "not kept: bookmarkable"
        );
        assert_eq!(
            spoilt(&|watch| changes(watch, 1)[0].change.value = 99.into()),
            "not kept: true"
        );
        assert_eq!(
            spoilt(&|watch| changes(watch, 1)[0].previous = Some(99.into())),
            "not kept: previous"
        );
        assert_eq!(spoilt(&|watch| watch.keys.1 = 1.into()), "not kept: filter");
    }

    #[test]
    fn a_watch_without_deletes_misses_none() {
        let truth = truth(&[1, 9, 1]);
        assert_eq!(
            broken_by(
                &truth,
                right(&truth, 1, Some(ChangeKind::Delete), Begin::Fresh)
            ),
            ""
        );
        let mut watch = right(&truth, 1, None, Begin::Fresh);
        watch.without = Some(ChangeKind::Delete);
        assert_eq!(broken_by(&truth, watch), "not kept: filter");
    }

    proptest! {
        /// A right store is never called wrong; a change dropped, doubled, moved or altered is always noticed.
        #[test]
        fn one_spoilt_change_is_noticed(
            masks in prop::collection::vec(1_u8..16, 2..8), start in 1_i64..4, resumed in any::<bool>(),
            crime in 0_u8..6, place in 0_usize..8
        ) {
            let truth = truth(&masks);
            let begin = if resumed { Begin::Resumed } else { Begin::Fresh };
            let mut watch = right(&truth, start, None, begin);
            let count = watch.responses.len() - 1;
            prop_assume!(count > 0);
            prop_assert_eq!(watches(&truth, &[watch.clone()]).verdict, Verdict::Pass);
            let place = place % count;
            match crime {
                0 => {
                    watch.responses.remove(place);
                }
                1 => watch.responses.push(watch.responses[place].clone()),
                2 => watch.responses.insert(place, Response::Progress(i64::from(u8::MAX))),
                3 => changes(&mut watch, place)[0].change.revision += 100,
                4 => changes(&mut watch, place)[0].previous = Some("other".into()),
                _ => changes(&mut watch, place)[0].change.key = "other".into(),
            }
            let report = watches(&truth, &[watch]);
            prop_assert_eq!(report.verdict, Verdict::Fail, "{}", report);
        }
    }
}
