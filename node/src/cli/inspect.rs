//! `dynemix state` and `dynemix block`: what a store holds, for people and programs.

use super::bench::Shown;
use dynemix::keep::record::{BlockKeys, BlockRecord};
use dynemix::keep::open::{OpenedState, open};
use dynemix_bench::apply::hex;
use dynemix_bench::report::{bar, bytes, facts, grouped, table};
use dynemix_engine::block::ShardBlock;
use dynemix_engine::cell::payload_outputs;
use dynemix_engine::chain::{DYNE, transaction_prefix};
use dynemix_engine::quilt::Quilt;
use dynemix_engine::state::StateLayout;
use dynemix_storage::{Disk, FORMAT_VERSION, Finding, RealDisk, Scrubber, StoreError, StoreOptions, Table, chain_of};
use serde::Serialize;
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

type Shows<T> = Result<T, Box<dyn Error>>;

/// Opens a store of whatever chain.
pub(crate) fn open_any(directory: &Path) -> Shows<OpenedState> {
    let disk = Arc::new(RealDisk::existing(directory)?);
    let chain = chain_of(&*disk)?;
    let options = StoreOptions { watermark_bytes: 0, window_records: u64::MAX, ..StoreOptions::default() };
    Ok(open(disk, chain, None, options)?)
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn parse_hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("'{text}' is not 64 hexadecimal digits");
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut out = [0; 32];
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(out)
}

/// Units as dynes with six decimals.
fn dynes(units: u64) -> String {
    format!("{}.{:06}", grouped(units / DYNE), units % DYNE)
}

#[derive(Serialize)]
struct FileRow {
    name: String,
    bytes: u64,
}

/// `state inspect`.
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
        chain: hex(&keeper.chain()),
        height: header.height,
        slot: header.slot,
        state_root: hex(&header.root),
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
            text.push_str(&format!("\n  the newest image was damaged, the older one was taken: {error}\n"));
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

/// `state get`.
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
        .ok_or_else(|| format!("no account has the key {} at height {}", hex(key), header.height))?;
    let proof = opened.state.prove(account).expect("an account that was found is in use");
    let (proved, hot) = proof.verify(&header.root)?;
    if proved != *key {
        return Err("the state's tree holds another key for this account".into());
    }
    let proof = proof.encode();
    Ok(AccountShown {
        key: hex(key),
        account,
        balance_units: hot.balance,
        balance_dynes: dynes(hot.balance),
        sequence: hot.sequence,
        last_active_slot: hot.last_active_slot,
        height: header.height,
        state_root: hex(&header.root),
        proof_bytes: proof.len(),
        proof: hex(&proof),
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

/// `state verify`.
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
            (rebuilt_root, state_root, height) = (Some(hex(&rebuilt)), Some(hex(&header.root)), Some(header.height));
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

#[derive(Serialize)]
struct TransactionRow {
    id: String,
    sender: String,
    recipient: String,
    amount_units: u64,
    sequence: u64,
    payload_bytes: usize,
}

#[derive(Serialize)]
struct ShardBlockRow {
    shard: u32,
    hash: String,
    transactions: u32,
    transactions_root: String,
    patch_hash: String,
}

impl ShardBlockRow {
    fn of(header: &ShardBlock) -> ShardBlockRow {
        ShardBlockRow {
            shard: header.shard,
            hash: hex(&header.hash()),
            transactions: header.transactions,
            transactions_root: hex(&header.transactions_root),
            patch_hash: hex(&header.patch_hash),
        }
    }
}

/// `block show`.
#[derive(Serialize)]
pub(crate) struct BlockShown {
    height: u64,
    slot: u64,
    parent_root: String,
    /// Transactions and records, those of service kinds included.
    transactions: u32,
    shard_blocks: Vec<ShardBlockRow>,
    record_bytes: usize,
    quilt_bytes: usize,
    debits: usize,
    credits: usize,
    created: usize,
    fees_units: u64,
    moved_units: String,
    /// None where the node does not keep transactions.
    transactions_kept: Option<Vec<TransactionRow>>,
}

/// One block from the log.
pub(crate) fn block(directory: &Path, height: u64) -> Shows<BlockShown> {
    let opened = open_any(directory)?;
    let payload = opened.store.records().read(height)?;
    let record = BlockRecord::decode(&payload)?;
    let mut quilt = Quilt::default();
    quilt.decode_into(record.quilt, opened.state.columns().hot.len())?;
    let prefix = transaction_prefix(&opened.store.keeper().chain());
    let transactions: Vec<_> = record
        .transactions()?
        .iter()
        .map(|(cell, payload)| TransactionRow {
            id: hex(&cell.id(&prefix)),
            sender: hex(&cell.sender),
            recipient: hex(&cell.recipient),
            amount_units: cell.amount,
            sequence: cell.sequence,
            payload_bytes: payload.len(),
        })
        .collect();
    let delta = &quilt.delta;
    let headers = record.headers()?;
    let items = headers.iter().map(|header| header.transactions).sum();
    Ok(BlockShown {
        height,
        slot: quilt.slot,
        parent_root: hex(&quilt.parent_root),
        transactions: items,
        shard_blocks: headers.iter().map(ShardBlockRow::of).collect(),
        record_bytes: payload.len(),
        quilt_bytes: record.quilt.len(),
        debits: delta.debits.len(),
        credits: delta.credits.len(),
        created: delta.created_keys.len(),
        fees_units: delta.fees,
        moved_units: delta.sums().0.to_string(),
        transactions_kept: (!transactions.is_empty() || items == 0).then_some(transactions),
    })
}

impl Shown for BlockShown {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("height", format!("{}, slot {}", grouped(self.height), grouped(self.slot))),
            ("parent state", self.parent_root.clone()),
            ("transactions", grouped(self.transactions.into())),
            (
                "quilt",
                format!(
                    "{} debits, {} credits, {} new accounts; {}",
                    grouped(self.debits as u64),
                    grouped(self.credits as u64),
                    grouped(self.created as u64),
                    bytes(self.quilt_bytes as u64)
                ),
            ),
            (
                "moved",
                format!(
                    "{} dynes, fees {}",
                    self.moved_units.parse().map_or(self.moved_units.clone(), dynes),
                    dynes(self.fees_units)
                ),
            ),
            ("record", bytes(self.record_bytes as u64)),
        ]);
        let short = |hash: &str| format!("{}..", &hash[..16]);
        let row = |row: &ShardBlockRow| {
            vec![
                row.shard.to_string(),
                short(&row.hash),
                grouped(row.transactions.into()),
                short(&row.transactions_root),
                short(&row.patch_hash),
            ]
        };
        text.push('\n');
        text.push_str(&table(
            &["shard", "block", "transactions", "their root", "patch"],
            &self.shard_blocks.iter().map(row).collect::<Vec<_>>(),
        ));
        match &self.transactions_kept {
            None => text.push_str("\n  this store keeps no transactions, only what they changed\n"),
            Some(rows) => {
                const SHOWN: usize = 20;
                let shown: Vec<_> = rows
                    .iter()
                    .take(SHOWN)
                    .map(|row| {
                        vec![
                            short(&row.id),
                            short(&row.sender),
                            short(&row.recipient),
                            row.sequence.to_string(),
                            dynes(row.amount_units),
                        ]
                    })
                    .collect();
                text.push('\n');
                text.push_str(&table(&["transaction", "sender", "recipient", "sequence", "dynes"], &shown));
                if rows.len() > SHOWN {
                    text.push_str(&format!(
                        "  ... and {} more (--json shows all)\n",
                        grouped((rows.len() - SHOWN) as u64)
                    ));
                }
            }
        }
        text
    }
}

#[derive(Serialize)]
struct FoundRow {
    height: u64,
    place: u32,
    id: String,
    sender: String,
    recipient: String,
    amount_units: u64,
}

/// `block find`.
#[derive(Serialize)]
pub(crate) struct Found {
    searched: String,
    blocks_first: u64,
    blocks_last: u64,
    found: Vec<FoundRow>,
}

/// The kept transactions of an id or an account, oldest first.
pub(crate) fn find(directory: &Path, key: &[u8; 32], table: Table) -> Shows<Found> {
    let opened = open_any(directory)?;
    let records = opened.store.records();
    let prefix = transaction_prefix(&opened.store.keeper().chain());
    let mut found = Vec::new();
    let occurrences = records.find(table, key, &BlockKeys { prefix })?;
    // Occurrences come block by block: each record is read once.
    for in_block in occurrences.chunk_by(|a, b| a.number == b.number) {
        let height = in_block[0].number;
        let bytes = records.read(height)?;
        let record = BlockRecord::decode(&bytes)?;
        let transactions = record.transactions()?;
        let mut places: Vec<_> = in_block.iter().map(|occurrence| occurrence.place).collect();
        places.dedup();
        for place in places {
            let Some((cell, payload)) = transactions.get(place as usize) else { continue };
            let id = cell.id(&prefix);
            // The index knows half of each key only, and an account may stand in the payload.
            let is_it = match table {
                Table::Transactions => id == *key,
                Table::Accounts => {
                    let paid = || payload_outputs(payload).any(|output| output.recipient == *key);
                    cell.sender == *key || cell.recipient == *key || paid()
                }
            };
            if is_it {
                let (id, sender, recipient) = (hex(&id), hex(&cell.sender), hex(&cell.recipient));
                found.push(FoundRow { height, place, id, sender, recipient, amount_units: cell.amount });
            }
        }
    }
    Ok(Found { searched: hex(key), blocks_first: records.first(), blocks_last: records.last(), found })
}

impl Shown for Found {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("searched", self.searched.clone()),
            ("blocks", format!("{} to {}", grouped(self.blocks_first), grouped(self.blocks_last))),
            ("found", grouped(self.found.len() as u64)),
        ]);
        if !self.found.is_empty() {
            const SHOWN: usize = 50;
            let short = |hash: &str| format!("{}..", &hash[..16]);
            let rows: Vec<_> = self
                .found
                .iter()
                .take(SHOWN)
                .map(|row| {
                    vec![
                        row.height.to_string(),
                        short(&row.id),
                        short(&row.sender),
                        short(&row.recipient),
                        dynes(row.amount_units),
                    ]
                })
                .collect();
            text.push('\n');
            text.push_str(&table(&["height", "transaction", "sender", "recipient", "dynes"], &rows));
            if self.found.len() > SHOWN {
                text.push_str(&format!(
                    "  ... and {} more (--json shows all)\n",
                    grouped((self.found.len() - SHOWN) as u64)
                ));
            }
        }
        text
    }
}
