//! `dynemix keys`, `genesis`, `config` and `doctor`: everything before a node runs.

use super::args::{ConfigArgs, data_directory};
use super::ending::WrongUsage;
use super::output::{OutputArgs, Shown, note, print, say};
use super::passphrase::{Asked, passphrase};
use clap::{Args, Subcommand};
use dynemix::face::admin::{AdminRequest, ask};
use dynemix::face::api::bytes_held;
use dynemix::keep::chain_store::Genesis;
use dynemix::minting::status::StatusShown;
use dynemix::minting::topology::{Given, Topology};
use dynemix::setup::address::{PREFIX, key_of, key_of_any};
use dynemix::setup::clock::unix_ms;
use dynemix::setup::config::{Config, ConfigError, Layered, data_home, open_to_all};
use dynemix::setup::discipline::agreed;
use dynemix::setup::genesis::{AccountEntry, GenesisFile, GenesisFileError, MinterEntry};
use dynemix::setup::host_port::HostPort;
use dynemix::setup::keystore::{self, Cost, KeystoreError, SecretKind};
use dynemix::setup::memory;
use dynemix::setup::names::Names;
use dynemix::setup::new_file::{Readers, write_new};
use dynemix::setup::settings::commented_file;
use dynemix::setup::sntp::ask_all;
use dynemix_engine::base::parameters::{ChainParameters, ConsensusParameters, DYNE, SubSlots};
use dynemix_engine::transaction::check::name_acceptable;
use dynemix_engine::verify::Simd;
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_net::mesh::public_key;
use dynemix_perf::machine;
use dynemix_perf::report::{bytes, table};
use rustix::fs::Access;
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;

type Done = Result<(), Box<dyn Error>>;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// Make a node's hot keys, for voting and transport, and print its entry for a genesis file
    #[command(after_help = "\
Examples:
  dynemix keys new --out keys/minting.json --name ada \\
      --account 3b6a...da29 --address 203.0.113.5:7645 > ada.toml

The owner's key stays in the wallet; it never comes to the node.")]
    New {
        /// The key file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Name of the minter
        #[arg(long)]
        name: String,
        /// Address or key of the account whose stake it mints for
        #[arg(long, value_name = "KEY")]
        account: String,
        /// Where the node is reached; of a host's name the address that it has now
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<HostPort>,
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
    /// What is public of a key file, and with its passphrase a node's entry for a genesis file once more
    #[command(after_help = "\
Examples:
  dynemix keys show keys/minting.json
  dynemix keys show keys/minting.json --name ada --account 3b6a...da29 \\
      --address 203.0.113.5:7645 > ada.toml

Without --name and --account no passphrase is asked for.")]
    Show {
        /// The key file
        file: PathBuf,
        /// Name of the minter
        #[arg(long, requires = "account")]
        name: Option<String>,
        /// Key of the account whose stake it mints for, 64 digits
        #[arg(long, value_name = "KEY", requires = "name")]
        account: Option<String>,
        /// Where the node is reached; of a host's name the address that it has now
        #[arg(long, value_name = "HOST:PORT", requires = "name")]
        address: Option<HostPort>,
        /// Dynes at stake
        #[arg(long, value_name = "DYNES", default_value_t = 1_000)]
        stake: u64,
        /// Read the passphrase from this open file descriptor
        #[arg(long, value_name = "FD")]
        passphrase_fd: Option<i32>,
    },
}

impl KeysVerb {
    pub(crate) fn run(self) -> Done {
        match self {
            KeysVerb::New { out, name, account, address, stake, passphrase_fd, no_passphrase } => {
                // What is wrong is told before anybody has thought of a passphrase.
                let minter = Minter::new(name, account, address, stake)?;
                if out.symlink_metadata().is_ok() {
                    return Err(KeystoreError::Exists(out).into());
                }
                let asked = Asked::new(no_passphrase);
                let passphrase = passphrase(passphrase_fd, &out.display().to_string(), asked)?;
                let secrets = keystore::random::<64>()?;
                let entry = minter.entry(&secrets);
                if let Some(parent) = out.parent() {
                    fs::create_dir_all(parent).map_err(|error| format!("make {}: {error}", parent.display()))?;
                }
                let kind = SecretKind::Minting;
                keystore::create(&out, kind, &entry.transport_key, &*secrets, &passphrase, Cost::STRONG)?;
                print(&toml::to_string(&entry)?)?;
                Ok(())
            }
            KeysVerb::Show { file, name, account, address, stake, passphrase_fd } => {
                let (kind, public) = keystore::public(&file)?;
                let (Some(name), Some(account)) = (name, account) else {
                    say!(
                        "{}",
                        match kind {
                            SecretKind::Owner => format!("an owner's key\nkey of the account: {public}"),
                            SecretKind::Minting => format!(
                                "a node's keys, for voting and transport\ntransport_key: {public}\nThe voting key is \
                                 shown\nwith the entry for a genesis file: say --name and --account"
                            ),
                        }
                    )?;
                    return Ok(());
                };
                let minter = Minter::new(name, account, address, stake)?;
                let passphrase = passphrase(passphrase_fd, &file.display().to_string(), Asked::ToOpen)?;
                let secrets = keystore::open::<64>(&file, SecretKind::Minting, &passphrase)?;
                print(&toml::to_string(&minter.entry(&secrets))?)?;
                Ok(())
            }
        }
    }
}

/// Who mints, as its operator says it.
struct Minter {
    name: String,
    owner: [u8; 32],
    account: String,
    address: Option<SocketAddr>,
    stake: u64,
}

impl Minter {
    fn new(name: String, account: String, place: Option<HostPort>, dynes: u64) -> Result<Minter, String> {
        if !name_acceptable(name.as_bytes()) {
            return Err(format!(
                "--name '{name}': a name is 1 to 32 letters a-z, digits, or single - . _ between them"
            ));
        }
        let owner = key_of_any(&account).map_err(|error| format!("--account: {error}"))?;
        let account = hex::encode(owner);
        let stake = dynes.checked_mul(dynemix_engine::base::parameters::DYNE).ok_or("--stake is more than there is")?;
        let address = place.map(|place| address_of(&place)).transpose()?;
        Ok(Minter { name, owner, account, address, stake })
    }

    fn entry(self, secrets: &[u8; 64]) -> MinterEntry {
        let (vote, transport) = secrets.split_at(32);
        let (vote_key, possession) = BlsSigning::key_and_possession(vote, &self.owner);
        MinterEntry {
            name: self.name,
            account: self.account,
            balance: 0,
            stake: self.stake,
            vote_key: hex::encode(vote_key),
            possession: hex::encode(possession),
            transport_key: hex::encode(public_key(transport.try_into().expect("32 bytes"))),
            address: self.address,
        }
    }
}

/// The address that a genesis file is to have: it holds numbers, not names.
fn address_of(place: &HostPort) -> Result<SocketAddr, String> {
    let address = place.address().map_err(|error| {
        format!(
            "--address {place}: the name has no address now ({error}). Write the host's number, for example \
             203.0.113.5:7645; or leave --address out, and have network.public = \"{place}\" in the node's configuration, \
             where a name is asked for again and again"
        )
    })?;
    if place.numeric().is_none() {
        note!(
            "{place} is {address} now, and that is what the entry says: a genesis file holds numbers. Where the number \
             changes, have network.public = \"{place}\" in the node's configuration too"
        );
    }
    Ok(address)
}

/// Writes a file that is made once.
fn write_once(out: &Path, text: &str, exists: &str) -> Done {
    match write_new(out, text.as_bytes(), Readers::All) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(format!("{} exists{exists}", out.display()).into())
        }
        written => Ok(written.map_err(|error| format!("write {}: {error}; nothing of it is left", out.display()))?),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum GenesisVerb {
    /// Write the genesis file of a new chain
    #[command(after_help = "\
Examples:
  dynemix genesis new --minter ada.toml --minter bob.toml \\
      --account KEY=1000000 --out genesis.toml")]
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
        /// The first height in quilt mode; 0: from the start [default: never, blockchain mode]
        #[arg(long, value_name = "HEIGHT")]
        quilt_from: Option<u64>,
        /// Seconds from now until slot 0: all founders have this file by then, or the first slots are lost
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

/// An account of a genesis: KEY=DYNES, its key or its address.
fn account_of(text: &str) -> Result<AccountEntry, WrongUsage> {
    let wrong = |why: String| WrongUsage(format!("--account {text}: {why}"));
    let (key, dynes) = text.split_once('=').ok_or_else(|| wrong("write KEY=DYNES".into()))?;
    let key = key_of(PREFIX, key).map_err(|error| wrong(error.to_string()))?;
    let is_plain = dynes.bytes().all(|byte| byte.is_ascii_digit());
    let units = dynes.parse::<u64>().ok().filter(|_| is_plain).and_then(|dynes| dynes.checked_mul(DYNE));
    let balance = units.ok_or_else(|| wrong(format!("'{dynes}' is no whole number of dynes")))?;
    Ok(AccountEntry { key: hex::encode(key), balance })
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
                let accounts = account.iter().map(|text| account_of(text)).collect::<Result<Vec<_>, _>>()?;
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
                let file = GenesisFile::new(parameters, minters, accounts);
                let genesis = file.genesis()?;
                write_once(&out, &file.text(), "; a chain's genesis is never overwritten")?;
                say!(
                    "chain {}\nwritten to {}\nslot 0 begins in {starts_in} s, and most founders' nodes run by then{}",
                    hex::encode(genesis.chain.genesis_hash),
                    out.display(),
                    if quilt_from.is_none() {
                        "\nblockchain mode: --quilt-from 0 is quilt mode from the start"
                    } else {
                        ""
                    }
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
    /// Write a configuration that says what each setting is for, all of them at their defaults
    #[command(after_help = "Examples:\n  dynemix config init --out node.toml\n\nDefaults stand in it as comments.")]
    Init {
        /// Where to write it; a file that exists is not overwritten
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        out: PathBuf,
    },
    /// Check a configuration, all layers together, and the genesis and key files that it names
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
                write_once(&out, &commented_file(), "")?;
                say!("written to {}", out.display())?;
                Ok(())
            }
            ConfigVerb::Check { config } => {
                let layered = config.load()?;
                let worries = worries(&layered)?;
                worries.iter().for_each(|worry| note!("dynemix: {worry}"));
                say!(
                    "{}",
                    if worries.is_empty() { "good" } else { "the settings are good; not yet there: see above" }
                )?;
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

/// Places of the configuration that are written with a name, and by which setting.
fn named_places(config: &Config) -> Result<Vec<(&'static str, HostPort)>, ConfigError> {
    let Names { peers, public } = config.names()?;
    let peers = peers.into_iter().map(|(_, at)| ("network.peers", at));
    let all = peers.chain(public.map(|at| ("network.public", at)));
    Ok(all.filter(|(_, at)| at.numeric().is_none()).collect())
}

/// What is to be known of the key file: whose it is, or what is wrong with it.
fn key_file(layered: &Layered) -> Result<String, String> {
    let path = layered.beside.join(&layered.config.minting.keystore);
    match keystore::public(&path) {
        Ok((SecretKind::Minting, public)) => Ok(format!("{}: transport key {}..", path.display(), &public[..16])),
        Ok((SecretKind::Owner, _)) => Err(format!(
            "minting.keystore: {} is an owner's key, which never comes to a node: make a node's with `dynemix keys new`",
            path.display()
        )),
        Err(error) => Err(format!("minting.keystore: {error}")),
    }
}

/// What a node of this configuration may come to in memory, if there is room for it.
fn room_for(layered: &Layered, genesis: &Genesis) -> Result<String, String> {
    let config = &layered.config;
    let memory_bytes = memory::limit(config.memory.limit_bytes);
    let topology = Topology::of(&Given {
        memory: memory_bytes,
        network: memory::budget(config.network.memory_bytes, memory_bytes) as u64,
        api: bytes_held(&config.api),
        keys: config.storage.key_cache_keys,
        accounts: genesis.accounts_max,
        verify_threads: config.verification.threads(),
        parameters: &genesis.chain.parameters,
    });
    let topology = topology.map_err(|error| error.to_string())?;
    memory::has_room(topology.bytes(), &topology).map_err(|error| error.to_string())?;
    Ok(format!("{} at most", bytes(topology.bytes())))
}

/// What a node would need beside good settings and has not yet; what is there and wrong is an error.
fn worries(layered: &Layered) -> Result<Vec<String>, Box<dyn Error>> {
    let (config, mut worries) = (&layered.config, Vec::new());
    match GenesisFile::read(&layered.beside.join(&config.genesis)) {
        Err(GenesisFileError::Read { path, source }) if source.kind() == ErrorKind::NotFound => {
            worries.push(format!("genesis: there is no {}", path.display()));
        }
        file => drop(room_for(layered, &file?.genesis()?)?),
    }
    if config.minting.enabled {
        let path = layered.beside.join(&config.minting.keystore);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                worries.push(format!("minting.keystore: there is no {}: `dynemix keys new` makes one", path.display()));
            }
            _ => drop(key_file(layered)?),
        }
    }
    for (setting, at) in named_places(config)? {
        if let Err(error) = at.addresses() {
            worries.push(format!("{setting}: {at} has no address at this moment ({error}); a node asks again"));
        }
    }
    worries.extend(config.api_listen()?.filter(is_open).map(|place| open_to_all(&place)));
    Ok(worries)
}

/// Whether others than this computer reach a place.
fn is_open(place: &HostPort) -> bool {
    place.address().is_ok_and(|address| !address.ip().is_loopback())
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

impl Findings {
    fn find(&mut self, what: &'static str, good: bool, found: String) {
        self.findings.push(Finding { what, good, found });
    }

    /// What is found of something that either is as it should be, or is wrong in these words.
    fn found(&mut self, what: &'static str, found: Result<String, String>) {
        self.find(what, found.is_ok(), found.unwrap_or_else(|error| error));
    }

    fn computer(&mut self) {
        let cores = machine::cores();
        self.find("processor", cores >= 2, format!("{} with {cores} cores", machine::cpu_model()));
        let best = Simd::best();
        let lanes = format!("{} in each batch of {} lanes", best.name(), best.lanes());
        self.find("signatures", best != Simd::Portable, lanes);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let shown = limit.map_or("no limit".into(), |limit| format!("{limit} at most; 4096 are wanted"));
        self.find("open files", limit.is_none_or(|limit| limit >= 4_096), shown);
    }

    /// The chain and what a node of it may come to; where it keeps everything.
    fn chain(&mut self, layered: &Layered) -> PathBuf {
        let genesis = GenesisFile::read(&layered.beside.join(&layered.config.genesis)).and_then(|file| file.genesis());
        match genesis {
            Ok(genesis) => {
                let hash = &genesis.chain.genesis_hash;
                self.find("genesis", true, format!("chain {}..", hex::encode(&hash[..8])));
                self.found("memory", room_for(layered, &genesis));
                data_directory(layered, hash)
            }
            Err(error) => {
                self.find("genesis", false, error.to_string());
                let data = &layered.config.data;
                if data.as_os_str().is_empty() { data_home() } else { layered.beside.join(data) }
            }
        }
    }

    fn network(&mut self, config: &Config, running: bool) -> Result<(), ConfigError> {
        for (what, place) in [("peers' port", config.listen()?), ("API's port", config.api_listen()?)] {
            let Some(place) = place else { continue };
            self.found(
                what,
                match place.address().and_then(TcpListener::bind) {
                    Ok(_) => Ok(format!("{place} is free")),
                    Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
                        Ok(format!("{place} is held, by the node that runs here or by another program"))
                    }
                    Err(error) => Err(format!("{place}: {error}")),
                },
            );
        }
        for (setting, at) in named_places(config)? {
            let found = at.addresses().map_err(|error| format!("{at}: {error}"));
            self.found(setting, found.map(|found| format!("{at} is {}", found[0])));
        }
        Ok(())
    }

    fn disk(&mut self, config: &Config, directory: &Path) -> Result<(), Box<dyn Error>> {
        let directory = std::path::absolute(directory)?;
        let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let writable = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK);
        let writable = writable.map_err(|error| format!("{}: {error}", there.display()));
        self.found("data", writable.map(|()| format!("{} can be written", directory.display())));
        let status = rustix::fs::statvfs(there).map_err(|error| format!("{}: {error}", there.display()))?;
        let free = status.f_bavail.saturating_mul(status.f_frsize);
        let wanted = config.storage.limit_bytes.saturating_add(config.storage.watermark_bytes);
        let shown = format!("{} free, {} may be used; storage.limit_bytes says how much", bytes(free), bytes(wanted));
        self.find("disk", free >= wanted, shown);
        self.found("writing", writing(there));
        Ok(())
    }

    fn clock(&mut self, config: &Config) {
        if config.clock.source != "sntp" {
            self.find("clock", true, "taken from the computer, as on a devnet".into());
            return;
        }
        let answers = ask_all(&config.clock.servers);
        let mut offsets: Vec<i64> = answers.iter().filter_map(|answer| answer.1).collect();
        let offset = agreed(&mut offsets, answers.len(), config.clock.bound_ms);
        let good = offset.is_some_and(|offset| offset.abs() <= config.clock.bound_ms);
        let few = || format!("only {} of {} time servers answer and agree", offsets.len(), answers.len());
        self.find("clock", good, offset.map_or_else(few, |offset| format!("off by {offset} ms")));
    }
}

/// How fast a folder's disk takes what has to be on it: a vote goes out when it is, and a block is some megabytes.
fn writing(there: &Path) -> Result<String, String> {
    const SYNCS: usize = 16;
    const BLOCK_BYTES: usize = 8 << 20;
    /// A slot of ten seconds has some for all votes together.
    const SYNC_MAX_MS: f64 = 100.0;
    let failed = |error: io::Error| format!("{}: {error}", there.display());
    let mut file = tempfile::tempfile_in(there).map_err(failed)?;
    let mut write = |bytes: usize| {
        let begun = Instant::now();
        file.write_all(&vec![0x5a; bytes]).and_then(|()| file.sync_data()).map_err(failed)?;
        Ok::<_, String>(begun.elapsed().as_secs_f64() * 1e3)
    };
    let mut syncs = (0..SYNCS).map(|_| write(4_096)).collect::<Result<Vec<_>, _>>()?;
    syncs.sort_by(f64::total_cmp);
    let (median, block_ms) = (syncs[SYNCS / 2], write(BLOCK_BYTES)?);
    let found = format!(
        "{median:.1} ms until a vote is on the disk ({:.1} at worst of {SYNCS}), {block_ms:.0} ms for 8 MiB",
        syncs[SYNCS - 1]
    );
    if median <= SYNC_MAX_MS { Ok(found) } else { Err(format!("{found}: too slow to mint by")) }
}

impl DoctorArgs {
    pub(crate) fn run(&self) -> Done {
        let layered = self.config.load()?;
        let config = &layered.config;
        let mut all = Findings { findings: Vec::new() };
        all.computer();
        let directory = all.chain(&layered);
        let running = ask::<StatusShown>(&directory, &AdminRequest::Status { blocks: 0 }).is_ok();
        all.find("node", true, if running { "runs here" } else { "none runs here now" }.into());
        all.network(config, running)?;
        if config.minting.enabled {
            all.found("keys", key_file(&layered));
        }
        all.disk(config, &directory)?;
        all.clock(config);
        let bad = all.findings.iter().filter(|finding| !finding.good).count();
        self.output.show(&all)?;
        match bad {
            0 => Ok(()),
            1 => Err("one thing is not good".into()),
            _ => Err(format!("{bad} things are not good").into()),
        }
    }
}
