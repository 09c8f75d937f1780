//! The table of sub-slots: when in a slot each step is due. Part of genesis.

use crate::base::parameters::ChainParameters;

/// Milliseconds from a slot's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Length of a slot.
    pub slot_ms: u64,
    /// Minters sign the root of their set.
    pub sets_ms: u64,
    /// They sign which sets they hold.
    pub lists_ms: u64,
    /// The tie-breaker says which disputed sets count.
    pub decide_ms: u64,
    /// They build the block and vote.
    pub vote_ms: u64,
    /// The committee says which shard-blocks it holds.
    pub have_ms: u64,
    /// Try 0: first votes.
    pub try_0_ms: u64,
    /// Try 1: proposals.
    pub propose_ms: u64,
    /// Try 1: first votes.
    pub try_1_ms: u64,
    /// Bytes that a minter's line carries in a second.
    pub line_bytes_per_s: u64,
}

impl Schedule {
    /// The table of a chain.
    pub fn of(parameters: &ChainParameters) -> Schedule {
        let slot_ms = parameters.slot_ms;
        let [sets_ms, lists_ms, decide_ms, vote_ms, have_ms, try_0_ms, propose_ms, try_1_ms] =
            parameters.consensus.sub_slots.steps().map(|per_mille| slot_ms * u64::from(per_mille) / 1_000);
        let line_bytes_per_s = parameters.consensus.line_bytes_per_s;
        Schedule {
            slot_ms,
            sets_ms,
            lists_ms,
            decide_ms,
            vote_ms,
            have_ms,
            try_0_ms,
            propose_ms,
            try_1_ms,
            line_bytes_per_s,
        }
    }

    /// Milliseconds that so many bytes take on a minter's line.
    pub fn carry_ms(&self, bytes: u64) -> u64 {
        let ms = (u128::from(bytes) * 1_000).div_ceil(u128::from(self.line_bytes_per_s.max(1)));
        u64::try_from(ms).unwrap_or(u64::MAX)
    }

    /// The slot of a time.
    pub fn slot(&self, now_ms: u64) -> u64 {
        now_ms / self.slot_ms
    }

    /// The attempt of a time: two each slot, the second from the proposals on.
    pub fn attempt(&self, now_ms: u64) -> u64 {
        2 * self.slot(now_ms) + u64::from(now_ms % self.slot_ms >= self.propose_ms)
    }
}

/// A step that the clock brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// See [`Schedule`], in the same order.
    Begin,
    /// Sign the root of the own set.
    Sets,
    /// Sign which sets are held.
    Lists,
    /// The tie-breaker signs which disputed sets count.
    Decide,
    /// Build and vote.
    Vote,
    /// Tell what is held.
    Have,
    /// First votes, try 0.
    Try0,
    /// Propose the own candidate for try 1.
    Propose,
    /// First votes, try 1.
    Try1,
}

impl Step {
    /// All, in order.
    pub const ALL: [Step; 9] = [
        Step::Begin,
        Step::Sets,
        Step::Lists,
        Step::Decide,
        Step::Vote,
        Step::Have,
        Step::Try0,
        Step::Propose,
        Step::Try1,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        ["begin", "sets", "lists", "decide", "vote", "have", "try_0", "propose", "try_1"][self as usize]
    }

    /// When it is due.
    pub fn at(self, schedule: &Schedule) -> u64 {
        match self {
            Step::Begin => 0,
            Step::Sets => schedule.sets_ms,
            Step::Lists => schedule.lists_ms,
            Step::Decide => schedule.decide_ms,
            Step::Vote => schedule.vote_ms,
            Step::Have => schedule.have_ms,
            Step::Try0 => schedule.try_0_ms,
            Step::Propose => schedule.propose_ms,
            Step::Try1 => schedule.try_1_ms,
        }
    }
}
