//! Structured logs on standard error, for people or for machines.

use crate::config::Log;
use crate::settings::LogFormat;
use std::io::{self, IsTerminal};
use tracing_subscriber::fmt;

/// Makes this the process's log. What was logged before is lost, so it is the first thing that a node does.
pub(crate) fn begin(log: Log) {
    let lines = fmt().with_env_filter(log.filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
