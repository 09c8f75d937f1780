//! Room that is divided among those who want it: nobody takes more than what is left free.
//!
//! One who is alone gets half of it, n who want all of it get an n + 1st part each, and as much is always left for
//! whoever comes next. Nobody is thrown out for it.
//!
//! Whoever opens one connection opens twenty, one after the other, and each would find half of the rest: so what users
//! hold counts for where they come from, for as long as it is held. A subscriber of IPv6 may have 65 536 networks: so it
//! counts for the /48 as well, which may hold some times what is left free.

use dynemix_net::mesh::Net;
use hashbrown::HashMap;
use std::hash::Hash;

/// For whom something counts, whichever of its connections has brought it and is there still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    net: u64,
    wide: u64,
}

impl Holder {
    /// Of a connection from this network.
    pub fn of(net: Net, connection: u64) -> Holder {
        Holder { net: net.holder(connection), wide: net.wide().holder(connection) }
    }

    /// All that may well be one subscriber's.
    pub fn wide(self) -> Holder {
        Holder { net: self.wide, ..self }
    }
}

/// How much each holds.
#[derive(Debug)]
pub struct Shares<K> {
    held: HashMap<K, usize>,
    total: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Shares { held: HashMap::new(), total: 0 }
    }
}

impl<K: Hash + Eq + Copy> Shares<K> {
    /// What all hold together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// What one holds.
    pub fn of(&self, who: K) -> usize {
        self.held.get(&who).copied().unwrap_or(0)
    }

    /// Whether one may take one more of `room`. `weight`: how many times what is left free it may hold.
    pub fn may_take(&self, who: K, room: usize, weight: usize) -> bool {
        let free = room.saturating_sub(self.total);
        free > 0 && self.of(who) < free.saturating_mul(weight)
    }

    /// One more is held.
    pub fn take(&mut self, who: K) {
        let held = self.held.entry(who).or_insert(0);
        *held += 1;
        self.total += 1;
        assert!(*held <= self.total, "one holds {held} of {}", self.total);
    }

    /// One less is.
    ///
    /// # Panics
    /// When it holds none.
    pub fn give_back(&mut self, who: K) {
        self.give_back_all(who, 1);
    }

    /// So many less are.
    ///
    /// # Panics
    /// When it holds fewer.
    pub fn give_back_all(&mut self, who: K, count: usize) {
        let held = self.held.get_mut(&who).expect("who gives back has taken");
        assert!(count <= *held && *held <= self.total, "{count} are given back of {held}, all hold {}", self.total);
        *held -= count;
        if *held == 0 {
            self.held.remove(&who);
        }
        self.total -= count;
    }
}

/// Users of the API are many, and to those of the network one client that may hold so many times what is left free.
const API_WEIGHT: usize = 8;
/// The networks of a /48 together may hold so many times what is left free.
const WIDE_WEIGHT: usize = 4;

/// Of room that is given back at each height one may hold so many times what is left free.
const USED_WEIGHT: usize = 8;

/// Whose a user's transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// It came by the API.
    pub by_api: bool,
    /// In whose share it is.
    pub holder: Holder,
}

impl User {
    /// As it is kept on the disk.
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [u8::from(self.by_api); 17];
        bytes[1..9].copy_from_slice(&self.holder.net.to_le_bytes());
        bytes[9..].copy_from_slice(&self.holder.wide.to_le_bytes());
        bytes
    }

    /// The same back: a connection that has gone keeps its number, which is as good as any.
    pub fn from_bytes(bytes: &[u8; 17]) -> User {
        let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        User { by_api: bytes[0] != 0, holder: Holder { net: eight(1), wide: eight(9) } }
    }
}

/// Room that users share: each who sends by the network, and beside them all of the API, who share what those may have.
#[derive(Debug, Default)]
pub struct UserShares {
    /// None: those of the API.
    all: Shares<Option<Holder>>,
    by_api: Shares<Holder>,
    /// The same by all that may well be one subscriber's.
    wide: Shares<Option<Holder>>,
    by_api_wide: Shares<Holder>,
}

impl UserShares {
    /// What all hold together.
    pub fn total(&self) -> usize {
        self.all.total()
    }

    /// Whether one may take one more of `room`.
    pub fn may_take(&self, user: User, room: usize) -> bool {
        self.may_hold(user, room, 1)
    }

    /// The same of room that is given back so often that little of it has to be left free: one who is alone gets nearly
    /// all of it, and whoever comes later what is left and then, as it is given back, as much as anybody.
    pub fn may_use(&self, user: User, room: usize) -> bool {
        self.may_hold(user, room, USED_WEIGHT)
    }

    /// Whether one may take one more of `room` if each may hold so many times what is left free.
    fn may_hold(&self, user: User, room: usize, times: usize) -> bool {
        if !user.by_api {
            return self.all.may_take(Some(user.holder), room, times)
                && self.wide.may_take(Some(user.holder.wide()), room, times * WIDE_WEIGHT);
        }
        // As much as all of them together come to, if they go on until they may not.
        let of_others = self.all.total() - self.by_api.total();
        let weight = times * API_WEIGHT;
        let of_api = room.saturating_sub(of_others).saturating_mul(weight) / (weight + 1);
        self.all.may_take(None, room, weight)
            && self.by_api.may_take(user.holder, of_api, times)
            && self.by_api_wide.may_take(user.holder.wide(), of_api, times * WIDE_WEIGHT)
    }

    fn key(user: User) -> Option<Holder> {
        (!user.by_api).then_some(user.holder)
    }

    /// One more is held.
    pub fn take(&mut self, user: User) {
        self.all.take(Self::key(user));
        self.wide.take(Self::key(user).map(Holder::wide));
        if user.by_api {
            self.by_api.take(user.holder);
            self.by_api_wide.take(user.holder.wide());
        }
        assert_eq!(self.all.total(), self.wide.total(), "what is held counts for a network and for its /48");
        assert_eq!(self.all.of(None), self.by_api.total(), "what the API's users hold counts for each and for all");
    }

    /// One less is.
    ///
    /// # Panics
    /// When it holds none.
    pub fn give_back(&mut self, user: User) {
        self.all.give_back(Self::key(user));
        self.wide.give_back(Self::key(user).map(Holder::wide));
        if user.by_api {
            self.by_api.give_back(user.holder);
            self.by_api_wide.give_back(user.holder.wide());
        }
        assert_eq!(self.all.of(None), self.by_api.total(), "what the API's users hold counts for each and for all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coming_again_gives_a_network_nothing_and_one_caller_is_not_all() {
        let mut shares = UserShares::default();
        let mut fill = |by_api: bool, net: Net, connection: u64| {
            let user = User { by_api, holder: Holder::of(net, connection) };
            (0..)
                .take_while(|_| {
                    shares.may_take(user, 900) && {
                        shares.take(user);
                        true
                    }
                })
                .count()
        };
        let net = |third: u8| Net::V4([203, 0, third]);
        assert_eq!(fill(false, net(1), 1), 450, "one alone gets half");
        assert_eq!((2..20).map(|connection| fill(false, net(1), connection)).sum::<usize>(), 0);
        assert_eq!(fill(false, net(2), 20), 225);
        // Of the API each gets half of what its users may have: eight parts of nine of the rest.
        assert_eq!((fill(true, net(1), 1), fill(true, net(1), 2), fill(true, net(3), 3)), (100, 0, 50));
        assert_eq!((fill(true, Net::Loopback, 4), fill(true, Net::Loopback, 5)), (25, 13));
    }

    #[test]
    fn a_48_leaves_room_to_others_however_many_networks_it_has() {
        for by_api in [false, true] {
            let mut shares = UserShares::default();
            let mut fill = |third: u8, last: u16| {
                let [high, low] = last.to_be_bytes();
                let user = User { by_api, holder: Holder::of(Net::V6([0x20, 1, 0, 0, 0, third, high, low]), 1) };
                let may = |shares: &mut UserShares| shares.may_take(user, 900);
                (0..)
                    .take_while(|_| {
                        may(&mut shares) && {
                            shares.take(user);
                            true
                        }
                    })
                    .count()
            };
            let crowd: usize = (0..1_000).map(|last| fill(1, last)).sum();
            let other = fill(2, 1);
            assert!((600..=730).contains(&crowd) && other >= 75, "{crowd} of a /48, {other} of another");
        }
    }

    fn fill(shares: &mut Shares<u32>, who: u32, room: usize) -> usize {
        let before = shares.of(who);
        while shares.may_take(who, room, 1) {
            shares.take(who);
        }
        shares.of(who) - before
    }

    #[test]
    fn who_comes_later_finds_room_however_many_want_all_of_it() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, 1, 1_000), 500, "one alone gets half");
        assert_eq!(fill(&mut shares, 2, 1_000), 250);
        for who in 3..40 {
            assert!(fill(&mut shares, who, 1_000) > 0 || shares.total() > 990, "{who}");
        }
        assert!(shares.total() <= 1_000);
        assert_eq!(fill(&mut shares, 1, 1_000), 0, "who holds much gets nothing more");
        (0..500).for_each(|_| shares.give_back(1));
        assert!(fill(&mut shares, 99, 1_000) > 200);
    }
}
