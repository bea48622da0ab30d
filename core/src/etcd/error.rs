//! Every error that etcd's clients know, with the code and the exact text by which they know it.
//!
//! etcd's client library tells errors apart by their *text* and decides on a retry by their *code*, so both are part
//! of the wire contract: a wrong letter turns "compacted, list again" into "unknown error". The table below is the
//! whole vocabulary; nothing else in this crate spells one of these sentences.

use tonic::{Code, Status};

/// Writes the enum, its codes and its texts from one table, so that a variant cannot lack either.
macro_rules! etcd_errors {
    ($($code:ident { $($variant:ident = $text:literal,)+ })+) => {
        /// An error of the etcd API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EtcdError {
            $($(
                #[doc = concat!("`", $text, "`, as `", stringify!($code), "`.")]
                $variant,
            )+)+
        }

        impl EtcdError {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$($(Self::$variant,)+)+];

            /// The gRPC code that clients decide on a retry by.
            pub const fn code(self) -> Code {
                match self {
                    $($(Self::$variant)|+ => Code::$code,)+
                }
            }

            /// The text that clients recognise the error by.
            pub const fn text(self) -> &'static str {
                match self {
                    $($(Self::$variant => concat!("etcdserver: ", $text),)+)+
                }
            }
        }
    };
}

etcd_errors! {
    InvalidArgument {
        EmptyKey = "key is not provided",
        KeyNotFound = "key not found",
        ValueProvided = "value is provided",
        LeaseProvided = "lease is provided",
        TooManyOperations = "too many operations in txn request",
        DuplicateKey = "duplicate key given in txn request",
        InvalidClientApiVersion = "invalid client api version",
        InvalidSortOption = "invalid sort option",
        MemberBadUrls = "given member URLs are invalid",
        RequestTooLarge = "request is too large",
        UserEmpty = "user name is empty",
        RoleEmpty = "role name is empty",
        AuthFailed = "authentication failed, invalid user ID or password",
        PermissionNotGiven = "permission not given",
        InvalidAuthManagement = "invalid auth management",
        AuthOldRevision = "revision of auth store is old",
        WrongDowngradeVersionFormat = "wrong downgrade target version format",
        InvalidDowngradeTargetVersion = "invalid downgrade target version",
    }
    OutOfRange {
        Compacted = "mvcc: required revision has been compacted",
        FutureRevision = "mvcc: required revision is a future revision",
        LeaseTtlTooLarge = "too large lease TTL",
    }
    ResourceExhausted {
        NoSpace = "mvcc: database space exceeded",
        TooManyRequests = "too many requests",
    }
    NotFound {
        LeaseNotFound = "requested lease not found",
        MemberNotFound = "member not found",
    }
    FailedPrecondition {
        LeaseExists = "lease already exists",
        MemberExists = "member ID already exist",
        PeerUrlExists = "Peer URLs already exists",
        MemberNotEnoughStarted = "re-configuration failed due to not enough started members",
        MemberNotLearner = "can only promote a learner member",
        LearnerNotReady = "can only promote a learner member which is in sync with leader",
        TooManyLearners = "too many learner members in cluster",
        ClusterIdMismatch = "cluster ID mismatch",
        RootUserNotExist = "root user does not exist",
        RootRoleNotExist = "root user does not have root role",
        UserAlreadyExists = "user name already exists",
        UserNotFound = "user name not found",
        RoleAlreadyExists = "role name already exists",
        RoleNotFound = "role name not found",
        RoleNotGranted = "role is not granted to the user",
        PermissionNotGranted = "permission is not granted to the role",
        AuthNotEnabled = "authentication is not enabled",
        NotLeader = "not leader",
        NotCapable = "not capable",
        NotSupportedForLearner = "rpc not supported for learner",
        BadLeaderTransferee = "bad leader transferee",
        ClusterVersionUnavailable = "cluster version not found during downgrade",
        DowngradeInProcess = "cluster has a downgrade job in progress",
        NoInflightDowngrade = "no inflight downgrade job",
    }
    Cancelled {
        WatchCanceled = "watch canceled",
        RequestCanceled = "request canceled",
    }
    PermissionDenied {
        PermissionDenied = "permission denied",
    }
    Unauthenticated {
        InvalidAuthToken = "invalid auth token",
    }
    Unavailable {
        NoLeader = "no leader",
        LeaderChanged = "leader changed",
        Stopped = "server stopped",
        Timeout = "request timed out",
        TimeoutDueToLeaderFailure = "request timed out, possibly due to previous leader failure",
        TimeoutDueToConnectionLost = "request timed out, possibly due to connection lost",
        TimeoutWaitingForAppliedIndex = "request timed out, waiting for the applied index took too long",
        Unhealthy = "unhealthy cluster",
    }
    DataLoss {
        Corrupt = "corrupt cluster",
    }
    DeadlineExceeded {
        DeadlineExceeded = "context deadline exceeded",
    }
}

impl EtcdError {
    /// The error that this text belongs to: how a node recognises what another node answered it.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.text() == text)
    }
}

impl std::fmt::Display for EtcdError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for EtcdError {}

impl From<EtcdError> for Status {
    fn from(error: EtcdError) -> Self {
        Self::new(error.code(), error.text())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// etcd's own list: gRPC code number, texts after the prefix. Kept apart from the table above on purpose.
    const PUBLISHED: &[(i32, &[&str])] = &[
        (
            3,
            &[
                "key is not provided",
                "key not found",
                "value is provided",
                "lease is provided",
                "too many operations in txn request",
                "duplicate key given in txn request",
                "invalid client api version",
                "invalid sort option",
                "given member URLs are invalid",
                "request is too large",
                "user name is empty",
                "role name is empty",
                "authentication failed, invalid user ID or password",
                "permission not given",
                "invalid auth management",
                "revision of auth store is old",
                "wrong downgrade target version format",
                "invalid downgrade target version",
            ],
        ),
        (
            11,
            &[
                "mvcc: required revision has been compacted",
                "mvcc: required revision is a future revision",
                "too large lease TTL",
            ],
        ),
        (8, &["mvcc: database space exceeded", "too many requests"]),
        (5, &["requested lease not found", "member not found"]),
        (
            9,
            &[
                "lease already exists",
                "member ID already exist",
                "Peer URLs already exists",
                "re-configuration failed due to not enough started members",
                "can only promote a learner member",
                "can only promote a learner member which is in sync with leader",
                "too many learner members in cluster",
                "cluster ID mismatch",
                "root user does not exist",
                "root user does not have root role",
                "user name already exists",
                "user name not found",
                "role name already exists",
                "role name not found",
                "role is not granted to the user",
                "permission is not granted to the role",
                "authentication is not enabled",
                "not leader",
                "not capable",
                "rpc not supported for learner",
                "bad leader transferee",
                "cluster version not found during downgrade",
                "cluster has a downgrade job in progress",
                "no inflight downgrade job",
            ],
        ),
        (1, &["watch canceled", "request canceled"]),
        (7, &["permission denied"]),
        (16, &["invalid auth token"]),
        (
            14,
            &[
                "no leader",
                "leader changed",
                "server stopped",
                "request timed out",
                "request timed out, possibly due to previous leader failure",
                "request timed out, possibly due to connection lost",
                "request timed out, waiting for the applied index took too long",
                "unhealthy cluster",
            ],
        ),
        (15, &["corrupt cluster"]),
        (4, &["context deadline exceeded"]),
    ];

    #[test]
    fn every_error_has_the_published_code_and_text() {
        let published: BTreeSet<(i32, String)> = PUBLISHED
            .iter()
            .flat_map(|(code, texts)| {
                texts
                    .iter()
                    .map(move |text| (*code, format!("etcdserver: {text}")))
            })
            .collect();
        let ours: BTreeSet<(i32, String)> = EtcdError::ALL
            .iter()
            .map(|error| Status::from(*error))
            .map(|status| (i32::from(status.code()), status.message().to_owned()))
            .collect();
        assert_eq!(ours, published);
        assert_eq!(EtcdError::ALL.len(), 63, "two errors share a text");
    }

    #[test]
    fn text_leads_back_to_its_error() {
        for error in EtcdError::ALL {
            assert_eq!(EtcdError::from_text(error.text()), Some(*error));
        }
        assert_eq!(EtcdError::from_text("etcdserver: "), None);
    }
}
