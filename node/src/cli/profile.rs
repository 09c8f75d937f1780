//! `dynemix profile`: a bench under the sampling profiler.

use super::bench::{ApplyArgs, EngineArgs, VerifyArgs, apply, engine, verify};
use super::output::{Shown, say};
use clap::{Args, Subcommand};
use dynemix_perf::Profile;
use dynemix_perf::report::{facts, json_text};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileVerb {
    /// Profile `bench engine`
    Engine {
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        output: ProfileArgs,
    },
    /// Profile `bench verify`
    Verify {
        #[command(flatten)]
        verify: VerifyArgs,
        #[command(flatten)]
        output: ProfileArgs,
    },
    /// Profile `bench apply`
    Apply {
        #[command(flatten)]
        apply: ApplyArgs,
        #[command(flatten)]
        output: ProfileArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// Directory for flame.svg, top.txt and report.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl ProfileVerb {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            ProfileVerb::Engine { engine: args, output } => profile(&output.out, || {
                let (options, store) = args.options()?;
                Ok(engine(&options, store)?)
            }),
            ProfileVerb::Verify { verify: args, output } => profile(&output.out, || Ok(verify(&args.options()?)?)),
            ProfileVerb::Apply { apply: args, output } => profile(&output.out, || Ok(apply(&args.options()?))),
        }
    }
}

/// Runs a bench under the profiler and leaves its files in `directory`.
fn profile<R: Shown>(
    directory: &Path,
    bench: impl FnOnce() -> Result<R, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory).map_err(|error| format!("create {}: {error}", directory.display()))?;
    let profile = Profile::start()?;
    let report = bench()?;
    let files = profile.finish(directory)?;
    let json = directory.join("report.json");
    fs::write(&json, json_text(&report)?).map_err(|error| format!("write {}: {error}", json.display()))?;
    let paths = facts(&[
        ("flame graph", files.flame_graph.display().to_string()),
        ("top table", files.top.display().to_string()),
        ("report", json.display().to_string()),
    ]);
    Ok(say!("{}\n{}\n{paths}", report.text(), files.top_text)?)
}
