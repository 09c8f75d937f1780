//! What a user orders, and whether it can be carried out: judged by what is proved, before anything is signed. What is
//! signed can be carried out for as long as it has not expired, whatever a node says it did with it.

use super::client::Proved;
use super::error::WalletError;
use bytemuck::Zeroable;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::{CELL_VERSION, Cell, TransactionKind, payload_hash};
use dynemix_engine::transaction::check::check;
use dynemix_engine::verify::account_key_acceptable;
use ed25519_dalek::{Signer, SigningKey};

/// What a user orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Transfer, Register, Stake or Unstake.
    pub kind: TransactionKind,
    /// Who is paid; of other kinds nobody.
    pub recipient: Key,
    /// Units to pay, to lock, or to move in or out of the stake.
    pub amount: u64,
    /// What the kind needs beside.
    pub payload: Vec<u8>,
}

impl Order {
    /// Whether this transaction was made of the same order.
    pub fn is_of(&self, cell: &Cell, payload: &[u8]) -> bool {
        let of_kind = cell.kind == self.kind as u8 && cell.amount == self.amount && *payload == *self.payload;
        of_kind && (self.kind != TransactionKind::Transfer || cell.recipient == self.recipient)
    }
}

/// What is proved when an order is drawn up.
pub struct Ground<'a> {
    /// Parameters and prefixes.
    pub chain: &'a Chain,
    /// The account that pays.
    pub account: Proved,
    /// Number of the account's next transaction, from the same proof.
    pub sequence: u64,
    /// Names and stakes, for orders that need them.
    pub system: Option<&'a System>,
    /// The newest verified block: its hash, which stakes name, and its slot.
    pub tip: (Hash, u64),
    /// The last slot in which the transaction may come into a block.
    pub expires_slot: u64,
}

fn unsigned(refusal: Refusal, why: impl Into<String>) -> WalletError {
    WalletError::Unsigned { refusal, why: why.into() }
}

fn dynes(units: u64) -> String {
    format!("{}.{:06} dynes", units / DYNE, units % DYNE)
}

impl Order {
    /// Whether names and stakes decide about it: payments need neither.
    pub fn needs_tables(&self) -> bool {
        !matches!(self.kind, TransactionKind::Transfer | TransactionKind::MultiTransfer)
    }

    /// The cell of this order, not signed yet.
    ///
    /// # Errors
    /// What the chain would refuse, with the reason.
    pub fn draw_up(&self, sender: Key, ground: &Ground<'_>) -> Result<Cell, WalletError> {
        let of_stakes = matches!(self.kind, TransactionKind::Stake | TransactionKind::Unstake);
        let cell = Cell {
            sender,
            recipient: if of_stakes { ground.tip.0 } else { self.recipient },
            amount: self.amount,
            sequence: ground.sequence,
            expires_slot: ground.expires_slot,
            version: CELL_VERSION,
            kind: self.kind as u8,
            outputs: u16::from(self.kind == TransactionKind::Transfer),
            payload_hash: payload_hash(&self.payload),
            ..Cell::zeroed()
        };
        let cost = check(&cell, &self.payload, &ground.chain.parameters, ground.tip.1)
            .map_err(|refusal| self.refused(refusal, &ground.chain.parameters))?;
        let has = ground.account.hot.balance;
        if cost.total() > has {
            let why = format!("it takes {}, the account can spend {}", dynes(cost.total()), dynes(has));
            return Err(unsigned(Refusal::InsufficientBalance, why));
        }
        match ground.system {
            Some(system) => self.fits_tables(system, ground.account.account)?,
            None if self.needs_tables() => panic!("an order of kind {:?} is drawn up without tables", self.kind),
            None => {
                if !account_key_acceptable(&self.recipient) {
                    return Err(unsigned(Refusal::RecipientInvalid, Refusal::RecipientInvalid.says()));
                }
            }
        }
        Ok(cell)
    }

    fn fits_tables(&self, system: &System, account: AccountIndex) -> Result<(), WalletError> {
        let no = |refusal: Refusal| Err(unsigned(refusal, refusal.says()));
        match self.kind {
            TransactionKind::Transfer | TransactionKind::MultiTransfer => {}
            TransactionKind::Register => {
                if system.names.name_of(account).is_some() {
                    return no(Refusal::NameHeld);
                }
                if system.names.account_of(&self.payload).is_some() {
                    return no(Refusal::NameTaken);
                }
            }
            TransactionKind::Stake => {
                if system.names.name_of(account).is_none() {
                    return no(Refusal::NameMissing);
                }
                if system.barred.contains_key(&account) {
                    return no(Refusal::Barred);
                }
                let key = |staked: &[u8]| self.payload.starts_with(staked);
                if system.stakers.get(&account).is_some_and(|staker| !key(&staker.key[..])) {
                    return no(Refusal::VoteKeyDiffers);
                }
            }
            TransactionKind::Unstake => {
                let staked = system.stake(account);
                if staked < self.amount {
                    let why = format!("{} are at stake, {} are to be taken back", dynes(staked), dynes(self.amount));
                    return Err(unsigned(Refusal::StakeShort, why));
                }
            }
        }
        Ok(())
    }

    /// Why the chain's rules do not take it, with the numbers.
    fn refused(&self, refusal: Refusal, parameters: &ChainParameters) -> WalletError {
        let why = match refusal {
            Refusal::AmountBelowMinimum => {
                let least = match self.kind {
                    TransactionKind::Stake => parameters.consensus.stake_min,
                    _ => parameters.amount_min,
                };
                format!("{} are less than the least that this chain takes, {}", dynes(self.amount), dynes(least))
            }
            refusal => refusal.says().to_owned(),
        };
        unsigned(refusal, why)
    }
}

/// Signs a cell.
///
/// # Panics
/// When the signature is not that of what a node will look at.
pub fn sign(cell: &mut Cell, chain: &Chain, signer: &SigningKey) {
    assert_eq!(cell.sender, *signer.verifying_key().as_bytes(), "a cell is signed by its sender");
    let signed = [&chain.transaction_prefix[..], cell.signed_part()].concat();
    cell.signature = signer.sign(&signed).to_bytes();
    // As a node will look at it.
    let seen = [&chain.transaction_prefix[..], cell.signed_part()].concat();
    let signature = ed25519_dalek::Signature::from_bytes(&cell.signature);
    let holds = signer.verifying_key().verify_strict(&seen, &signature).is_ok();
    assert!(holds, "a transaction goes out that is not what was signed");
}

/// What a cell does, for people.
pub fn described(cell: &Cell, payload: &[u8]) -> String {
    let amount = dynes(cell.amount);
    match TransactionKind::from_number(cell.kind) {
        Some(TransactionKind::Transfer) => format!("{amount} to {}..", hex::encode(&cell.recipient[..8])),
        Some(TransactionKind::Register) => format!("the name '{}'", String::from_utf8_lossy(payload)),
        Some(TransactionKind::Stake) => format!("{amount} to the stake"),
        Some(TransactionKind::Unstake) => format!("{amount} from the stake"),
        Some(TransactionKind::MultiTransfer) | None => format!("{amount} to several"),
    }
}
