//! What a false statement costs whoever made it: points, in proportion to what it cost us.
//!
//! A point is a millisecond of a thread. A hundred are a ban and one fades in a second: whoever costs us more than a
//! thousandth of a thread for nothing goes, whoever errs now and then stays.

use dynemix_net::mesh::BAN_POINTS;

/// Microseconds of a point.
const POINT_MICROS: u64 = 1_000;
/// A signature of a transaction that does not hold: its batch is taken apart to find it.
const SIGNATURE_MICROS: u64 = 90;
/// A hint that is wrong: a root is taken after all.
const HINT_MICROS: u64 = 5;
/// A pairing that comes to nothing.
const PAIRING_MICROS: u64 = 1_500;
/// Points that are a ban at once.
const BAN: u64 = BAN_POINTS as u64;
/// Bytes that cost a millisecond between the socket and whoever throws them away.
const POINT_BYTES: usize = 1 << 20;
/// Bytes of what nobody has asked for that are a point: they take the line from what was. A megabyte in a second is all
/// that comes on a line of ten megabits, and whoever fills one with it is gone after a little more than a second.
const POINT_UNWANTED_BYTES: usize = 12 << 10;

/// What was wrong with what somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A frame of so many bytes that is none.
    Malformed(usize),
    /// A message in another class than its own: it would be looked at by whoever does not verify.
    OtherClass,
    /// So many bytes that nobody has asked this peer for, and that it has no duty to send.
    Unwanted(usize),
    /// So many bytes of what an honest peer says once a slot, and this one again and again.
    Repeated(usize),
    /// So many signatures of transactions that do not hold.
    Signatures(usize),
    /// The same of transactions that a node tells minters: it has verified what it tells, so nobody honest does.
    ToldSignatures(usize),
    /// So many hints that are wrong, of what a node tells minters: it has them from verifying.
    ToldHints(usize),
    /// So many proofs of possession that do not hold.
    Possessions(usize),
    /// A certificate that does not hold: nobody honest passes one on.
    Certificate,
    /// A record that does not hold.
    Record,
    /// Items of so many bytes that are not those of the block that they are said to be of.
    OtherItems(usize),
}

impl Failure {
    /// The points that are booked for it.
    pub fn points(self) -> u32 {
        let of_bytes = |bytes: usize| (bytes / POINT_BYTES) as u64;
        let of_micros = |micros: u64| micros / POINT_MICROS;
        let points = match self {
            Failure::Malformed(bytes) => 25 + of_bytes(bytes),
            Failure::OtherClass => 25,
            Failure::Unwanted(bytes) => 1 + (bytes / POINT_UNWANTED_BYTES) as u64,
            Failure::Repeated(bytes) => BAN / 4 + of_bytes(bytes),
            Failure::Signatures(count) => 1 + of_micros(SIGNATURE_MICROS.saturating_mul(count as u64)),
            Failure::ToldSignatures(count) => BAN + of_micros(SIGNATURE_MICROS.saturating_mul(count as u64)),
            Failure::ToldHints(count) => BAN / 4 + of_micros(HINT_MICROS.saturating_mul(count as u64)),
            // Ten times what it costs: each needs an account with a name, but an account lasts.
            Failure::Possessions(count) => of_micros((10 * PAIRING_MICROS).saturating_mul(count as u64)),
            Failure::Certificate => BAN,
            Failure::Record => BAN / 2,
            Failure::OtherItems(bytes) => BAN / 4 + of_bytes(bytes),
        };
        points.min(u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_is_dearer_and_a_frame_of_broken_signatures_is_a_ban() {
        assert_eq!(Failure::Signatures(1).points(), 1);
        assert!(Failure::Signatures(1_100).points() >= 100, "a tenth of a second");
        assert!(Failure::Signatures(110_000).points() > 9_000, "a frame of sixteen mebibytes");
        assert_eq!(Failure::Certificate.points(), 100);
        assert!(Failure::ToldSignatures(1).points() >= 100, "whoever tells has looked");
        assert!((25..100).contains(&Failure::ToldHints(1).points()) && Failure::ToldHints(20_000).points() > 100);
        assert!(Failure::Possessions(7).points() >= 100);
        assert!(Failure::Unwanted(16 << 20).points() > Failure::Unwanted(1_000).points());
        assert!(Failure::Signatures(usize::MAX).points() > 1 << 30, "it saturates and does not wrap");
    }
}
