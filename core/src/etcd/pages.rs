//! The pages for probes and people: `/health`, `/livez`, `/readyz` and `/version`, over HTTP/2 and HTTP/1.1.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

use super::backend::Backend;
use super::{ETCD_CLUSTER_VERSION, ETCD_STORAGE_VERSION, ETCD_VERSION, EtcdError};
use crate::proto::etcdserverpb::{AlarmType, RangeRequest};
use crate::runtime::{Runtime, timeout};
use crate::transport::Body;

/// A probe waits no longer than this for a quorum.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers a page, or that there is none.
pub(super) async fn serve<R: Runtime, B: Backend>(
    backend: &B,
    method: &Method,
    path: &str,
    query: &str,
) -> Response<Body> {
    if method != Method::GET {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed\n".to_owned(),
        );
    }
    match path.trim_end_matches('/') {
        "/version" => version(),
        "/health" => health::<R, B>(backend, query).await,
        "/livez" => report::<R, B>(backend, LIVE, query).await,
        "/readyz" => report::<R, B>(backend, READY, query).await,
        path => match named(path) {
            Some(check) => report::<R, B>(backend, &[check], query).await,
            None => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        },
    }
}

/// Something that can be found well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

/// What must be well for the process to be left alone.
const LIVE: &[Check] = &[Check::SerializableRead];
/// What must be well for clients to be sent here.
const READY: &[Check] = &[
    Check::DataCorruption,
    Check::SerializableRead,
    Check::LinearizableRead,
    Check::NonLearner,
];

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run<R: Runtime, B: Backend>(self, backend: &B) -> Result<(), String> {
        match self {
            Self::DataCorruption => match alarm(backend, AlarmType::Corrupt) {
                None => Ok(()),
                Some(name) => Err(format!("alarm activated: {name}")),
            },
            Self::SerializableRead => read(backend).await,
            Self::LinearizableRead => {
                barrier::<R, B>(backend).await?;
                read(backend).await
            }
            Self::NonLearner => match backend.status().await {
                Ok(node) if node.learner => Err(EtcdError::NotSupportedForLearner.to_string()),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// `/livez/serializable_read` and the like: one check alone.
fn named(path: &str) -> Option<Check> {
    let (checks, name) = match path.strip_prefix("/livez/") {
        Some(name) => (LIVE, name),
        None => (READY, path.strip_prefix("/readyz/")?),
    };
    checks.iter().copied().find(|check| check.name() == name)
}

/// Runs the checks that are not excluded and says how they went, in words if asked or if one failed.
async fn report<R: Runtime, B: Backend>(
    backend: &B,
    checks: &[Check],
    query: &str,
) -> Response<Body> {
    let mut lines = String::new();
    let mut status = StatusCode::OK;
    for check in checks
        .iter()
        .filter(|check| !has(query, "exclude", check.name()))
    {
        match check.run::<R, B>(backend).await {
            Ok(()) => lines += &format!("[+]{} ok\n", check.name()),
            Err(reason) => {
                status = StatusCode::SERVICE_UNAVAILABLE;
                lines += &format!("[-]{} failed: {reason}\n", check.name());
            }
        }
    }
    match (status, parameters(query).any(|(name, _)| name == "verbose")) {
        (StatusCode::OK, false) => text(status, "ok\n".to_owned()),
        (StatusCode::OK, true) => text(status, lines + "ok\n"),
        _ => text(status, lines),
    }
}

/// The older page: one answer for all, in JSON.
async fn health<R: Runtime, B: Backend>(backend: &B, query: &str) -> Response<Body> {
    let reason = match unwell::<R, B>(backend, query).await {
        Ok(()) => return json(StatusCode::OK, &[("health", "true"), ("reason", "")]),
        Err(reason) => reason,
    };
    json(
        StatusCode::SERVICE_UNAVAILABLE,
        &[("health", "false"), ("reason", &reason)],
    )
}

async fn unwell<R: Runtime, B: Backend>(backend: &B, query: &str) -> Result<(), String> {
    for kind in [AlarmType::Nospace, AlarmType::Corrupt] {
        if !has(query, "exclude", kind.as_str_name()) && alarm(backend, kind).is_some() {
            return Err(format!("ALARM {}", kind.as_str_name()));
        }
    }
    if backend.leader().is_none() {
        return Err("RAFT NO LEADER".to_owned());
    }
    if !has(query, "serializable", "true") {
        barrier::<R, B>(backend)
            .await
            .map_err(|error| format!("RANGE ERROR:{error}"))?;
    }
    read(backend)
        .await
        .map_err(|error| format!("RANGE ERROR:{error}"))
}

fn version() -> Response<Body> {
    let versions = [
        ("etcdserver", ETCD_VERSION),
        ("etcdcluster", ETCD_CLUSTER_VERSION),
        ("storage", ETCD_STORAGE_VERSION),
    ];
    json(StatusCode::OK, &versions)
}

async fn barrier<R: Runtime, B: Backend>(backend: &B) -> Result<(), String> {
    match timeout::<R, _>(PATIENCE, backend.read_barrier()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(EtcdError::from(error).to_string()),
        Err(_elapsed) => Err(EtcdError::Timeout.to_string()),
    }
}

/// Reads one key, present or not.
async fn read<B: Backend>(backend: &B) -> Result<(), String> {
    let request = RangeRequest {
        key: bytes::Bytes::from_static(b"health"),
        keys_only: true,
        limit: 1,
        serializable: true,
        ..RangeRequest::default()
    };
    match backend.range(request).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn alarm<B: Backend>(backend: &B, kind: AlarmType) -> Option<&'static str> {
    let raised = backend.alarms().iter().any(|alarm| alarm.alarm() == kind);
    raised.then(|| kind.as_str_name())
}

/// The names and values of a query. None that is looked for needs escapes.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

fn has(query: &str, name: &str, value: &str) -> bool {
    parameters(query).any(|parameter| parameter == (name, value))
}

fn text(status: StatusCode, content: String) -> Response<Body> {
    page(
        status,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        content,
    )
}

/// An object of strings, in this order.
fn json(status: StatusCode, fields: &[(&str, &str)]) -> Response<Body> {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}:{}", serde_json::json!(name), serde_json::json!(value)))
        .collect();
    let content = format!("{{{}}}", fields.join(","));
    page(
        status,
        HeaderValue::from_static("application/json"),
        content,
    )
}

fn page(status: StatusCode, kind: HeaderValue, content: String) -> Response<Body> {
    let mut response = Response::new(Body::page(content));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
