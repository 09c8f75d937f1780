//! Final transactions as their users hear of them, block by block: how many a second while the load lasts.
//!
//! A slotted chain answers once a slot. The first block waits for its slot, and what was sent last waits for one in which
//! nothing more is sent: both belong to the latency of a transaction, not to what the engine can take. So the rate is
//! that of the blocks after the first one, over the time from that one's answers to those of the last block that was
//! answered while there was something to send.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// Blocks after the first one that say something of a rate.
const BLOCKS_LEAST: usize = 3;

#[derive(Clone, Copy)]
struct Answered {
    finals: u64,
    honest: u64,
    last: Instant,
}

/// What blocks have answered so far, by height.
#[derive(Default)]
pub(crate) struct Finals {
    blocks: BTreeMap<u64, Answered>,
}

/// A rate of final transactions while the load lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SteadyRate {
    /// Blocks that it is of.
    pub blocks: usize,
    /// Seconds that it is of.
    pub seconds: f64,
    /// Final transactions a second.
    pub tps: f64,
    /// The same on lines that send no broken signatures.
    pub honest_tps: f64,
}

impl Finals {
    /// So many of a line became final with the block of this height.
    pub(crate) fn add(&mut self, height: u64, count: u64, honest: bool, at: Instant) {
        let block = self.blocks.entry(height).or_insert(Answered { finals: 0, honest: 0, last: at });
        block.finals += count;
        block.honest += if honest { count } else { 0 };
        block.last = block.last.max(at);
        assert!(block.honest <= block.finals, "what is final on honest lines is final");
    }

    /// The rate while there was something to send, if there were blocks enough.
    pub(crate) fn steady(&self, sent_until: Instant) -> Option<SteadyRate> {
        let mut blocks = self.blocks.values().filter(|block| block.last <= sent_until);
        let begun = blocks.next()?.last;
        let blocks: Vec<&Answered> = blocks.collect();
        let seconds = blocks.last()?.last.duration_since(begun).as_secs_f64();
        let rate = |count: fn(&Answered) -> u64| blocks.iter().map(|block| count(block)).sum::<u64>() as f64 / seconds;
        (blocks.len() >= BLOCKS_LEAST && seconds > 0.0).then(|| SteadyRate {
            blocks: blocks.len(),
            seconds,
            tps: rate(|block| block.finals),
            honest_tps: rate(|block| block.honest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn neither_the_first_block_nor_what_comes_after_the_load_is_counted() {
        let (mut finals, begun) = (Finals::default(), Instant::now());
        let at = |ms: u64| begun + Duration::from_millis(ms);
        for (height, count, ms) in [(7, 50, 1_700), (8, 100, 2_700), (9, 100, 3_700), (11, 60, 5_700), (12, 90, 6_700)]
        {
            finals.add(height, count - 10, true, at(ms - 20));
            finals.add(height, 10, false, at(ms));
        }
        assert_eq!(finals.steady(at(3_700)), None, "two blocks say nothing");
        let steady = finals.steady(at(6_000)).expect("three do");
        assert_eq!((steady.blocks, steady.seconds), (3, 4.0), "a slot that was lost is time all the same");
        assert_eq!((steady.tps, steady.honest_tps), (260.0 / 4.0, 230.0 / 4.0));
        assert_eq!(finals.steady(at(7_000)).expect("four do").blocks, 4);
    }
}
