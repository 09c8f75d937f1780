//! `dynemix state`: what a store holds of accounts, for people and programs.

use super::args::{StoreArg, open_any};
use super::output::{OutputArgs, Shown, dynes};
use clap::Subcommand;
use dynemix::setup::address::key_of_any;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::base::hash::Hash;
use dynemix_perf::report::{bar, bytes, facts, grouped, note, table};
use dynemix_storage::{Disk, FORMAT_VERSION, Finding, RealDisk, Scrubber, StoreError};
use serde::Serialize;
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

type Shows<T> = Result<T, Box<dyn Error>>;

#[derive(Debug, Subcommand)]
pub(crate) enum StateVerb {
    /// Heights, sizes and files
    #[command(after_help = "\
Examples:
  dynemix state inspect --store ~/dynemix
  dynemix state inspect --store ~/dynemix --json")]
    Inspect {
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// One account, with the proof of it
    #[command(after_help = "Examples:\n  dynemix state get 3b6a...da29 --store ~/dynemix --json")]
    Get {
        /// The account's address or key
        #[arg(value_parser = key_of_any)]
        key: Hash,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check every byte of every file, and the state's root
    #[command(after_help = "\
Examples:
  dynemix state verify --store ~/dynemix

Exit code 3 when something is damaged; it is named.")]
    Verify {
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl StateVerb {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Shows<()> {
        match self {
            StateVerb::Inspect { store, output } => output.show(&inspect(&store.directory())?),
            StateVerb::Get { key, store, output } => output.show(&get(&store.directory(), &key)?),
            StateVerb::Verify { store, output } => {
                let verification = verify(&store.directory())?;
                output.show(&verification)?;
                verification.outcome(&store.directory())
            }
        }
    }
}

#[derive(Serialize)]
struct FileRow {
    name: String,
    bytes: u64,
}

/// What `state inspect` tells.
#[derive(Serialize)]
pub(crate) struct StateInspection {
    store: String,
    format_version: u32,
    chain: String,
    height: u64,
    slot: u64,
    state_root: String,
    accounts: u64,
    accounts_max: u64,
    supply_units: String,
    pool_units: u64,
    checkpoint_height: u64,
    blocks_replayed: u64,
    blocks_first: u64,
    blocks_last: u64,
    bytes_total: u64,
    regions: Vec<FileRow>,
    files: Vec<FileRow>,
    fell_back: Option<String>,
}

/// Looks at a store that no process has open.
pub(crate) fn inspect(directory: &Path) -> Shows<StateInspection> {
    let opened = open_any(directory)?;
    let header = *opened.state.header();
    let accounts_max = opened.state.columns().hot.len() as u64;
    let (records, keeper) = (opened.store.records(), opened.store.keeper());
    let row = |(name, bytes): (String, u64)| FileRow { name, bytes };
    let files: Vec<_> = RealDisk::existing(directory)?.files()?.into_iter().map(row).collect();
    let regions = StateLayout::new(accounts_max as u32).columns().map(|(name, bytes)| row((name.to_owned(), bytes)));
    Ok(StateInspection {
        store: directory.display().to_string(),
        format_version: FORMAT_VERSION,
        chain: hex::encode(keeper.chain()),
        height: header.height,
        slot: header.slot,
        state_root: hex::encode(header.root),
        accounts: header.accounts,
        accounts_max,
        supply_units: opened.state.supply().to_string(),
        pool_units: header.pool,
        checkpoint_height: keeper.checkpoint_record(),
        blocks_replayed: header.height - opened.behind.header().height,
        blocks_first: records.first(),
        blocks_last: records.last(),
        bytes_total: files.iter().map(|file| file.bytes).sum(),
        regions: regions.into(),
        files,
        fell_back: opened.fell_back.map(|error| error.to_string()),
    })
}

impl Shown for StateInspection {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("store", format!("{}, format version {}", self.store, self.format_version)),
            ("chain", self.chain.clone()),
            ("height", format!("{}, slot {}", grouped(self.height), grouped(self.slot))),
            ("state root", self.state_root.clone()),
            ("accounts", format!("{} of {}", grouped(self.accounts), grouped(self.accounts_max))),
            ("supply", format!("{} dynes", self.supply_units.parse().map_or(self.supply_units.clone(), dynes))),
            (
                "checkpoint",
                format!(
                    "height {}, {} blocks replayed behind it",
                    grouped(self.checkpoint_height),
                    self.blocks_replayed
                ),
            ),
            (
                "blocks",
                if self.blocks_last >= self.blocks_first {
                    format!("{} to {}", grouped(self.blocks_first), grouped(self.blocks_last))
                } else {
                    "none yet".into()
                },
            ),
        ]);
        if let Some(error) = &self.fell_back {
            text.push('\n');
            text.push_str(&note(&format!("the newest image was damaged, the older one was taken: {error}")));
        }
        let rows = |rows: &[FileRow]| -> Vec<Vec<String>> {
            rows.iter().map(|row| vec![row.name.clone(), grouped(row.bytes), bytes(row.bytes)]).collect()
        };
        text.push('\n');
        text.push_str(&table(&["region of an image", "bytes", ""], &rows(&self.regions)));
        text.push('\n');
        let mut files = rows(&self.files);
        files.push(vec!["all".into(), grouped(self.bytes_total), bytes(self.bytes_total)]);
        text.push_str(&table(&["file", "bytes", ""], &files));
        text
    }
}

/// What `state get` tells.
#[derive(Serialize)]
pub(crate) struct AccountShown {
    key: String,
    account: u32,
    balance_units: u64,
    balance_dynes: String,
    sequence: u32,
    last_active_slot: u32,
    height: u64,
    state_root: String,
    proof_bytes: usize,
    proof: String,
}

/// One account and the proof of it, checked.
pub(crate) fn get(directory: &Path, key: &[u8; 32]) -> Shows<AccountShown> {
    let opened = open_any(directory)?;
    let header = *opened.state.header();
    let account = opened
        .state
        .find(key)
        .ok_or_else(|| format!("no account has the key {} at height {}", hex::encode(key), header.height))?;
    let proof = opened.state.prove(account).expect("an account that was found is in use");
    let (proved, hot) = proof.verify(&header.root)?;
    if proved != *key {
        return Err("the state's tree holds another key for this account".into());
    }
    let proof = proof.encode();
    Ok(AccountShown {
        key: hex::encode(key),
        account,
        balance_units: hot.balance,
        balance_dynes: dynes(hot.balance),
        sequence: hot.sequence,
        last_active_slot: hot.last_active_slot,
        height: header.height,
        state_root: hex::encode(header.root),
        proof_bytes: proof.len(),
        proof: hex::encode(&proof),
    })
}

impl Shown for AccountShown {
    fn text(&self) -> String {
        facts(&[
            ("key", self.key.clone()),
            ("account", grouped(self.account.into())),
            ("balance", format!("{} dynes", self.balance_dynes)),
            ("next sequence", self.sequence.to_string()),
            ("last active slot", grouped(self.last_active_slot.into())),
            ("height", grouped(self.height)),
            ("state root", self.state_root.clone()),
            ("proof", format!("{} bytes, leads to this root (in --json)", grouped(self.proof_bytes as u64))),
        ])
    }
}

#[derive(Serialize)]
struct FindingRow {
    file: String,
    offset: u64,
    what: String,
    spare: bool,
}

/// What `state verify` tells.
#[derive(Serialize)]
pub(crate) struct Verification {
    store: String,
    bytes: u64,
    findings: Vec<FindingRow>,
    /// Root of the tree rebuilt from the columns; none when the store does not open.
    rebuilt_root: Option<String>,
    state_root: Option<String>,
    height: Option<u64>,
    /// Why it does not open.
    open_error: Option<String>,
    damaged: bool,
}

/// Looks at every byte of every file, then rebuilds the state's tree from its columns.
pub(crate) fn verify(directory: &Path) -> Shows<Verification> {
    let disk = Arc::new(RealDisk::existing(directory)?);
    let findings: Vec<Finding>;
    let total;
    {
        let _lock = disk.lock()?;
        let scrubber = Scrubber::everything(disk)?;
        total = scrubber.progress().1;
        let bar = bar(std::io::stderr().is_terminal(), total, "bytes checked");
        findings = scrubber.run(|done, _| bar.set_position(done))?;
        bar.finish_and_clear();
    }
    let mut damaged = findings.iter().any(|finding| !finding.spare);
    let (mut rebuilt_root, mut state_root, mut height, mut open_error) = (None, None, None, None);
    match open_any(directory) {
        Ok(mut opened) => {
            let header = *opened.state.header();
            let rebuilt = opened.state.rebuild_tree();
            damaged |= rebuilt != header.root;
            (rebuilt_root, state_root, height) =
                (Some(hex::encode(rebuilt)), Some(hex::encode(header.root)), Some(header.height));
        }
        Err(error) if damaged => {
            open_error = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    let row = |Finding { file, offset, what, spare }| FindingRow { file, offset, what, spare };
    Ok(Verification {
        store: directory.display().to_string(),
        bytes: total,
        findings: findings.into_iter().map(row).collect(),
        rebuilt_root,
        state_root,
        height,
        open_error,
        damaged,
    })
}

impl Verification {
    /// What the process ends with, after the report was shown.
    pub(crate) fn outcome(&self, directory: &Path) -> Shows<()> {
        match self.findings.iter().find(|finding| !finding.spare) {
            _ if !self.damaged => Ok(()),
            Some(first) => {
                let (path, what) = (directory.join(&first.file), first.what.clone());
                Err(StoreError::Damaged { path, offset: first.offset, what }.into())
            }
            None => {
                let what = "the tree rebuilt from the columns has another root".into();
                Err(StoreError::Damaged { path: directory.to_owned(), offset: 0, what }.into())
            }
        }
    }
}

impl Shown for Verification {
    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let kind = if finding.spare { "note" } else { "DAMAGED" };
            text.push_str(&format!("  {kind:<8} {} at byte {}: {}\n", finding.file, finding.offset, finding.what));
        }
        if !self.findings.is_empty() {
            text.push('\n');
        }
        let opened = match (&self.rebuilt_root, self.height) {
            (Some(root), Some(height)) => format!("height {}, root rebuilt from the columns {root}", grouped(height)),
            _ => format!("does not open: {}", self.open_error.as_deref().unwrap_or_default()),
        };
        let verdict = if self.damaged { "DAMAGED" } else { "every byte is what was written" };
        text.push_str(&facts(&[
            ("store", self.store.clone()),
            ("checked", bytes(self.bytes)),
            ("state", opened),
            ("verdict", verdict.into()),
        ]));
        text
    }
}
