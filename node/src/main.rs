//! `dynemix`: reads flags, makes one call.

mod cli;

use clap::Parser;
use cli::verbs::Cli;
use std::process::ExitCode;

/// Blocks come and go by the hundred thousand small pieces: the system's allocator gives their pages back to the kernel
/// and has them cleared again, which cost a node a sixth of its time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is freed in one slot is used again in the next: it is not given back in between. Few arenas, since what one
/// thread of a node allocates another frees. Large pieces go the same way: by default they would be given back at once.
#[allow(non_upper_case_globals, reason = "the name that the allocator looks for")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static malloc_conf: &[u8] = b"dirty_decay_ms:30000,muzzy_decay_ms:0,narenas:4,oversize_threshold:0\0";

fn main() -> ExitCode {
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
