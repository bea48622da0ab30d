//! `quorate status`: is the cluster well, and how much more may fail?
//!
//! It is asked of the nodes as any client would: one of them names the members, and each member is asked for itself. So
//! what is shown is who *answers now*, not who is configured; a node that cannot be reached from here counts as silent.
//!
//! * `view` what the nodes said, and what follows from it

mod view;

use crate::client::{Channel, Endpoint};
use crate::exit::{Context, Exit, Failure};
use clap::{Args, ValueEnum};
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::{Member, MemberListRequest, StatusRequest, StatusResponse};
use std::time::Duration;
use view::View;

/// A node that does not answer within this is silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The long help of `quorate status`.
pub(crate) const ABOUT: &str = "\
Show the members of a cluster, who leads, and how many more may fail.

Ends with code 4 if no node answers and with code 8 if fewer voters answer than it takes to write.";

/// `quorate status`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where nodes serve clients, separated by commas; the first that answers names the members.
    #[arg(
        long,
        default_value = "127.0.0.1:2379",
        value_delimiter = ',',
        env = "QUORATE_ENDPOINTS"
    )]
    endpoints: Vec<String>,
    /// How the answer looks.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: one object; ids are strings in hexadecimal, because they exceed what a JSON number holds.
    Json,
}

/// Asks and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let parsed = arguments
        .endpoints
        .iter()
        .map(|typed| Endpoint::parse(typed));
    let (endpoints, errors): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
    let errors: Vec<String> = errors.into_iter().filter_map(Result::err).collect();
    if !errors.is_empty() {
        return Err(Failure::usage(&errors));
    }
    let endpoints: Vec<Endpoint> = endpoints.into_iter().flatten().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context(Exit::Failed, "starting the runtime")?;
    let view = runtime.block_on(ask(&endpoints))?;
    match arguments.output {
        Output::Table => print!("{}", view.table()),
        Output::Json => println!("{}", view.json()),
    }
    match view.survives {
        Some(_) => Ok(()),
        None => Err(Failure::new(
            Exit::NoQuorum,
            "too few voters answer: nothing can be written",
        )),
    }
}

async fn ask(endpoints: &[Endpoint]) -> Result<View, Failure> {
    let mut last = Failure::new(Exit::Usage, "no endpoint is given");
    for endpoint in endpoints {
        match members(endpoint).await {
            Ok(members) => {
                let mut answers = Vec::with_capacity(members.len());
                for member in members {
                    let answer = answer_of(&member).await;
                    answers.push((member, answer));
                }
                return Ok(View::new(&answers));
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn members(endpoint: &Endpoint) -> Result<Vec<Member>, Failure> {
    let what = format!("asking {endpoint} for the members");
    let channel = Channel::connect(endpoint).await?;
    let mut cluster = ClusterClient::with_origin(channel.clone(), channel.origin());
    // Not linearizable: a cluster without a quorum must be able to say so.
    let request = cluster.member_list(MemberListRequest {
        linearizable: false,
    });
    let answer = tokio::time::timeout(ANSWER_LIMIT, request)
        .await
        .context(Exit::Unreachable, &what)?;
    Ok(answer
        .context(Exit::Unreachable, &what)?
        .into_inner()
        .members)
}

/// What the member says of itself at the first of its addresses that answers.
async fn answer_of(member: &Member) -> Option<StatusResponse> {
    for url in &member.client_ur_ls {
        let answer = async {
            let channel = Channel::connect(&Endpoint::parse(url).ok()?).await.ok()?;
            let answer = channel.maintenance().status(StatusRequest {}).await.ok()?;
            Some(answer.into_inner())
        };
        if let Ok(Some(answer)) = tokio::time::timeout(ANSWER_LIMIT, answer).await {
            return Some(answer);
        }
    }
    None
}
