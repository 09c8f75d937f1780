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
        let filter =
            asked.unwrap_or_else(|| Targets::new().with_default(Level::INFO).with_target("pprof", Level::WARN));
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
