//! `dynemix`: reads flags, makes one call.

#![deny(unsafe_code)]

mod cli;

use clap::Parser;
use cli::verbs::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::allocator::set();
    let cli = Cli::parse();
    // A node has its own logs, which its configuration describes.
    if !cli.is_node() {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_env_filter(
                tracing_subscriber::EnvFilter::try_from_env("DYNEMIX_LOG").unwrap_or_else(|_| "info,pprof=warn".into()),
            )
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
