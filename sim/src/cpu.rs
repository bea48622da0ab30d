//! What a simulation costs the host. A simulation is one thread, so that a busy machine does not spoil the number.

use std::time::Duration;

/// How long this thread has been on a processor, as the kernel counts it; nothing where it does not tell.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "an answer of the system in the form of a file"
    )]
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or(Duration::ZERO, Duration::from_nanos)
}
