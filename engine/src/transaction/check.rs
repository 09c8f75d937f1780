//! The first door: does a cell make sense at all, on its own, at this slot?
//!
//! Nothing here looks at the state or at a signature; both come later and cost more.

use super::cell::{CELL_VERSION, Cell, TransactionKind, payload_hash, payload_outputs};
use crate::base::limits::{NAME_BYTES_MAX, OUTPUT_BYTES, OUTPUTS_MAX, STAKE_PAYLOAD_BYTES};
use crate::base::parameters::{ChainParameters, SUPPLY_GENESIS};
use crate::base::refusal::Refusal;

/// Units that leave the sender: all outputs and the fee for those beyond the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Sum of the outputs.
    pub outputs: u64,
    /// Sum of the fees.
    pub fee: u64,
}

impl Cost {
    /// Outputs and fee; below 2^64, since [`check`] bounds both by the supply.
    pub fn total(&self) -> u64 {
        self.outputs + self.fee
    }
}

/// Checks form, expiry and amounts of a cell and its payload; `slot` is the parent's.
///
/// # Errors
/// The first rule that is broken, in the order of the cell's fields that matter most: version, kind, reserved, outputs,
/// payload, sequence, expiry, amounts.
pub fn check(cell: &Cell, payload: &[u8], parameters: &ChainParameters, slot: u64) -> Result<Cost, Refusal> {
    check_form(cell, payload, parameters)?;
    check_expiry(cell.expires_slot, parameters, slot)?;
    cost(cell, payload, parameters)
}

/// What holds at any time, whatever the state: version, kind, outputs, payload, sequence range.
///
/// # Errors
/// The first rule that is broken.
pub fn check_form(cell: &Cell, payload: &[u8], parameters: &ChainParameters) -> Result<(), Refusal> {
    if cell.version != CELL_VERSION {
        return Err(Refusal::UnknownVersion);
    }
    let kind = TransactionKind::from_number(cell.kind).ok_or(Refusal::UnknownKind)?;
    if cell.reserved != 0 {
        return Err(Refusal::ReservedNotZero);
    }
    match kind {
        TransactionKind::Transfer => {
            if cell.outputs != 1 {
                return Err(Refusal::OutputCount);
            }
            if !payload.is_empty() || cell.payload_hash != [0; 32] {
                return Err(Refusal::PayloadMismatch);
            }
        }
        TransactionKind::Register => {
            check_payload(cell, payload, (1..=NAME_BYTES_MAX).contains(&payload.len()))?;
            if cell.recipient != [0; 32]
                || cell.amount != parameters.consensus.register_reserve
                || !name_acceptable(payload)
            {
                return Err(Refusal::NameInvalid);
            }
        }
        TransactionKind::Stake => {
            check_payload(cell, payload, payload.len() == STAKE_PAYLOAD_BYTES)?;
            if cell.amount < parameters.consensus.stake_min {
                return Err(Refusal::AmountBelowMinimum);
            }
        }
        TransactionKind::Unstake => {
            check_payload(cell, payload, payload.is_empty())?;
            if cell.amount == 0 {
                return Err(Refusal::AmountBelowMinimum);
            }
        }
        TransactionKind::MultiTransfer => {
            if !(2..=OUTPUTS_MAX).contains(&cell.outputs) {
                return Err(Refusal::OutputCount);
            }
            if payload.len() != (usize::from(cell.outputs) - 1) * OUTPUT_BYTES
                || *blake3::hash(payload).as_bytes() != cell.payload_hash
            {
                return Err(Refusal::PayloadMismatch);
            }
        }
    }
    // The last number is never used: the account's next sequence must fit 32 bits as well.
    if cell.sequence >= u64::from(u32::MAX) {
        return Err(Refusal::SequenceRange);
    }
    Ok(())
}

/// Of the kinds without outputs: the count says so, and the payload is the one committed to.
fn check_payload(cell: &Cell, payload: &[u8], fits: bool) -> Result<(), Refusal> {
    match (cell.outputs, fits && payload_hash(payload) == cell.payload_hash) {
        (0, true) => Ok(()),
        (0, false) => Err(Refusal::PayloadMismatch),
        _ => Err(Refusal::OutputCount),
    }
}

/// Whether bytes can be a user's name: 1 to 32 of `a-z 0-9 . _ -`, a letter first, no dot, dash or underscore last, no two
/// of them side by side: how many there are nobody sees. One way to write it. Letters and digits that look alike in some
/// types are not told apart here: that is a question of which names there are, not of the form of one.
pub fn name_acceptable(name: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    name.len() <= NAME_BYTES_MAX
        && name.first().is_some_and(u8::is_ascii_lowercase)
        && name.last().is_some_and(plain)
        && name.iter().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && name.windows(2).all(|pair| plain(&pair[0]) || plain(&pair[1]))
}

/// Whether `expires_slot` lies in the window that begins at `slot`.
///
/// # Errors
/// [`Refusal::Expired`] or [`Refusal::ExpiresTooFar`].
pub fn check_expiry(expires_slot: u64, parameters: &ChainParameters, slot: u64) -> Result<(), Refusal> {
    if expires_slot < slot {
        return Err(Refusal::Expired);
    }
    if expires_slot - slot > parameters.expires_window_slots {
        return Err(Refusal::ExpiresTooFar);
    }
    Ok(())
}

/// Sums what the cell spends.
///
/// # Errors
/// [`Refusal::AmountBelowMinimum`] or [`Refusal::AmountOverflow`] (more than the whole supply).
pub fn cost(cell: &Cell, payload: &[u8], parameters: &ChainParameters) -> Result<Cost, Refusal> {
    match TransactionKind::from_number(cell.kind) {
        // What is locked or staked leaves the balance like an output.
        Some(TransactionKind::Register | TransactionKind::Stake) => {
            let total = Some(cell.amount).filter(|&amount| amount <= SUPPLY_GENESIS).ok_or(Refusal::AmountOverflow)?;
            return Ok(Cost { outputs: total, fee: 0 });
        }
        // What is taken from the stake is not taken from the balance.
        Some(TransactionKind::Unstake) => return Ok(Cost { outputs: 0, fee: 0 }),
        _ => {}
    }
    let mut outputs = 0u64;
    for amount in std::iter::once(cell.amount).chain(payload_outputs(payload).map(|output| output.amount)) {
        if amount < parameters.amount_min {
            return Err(Refusal::AmountBelowMinimum);
        }
        outputs = outputs.checked_add(amount).ok_or(Refusal::AmountOverflow)?;
    }
    let fee =
        parameters.output_fee.checked_mul(u64::from(cell.outputs.saturating_sub(1))).ok_or(Refusal::AmountOverflow)?;
    let total = outputs.checked_add(fee).ok_or(Refusal::AmountOverflow)?;
    if total > SUPPLY_GENESIS {
        return Err(Refusal::AmountOverflow);
    }
    Ok(Cost { outputs, fee })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::cell::{Output, payload_of};
    use bytemuck::Zeroable;

    const SLOT: u64 = 100;

    fn transfer() -> Cell {
        Cell { version: 1, kind: 1, outputs: 1, amount: 5_000_000, expires_slot: SLOT + 5, ..Cell::zeroed() }
    }

    fn refusal(change: impl Fn(&mut Cell)) -> Option<Refusal> {
        let mut cell = transfer();
        change(&mut cell);
        check(&cell, &[], &ChainParameters::default(), SLOT).err()
    }

    #[test]
    fn each_broken_rule_has_its_name() {
        assert_eq!(refusal(|_| ()), None);
        assert_eq!(refusal(|cell| cell.version = 2), Some(Refusal::UnknownVersion));
        assert_eq!(refusal(|cell| cell.kind = 200), Some(Refusal::UnknownKind));
        assert_eq!(refusal(|cell| cell.reserved = 1), Some(Refusal::ReservedNotZero));
        assert_eq!(refusal(|cell| cell.outputs = 2), Some(Refusal::OutputCount));
        assert_eq!(refusal(|cell| cell.payload_hash[31] = 1), Some(Refusal::PayloadMismatch));
        assert_eq!(refusal(|cell| cell.sequence = 1 << 32), Some(Refusal::SequenceRange));
        assert_eq!(refusal(|cell| cell.sequence = u64::from(u32::MAX)), Some(Refusal::SequenceRange));
        assert_eq!(refusal(|cell| cell.sequence = u64::from(u32::MAX) - 1), None);
        assert_eq!(refusal(|cell| cell.expires_slot = SLOT - 1), Some(Refusal::Expired));
        assert_eq!(refusal(|cell| cell.expires_slot = SLOT + 4_097), Some(Refusal::ExpiresTooFar));
        assert_eq!(refusal(|cell| cell.expires_slot = u64::MAX), Some(Refusal::ExpiresTooFar));
        assert_eq!(refusal(|cell| cell.amount = 999_999), Some(Refusal::AmountBelowMinimum));
        assert_eq!(refusal(|cell| cell.amount = u64::MAX), Some(Refusal::AmountOverflow));
        assert_eq!(refusal(|cell| cell.amount = SUPPLY_GENESIS + 1), Some(Refusal::AmountOverflow));
    }

    #[test]
    fn what_consensus_needs_has_its_forms() {
        let parameters = ChainParameters::default();
        let with = |kind: u8, amount: u64, payload: &[u8]| {
            let cell = Cell { kind, amount, outputs: 0, payload_hash: payload_hash(payload), ..transfer() };
            check(&cell, payload, &parameters, SLOT)
        };
        let reserve = parameters.consensus.register_reserve;
        assert_eq!(with(3, reserve, b"ada"), Ok(Cost { outputs: reserve, fee: 0 }));
        assert_eq!(with(3, reserve - 1, b"ada"), Err(Refusal::NameInvalid));
        assert_eq!(with(3, reserve, b"a.d-a_1"), Ok(Cost { outputs: reserve, fee: 0 }));
        for name in [&b"Ada"[..], b"4da", b"ada-", b"a da", b"ad\xc3\xa4", b"a..b", b"a.-b", b"a__b", b"a--b", b"a-_b"]
        {
            assert_eq!(with(3, reserve, name), Err(Refusal::NameInvalid), "{name:?}");
        }
        assert_eq!(with(3, reserve, &[b'a'; 33]), Err(Refusal::PayloadMismatch));
        let stake = parameters.consensus.stake_min;
        assert_eq!(with(6, stake, &[1; 144]), Ok(Cost { outputs: stake, fee: 0 }));
        assert_eq!(with(6, stake - 1, &[1; 144]), Err(Refusal::AmountBelowMinimum));
        assert_eq!(with(6, SUPPLY_GENESIS + 1, &[1; 144]), Err(Refusal::AmountOverflow));
        assert_eq!(with(6, stake, &[1; 143]), Err(Refusal::PayloadMismatch));
        assert_eq!(with(7, 1, &[]), Ok(Cost { outputs: 0, fee: 0 }));
        assert_eq!(with(7, 0, &[]), Err(Refusal::AmountBelowMinimum));
        let cell = Cell { kind: 7, outputs: 1, amount: 1, ..transfer() };
        assert_eq!(check(&cell, &[], &parameters, SLOT), Err(Refusal::OutputCount));
    }

    #[test]
    fn a_multi_transfer_pays_for_its_further_outputs() {
        let payload = payload_of(&[
            Output { recipient: [9; 32], amount: 2_000_000 },
            Output { recipient: [8; 32], amount: 3_000_000 },
        ]);
        let cell = Cell { kind: 2, outputs: 3, payload_hash: *blake3::hash(&payload).as_bytes(), ..transfer() };
        let parameters = ChainParameters::default();
        assert_eq!(check(&cell, &payload, &parameters, SLOT), Ok(Cost { outputs: 10_000_000, fee: 20_000 }));
        assert_eq!(check(&cell, &payload[1..], &parameters, SLOT), Err(Refusal::PayloadMismatch));
        let mut changed = payload.clone();
        changed[0] ^= 1;
        assert_eq!(check(&cell, &changed, &parameters, SLOT), Err(Refusal::PayloadMismatch));
        assert_eq!(check(&Cell { outputs: 101, ..cell }, &payload, &parameters, SLOT), Err(Refusal::OutputCount));
        let wrapping = payload_of(&[Output { recipient: [9; 32], amount: u64::MAX }]);
        let cell = Cell { outputs: 2, payload_hash: *blake3::hash(&wrapping).as_bytes(), ..cell };
        assert_eq!(check(&cell, &wrapping, &parameters, SLOT), Err(Refusal::AmountOverflow));
    }
}
