//! How a mesh is started, and what it may hold.

use super::frames::CLASSES;
use super::link::LinkShape;
use std::net::SocketAddr;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Bytes of a frame from a member, by class, unless limits say otherwise.
pub const MEMBER_FRAME_MAX: [usize; CLASSES] = [MIB, 16 * MIB, 80 * MIB, 8 * MIB];

/// What may be held at most. Bytes by class are for one peer.
#[derive(Clone, Copy, Debug)]
pub struct MeshLimits {
    /// Connections whose handshake is not done; the oldest makes room for a new one.
    pub shaking_max: usize,
    /// Peers with a name.
    pub members_max: usize,
    /// Peers without a name.
    pub guests_max: usize,
    /// Connections from one address, loopback apart.
    pub address_max: usize,
    /// From accept to a hello that is admitted.
    pub hello_time: Duration,
    /// Bytes of a frame from a member, by class.
    pub member_frame_max: [usize; CLASSES],
    /// Bytes of a frame from a guest, by class.
    pub guest_frame_max: [usize; CLASSES],
    /// Bytes of a member's and a guest's frames that the caller has not worked off: beyond, the peer is not read.
    pub pending_max: [usize; 2],
    /// The same of all together.
    pub pending_total_max: usize,
    /// Bytes that wait to be sent to one peer, by class.
    pub outgoing_max: [usize; CLASSES],
    /// The same for a guest that has called us, in each class.
    pub guest_outgoing_max: usize,
}

impl Default for MeshLimits {
    fn default() -> Self {
        MeshLimits {
            shaking_max: 256,
            members_max: 2_048,
            guests_max: 256,
            address_max: 16,
            hello_time: Duration::from_secs(5),
            member_frame_max: MEMBER_FRAME_MAX,
            guest_frame_max: [4_096, 4_096, 4_096, MIB / 4],
            pending_max: [96 * MIB, 4 * MIB],
            pending_total_max: 512 * MIB,
            outgoing_max: [4 * MIB, 32 * MIB, 160 * MIB, 64 * MIB],
            guest_outgoing_max: 8 * MIB,
        }
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
