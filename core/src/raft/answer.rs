//! The state machine's answers on the wire between nodes.

use std::io;

use crate::proto::peer::{Answer, Nothing, Rejected, answer};
use crate::state::{Rejection, Response, SystemResponse};

/// To the wire.
#[must_use]
pub fn answer_out(response: Response) -> Answer {
    let answer = match response {
        // Of the second nobody is told but that its outcome is unknown: the proposer sees to it.
        Response::Blank | Response::Untold => answer::Answer::Blank(Nothing {}),
        Response::Put(response) => answer::Answer::Put(response),
        Response::DeleteRange(response) => answer::Answer::DeleteRange(response),
        Response::Txn(response) => answer::Answer::Txn(response),
        Response::Compact(response) => answer::Answer::Compact(response),
        Response::LeaseGrant(response) => answer::Answer::LeaseGrant(response),
        Response::LeaseRevoke(response) => answer::Answer::LeaseRevoke(response),
        Response::System(SystemResponse::Done) => answer::Answer::Done(Nothing {}),
        Response::System(SystemResponse::Admitted(member)) => answer::Answer::Admitted(member),
        Response::Rejected(rejection) => answer::Answer::Rejected(rejection_out(&rejection)),
    };
    Answer {
        answer: Some(answer),
    }
}

/// From the wire.
///
/// # Errors
/// When a newer node gave an answer that this version does not know.
pub fn answer_in(answer: Answer) -> io::Result<Response> {
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "an answer that this version does not know",
        )
    };
    Ok(match answer.answer.ok_or_else(unknown)? {
        answer::Answer::Blank(_) => Response::Blank,
        answer::Answer::Put(response) => Response::Put(response),
        answer::Answer::DeleteRange(response) => Response::DeleteRange(response),
        answer::Answer::Txn(response) => Response::Txn(response),
        answer::Answer::Compact(response) => Response::Compact(response),
        answer::Answer::LeaseGrant(response) => Response::LeaseGrant(response),
        answer::Answer::LeaseRevoke(response) => Response::LeaseRevoke(response),
        answer::Answer::Done(_) => Response::System(SystemResponse::Done),
        answer::Answer::Admitted(member) => Response::System(SystemResponse::Admitted(member)),
        answer::Answer::Rejected(rejected) => {
            Response::Rejected(rejection_in(&rejected).ok_or_else(unknown)?)
        }
    })
}

/// Each reason and its number, which is for ever.
const REASONS: [(u32, Rejection); 22] = [
    (1, Rejection::KeyNotProvided),
    (2, Rejection::KeyNotFound),
    (3, Rejection::ValueProvided),
    (4, Rejection::LeaseProvided),
    (5, Rejection::TooManyOperations),
    (6, Rejection::DuplicateKey),
    (7, Rejection::InvalidSort),
    (8, Rejection::Compacted),
    (9, Rejection::FutureRevision),
    (10, Rejection::LeaseNotFound),
    (11, Rejection::LeaseExists),
    (12, Rejection::ExpiryOutdated),
    (13, Rejection::ClusterExists),
    (14, Rejection::MemberNotFound),
    (15, Rejection::MemberIdUsed),
    (16, Rejection::MemberNameTaken),
    (17, Rejection::TokenUnknown),
    (18, Rejection::TokenExpired),
    (19, Rejection::TokenUsedUp),
    (20, Rejection::TokenForAnother),
    (21, Rejection::TokenExists),
    (22, Rejection::RecoveryOutdated),
];

/// The reason that carries words.
const MALFORMED: u32 = 23;

fn rejection_out(rejection: &Rejection) -> Rejected {
    let reason = REASONS
        .iter()
        .find(|(_, known)| known == rejection)
        .map(|(number, _)| *number);
    let detail = if let Rejection::Malformed(what) = rejection {
        (*what).to_owned()
    } else {
        String::new()
    };
    Rejected {
        reason: reason.unwrap_or(MALFORMED),
        detail,
    }
}

fn rejection_in(rejected: &Rejected) -> Option<Rejection> {
    if rejected.reason == MALFORMED {
        // The words are the peer's and for people only; this side keeps the kind.
        return Some(Rejection::Malformed("refused by the leader"));
    }
    REASONS
        .iter()
        .find(|(number, _)| *number == rejected.reason)
        .map(|(_, rejection)| rejection.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::PutResponse;

    #[test]
    fn every_answer_survives_the_wire() {
        let rejections = REASONS
            .iter()
            .map(|(_, rejection)| Response::Rejected(rejection.clone()));
        let others = [
            Response::Blank,
            Response::Put(PutResponse::default()),
            Response::System(SystemResponse::Done),
        ];
        for response in rejections.chain(others) {
            assert_eq!(answer_in(answer_out(response.clone())).unwrap(), response);
        }
    }

    #[test]
    fn reasons_have_one_number_each() {
        let numbers: std::collections::BTreeSet<_> =
            REASONS.iter().map(|(number, _)| number).collect();
        assert_eq!(numbers.len(), REASONS.len());
        assert!(!numbers.contains(&MALFORMED));
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert!(answer_in(Answer { answer: None }).is_err());
        let rejected = Rejected {
            reason: 9_999,
            detail: String::new(),
        };
        assert!(
            answer_in(Answer {
                answer: Some(answer::Answer::Rejected(rejected))
            })
            .is_err()
        );
    }
}
