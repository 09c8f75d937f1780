//! The files of a devnet.

use super::hints::{command, quoted};
use super::ports::{PORT_END, PORT_FIRST, Ports};
use crate::peer::frames::prologue;
use crate::setup::address::DEVNET_PREFIX;
use crate::setup::config::Config;
use crate::setup::genesis::{AccountEntry, GENESIS_VERSION, GenesisFile, LoadAccounts, MinterEntry};
use crate::setup::keystore::{self, Cost, KeystoreError, SecretKind};
use dynemix_engine::base::parameters::{ChainParameters, ConsensusParameters, DYNE, SubSlots};
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_net::mesh::{LinkShape, Target, public_key};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The passphrase of all devnet keys: they protect nothing.
pub const PASSPHRASE: &str = "devnet";
/// Users with names that people can play with.
pub const USERS: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
/// Dynes of each user, minter and load account.
const USER_BALANCE: u64 = 1_000_000 * DYNE;
const LOAD_BALANCE: u64 = 100_000 * DYNE;
const STAKE: u64 = 1_000_000 * DYNE;
/// Nodes of a devnet at most.
pub const NODES_MAX: u32 = 400;
/// Shards that may be asked for.
pub const SHARDS_MAX: u32 = 400;
/// The longest slot, ten minutes.
pub const SLOT_MS_MAX: u64 = 600_000;
/// Accounts of a load at most: so many have something at genesis.
pub const ACCOUNTS_MAX: u64 = 10_000_000;
/// What a line within one computer carries at least, bytes a second.
const LOOPBACK_BYTES_PER_S: u64 = 125_000_000;
/// The least that a chain may expect of a line: 1 Mbit/s.
const LINE_BYTES_PER_S_MIN: u64 = 125_000;
/// What the keys of load accounts follow from.
const LOAD_SEED: u64 = 645;

/// What a devnet was made as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DevnetShape {
    /// Nodes, each a minter.
    pub nodes: u32,
    /// Shards at most; ten nodes make one.
    pub shards: u32,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Whether patches travel instead of blocks.
    pub quilt: bool,
    /// Accounts for loads.
    pub load_accounts: u64,
    /// The line between nodes.
    pub link: String,
    /// One more minter has a stake, and no node.
    #[serde(default)]
    pub liar: bool,
    /// Vector instructions that the nodes verify with, as in their configuration.
    #[serde(default = "any_simd")]
    pub simd: String,
}

/// The best that the computer has.
pub fn any_simd() -> String {
    "auto".into()
}

fn made() -> bool {
    true
}

/// A devnet on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Devnet {
    /// Version of this file.
    pub format: u32,
    /// What it was made as.
    pub shape: DevnetShape,
    /// When slot 0 began, milliseconds since 1970.
    pub start_ms: u64,
    /// Peers' port of the first node; the others follow.
    pub peer_port: u16,
    /// API's port of the first node; the others follow.
    pub api_port: u16,
    /// Processes that were started last.
    pub pids: Vec<u32>,
    /// Whether all of its files were made: else whoever made it was interrupted, and nothing ran yet.
    #[serde(default = "made")]
    pub made: bool,
    /// Nobody else is given the ports of a devnet that was made by this process.
    #[serde(skip)]
    pub ports: Option<Arc<Ports>>,
    /// The same of the API's, where they were chosen for a run.
    #[serde(skip)]
    pub api_ports: Option<Arc<Ports>>,
}

/// Why a devnet cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory that the system was asked for.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A key file cannot be made.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// There is none.
    #[error("{} holds no devnet; `{}` makes one", .0.display(), command("devnet up", .0))]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("{} is damaged, or of another version; `{}` removes that devnet",
        .0.join("devnet.json").display(), command("devnet reset", .0))]
    Form(PathBuf),
    /// Somebody's own files are there.
    #[error("{} is not empty and holds no devnet: nothing is put among the files of others; name another --dir, or \
        one that is empty or not there yet", .0.display())]
    Foreign(PathBuf),
    /// Something that runs does not stop.
    #[error("what runs in {} does not stop; {} of its nodes still run", .0.display(), .1)]
    Stuck(PathBuf, usize),
    /// No ports are free.
    #[error("no {0} free ports in a row between {PORT_FIRST} and {PORT_END}")]
    Ports(u32),
    /// A port that the chain's genesis names.
    #[error(
        "port {1} of node {0} is in use by another program; the chain knows the node by it, so that one has to end"
    )]
    Taken(u32, u16),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    let path = path.to_owned();
    move |source| LayoutError::Io { path, source }
}

/// 32 bytes that everyone can compute.
pub fn secret(purpose: &str, number: u64) -> [u8; 32] {
    *blake3::Hasher::new_derive_key("dynemix devnet secret v1")
        .update(purpose.as_bytes())
        .update(&number.to_le_bytes())
        .finalize()
        .as_bytes()
}

/// The secret of a user.
pub fn user_secret(name: &str) -> [u8; 32] {
    secret(name, 0)
}

fn write(path: &Path, text: &str) -> Result<(), LayoutError> {
    fs::write(path, text).map_err(failed(path))
}

impl Devnet {
    /// Makes the files of a devnet that begins at `start_ms`.
    ///
    /// # Errors
    /// Whatever the disk refuses, or no free ports.
    pub fn create(directory: &Path, shape: DevnetShape, start_ms: u64) -> Result<Devnet, LayoutError> {
        let ports = Ports::reserve(2 * shape.nodes).ok_or(LayoutError::Ports(2 * shape.nodes))?;
        let (peer_port, api_port) = (ports.first, ports.first + shape.nodes as u16);
        assert!(api_port + shape.nodes as u16 <= PORT_END, "{} nodes have two ports each of {ports:?}", shape.nodes);
        let ports = Some(Arc::new(ports));
        let mut devnet = Devnet {
            format: 1,
            shape,
            start_ms,
            peer_port,
            api_port,
            pids: Vec::new(),
            made: false,
            ports,
            api_ports: None,
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        // Known from the first file on: what is left of an interrupted one is made anew, or removed.
        devnet.save(directory)?;
        write(&directory.join("genesis.toml"), &devnet.genesis().text())?;
        for node in 0..devnet.shape.nodes {
            let at = devnet.node_directory(directory, node);
            fs::create_dir_all(at.join("keys")).map_err(failed(&at))?;
            let secrets = [secret("vote", node.into()), secret("transport", node.into())].concat();
            let public = hex::encode(public_key(&secret("transport", node.into())));
            keystore::create(
                &at.join("keys/minting.json"),
                SecretKind::Minting,
                &public,
                &secrets,
                PASSPHRASE,
                Cost::DEVNET,
            )?;
            devnet.write_config(directory, node)?;
        }
        devnet.made = true;
        devnet.save(directory)?;
        Ok(devnet)
    }

    /// Writes what changes: the processes and the API's ports. A full disk leaves what was there.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn save(&self, directory: &Path) -> Result<(), LayoutError> {
        let text = serde_json::to_string_pretty(self).expect("plain fields");
        let path = directory.join("devnet.json");
        let written = tempfile::NamedTempFile::new_in(directory)
            .and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file))
            .and_then(|file| file.persist(&path).map_err(io::Error::from));
        written.map(|_: File| ()).map_err(failed(&path))
    }

    /// Whether a directory may be given to a devnet: there is one, or nothing.
    ///
    /// # Errors
    /// When somebody's own files are there.
    pub fn may_be_in(directory: &Path) -> Result<(), LayoutError> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed(directory))?,
        };
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        // Whoever has the lock and has made nothing yet was interrupted; `scratch.lock` is a temporary directory's.
        let is_empty = names.iter().all(|name| ["lock", "stop", "scratch.lock"].iter().any(|own| name == own));
        if is_empty || names.iter().any(|name| name == "devnet.json") {
            return Ok(());
        }
        Err(LayoutError::Foreign(directory.to_owned()))
    }

    /// Gives the API its ports for a run: from the one that is wished for on, if they are free; else where it was; else
    /// where there are some.
    ///
    /// # Errors
    /// When none are free, or the disk refuses.
    pub fn move_api(&mut self, directory: &Path, wish: u16) -> Result<(), LayoutError> {
        let nodes = self.shape.nodes as u16;
        let found = Ports::fixed(wish, nodes).or_else(|| Ports::fixed(self.api_port, nodes));
        let found = found.or_else(|| Ports::reserve(nodes.into())).ok_or(LayoutError::Ports(nodes.into()))?;
        let moved = self.api_port != found.first;
        self.api_port = found.first;
        self.api_ports = Some(Arc::new(found));
        if !moved {
            return Ok(());
        }
        for node in 0..self.shape.nodes {
            let path = self.node_directory(directory, node).join("node.toml");
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            let mut config: toml::Table =
                toml::from_str(&text).map_err(|error| failed(&path)(io::Error::other(error)))?;
            let api = config.entry("api").or_insert_with(|| toml::Table::new().into());
            if let Some(api) = api.as_table_mut() {
                api.insert("listen".into(), self.api_address(node).to_string().into());
            }
            write(&path, &toml::to_string(&config).expect("it was read as such"))?;
        }
        self.save(directory)
    }

    /// Looks whether the ports that the chain knows its nodes by are free.
    ///
    /// # Errors
    /// With the first that is not.
    pub fn peer_ports_free(&self) -> Result<(), LayoutError> {
        let taken = |node: &u32| TcpListener::bind(self.peer_address(*node)).is_err();
        match (0..self.shape.nodes).find(taken) {
            Some(node) => Err(LayoutError::Taken(node, self.peer_address(node).port())),
            None => Ok(()),
        }
    }

    /// Writes what a shell can read to use this devnet: `. DIR/env`.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn write_env(&self, directory: &Path) -> Result<(), LayoutError> {
        let genesis = directory.join("genesis.toml");
        let (node, genesis) = (self.api_address(0), quoted(&genesis.to_string_lossy()));
        let text = format!("export DYNEMIX_NODE=http://{node}/\nexport DYNEMIX_GENESIS={genesis}\n");
        write(&directory.join("env"), &text)
    }

    /// Reads a devnet.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(directory: &Path) -> Result<Devnet, LayoutError> {
        let path = directory.join("devnet.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayoutError::Missing(directory.to_owned()));
            }
            text => text.map_err(failed(&path))?,
        };
        serde_json::from_slice(&text).ok().filter(Devnet::can_be).ok_or(LayoutError::Form(directory.to_owned()))
    }

    /// Whether this program could have made it: the file may come from elsewhere.
    fn can_be(&self) -> bool {
        let DevnetShape { nodes, shards, slot_ms, load_accounts, link, .. } = &self.shape;
        let ends = |first: u16| u32::from(first) + nodes;
        self.format == 1
            && (1..=NODES_MAX).contains(nodes)
            && (1..=SHARDS_MAX).contains(shards)
            && (1..=SLOT_MS_MAX).contains(slot_ms)
            && *load_accounts <= ACCOUNTS_MAX
            && (link.is_empty() || link.parse::<LinkShape>().is_ok())
            && [self.peer_port, self.api_port].into_iter().all(|port| ends(port) <= 1 << 16)
    }

    /// Writes the configuration of a node.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn write_config(&self, directory: &Path, node: u32) -> Result<(), LayoutError> {
        let text = toml::to_string(&self.config(node)).expect("plain fields");
        write(&self.node_directory(directory, node).join("node.toml"), &text)
    }

    /// Where a node's files are.
    pub fn node_directory(&self, directory: &Path, node: u32) -> PathBuf {
        directory.join(format!("node{node:02}"))
    }

    /// Where a node keeps its data.
    pub fn data_directory(&self, directory: &Path, node: u32) -> PathBuf {
        self.node_directory(directory, node).join("data")
    }

    /// What a node writes to its screen.
    pub fn log_path(&self, directory: &Path, node: u32) -> PathBuf {
        self.node_directory(directory, node).join("screen.log")
    }

    fn peer_address(&self, node: u32) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.peer_port + node as u16).into()
    }

    /// Where a node's API listens.
    pub fn api_address(&self, node: u32) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.api_port + node as u16).into()
    }

    /// How a node is called.
    pub fn target(&self, node: u32) -> Target {
        Target { key: public_key(&secret("transport", node.into())), address: self.peer_address(node) }
    }

    /// What both sides of a handshake agree on.
    pub fn prologue(&self) -> Vec<u8> {
        let genesis = self.genesis().genesis().expect("made by this program");
        prologue(&genesis.chain.genesis_hash)
    }

    /// The genesis file.
    pub fn genesis(&self) -> GenesisFile {
        let DevnetShape { nodes, shards, slot_ms, quilt, load_accounts, liar, .. } = self.shape;
        let minters = nodes + u32::from(liar);
        let line: LinkShape = self.shape.link.parse().unwrap_or_default();
        let consensus = ConsensusParameters {
            seats: minters,
            shards_max: shards,
            // TOML has no larger number.
            quilt_from_height: if quilt { 0 } else { i64::MAX as u64 },
            // Each hundredth transaction of a load opens an account.
            accounts_max: load_accounts + load_accounts / 8 + u64::from(minters) + 100_000,
            sub_slots: if self.shape.link.is_empty() { SubSlots::LOCAL } else { SubSlots::HOME },
            // On a slower line than that there is no time to look for any block: tried all the same.
            line_bytes_per_s: line.rate_bytes.map_or(LOOPBACK_BYTES_PER_S, |rate| rate.max(LINE_BYTES_PER_S_MIN)),
            ..ConsensusParameters::default()
        };
        let minter = |node: u32| {
            let owner = SigningKey::from_bytes(&secret("owner", node.into())).verifying_key().to_bytes();
            let (vote_key, possession) = BlsSigning::key_and_possession(&secret("vote", node.into()), &owner);
            MinterEntry {
                name: format!("minter{node}"),
                account: hex::encode(owner),
                balance: USER_BALANCE,
                stake: STAKE,
                vote_key: hex::encode(vote_key),
                possession: hex::encode(possession),
                transport_key: hex::encode(public_key(&secret("transport", node.into()))),
                address: Some(self.peer_address(node)).filter(|_| node < nodes),
            }
        };
        let user = |name: &&str| {
            let key = hex::encode(SigningKey::from_bytes(&user_secret(name)).verifying_key().as_bytes());
            AccountEntry { key, balance: USER_BALANCE }
        };
        GenesisFile {
            format: GENESIS_VERSION,
            address_prefix: DEVNET_PREFIX.into(),
            parameters: ChainParameters { start_ms: self.start_ms, slot_ms, consensus, ..ChainParameters::default() },
            minters: (0..minters).map(minter).collect(),
            accounts: USERS.iter().map(user).collect(),
            load_accounts: (load_accounts > 0).then_some(LoadAccounts {
                seed: LOAD_SEED,
                count: load_accounts,
                balance: LOAD_BALANCE,
            }),
        }
    }

    fn config(&self, node: u32) -> Config {
        let mut config = Config { genesis: "../genesis.toml".into(), data: "data".into(), ..Config::default() };
        config.network.listen = self.peer_address(node).to_string();
        config.network.public = config.network.listen.clone();
        config.network.link.clone_from(&self.shape.link);
        config.minting.enabled = true;
        config.minting.account =
            hex::encode(SigningKey::from_bytes(&secret("owner", node.into())).verifying_key().as_bytes());
        config.clock.source = "system".into();
        // Nodes beside each other have no slow lines, unless they are given some.
        config.network.hints = self.shape.link.is_empty();
        config.verification.simd.clone_from(&self.shape.simd);
        config.api.listen = self.api_address(node).to_string();
        // A devnet that is forgotten must not fill the disk.
        config.storage.limit_bytes = (512 << 20) + 400 * (self.shape.load_accounts + 100_000);
        config.storage.segment_bytes = 16 << 20;
        config.storage.checkpoint_bytes = 64 << 20;
        config.storage.window_blocks = 2_048;
        config.storage.watermark_bytes = 256 << 20;
        let keys_max = config.storage.key_cache_keys;
        config.storage.key_cache_keys = (self.shape.load_accounts as usize * 5 / 4).clamp(1 << 12, keys_max);
        config.log.file_bytes = 4 << 20;
        config.log.files = 2;
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_this_program_could_not_have_made_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let shape = DevnetShape {
            nodes: 1,
            shards: 1,
            slot_ms: 1_000,
            quilt: true,
            load_accounts: 0,
            link: String::new(),
            liar: false,
            simd: any_simd(),
        };
        let devnet = Devnet::create(directory.path(), shape, 0).unwrap();
        assert!(Devnet::read(directory.path()).unwrap().made);
        let changes: [fn(&mut Devnet); 6] = [
            |devnet| devnet.shape.nodes = u32::MAX,
            |devnet| devnet.shape.slot_ms = 0,
            |devnet| devnet.shape.load_accounts = u64::MAX,
            |devnet| devnet.shape.link = "fast".into(),
            |devnet| (devnet.shape.nodes, devnet.peer_port) = (2, u16::MAX),
            |devnet| devnet.format = 2,
        ];
        for change in changes {
            let mut changed = devnet.clone();
            change(&mut changed);
            changed.save(directory.path()).unwrap();
            assert!(matches!(Devnet::read(directory.path()), Err(LayoutError::Form(_))), "{changed:?}");
        }
    }
}
