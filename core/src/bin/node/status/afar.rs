//! The cluster as a client sees it: one node names the members, and each member is asked for itself. So what is shown is who
//! *answers now*; a node that cannot be reached from here counts as silent.

use super::Answer;
use super::view::View;
use crate::client::{Channel, Endpoint};
use crate::exit::{Context, Exit, Failure};
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::{Member, MemberListRequest, StatusRequest, StatusResponse};
use std::time::Duration;

/// A node that does not answer within this is silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

pub(super) fn ask(endpoints: &[String]) -> Result<Answer, Failure> {
    let parsed = endpoints.iter().map(|typed| Endpoint::parse(typed));
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
    let view = runtime.block_on(look(&endpoints))?;
    let refusal = view.survives.is_none().then(|| {
        Failure::new(
            Exit::NoQuorum,
            "too few voters answer: nothing can be written",
        )
    });
    Ok(Answer {
        text: view.table(),
        json: view.json(),
        refusal,
    })
}

async fn look(endpoints: &[Endpoint]) -> Result<View, Failure> {
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
