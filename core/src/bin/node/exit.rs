//! How a command ends: one exit code for each thing that a script would do differently, and the sentence printed with it.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit codes of every `quorate` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command ran and what it was asked to do could not be done.
    Failed = 1,
    /// The arguments, the environment and the configuration file do not make sense together. clap uses the same code.
    Usage = 2,
    /// The data directory does not allow it: empty, foreign, damaged, of a newer version, without its log.
    DataDirectory = 3,
    /// No node answers at the given addresses: trying again later may help.
    Unreachable = 4,
    /// Another process uses the data directory or one of the addresses.
    InUse = 5,
    /// The cluster does not take this node.
    Refused = 6,
    /// An acknowledged write is lost, or nodes that should be equal are not.
    Lost = 7,
    /// Fewer voters answer than it takes to write.
    NoQuorum = 8,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, message }
    }

    /// The arguments do not fit; `errors` names each of them.
    pub(crate) fn usage(errors: &[String]) -> Self {
        Self::new(Exit::Usage, errors.join("\n       "))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Turns any error into a [`Failure`] with what was being done when it happened.
pub(crate) trait Context<T> {
    /// `what` reads as the first half of a sentence: "connecting to 127.0.0.1:2379".
    fn context(self, exit: Exit, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, exit: Exit, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, format!("{what}: {error}")))
    }
}

/// Prints a failure, if there is one, and gives the code to end the process with.
pub(crate) fn report(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("quorate: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}
