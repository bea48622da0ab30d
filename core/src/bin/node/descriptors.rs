//! How many files and connections this process may have open.
//!
//! A process that has none left can open neither its databases nor a connection to a member, and cannot even say so. The
//! usual limit of 1,024 is a soft one, kept for programs older than `poll`; a service may raise it.

use quorate::node::MAX_PEER_CONNECTIONS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Databases, their write-ahead files, readers, logs, the runtime.
const OWN: u64 = 128;

/// Raises the limit as far as it goes, and answers how many of `asked` connections of clients there is room for.
pub(crate) fn room_for(asked: u32) -> u32 {
    let room = room_within(raise(), asked);
    if room < asked {
        tracing::warn!(
            room,
            asked,
            "the limit on open files (RLIMIT_NOFILE) leaves room for fewer connections of clients than configured"
        );
    }
    room
}

/// The limit that now holds; none means that there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let highest = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, highest) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit on open files could not be raised");
            current
        }
    }
}

/// Members come first, but at least half of what is left is for clients.
fn room_within(limit: Option<u64>, asked: u32) -> u32 {
    let Some(limit) = limit else {
        return asked;
    };
    let left = limit.saturating_sub(OWN);
    let room = left - u64::from(MAX_PEER_CONNECTIONS).min(left / 2);
    asked.min(u32::try_from(room).unwrap_or(u32::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_node_and_its_members_leave() {
        assert_eq!(room_within(None, 4_096), 4_096);
        assert_eq!(room_within(Some(1 << 20), 4_096), 4_096);
        assert_eq!(room_within(Some(4_096), 4_096), 4_096 - 128 - 1_024);
        assert_eq!(room_within(Some(1_024), 4_096), 448);
        assert_eq!(room_within(Some(64), 4_096), 1);
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
