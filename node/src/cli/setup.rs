//! `dynemix keys`, `genesis`, `config` and `doctor`: everything before a node runs.

use super::args::{ConfigArgs, data_directory, parse_hash};
use super::output::{OutputArgs, Shown, print, say};
use super::passphrase::{Asked, passphrase};
use clap::{Args, Subcommand};
use dynemix::setup::address::PREFIX;
use dynemix::setup::clock::unix_ms;
use dynemix::setup::config::Config;
use dynemix::setup::discipline::agreed;
use dynemix::setup::genesis::{AccountEntry, GENESIS_VERSION, GenesisFile, MinterEntry};
use dynemix::setup::keystore::{self, Cost, SecretKind};
use dynemix::setup::sntp::ask_all;
use dynemix_engine::base::parameters::{ChainParameters, ConsensusParameters, SubSlots};
use dynemix_engine::verify::Simd;
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_net::mesh::public_key;
use dynemix_perf::machine;
use dynemix_perf::report::{bytes, table};
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

type Done = Result<(), Box<dyn Error>>;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// Make a node's hot keys, for voting and transport, and print its entry for a genesis file
    #[command(after_help = "\
Examples:
  dynemix keys new --out keys/minting.json --name ada --account 3b6a...da29 --address 203.0.113.5:7645 > ada.toml

The owner's key stays in the wallet; it never comes to the node.")]
    New {
        /// The key file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Name of the minter
        #[arg(long)]
        name: String,
        /// Key of the account whose stake it mints for, 64 digits
        #[arg(long, value_name = "KEY")]
        account: String,
        /// Where the node is reached
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<SocketAddr>,
        /// Dynes at stake
        #[arg(long, value_name = "DYNES", default_value_t = 1_000)]
        stake: u64,
        /// Read the passphrase from this open file descriptor
        #[arg(long, value_name = "FD")]
        passphrase_fd: Option<i32>,
        /// Keep the keys under an empty passphrase: whoever reads the file has them
        #[arg(long)]
        no_passphrase: bool,
    },
    /// The public part of a key file
    Show {
        /// The key file
        file: PathBuf,
    },
}

impl KeysVerb {
    pub(crate) fn run(self) -> Done {
        match self {
            KeysVerb::New { out, name, account, address, stake, passphrase_fd, no_passphrase } => {
                let owner = parse_hash(&account).map_err(|_| "--account is not 64 hexadecimal digits")?;
                let asked = Asked::new(no_passphrase);
                let passphrase = passphrase(passphrase_fd, &out.display().to_string(), asked)?;
                let secrets = keystore::random::<64>()?;
                let (vote_key, possession) = BlsSigning::key_and_possession(&secrets[..32], &owner);
                let transport_key = hex::encode(public_key(secrets[32..].try_into().expect("32 bytes")));
                if let Some(parent) = out.parent() {
                    fs::create_dir_all(parent)?;
                }
                keystore::create(&out, SecretKind::Minting, &transport_key, &*secrets, &passphrase, Cost::STRONG)?;
                let stake =
                    stake.checked_mul(dynemix_engine::base::parameters::DYNE).ok_or("--stake is more than there is")?;
                let (vote_key, possession) = (hex::encode(vote_key), hex::encode(possession));
                print(&toml::to_string(&MinterEntry {
                    name,
                    account,
                    balance: 0,
                    stake,
                    vote_key,
                    possession,
                    transport_key,
                    address,
                })?)?;
                Ok(())
            }
            KeysVerb::Show { file } => {
                let (kind, public) = keystore::public(&file)?;
                say!("{kind:?}: {public}")?;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum GenesisVerb {
    /// Write the genesis file of a new chain
    #[command(after_help = "\
Examples:
  dynemix genesis new --minter ada.toml --minter bob.toml --account KEY=1000000 --out genesis.toml")]
    New {
        /// A minter's entry, as `keys new` prints it
        #[arg(long, value_name = "FILE", required = true)]
        minter: Vec<PathBuf>,
        /// An account and its dynes
        #[arg(long, value_name = "KEY=DYNES")]
        account: Vec<String>,
        /// Milliseconds of a slot
        #[arg(long, value_name = "MS", default_value_t = 10_000)]
        slot_ms: u64,
        /// Seats that are drawn for a height
        #[arg(long, value_name = "N", default_value_t = 20)]
        seats: u32,
        /// Shards at most
        #[arg(long, value_name = "N", default_value_t = 2)]
        shards: u32,
        /// The first height in quilt mode [default: never]
        #[arg(long, value_name = "HEIGHT")]
        quilt_from: Option<u64>,
        /// Seconds from now until slot 0
        #[arg(long, value_name = "S", default_value_t = 60)]
        starts_in: u64,
        /// Where to write the genesis; a file that exists is never overwritten
        #[arg(long, value_name = "FILE", default_value = "genesis.toml")]
        out: PathBuf,
    },
    /// Check a genesis file, and print the chain's identity
    Check {
        /// Genesis file to check
        file: PathBuf,
    },
}

impl GenesisVerb {
    pub(crate) fn run(self) -> Done {
        match self {
            GenesisVerb::New { minter, account, slot_ms, seats, shards, quilt_from, starts_in, out } => {
                let minters = minter
                    .iter()
                    .map(|path| {
                        let text =
                            fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))?;
                        toml::from_str::<MinterEntry>(&text).map_err(|error| format!("{}: {error}", path.display()))
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let accounts = account
                    .iter()
                    .map(|text| {
                        let (key, dynes) = text.split_once('=')?;
                        let balance = dynes.parse::<u64>().ok()?.checked_mul(dynemix_engine::base::parameters::DYNE)?;
                        Some(AccountEntry { key: key.to_owned(), balance })
                    })
                    .collect::<Option<Vec<_>>>()
                    .ok_or("--account is KEY=DYNES")?;
                let consensus = ConsensusParameters {
                    seats,
                    shards_max: shards,
                    quilt_from_height: quilt_from.unwrap_or(i64::MAX as u64),
                    // Each takes a hundred bytes of every node's memory: as many as fit what a node has by default.
                    accounts_max: 1 << 20,
                    sub_slots: SubSlots::HOME,
                    ..ConsensusParameters::default()
                };
                let parameters = ChainParameters {
                    start_ms: unix_ms() + starts_in * 1_000,
                    slot_ms,
                    consensus,
                    ..ChainParameters::default()
                };
                let address_prefix = PREFIX.into();
                let load_accounts = None;
                let file = GenesisFile {
                    format: GENESIS_VERSION,
                    address_prefix,
                    parameters,
                    minters,
                    accounts,
                    load_accounts,
                };
                let genesis = file.genesis()?;
                if out.exists() {
                    return Err(format!("{} exists; a chain's genesis is never overwritten", out.display()).into());
                }
                fs::write(&out, file.text())?;
                say!(
                    "chain {}\nwritten to {}; slot 0 begins in {starts_in} s",
                    hex::encode(genesis.chain.genesis_hash),
                    out.display()
                )?;
                Ok(())
            }
            GenesisVerb::Check { file } => {
                let genesis = GenesisFile::read(&file)?.genesis()?;
                say!(
                    "chain {}\n{} accounts, {} minters",
                    hex::encode(genesis.chain.genesis_hash),
                    genesis.accounts.len(),
                    genesis.minters.len()
                )?;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Write a configuration with every setting at its default
    #[command(after_help = "Examples:\n  dynemix config init --out node.toml")]
    Init {
        /// Where to write it; a file that exists is not overwritten
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        out: PathBuf,
    },
    /// Check a configuration, all layers together
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show what a node would run with, and where each setting comes from
    #[command(after_help = "Examples:\n  dynemix config show --effective --config node.toml")]
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// All settings, not only those that differ from their defaults
        #[arg(long)]
        effective: bool,
    },
}

fn flat(config: &Config) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    fn walk(prefix: &str, table: &toml::Table, out: &mut Vec<(String, String)>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(table) => walk(&key, table, out),
                value => out.push((key, value.to_string())),
            }
        }
    }
    let mut out = Vec::new();
    walk("", &toml::Table::try_from(config)?, &mut out);
    Ok(out)
}

impl ConfigVerb {
    pub(crate) fn run(self) -> Done {
        match self {
            ConfigVerb::Init { out } => {
                if out.exists() {
                    return Err(format!("{} exists", out.display()).into());
                }
                fs::write(&out, toml::to_string(&Config::default())?)?;
                say!("written to {}", out.display())?;
                Ok(())
            }
            ConfigVerb::Check { config } => {
                config.load()?;
                say!("good")?;
                Ok(())
            }
            ConfigVerb::Show { config, effective } => {
                let layered = config.load()?;
                let rows: Vec<_> = flat(&layered.config)?
                    .into_iter()
                    .map(|(key, value)| {
                        let origin = layered.origins.get(&key).cloned().unwrap_or_default();
                        vec![key, value, origin]
                    })
                    .filter(|row| effective || row[2] != "default")
                    .collect();
                say!("{}", table(&["setting", "value", "from"], &rows))?;
                Ok(())
            }
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dynemix doctor
  dynemix doctor --config node.toml --json -

Exit code 1 when something is not good.")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    good: bool,
    found: String,
}

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Shown for Findings {
    fn text(&self) -> String {
        let rows: Vec<_> = self
            .findings
            .iter()
            .map(|finding| {
                vec![
                    if finding.good { "good" } else { "BAD" }.to_owned(),
                    finding.what.to_owned(),
                    finding.found.clone(),
                ]
            })
            .collect();
        table(&["", "what", "found"], &rows)
    }
}

impl DoctorArgs {
    pub(crate) fn run(&self) -> Done {
        let layered = self.config.load()?;
        let config = &layered.config;
        let mut findings = Vec::new();
        let mut find = |what, good, found: String| findings.push(Finding { what, good, found });
        find("processor", machine::cores() >= 2, format!("{} with {} cores", machine::cpu_model(), machine::cores()));
        find(
            "signatures",
            Simd::best() != Simd::Portable,
            format!("{} in each batch of {} lanes", Simd::best().name(), Simd::best().lanes()),
        );
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        find(
            "open files",
            limit.is_none_or(|limit| limit >= 4_096),
            limit.map_or("no limit".into(), |limit| format!("{limit} at most; 4096 are wanted")),
        );
        for (what, address) in [("peers' port", config.listen()?), ("API's port", config.api_listen()?)] {
            let Some(address) = address else { continue };
            match TcpListener::bind(address) {
                Ok(_) => find(what, true, format!("{address} is free")),
                Err(error) => find(what, false, format!("{address}: {error}; a node that runs already has it")),
            }
        }
        let genesis_path = layered.beside.join(&config.genesis);
        let directory = match GenesisFile::read(&genesis_path).and_then(|file| file.genesis()) {
            Ok(genesis) => {
                find("genesis", true, format!("chain {}..", &hex::encode(genesis.chain.genesis_hash)[..16]));
                data_directory(&layered, &genesis.chain.genesis_hash)
            }
            Err(error) => {
                find("genesis", false, error.to_string());
                PathBuf::from(".")
            }
        };
        let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let status = rustix::fs::statvfs(there)?;
        let free = status.f_bavail * status.f_frsize;
        let wanted = config.storage.limit_bytes + config.storage.watermark_bytes;
        find(
            "disk",
            free >= wanted,
            format!("{} free, {} may be used; storage.limit_bytes says how much", bytes(free), bytes(wanted)),
        );
        if config.clock.source == "sntp" {
            let answers = ask_all(&config.clock.servers);
            let mut offsets: Vec<i64> = answers.iter().filter_map(|answer| answer.1).collect();
            let offset = agreed(&mut offsets, answers.len(), config.clock.bound_ms);
            let good = offset.is_some_and(|offset| offset.abs() <= config.clock.bound_ms);
            let found = offset.map_or(
                format!("only {} of {} time servers answer and agree", offsets.len(), answers.len()),
                |offset| format!("off by {offset} ms"),
            );
            find("clock", good, found);
        } else {
            find("clock", true, "taken from the computer, as on a devnet".into());
        }
        let bad = findings.iter().filter(|finding| !finding.good).count();
        self.output.show(&Findings { findings })?;
        if bad == 0 { Ok(()) } else { Err(format!("{bad} things are not good").into()) }
    }
}
