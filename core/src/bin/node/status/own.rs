//! The cluster as its leader sees it, by way of this machine's node.

use super::Answer;
use crate::admin::client::call;
use crate::exit::{Exit, Failure};
use quorate::proto::admin::{AvailabilityCode, StatusReply, StatusRequest};
use serde_json::json;
use std::path::Path;
use tonic::{Code, Status};

pub(super) fn ask(data_dir: &Path) -> Result<Answer, Failure> {
    let answer = call(data_dir, async |mut node| {
        Ok(node.status(StatusRequest {}).await)
    })?;
    match answer {
        Ok(reply) => Ok(seen(&reply.into_inner())),
        Err(status) if status.code() == Code::Unavailable => Ok(unseen(&status)),
        Err(status) => Err(status.into()),
    }
}

fn seen(reply: &StatusReply) -> Answer {
    let refusal = match reply.availability() {
        AvailabilityCode::HighlyAvailable | AvailabilityCode::Available => None,
        AvailabilityCode::ReadOnly => Some(Failure::new(
            Exit::NoQuorum,
            "the leader's disk is nearly full: nothing can be written",
        )),
        AvailabilityCode::Unavailable | AvailabilityCode::Unspecified => Some(Failure::new(
            Exit::NoQuorum,
            "too few voters answer: nothing can be written",
        )),
    };
    Answer {
        text: reply.text.clone(),
        json: serde_json::from_str(&reply.json).unwrap_or_default(),
        refusal,
    }
}

/// The node runs, and nobody can say how the cluster is.
fn unseen(status: &Status) -> Answer {
    let reason = status.message();
    Answer {
        text: format!("quorate is running\nhigh-availability: no\n  {reason}"),
        json: json!({
            "availability": "unavailable",
            "high_availability": false,
            "leader": null,
            "reason": reason,
        }),
        refusal: Some(Failure::new(Exit::NoQuorum, reason)),
    }
}
