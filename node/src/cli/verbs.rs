//! The flags, and which call each verb makes.

use super::output::print;
#[cfg(feature = "bench")]
use super::{bench, profile};
use super::{block, devnet, manual, node, setup, simulate, snapshots, state, wallet};
use clap::{Command, CommandFactory, Parser, Subcommand};
use std::error::Error;
use std::path::PathBuf;

/// The Dynemix engine: measure it, profile it.
#[derive(Debug, Parser)]
#[command(name = "dynemix", version, about, long_about = None, max_term_width = 80, after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 damaged bytes found, 4 the disk
failed or is full, 5 the store is in use, 6 nobody answers, 7 going on would be
unsafe, 8 it is not known whether a payment was made, 9 a node's answer is not
what the chain has certified.
Environment: DYNEMIX_LOG sets the log filter (default info).

Examples:
  dynemix devnet up                     a network of four nodes on this computer
  dynemix wallet send 5 --from alice --to bob --devnet
  dynemix bench engine                  transactions a second, socket to disk
  dynemix bench verify --json           signatures a second, by batch size
  dynemix bench state                   a durable block against redb and SQLite
  dynemix state verify --store DIR      every byte of a store
  dynemix profile engine --out profile  the same run with a flame graph")]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A network of real nodes on this computer: start it, load it, watch it
    #[command(subcommand)]
    Devnet(devnet::DevnetVerb),
    /// Run a node, look at it, stop it
    #[command(subcommand)]
    Node(node::NodeVerb),
    /// Keys, balances, payments: a light client that trusts no node
    #[command(subcommand)]
    Wallet(Box<wallet::WalletVerb>),
    /// A node's keys
    #[command(subcommand)]
    Keys(setup::KeysVerb),
    /// The genesis of a chain
    #[command(subcommand)]
    Genesis(setup::GenesisVerb),
    /// A node's configuration
    #[command(subcommand)]
    Config(setup::ConfigVerb),
    /// Look whether this computer is fit to run a node
    Doctor(setup::DoctorArgs),
    /// Completions for a shell
    #[command(after_help = "Examples:\n  dynemix completions bash > /etc/bash_completion.d/dynemix")]
    Completions {
        /// The shell that is to read them
        shell: clap_complete::Shell,
    },
    /// Man pages, into a directory
    #[command(after_help = "Examples:\n  dynemix man --out man && man -l man/dynemix-devnet-up.1")]
    Man {
        /// Directory of the pages; made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Measure something, and print a table or JSON
    #[cfg(feature = "bench")]
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// Look at the account state in a store that no process has open
    #[command(subcommand)]
    State(state::StateVerb),
    /// Look at kept blocks
    #[command(subcommand)]
    Block(block::BlockVerb),
    /// Write, check and restore snapshots of the state
    #[command(subcommand)]
    Snapshot(snapshots::SnapshotVerb),
    /// Run the consensus of many nodes in virtual time, under faults drawn from a seed
    Simulate(simulate::SimulateArgs),
    /// Run a bench under a sampling profiler: flame graph, hottest functions, stage times
    #[cfg(feature = "bench")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  dynemix profile engine --out profile
  cargo run --profile profiling -- profile engine --out profile

The second names what is inlined too, and takes a build of its own."
    )]
    Profile(profile::ProfileVerb),
}

/// A text as paragraphs, one line each, which are broken where it is shown; indented lines stay.
fn paragraphs(text: &str) -> String {
    let mut out = String::new();
    let mut before = "";
    for line in text.lines() {
        let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
        let goes_on = is_prose(line) && is_prose(before) && !before.ends_with(':');
        out.push_str(if out.is_empty() {
            ""
        } else if goes_on {
            " "
        } else {
            "\n"
        });
        out.push_str(line);
        before = line;
    }
    out
}

/// What stands below the flags, of this verb and all below it, breaks at the terminal's width and nowhere else.
fn broken_once(command: Command) -> Command {
    let after = command.get_after_help().map(|text| paragraphs(&text.to_string()));
    let command = after.into_iter().fold(command, Command::after_help);
    let names: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    names.iter().fold(command, |command, name| command.mut_subcommand(name, broken_once))
}

impl Cli {
    /// All verbs and flags.
    pub(crate) fn verbs() -> Command {
        broken_once(Cli::command())
    }

    /// Whether the verb runs a node, which has logs of its own.
    pub(crate) fn is_node(&self) -> bool {
        matches!(self.verb, Verb::Node(node::NodeVerb::Run(_)))
    }

    /// Does what the flags say.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self.verb {
            Verb::Devnet(verb) => verb.run(),
            Verb::Node(verb) => verb.run(),
            Verb::Wallet(verb) => verb.run(),
            Verb::Keys(verb) => verb.run(),
            Verb::Genesis(verb) => verb.run(),
            Verb::Config(verb) => verb.run(),
            Verb::Doctor(args) => args.run(),
            Verb::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::verbs(), "dynemix", &mut text);
                Ok(print(&String::from_utf8_lossy(&text))?)
            }
            Verb::Man { out } => Ok(manual::write_pages(Cli::verbs(), &out)?),
            Verb::Simulate(args) => args.run(),
            Verb::State(verb) => verb.run(),
            Verb::Block(verb) => verb.run(),
            Verb::Snapshot(verb) => verb.run(),
            #[cfg(feature = "bench")]
            Verb::Bench(verb) => verb.run(),
            #[cfg(feature = "bench")]
            Verb::Profile(verb) => verb.run(),
        }
    }
}
