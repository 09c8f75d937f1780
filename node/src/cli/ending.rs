//! How the process ends: its exit code, and what is said of a failure, to people and to programs.

use super::output::{JsonTarget, PrintError, note};
use clap::ArgMatches;
use dynemix::exit;
use dynemix_perf::report::json_text;
use serde_json::json;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::process::ExitCode;

/// Flags that make no sense together; nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// Says which flag is not within its range, and what that is.
pub(crate) fn within<T>(flag: &str, value: T, range: impl RangeBounds<T>) -> Result<(), WrongUsage>
where
    T: PartialOrd + Display,
{
    if range.contains(&value) {
        return Ok(());
    }
    let range = match (range.start_bound(), range.end_bound()) {
        (Bound::Included(from), Bound::Included(to)) => format!("between {from} and {to}"),
        (Bound::Included(from), Bound::Excluded(to)) => format!("at least {from} and below {to}"),
        (Bound::Excluded(from), Bound::Included(to)) => format!("above {from} and at most {to}"),
        (Bound::Excluded(from), Bound::Excluded(to)) => format!("above {from} and below {to}"),
        (Bound::Included(from), Bound::Unbounded) => format!("at least {from}"),
        (Bound::Excluded(from), Bound::Unbounded) => format!("above {from}"),
        (Bound::Unbounded, Bound::Included(to)) => format!("at most {to}"),
        (Bound::Unbounded, Bound::Excluded(to)) => format!("below {to}"),
        (Bound::Unbounded, Bound::Unbounded) => "a number".into(),
    };
    Err(WrongUsage(format!("{flag} must be {range}, not {value}")))
}

/// The code that an error stands for.
fn code(error: &(dyn Error + 'static)) -> u8 {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    let own = causes.find_map(|error| {
        let is_full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull);
        match error.downcast_ref::<PrintError>() {
            Some(print) if print.is_closed() => Some(exit::OK),
            _ if error.is::<WrongUsage>() => Some(exit::USAGE),
            _ => error.downcast_ref().is_some_and(is_full).then_some(exit::DISK),
        }
    });
    own.unwrap_or_else(|| exit::code(error))
}

/// What the innermost verb was told of JSON.
pub(crate) fn json_of(matches: &ArgMatches) -> Option<JsonTarget> {
    let mut verb = matches;
    while let Some((_, inner)) = verb.subcommand() {
        verb = inner;
    }
    verb.try_get_one::<JsonTarget>("json").ok().flatten().cloned()
}

/// Says a failure where it is looked for.
fn tell(message: &str, code: u8, json: Option<&JsonTarget>) {
    note!("dynemix: {message}");
    // A report that says what is wrong is an object already.
    if let Some(target) = json.filter(|target| !target.is_told()) {
        let object = json!({ "error": { "code": code, "message": message } });
        // What standard output or the file does not take was said on standard error.
        let _ = json_text(&object).map(|text| target.put(&text));
    }
}

/// The end of a verb.
pub(crate) fn of(done: Result<(), Box<dyn Error>>, json: Option<&JsonTarget>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    let code = code(&*error);
    if code != exit::OK {
        tell(&error.to_string(), code, json);
    }
    ExitCode::from(code)
}

/// The end of flags that are no order: help, the version, or what is wrong with them.
pub(crate) fn of_flags(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                note!("dynemix: write standard output: {error}");
                ExitCode::from(exit::DISK)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    // There is nobody left to whom it could be said.
    let _ = error.print();
    let is_asked = |argument: &OsString| argument == "--json" || argument == "--json=-";
    let is_alone = arguments.iter().position(is_asked).is_some_and(|at| {
        arguments.get(at + 1).is_none_or(|next| next == "-" || next.as_encoded_bytes().starts_with(b"--"))
            || arguments[at] == "--json=-"
    });
    if is_alone {
        let message = error.render().to_string();
        let message = message.trim_start_matches("error: ").trim_end();
        let object = json!({ "error": { "code": exit::USAGE, "message": message } });
        let _ = json_text(&object).map(|text| JsonTarget::new(None).put(&text));
    }
    ExitCode::from(exit::USAGE)
}
