//! A committee: the minters of one height, divided into shards; and the shard of each transaction.

use super::draw::Lots;
use super::quorum::{byzantine_max, master_quorum};
use crate::base::hash::{Hash, keyed, list_root, purpose_key};
use crate::base::ids::{Seat, VoteKey};
use crate::base::keyed_hash::place;
use crate::base::limits::DELEGATES_MAX;
use std::sync::LazyLock;

static MEMBER_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix committee member v1"));
static NODE_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix committee tree v1"));
static RANK_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix rank v1"));

/// Nominal minters of a shard.
pub const SHARD_MINTERS: usize = 10;
/// Who sits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Index of the account that has the seat.
    pub candidate: u32,
    /// Its stake when it was drawn.
    pub stake: u64,
    /// Shard that it mints in, counted from 0.
    pub shard: u16,
    /// Whether it votes in the master round: everyone does unless there are more than [`DELEGATES_MAX`].
    pub delegate: bool,
}

/// The minters of one height. Seats are in ascending order of candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    /// The height that it mints.
    pub height: u64,
    /// Seat by seat.
    pub members: Vec<Member>,
    /// Seats of each shard, ascending.
    pub shards: Vec<Vec<Seat>>,
}

/// How many shards `minters` make, if the load asks for `wanted`.
pub fn shard_count(minters: usize, wanted: usize) -> usize {
    wanted.min(minters / SHARD_MINTERS).max(1)
}

impl Committee {
    /// Divides minters, (candidate, stake) each once, into shards: by stake in rows of as many as there are shards, each
    /// row dealt by the seed, the last and short one too. Stakes say in which row a minter stands, and nothing else:
    /// whoever arranges his can only make his shares of the shards more even than chance would. So delegates are
    /// dealt as well; by stake a few accounts a little larger than the others' would be most of the master round.
    pub fn new(height: u64, seed: &Hash, minters: &[(u32, u64)], shards_wanted: usize) -> Committee {
        let count = shard_count(minters.len(), shards_wanted);
        let mut by_stake = minters.to_vec();
        by_stake.sort_unstable_by_key(|&(candidate, stake)| (std::cmp::Reverse(stake), candidate));
        let mut lots = Lots::new(seed, b's', height);
        let mut members = Vec::with_capacity(minters.len());
        for row in by_stake.chunks(count) {
            let mut order: Vec<usize> = (0..count).collect();
            lots.shuffle(&mut order);
            for (&(candidate, stake), &shard) in row.iter().zip(&order) {
                members.push(Member { candidate, stake, shard: shard as u16, delegate: true });
            }
        }
        members.sort_unstable_by_key(|member| member.candidate);
        let mut committee = Committee::of(height, members, count);
        let sizes = || committee.shards.iter().map(Vec::len);
        let spread = sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0);
        assert!(spread <= 1, "shards are of one size, or one minter apart");
        if committee.len() > DELEGATES_MAX {
            let of_shard = (DELEGATES_MAX / count).max(1);
            for seats in &committee.shards {
                let mut dealt = seats.clone();
                lots.shuffle(&mut dealt);
                dealt.iter().skip(of_shard).for_each(|&seat| committee.members[usize::from(seat)].delegate = false);
            }
        }
        committee
    }

    /// The committee of these members, ascending by candidate.
    fn of(height: u64, members: Vec<Member>, count: usize) -> Committee {
        assert!(members.is_sorted_by(|a, b| a.candidate < b.candidate), "a minter has one seat");
        let mut shards = vec![Vec::new(); count];
        for (seat, member) in members.iter().enumerate() {
            shards[usize::from(member.shard)].push(seat as Seat);
        }
        let committee = Committee { height, members, shards };
        assert_eq!(committee.shards.iter().map(Vec::len).sum::<usize>(), committee.len(), "each seat is in one shard");
        committee
    }

    /// The same without some of its members: everyone else keeps shard and vote, so that nobody has the others dealt
    /// anew by losing a seat. None if a shard would be empty, or nobody would vote in the master round.
    pub fn without(&self, gone: impl Fn(u32) -> bool) -> Option<Committee> {
        let members = self.members.iter().filter(|member| !gone(member.candidate)).copied().collect();
        let left = Committee::of(self.height, members, self.shards.len());
        (left.shards.iter().all(|seats| !seats.is_empty()) && left.delegates() > 0).then_some(left)
    }

    /// How many seats all shards have together.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody has a seat.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// M: seats that vote in the master round.
    pub fn delegates(&self) -> usize {
        self.members.iter().filter(|member| member.delegate).count()
    }

    /// Of those: how many must agree.
    pub fn quorum(&self) -> usize {
        master_quorum(self.delegates())
    }

    /// B: how many Byzantine seats of the master round are tolerated.
    pub fn byzantine_max(&self) -> usize {
        byzantine_max(self.delegates())
    }

    /// Whether the seat votes in the master round.
    pub fn is_delegate(&self, seat: Seat) -> bool {
        self.members.get(usize::from(seat)).is_some_and(|member| member.delegate)
    }

    /// The candidate's seat.
    pub fn seat_of(&self, candidate: u32) -> Option<Seat> {
        self.members.binary_search_by_key(&candidate, |member| member.candidate).ok().map(|seat| seat as Seat)
    }

    /// Whether the candidate is one of this shard's minters.
    pub fn mints_in(&self, candidate: u32, shard: u16) -> bool {
        self.seat_of(candidate).is_some_and(|seat| self.members[usize::from(seat)].shard == shard)
    }

    /// What the block before commits to, so that light clients can follow.
    /// It binds height, shards, and of each member stake, shard, whether it votes in the master round, and its voting
    /// key: whoever knows this hash can check what the committee certifies.
    pub fn hash<'k>(&self, key: impl Fn(u32) -> &'k VoteKey) -> Hash {
        let leaf = |member: &Member| {
            let mut bytes = [0u8; 15 + 96];
            bytes[..4].copy_from_slice(&member.candidate.to_le_bytes());
            bytes[4..12].copy_from_slice(&member.stake.to_le_bytes());
            bytes[12..14].copy_from_slice(&member.shard.to_le_bytes());
            bytes[14] = u8::from(member.delegate);
            bytes[15..].copy_from_slice(key(member.candidate));
            keyed(&MEMBER_KEY, &bytes)
        };
        let mut whole = [0u8; 48];
        whole[..32].copy_from_slice(&list_root(&NODE_KEY, &mut self.members.iter().map(leaf).collect()));
        whole[32..40].copy_from_slice(&self.height.to_le_bytes());
        whole[40..].copy_from_slice(&(self.shards.len() as u64).to_le_bytes());
        keyed(&NODE_KEY, &whole)
    }

    /// The seat among `seats` with the lowest hash of seed, number and shard: a tie-breaker or proposer that nobody
    /// chooses.
    pub fn lowest(&self, seats: impl Iterator<Item = Seat>, seed: &Hash, number: u64, shard: u16) -> Option<Seat> {
        seats.min_by_key(|&seat| rank(seed, number, shard, self.members[usize::from(seat)].candidate))
    }
}

fn rank(seed: &Hash, number: u64, shard: u16, candidate: u32) -> Hash {
    let mut bytes = [0u8; 46];
    bytes[..32].copy_from_slice(seed);
    bytes[32..40].copy_from_slice(&number.to_le_bytes());
    bytes[40..42].copy_from_slice(&shard.to_le_bytes());
    bytes[42..].copy_from_slice(&candidate.to_le_bytes());
    keyed(&RANK_KEY, &bytes)
}

/// The shard of a sender: keys cannot be ground for it, since the seed is younger than they are.
pub fn shard_of(seed: &Hash, sender: &[u8; 32], shards: usize) -> usize {
    // What is asked several times of each transaction is no hash where there is no choice.
    if shards == 1 {
        return 0;
    }
    let hash = keyed(seed, sender);
    place(u64::from_le_bytes(hash[..8].try_into().expect("8 bytes")), shards)
}

/// The shards that admit a system record: those of rank 1 to 3, so that no single one can censor it.
pub fn record_shards(seed: &Hash, id: &Hash, shards: usize) -> impl Iterator<Item = usize> {
    let mut order: Vec<usize> = (0..shards).collect();
    let mut lots = Lots::new(&keyed(seed, id), b'r', 0);
    lots.shuffle(&mut order);
    order.into_iter().take(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_of_one_size_and_of_like_stake() {
        for minters in 1..120usize {
            let drawn: Vec<_> = (0..minters as u32)
                .map(|candidate| (candidate * 7 % 131, 1_000_000 / (u64::from(candidate) + 1)))
                .collect();
            let committee = Committee::new(5, &[3; 32], &drawn, 8);
            assert_eq!(committee.shards.len(), shard_count(minters, 8));
            let sizes: Vec<_> = committee.shards.iter().map(Vec::len).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            assert_eq!(sizes.iter().sum::<usize>(), minters);
            for (seat, member) in committee.members.iter().enumerate() {
                assert_eq!(committee.seat_of(member.candidate), Some(seat as Seat));
                assert!(committee.shards[usize::from(member.shard)].contains(&(seat as Seat)));
            }
            // The order in which minters were drawn leaves no trace.
            let mut other = drawn.clone();
            other.reverse();
            assert_eq!(Committee::new(5, &[3; 32], &other, 8).hash(|_| &[1; 96]), committee.hash(|_| &[1; 96]));
        }
    }

    #[test]
    fn large_committees_send_as_many_of_each_shard_and_larger_stakes_no_more_than_their_seats() {
        let minters: Vec<_> = (0..600).map(|candidate| (candidate, 1_000 + u64::from(candidate % 10 == 0))).collect();
        let mut of_larger = 0;
        for height in 0..50 {
            let committee = Committee::new(height, &[3; 32], &minters, 60);
            assert_eq!((committee.len(), committee.delegates(), committee.quorum()), (600, 360, 216));
            for seats in &committee.shards {
                assert_eq!(seats.iter().filter(|&&seat| committee.is_delegate(seat)).count(), 6);
            }
            of_larger += committee.members.iter().filter(|member| member.delegate && member.stake > 1_000).count();
        }
        // A tenth of the seats, each by a hair larger than the others: a tenth of 18 000 votes, give or take.
        assert!((1_600..2_000).contains(&of_larger), "{of_larger}");
        let all = Committee::new(5, &[3; 32], &minters[..400], 60);
        assert_eq!(all.delegates(), 400);
    }

    #[test]
    fn who_loses_a_seat_leaves_the_others_where_they_are() {
        let minters: Vec<_> = (0..60).map(|candidate| (candidate, 1_000 + u64::from(candidate))).collect();
        let committee = Committee::new(5, &[3; 32], &minters, 4);
        let left = committee.without(|candidate| candidate % 7 == 3).unwrap();
        assert_eq!(left.len(), 51);
        let stayed = committee.members.iter().filter(|member| member.candidate % 7 != 3);
        assert!(left.members.iter().eq(stayed));
        let first = committee.shards[0].clone();
        let of_first = |candidate: u32| first.contains(&committee.seat_of(candidate).unwrap());
        assert!(committee.without(of_first).is_none(), "a shard without minters is none");
    }

    #[test]
    fn senders_spread_over_shards_and_records_over_three() {
        let mut counts = [0; 7];
        for number in 0..7_000u32 {
            let key = *blake3::hash(&number.to_le_bytes()).as_bytes();
            counts[shard_of(&[9; 32], &key, 7)] += 1;
        }
        assert!(counts.iter().all(|count| (880..1_120).contains(count)), "{counts:?}");
        let shards: Vec<_> = record_shards(&[9; 32], &[1; 32], 7).collect();
        assert_eq!(shards.len(), 3);
        assert_eq!(record_shards(&[9; 32], &[1; 32], 2).count(), 2);
    }
}
