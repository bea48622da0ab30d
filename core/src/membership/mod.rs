//! Who does what in the cluster, and how that changes without anybody asking.
//!
//! A cluster that looks after itself needs three answers at any moment: what is each node's role, how is each node, and
//! what is the next change. They are kept apart, and each is pure: time is an argument, nothing is sent, nothing waits.
//!
//! | file | the question it answers |
//! |---|---|
//! | `role.rs` | which roles exist, what each holds, and which move leads from one to another |
//! | `health.rs` | what the leader has observed of each node: heard, level with the log, stable, flapping |
//! | `policy.rs` | what the operator wants: how many voters and standbys, and how patient to be |
//! | `fleet.rs` | members and health at one moment, as the planner counts them: alive, lost, eligible, spread |
//! | `planner.rs` | the one next step, or the reason why there is none |
//! | `plan.rs` | the words of that answer |
//! | `driver.rs` | none: it carries the planner's steps out, and is the one file here that acts |
//! | `status.rs` | what an operator is told, computed from the same facts |
//!
//! # One joint step
//!
//! A change of voters is one *joint* change of Raft's configuration, `voters → voters'`: for a moment both sets must agree,
//! so any set may follow any other as far as safety goes. What has to be guarded is *availability*: a step that leads to a set
//! which cannot afford the next failure is a step backwards even if it is correct. So a step is allowed only if
//!
//! 1. counting only nodes that answer and are level with the log, a quorum of the old **and** of the new set is alive;
//! 2. the new set survives as many further failures as `min(what the old one survives now, what the target survives)`;
//! 3. while some voter is down, the new set survives no fewer than the old one does now.
//!
//! A lost voter is therefore *swapped* for a standby in one step (never "four voters for a moment"), one voter becomes three in
//! one step (two would be worse than one), and a shrinking cluster goes five → four → three, or three → one.

pub mod driver;
pub mod fleet;
pub mod health;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod role;
pub mod status;

pub use fleet::{Fleet, Seat};
pub use health::{Arrival, Contact, Health, NodeHealth, SaidOfLog};
pub use plan::{Plan, Reason, RoleChange, Step, Why};
pub use planner::{Configuration, OwnTerm, RaftFacts, plan, plan_fleet};
pub use policy::{CleanUp, Policy};
pub use role::{Duty, MemberFacts, Role, Signer};
pub use status::{Availability, Status};
