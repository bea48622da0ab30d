//! What an operator is told: computed from liveness and lag, never from what is merely configured.
//!
//! `high-availability: yes` means that the cluster survives the loss of any one node *now*. Three voters in a table say
//! nothing of the kind when one of them is dead.
//!
//! # The JSON
//!
//! Ids are strings in hexadecimal (they exceed what a JSON number holds exactly); spans are milliseconds.
//!
//! ```json
//! {
//!   "cluster": "9f2c4e1a77b3d605",        // the cluster's id
//!   "epoch": 1,                           // grows when a survivor of a lost quorum goes on alone
//!   "availability": "highly_available",   // or "available" (survives no failure), "read_only" (the leader's disk is nearly
//!                                         // full), or "unavailable" (no quorum)
//!   "high_availability": true,
//!   "leader": "a",                        // null when the answering node knows of none
//!   "voters": {
//!     "total": 3, "alive": 3, "needed": 2,
//!     "survives": 1                       // further voters that may fail; null without a quorum
//!   },
//!   "failure_domains": {
//!     "survives_any": true,               // whether a quorum is left when any one domain fails
//!     "copies": {"east": 2, "west": 1}    // copies of the data in each
//!   },
//!   "nodes": [{
//!     "id": "a", "name": "rack-1", "role": "voter",
//!     "contact": "responding",            // or "silent", or "lost"
//!     "silent_ms": 0,
//!     "caught_up": true, "lag": 0,        // lag is null for a node without a log
//!     "failure_domain": "east",
//!     "peer_addresses": ["10.0.0.1:7400"], "client_addresses": ["10.0.0.1:7379"],
//!     "leaving": false,
//!     "version": "0.1.0",                 // these are null until the node has answered this leader
//!     "trouble": null,                    // why it does not write
//!     "disk_full": false,                 // whether that is for want of room
//!     "sync_ms": 0.8,                     // what its last sync of the log took
//!     "clock_ahead_ms": 3,                // of the leader's
//!     "certificate_expires_ms": 1795555555000,
//!     "other_aims": null                  // what it is configured to aim at, if the leader is configured otherwise
//!   }],
//!   "planner": {"reason": "settled"},     // or {"step": "…"}; other reasons carry their details, see `Reason`
//!   "planner_says": "nothing to do"       // the same for people
//! }
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::fleet::{Fleet, Seat, quorum};
use super::health::Contact;
use super::plan::{Plan, Reason};
use super::role::{Duty, Role};
use crate::ids::{ClusterId, Epoch, NodeId};
use crate::proto::store;
use crate::runtime::WallTime;

/// A clock that is further off than this is worth a warning: expiry and certificates are judged by clocks (T24).
const CLOCK_LIMIT_MS: i64 = 1_000;

/// A sync that takes longer is worth a warning: elections are timed for disks that are faster.
const SYNC_LIMIT_MS: f64 = 100.0;

/// How much may go wrong now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// Any one node may fail.
    HighlyAvailable,
    /// It works, and the next failed voter stops it.
    Available,
    /// A quorum answers, but the leader has no room to write.
    ReadOnly,
    /// No quorum of voters answers.
    Unavailable,
}

/// The state of a cluster, as its leader sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The cluster's id.
    pub cluster: String,
    /// Its life.
    pub epoch: Epoch,
    /// How much may go wrong now.
    pub availability: Availability,
    /// The one word that everybody looks for.
    pub high_availability: bool,
    /// The node that leads.
    pub leader: Option<String>,
    /// The votes.
    pub voters: VoterStatus,
    /// The failure domains.
    pub failure_domains: DomainStatus,
    /// Every member, by id.
    pub nodes: Vec<NodeStatus>,
    /// What the planner does or waits for.
    pub planner: PlannerStatus,
    /// The same for people.
    pub planner_says: String,
}

/// Voters, alive and needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VoterStatus {
    /// Configured.
    pub total: usize,
    /// That answer and are level with the log.
    pub alive: usize,
    /// A quorum.
    pub needed: usize,
    /// Further voters that may fail; `None` without a quorum.
    pub survives: Option<usize>,
}

/// How the data lies over failure domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DomainStatus {
    /// Whether a quorum is left when any one domain fails as a whole.
    pub survives_any: bool,
    /// Copies of the data in each domain.
    pub copies: BTreeMap<String, usize>,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// `responding`, `silent` or `lost`.
    pub contact: &'static str,
    /// For how long it was not heard; zero for one that responds.
    pub silent_ms: u64,
    /// Whether it was level with the log lately.
    pub caught_up: bool,
    /// Log entries behind, when last heard.
    pub lag: Option<u64>,
    /// Its failure domain.
    pub failure_domain: String,
    /// Where members reach it.
    pub peer_addresses: Vec<String>,
    /// Where clients reach it.
    pub client_addresses: Vec<String>,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// What it said of itself when it was last asked.
    #[serde(flatten)]
    pub report: NodeReport,
}

/// What a node says of itself. Nothing of it is known of a node that has not answered this leader yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeReport {
    /// The version that it runs.
    pub version: Option<String>,
    /// Why it does not write, if so.
    pub trouble: Option<String>,
    /// Whether its disk is nearly full.
    pub disk_full: Option<bool>,
    /// How long its last sync of the log took, in milliseconds: every write waits for the second slowest of three voters.
    pub sync_ms: Option<f64>,
    /// How far its clock is ahead of the leader's.
    pub clock_ahead_ms: Option<i64>,
    /// When its certificate expires, in milliseconds since the Unix epoch.
    pub certificate_expires_ms: Option<u64>,
    /// What it is configured to aim at as a leader, if that is not what this leader aims at.
    pub other_aims: Option<String>,
}

/// The planner's answer as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PlannerStatus {
    /// What is being done.
    Step {
        /// In words.
        step: String,
    },
    /// What is waited for.
    Wait(Reason),
}

impl Status {
    /// Computes what is true of `fleet` now. `members` adds names and addresses; a member that the fleet does not know is
    /// left out.
    #[must_use]
    pub fn compute(
        cluster: ClusterId,
        epoch: Epoch,
        members: &[store::Member],
        reports: &BTreeMap<NodeId, NodeReport>,
        fleet: &Fleet,
        plan: &Plan,
    ) -> Self {
        let voters = voter_status(fleet);
        let leaders = reports.get(&fleet.leader);
        let is_full = leaders.and_then(|report| report.disk_full);
        let availability = match voters.survives {
            None => Availability::Unavailable,
            Some(_) if is_full == Some(true) => Availability::ReadOnly,
            Some(0) => Availability::Available,
            Some(_) => Availability::HighlyAvailable,
        };
        let seated = members
            .iter()
            .filter_map(|member| Some((member, fleet.seat(NodeId(member.id))?)));
        Self {
            cluster: cluster.to_string(),
            epoch,
            availability,
            high_availability: availability == Availability::HighlyAvailable,
            leader: Some(fleet.leader.to_string()),
            voters,
            failure_domains: domain_status(fleet),
            nodes: seated
                .map(|(member, seat)| {
                    let report = reports.get(&NodeId(member.id)).cloned();
                    node_status(member, seat, report.unwrap_or_default())
                })
                .collect(),
            planner: match plan {
                Plan::Step(step) => PlannerStatus::Step {
                    step: step.to_string(),
                },
                Plan::Wait(reason) => PlannerStatus::Wait(reason.clone()),
            },
            planner_says: match plan {
                Plan::Step(step) => step.to_string(),
                Plan::Wait(reason) => reason.to_string(),
            },
        }
    }

    /// When the first of the members' certificates expires, and whose it is; none before a member has told.
    fn first_certificate_to_expire(&self) -> Option<(WallTime, &str)> {
        let told = self.nodes.iter().filter_map(|node| {
            let expires = node.report.certificate_expires_ms?;
            Some((WallTime::from_millis(expires), node.name.as_str()))
        });
        told.min()
    }

    fn addresses(&self, role: Role) -> String {
        let mut line = String::new();
        for node in self.nodes.iter().filter(|node| node.role == role) {
            let address = node
                .peer_addresses
                .first()
                .map_or(node.name.as_str(), String::as_str);
            let _ = write!(line, " {address}");
            match node.contact {
                "responding" if node.caught_up || role == Role::Spare => {}
                "responding" => line.push_str(" (behind)"),
                contact => {
                    let _ = write!(line, " ({contact})");
                }
            }
        }
        if line.is_empty() {
            " none".to_owned()
        } else {
            line
        }
    }
}

/// The text that `quorate status` prints, shaped like that of MicroK8s.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = match self.availability {
            Availability::Unavailable => "quorate is running, without a quorum",
            Availability::ReadOnly => "quorate is running, and takes no writes",
            Availability::Available | Availability::HighlyAvailable => "quorate is running",
        };
        writeln!(f, "{running}")?;
        writeln!(
            f,
            "high-availability: {}",
            if self.high_availability { "yes" } else { "no" }
        )?;
        writeln!(f, "  datastore voter nodes:{}", self.addresses(Role::Voter))?;
        writeln!(
            f,
            "  datastore standby nodes:{}",
            self.addresses(Role::Standby)
        )?;
        writeln!(f, "  datastore spare nodes:{}", self.addresses(Role::Spare))?;
        let VoterStatus {
            total,
            alive,
            needed,
            survives,
        } = self.voters;
        writeln!(f, "  voters: {alive} of {total} alive, {needed} needed")?;
        match survives {
            Some(survives) => writeln!(f, "  survives: {survives} more failure(s)")?,
            None => writeln!(f, "  survives: nothing, the quorum is lost")?,
        }
        if self.failure_domains.copies.len() > 1 {
            let survives = if self.failure_domains.survives_any {
                "yes"
            } else {
                "no"
            };
            writeln!(f, "  survives the loss of any failure domain: {survives}")?;
        }
        for node in &self.nodes {
            let NodeReport {
                trouble,
                sync_ms,
                clock_ahead_ms,
                other_aims,
                ..
            } = &node.report;
            if let Some(trouble) = trouble {
                writeln!(f, "  {}: {trouble}", node.name)?;
            }
            if let Some(took) = sync_ms.filter(|took| *took > SYNC_LIMIT_MS) {
                writeln!(f, "  {}: its disk took {took:.0} ms for a sync", node.name)?;
            }
            if let Some(ahead) = clock_ahead_ms.filter(|ahead| ahead.abs() > CLOCK_LIMIT_MS) {
                writeln!(
                    f,
                    "  {}: its clock is {ahead} ms off the leader's",
                    node.name
                )?;
            }
            if let Some(other) = other_aims {
                writeln!(
                    f,
                    "  {}: would aim at something else as a leader ({other}): give every node the same flags",
                    node.name
                )?;
            }
        }
        if let Some((expires, name)) = self.first_certificate_to_expire() {
            writeln!(
                f,
                "  certificates: the first to expire is that of {name}, at {expires}"
            )?;
        }
        write!(f, "  planner: {}", self.planner_says)
    }
}

fn voter_status(fleet: &Fleet) -> VoterStatus {
    let voters = fleet.voters();
    VoterStatus {
        total: voters.len(),
        alive: fleet.alive(&voters),
        needed: quorum(voters.len()),
        survives: fleet.survives(&voters),
    }
}

fn domain_status(fleet: &Fleet) -> DomainStatus {
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for seat in fleet.seats().filter(|seat| seat.role.holds_data()) {
        *copies.entry(seat.failure_domain.clone()).or_default() += 1;
    }
    let voters = fleet.voters();
    let needed = quorum(voters.len());
    let left_without = |domain: &String| {
        fleet
            .with_role(Role::Voter)
            .filter(|seat| seat.counts() && seat.failure_domain != *domain)
            .count()
    };
    DomainStatus {
        survives_any: copies.keys().all(|domain| left_without(domain) >= needed),
        copies,
    }
}

fn node_status(member: &store::Member, seat: &Seat, report: NodeReport) -> NodeStatus {
    let (contact, silent) = match seat.contact {
        Contact::Responding => ("responding", Duration::ZERO),
        Contact::Silent(span) => ("silent", span),
        Contact::Lost(span) => ("lost", span),
    };
    NodeStatus {
        id: seat.id.to_string(),
        name: member.name.clone(),
        role: seat.role,
        contact,
        silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
        caught_up: seat.caught_up,
        lag: seat.lag,
        failure_domain: seat.failure_domain.clone(),
        peer_addresses: member.peer_addresses.clone(),
        client_addresses: member.client_addresses.clone(),
        leaving: seat.duty == Duty::Leaving,
        report,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{
        Arrival, Configuration, Health, MemberFacts, OwnTerm, Policy, RaftFacts, SaidOfLog, Signer,
        plan_fleet,
    };
    use crate::runtime::Instant;

    /// A status of nodes given as (id, role, failure domain, alive), the first of which leads.
    fn status(nodes: &[(u64, Role, &str, bool)]) -> Status {
        let policy = Policy::production();
        let now = Instant::from_start(Duration::from_secs(10));
        let mut health = Health::new();
        let mut members = Vec::new();
        for (id, role, domain, alive) in nodes {
            let since = if *alive {
                now - Duration::from_secs(2)
            } else {
                Instant::default()
            };
            health.watch(NodeId(*id), Arrival::Established, since);
            if *alive {
                health.heard(
                    NodeId(*id),
                    role.receives_log().then_some(0),
                    &policy,
                    now - Duration::from_millis(100),
                );
            }
            if *role == Role::Spare {
                let no_log = SaidOfLog {
                    as_of: 1,
                    holds_log: false,
                };
                health.note_spare(NodeId(*id), 1);
                health.said_of_log(NodeId(*id), no_log);
            }
            members.push(store::Member {
                id: *id,
                name: format!("node-{id:x}"),
                role: role.to_stored() as i32,
                peer_addresses: vec![format!("10.0.0.{id}:7400")],
                failure_domain: (*domain).to_owned(),
                ..store::Member::default()
            });
        }
        let facts: Vec<MemberFacts> = members
            .iter()
            .filter_map(|member| MemberFacts::from_stored(member, Signer::Held))
            .collect();
        let leader = NodeId(nodes[0].0);
        let fleet = Fleet::assess(&facts, &health, leader, &policy, now);
        let raft = RaftFacts {
            leader,
            configuration: Configuration::Uniform,
            own_term: OwnTerm::Applied,
        };
        Status::compute(
            ClusterId(0xc1),
            Epoch(1),
            &members,
            &BTreeMap::new(),
            &fleet,
            &plan_fleet(&fleet, raft, &policy),
        )
    }

    #[test]
    fn three_voters_are_only_highly_available_while_they_live() {
        let well = status(&[
            (1, Role::Voter, "", true),
            (2, Role::Voter, "", true),
            (3, Role::Voter, "", true),
        ]);
        assert_eq!(well.availability, Availability::HighlyAvailable);
        let wounded = status(&[
            (1, Role::Voter, "", true),
            (2, Role::Voter, "", true),
            (3, Role::Voter, "", false),
        ]);
        assert_eq!(wounded.availability, Availability::Available);
        assert_eq!(
            wounded.voters,
            VoterStatus {
                total: 3,
                alive: 2,
                needed: 2,
                survives: Some(0)
            }
        );
        let lost = status(&[
            (1, Role::Voter, "", true),
            (2, Role::Voter, "", false),
            (3, Role::Voter, "", false),
        ]);
        assert_eq!(lost.availability, Availability::Unavailable);
        assert_eq!(lost.voters.survives, None);
    }

    #[test]
    fn the_text_reads_like_that_of_microk8s() {
        let status = status(&[
            (1, Role::Voter, "east", true),
            (2, Role::Voter, "east", true),
            (3, Role::Voter, "west", false),
            (4, Role::Spare, "west", true),
        ]);
        assert_eq!(
            status.to_string(),
            "quorate is running\n\
             high-availability: no\n  \
             datastore voter nodes: 10.0.0.1:7400 10.0.0.2:7400 10.0.0.3:7400 (lost)\n  \
             datastore standby nodes: none\n  \
             datastore spare nodes: 10.0.0.4:7400\n  \
             voters: 2 of 3 alive, 2 needed\n  \
             survives: 0 more failure(s)\n  \
             survives the loss of any failure domain: no\n  \
             planner: 4 becomes standby (more standbys)"
        );
    }

    #[test]
    fn what_nodes_said_of_themselves_is_shown() {
        let mut status = status(&[(1, Role::Voter, "", true), (2, Role::Voter, "", true)]);
        assert!(!status.to_string().contains("certificates"));
        let told = |millis| NodeReport {
            certificate_expires_ms: Some(millis),
            ..NodeReport::default()
        };
        status.nodes[0].report = told(1_764_000_001_000);
        status.nodes[1].report = NodeReport {
            other_aims: Some("voters 1/1/3".to_owned()),
            ..told(1_764_000_000_000)
        };
        let text = status.to_string();
        assert!(
            text.contains("the first to expire is that of node-2, at 2025-11-24T16:00:00Z"),
            "{text}"
        );
        assert!(
            text.contains("node-2: would aim at something else as a leader (voters 1/1/3)"),
            "{text}"
        );
    }

    #[test]
    fn a_domain_that_holds_a_majority_is_a_single_point_of_failure() {
        let crowded = status(&[
            (1, Role::Voter, "east", true),
            (2, Role::Voter, "east", true),
            (3, Role::Voter, "west", true),
        ]);
        assert!(!crowded.failure_domains.survives_any);
        let spread = status(&[
            (1, Role::Voter, "east", true),
            (2, Role::Voter, "west", true),
            (3, Role::Voter, "cellar", true),
        ]);
        assert!(spread.failure_domains.survives_any);
    }

    /// Every field that is written is described, and every field that must be there is written.
    fn matches(schema: &serde_json::Value, value: &serde_json::Value, at: &str) {
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        let fields = value.as_object().expect(at);
        for (name, field) in fields {
            let described = properties.get(name);
            let described = described.unwrap_or_else(|| panic!("{at}.{name} is not described"));
            match field.as_array() {
                Some(items) => items
                    .iter()
                    .for_each(|item| matches(&described["items"], item, name)),
                None => matches(described, field, name),
            }
        }
        for required in schema["required"].as_array().expect(at) {
            let name = required.as_str().expect("a name");
            assert!(fields.contains_key(name), "{at}.{name} is missing");
        }
    }

    #[test]
    fn the_schema_describes_every_field() {
        let schema = include_str!("../../docs/status.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let status = status(&[
            (10, Role::Voter, "east", true),
            (11, Role::Spare, "west", false),
        ]);
        let value = serde_json::to_value(&status).unwrap();
        matches(&schema, &value, "status");
        let all = schema["properties"].as_object().unwrap().len();
        // All but the reason of a node that reaches no leader.
        assert_eq!(value.as_object().unwrap().len() + 1, all);
    }

    #[test]
    fn the_json_is_what_the_documentation_says() {
        let status = status(&[(10, Role::Voter, "east", true)]);
        let json = serde_json::to_string_pretty(&status).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "cluster": "c1",
          "epoch": 1,
          "availability": "available",
          "high_availability": false,
          "leader": "a",
          "voters": {
            "total": 1,
            "alive": 1,
            "needed": 1,
            "survives": 0
          },
          "failure_domains": {
            "survives_any": false,
            "copies": {
              "east": 1
            }
          },
          "nodes": [
            {
              "id": "a",
              "name": "node-a",
              "role": "voter",
              "contact": "responding",
              "silent_ms": 0,
              "caught_up": true,
              "lag": 0,
              "failure_domain": "east",
              "peer_addresses": [
                "10.0.0.10:7400"
              ],
              "client_addresses": [],
              "leaving": false,
              "version": null,
              "trouble": null,
              "disk_full": null,
              "sync_ms": null,
              "clock_ahead_ms": null,
              "certificate_expires_ms": null,
              "other_aims": null
            }
          ],
          "planner": {
            "reason": "settled"
          },
          "planner_says": "nothing to do"
        }
        "#);
    }
}
