//! `dynemix`: reads flags, makes one call.

#![deny(unsafe_code)]

mod cli;

use clap::Parser;
use cli::verbs::Cli;
use dynemix::setup::log_filter::log_filter;
use std::process::ExitCode;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    cli::allocator::set();
    let cli = Cli::parse();
    // A node has its own logs, which its configuration describes.
    if !cli.is_node() {
        let asked = std::env::var("DYNEMIX_LOG").ok().and_then(|filter| log_filter(&filter).ok());
        // Of a node that is measured in this process only what is wrong: the report says the rest.
        let quiet = [("pprof", Level::WARN), ("dynemix::minting", Level::WARN)];
        let filter = asked.unwrap_or_else(|| Targets::new().with_default(Level::INFO).with_targets(quiet));
        tracing_subscriber::registry()
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter))
            .init();
    }
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dynemix: {error}");
            ExitCode::from(dynemix::exit::code(&*error))
        }
    }
}
