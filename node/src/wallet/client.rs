//! A light client: it asks nodes, and believes what a committee has certified.
//!
//! What proves each answer that is acted upon is listed in docs/node.md. Answers about heights are never waited for
//! beyond what the own clock makes possible, and every loop has an end.

use super::error::WalletError;
use super::kept::Kept;
use super::time;
use super::transport::Transport;
use crate::face::light::{LightChain, REMEMBERED, Verified, known_block};
use crate::peer::inclusion::{INCLUSION_BYTES_MAX, Inclusion};
use crate::setup::address::key_of;
use crate::setup::clock::unix_ms;
use crate::setup::genesis::GenesisFile;
use crate::setup::trust::Trust;
use dynemix_engine::accounts::columns::Hot;
use dynemix_engine::accounts::proof::{AccountProof, PROOF_BYTES_MAX};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::check::name_acceptable;
use hex::FromHex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Heights that are asked for at a time.
const HEADERS_AT_ONCE: u64 = 50;
/// Bytes of their answer at most: a node ends it at some megabytes, and hexadecimal doubles them.
const HEADERS_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a system at most: a million names and a hundred thousand stakers. In memory a forged one of
/// small entries takes some ten times as much until its root is seen to be wrong.
const SYSTEM_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a piece of it at least, but for the last: no node may be configured to serve less at a time.
const SYSTEM_PIECE_MIN: u64 = 16 << 10;
/// All pieces together, and all tries, take no longer than this, and a second more for so many bytes of it.
const SYSTEM_PATIENCE: Duration = Duration::from_secs(40);
const SYSTEM_BYTES_PER_S: u64 = 256 << 10;
/// Bytes of a stranger's genesis file at most: each of its minters costs a pairing.
const GENESIS_BYTES_MAX: u64 = 256 << 10;
/// Bytes of other answers at most.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Answers that are too old before a node is given up.
const TRIES: usize = 5;
/// Heights that a state may lie behind the newest verified one.
const BEHIND_MAX: u64 = 3;
/// How soon a node is asked again for what is of an older state than it has shown: a block is worked into its accounts
/// before it is shown, but not by every node at once.
const AGAIN: Duration = Duration::from_millis(100);
/// Slots that a height is waited for which the node itself has spoken of.
const WAIT_SLOTS: u64 = 6;
/// How long something may take before it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(1);
/// Following the chain takes no longer than this, and than so long for each height.
const SYNC_PATIENCE: Duration = Duration::from_secs(40);
const HEIGHT_PATIENCE: Duration = Duration::from_millis(200);
/// Heights after which the newest is kept, while many are followed.
const KEEP_EVERY: u64 = 1_000;
/// How long a node has, once, to show what is in an old block.
pub(super) const LOOK_BACK_PATIENCE: Duration = Duration::from_secs(40);
/// Old heights that are looked at, one by one, for a transaction in one of them.
const LOOK_BACK_MAX: u64 = 20_000;

/// An account as a proof shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Index of the account, which it keeps for good.
    pub account: AccountIndex,
    /// Balance, sequence, and when it was last active.
    pub hot: Hot,
    /// Height of the state.
    pub height: u64,
    /// Slot of the last block in that state.
    pub slot: u64,
}

#[derive(Deserialize)]
struct HeaderAnswer {
    bytes: String,
}

#[derive(Deserialize)]
struct SystemAnswer {
    height: u64,
    offset: u64,
    total_bytes: u64,
    bytes: String,
}

#[derive(Deserialize)]
struct ProofAnswer {
    proof: Option<String>,
}

#[derive(Deserialize)]
struct ResolveAnswer {
    key: String,
}

#[derive(Deserialize)]
struct InclusionAnswer {
    proof: Option<String>,
}

/// What a client starts with.
pub struct ClientOptions<'a> {
    /// APIs of the nodes that are asked, the first first.
    pub nodes: Vec<String>,
    /// The chain's genesis: what is trusted.
    pub genesis: &'a GenesisFile,
    /// Directory of the wallets, below which it keeps what it has verified and signed.
    pub wallets: PathBuf,
    /// A block that the user trusts: following begins there.
    pub trust: Option<Trust>,
}

/// A light client: it believes the genesis file, certificates and proofs.
pub struct Client {
    pub(super) transport: Transport,
    /// The chain of the genesis file.
    pub chain: Chain,
    /// What its addresses begin with.
    pub address_prefix: String,
    pub(super) light: LightChain,
    pub(super) kept: Kept,
    /// The newest block that an earlier command has verified.
    tip: Option<Verified>,
    /// Where following begins, if that was not done yet.
    trust: Option<Trust>,
    /// The newest block could not be kept, which was said once.
    unkept: bool,
    /// The command that says how what was signed has ended, as the user can type it.
    pub ask_command: String,
    /// What the user should know before believing anything.
    warnings: Vec<String>,
    /// Who hears what is waited for.
    waits: fn(&str),
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok()
}

fn lie(what: impl Into<String>) -> WalletError {
    WalletError::Lie(what.into())
}

impl Client {
    /// A client of the chain of this genesis. It goes on from the newest block that an earlier one has verified.
    ///
    /// # Errors
    /// A genesis that is none, or kept files that cannot be read.
    pub fn new(options: ClientOptions<'_>) -> Result<Client, WalletError> {
        let ClientOptions { nodes, genesis, wallets, trust } = options;
        let (genesis, address_prefix) = (genesis.genesis()?, genesis.address_prefix.clone());
        let chain = genesis.chain;
        let kept = Kept::open(&wallets, chain.genesis_hash)?;
        let mut warnings = Vec::new();
        let tip = match kept.tip() {
            Err(WalletError::Kept(damaged)) => {
                // Who trusts a block loses nothing by it. From genesis a chain that is younger than stakes are bound is
                // followed as safely as from there; an older one is not, and that is for people to decide.
                let now_slot = unix_ms().saturating_sub(chain.parameters.start_ms) / chain.parameters.slot_ms.max(1);
                if trust.is_none() && time::long_range(0, now_slot) {
                    return Err(WalletError::Anchor(damaged));
                }
                let aside = kept.set_tip_aside()?;
                warnings.push(format!(
                    "{damaged}; it is now {}, and the chain is followed from {} again",
                    aside.display(),
                    if trust.is_some() { "the block that you trust" } else { "genesis" }
                ));
                None
            }
            tip => tip?,
        };
        let light = match &tip {
            Some(tip) => LightChain::beginning(chain.genesis_hash, tip.clone()),
            None => LightChain::genesis(&System::genesis(&chain, &genesis.minters)),
        };
        let transport = Transport::new(nodes);
        let mut client = Client {
            transport,
            chain,
            address_prefix,
            ask_command: "dynemix wallet pending".into(),
            light,
            kept,
            tip,
            trust,
            unkept: false,
            warnings,
            waits: |_| {},
        };
        let (from, now_slot) = (client.light.newest().slot, client.now_slot());
        if client.trust.is_none() && time::long_range(from, now_slot) {
            client.warnings.push(format!(
                "the newest block that this wallet has verified is {} slots old. Those who minted it may have taken \
                 their stakes since and have nothing to lose: together they could show you another history. Give \
                 --trust HEIGHT:HASH of a recent block, from someone whom you trust",
                now_slot - from
            ));
        }
        Ok(client)
    }

    /// From now on says what it waits for, if that takes longer than people wait without a word.
    pub fn say_waits(&mut self, waits: fn(&str)) {
        self.waits = waits;
    }

    pub(super) fn waits(&self, line: &str) {
        (self.waits)(line);
    }

    /// The slot by this computer's clock.
    pub fn now_slot(&self) -> u64 {
        let parameters = &self.chain.parameters;
        unix_ms().saturating_sub(parameters.start_ms) / parameters.slot_ms.max(1)
    }

    /// So many slots.
    pub(super) fn slots(&self, slots: u64) -> Duration {
        Duration::from_millis(slots.saturating_mul(self.chain.parameters.slot_ms))
    }

    /// Newest height that is verified.
    pub fn height(&self) -> u64 {
        self.light.newest().height
    }

    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Takes what the user should be told.
    pub fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Does something with the first node that serves it well.
    ///
    /// # Errors
    /// Of several nodes' errors a lie, else the last; what no other node could mend, at once.
    pub(super) fn on_any<T>(
        &mut self,
        mut work: impl FnMut(&mut Client, usize) -> Result<T, WalletError>,
    ) -> Result<T, WalletError> {
        let mut worst = WalletError::no_node();
        for node in 0..self.transport.len() {
            match work(self, node) {
                Err(error) if error.is_of_node() => worst = worst.or_worse(error),
                done => return done,
            }
        }
        Err(worst)
    }

    /// Does something with every node, where one that seems to serve it well may be the one that does not.
    ///
    /// # Errors
    /// When none serves it: as [`Self::on_any`].
    pub(super) fn on_all(
        &mut self,
        mut work: impl FnMut(&mut Client, usize) -> Result<(), WalletError>,
    ) -> Result<(), WalletError> {
        let (mut worst, mut done) = (WalletError::no_node(), false);
        for node in 0..self.transport.len() {
            match work(self, node) {
                Ok(()) => done = true,
                Err(error) if error.is_of_node() => worst = worst.or_worse(error),
                Err(error) => return Err(error),
            }
        }
        if done { Ok(()) } else { Err(worst) }
    }

    pub(super) fn ask<T: DeserializeOwned>(&self, node: usize, method: &str, params: &Value) -> Result<T, WalletError> {
        self.transport.ask(node, method, params, ANSWER_BYTES_MAX)
    }

    /// Follows the chain to its end by its certificates.
    ///
    /// # Errors
    /// A certificate that does not hold, or no node.
    pub fn sync(&mut self) -> Result<(), WalletError> {
        self.on_any(Client::sync_with)
    }

    pub(super) fn sync_with(&mut self, node: usize) -> Result<(), WalletError> {
        self.sync_to(node, u64::MAX)?;
        match &self.tip {
            // Who begins at a block from before it has not come to where another history would show.
            Some(tip) if tip.height > self.height() => {
                Err(WalletError::Short { height: self.height(), verified: tip.height })
            }
            _ => Ok(()),
        }
    }

    /// Follows the chain to this height, or to its end.
    fn sync_to(&mut self, node: usize, to: u64) -> Result<(), WalletError> {
        self.follow_to(node, to).map_err(|error| self.of_other_chain(node).filter(|_| error.is_lie()).unwrap_or(error))
    }

    /// Why nothing fits that a node shows, if it says itself that it has begun with another genesis.
    fn of_other_chain(&self, node: usize) -> Option<WalletError> {
        let text: String = self.transport.ask(node, "genesis", &json!({}), GENESIS_BYTES_MAX).ok()?;
        // Accounts for loads cost whoever writes them a number, and whoever reads them a key each.
        let file = toml::from_str::<GenesisFile>(&text).ok().filter(|file| file.load_accounts.is_none())?;
        let its = file.genesis().ok()?.chain.genesis_hash;
        let own = self.chain.genesis_hash;
        let node = self.transport.url(node).to_owned();
        (its != own).then(|| WalletError::OtherChain { node, its: hex::encode(its), own: hex::encode(own) })
    }

    fn follow_to(&mut self, node: usize, to: u64) -> Result<(), WalletError> {
        self.begin(node)?;
        let (begun, from, mut kept_at) = (Instant::now(), self.height(), self.height());
        while self.step(node, to)? {
            let heights = self.height() - from;
            let most = SYNC_PATIENCE.saturating_add(HEIGHT_PATIENCE.saturating_mul(heights.min(1 << 30) as u32));
            if begun.elapsed() > most {
                return Err(WalletError::Slow { heights, seconds: begun.elapsed().as_secs() });
            }
            if self.height() >= kept_at + KEEP_EVERY {
                self.keep_tip()?;
                kept_at = self.height();
            }
        }
        self.keep_tip()
    }

    /// Follows the chain, if it has not come further already, to where the blocks behind this height are the last that
    /// are remembered: whoever looks for something in one of them needs no way back to it.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub(super) fn sync_in_passing(&mut self, height: u64) -> Result<(), WalletError> {
        let to = height.saturating_add(REMEMBERED as u64);
        // Nor is anything looked for in a chain that has not come to what was verified before.
        if self.height() >= to || self.tip.as_ref().is_some_and(|tip| tip.height > to) {
            return Ok(());
        }
        self.on_any(|client, node| client.sync_to(node, to))
    }

    /// Keeps the newest verified block, unless an earlier command has come further.
    fn keep_tip(&mut self) -> Result<(), WalletError> {
        if self.tip.as_ref().is_none_or(|tip| tip.height < self.height()) {
            let tip = self.light.newest().clone();
            assert!(
                self.trust.is_none(),
                "a block is kept as verified before following has begun where the user trusts"
            );
            match self.kept.keep_tip(&tip) {
                Err(conflict @ WalletError::Conflict(_)) => return Err(conflict),
                // The next command begins further back, that is all: no payment ends for it.
                Err(error) if !std::mem::replace(&mut self.unkept, true) => {
                    // Nothing that was signed is in this file.
                    let why = match error {
                        WalletError::Kept(error) => error.to_string(),
                        error => error.to_string(),
                    };
                    self.warnings.push(format!("the newest verified block could not be kept: {why}"));
                }
                Err(_) | Ok(()) => {}
            }
            self.tip = Some(tip);
        }
        Ok(())
    }

    /// Begins at the block that the user trusts, if there is one.
    fn begin(&mut self, node: usize) -> Result<(), WalletError> {
        let Some(Trust { height, block }) = self.trust else { return Ok(()) };
        time::plausible_height(height, self.now_slot())?;
        let headers = self.headers(node, height, 1, Duration::MAX)?;
        let header = headers.first().ok_or_else(|| lie(format!("it has no block {height}, which you trust")))?;
        let trusted = known_block(header, height, &block)?;
        self.fits_tip(&trusted)?;
        self.light = LightChain::beginning(self.chain.genesis_hash, trusted);
        self.trust = None;
        Ok(())
    }

    /// Two certified histories are not one chain: they have different blocks of one height, or slots that do not ascend.
    fn fits_tip(&self, block: &Verified) -> Result<(), WalletError> {
        let other = self.tip.as_ref().is_some_and(|tip| !block.fits(tip));
        if other { Err(WalletError::Conflict(block.height)) } else { Ok(()) }
    }

    /// What a node serves of these heights, as bytes; fewer where the chain ends.
    fn headers(&self, node: usize, from: u64, count: u64, within: Duration) -> Result<Vec<Vec<u8>>, WalletError> {
        let params = json!({ "from": from, "count": count });
        let asked = self.transport.ask_within(within, node, "headers", &params, HEADERS_BYTES_MAX);
        let served: Vec<HeaderAnswer> = match asked {
            // A node that has pruned says so, and which heights it has.
            Err(WalletError::Node(says)) => return Err(WalletError::Pruned { says, at: self.height() }),
            served => served?,
        };
        if served.len() as u64 > count {
            return Err(lie("more headers than were asked for"));
        }
        served.iter().map(|header| bytes(&header.bytes).ok_or_else(|| lie("a header that is none"))).collect()
    }

    /// Follows up to so many heights more, none beyond `to`; false at the end.
    pub(super) fn step(&mut self, node: usize, to: u64) -> Result<bool, WalletError> {
        let from = self.height() + 1;
        if from > to {
            return Ok(false);
        }
        let count = HEADERS_AT_ONCE.min((to - from).saturating_add(1));
        let headers = self.headers(node, from, count, Duration::MAX)?;
        for header in &headers {
            let block = self.light.follow(header)?.clone();
            time::plausible_slot(block.slot, self.now_slot())?;
            self.fits_tip(&block)?;
        }
        Ok(!headers.is_empty())
    }

    /// Waits for a height that the node has spoken of; for one that cannot be it does not wait.
    fn wait(&mut self, node: usize, height: u64) -> Result<(), WalletError> {
        time::plausible_height(height, self.now_slot())?;
        let (begun, mut said) = (Instant::now(), false);
        let end = begun + self.slots(WAIT_SLOTS);
        loop {
            self.step(node, height)?;
            if self.height() >= height {
                return Ok(());
            }
            if !said && begun.elapsed() > SILENCE {
                said = true;
                let slot = self.slots(1).as_secs_f64();
                self.waits(&format!(
                    "waiting for the block of height {height}, which proves it: a slot takes {slot} s"
                ));
            }
            if Instant::now() > end {
                return Err(WalletError::Waited { height, slots: WAIT_SLOTS });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether a state of this height is of now.
    fn is_recent(&self, height: u64) -> bool {
        height.saturating_add(BEHIND_MAX) >= self.height()
    }

    /// The system after a certified block: names, stakes, what is not mature.
    ///
    /// # Errors
    /// When no node serves the one that is certified.
    pub fn system(&mut self) -> Result<System, WalletError> {
        self.on_any(|client, node| {
            client.sync_with(node)?;
            client.system_of(node)
        })
    }

    /// Height and bytes of a node's newest system, piece by piece; none if a block came between two pieces.
    fn system_bytes(&mut self, node: usize, begun: Instant) -> Result<Option<(u64, Vec<u8>)>, WalletError> {
        let (mut whole, mut of_height) = (Vec::new(), None);
        loop {
            let from = whole.len() as u64;
            if begun.elapsed() > SYSTEM_PATIENCE + Duration::from_secs(from / SYSTEM_BYTES_PER_S) {
                return Err(WalletError::Drags { what: "its system", seconds: begun.elapsed().as_secs() });
            }
            // Two digits a byte, and what stands around them.
            let most = 2 * SYSTEM_BYTES_MAX + ANSWER_BYTES_MAX;
            let answer: SystemAnswer = self.transport.ask(node, "system", &json!({ "offset": from }), most)?;
            let SystemAnswer { height, offset, total_bytes, bytes: piece } = answer;
            if *of_height.get_or_insert(height) != height {
                return Ok(None);
            }
            let piece = bytes(&piece).ok_or_else(|| lie("a system that is none"))?;
            let length = from + piece.len() as u64;
            let ends = length == total_bytes;
            let short = (piece.len() as u64) < SYSTEM_PIECE_MIN && !ends;
            if offset != from || length > total_bytes || total_bytes > SYSTEM_BYTES_MAX || short {
                return Err(lie("a system in pieces that do not fit"));
            }
            whole.extend_from_slice(&piece);
            if ends {
                assert_eq!(whole.len() as u64, total_bytes, "what came piece by piece is whole");
                return Ok(Some((height, whole)));
            }
        }
    }

    pub(super) fn system_of(&mut self, node: usize) -> Result<System, WalletError> {
        let begun = Instant::now();
        for _ in 0..TRIES {
            let Some((height, bytes)) = self.system_bytes(node, begun)? else { continue };
            self.wait(node, height)?;
            let system = System::decode(&bytes).map_err(|error| lie(error.to_string()))?;
            if planted(Mutation::SystemUnchecked) {
                return Ok(system);
            }
            // Of an older height nothing is known any more that it could be compared with.
            let Some(block) = self.light.at(system.height).filter(|block| self.is_recent(block.height)) else {
                continue;
            };
            if system.root() != block.system || system.hash != block.hash {
                return Err(lie("its system has another root"));
            }
            return Ok(system);
        }
        Err(WalletError::Stale)
    }

    /// A key from an address of this chain, from 64 digits, or by name.
    ///
    /// # Errors
    /// A text that is none of these; when nobody has the name, or no node proves who has it.
    pub fn key(&mut self, text: &str) -> Result<Key, WalletError> {
        match key_of(&self.address_prefix, text) {
            Ok(key) => Ok(key),
            Err(_) if name_acceptable(text.as_bytes()) => self.on_any(|client, node| client.key_of_name(node, text)),
            Err(error) => Err(error.into()),
        }
    }

    fn key_of_name(&mut self, node: usize, name: &str) -> Result<Key, WalletError> {
        self.sync_with(node)?;
        let system = self.system_of(node)?;
        let account = system.names.account_of(name.as_bytes()).ok_or_else(|| WalletError::Name(name.to_owned()))?;
        let answer: ResolveAnswer = self.ask(node, "resolve", &json!({ "name": name }))?;
        let key: Key = FromHex::from_hex(&answer.key).map_err(|_| lie("a key that is none"))?;
        // The names say which account it is; the proof, which key that account has.
        match self.proof_of(node, &key, 0)? {
            Some(proved) if proved.account == account => Ok(key),
            _ => Err(lie(format!("the key that it names is not that of '{name}'"))),
        }
    }

    /// An account by its proof, of a state of this height at least. Waits for the block that certifies the state. None
    /// says the node alone: that a key has no account cannot be proved.
    pub(super) fn proof_of(&mut self, node: usize, key: &Key, least: u64) -> Result<Option<Proved>, WalletError> {
        for again in 0..TRIES {
            if again > 0 {
                std::thread::sleep(AGAIN);
            }
            let answer: ProofAnswer = self.ask(node, "proof", &json!({ "key": hex::encode(key) }))?;
            let Some(text) = answer.proof else { return Ok(None) };
            let proof = Some(text).filter(|text| text.len() <= 2 * PROOF_BYTES_MAX).and_then(|text| bytes(&text));
            let proof = proof.and_then(|bytes| AccountProof::decode(&bytes).ok()).ok_or_else(|| lie("no proof"))?;
            let certified = proof.height.checked_add(1).ok_or_else(|| lie("a height that there cannot be"))?;
            if proof.height < least {
                continue;
            }
            self.wait(node, certified)?;
            let Some(block) = self.light.at(certified).filter(|block| self.is_recent(block.height)) else { continue };
            let (proved, hot) = proof.verify(&block.parent_root).map_err(|error| lie(error.to_string()))?;
            if proved != *key {
                return Err(lie("the proof is of another account"));
            }
            let AccountProof { account, height, slot, .. } = proof;
            assert!(height >= least, "a state of height {height} is taken for one of {least} at least");
            return Ok(Some(Proved { account, hot, height, slot }));
        }
        Err(WalletError::Stale)
    }

    /// The transaction of a final block that a node proves to stand there: the one of this id, or the one of this sender,
    /// who has one in a block at most. None if this node shows none that `fits`: which says nothing. The node has until
    /// then, for the way back to an old block as well.
    pub(super) fn inclusion(
        &mut self,
        node: usize,
        height: u64,
        of: &Value,
        until: Instant,
        fits: impl Fn(&Cell) -> bool,
    ) -> Result<Option<(Inclusion, Verified)>, WalletError> {
        let mut params = of.clone();
        params["height"] = json!(height);
        let within = until.saturating_duration_since(Instant::now());
        let asked = self.transport.ask_within(within, node, "inclusion", &params, ANSWER_BYTES_MAX);
        let answer: InclusionAnswer = match asked {
            // It does not keep that block's transactions, or none is of this sender.
            Err(WalletError::Node(_)) => return Ok(None),
            answer => answer?,
        };
        let Some(text) = answer.proof else { return Ok(None) };
        let proof = Some(text).filter(|text| text.len() <= 2 * INCLUSION_BYTES_MAX).and_then(|text| bytes(&text));
        let proof = proof.and_then(|bytes| Inclusion::decode(&bytes)).ok_or_else(|| lie("a proof that is none"))?;
        // What needs no block is looked at before one is fetched, which may be far back.
        let (cell, _) = proof.claimed().ok_or_else(|| lie("a proof that does not lead to its own block"))?;
        if !fits(cell) {
            return Ok(None);
        }
        let Some(block) = self.block(node, height, until)? else { return Ok(None) };
        if proof.verify(&block.headers).is_none() {
            return Err(lie(format!("its proof does not lead to the block of height {height}")));
        }
        Ok(Some((proof, block)))
    }

    /// The verified block of a height: remembered, or by the hashes that lead back to it from one that is. None where no
    /// way of bearable length leads: it was this wallet that asked for the height, and the node has no part in that.
    fn block(&self, node: usize, height: u64, until: Instant) -> Result<Option<Verified>, WalletError> {
        if let Some(block) = self.light.at(height) {
            return Ok(Some(block.clone()));
        }
        let mut known = self.light.oldest().clone();
        if height >= known.height || known.height - height > LOOK_BACK_MAX {
            return Ok(None);
        }
        let begun = Instant::now();
        while known.height > height {
            let within = until.saturating_duration_since(Instant::now());
            if within.is_zero() {
                let seconds = begun.elapsed().as_secs();
                return Err(WalletError::Drags { what: "the way back to an old block", seconds });
            }
            let from = height.max(known.height.saturating_sub(HEADERS_AT_ONCE));
            let headers = self.headers(node, from, known.height - from, within)?;
            if headers.len() as u64 != known.height - from {
                return Err(lie("fewer headers than it has"));
            }
            for header in headers.iter().rev() {
                known = known_block(header, known.height - 1, &known.parent)?;
            }
        }
        assert_eq!(known.height, height, "hashes lead back to another height than was looked for");
        Ok(Some(known))
    }

    /// Whether a transaction stands in the final block of this height, by any node's proof.
    ///
    /// # Errors
    /// When no node answers.
    pub fn proves(&mut self, id: &Hash, height: u64) -> Result<bool, WalletError> {
        let prefix = self.chain.transaction_prefix;
        let of = json!({ "id": hex::encode(id) });
        self.sync()?;
        if height > self.height() || height == 0 {
            return Ok(false);
        }
        for node in 0..self.transport.len() {
            let until = Instant::now() + LOOK_BACK_PATIENCE;
            let is_it = |cell: &Cell| cell.id(&prefix) == *id;
            let shown = match self.inclusion(node, height, &of, until, is_it) {
                // Another one may show it.
                Err(error) if error.is_of_node() => None,
                shown => shown?,
            };
            if let Some((proof, block)) = shown
                && proof.verify(&block.headers).is_some_and(|(cell, _)| is_it(cell))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_engine::base::parameters::ChainParameters;

    /// A client that has verified one block, of this height.
    fn client(wallets: &std::path::Path, height: u64) -> Client {
        let block = Verified {
            height,
            slot: 2 * height,
            hash: [1; 32],
            parent: [2; 32],
            system: [3; 32],
            parent_root: [4; 32],
            committee_next: [5; 32],
            headers: Vec::new(),
        };
        let chain = Chain::with_minters(ChainParameters::default(), &[], &[]);
        Client {
            // Nobody listens there.
            transport: Transport::new(vec!["http://127.0.0.1:1/".into()]),
            address_prefix: "dyn".into(),
            ask_command: "dynemix wallet pending".into(),
            light: LightChain::beginning(chain.genesis_hash, block.clone()),
            kept: Kept::open(wallets, chain.genesis_hash).unwrap(),
            chain,
            tip: Some(block),
            trust: None,
            unkept: false,
            warnings: Vec::new(),
            waits: |_| {},
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    #[test]
    fn a_height_too_far_back_is_shown_by_nobody_and_no_node_has_lied() {
        let directory = tempfile::tempdir().unwrap();
        let client = client(directory.path(), LOOK_BACK_MAX + 10);
        for height in [9, LOOK_BACK_MAX + 11, u64::MAX] {
            assert!(matches!(client.block(0, height, soon()), Ok(None)), "height {height}");
        }
        assert!(matches!(client.block(0, 10, soon()), Err(WalletError::Unreachable { .. })), "a near one is asked for");
        assert!(client.block(0, LOOK_BACK_MAX + 10, soon()).unwrap().is_some());
    }

    #[test]
    fn the_way_back_to_an_old_block_ends_with_the_time_that_its_node_has() {
        let directory = tempfile::tempdir().unwrap();
        let mut client = client(directory.path(), LOOK_BACK_MAX);
        // One that takes whoever comes and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        client.transport = Transport::new(vec![format!("http://{}/", silent.local_addr().unwrap())]);
        let (begun, until) = (Instant::now(), Instant::now() + Duration::from_millis(300));
        assert!(matches!(client.block(0, 10, until), Err(WalletError::Unreachable { .. })));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert!(matches!(client.block(0, 10, until), Err(WalletError::Drags { .. })), "nothing is asked any more");
    }
}
