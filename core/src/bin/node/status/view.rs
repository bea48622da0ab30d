//! What the nodes said, and what follows from it.

use quorate::proto::etcdserverpb::{Member, StatusResponse};
use serde::Serialize;
use std::fmt::Write;

/// A cluster, as its nodes describe it at this moment.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct View {
    cluster: Option<String>,
    leader: Option<String>,
    voters: Voters,
    /// Further voters that may fail; `None` if already too few answer.
    pub(super) survives: Option<usize>,
    nodes: Vec<NodeView>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Voters {
    total: usize,
    answering: usize,
    needed: usize,
}

#[derive(Debug, PartialEq, Serialize)]
struct NodeView {
    id: String,
    name: String,
    role: &'static str,
    state: State,
    applied: Option<u64>,
    revision: Option<i64>,
    database_bytes: Option<i64>,
    version: Option<String>,
    errors: Vec<String>,
    clients: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It answers and says that it leads.
    Leads,
    /// It answers and knows a leader.
    Follows,
    /// It answers and knows no leader.
    Leaderless,
    /// It does not answer.
    Silent,
}

impl View {
    pub(super) fn new(answers: &[(Member, Option<StatusResponse>)]) -> Self {
        let headers = || {
            answers
                .iter()
                .filter_map(|(_, answer)| answer.as_ref()?.header.as_ref())
        };
        let cluster = headers()
            .next()
            .map(|header| hexadecimal(header.cluster_id));
        let nodes: Vec<NodeView> = answers.iter().map(NodeView::new).collect();
        let voters = || nodes.iter().filter(|node| node.role == "voter");
        let counted = Voters {
            total: voters().count(),
            answering: voters().filter(|node| node.state.is_well()).count(),
            needed: voters().count() / 2 + 1,
        };
        let leader = nodes.iter().find(|node| node.state == State::Leads);
        Self {
            cluster,
            leader: leader.map(|node| node.id.clone()),
            survives: counted.answering.checked_sub(counted.needed),
            voters: counted,
            nodes,
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a view has only string keys")
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            writeln!(text, "{arguments}").expect("a string takes everything");
        };
        let Voters {
            total,
            answering,
            needed,
        } = self.voters;
        let cluster = self.cluster.as_deref().unwrap_or("unknown");
        line(format_args!(
            "cluster {cluster}: {answering} of {total} voters answer, {needed} are needed"
        ));
        match self.survives {
            None => line(format_args!("NO QUORUM: nothing can be written")),
            Some(0) => line(format_args!("available, and survives no further failure")),
            Some(survives) => line(format_args!("highly available: survives {survives} more")),
        }
        let rows: Vec<[String; 7]> = self.nodes.iter().map(NodeView::row).collect();
        let titles = [
            "NAME", "ID", "ROLE", "STATE", "APPLIED", "REVISION", "CLIENTS",
        ];
        let titles = titles.map(str::to_owned);
        let width = |column: usize| {
            rows.iter()
                .chain([&titles])
                .map(|row| row[column].len())
                .max()
        };
        let widths: Vec<usize> = (0..titles.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for row in [&titles].into_iter().chain(&rows) {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            line(format_args!(
                "{}",
                cells.collect::<Vec<_>>().join("  ").trim_end()
            ));
        }
        for node in &self.nodes {
            for error in &node.errors {
                line(format_args!("{}: {error}", node.name));
            }
        }
        text
    }
}

impl NodeView {
    fn new((member, answer): &(Member, Option<StatusResponse>)) -> Self {
        let answer = answer.as_ref();
        let state = match answer {
            None => State::Silent,
            Some(answer) if answer.leader == 0 => State::Leaderless,
            Some(answer) if answer.leader == member.id => State::Leads,
            Some(_) => State::Follows,
        };
        Self {
            id: hexadecimal(member.id),
            name: member.name.clone(),
            role: if member.is_learner {
                "standby"
            } else {
                "voter"
            },
            state,
            applied: answer.map(|answer| answer.raft_applied_index),
            revision: answer.and_then(|answer| Some(answer.header.as_ref()?.revision)),
            database_bytes: answer.map(|answer| answer.db_size),
            version: answer.map(|answer| answer.version.clone()),
            errors: answer
                .map(|answer| answer.errors.clone())
                .unwrap_or_default(),
            clients: member.client_ur_ls.clone(),
        }
    }

    fn row(&self) -> [String; 7] {
        let number = |number: Option<String>| number.unwrap_or_else(|| "-".into());
        let state = format!("{:?}", self.state).to_lowercase();
        [
            self.name.clone(),
            self.id.clone(),
            self.role.into(),
            state,
            number(self.applied.map(|applied| applied.to_string())),
            number(self.revision.map(|revision| revision.to_string())),
            self.clients.join(","),
        ]
    }
}

impl State {
    /// Whether the node counts towards a quorum: it answers and is in touch with a leader.
    fn is_well(self) -> bool {
        matches!(self, Self::Leads | Self::Follows)
    }
}

fn hexadecimal(id: u64) -> String {
    format!("{id:x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::proto::etcdserverpb::ResponseHeader;

    fn member(id: u64) -> Member {
        Member {
            id,
            name: format!("node-{id}"),
            client_ur_ls: vec![format!("http://127.0.0.1:{id}")],
            ..Member::default()
        }
    }

    fn answer(leader: u64) -> Option<StatusResponse> {
        let header = ResponseHeader {
            cluster_id: u64::MAX,
            revision: 7,
            ..ResponseHeader::default()
        };
        Some(StatusResponse {
            header: Some(header),
            leader,
            ..StatusResponse::default()
        })
    }

    #[test]
    fn three_voters_that_answer_survive_one() {
        let view = View::new(&[
            (member(1), answer(1)),
            (member(2), answer(1)),
            (member(3), answer(1)),
        ]);
        assert_eq!(view.survives, Some(1));
        assert_eq!(view.leader.as_deref(), Some("1"));
        assert!(view.table().contains("highly available: survives 1 more"));
    }

    #[test]
    fn a_configured_voter_that_is_silent_counts_for_nothing() {
        let view = View::new(&[
            (member(1), answer(1)),
            (member(2), answer(1)),
            (member(3), None),
        ]);
        assert_eq!(view.survives, Some(0));
        let view = View::new(&[(member(1), answer(0)), (member(2), None), (member(3), None)]);
        assert_eq!(view.survives, None);
        assert!(view.table().contains("NO QUORUM"));
    }

    #[test]
    fn a_standby_has_no_vote() {
        let standby = Member {
            is_learner: true,
            ..member(2)
        };
        let view = View::new(&[(member(1), answer(1)), (standby, answer(1))]);
        assert_eq!((view.voters.total, view.survives), (1, Some(0)));
    }

    #[test]
    fn ids_are_strings_in_json() {
        let json = View::new(&[(member(u64::MAX), answer(u64::MAX))]).json();
        assert!(
            json.to_string().contains(r#""leader":"ffffffffffffffff""#),
            "{json}"
        );
    }
}
