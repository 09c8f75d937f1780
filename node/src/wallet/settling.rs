//! From an order to its proved end. What was signed is kept before anyone sees it; the same cell is handed in again and
//! again, and no second one is signed for its sequence while the first may still become final. What nodes say of it is
//! shown; what counts is the path from the transaction to a certified block.
//!
//! ```text
//!   proved: sequence, balance, tables ─► sign ─► keep ─► hand in ─► in a final block, by its path ─► forget
//!                                                  ▲        │       its sequence used by another   ─► forget, tell
//!                                                  └────────┘       slot over, sequence free       ─► forget, tell
//!                                                 the same again    else it stays kept
//! ```

use super::client::{Client, LOOK_BACK_PATIENCE, Proved};
use super::error::{Unsettled, WalletError};
use super::kept::Pending;
use super::order::{Ground, Order, described, sign};
use super::sent::{End, Sent};
use super::time;
use super::transport::plain;
use crate::minting::tracked::TransactionShown;
use crate::setup::clock::unix_ms;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::Cell;
use ed25519_dalek::SigningKey;
use hex::FromHex;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Slots beyond the last one in which a transaction can come into a block, until its end is proved.
const AFTER_SLOTS: u64 = 8;
/// Heights after which the same transaction is handed in again.
const AGAIN_HEIGHTS: u64 = 2;
/// Heights after which the account is looked at again.
const LOOK_HEIGHTS: u64 = 4;
/// A height is looked at again for so many more: who keeps its transactions may get them a height later.
const LATE_HEIGHTS: u64 = 3;
/// Heights after the one in which it was signed that are searched for it at most.
const SEARCHED_MAX: u64 = 4_096;
/// No node serves it for so many slots: the wallet stops waiting.
const BAD_SLOTS: u64 = 3;
/// How often nodes are asked.
const EVERY: Duration = Duration::from_millis(150);
/// Heights for which it is looked up in the system who was punished, at most: it knows no more than the chain keeps.
const PUNISHED_HEIGHTS: u64 = 8;
/// How long a node's answers are looked through at a time.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// How a payment is made.
#[derive(Clone, Copy, Debug)]
pub struct PayOptions {
    /// Slots for which the transaction may come into a block.
    pub expires_slots: u64,
}

/// A refusal's name as a node says it, with what it means.
pub fn explained(name: &str) -> String {
    let known = Refusal::ALL.iter().find(|refusal| refusal.name() == name);
    known.map_or_else(|| plain(name), |refusal| format!("{name} ({})", refusal.says()))
}

/// What happens on the way.
pub enum Event<'a> {
    /// It is signed and kept, and goes out now.
    Signed {
        /// Id by which anybody can ask for it.
        id: Hash,
        /// The last slot in which it can come into a block.
        expires_slot: u64,
    },
    /// A node's own word of how far it is.
    NodeSays(&'a TransactionShown),
    /// It is final, which is proved.
    Final(&'a Settled),
}

/// Whether the effect of a final transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It waits for the height at which nothing can take it back any more.
    Waiting,
    /// Nothing can take it back, which is proved.
    Stands,
    /// It was not shown, or minters of that height were punished: the balance shows.
    Doubtful,
}

/// A transaction that is final, which is proved.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Settled {
    /// Id of the transaction, in hexadecimal.
    pub id: String,
    /// `final`: there are no others that are proved.
    pub state: &'static str,
    /// Height of its block.
    pub height: u64,
    /// Slot of that block.
    pub slot: u64,
    /// Shard that took it.
    pub shard: u32,
    /// From this height on what it pays can be spent, and nothing can take it back.
    pub takes_effect_height: u64,
    /// Whether that has come.
    pub effect: Effect,
    /// Height up to which the wallet has verified the chain.
    pub verified_height: u64,
}

/// What an account's proved state says of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect {
    /// It may still come into a block.
    Open,
    /// Its sequence is used.
    Used,
    /// Its sequence was used before it was signed: it could never come into a block.
    Stillborn,
    /// It cannot come into a block any more.
    Never,
}

fn prospect(pending: &Pending, proved: &Proved) -> Prospect {
    let used = u64::from(proved.hot.sequence) > pending.cell.sequence;
    match () {
        () if used && proved.height <= pending.signed_at => Prospect::Stillborn,
        () if used => Prospect::Used,
        // The next block's time is this state's slot: a later one there will not be.
        () if proved.slot > pending.cell.expires_slot => Prospect::Never,
        () => Prospect::Open,
    }
}

/// What was found of a transaction.
enum Found {
    Nothing,
    Final(Settled),
    Replaced { by: Hash, height: u64 },
}

/// A transaction on its way.
struct Way {
    pending: Pending,
    id: Hash,
    /// Heights up to this one were looked through at each node, and are not again.
    looked: Vec<u64>,
    handed_in: Option<u64>,
    account_at: u64,
    /// Height at which its sequence was seen used.
    used: Option<u64>,
    said: Option<TransactionShown>,
    /// The newest height, since when it is that, and for how many slots that was said.
    stands: (u64, Instant, u64),
    bad_since: Option<Instant>,
}

impl Client {
    /// Signs an order and follows it to its end; `on` hears what happens.
    ///
    /// # Errors
    /// When nothing was signed; or it was, and is not proved to be final: [`Unsettled`] says what that means.
    pub fn pay(
        &mut self,
        signer: &SigningKey,
        order: &Order,
        options: PayOptions,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<Settled, WalletError> {
        let sender = *signer.verifying_key().as_bytes();
        let _lock = self.kept.lock(&sender)?;
        if let Some(earlier) = self.kept.pending(&sender)? {
            let is_same = order.is_of(&earlier.cell, &earlier.payload);
            match self.settle_earlier(&earlier).map_err(|error| self.interrupted(&earlier, error)) {
                Ok(None) => {}
                // Whoever orders again what it does not know the end of is not made to pay twice.
                Ok(Some(settled)) if is_same => {
                    self.warn(
                        "an earlier command has signed this same order, and it is final: nothing new was signed. Run this \
                         command again if you want to pay once more"
                            .into(),
                    );
                    return self.ends(settled, &sender, on);
                }
                Ok(Some(Settled { height, .. })) => {
                    let (id, what) = self.named(&earlier);
                    return Err(WalletError::Earlier(Box::new(WalletError::WasFinal { id, what, height })));
                }
                Err(error) if is_same => return Err(error),
                Err(error) => return Err(WalletError::Earlier(Box::new(error))),
            }
        }
        let mut cell = self.on_any(|client, node| client.draw_up(node, sender, order, options))?;
        sign(&mut cell, &self.chain, signer);
        let pending = Pending { cell, payload: order.payload.clone(), signed_at: self.height() };
        assert!(cell.expires_slot >= self.light.newest().slot, "a transaction is signed that has expired already");
        self.kept.keep_pending(&pending)?;
        let id = pending.cell.id(&self.chain.transaction_prefix);
        on(Event::Signed { id, expires_slot: cell.expires_slot });
        self.note_sent(&pending);
        let way = self.way(pending);
        self.follow_to_end(way, on)
    }

    /// Follows what an earlier command has signed; none if nothing waits.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn resume(&mut self, sender: &Key, on: &mut dyn FnMut(Event<'_>)) -> Result<Option<Settled>, WalletError> {
        let _lock = self.kept.lock(sender)?;
        let Some(pending) = self.kept.pending(sender)? else { return Ok(None) };
        let id = pending.cell.id(&self.chain.transaction_prefix);
        on(Event::Signed { id, expires_slot: pending.cell.expires_slot });
        let mut way = self.way(pending.clone());
        let ended = match self.look_in_passing(&mut way) {
            Ok(Found::Nothing) => self.follow_to_end(way, on),
            Ok(Found::Final(settled)) => self.ends(settled, sender, on),
            Ok(Found::Replaced { by, height }) => self.replaced(&way, &by, height).and_then(Err),
            Err(error) => Err(error),
        };
        ended.map(Some).map_err(|error| self.interrupted(&pending, error))
    }

    /// What is said of an error while something that was signed is kept: it may have been paid, whatever went wrong.
    fn interrupted(&self, pending: &Pending, error: WalletError) -> WalletError {
        if error.says_the_end() {
            return error;
        }
        let (id, what) = self.named(pending);
        Unsettled::Interrupted { ask: self.ask_command.clone(), id, what, why: error.to_string() }.into()
    }

    /// Lets go what an earlier command has signed, if its sequence is used or it has expired.
    ///
    /// # Errors
    /// When it may still become final.
    pub fn forget(&mut self, sender: &Key) -> Result<(), WalletError> {
        let _lock = self.kept.lock(sender)?;
        let Some(pending) = self.kept.pending(sender)? else { return Ok(()) };
        let proved = self.on_any(|client, node| client.proved(node, sender))?;
        match prospect(&pending, &proved) {
            Prospect::Open => Err(self.open(&pending).into()),
            Prospect::Used => self.kept.forget_pending(sender),
            Prospect::Stillborn | Prospect::Never => {
                self.kept.forget_pending(sender)?;
                self.note_end(sender, &self.named(&pending).0, End::Never);
                Ok(())
            }
        }
    }

    /// The account that signs, of now: of no older state than was verified before the node was asked, or a sequence would
    /// be signed again that this very wallet has seen used.
    fn proved(&mut self, node: usize, key: &Key) -> Result<Proved, WalletError> {
        self.sync_with(node)?;
        let least = self.height();
        time::recent(self.light.newest().slot, self.now_slot())?;
        let none = || WalletError::Node("there is no account of this key; the first payment to it opens one".into());
        self.proof_of(node, key, least)?.ok_or_else(none)
    }

    fn draw_up(&mut self, node: usize, sender: Key, order: &Order, options: PayOptions) -> Result<Cell, WalletError> {
        let account = self.proved(node, &sender)?;
        let tables = order.needs_tables().then(|| self.system_of(node)).transpose()?;
        let (tip, window) = (self.light.newest(), self.chain.parameters.expires_window_slots);
        let expires_slot = time::expires_slot(tip.slot, self.now_slot(), options.expires_slots, window)?;
        let mut sequence = u64::from(account.hot.sequence);
        if planted(Mutation::SequenceBelieved) {
            let told: Value = self.transport.ask(node, "account", &json!({ "key": hex::encode(sender) }), 1 << 16)?;
            sequence = told["sequence"].as_u64().unwrap_or(0);
        }
        let (chain, system, tip) = (&self.chain, tables.as_ref(), (tip.hash, tip.slot));
        order.draw_up(sender, &Ground { chain, account, sequence, system, tip, expires_slot })
    }

    fn open(&self, pending: &Pending) -> Unsettled {
        let (id, what) = self.named(pending);
        Unsettled::Open { ask: self.ask_command.clone(), id, what, expires_slot: pending.cell.expires_slot }
    }

    fn named(&self, pending: &Pending) -> (String, String) {
        let id = hex::encode(pending.cell.id(&self.chain.transaction_prefix));
        (id, described(&pending.cell, &pending.payload))
    }

    /// What an earlier command has signed must have ended, and the user must know how: what is final is handed back, what
    /// never was is a warning.
    fn settle_earlier(&mut self, pending: &Pending) -> Result<Option<Settled>, WalletError> {
        let sender = &pending.cell.sender;
        let (id, what) = self.named(pending);
        let mut way = self.way(pending.clone());
        let found = match self.look_in_passing(&mut way)? {
            Found::Nothing => {
                let proved = self.on_any(|client, node| client.proved(node, sender))?;
                match prospect(pending, &proved) {
                    Prospect::Open => return Err(self.open(pending).into()),
                    Prospect::Stillborn | Prospect::Never => {
                        self.kept.forget_pending(sender)?;
                        self.note_end(sender, &id, End::Never);
                        self.warn(format!(
                            "an earlier transaction, {id} ({what}), was never final and cannot be any more"
                        ));
                        return Ok(None);
                    }
                    Prospect::Used => match self.look(&mut way, LOOK_BACK_PATIENCE)? {
                        Found::Nothing => {
                            let ask = self.ask_command.clone();
                            return Err(Unsettled::Unproved { ask, id, what, height: proved.height }.into());
                        }
                        found => found,
                    },
                }
            }
            found => found,
        };
        match found {
            Found::Final(settled) => {
                self.kept.forget_pending(sender)?;
                self.note_end(sender, &id, End::Final(settled.height));
                Ok(Some(settled))
            }
            Found::Replaced { by, height } => Err(self.replaced(&way, &by, height)?),
            Found::Nothing => unreachable!("nothing is told of what was not found"),
        }
    }

    /// Looks for what an earlier command has signed while the chain is followed past it: later its blocks are not
    /// remembered any more, and after a long time no way leads back to them.
    fn look_in_passing(&mut self, way: &mut Way) -> Result<Found, WalletError> {
        let followed = self.sync_in_passing(way.pending.signed_at);
        match followed.and_then(|()| self.look(way, LOOK_PATIENCE)) {
            // What follows asks again, and says what is wrong.
            Err(error) if error.is_of_node() => Ok(Found::Nothing),
            found => found,
        }
    }

    fn replaced(&mut self, way: &Way, by: &Hash, height: u64) -> Result<WalletError, WalletError> {
        self.kept.forget_pending(&way.pending.cell.sender)?;
        self.note_end(&way.pending.cell.sender, &hex::encode(way.id), End::Never);
        Ok(WalletError::Replaced { id: hex::encode(way.id), by: hex::encode(by), height })
    }

    fn way(&self, pending: Pending) -> Way {
        let id = pending.cell.id(&self.chain.transaction_prefix);
        let (looked, account_at) =
            (vec![pending.signed_at; self.transport.len()], self.height().saturating_add(LOOK_HEIGHTS));
        let stands = (self.height(), Instant::now(), 0);
        Way { pending, id, looked, handed_in: None, account_at, used: None, said: None, stands, bad_since: None }
    }

    /// As [`Self::follow`]. Whatever goes wrong on the way, what was signed may have been paid.
    fn follow_to_end(&mut self, way: Way, on: &mut dyn FnMut(Event<'_>)) -> Result<Settled, WalletError> {
        let pending = way.pending.clone();
        self.follow(way, on).map_err(|error| self.interrupted(&pending, error))
    }

    /// Hands in a transaction and looks for it in every block, until its end is proved or waiting leads nowhere.
    fn follow(&mut self, mut way: Way, on: &mut dyn FnMut(Event<'_>)) -> Result<Settled, WalletError> {
        let slots = way.pending.cell.expires_slot.saturating_sub(self.now_slot()).saturating_add(AFTER_SLOTS);
        let end = Instant::now().checked_add(self.slots(slots));
        loop {
            match self.round(&mut way, on) {
                Ok(Found::Final(settled)) => return self.ends(settled, &way.pending.cell.sender, on),
                Ok(Found::Replaced { by, height }) => return Err(self.replaced(&way, &by, height)?),
                Ok(Found::Nothing) => {}
                Err(error) if error.is_of_node() => self.note_bad(&mut way, &error),
                Err(error) => return Err(error),
            }
            if let Some(used) = way.used.filter(|used| self.height() > used + LATE_HEIGHTS) {
                let (id, what) = self.named(&way.pending);
                let ask = self.ask_command.clone();
                return Err(Unsettled::Unproved { ask, id, what, height: used }.into());
            }
            let patience = self.slots(BAD_SLOTS).max(Duration::from_secs(2));
            let given_up = way.bad_since.is_some_and(|since| since.elapsed() > patience);
            if given_up || end.is_none_or(|end| Instant::now() > end) {
                return Err(self.open(&way.pending).into());
            }
            self.say_stands(&mut way);
            std::thread::sleep(EVERY);
        }
    }

    /// Says once a slot that no block has come.
    fn say_stands(&self, way: &mut Way) {
        let (height, since, said) = way.stands;
        if self.height() > height {
            way.stands = (self.height(), Instant::now(), 0);
            return;
        }
        let slots = since.elapsed().as_millis() / self.slots(1).as_millis().max(1);
        // One that comes late is no news.
        if slots as u64 > said.max(1) {
            way.stands.2 = slots as u64;
            self.waits(&format!("nothing has become final for {slots} slots; what was signed is kept, and waits"));
        }
    }

    /// It is final: nothing of it is kept any more. That the disk refuses to forget it takes nothing back.
    fn ends(&mut self, settled: Settled, of: &Key, on: &mut dyn FnMut(Event<'_>)) -> Result<Settled, WalletError> {
        on(Event::Final(&settled));
        if let Err(error) = self.kept.forget_pending(of) {
            self.warn(format!(
                "it is final, but what was kept of it is still there, and the next command says so: {error}"
            ));
        }
        self.note_end(of, &settled.id, End::Final(settled.height));
        Ok(self.effect(settled))
    }

    /// Writes what goes out into the list of what was sent; without it the payment is made all the same.
    fn note_sent(&mut self, pending: &Pending) {
        let (id, what) = self.named(pending);
        let sent = Sent { id, what, signed_unix_ms: unix_ms(), expires_slot: pending.cell.expires_slot, end: None };
        if let Err(error) = self.kept.note_sent(&pending.cell.sender, &sent) {
            self.warn(format!("it is not in the list of what was sent: {error}"));
        }
    }

    fn note_end(&mut self, of: &Key, id: &str, end: End) {
        if let Err(error) = self.kept.note_end(of, id, end) {
            self.warn(format!("the list of what was sent does not say how it ended: {error}"));
        }
    }

    fn note_bad(&mut self, way: &mut Way, error: &WalletError) {
        if way.bad_since.is_none() {
            way.bad_since = Some(Instant::now());
            self.warn(error.to_string());
        }
    }

    /// One look at everything: the chain, the blocks that are new, what nodes say, and now and then the account.
    fn round(&mut self, way: &mut Way, on: &mut dyn FnMut(Event<'_>)) -> Result<Found, WalletError> {
        let again = way.handed_in.is_none_or(|at| self.height() >= at.saturating_add(AGAIN_HEIGHTS));
        let handed_in = if again && way.used.is_none() { self.hand_in(way) } else { Ok(()) };
        // One that shows nothing new is silent, or behind: the others are followed as well.
        self.on_all(Client::sync_with)?;
        let found = self.look(way, LOOK_PATIENCE)?;
        if !matches!(found, Found::Nothing) {
            return Ok(found);
        }
        let said_final = self.hear(way, on);
        let over = self.light.newest().slot > way.pending.cell.expires_slot;
        if way.used.is_none() && (said_final || over || self.height() >= way.account_at) {
            way.account_at = self.height().saturating_add(LOOK_HEIGHTS);
            let sender = way.pending.cell.sender;
            let proved = self.on_any(|client, node| client.proved(node, &sender))?;
            match prospect(&way.pending, &proved) {
                Prospect::Open => {}
                Prospect::Used => way.used = Some(self.height()),
                Prospect::Stillborn => return Err(self.stillborn(way, &proved)?),
                Prospect::Never => return Err(self.expired(way, &proved)?),
            }
        }
        handed_in?;
        if way.said.as_ref().is_none_or(|said| said.state != "refused") {
            way.bad_since = None;
        }
        Ok(Found::Nothing)
    }

    fn expired(&mut self, way: &Way, proved: &Proved) -> Result<WalletError, WalletError> {
        let cell = &way.pending.cell;
        self.kept.forget_pending(&cell.sender)?;
        self.note_end(&cell.sender, &hex::encode(way.id), End::Never);
        let (id, height) = (hex::encode(way.id), proved.height);
        Ok(WalletError::Expired { id, expires_slot: cell.expires_slot, sequence: cell.sequence, height })
    }

    fn stillborn(&mut self, way: &Way, proved: &Proved) -> Result<WalletError, WalletError> {
        let cell = &way.pending.cell;
        self.kept.forget_pending(&cell.sender)?;
        self.note_end(&cell.sender, &hex::encode(way.id), End::Never);
        let (id, sequence, height) = (hex::encode(way.id), cell.sequence, proved.height);
        Ok(WalletError::Stillborn { id, sequence, height })
    }

    /// Hands in the transaction to all nodes: one that takes it may let it lie.
    fn hand_in(&mut self, way: &mut Way) -> Result<(), WalletError> {
        let (cell, payload) = (bytemuck::bytes_of(&way.pending.cell), &way.pending.payload);
        let params = json!({ "cell": hex::encode(cell), "payload": hex::encode(payload) });
        let id = way.id;
        let done = self.on_all(|client, node| {
            let told: String = client.transport.ask(node, "submit", &params, 1 << 16)?;
            let same = <Hash as FromHex>::from_hex(&told).is_ok_and(|told| told == id);
            if same { Ok(()) } else { Err(WalletError::Lie("it names another transaction than was handed in".into())) }
        });
        if done.is_ok() {
            way.handed_in = Some(self.height());
        }
        done
    }

    /// What nodes say of it; true if one says that its sequence is used.
    fn hear(&mut self, way: &mut Way, on: &mut dyn FnMut(Event<'_>)) -> bool {
        let mut shown: Option<TransactionShown> = None;
        for node in 0..self.transport.len() {
            match self.transaction_of(node, &way.id) {
                // Refused is refused by one: another may have taken it.
                Ok(said) if said.state == "refused" => shown = shown.or(Some(said)),
                Ok(said) => {
                    shown = Some(said);
                    break;
                }
                Err(_) => {}
            }
        }
        let Some(shown) = shown else { return false };
        if way.said.as_ref() != Some(&shown) {
            on(Event::NodeSays(&shown));
            way.said = Some(shown.clone());
        }
        if shown.state == "refused" && way.bad_since.is_none() {
            let why = explained(shown.refusal.as_deref().unwrap_or_default());
            self.note_bad(way, &WalletError::Node(format!("refused: {why}")));
        }
        matches!(shown.state.as_str(), "final" | "void" | "used" | "replaced")
    }

    /// How far a transaction is, as a node says, and whether it is proved that it stands in the block that it names. What
    /// is proved counts before what is only said, whichever node says it.
    ///
    /// # Errors
    /// When no node that is asked knows it, or shows a chain.
    pub fn looked(&mut self, id: &Hash) -> Result<(TransactionShown, bool), WalletError> {
        self.sync()?;
        let (mut worst, mut said) = (WalletError::no_node(), None);
        for node in 0..self.transport.len() {
            match self.transaction_of(node, id) {
                Ok(shown) => {
                    let height = shown.height.filter(|_| matches!(shown.state.as_str(), "final" | "void"));
                    if let Some(height) = height
                        && self.proves(id, height)?
                    {
                        return Ok((shown, true));
                    }
                    said.get_or_insert(shown);
                }
                Err(error) if error.is_of_node() => worst = worst.or_worse(error),
                Err(error) => return Err(error),
            }
        }
        said.map(|shown| (shown, false)).ok_or(worst)
    }

    fn transaction_of(&self, node: usize, id: &Hash) -> Result<TransactionShown, WalletError> {
        let params = json!({ "id": hex::encode(id) });
        let shown: TransactionShown = self.transport.ask(node, "transaction", &params, 1 << 16)?;
        let refusal = shown.refusal.as_deref().map(plain);
        Ok(TransactionShown { state: plain(&shown.state), refusal, ..shown })
    }

    /// Looks through the blocks since it was signed, at every node, at each for so long: a slow one takes no other's time.
    fn look(&mut self, way: &mut Way, patience: Duration) -> Result<Found, WalletError> {
        let signed_at = way.pending.signed_at;
        let last = self.height().min(signed_at.saturating_add(SEARCHED_MAX));
        let (mut bad, mut answered) = (None, false);
        for node in 0..self.transport.len() {
            let until = Instant::now() + patience;
            let from = way.looked[node];
            assert!(from >= signed_at, "nothing is looked for in a block from before it was signed");
            let mut through = from;
            while through < last && Instant::now() < until {
                match self.look_at(node, through + 1, way, until) {
                    Ok(Found::Nothing) => through += 1,
                    Ok(found) => return Ok(found),
                    // Another node may prove it.
                    Err(error) => {
                        bad = Some(error);
                        break;
                    }
                }
            }
            answered |= through > from || through == last;
            way.looked[node] = from.max(through.min(last.saturating_sub(LATE_HEIGHTS)));
        }
        match bad {
            Some(error) if !answered => Err(error),
            _ => Ok(Found::Nothing),
        }
    }

    /// What a node proves of it in the block of one height.
    fn look_at(&mut self, node: usize, height: u64, way: &Way, until: Instant) -> Result<Found, WalletError> {
        let cell = &way.pending.cell;
        let of_sender = json!({ "sender": hex::encode(cell.sender) });
        let fits = |there: &Cell| there.sender == cell.sender && there.sequence == cell.sequence;
        let found = self.inclusion(node, height, &of_sender, until, fits)?;
        let Some((proof, block)) = found else { return Ok(Found::Nothing) };
        let Some((there, _)) = proof.verify(&block.headers) else { return Ok(Found::Nothing) };
        assert!(fits(there), "what was looked at before its block is another transaction than in it");
        let id = there.id(&self.chain.transaction_prefix);
        if id != way.id {
            return Ok(Found::Replaced { by: id, height });
        }
        let maturity = self.chain.parameters.consensus.maturity(height);
        Ok(Found::Final(Settled {
            id: hex::encode(id),
            state: "final",
            height,
            slot: block.slot,
            shard: proof.block.shard,
            takes_effect_height: height + maturity,
            effect: if maturity == 0 { Effect::Stands } else { Effect::Waiting },
            verified_height: self.height(),
        }))
    }

    /// Waits until nothing can take back what a final transaction did.
    fn effect(&mut self, mut settled: Settled) -> Settled {
        if settled.effect == Effect::Waiting {
            let wait = self.slots(3 * (settled.takes_effect_height - settled.height) + AFTER_SLOTS);
            let end = Instant::now() + wait;
            settled.effect = Effect::Doubtful;
            while Instant::now() < end {
                let come = self.on_all(Client::sync_with).is_ok() && self.height() >= settled.takes_effect_height;
                if let Some(system) = come.then(|| self.system().ok()).flatten() {
                    let kept = self.chain.parameters.consensus.evidence_heights;
                    settled.effect = effect_of(&system, settled.height, kept);
                    break;
                }
                std::thread::sleep(EVERY);
            }
        }
        settled.verified_height = self.height();
        settled
    }
}

/// Whether shard-blocks of this height stand, by a system in which their effects have matured: a ban punishes those who
/// certified the block for that height, so where nobody was punished nothing was banned. The chain keeps offences for so
/// many heights: that it has none of a height further back says nothing.
fn effect_of(system: &System, height: u64, kept: u64) -> Effect {
    let punished = system.offences.iter().any(|offence| offence.1 == height);
    let known = system.height <= height.saturating_add(kept.min(PUNISHED_HEIGHTS));
    if known && !punished { Effect::Stands } else { Effect::Doubtful }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use dynemix_engine::accounts::columns::Hot;
    use dynemix_engine::base::ids::Endpoint;
    use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE, GenesisMinter};

    #[test]
    fn a_sequence_that_was_used_before_it_was_signed_pays_never_and_one_used_since_perhaps() {
        let cell = Cell { sequence: 7, expires_slot: 30, ..Cell::zeroed() };
        let pending = Pending { cell, payload: Vec::new(), signed_at: 9 };
        let of = |height: u64, slot: u64, sequence: u32| {
            let hot = Hot { sequence, ..Hot::default() };
            prospect(&pending, &Proved { account: 0, hot, height, slot })
        };
        assert_eq!([of(8, 20, 8), of(9, 21, 8), of(9, 21, 9)], [Prospect::Stillborn; 3]);
        assert_eq!([of(10, 22, 8), of(40, 99, 8)], [Prospect::Used; 2]);
        assert_eq!([of(9, 21, 7), of(10, 30, 7), of(10, 31, 7)], [Prospect::Open, Prospect::Open, Prospect::Never]);
    }

    #[test]
    fn where_offences_are_forgotten_nothing_is_said_to_stand() {
        let key = Box::new([1; 96]);
        let name = b"minter".to_vec();
        let minters = [GenesisMinter { account: 0, name, stake: 500 * DYNE, key, endpoint: Endpoint::default() }];
        let chain = Chain::with_minters(ChainParameters::default(), &[([0x58; 32], 1_000 * DYNE)], &minters);
        let mut system = System::genesis(&chain, &minters);
        let of = |system: &mut System, height: u64, kept: u64| {
            system.height = height;
            effect_of(system, 20, kept)
        };
        // At height 24 a chain that keeps three heights has forgotten who was punished for 20.
        assert_eq!([23, 24].map(|height| of(&mut system, height, 3)), [Effect::Stands, Effect::Doubtful]);
        assert_eq!([28, 29].map(|height| of(&mut system, height, 12)), [Effect::Stands, Effect::Doubtful]);
        system.offences.insert((7, 20));
        assert_eq!(of(&mut system, 23, 3), Effect::Doubtful);
    }
}
