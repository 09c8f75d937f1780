//! What a wallet takes for possible: by the slots of its own clock and of the newest block that it has verified, and by
//! nobody's word. Pure numbers; the clock is elsewhere.

use super::error::TimeError;

/// Slots that two honest clocks may be apart.
const CLOCK_SLACK: u64 = 2;
/// A chain whose newest block is older than this stands still, or is not shown.
const OLD_SLOTS: u64 = 30;
/// A week of nominal slots: after that those who minted the newest verified block may have nothing at stake any more,
/// and could certify another history at no risk.
const LONG_RANGE_SLOTS: u64 = 60_480;

/// Whether a chain can have such a height by now: each height has a slot of its own, the first is 1.
///
/// # Errors
/// A height beyond the slots that have passed.
pub fn plausible_height(height: u64, now_slot: u64) -> Result<(), TimeError> {
    if height <= now_slot.saturating_add(CLOCK_SLACK) { Ok(()) } else { Err(TimeError::Height { height, now_slot }) }
}

/// Whether a certified block can be of this slot.
///
/// # Errors
/// A slot that the own clock has not reached: since the block is certified, it is the clock that is wrong.
pub fn plausible_slot(slot: u64, now_slot: u64) -> Result<(), TimeError> {
    let behind = slot > now_slot.saturating_add(CLOCK_SLACK);
    if behind { Err(TimeError::ClockBehind { tip_slot: slot, now_slot }) } else { Ok(()) }
}

/// Whether the newest verified block is of now, as far as a network can promise.
///
/// # Errors
/// When it is not.
pub fn recent(tip_slot: u64, now_slot: u64) -> Result<(), TimeError> {
    plausible_slot(tip_slot, now_slot)?;
    let old = now_slot.saturating_sub(tip_slot) > OLD_SLOTS;
    if old { Err(TimeError::Old { tip_slot, now_slot }) } else { Ok(()) }
}

/// The last slot in which a transaction that is signed now may come into a block. Both clock and chain bound it, so a
/// wrong clock, or a node that hides blocks, cannot put it years ahead.
///
/// # Errors
/// When clock and chain do not fit.
pub fn expires_slot(tip_slot: u64, now_slot: u64, ahead: u64, window: u64) -> Result<u64, TimeError> {
    recent(tip_slot, now_slot)?;
    let expires = now_slot.max(tip_slot).saturating_add(ahead).min(tip_slot.saturating_add(window));
    assert!(expires - tip_slot <= window, "a transaction expires in slot {expires}, beyond the window from {tip_slot}");
    Ok(expires)
}

/// Whether the newest block that was verified before is so old that its minters may have left.
pub fn long_range(tip_slot: u64, now_slot: u64) -> bool {
    now_slot.saturating_sub(tip_slot) > LONG_RANGE_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_signed_for_a_time_that_clock_and_chain_do_not_both_bear_out() {
        assert_eq!(expires_slot(100, 101, 20, 4_096), Ok(121));
        assert_eq!(expires_slot(100, 99, 20, 4_096), Ok(120));
        assert_eq!(expires_slot(100, 101, 20, 10), Ok(110));
        // A clock that is years ahead, and one that stands at the chain's begin.
        assert_eq!(expires_slot(100, 3_000_000, 20, 4_096), Err(TimeError::Old { tip_slot: 100, now_slot: 3_000_000 }));
        assert_eq!(expires_slot(100, 0, 20, 4_096), Err(TimeError::ClockBehind { tip_slot: 100, now_slot: 0 }));
        assert_eq!(expires_slot(u64::MAX, u64::MAX, u64::MAX, u64::MAX), Ok(u64::MAX));
        assert!(plausible_height(0, 0).is_ok() && plausible_height(102, 100).is_ok());
        assert!(plausible_height(103, 100).is_err() && plausible_height(u64::MAX, 100).is_err());
        assert!(plausible_height(u64::MAX, u64::MAX).is_ok());
        assert!(!long_range(5, 60_485) && long_range(5, 60_486) && !long_range(9, 0));
    }
}
