//! Ports on this computer that a devnet has for itself. Between looking whether a port is free and a process that
//! listens on it lies time in which another devnet may look too; so each block of ports has a guard, which whoever holds
//! the block listens on.

use std::net::{Ipv4Addr, TcpListener};

/// First port of the first block. All blocks lie below the ports that systems give to outgoing calls.
pub const PORT_FIRST: u16 = 17_645;
/// Ports of a block.
const BLOCK: u16 = 64;
/// Blocks that there are.
const BLOCKS: u16 = 224;
/// Port that guards the first block; the others follow.
const GUARD_FIRST: u16 = PORT_FIRST - BLOCKS;
/// Port that guards those that somebody has wished for: who looks for such looks alone.
const WISHED_GUARD: u16 = GUARD_FIRST - 1;
/// Behind the last port of the last block.
pub const PORT_END: u16 = PORT_FIRST + BLOCK * BLOCKS;

const _: () = assert!(PORT_END < 32_768, "ports of devnets are not given to outgoing calls");

/// Ports in a row that nobody else is given as long as this lives.
#[derive(Debug)]
pub struct Ports {
    /// The first one.
    pub first: u16,
    /// How many there are.
    pub count: u16,
    _guards: Vec<TcpListener>,
}

impl Ports {
    /// `count` free ports in a row; none if there are none.
    pub fn reserve(count: u32) -> Option<Ports> {
        let count = u16::try_from(count).ok()?;
        let listen = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let blocks = count.div_ceil(BLOCK).max(1);
        (0..(BLOCKS + 1).checked_sub(blocks)?).find_map(|block| {
            let _guards: Vec<_> =
                (block..block + blocks).map(|block| listen(GUARD_FIRST + block)).collect::<Option<_>>()?;
            let first = PORT_FIRST + BLOCK * block;
            let free = (first..first + count).all(|port| listen(port).is_some());
            free.then_some(Ports { first, count, _guards })
        })
    }

    /// `count` ports from this one on, if all of them are free and nobody else has asked for such and not let go.
    pub fn fixed(first: u16, count: u16) -> Option<Ports> {
        let listen = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let guard = listen(WISHED_GUARD)?;
        let free = (first..first.checked_add(count)?).all(|port| listen(port).is_some());
        free.then(|| Ports { first, count, _guards: vec![guard] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_later_is_given_others_until_the_first_lets_go() {
        let first = Ports::reserve(70).unwrap();
        let second = Ports::reserve(1).unwrap();
        assert!(!(first.first..first.first + 2 * BLOCK).contains(&second.first), "{first:?} {second:?}");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, second.first)).is_ok(), "its holder may listen");
        assert!(Ports::reserve(u32::from(BLOCK) * u32::from(BLOCKS) + 1).is_none());
        assert!(Ports::reserve(70_000).is_none());
    }

    #[test]
    fn many_at_once_have_nothing_in_common() {
        let held: Vec<Ports> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| Ports::reserve(10).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut firsts: Vec<u16> = held.iter().map(|ports| ports.first).collect();
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= BLOCK), "{firsts:?}");
    }
}
