//! What a power cut, a failing disk, a flipped bit or a cut file leaves: never less than what was acknowledged, never a
//! wrong byte. Real states over a disk in memory that can tear, fail and rot.
//!
//! `DYNEMIX_CRASH_IMAGES` says how many torn images are sampled (default 10 000).

use dynemix::exit;
use dynemix::keep::mapped::{MappedMemory, regions};
use dynemix::keep::open::{OpenError, OpenedState, apply_record, open};
use dynemix::keep::record::{self, BlockKeys};
use dynemix_engine::accounts::delta::{Changes, Delta};
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters};
use dynemix_engine::chain::block::{Final, Value};
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_storage::{CrashChoice, Disk, DiskFault, MemoryDisk, Scrubber, Store, StoreError, StoreOptions};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;

const ACCOUNTS: u64 = 600;
const ACCOUNTS_MAX: u32 = 1_000;
const BALANCE: u64 = 1_000_000_000;
const OPTIONS: StoreOptions =
    StoreOptions { segment_bytes: 24 << 10, window_records: 120, limit_bytes: u64::MAX, watermark_bytes: 0 };

/// SplitMix64: every run of a seed is the same.
struct Dice(SplitMix64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

fn key(number: u64) -> Key {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn genesis() -> Vec<(Key, u64)> {
    (0..ACCOUNTS).map(|number| (key(number), BALANCE)).collect()
}

fn chain() -> Chain {
    Chain::new(ChainParameters::default(), &genesis())
}

/// Balance and sequence by key.
type Accounts = BTreeMap<Key, (u64, u32)>;

/// The naive ledger: balance and sequence by key, at every height, beside the root that the state had.
struct Model {
    now: Accounts,
    keys: Vec<Key>,
    heights: Vec<(Accounts, Hash)>,
}

impl Model {
    /// Forgets what came after a height.
    fn go_back(&mut self, height: u64) {
        self.heights.truncate(height as usize + 1);
        self.now = self.heights[height as usize].0.clone();
        self.keys.truncate(self.now.len());
    }
}

/// A store on a disk in memory, with its model.
struct Bank {
    disk: MemoryDisk,
    opened: OpenedState,
    quilt: Quilt,
    dice: Dice,
}

fn dynamic(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Makes a store with the genesis accounts.
fn create(disk: &MemoryDisk) -> Result<OpenedState, OpenError> {
    let fill = |image| {
        let memory = MappedMemory::new(image);
        let state = State::genesis(memory, &genesis(), ACCOUNTS * BALANCE, HashSeed::from_number(1))?;
        Ok::<_, OpenError>(state.into_memory().into_image())
    };
    let specs = regions(StateLayout::new(ACCOUNTS_MAX));
    Store::create(&dynamic(disk), chain().genesis_hash, &specs, OPTIONS, 0, false, fill)?;
    reopen(disk)
}

fn reopen(disk: &MemoryDisk) -> Result<OpenedState, OpenError> {
    open(dynamic(disk), chain().genesis_hash, Some(ACCOUNTS_MAX), OPTIONS)
}

impl Bank {
    fn found(disk: &MemoryDisk, seed: u64) -> Result<(Bank, Model), OpenError> {
        let accounts = genesis();
        let opened = create(disk)?;
        disk.mark(0);
        let now: BTreeMap<_, _> = accounts.iter().map(|&(key, balance)| (key, (balance, 0))).collect();
        let heights = vec![(now.clone(), opened.state.header().root)];
        let model = Model { now, keys: accounts.iter().map(|account| account.0).collect(), heights };
        Ok((
            Bank {
                disk: disk.clone(),
                opened,
                quilt: Quilt::default(),
                dice: Dice(SplitMix64::from_seed(u64::to_le_bytes(seed))),
            },
            model,
        ))
    }

    /// A block of random transfers, through the log into the state, and into the model.
    fn block(&mut self, model: &mut Model) -> Result<(), OpenError> {
        let header = *self.opened.state.header();
        let dice = &mut self.dice;
        let mut debits = BTreeMap::new();
        let mut credits: BTreeMap<u32, u64> = BTreeMap::new();
        let mut created = BTreeMap::new();
        for _ in 0..1 + dice.below(30) {
            let (from, amount) = (dice.below(header.accounts) as u32, 1 + dice.below(50_000));
            if debits.contains_key(&from) || self.opened.state.hot(from).balance < amount {
                continue;
            }
            debits.insert(from, amount);
            if dice.below(12) == 0 && header.accounts + created.len() as u64 + 1 < u64::from(ACCOUNTS_MAX) {
                // Any bytes will do as a key here: quilts of the own log are not validated again.
                *created.entry(key(1_000_000 + dice.below(1_000_000))).or_insert(0) += amount;
            } else {
                *credits.entry(dice.below(header.accounts) as u32).or_insert(0) += amount;
            }
        }
        created.retain(|key, amount| {
            // A key that exists by now is credited instead.
            let there = self.opened.state.find(key);
            there.inspect(|&account| *credits.entry(account).or_insert(0) += *amount);
            there.is_none()
        });
        let columns = |changes: &BTreeMap<u32, u64>| Changes {
            accounts: changes.keys().copied().collect(),
            amounts: changes.values().copied().collect(),
        };
        let delta = Delta {
            debits: columns(&debits),
            credits: columns(&credits),
            created_keys: created.keys().copied().collect(),
            created_amounts: created.values().copied().collect(),
            fees: 0,
        };
        let quilt = Quilt {
            height: header.height + 1,
            slot: header.slot + 1 + dice.below(3),
            parent_root: header.root,
            delta,
            ..Quilt::default()
        };
        let (mut wire, mut bytes) = (Vec::new(), Vec::new());
        quilt.encode(&mut wire);
        // A block of no shard that nobody has certified: what it does is in its quilt.
        let value = Value {
            height: quilt.height,
            parent: [0; 32],
            slot: quilt.slot,
            headers: Vec::new(),
            quilt: Quilt::hash(&wire),
            parent_root: header.root,
            system: [0; 32],
            seed: [0; 32],
            committee_next: [0; 32],
        };
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let decided = Final { attempt: 0, hash: value.hash(), value: Arc::new(value), certificate };
        record::encode_master(&mut bytes, &decided, &[], &[], &wire).unwrap();
        let store = &mut self.opened.store;
        let number = store.append(&bytes)?;
        // The model knows what the record says before it is durable: a crash may keep it.
        for (&account, &amount) in &debits {
            let entry = model.now.get_mut(&model.keys[account as usize]).unwrap();
            *entry = (entry.0 - amount, entry.1 + 1);
        }
        for (&account, &amount) in &credits {
            model.now.get_mut(&model.keys[account as usize]).unwrap().0 += amount;
        }
        for (key, &amount) in &created {
            model.now.insert(*key, (amount, 0));
            model.keys.push(*key);
        }
        self.opened.state.apply(&quilt).unwrap();
        model.heights.push((model.now.clone(), self.opened.state.update_root()));
        store.sync()?;
        self.disk.mark(number);
        store.release(self.opened.state.memory_mut().image_mut(), 8)?;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), OpenError> {
        let checkpoint = self.opened.store.begin_checkpoint();
        let behind = &mut self.opened.behind;
        let records = self.opened.store.records();
        for number in behind.header().height + 1..=checkpoint.record() {
            apply_record(behind, &mut self.quilt, number, &records.read(number)?)?;
        }
        assert_eq!(behind.update_root(), self.opened.state.header().root, "two ways to one root");
        let keeper = self.opened.store.keeper();
        keeper.checkpoint(checkpoint, behind.memory().image())?;
        keeper.release(behind.memory_mut().image_mut())?;
        while keeper.build_index(&BlockKeys { prefix: chain().transaction_prefix })? {}
        Ok(())
    }

    /// A block, and now and then a checkpoint.
    fn step(&mut self, model: &mut Model) -> Result<(), OpenError> {
        self.block(model)?;
        if self.dice.below(7) == 0 { self.checkpoint() } else { Ok(()) }
    }
}

/// The state is one of the model's, and not older than what was acknowledged.
fn check(mut opened: OpenedState, model: &Model, acknowledged: u64) -> u64 {
    let header = *opened.state.header();
    assert!(header.height >= acknowledged, "height {} after {acknowledged} was acknowledged", header.height);
    let (accounts, root) = &model.heights[header.height as usize];
    assert_eq!(header.root, *root);
    assert_eq!(header.accounts as usize, accounts.len());
    for (key, &(balance, sequence)) in accounts {
        let hot = opened.state.hot(opened.state.find(key).expect("every account is found"));
        assert_eq!((hot.balance, hot.sequence), (balance, sequence));
    }
    assert_eq!(opened.state.rebuild_tree(), *root, "the tree is what a rebuild gives");
    header.height
}

fn images() -> u64 {
    std::env::var("DYNEMIX_CRASH_IMAGES").map_or(10_000, |number| number.parse().expect("a number"))
}

#[test]
fn every_prefix_of_writes_reopens_to_what_was_acknowledged() {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 1).unwrap();
    for _ in 0..100 {
        bank.step(&mut model).unwrap();
    }
    drop(bank);
    let mut reached = 0;
    for prefix in 0..=disk.log_len() {
        let acknowledged = disk.last_mark(prefix);
        for choice in [CrashChoice::All, CrashChoice::None] {
            match (reopen(&disk.crash(prefix, choice)), acknowledged) {
                (Ok(opened), _) => reached = reached.max(check(opened, &model, acknowledged.unwrap_or(0))),
                (Err(error), Some(acknowledged)) => panic!("prefix {prefix}, {acknowledged} acknowledged: {error}"),
                (Err(_), None) => {}
            }
        }
    }
    assert_eq!(reached, 100);
}

#[test]
fn torn_and_reordered_sectors_lose_nothing_acknowledged() {
    let mut dice = Dice(SplitMix64::from_seed(u64::to_le_bytes(2)));
    let (mut sampled, mut unacknowledged_kept) = (0, 0);
    while sampled < images() {
        let disk = MemoryDisk::new();
        let (mut bank, mut model) = Bank::found(&disk, dice.roll()).unwrap();
        for _ in 0..30 {
            bank.step(&mut model).unwrap();
        }
        drop(bank);
        let start = (0..disk.log_len()).find(|&prefix| disk.last_mark(prefix).is_some()).unwrap();
        for _ in 0..200 {
            let prefix = start + dice.below((disk.log_len() - start) as u64 + 1) as usize;
            let kept = dice.below(101);
            let acknowledged = disk.last_mark(prefix).unwrap();
            let left = disk.crash(prefix, CrashChoice::Each(&mut || dice.below(100) < kept));
            let opened = reopen(&left).unwrap_or_else(|error| panic!("prefix {prefix}, {kept} % kept: {error}"));
            // A second cut, anywhere in the recovery from the first.
            if dice.below(4) == 0 {
                let again = left.crash(
                    dice.below(left.log_len() as u64 + 1) as usize,
                    CrashChoice::Each(&mut || dice.below(100) < kept),
                );
                check(reopen(&again).unwrap(), &model, acknowledged);
            }
            unacknowledged_kept += u64::from(check(opened, &model, acknowledged) > acknowledged);
            sampled += 1;
        }
    }
    assert!(unacknowledged_kept > 0, "the samples reach the moment between write and sync");
}

#[test]
fn a_store_goes_on_after_a_torn_crash() {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 3).unwrap();
    let mut dice = Dice(SplitMix64::from_seed(u64::to_le_bytes(33)));
    let mut disk = disk;
    let mut start = disk.log_len();
    for round in 0..300 {
        for _ in 0..1 + dice.below(6) {
            bank.step(&mut model).unwrap();
        }
        let Bank { dice: bank_dice, .. } = bank;
        // Anywhere in this round, often inside a checkpoint.
        let prefix = start + dice.below((disk.log_len() - start) as u64 + 1) as usize;
        let acknowledged = disk.last_mark(prefix).unwrap();
        disk = disk.crash(prefix, CrashChoice::Each(&mut || dice.below(2) == 0));
        let opened = reopen(&disk).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(opened.fell_back.is_none(), "round {round}: {:?}", opened.fell_back);
        let height = opened.state.header().height;
        assert!(height >= acknowledged);
        model.go_back(height);
        disk.mark(height);
        start = disk.log_len();
        bank = Bank { disk: disk.clone(), opened, quilt: Quilt::default(), dice: bank_dice };
        assert_eq!(bank.opened.state.header().root, model.heights[height as usize].1);
    }
    for _ in 0..2 {
        bank.block(&mut model).unwrap();
        bank.checkpoint().unwrap();
    }
    drop(bank);
    check(reopen(&disk).unwrap(), &model, model.heights.len() as u64 - 1);
    assert_eq!(Scrubber::everything(dynamic(&disk)).unwrap().run(|_, _| {}).unwrap(), []);
}

/// Opens, works, checkpoints: a little of everything that touches the disk.
fn session(disk: &MemoryDisk, model: &mut Model) -> Result<(), OpenError> {
    let mut opened = reopen(disk)?;
    if let Some(error) = opened.fell_back.take() {
        // The other image served: the error is told, and for this test it is the outcome.
        return Err(error.into());
    }
    let height = opened.state.header().height as usize;
    let mut bank = Bank {
        disk: disk.clone(),
        opened,
        quilt: Quilt::default(),
        dice: Dice(SplitMix64::from_seed(u64::to_le_bytes(44))),
    };
    assert_eq!(height + 1, model.heights.len());
    for round in 0..12 {
        bank.block(model)?;
        if round % 5 == 3 {
            bank.checkpoint()?;
        }
    }
    // After an error nothing is written any more.
    Ok(())
}

#[test]
fn every_failing_operation_halts_with_its_code_and_a_restart_is_right() {
    let base = MemoryDisk::new();
    let (mut bank, model) = Bank::found(&base, 4).unwrap();
    let mut grown = model;
    for _ in 0..9 {
        bank.step(&mut grown).unwrap();
    }
    drop(bank);
    let fork =
        |model: &Model| Model { now: model.now.clone(), keys: model.keys.clone(), heights: model.heights.clone() };
    let rehearsal = base.copy();
    rehearsal.fail(None);
    session(&rehearsal, &mut fork(&grown)).unwrap();
    let operations = rehearsal.operations();
    assert!(operations > 100, "{operations}");
    let mut dice = Dice(SplitMix64::from_seed(u64::to_le_bytes(5)));
    for operation in 0..operations {
        for errno in [5, 28] {
            let disk = base.copy();
            let mut model = fork(&grown);
            disk.fail(Some(DiskFault { operation, errno }));
            let error = session(&disk, &mut model).expect_err("an error of the disk is never swallowed");
            assert_eq!(exit::code(&error), exit::DISK, "operation {operation}, errno {errno}: {error}");
            assert!(error.to_string().contains("memory"), "the message names the file: {error}");
            disk.fail(None);
            let acknowledged = disk.last_mark(disk.log_len()).unwrap_or(grown.heights.len() as u64 - 1);
            let left = disk.crash(disk.log_len(), CrashChoice::Each(&mut || dice.below(2) == 0));
            let opened = reopen(&left).unwrap_or_else(|error| panic!("operation {operation}, errno {errno}: {error}"));
            check(opened, &model, acknowledged);
        }
    }
}

#[test]
fn an_interrupted_checkpoint_is_written_again_wholly() {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 14).unwrap();
    // Both images exist and stand at different heights.
    for _ in 0..3 {
        (0..4).for_each(|_| bank.block(&mut model).unwrap());
        bank.checkpoint().unwrap();
    }
    (0..4).for_each(|_| bank.block(&mut model).unwrap());
    let begun = disk.log_len();
    bank.checkpoint().unwrap();
    drop(bank);
    for prefix in begun..=disk.log_len() {
        let left = disk.crash(prefix, CrashChoice::All);
        let mut bank = Bank {
            disk: left.clone(),
            opened: reopen(&left).unwrap(),
            quilt: Quilt::default(),
            dice: Dice(SplitMix64::from_seed(u64::to_le_bytes(1))),
        };
        // At the same height: every page that the first try has written is already what this one wants to write.
        bank.checkpoint().unwrap();
        drop(bank);
        let opened = reopen(&left).unwrap();
        assert!(opened.fell_back.is_none(), "prefix {prefix}: {:?}", opened.fell_back);
        check(opened, &model, 16);
        assert_eq!(Scrubber::everything(dynamic(&left)).unwrap().run(|_, _| {}).unwrap(), []);
    }
}

/// After a failed sync the system still shows what it could not write: a start must not build on that.
#[test]
fn a_start_after_a_failed_sync_does_not_trust_what_only_memory_holds() {
    let base = MemoryDisk::new();
    let (mut bank, mut grown) = Bank::found(&base, 12).unwrap();
    for _ in 0..9 {
        bank.step(&mut grown).unwrap();
    }
    drop(bank);
    let mut dice = Dice(SplitMix64::from_seed(u64::to_le_bytes(13)));
    for operation in 0..180 {
        let disk = base.copy();
        disk.mark(9);
        let mut model = Model { now: grown.now.clone(), keys: grown.keys.clone(), heights: grown.heights.clone() };
        disk.fail(Some(DiskFault { operation, errno: 5 }));
        if session(&disk, &mut model).is_ok() {
            continue;
        }
        disk.fail(None);
        // A new process on the same running system.
        let opened = reopen(&disk).unwrap();
        let height = opened.state.header().height;
        model.go_back(height);
        disk.mark(height);
        let mut bank = Bank {
            disk: disk.clone(),
            opened,
            quilt: Quilt::default(),
            dice: Dice(SplitMix64::from_seed(u64::to_le_bytes(dice.roll()))),
        };
        for round in 0..6 {
            bank.block(&mut model).unwrap();
            if round % 3 == 1 {
                bank.checkpoint().unwrap();
            }
        }
        drop(bank);
        for choice in [CrashChoice::None, CrashChoice::Each(&mut || dice.below(2) == 0)] {
            let opened = reopen(&disk.crash(disk.log_len(), choice))
                .unwrap_or_else(|error| panic!("operation {operation}: {error}"));
            assert!(opened.fell_back.is_none(), "operation {operation}: {:?}", opened.fell_back);
            check(opened, &model, height + 6);
        }
    }
}

/// What an interrupted restore leaves is no part of a genesis made in the same place.
#[test]
fn nothing_is_made_of_remains_or_over_a_store_without_its_superblock() {
    let plain = MemoryDisk::new();
    let root = Bank::found(&plain, 1).unwrap().0.opened.state.header().root;
    let (disk, _) = grown_store();
    for (name, _) in disk.files().unwrap().iter().filter(|file| file.0 != "image.0") {
        disk.remove(name).unwrap();
    }
    assert_eq!(Bank::found(&disk, 1).unwrap().0.opened.state.header().root, root);

    let (disk, _) = grown_store();
    disk.remove("superblock").unwrap();
    let error = create(&disk).err().unwrap();
    assert!(matches!(error, OpenError::Store(StoreError::Remains { .. })), "{error}");
}

#[test]
fn a_store_that_failed_refuses_everything() {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 6).unwrap();
    bank.block(&mut model).unwrap();
    bank.opened.store.append(b"a record").unwrap();
    // Of a sync, only the sync itself is counted next.
    disk.fail(Some(DiskFault { operation: 0, errno: 5 }));
    assert!(matches!(bank.opened.store.sync(), Err(StoreError::Io { action: "sync", .. })));
    assert!(matches!(bank.opened.store.sync(), Err(StoreError::Broken)), "a failed sync is never repeated");
    assert!(matches!(bank.opened.store.append(b"more"), Err(StoreError::Broken)));
    assert!(matches!(bank.opened.store.keeper().build_index(&BlockKeys { prefix: [0; 32] }), Err(StoreError::Broken)));
}

const BLOCKS: u64 = 170;

fn grown_store() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 7).unwrap();
    for round in 0..BLOCKS as usize {
        bank.block(&mut model).unwrap();
        if round % 20 == 9 {
            bank.checkpoint().unwrap();
        }
    }
    (disk.copy(), model)
}

#[test]
fn a_flipped_bit_in_any_page_is_found_and_never_served() {
    let (disk, model) = grown_store();
    let files = disk.files().unwrap();
    assert!(files.iter().filter(|file| file.0.starts_with("log.")).count() > 2, "{files:?}");
    assert!(
        files.iter().any(|file| file.0.starts_with("index.")) && files.iter().any(|file| file.0 == "image.1"),
        "{files:?}"
    );
    assert_eq!(Scrubber::everything(dynamic(&disk)).unwrap().run(|_, _| {}).unwrap(), []);
    let mut dice = Dice(SplitMix64::from_seed(u64::to_le_bytes(8)));
    let mut pages = 0;
    for (name, bytes) in &files {
        for page in (0..bytes.div_ceil(4096)).flat_map(|page| [page; 4]) {
            let offset = page * 4096 + dice.below((bytes - page * 4096).min(4096));
            let bit = dice.below(8) as u8;
            let bad = disk.copy();
            bad.flip(name, offset, bit);
            let found = Scrubber::everything(dynamic(&bad)).unwrap().run(|_, _| {}).unwrap();
            // A record begins before the flipped byte, a page's checksum is named by the page: the file is right, the
            // offset is where the damaged thing begins.
            let named = found
                .iter()
                .any(|finding| finding.file == *name && finding.offset <= offset && !finding.what.is_empty());
            assert!(named, "{name} at {offset}, bit {bit}: {found:?}");
            match reopen(&bad) {
                Ok(opened) => assert_eq!(check(opened, &model, BLOCKS), BLOCKS),
                Err(error) => assert_eq!(exit::code(&error), exit::DAMAGED, "{name} at {offset}, bit {bit}: {error}"),
            }
            pages += 1;
        }
    }
    assert!(pages > 250, "{pages}");
}

#[test]
fn a_cut_file_gives_a_clear_error_or_the_other_image() {
    let (disk, model) = grown_store();
    let last = disk.files().unwrap().into_iter().map(|file| file.0).rfind(|name| name.starts_with("log.")).unwrap();
    for (name, bytes) in disk.files().unwrap() {
        for cut in [0, 1, 100, bytes / 2, bytes - 1] {
            let bad = disk.copy();
            bad.truncate(&name, cut);
            match reopen(&bad) {
                Ok(opened) => assert_eq!(check(opened, &model, BLOCKS), BLOCKS, "{name} cut to {cut}"),
                Err(error) => {
                    assert_eq!(exit::code(&error), exit::DAMAGED, "{name} cut to {cut}: {error}");
                    assert!(error.to_string().contains("damaged"), "{error}");
                }
            }
            let found = Scrubber::everything(dynamic(&bad)).unwrap().run(|_, _| {}).unwrap();
            // Of the segment being written, zeros may go without any harm.
            let harmless = name == last && cut > 12_000;
            assert!(harmless || found.iter().any(|finding| finding.file == name), "{name} cut to {cut}: {found:?}");
        }
    }
}

#[test]
fn a_missing_file_and_an_old_format_are_named() {
    let (disk, _) = grown_store();
    for (name, _) in disk.files().unwrap().iter().filter(|file| file.0.starts_with("log.")) {
        let bad = disk.copy();
        bad.remove(name).unwrap();
        // Old blocks may be missing without harm to the state; what a restart needs may not.
        if let Err(error) = reopen(&bad) {
            assert_eq!(exit::code(&error), exit::DAMAGED, "{name}: {error}");
        }
    }
    let empty = MemoryDisk::new();
    assert!(matches!(reopen(&empty), Err(OpenError::Store(StoreError::Missing { .. }))));
    // The superblock of version 1: 104 bytes a copy, the version behind the magic.
    let old = MemoryDisk::new();
    let file = old.create("superblock").unwrap();
    file.reserve(8192).unwrap();
    file.write(0, b"DYNXSUP\0\x01\0\0\0").unwrap();
    let error = reopen(&old).err().unwrap();
    assert!(error.to_string().contains("format version 1, this program reads 2"), "{error}");
}

#[test]
fn a_full_disk_and_a_limit_stop_cleanly() {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 9).unwrap();
    disk.limit(Some(disk.files().unwrap().iter().map(|file| file.1).sum::<u64>() + 10_000));
    let error = loop {
        if let Err(error) = bank.step(&mut model) {
            break error;
        }
    };
    let OpenError::Store(store_error) = &error else { panic!("{error}") };
    assert!(store_error.is_full() && exit::code(&error) == exit::DISK, "{error}");
    drop(bank);
    let acknowledged = disk.last_mark(disk.log_len()).unwrap();
    disk.limit(None);
    check(reopen(&disk).unwrap(), &model, acknowledged);
}

#[test]
fn old_blocks_are_pruned_to_the_window_and_the_limit() {
    let disk = MemoryDisk::new();
    let (mut bank, mut model) = Bank::found(&disk, 10).unwrap();
    for _ in 0..400 {
        bank.step(&mut model).unwrap();
    }
    let records = bank.opened.store.records();
    assert_eq!(records.last(), 400);
    let first = records.first();
    assert!((220..=281).contains(&first), "{first}");
    assert!(matches!(records.read(first - 1), Err(StoreError::NoRecord { .. })));
    (first..=400).for_each(|number| assert!(!records.read(number).unwrap().is_empty()));
    drop((bank, records));
    // The limit counts every file, and prunes below the window.
    let used: u64 = disk.files().unwrap().iter().map(|file| file.1).sum();
    let options = StoreOptions { limit_bytes: used + 30_000, window_records: u64::MAX, ..OPTIONS };
    let opened = open(dynamic(&disk), chain().genesis_hash, Some(ACCOUNTS_MAX), options).unwrap();
    let mut bank = Bank {
        disk: disk.clone(),
        opened,
        quilt: Quilt::default(),
        dice: Dice(SplitMix64::from_seed(u64::to_le_bytes(11))),
    };
    for _ in 0..100 {
        bank.step(&mut model).unwrap();
        let used: u64 = disk.files().unwrap().iter().map(|file| file.1).sum();
        assert!(used <= options.limit_bytes, "{used}");
    }
    assert!(bank.opened.store.records().first() > first);
}
