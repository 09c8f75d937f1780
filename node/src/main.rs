//! `dynemix`: reads flags, makes one call.

#![deny(unsafe_code)]

mod cli;

use clap::FromArgMatches;
use cli::ending::{self, WrongUsage};
use cli::verbs::Cli;
use dynemix::face::logs::screen;
use dynemix::setup::log_filter::log_filter;
use std::process::ExitCode;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What `DYNEMIX_LOG` asks for, if it is set.
fn asked_filter() -> Result<Option<Targets>, String> {
    let text = cli::args::variable("DYNEMIX_LOG")?.filter(|text| !text.is_empty());
    let read = |text: String| log_filter(&text).map_err(|error| format!("environment variable DYNEMIX_LOG: {error}"));
    text.map(read).transpose()
}

fn main() -> ExitCode {
    cli::allocator::set();
    let arguments: Vec<_> = std::env::args_os().collect();
    let parsed = Cli::verbs().try_get_matches_from(&arguments).and_then(|matches| {
        let json = ending::json_of(&matches);
        Ok((Cli::from_arg_matches(&matches)?, json))
    });
    let (cli, json) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return ending::of_flags(&error, &arguments),
    };
    // A node has its own logs, which its configuration describes.
    if !cli.is_node() {
        let asked = match asked_filter() {
            Ok(asked) => asked,
            Err(error) => return ending::of(Err(WrongUsage(error).into()), json.as_ref()),
        };
        // Of a node that is measured in this process only what is wrong: the report says the rest.
        let filter = asked
            .unwrap_or_else(|| Targets::new().with_default(Level::INFO).with_target("dynemix::minting", Level::WARN));
        tracing_subscriber::registry().with(screen().with_filter(filter)).init();
    }
    let opened = json.as_ref().map_or(Ok(()), |target| target.open().map_err(Into::into));
    // Nothing is opened to write a failure into.
    let told = json.filter(|_| opened.is_ok());
    ending::of(opened.and_then(|()| cli.run()), told.as_ref())
}
