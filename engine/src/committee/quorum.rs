//! Every threshold of the protocol, in one place.

use crate::base::mutation::{Mutation, planted};

/// Seats of the master committee that must agree: floor(2M/3) + 1 below 200 seats, else ceil(3M/5).
pub fn master_quorum(seats: usize) -> usize {
    let quorum = if seats < 200 { 2 * seats / 3 + 1 } else { (3 * seats).div_ceil(5) };
    assert!(seats == 0 || (quorum <= seats && 2 * quorum > seats), "any two quorums share a seat, and all are one");
    if planted(Mutation::QuorumMinusOne) { quorum.saturating_sub(1).max(1) } else { quorum }
}

/// B = 2q - M - 1: any two quorums share more seats than this, so with at most so many Byzantine seats they share an
/// honest one.
pub fn byzantine_max(seats: usize) -> usize {
    let quorum = if seats < 200 { 2 * seats / 3 + 1 } else { (3 * seats).div_ceil(5) };
    let byzantine = 2 * quorum - seats - 1;
    assert!(seats == 0 || byzantine < quorum, "those who may be Byzantine are no quorum by themselves");
    byzantine
}

/// Minters of a shard whose identical votes approve its block.
pub fn shard_quorum(minters: usize) -> usize {
    let quorum = 2 * minters / 3 + 1;
    assert!(2 * quorum > minters + shard_faults(minters), "any two quorums of a shard share an honest minter");
    quorum
}

/// f = (m - 1) / 3.
pub fn shard_faults(minters: usize) -> usize {
    (minters.max(1) - 1) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_quorums_share_an_honest_seat_and_the_rest_can_be_silent() {
        for seats in 1..=399 {
            let (quorum, byzantine) = (master_quorum(seats), byzantine_max(seats));
            assert!(quorum <= seats && 2 * quorum > seats);
            // Two quorums overlap in 2q - M seats: with B of them Byzantine one is honest still, with more none may be.
            assert_eq!(2 * quorum - seats, byzantine + 1, "{seats}");
            // A third of the seats, and two fifths from the switch on, may be silent.
            let silent = if seats < 200 { (seats - 1) / 3 } else { 2 * seats / 5 };
            assert_eq!(seats - quorum, silent, "{seats}");
        }
        assert_eq!([1, 4, 10, 20, 100, 199, 200, 399].map(master_quorum), [1, 3, 7, 14, 67, 133, 120, 240]);
        assert_eq!([1, 4, 10, 20, 100, 199, 200, 399].map(byzantine_max), [0, 1, 3, 7, 33, 66, 39, 80]);
        assert_eq!([1, 4, 10].map(shard_quorum), [1, 3, 7]);
        assert_eq!([1, 4, 10].map(shard_faults), [0, 1, 3]);
    }
}
