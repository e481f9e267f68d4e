//! What goes wrong, as people see it: one line, and one more for every wrong field.

use std::{error::Error as StdError, io, path::Path, process::ExitCode};

use chassis::{
    StartError,
    config::ConfigError,
    host::{RunError, TlsError},
    telemetry::TelemetryError,
};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{output, render::text};

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refuses.
    #[error("{}", refusal(.0))]
    Refused(#[from] Status),
    /// The server is not there.
    #[error("cannot reach {server}: is `agora up` running? --server names another address")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logs or traces cannot be started.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A service does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A service ended that was not asked to.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Something else, with its cause.
    #[error("{doing}")]
    Failed {
        /// What cannot be done.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Something that has no deeper cause: what is wrong and what to do.
    #[error("{0}")]
    Plain(String),
    /// A step of several, with its cause.
    #[error("cannot {step}")]
    Step {
        /// What cannot be done.
        step: &'static str,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A check cannot be made at all, which is not the same as a difference.
    #[error("cannot check: {0}")]
    Unchecked(#[source] Box<Error>),
}

/// The exit code of a check that cannot be made; 1 is a difference, 2 a wrong command
/// line.
const UNCHECKED: u8 = 3;

impl Error {
    /// An error that says all in one line.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::Plain(message.into())
    }

    /// An error with its cause, for `map_err`.
    pub fn failed<E>(doing: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        move |source| Self::Failed { doing: doing.into(), source: source.into() }
    }

    /// An error of a file, for `map_err`.
    pub fn file<E>(doing: &str, path: &Path) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::failed(format!("cannot {doing} {}", path.display()))
    }

    /// Tells the user, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        // Whoever read the output has seen enough: that is no failure.
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        for line in self.lines() {
            output::remark(line);
        }
        if let Self::Unchecked(_) = self { ExitCode::from(UNCHECKED) } else { ExitCode::FAILURE }
    }

    /// What [`Self::report`] prints.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", text::line(&chain(self)))];
        let refused = match self {
            Self::Unchecked(error) | Self::Step { source: error, .. } => error,
            error => error,
        };
        if let Self::Refused(status) = refused {
            let bad_request = status.get_details_bad_request();
            for violation in bad_request.into_iter().flat_map(|bad| bad.field_violations) {
                let line = format!("  {}: {}", violation.field, violation.description);
                lines.push(text::line(&line));
            }
            lines.extend(hint(status));
        }
        lines
    }
}

/// An error and its causes in one line. A refusal is told in its own words alone.
fn chain(error: &Error) -> String {
    match error {
        Error::Refused(status) => refusal(status),
        Error::Step { source, .. } => format!("{error}: {}", chain(source)),
        Error::Unchecked(cause) => format!("cannot check: {}", chain(cause)),
        Error::Unreachable { .. } => error.to_string(),
        error => chassis::error::chain(error),
    }
}

/// `message (REASON)`, as every error of the API is told.
fn refusal(status: &Status) -> String {
    // Only what broke on the way has a source: a server's answer comes without.
    if let Some(mut cause) = StdError::source(status) {
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        return format!("the server does not answer: {cause} ({})", reason(status));
    }
    let mut message = status.message();
    let violations = status.get_details_bad_request();
    if violations.is_some_and(|bad| !bad.field_violations.is_empty())
        && let Some((summary, _)) = message.split_once(':')
    {
        // Each field stands on a line of its own below.
        message = summary;
    }
    format!("{message} ({})", reason(status))
}

/// The reason of the error in UPPER_SNAKE; the gRPC code where it names none.
pub fn reason(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) => info.reason,
        None => format!("{:?}", status.code()),
    }
}

/// What to do about a refusal, where that is not obvious.
fn hint(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    let hint = match info.reason.as_str() {
        "TOKEN_MISSING" => {
            "give --token, or run on the machine and with the --data of `agora up`".to_owned()
        }
        "ALREADY_DECIDED" => {
            let winner = info.metadata.get("decision_id")?;
            format!("to overrule that decision: --replaces {}", text::line(winner))
        }
        _ => return None,
    };
    Some(format!("  {hint}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn every_wrong_field_stands_on_its_line() {
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_FIELDS", "agora", HashMap::new());
        details.add_bad_request_violation("title", "must not be empty");
        details.add_bad_request_violation("site", "must be a slug");
        let message = "invalid request: title must not be empty; site must be a slug";
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        assert_eq!(
            Error::from(status).lines(),
            [
                "error: invalid request (INVALID_FIELDS)",
                "  title: must not be empty",
                "  site: must be a slug"
            ]
        );
    }

    #[test]
    fn control_characters_of_a_message_do_not_reach_the_terminal() {
        let status = Status::not_found("no \u{1b}[31mpost");
        assert_eq!(Error::from(status).lines(), ["error: no ␛[31mpost (NotFound)"]);
    }
}
