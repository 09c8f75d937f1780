//! Who somebody is at a height: privileges come from a duty that the chain has given, not from a stake that anybody can
//! buy.

use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Final heights whose minters may still have something to say.
const SEATED_BEFORE: u64 = 2;

/// Transactions that all tellers without a seat may tell one minter for a height, together, for each second of a slot.
const LOT_PER_SECOND: u64 = 256;
/// The same for a height at most.
const LOT_MAX: u64 = 4_096;

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
pub struct Duties {
    /// Shard of its seat at the pending height.
    pub seat: Option<u16>,
    /// Whether it was drawn for the height after.
    pub drawn: bool,
    /// Shard of its seat at the newest final height.
    pub left: Option<u16>,
    /// Whether it had a seat at one of the newest final heights: it may still have something to say.
    pub seated_lately: bool,
    /// Whether it keeps the transactions of a block whose effects can still be stopped.
    pub custodian: bool,
    /// Whether it has a stake.
    pub named: bool,
}

impl Duties {
    /// How much it is entitled to.
    pub fn rank(&self) -> Rank {
        match self {
            Duties { seat: Some(_), .. } => Rank::Seated,
            Duties { drawn: true, .. } | Duties { seated_lately: true, .. } | Duties { custodian: true, .. } => {
                Rank::Called
            }
            Duties { named: true, .. } => Rank::Named,
            _ => Rank::Guest,
        }
    }

    /// Whether it has a seat in the shard of this block.
    pub fn has_made(&self, block: &CertifiedBlock) -> bool {
        self.seat.is_some_and(|shard| u32::from(shard) == block.block.shard)
    }

    /// Whether it may mint the pending height, or the one after.
    pub fn may_mint(&self) -> bool {
        self.seat.is_some() || self.drawn
    }
}

/// Everybody's duties at one height, and the own.
pub struct DutyTable {
    /// The system that it follows from.
    pub system: Arc<System>,
    /// Whether the pending height is in quilt mode.
    pub quilt: bool,
    /// The own candidate, if there is one.
    pub me: Option<AccountIndex>,
    called: BTreeMap<AccountIndex, Duties>,
}

impl DutyTable {
    /// As of this system: work in proportion to seats and drawn, not to stakers.
    pub fn of(system: Arc<System>, quilt: bool, me: Option<AccountIndex>) -> DutyTable {
        let (height, next) = (system.height, system.committee.height);
        assert_eq!(next, height + 1, "the committee that follows height {height} is of height {next}");
        let mut called: BTreeMap<AccountIndex, Duties> = BTreeMap::new();
        for member in &system.committee.members {
            called.entry(member.candidate).or_default().seat = Some(member.shard);
        }
        for &candidate in &system.drawn {
            called.entry(candidate).or_default().drawn = true;
        }
        if let Some(last) = system.committee_of(height) {
            for member in &last.members {
                called.entry(member.candidate).or_default().left = Some(member.shard);
            }
        }
        for committee in (0..SEATED_BEFORE).filter_map(|before| system.committee_of(height.checked_sub(before)?)) {
            for member in &committee.members {
                called.entry(member.candidate).or_default().seated_lately = true;
            }
        }
        let blocks = system.immature.iter().flat_map(|immature| &immature.blocks);
        for &custodian in blocks.flat_map(|block| &block.custodians) {
            called.entry(custodian).or_default().custodian = true;
        }
        called.values_mut().for_each(|duties| duties.named = true);
        assert!(called.values().all(|duties| duties.rank() < Rank::Named), "whoever is called has something to do");
        DutyTable { system, quilt, me, called }
    }

    /// The height that is being agreed on.
    pub fn pending(&self) -> u64 {
        self.system.height + 1
    }

    /// The duties of whoever has proved this name; of who has proved none, those of a guest. A name is one that the
    /// mesh has let in, so it had a stake: whoever has taken it away, or has lost it, and has nothing left to do, is a
    /// guest again, or names would be had for the price of one.
    pub fn of_name(&self, name: Option<AccountIndex>) -> Duties {
        let named = Duties { named: name.is_some_and(|name| self.system.stake(name) > 0), ..Duties::default() };
        name.and_then(|name| self.called.get(&name).copied()).unwrap_or(named)
    }

    /// The own duties.
    pub fn own(&self) -> Duties {
        self.of_name(self.me)
    }

    /// Accounts that keep the transactions of this shard-block; none if its effects are mature.
    pub fn keeps(&self, block: &[u8; 32], name: AccountIndex) -> bool {
        self.system.immature_block(block).is_some_and(|(_, block)| block.custodians.contains(&name))
    }

    /// Whether this minter is the one that sends this node the transactions of its shard-block unasked, of the pending
    /// height or of this block of one that is final: each custodian has one of the shard's minters for it, unless it is
    /// one of them itself.
    pub fn is_sent_by(&self, block: &[u8; 32], name: AccountIndex) -> bool {
        let Some(me) = self.me else { return false };
        let assigned = |committee: &Committee, shard: usize, custodians: &[AccountIndex]| {
            let (seat, seats) = (committee.seat_of(name)?, committee.shards.get(shard)?);
            let part = seats.iter().position(|&of_shard| of_shard == seat)?;
            let place = custodians.iter().position(|&custodian| custodian == me)?;
            Some(place % seats.len() == part && !committee.mints_in(me, shard as u16))
        };
        let sent = match self.system.immature_block(block) {
            Some((height, immature)) => self
                .system
                .committee_of(height)
                .and_then(|of| assigned(of, immature.header.shard as usize, &immature.custodians)),
            None => self.of_name(Some(name)).seat.and_then(|shard| {
                assigned(&self.system.committee, usize::from(shard), self.system.custodians_of(shard))
            }),
        };
        sent == Some(true)
    }

    /// Names that have something to do at this height, each with what it is.
    pub fn called(&self) -> impl Iterator<Item = (AccountIndex, Duties)> {
        self.called.iter().map(|(&name, &duties)| (name, duties))
    }
}

/// What all tellers without a seat may tell a minter for a height, on a chain of such slots.
pub fn lot(slot_ms: u64) -> u64 {
    (slot_ms.saturating_mul(LOT_PER_SECOND) / 1_000).min(LOT_MAX)
}

/// How many transactions a teller may tell each minter of a shard for one of the next two heights; none: as many as there
/// is room for. Who has a seat at it is bounded by the assumption that few of those lie; who may get one at the height
/// after the next was drawn for it. Anybody else could tell each minter something else for eleven dynes, so that all sets
/// differ: it has a part of the lot, by its stake, and nothing beside, or names would be worth more than what they have at
/// stake and the first to come would find what others do not. Teller and told compute the same, so that what is told
/// whole is taken whole.
pub fn told_share(system: &System, slot_ms: u64, teller: AccountIndex, height: u64) -> Option<usize> {
    assert!(height > system.height, "height {height} is told for after height {}", system.height);
    let sits = if height == system.height + 1 {
        system.committee.seat_of(teller).is_some()
    } else {
        system.drawn.contains(&teller)
    };
    if sits {
        return None;
    }
    let (stake, stakes) = (u128::from(system.stake(teller)), u128::from(system.pools.stakes.max(1)));
    let share = u128::from(lot(slot_ms)) * stake / stakes;
    assert!(share <= u128::from(LOT_MAX), "{share} of a lot of {}", lot(slot_ms));
    Some(share as usize)
}
