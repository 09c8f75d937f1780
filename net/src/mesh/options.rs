//! How a mesh is started, and what it may hold.

use super::budget::{CALLER_PARTS, NODE_PARTS, Parts};
use super::link::LinkShape;
use super::rates::HandshakeWork;
use super::standing::{Bounds, STANDINGS, Standing};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of the budget that each place stands for: so many places have room for their connections, whatever they say.
const PLACE_BYTES: usize = 64 << 10;

/// What may be held at most. Every sum is in docs/node.md.
#[derive(Clone, Copy, Debug)]
pub struct MeshLimits {
    /// Bytes of memory of all connections together.
    pub budget_bytes: usize,
    /// How the budget is divided into shares.
    pub parts: Parts,
    /// Connections of others whose hello is not admitted; the least useful makes room for a new one.
    pub shaking_max: usize,
    /// Connections from one address, loopback apart: an IPv4 address, or a /64.
    pub address_max: usize,
    /// Connections from one network, loopback apart: a /24, or a /64.
    pub net_max: usize,
    /// From accept to a hello that is admitted.
    pub hello_time: Duration,
    /// What handshakes of others may cost.
    pub handshake_work: HandshakeWork,
    /// Bounds of each standing, by its place among [`Standing::ALL`].
    pub bounds: [Bounds; STANDINGS],
}

impl Default for MeshLimits {
    fn default() -> Self {
        MeshLimits {
            budget_bytes: 1 << 30,
            parts: NODE_PARTS,
            shaking_max: 256,
            address_max: 16,
            net_max: 64,
            hello_time: Duration::from_secs(5),
            handshake_work: HandshakeWork { total_micros: 200_000, net_micros: 20_000 },
            bounds: Standing::ALL.map(Standing::bounds),
        }
    }
}

impl MeshLimits {
    /// The same for a program that only calls, and has nobody else to keep room for.
    pub fn of_caller(self) -> MeshLimits {
        MeshLimits { parts: CALLER_PARTS, ..self }
    }

    /// The bounds of a standing.
    pub fn of(&self, standing: Standing) -> &Bounds {
        &self.bounds[standing as usize]
    }

    /// The bounds of a standing, to change them.
    pub fn of_mut(&mut self, standing: Standing) -> &mut Bounds {
        &mut self.bounds[standing as usize]
    }

    /// The same with no more places than the budget has room for.
    pub(super) fn fitted(mut self) -> MeshLimits {
        let room = |part: usize| self.budget_bytes / 64 * part / PLACE_BYTES;
        for (bounds, part) in self.bounds.iter_mut().zip(self.parts) {
            bounds.places = bounds.places.min(room(part));
            assert!(bounds.places * PLACE_BYTES <= self.budget_bytes, "places have no room in the budget");
        }
        self.shaking_max = self.shaking_max.min(room(self.parts[8])).max(1);
        self
    }
}

/// How a mesh is started.
pub struct MeshOptions {
    /// Where others call; none: nobody can.
    pub listen: Option<SocketAddr>,
    /// What both sides of a handshake must agree on: version and chain.
    pub prologue: Vec<u8>,
    /// Secret of the static key.
    pub secret: [u8; 32],
    /// What it may hold at most.
    pub limits: MeshLimits,
    /// What the line to others is made to look like; by default it is left as it is.
    pub link: LinkShape,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fit_the_budget_and_at_the_default_none_is_lost() {
        let (full, fitted) = (MeshLimits::default(), MeshLimits::default().fitted());
        for standing in Standing::ALL {
            assert_eq!(full.of(standing).places, fitted.of(standing).places, "{standing:?}");
        }
        let small = MeshLimits { budget_bytes: 64 << 20, ..full }.fitted();
        // 6 of 64 parts of 64 MiB, of 64 KiB each.
        assert_eq!((small.of(Standing::Named).places, small.shaking_max), (96, 32));
        assert_eq!(full.of_caller().fitted().of(Standing::Guest).places, 0);
    }
}
