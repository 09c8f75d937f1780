//! Who somebody is at a height: privileges come from a duty that the chain has given, not from a stake that anybody can
//! buy.

use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::chain::tables::System;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Transactions that all tellers without a seat may tell one minter for a height by their stakes, together.
const TOLD_BY_STAKE: u64 = 4_096;
/// What one of them may tell beside, whatever its stake.
const TOLD_ANYHOW: u64 = 128;

/// How much somebody is entitled to, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// This node itself and its own users by the API.
    Own,
    /// Has a seat at the pending height.
    Seated,
    /// Was drawn, had a seat at the last height, or keeps transactions: has something to say.
    Called,
    /// Has a stake: brings its users' transactions, and asks.
    Named,
    /// Anybody else: has proved nothing.
    Guest,
}

/// What the chain has given somebody to do, as of the newest final height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Shard of its seat at the pending height.
    pub seat: Option<u16>,
    /// Whether it was drawn for the height after.
    pub drawn: bool,
    /// Shard of its seat at the newest final height.
    pub left: Option<u16>,
    /// Whether it keeps the transactions of a block whose effects can still be stopped.
    pub custodian: bool,
    /// Whether it has a stake.
    pub named: bool,
}

impl Standing {
    /// How much it is entitled to.
    pub fn rank(&self) -> Rank {
        match self {
            Standing { seat: Some(_), .. } => Rank::Seated,
            Standing { drawn: true, .. } | Standing { left: Some(_), .. } | Standing { custodian: true, .. } => {
                Rank::Called
            }
            Standing { named: true, .. } => Rank::Named,
            _ => Rank::Guest,
        }
    }

    /// Whether it may mint the pending height, or the one after.
    pub fn may_mint(&self) -> bool {
        self.seat.is_some() || self.drawn
    }
}

/// Everybody's standing at one height, and the own.
pub struct Standings {
    /// The system that it follows from.
    pub system: Arc<System>,
    /// Whether the pending height is in quilt mode.
    pub quilt: bool,
    /// The own candidate, if there is one.
    pub me: Option<AccountIndex>,
    called: BTreeMap<AccountIndex, Standing>,
}

impl Standings {
    /// As of this system: work in proportion to seats and drawn, not to stakers.
    pub fn of(system: Arc<System>, quilt: bool, me: Option<AccountIndex>) -> Standings {
        let (height, next) = (system.height, system.committee.height);
        assert_eq!(next, height + 1, "the committee that follows height {height} is of height {next}");
        let mut called: BTreeMap<AccountIndex, Standing> = BTreeMap::new();
        for member in &system.committee.members {
            called.entry(member.candidate).or_default().seat = Some(member.shard);
        }
        for &candidate in &system.drawn {
            called.entry(candidate).or_default().drawn = true;
        }
        if let Some(last) = system.committee_of(system.height) {
            for member in &last.members {
                called.entry(member.candidate).or_default().left = Some(member.shard);
            }
        }
        let blocks = system.immature.iter().flat_map(|immature| &immature.blocks);
        for &custodian in blocks.flat_map(|block| &block.custodians) {
            called.entry(custodian).or_default().custodian = true;
        }
        called.values_mut().for_each(|standing| standing.named = true);
        Standings { system, quilt, me, called }
    }

    /// The height that is being agreed on.
    pub fn pending(&self) -> u64 {
        self.system.height + 1
    }

    /// The standing of whoever has proved this name; of who has proved none, that of a guest. A name is one that the
    /// mesh has let in, so it has, or had, a stake.
    pub fn of_name(&self, name: Option<AccountIndex>) -> Standing {
        let named = Standing { named: name.is_some(), ..Standing::default() };
        name.and_then(|name| self.called.get(&name).copied()).unwrap_or(named)
    }

    /// The own standing.
    pub fn own(&self) -> Standing {
        self.of_name(self.me)
    }

    /// Accounts that keep the transactions of this shard-block; none if its effects are mature.
    pub fn keeps(&self, block: &[u8; 32], name: AccountIndex) -> bool {
        self.system.immature_block(block).is_some_and(|(_, block)| block.custodians.contains(&name))
    }

    /// Names that have something to do at this height.
    pub fn called(&self) -> BTreeSet<AccountIndex> {
        self.called.keys().copied().collect()
    }
}

/// How many transactions a teller may tell each minter of a shard for a height; none: as many as there is room for. Who
/// has a seat, or was drawn, is bounded by the assumption that few of those lie. Anybody else could tell each minter
/// something else for eleven dynes, so that all sets differ: what it may tell goes by what it has at stake. Teller and
/// told compute the same, so that what is told whole is taken whole.
pub fn told_share(system: &System, teller: AccountIndex) -> Option<usize> {
    if system.committee.seat_of(teller).is_some() || system.drawn.contains(&teller) {
        return None;
    }
    let (stake, stakes) = (u128::from(system.stake(teller)), u128::from(system.pools.stakes.max(1)));
    let by_stake = (u128::from(TOLD_BY_STAKE) * stake / stakes) as u64;
    Some((by_stake + TOLD_ANYHOW) as usize)
}

/// What all tellers without a seat may tell a minter beyond their stakes' parts, together: so many sets can differ by,
/// whoever pays for how many names.
pub const TOLD_ANYHOW_ALL: usize = 4 * TOLD_ANYHOW as usize;

/// How much of what a teller without a seat tells goes by its stake.
pub fn told_by_stake(share: usize) -> usize {
    share.saturating_sub(TOLD_ANYHOW as usize)
}
