//! What a peer may say, hold and be sent, by the duty that it has at this height. Rights come from duty, not from having
//! a name: any stake buys a name.

use super::frames::CLASSES;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes of a frame at most, by class: of who has a duty. What is longer ends the connection of anyone.
pub const MEMBER_FRAME_MAX: [usize; CLASSES] = [MIB, 16 * MIB, 80 * MIB, 8 * MIB];

/// What a peer is to us now, the least useful first: when room is short, this is the order in which it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It has no name and has called us: a program of users, or a node that follows.
    Guest,
    /// It has no name and fetches what it needs to join.
    Joining,
    /// It has a name, and no duty now.
    Named,
    /// It has a name, and forwards the cells of its users.
    Forwarder,
    /// We have called it, and it has no name.
    Called,
    /// It keeps the transactions of blocks that are not mature.
    Custodian,
    /// It was drawn for one of the next heights.
    Drawn,
    /// It has a seat, or had one a moment ago.
    Seated,
}

/// How many standings there are.
pub const STANDINGS: usize = Standing::ALL.len();

/// What one peer of a standing may hold, and how many of them there are.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Peers of this standing at a time. Those with a duty share their places.
    pub places: usize,
    /// Bytes of a frame that it was not asked for, by class.
    pub frame_max: [usize; CLASSES],
    /// Bytes of its frames that the caller has not worked off: beyond, it is not read.
    pub pending_max: usize,
    /// Bytes that wait to be sent to it, by class. One frame may always wait.
    pub outgoing_max: [usize; CLASSES],
    /// Bytes that are read of it in a second, and twice as many at once; none: as many as come.
    pub read_rate: Option<u64>,
}

impl Standing {
    /// All of them, in their order.
    pub const ALL: [Standing; 8] = [
        Standing::Guest,
        Standing::Joining,
        Standing::Named,
        Standing::Forwarder,
        Standing::Called,
        Standing::Custodian,
        Standing::Drawn,
        Standing::Seated,
    ];

    /// Whether the chain has given it something to do.
    pub fn has_duty(self) -> bool {
        self >= Standing::Custodian
    }

    /// What it is called in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Guest => "guest",
            Standing::Joining => "joining",
            Standing::Named => "named",
            Standing::Forwarder => "forwarder",
            Standing::Called => "called",
            Standing::Custodian => "custodian",
            Standing::Drawn => "drawn",
            Standing::Seated => "seated",
        }
    }

    /// The bounds of this standing unless limits say otherwise. The table with its sums is in docs/node.md.
    pub const fn bounds(self) -> Bounds {
        let duty = Bounds {
            places: 256,
            frame_max: MEMBER_FRAME_MAX,
            pending_max: 32 * MIB,
            outgoing_max: [4 * MIB, 32 * MIB, 160 * MIB, 64 * MIB],
            read_rate: None,
        };
        // Certificates and records are told by everyone with a name: neither reaches these lengths.
        let named = Bounds {
            places: 768,
            frame_max: [128 * KIB, 16 * KIB, 4 * KIB, 256 * KIB],
            pending_max: 2 * MIB,
            outgoing_max: [256 * KIB, MIB, MIB, MIB],
            read_rate: Some(2 << 20),
        };
        match self {
            Standing::Guest => Bounds {
                places: 256,
                frame_max: [4 * KIB, 4 * KIB, 4 * KIB, 256 * KIB],
                outgoing_max: [64 * KIB, 64 * KIB, MIB, MIB],
                ..named
            },
            Standing::Joining => Bounds {
                places: 32,
                frame_max: [4 * KIB; CLASSES],
                pending_max: 64 * KIB,
                outgoing_max: [64 * KIB, 64 * KIB, MIB, 64 * KIB],
                read_rate: Some(64 << 10),
            },
            Standing::Named => named,
            Standing::Forwarder => Bounds { places: 128, pending_max: 4 * MIB, read_rate: Some(4 << 20), ..named },
            // Pieces of snapshots, and outcomes of many cells.
            Standing::Called => Bounds {
                places: 64,
                frame_max: [128 * KIB, 16 * KIB, 256 * KIB, MIB],
                pending_max: 4 * MIB,
                outgoing_max: [256 * KIB, MIB, MIB, 8 * MIB],
                read_rate: None,
            },
            Standing::Custodian => duty,
            Standing::Drawn => Bounds { places: 512, ..duty },
            Standing::Seated => Bounds { places: 768, ..duty },
        }
    }
}

// A piece of a snapshot is what whoever joins asks those for that it has called.
const _: () = assert!(Standing::Called.bounds().frame_max[2] >= 2 * (128 << 10));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_duty_brings_megabytes_that_nobody_asked_for() {
        for standing in Standing::ALL {
            let bounds = standing.bounds();
            let longest = bounds.frame_max.into_iter().max().unwrap();
            assert_eq!(longest > MIB, standing.has_duty(), "{standing:?}");
            assert_eq!(Standing::ALL[standing as usize], standing);
            // Whatever is unfinished in all classes can always be finished.
            assert!(bounds.frame_max.iter().zip(MEMBER_FRAME_MAX).all(|(max, most)| *max <= most));
        }
    }
}
