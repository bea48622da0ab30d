//! `quorate add-node`, `token`, `remove-node`, `leave` and `set-failure-domain`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use quorate::join::{addresses, are_local};
use quorate::proto::admin::{
    AddNodeReply, AddNodeRequest, Done, LeaveRequest, ListTokensRequest, RemoveNodeRequest,
    RevokeTokenRequest, SetFailureDomainRequest, TokenEntry,
};
use quorate::runtime::WallTime;
use serde_json::json;

use super::client::{Client, call};
use crate::exit::Failure;
use crate::say::{self, say};

/// The long help of `quorate add-node`.
pub(crate) const ABOUT: &str = "\
Let one more node join the cluster: prints the line to run on the other machine.

The line holds a token, every address of the cluster and the fingerprint of its certificate authority. The token is used up by the \
first node that joins with it and expires in an hour, unless --uses or --ttl say otherwise; a join that fails does not use it up. \
Whoever has the line can join: treat it as a password.";

/// The long help of `quorate remove-node`.
pub(crate) const ABOUT_REMOVE: &str = "\
Take a member out of the cluster for good.

Its roles go to others first, one safe step at a time; what would lose the quorum is refused, with the reason. Afterwards its \
certificate is worthless: to come back it has to join anew. The command may be repeated. To take a node out that still runs, `quorate \
leave` on that node does the same and keeps a copy of its data.";

/// The long help of `quorate leave`.
pub(crate) const ABOUT_LEAVE: &str = "\
Take this machine's node out of its cluster.

Leadership and roles go to others first. When the node is out it stops; what it held stays in its data directory as a copy, under \
names that begin with left.";

/// How a command finds its node.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The data directory of the node to ask, on this machine.
    #[arg(
        long,
        env = "QUORATE_DATA_DIR",
        value_name = "DIR",
        default_value = "quorate-data"
    )]
    pub(crate) data_dir: PathBuf,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one object.
    Json,
}

/// `quorate add-node`
#[derive(Debug, Args)]
pub(crate) struct AddNodeArguments {
    #[command(flatten)]
    target: Target,
    /// How long the token is good for: a number with s, m, h or d behind it.
    #[arg(long, default_value = "1h", value_parser = span)]
    ttl: Duration,
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1, value_name = "N")]
    uses: u32,
    /// What the node may become.
    #[arg(long, value_enum, default_value_t = Role::Any)]
    role: Role,
    /// The name that the node must have.
    #[arg(long)]
    name: Option<String>,
    /// How the answer looks.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What a node may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Whatever the cluster decides.
    Any,
    /// Never more than a spare, which holds no data.
    Spare,
}

/// `quorate remove-node`
#[derive(Debug, Args)]
pub(crate) struct RemoveNodeArguments {
    #[command(flatten)]
    target: Target,
    /// The member's name, or its id in hexadecimal.
    node: String,
    /// Remove it although it does not answer: it must never come back.
    #[arg(long)]
    force: bool,
}

/// `quorate leave`
#[derive(Debug, Args)]
pub(crate) struct LeaveArguments {
    #[command(flatten)]
    target: Target,
}

/// `quorate set-failure-domain`
#[derive(Debug, Args)]
pub(crate) struct FailureDomainArguments {
    #[command(flatten)]
    target: Target,
    /// What this machine's node shares with those that fail together with it: a rack, a room, a site.
    domain: String,
}

/// `quorate token`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Show every token, used up ones included; expired ones until the next add-node.
    List {
        #[command(flatten)]
        target: Target,
        /// How the answer looks.
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Take a token back: nobody joins with it any more.
    Revoke {
        #[command(flatten)]
        target: Target,
        /// Its id, as `add-node` and `token list` show it.
        id: String,
    },
}

/// `quorate add-node`
pub(crate) fn add_node(arguments: AddNodeArguments) -> Result<(), Failure> {
    let request = AddNodeRequest {
        ttl_ms: u64::try_from(arguments.ttl.as_millis()).unwrap_or(u64::MAX),
        uses: arguments.uses,
        spare_only: arguments.role == Role::Spare,
        name: arguments.name.unwrap_or_default(),
    };
    let reply = call(&arguments.target.data_dir, async |mut node| {
        Ok(node.add_node(request).await?.into_inner())
    })?;
    match arguments.output {
        Output::Text => say::text(&invitation(&reply)),
        Output::Json => say!("{:#}", as_json(&reply)),
    }
    if let Some(warning) = warning(&reply.addresses) {
        eprintln!("{warning}");
    }
    Ok(())
}

/// What is wrong with a line that only this machine can use.
fn warning(members: &[String]) -> Option<String> {
    are_local(&addresses(members)).then(|| {
        format!(
            "warning: {} is this machine's own address: a node on another machine cannot join with this line. Start this node again with \
             --listen-peer HOST:PORT, an address at which other machines reach it (or --listen-peer 0.0.0.0:PORT and --advertise-peer \
             HOST:PORT); then ask for a new line",
            members.join(", ")
        )
    })
}

fn invitation(reply: &AddNodeReply) -> String {
    let mut text = format!(
        "From the node you wish to join to this cluster, run the following:\nquorate join {}\n",
        reply.line
    );
    if reply.alternatives.len() > 1 {
        text.push_str(
            "\nThat line holds every address. If only one of them can be reached from there, one of these is shorter:\n",
        );
        for line in &reply.alternatives {
            text.push_str(&format!("quorate join {line}\n"));
        }
    }
    text
}

fn as_json(reply: &AddNodeReply) -> serde_json::Value {
    json!({
        "line": reply.line,
        "token_id": reply.token_id,
        "expires": stamp(reply.expires_at_ms),
        "uses": reply.uses,
        "addresses": reply.addresses,
    })
}

/// `quorate remove-node`
pub(crate) fn remove_node(arguments: RemoveNodeArguments) -> Result<(), Failure> {
    let request = RemoveNodeRequest {
        node: arguments.node,
        force: arguments.force,
    };
    done(&arguments.target, async |mut node: Client| {
        Ok(node.remove_node(request).await?.into_inner())
    })
}

/// `quorate leave`
pub(crate) fn leave(arguments: &LeaveArguments) -> Result<(), Failure> {
    done(&arguments.target, async |mut node: Client| {
        Ok(node.leave(LeaveRequest {}).await?.into_inner())
    })
}

/// `quorate set-failure-domain`
pub(crate) fn set_failure_domain(arguments: FailureDomainArguments) -> Result<(), Failure> {
    let request = SetFailureDomainRequest {
        failure_domain: arguments.domain,
    };
    done(&arguments.target, async |mut node: Client| {
        Ok(node.set_failure_domain(request).await?.into_inner())
    })
}

fn done(
    target: &Target,
    ask: impl AsyncFnOnce(Client) -> Result<Done, Failure>,
) -> Result<(), Failure> {
    say!("{}", call(&target.data_dir, ask)?.text);
    Ok(())
}

/// `quorate token`
pub(crate) fn token(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::List { target, output } => {
            let reply = call(&target.data_dir, async |mut node| {
                Ok(node.list_tokens(ListTokensRequest {}).await?.into_inner())
            })?;
            match output {
                Output::Text => say::text(&table(&reply.tokens)),
                Output::Json => say!(
                    "{:#}",
                    reply
                        .tokens
                        .iter()
                        .map(listed)
                        .collect::<serde_json::Value>()
                ),
            }
            Ok(())
        }
        TokenCommand::Revoke { target, id } => {
            let done = call(&target.data_dir, async |mut node| {
                Ok(node
                    .revoke_token(RevokeTokenRequest { id })
                    .await?
                    .into_inner())
            })?;
            say!("{}", done.text);
            Ok(())
        }
    }
}

fn table(tokens: &[TokenEntry]) -> String {
    let mut text = format!(
        "{:16}  {:4}  {:20}  {:5}  NAME\n",
        "ID", "USES", "EXPIRES", "ROLE"
    );
    for token in tokens {
        let role = if token.spare_only { "spare" } else { "any" };
        let line = format!(
            "{:16}  {:4}  {:20}  {role:5}  {}",
            token.id,
            token.uses_left,
            stamp(token.expires_at_ms),
            token.name
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn listed(token: &TokenEntry) -> serde_json::Value {
    json!({
        "token_id": token.id,
        "uses": token.uses_left,
        "expires": stamp(token.expires_at_ms),
        "role": if token.spare_only { "spare" } else { "any" },
        "name": token.name,
        "created_by": token.created_by,
    })
}

/// A moment as RFC 3339, to the second, in UTC.
fn stamp(millis: u64) -> String {
    WallTime::from_millis(millis).to_string()
}

/// `90s`, `10m`, `1h`, `7d`.
pub(crate) fn span(typed: &str) -> Result<Duration, String> {
    let wrong = || format!("{typed:?} is not a span of time: write 90s, 10m, 1h or 7d");
    let digits = typed.len() - typed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = typed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for typed in ["", "1", "h", "1w", "-1h", "1.5h", "99999999999999999999d"] {
            assert!(span(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(stamp(1_764_000_000_000), "2025-11-24T16:00:00Z");
        assert_eq!(stamp(u64::MAX), "never");
    }

    #[test]
    fn a_line_for_this_machine_alone_is_given_with_a_warning() {
        let warned = |members: &[&str]| {
            warning(&members.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let text = warned(&["127.0.0.1:2380", "[::1]:2380"]).unwrap();
        assert!(text.contains("--listen-peer") && text.contains("127.0.0.1:2380, [::1]:2380"));
        assert_eq!(warned(&["127.0.0.1:2380", "10.0.0.1:2380"]), None);
        assert_eq!(warned(&["node-1.lan:2380"]), None);
    }

    #[test]
    fn one_address_needs_no_alternatives() {
        let mut reply = AddNodeReply {
            line: "whole".into(),
            alternatives: vec!["a".into()],
            ..AddNodeReply::default()
        };
        let alone = "From the node you wish to join to this cluster, run the following:\nquorate join whole\n";
        assert_eq!(invitation(&reply), alone);
        reply.alternatives.push("b".into());
        assert!(invitation(&reply).ends_with("quorate join a\nquorate join b\n"));
    }
}
