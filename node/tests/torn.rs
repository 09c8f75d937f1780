//! What a power cut leaves of a minting node: its real keepers (store, certificates, record of what was signed, kept
//! bodies, accepted transactions, checkpoints with their systems, snapshots) over one disk in memory, driven by the
//! orders that consensus gives. After every cut the node opens to a state that was promised, forgets nothing that it has
//! said is durable, takes nothing for its own that it has not written, and goes on.
//!
//! `DYNEMIX_CRASH_IMAGES` says how many torn images are sampled (default 600).

use bytemuck::Zeroable;
use dynemix::exit;
use dynemix::intake::shares::{Holder, User};
use dynemix::keep::accepted::{Accepted, AcceptedFile};
use dynemix::keep::certificates::{self, Certificates};
use dynemix::keep::chain_store::{self, ChainStoreError, Genesis, OpenedChain};
use dynemix::keep::kept;
use dynemix::keep::mapped::MappedMemory;
use dynemix::keep::published;
use dynemix::keep::record::BlockKeys;
use dynemix::keep::replica::{ReplicaError, ReplicaHandle, replica};
use dynemix::keep::sealed::SealedError;
use dynemix::keep::signed_file::{SignedFile, SignedFileError};
use dynemix::minting::entry::{Entry, FinalJob, Job, Promise};
use dynemix::minting::inbox::Inbox;
use dynemix::minting::promises::Promises;
use dynemix::minting::writer::{Writer, WriterError};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::chain::codec::put_committee_with_keys;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::consensus::master::Locked;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::stub::StubSigning;
use dynemix_net::mesh::Net;
use dynemix_storage::{CrashChoice, Disk, MemoryDisk, StoreError, StoreOptions};
use ed25519_dalek::SigningKey;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const ACCOUNTS: u8 = 24;
const HEIGHTS: u64 = 26;
const OPTIONS: StoreOptions =
    StoreOptions { segment_bytes: 24 << 10, window_records: 12, limit_bytes: u64::MAX, watermark_bytes: 0 };
const PATIENCE: Duration = Duration::from_secs(20);

fn key(number: u8) -> Key {
    SigningKey::from_bytes(&[number; 32]).verifying_key().to_bytes()
}

fn genesis() -> Genesis {
    let accounts: Vec<(Key, u64)> = (1..=ACCOUNTS).map(|number| (key(number), 1_000 * DYNE)).collect();
    let minter = |account: u32| GenesisMinter {
        account,
        name: format!("minter{account}").into_bytes(),
        stake: 500 * DYNE,
        key: Box::new([account as u8 + 1; 96]),
        endpoint: Endpoint::default(),
    };
    let minters: Vec<_> = (0..4).map(minter).collect();
    let chain = Chain::with_minters(ChainParameters::default(), &accounts, &minters);
    Genesis { chain, accounts, minters, accounts_max: 1_000 }
}

/// What was promised by some moment.
#[derive(Clone, Debug, Default)]
struct Promised {
    stored: u64,
    signed: (u64, u64),
    /// Blocks whose transactions were kept, by height.
    kept: BTreeMap<u64, (Hash, Vec<Item>)>,
    accepted: Vec<Hash>,
}

/// What a height led to: hash of the system, root of the accounts.
type Led = (Hash, Hash);

/// A thread, and why it halted.
type Halting<E> = JoinHandle<Result<(), E>>;

/// A node without a network: its keepers at work, and consensus played by the test.
struct Desk {
    genesis: Genesis,
    state: State<MappedMemory>,
    system: Arc<System>,
    jobs: Sender<Job>,
    promises: Sender<Promise>,
    inbox: Arc<Inbox<Entry>>,
    threads: (Halting<WriterError>, Halting<StoreError>),
    replica: (ReplicaHandle, JoinHandle<Result<(), ReplicaError>>),
    record: SignedOnce,
    ticket: u64,
    stored: u64,
}

/// All that a start reads.
struct Found {
    chain: OpenedChain,
    certificates: Certificates,
    signed: (SignedFile, SignedOnce),
    kept: Vec<kept::KeptItems>,
    accepted: (AcceptedFile, Vec<Accepted>),
}

/// Why a start does not go on.
#[derive(Debug)]
enum Refused {
    Chain(ChainStoreError),
    Store(StoreError),
    Signed(SignedFileError),
    File(SealedError),
}

fn find(disk: &MemoryDisk, genesis: &Genesis, may_be_missing: bool) -> Result<Found, Refused> {
    let hash = genesis.chain.genesis_hash;
    let data: Arc<dyn Disk> = Arc::new(disk.clone());
    let chain = chain_store::open(&*data, genesis, OPTIONS).map_err(Refused::Chain)?;
    let signed = SignedFile::open(&*data, hash, may_be_missing).map_err(Refused::Signed)?;
    let certificates = certificates::beside(&*data, &hash, &chain.store.records()).map_err(Refused::Store)?;
    let kept = kept::read(&*data, &hash).map_err(Refused::File)?;
    let accepted = AcceptedFile::open(data, hash).map_err(Refused::Store)?;
    Ok(Found { chain, certificates, signed, kept, accepted })
}

impl Desk {
    fn start(disk: &MemoryDisk, found: Found, genesis: Genesis) -> Desk {
        let Found { chain, certificates, signed: (signed, record), accepted: (mut file, accepted), .. } = found;
        let OpenedChain { store, state, behind, system, .. } = chain;
        let (data, hash): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), genesis.chain.genesis_hash);
        file.rewrite(&accepted).unwrap();
        let inbox = Arc::new(Inbox::new(1 << 20, 1 << 20));
        let prefix = genesis.chain.transaction_prefix;
        let (stage, handle, _) =
            replica(behind, store.records(), store.keeper(), BlockKeys { prefix }, Duration::from_secs(60));
        handle.applied(store.last_record());
        let writer = Writer {
            data,
            chain: hash,
            store,
            certificates,
            signed: Some(signed),
            replica: handle.clone(),
            checkpoint_bytes: 6 << 10,
            checkpoint_asked: 0,
            snapshot_blocks: 5,
            published: None,
            snapshot_written: Arc::default(),
            inbox: inbox.clone(),
        };
        let (jobs, jobs_in) = channel();
        let (promises, promises_in) = channel();
        let keeps = Promises { file, inbox: inbox.clone() };
        let threads =
            (std::thread::spawn(move || writer.run(&jobs_in)), std::thread::spawn(move || keeps.run(&promises_in)));
        let replica = (handle, std::thread::spawn(move || stage.run()));
        Desk {
            genesis,
            state,
            system: Arc::new(system),
            jobs,
            promises,
            inbox,
            threads,
            replica,
            record,
            ticket: 0,
            stored: 0,
        }
    }

    /// What somebody is told; heights that are stored are noted.
    fn hear(&mut self) -> Entry {
        loop {
            match self.inbox.take(PATIENCE).expect("whoever asked is told") {
                Entry::Stored(height) => self.stored = height,
                entry => return entry,
            }
        }
    }

    fn wait_stored(&mut self, height: u64) {
        while self.stored < height {
            let Some(Entry::Stored(stored)) = self.inbox.take(PATIENCE) else { panic!("something else was asked for") };
            self.stored = stored;
        }
    }

    /// Has a record of what was signed made durable.
    fn sign(&mut self, slot: u64) {
        let height = self.system.height + 1;
        let lock = Some(([slot as u8; 32], 2 * slot));
        let locked = Locked { lock, ..Locked::default() };
        self.record = SignedOnce { locked, unsure: false, ..self.record.reserving(height, slot) };
        self.ticket += 1;
        self.jobs.send(Job::Persist(self.ticket, Box::new(self.record.clone()))).unwrap();
        assert!(matches!(self.hear(), Entry::Durable(ticket) if ticket == self.ticket));
    }

    fn payment(&self, from: u8, height: u64) -> Item {
        let account = self.state.find(&key(from)).unwrap();
        let cell = Cell {
            sender: key(from),
            recipient: key(1 + (from + height as u8) % (2 * ACCOUNTS)),
            amount: DYNE,
            sequence: u64::from(self.state.hot(account).sequence),
            expires_slot: self.system.slot + 20,
            version: 1,
            kind: 1,
            outputs: 1,
            ..Cell::zeroed()
        };
        Item::transaction(&cell, &[])
    }

    /// The own shard's block of the next height, kept.
    fn block(&self, slot: u64) -> CertifiedBlock {
        let height = self.system.height + 1;
        let mut items: Vec<Item> = (1..=ACCOUNTS)
            .filter(|from| u64::from(*from) % 3 == height % 3)
            .map(|from| self.payment(from, height))
            .collect();
        items.sort_unstable_by_key(Item::id);
        let signing = StubSigning { candidate: 0 };
        let (chain, state, system) = (&self.genesis.chain, &self.state, &*self.system);
        let view = View { chain, state, system, signing: &signing, genuine: &|_| true, judged: &[] };
        let built = view.build(0, slot, &items.into());
        let (hash, certificate) = (built.block.hash(), Certificate { signers: SeatSet::default(), aggregate: [0; 48] });
        CertifiedBlock { height, block: built.block, hash, certificate, items: built.items, patch: built.patch }
    }

    fn keep(&mut self, block: &CertifiedBlock) {
        self.jobs.send(Job::Keep(block.hash, block.height, block.items.clone())).unwrap();
        assert!(matches!(self.hear(), Entry::Kept));
    }

    /// Makes a block final, and hands it to the writer.
    fn finalize(&mut self, block: CertifiedBlock) -> Led {
        let parent = self.system.clone();
        // In quilt mode a block travels without its transactions.
        let block = Arc::new(CertifiedBlock { items: Items::default(), ..block });
        let mut blocks = vec![None; parent.committee.shards.len()];
        blocks[0] = Some(block.clone());
        let next = Next::new(&self.genesis.chain, &self.state, &parent, &blocks);
        let value = next.value(&parent, &blocks);
        let hash = value.hash();
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let decided = Arc::new(Final { attempt: 2, hash, value: Arc::new(value), certificate });
        let mut quilt = Vec::new();
        next.quilt.encode(&mut quilt);
        self.state.apply(&next.quilt).unwrap();
        let root = self.state.update_root();
        self.system = Arc::new(next.finalized(hash));
        let mut committee = Vec::new();
        put_committee_with_keys(&parent, &parent.committee, &mut committee);
        let (system, blocks) = (self.system.clone(), vec![block]);
        self.jobs.send(Job::Final(Box::new(FinalJob { decided, blocks, committee, quilt, root, system }))).unwrap();
        (self.system.hash, root)
    }

    fn accept(&mut self, items: &[Item]) {
        let whose = User { by_api: true, holder: Holder::of(Net::Loopback, 7) }.to_bytes();
        let all = items.iter().map(|item| Accepted { item: item.clone(), whose }).collect();
        self.promises.send(Promise::Accept(all)).unwrap();
        assert!(matches!(self.hear(), Entry::Accepted(1)));
    }

    fn stop(self) {
        drop((self.jobs, self.promises));
        self.threads.0.join().unwrap().unwrap();
        self.threads.1.join().unwrap().unwrap();
        drop(self.replica.0);
        self.replica.1.join().unwrap().unwrap();
    }
}

/// A disk on which a node has lived, what it had promised at each mark, and what each height led to.
struct Lived {
    disk: MemoryDisk,
    promised: Vec<Promised>,
    led: Vec<Led>,
}

fn live() -> Lived {
    let disk = MemoryDisk::new();
    let found = find(&disk, &genesis(), true).unwrap();
    let mut led = vec![(found.chain.system.hash, found.chain.state.header().root)];
    let mut desk = Desk::start(&disk, found, genesis());
    let (mut now, mut promised) = (Promised::default(), Vec::new());
    let mut say = |now: &Promised| {
        disk.mark(promised.len() as u64);
        promised.push(now.clone());
    };
    let mut slot = 0;
    for height in 1..=HEIGHTS {
        let accepted: Vec<Item> = (1..4).map(|from| desk.payment(from, height + 7)).collect();
        desk.accept(&accepted);
        now.accepted.extend(accepted.iter().map(Item::id));
        say(&now);
        // Now and then a height takes a slot more.
        for _ in 0..1 + height % 3 / 2 {
            slot += 1;
            desk.sign(slot);
            now.signed = (height, slot);
            say(&now);
        }
        let block = desk.block(slot);
        assert!(block.block.transactions > 4, "height {height} is of {} payments", block.block.transactions);
        desk.keep(&block);
        now.kept.insert(height, (block.hash, block.items.to_vec()));
        say(&now);
        led.push(desk.finalize(block));
        // Some heights are stored together.
        if height % 4 != 0 {
            desk.wait_stored(height);
            now.stored = height;
            now.kept.retain(|&of, _| of + 5 > height);
            say(&now);
        }
    }
    desk.stop();
    Lived { disk, promised, led }
}

/// Opens what a cut has left, and compares it with what was promised. `whole`: only the process had ended.
fn check(lived: &Lived, image: &MemoryDisk, promised: Option<&Promised>, whole: bool) -> Found {
    let none = Promised::default();
    let said = promised.unwrap_or(&none);
    let found = find(image, &genesis(), promised.is_none()).unwrap_or_else(|error| panic!("{error:?} of {said:?}"));
    let height = found.chain.system.height;
    assert!(height >= said.stored, "height {height} is there, {} was stored", said.stored);
    let led = (found.chain.system.hash, found.chain.state.header().root);
    assert_eq!(led, lived.led[height as usize], "another state at height {height}");
    // Light clients go on from where the blocks are.
    let kept = &found.certificates;
    assert_eq!(kept.next(), height + 1, "a certificate of each height");
    (kept.first()..=height).for_each(|height| drop(kept.read(height).unwrap()));
    // What may have been signed is known: nothing is signed there again.
    let record = &found.signed.1;
    assert!((record.height, record.reserved_slot) >= said.signed, "{record:?} after {:?}", said.signed);
    assert!(said.signed == (0, 0) || !record.unsure, "a crash explains it");
    assert!(said.signed == (0, 0) || record.may_have_signed(said.signed.0, said.signed.1));
    // Kept bodies are right or not there; the end of the process takes none.
    for (block, of, items) in &found.kept {
        let all = lived.promised.iter().filter_map(|promised| promised.kept.get(of));
        let right = all.into_iter().any(|(hash, kept)| hash == block && kept == items);
        assert!(right, "transactions of height {of} that nobody has kept");
    }
    if whole {
        let there = |of: &u64| found.kept.iter().any(|kept| kept.1 == *of);
        // Those of the oldest may go as soon as the newest is final.
        let newest = said.kept.keys().last().copied().unwrap_or(0);
        let mut needed = said.kept.keys().filter(|&of| of + 5 > newest);
        assert!(needed.all(there), "bodies of {:?} were kept", said.kept.keys());
    }
    let accepted: Vec<Hash> = found.accepted.1.iter().map(|accepted| accepted.item.id()).collect();
    assert!(accepted.starts_with(&said.accepted), "{} are accepted, {} were", accepted.len(), said.accepted.len());
    assert!(accepted.len() <= said.accepted.len() + 3, "what comes beyond was being written");
    // Snapshots that are offered have all their parts.
    for offer in published::offers(image, &genesis().chain.genesis_hash).unwrap() {
        let part = |part| published::read_piece(image, offer.height - 1, part, 0).is_some();
        let parts = [published::Part::System, published::Part::Manifest, published::Part::Chunk(0)];
        assert!(parts.into_iter().all(part), "a snapshot of {} is offered without its parts", offer.height);
    }
    found
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_node_that_keeps_its_word() {
    let lived = live();
    let images = std::env::var("DYNEMIX_CRASH_IMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(600u64);
    let operations = lived.disk.log_len() as u64;
    println!("{operations} operations, {} promises", lived.promised.len());
    let mut dice = SplitMix64::from_seed(7u64.to_le_bytes());
    let begun = (0..operations).find(|&at| lived.disk.last_mark(at as usize).is_some()).unwrap();
    for image in 0..images {
        let prefix = (begun + image * (operations - begun) / images) as usize;
        let promised = lived.disk.last_mark(prefix).map(|mark| &lived.promised[mark as usize]);
        let after = match image % 3 {
            0 => lived.disk.crash(prefix, CrashChoice::All),
            1 => lived.disk.crash(prefix, CrashChoice::None),
            _ => lived.disk.crash(prefix, CrashChoice::Each(&mut || dice.next_u64() & 1 == 0)),
        };
        let found = check(&lived, &after, promised, image % 3 == 0);
        if image % 16 != 5 {
            continue;
        }
        // It goes on, and is cut again: what it says then holds as well.
        let mut desk = Desk::start(&after, found, genesis());
        let slot = desk.record.reserved_slot.max(desk.system.slot) + 1;
        desk.sign(slot);
        let block = desk.block(slot);
        desk.keep(&block);
        let height = block.height;
        let led = desk.finalize(block);
        desk.wait_stored(height);
        let again = after.crash(after.log_len(), CrashChoice::None);
        desk.stop();
        let found = find(&again, &genesis(), false).unwrap();
        assert_eq!((found.chain.system.hash, found.chain.state.header().root), led);
        assert!(found.signed.1.may_have_signed(height, slot) && !found.signed.1.unsure);
    }
}

#[test]
fn a_start_that_is_cut_while_a_chain_is_made_begins_again() {
    let disk = MemoryDisk::new();
    drop(find(&disk, &genesis(), true).unwrap());
    let mut dice = SplitMix64::from_seed(9u64.to_le_bytes());
    for prefix in 0..=disk.log_len() {
        for way in 0..3 {
            let after = match way {
                0 => disk.crash(prefix, CrashChoice::All),
                1 => disk.crash(prefix, CrashChoice::None),
                _ => disk.crash(prefix, CrashChoice::Each(&mut || dice.next_u64() & 1 == 0)),
            };
            let found = match find(&after, &genesis(), true) {
                Ok(found) => found,
                // Both copies of a record that nothing rests on.
                Err(Refused::Signed(SignedFileError::Unreadable(_))) => continue,
                Err(error) => panic!("operation {prefix}, way {way}: {error:?}"),
            };
            assert_eq!(found.chain.system.height, 0);
            assert!(found.kept.is_empty() && found.accepted.1.is_empty() && found.signed.1.reserved_slot == 0);
        }
    }
}

#[test]
fn a_flipped_bit_is_named_or_harmless_and_never_believed() {
    let lived = live();
    let said = lived.promised.last().unwrap();
    let end = lived.disk.copy();
    let present = find(&end.copy(), &genesis(), false).unwrap();
    let mut dice = SplitMix64::from_seed(11u64.to_le_bytes());
    let systems = end.files().unwrap().into_iter().filter(|(name, _)| name.starts_with("system."));
    let beside = ["signed.0", "signed.1", "accepted"]
        .map(|name| (name.to_owned(), end.files().unwrap().iter().find(|file| file.0 == name).unwrap().1));
    let of_folder = |folder: &str| {
        let files = end.folder(folder).files().unwrap().into_iter();
        files.map(|(name, bytes)| (format!("{folder}/{name}"), bytes)).collect::<Vec<_>>()
    };
    let all: Vec<(String, u64)> = systems.chain(beside).chain(of_folder("kept")).chain(of_folder("light")).collect();
    assert!(all.iter().any(|file| file.0.starts_with("system.")) && all.len() > 11, "{all:?}");
    let mut named = 0;
    for (name, bytes) in &all {
        for _ in 0..24 {
            let image = end.copy();
            image.flip(name, dice.next_u64() % bytes, (dice.next_u64() % 8) as u8);
            let found = match find(&image, &genesis(), false) {
                Ok(found) => found,
                Err(error) => {
                    let code = match &error {
                        Refused::Chain(error) => exit::code(error),
                        Refused::Store(error) => exit::code(error),
                        Refused::File(error) => exit::code(error),
                        Refused::Signed(error) => panic!("{name}: one copy of two, and {error}"),
                    };
                    assert!(name.starts_with("system.") || name.starts_with("light/"), "{name}: {error:?}");
                    assert!([exit::DAMAGED, exit::FAILED].contains(&code), "{name}: {error:?}");
                    named += 1;
                    continue;
                }
            };
            let led = (found.chain.system.hash, found.chain.state.header().root);
            assert_eq!(led, *lived.led.last().unwrap(), "{name}: another state");
            assert!(found.signed.1.may_have_signed(said.signed.0, said.signed.1), "{name}");
            let accepted: Vec<Hash> = found.accepted.1.iter().map(|accepted| accepted.item.id()).collect();
            assert!(accepted.iter().all(|id| said.accepted.contains(id)), "{name}: one that nobody has accepted");
            let lost = said.accepted.len() - accepted.len();
            assert!(lost == 0 || name == "accepted" && lost <= 3, "{name}: {lost} are forgotten");
            for kept in &found.kept {
                assert!(said.kept.get(&kept.1).is_some_and(|(hash, items)| *hash == kept.0 && *items == kept.2));
            }
            for height in found.certificates.first()..found.certificates.next() {
                let right = present.certificates.read(height).unwrap();
                assert!(found.certificates.read(height).is_ok_and(|read| read == right) || name.starts_with("light/"));
                assert!(found.certificates.read(height).map_or(true, |read| read == right), "{name}: served");
            }
        }
    }
    println!("{named} of {} flips are named by the start, the others harmless", all.len() * 24);
}
