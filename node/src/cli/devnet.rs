//! `dynemix devnet`.

use super::args::DirArgs;
use super::ending::WrongUsage;
use super::nodes::{LogsArgs, StatusArgs};
use super::output::say;
use super::up::{UpArgs, key_of};
use clap::Subcommand;
use dynemix::devnet::dump::{dump, load};
use dynemix::devnet::hints::command;
use dynemix::devnet::layout::{Devnet, USERS};
use dynemix::devnet::opening::flags;
use dynemix::devnet::reset::reset;
use dynemix::devnet::stop::down;
use dynemix_perf::report::counted;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug, Subcommand)]
pub(crate) enum DevnetVerb {
    /// Start a network of real node processes; with --tps also load and judge it
    #[command(after_help = "\
Examples:
  dynemix devnet up                               four nodes, until Ctrl-C
  dynemix devnet up --nodes 10 --slot-ms 2000 --tps 1000 --duration 30s
  dynemix devnet up --nodes 20 --slot-ms 10000 --tps 10000 --duration 100s
  dynemix devnet up --nodes 10 --tps 200 --duration 80s --kill-every 5
  dynemix devnet up --tps 300 --duration 60s --link rate=10mbit,delay=150ms
  dynemix devnet up --nodes 4 --tps 200 --duration 40s --flood finals

Without --tps the network is kept: the same command goes on with it, `devnet reset`
removes it. A load gets a chain of its own in a temporary directory, unless --dir
says where. A directory with other files in it is refused.

The API of the first node listens on port 8650 and those of the others on the next,
if they are free. DIR/env can be sourced: DYNEMIX_NODE and DYNEMIX_GENESIS.

Payments are transactions of users, whoever they are; records are the system's own.

A node that ends without being told by this command is reported at once; with the
last of them the command ends. `devnet down` ends it as Ctrl-C does.

Exit code 1 when state roots differ, the supply is not conserved, or a node ended by
itself or was stopped by itself; with --duration also when a slot was lost, or, where
nobody is killed or lies, when less than 99.9 % of what was taken is in its slot or
the next: what is answered \"busy\" is counted apart. 5: a devnet runs there already.")]
    Up(Box<UpArgs>),
    /// Stop the network that `up` runs, and nodes that an `up` that is gone has left
    #[command(after_help = "Examples:\n  dynemix devnet down\n  dynemix devnet down --dir DIR")]
    Down(DirArgs),
    /// Remove what `up` has made, once nothing of it runs; files of others stay
    #[command(after_help = "Examples:\n  dynemix devnet reset")]
    Reset(DirArgs),
    /// Show what runs: since when, where the API is, how far each node is
    #[command(after_help = "Examples:\n  dynemix devnet status\n  dynemix devnet status --json -")]
    Status(StatusArgs),
    /// Print what the nodes have written to their logs
    #[command(after_help = "\
Examples:
  dynemix devnet logs --node 2
  dynemix devnet logs --follow")]
    Logs(LogsArgs),
    /// Write a network that is stopped to one file, its chain included, to keep it or to give it away
    #[command(after_help = "Examples:\n  dynemix devnet dump monday.tar.gz")]
    Dump {
        /// The file; it must not be there yet
        file: PathBuf,
        #[command(flatten)]
        dir: DirArgs,
    },
    /// Make a network from such a file; `up` with the same flags goes on with its chain
    #[command(after_help = "Examples:\n  dynemix devnet load monday.tar.gz --dir monday")]
    Load {
        /// The file, as `devnet dump` has written it
        file: PathBuf,
        #[command(flatten)]
        dir: DirArgs,
    },
    /// Pay a key, a name or another user from frank's account, and wait until it is final
    #[command(after_help = "\
Examples:
  dynemix devnet faucet ada 100
  dynemix devnet faucet bob 5")]
    Faucet {
        /// Who is paid: a key, a name, or a user of the devnet
        to: String,
        /// How much, as `wallet send` takes it
        dynes: String,
        #[command(flatten)]
        dir: DirArgs,
    },
}

/// Who pays for the faucet.
const FAUCET: &str = "frank";

impl DevnetVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            DevnetVerb::Up(args) => args.run(),
            DevnetVerb::Down(dir) => {
                let count = down(&dir.directory())?;
                {
                    say!("{} stopped", counted(count as u64, "node"))?;
                    Ok(())
                }
            }
            DevnetVerb::Reset(dir) => {
                let directory = dir.directory();
                let left = reset(&directory)?;
                if left.is_empty() {
                    say!("{} removed", directory.display())?;
                    return Ok(());
                }
                let stays = if left.len() == 1 { "is not its, and stays" } else { "are not its, and stay" };
                let count = counted(left.len() as u64, "thing");
                let left: String = left.iter().map(|path| format!("\n  {}", path.display())).collect();
                say!("the devnet in {} is removed; {count} there {stays}:{left}", directory.display())?;
                Ok(())
            }
            DevnetVerb::Dump { file, dir } => {
                dump(&dir.directory(), &file)?;
                {
                    say!("{} written", file.display())?;
                    Ok(())
                }
            }
            DevnetVerb::Load { file, dir } => {
                let directory = dir.directory();
                let devnet = load(&file, &directory)?;
                let up = command(&format!("devnet up {}", flags(&devnet.shape)), &directory);
                {
                    say!("{} made; `{up}` starts it", directory.display())?;
                    Ok(())
                }
            }
            DevnetVerb::Status(args) => args.run(),
            DevnetVerb::Logs(args) => args.run(),
            DevnetVerb::Faucet { to, dynes, dir } => faucet(&to, &dynes, &dir),
        }
    }
}

/// Pays as `wallet send` does, which this process becomes.
fn faucet(to: &str, dynes: &str, dir: &DirArgs) -> Result<(), Box<dyn Error>> {
    let directory = dir.directory();
    Devnet::read(&directory)?;
    if to == FAUCET || to == key_of(FAUCET) {
        return Err(WrongUsage(format!(
            "'{to}' is who pays for the faucet; the others are {}",
            USERS[..USERS.len() - 1].join(", ")
        ))
        .into());
    }
    if dynemix::devnet::lock::holder(&directory).is_none() {
        let up = command("devnet up", &directory);
        return Err(format!("no devnet runs in {}; `{up}` starts it", directory.display()).into());
    }
    let mut wallet = Command::new(std::env::current_exe()?);
    // A devnet's own nodes, whatever a shell was told of others.
    wallet.env_remove("DYNEMIX_NODE").env_remove("DYNEMIX_GENESIS");
    wallet.args(["wallet", "send", "--from", FAUCET, "--devnet", "--dir"]).arg(&directory).args(["--to", to]);
    Err(wallet.args(["--", dynes]).exec().into())
}
