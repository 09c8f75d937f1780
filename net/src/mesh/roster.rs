//! Who has a place in the mesh and whom it calls, without sockets and without a clock: `now` in, decisions out.
//!
//! ```text
//!   arrive ────────► begin ──► shaken ──► welcome ──► leave       a call of someone else
//!   calls_due ─────► begin ──► shaken ──► welcome ──► leave       a call of ours, and after it the next one is due
//! ```
//!
//! Whoever drives it owns a socket for each entry, carries out what is decided, and says when a socket is gone.

use super::bans::Bans;
use super::channel::TransportKey;
use super::door::Claim;
use super::nets::{Net, canonical, holder};
use super::options::MeshLimits;
use super::rates::Caller;
use super::standing::{STANDINGS, Standing};
use super::whom::{Names, Target};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Peers that have gone and are remembered: as many as can come and go while what they said is judged.
const GONE_MAX: usize = 4_096;
/// Whom to call at most.
const TARGETS_MAX: usize = 4_096;
/// Calls under way at a time, and of them to one network: where others say that someone listens may be anybody's
/// address, and a hundred nodes that call it are not to be felt there.
const CALLS_MAX: (usize, usize) = (64, 16);
/// The first wait before calling again; it doubles up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// What becomes of a call that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is not taken: there are too many connections from there, and none of them can go.
    Refused,
    /// It is taken, and this connection has to end for it.
    Instead(u64),
    /// It is taken.
    Taken,
}

/// What becomes of a peer whose hello was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// It gets no place, and why.
    Refused(&'static str),
    /// It has its place, and may have taken it from others: from an earlier connection under the same name, and from
    /// the least useful where no place was free.
    Placed { standing: Standing, earlier: Option<u64>, displaced: Option<u64> },
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until its hello is admitted.
    Shaking,
    /// Under its name, or without one.
    Placed(Standing, Option<u32>),
}

struct Entry {
    ip: IpAddr,
    net: Net,
    /// Whom we have called; none if the other side has.
    target: Option<Target>,
    /// The other side's key, once the handshake is done.
    key: Option<TransportKey>,
    stage: Stage,
    /// Someone listens at its address whom we would call.
    expected: bool,
    /// Garbage had come from its address when it came.
    suspected: bool,
    /// When it came, or has said something since.
    spoke_at: Instant,
}

impl Entry {
    fn standing(&self) -> Option<Standing> {
        if let Stage::Placed(standing, _) = self.stage { Some(standing) } else { None }
    }

    /// The name that it has proved.
    fn name(&self) -> Option<u32> {
        if let Stage::Placed(_, name) = self.stage { name } else { None }
    }

    /// Whether it may have to go for the sake of others from its own address or network: who has a duty, or was called,
    /// does not stand there by its own choice alone.
    fn is_crowd(&self) -> bool {
        self.target.is_none() && self.standing().is_none_or(|standing| !standing.has_duty())
    }
}

/// Someone to keep a connection to.
#[derive(Clone, Copy)]
struct Calling {
    failures: u32,
    next: Instant,
    under_way: bool,
}

/// The roster. Its tables agree:
/// 1. `by_name` has every placed entry that has a name, under this name, and nothing else;
/// 2. `counts` has the placed entries of each standing;
/// 3. `of_address` and `of_net` count the entries that have called us;
/// 4. `shaking` has those of them that have no place yet.
pub(super) struct Roster {
    own_key: TransportKey,
    limits: MeshLimits,
    next_id: u64,
    entries: HashMap<u64, Entry>,
    by_name: HashMap<u32, u64>,
    counts: [usize; STANDINGS],
    of_address: HashMap<IpAddr, usize>,
    of_net: HashMap<Net, usize>,
    shaking: BTreeSet<u64>,
    standings: BTreeMap<u32, Standing>,
    /// Which names are good for something; none: all.
    names: Option<Names>,
    /// Whoever says where somebody listens may be wrong, or lie: of several addresses of one key each is called, until
    /// the key is proved on one.
    targets: HashMap<Target, Calling>,
    /// Where they listen.
    expected: HashSet<IpAddr>,
    bans: Bans,
    /// Who has gone lately: what they said may still be judged.
    gone: VecDeque<(u64, IpAddr, TransportKey, Option<u32>)>,
    /// Spreads calls over time; no secret.
    chance: u64,
}

fn count<K: std::hash::Hash + Eq + Copy>(table: &mut HashMap<K, usize>, of: K, more: bool) {
    let count = table.entry(of).or_insert(0);
    *count = if more { *count + 1 } else { *count - 1 };
    if *count == 0 {
        table.remove(&of);
    }
}

impl Roster {
    pub(super) fn new(own_key: TransportKey, limits: MeshLimits, seed: u64) -> Roster {
        Roster {
            own_key,
            limits: limits.fitted(),
            next_id: 0,
            entries: HashMap::new(),
            by_name: HashMap::new(),
            counts: [0; STANDINGS],
            of_address: HashMap::new(),
            of_net: HashMap::new(),
            shaking: BTreeSet::new(),
            standings: BTreeMap::new(),
            names: None,
            targets: HashMap::new(),
            expected: HashSet::new(),
            bans: Bans::default(),
            gone: VecDeque::new(),
            chance: seed,
        }
    }

    /// Someone calls from this address: [`Self::begin`] follows unless it is refused, and the end of whoever has to go.
    /// Where there are too many already the least useful of them goes, so that nobody is kept out for ever by who came
    /// first.
    pub(super) fn arrive(&mut self, address: &SocketAddr) -> Arrival {
        let (ip, net) = (canonical(address.ip()), Net::of(address.ip()));
        let many = |count: Option<&usize>, max: usize| count.is_some_and(|&count| count >= max);
        if net != Net::Loopback {
            let of_address = many(self.of_address.get(&holder(ip)), self.limits.address_max);
            if of_address || many(self.of_net.get(&net), self.limits.net_max) {
                let from_there = |_, entry: &Entry| {
                    entry.is_crowd() && entry.net == net && (!of_address || holder(entry.ip) == holder(ip))
                };
                return self.who_goes(from_there).map_or(Arrival::Refused, Arrival::Instead);
            }
        }
        if self.shaking.len() >= self.limits.shaking_max {
            let shaking = self.shaking.iter().map(|id| (*id, &self.entries[id])).collect();
            return Roster::least_of(shaking).map_or(Arrival::Refused, Arrival::Instead);
        }
        Arrival::Taken
    }

    /// The least useful of some: first from where garbage has come, of these from the /48 and there from the network
    /// that has most of them, there the one that has been silent longest. Who is expected goes last.
    fn who_goes(&self, of: impl Fn(u64, &Entry) -> bool) -> Option<u64> {
        let all = self.entries.iter().map(|(&id, entry)| (id, entry));
        Roster::least_of(all.filter(|(id, entry)| of(*id, entry)).collect())
    }

    fn least_of(all: Vec<(u64, &Entry)>) -> Option<u64> {
        let (mut wide, mut nets): (HashMap<Net, usize>, HashMap<Net, usize>) = Default::default();
        for (_, Entry { net, .. }) in &all {
            *wide.entry(net.wide()).or_insert(0) += 1;
            *nets.entry(*net).or_insert(0) += 1;
        }
        let worst = |(id, entry): &(u64, &Entry)| {
            let crowd = (wide[&entry.net.wide()], nets[&entry.net]);
            (!entry.expected, entry.suspected, crowd, Reverse(entry.spoke_at), Reverse(*id))
        };
        all.into_iter().max_by_key(worst).map(|(id, _)| id)
    }

    /// A connection begins: called by us if `target` is whom we called. Returns its number, which is never used twice.
    pub(super) fn begin(&mut self, address: &SocketAddr, target: Option<TransportKey>, now: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let (ip, net) = (canonical(address.ip()), Net::of(address.ip()));
        if target.is_none() {
            count(&mut self.of_address, holder(ip), true);
            count(&mut self.of_net, net, true);
            self.shaking.insert(id);
        }
        let (expected, suspected) = (self.expected.contains(&holder(ip)), self.bans.suspects(&ip, now));
        let (stage, target) = (Stage::Shaking, target.map(|key| Target { key, address: *address }));
        let entry = Entry { ip, net, target, key: None, stage, expected, suspected, spoke_at: now };
        let before = self.entries.insert(id, entry);
        assert!(before.is_none(), "connection {id} of the mesh has begun twice");
        id
    }

    /// Who calls from this address.
    pub(super) fn caller_at(&self, address: &SocketAddr, now: Instant) -> Caller {
        let (ip, net) = (canonical(address.ip()), Net::of(address.ip()));
        let expected = self.expected.contains(&holder(ip)) && net != Net::Loopback;
        Caller { net, expected, suspected: self.bans.suspects(&ip, now) }
    }

    /// Who makes us work on this connection; none if we do so ourselves, since we have called.
    pub(super) fn caller(&self, id: u64) -> Option<Caller> {
        let Entry { net, expected, suspected, target, .. } = self.entries[&id];
        // Loopback has expected and other programs, and cannot be told apart.
        let expected = expected && net != Net::Loopback;
        target.is_none().then_some(Caller { net, expected, suspected })
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if entry.target.is_none() {
            count(&mut self.of_address, holder(entry.ip), false);
            count(&mut self.of_net, entry.net, false);
        }
        self.shaking.remove(&id);
        if let Some(standing) = entry.standing() {
            self.counts[standing as usize] -= 1;
        }
        Some(entry)
    }

    /// A connection that has just begun could not be watched.
    pub(super) fn cannot_begin(&mut self, id: u64, now: Instant) {
        let target = self.remove(id).and_then(|entry| entry.target);
        if let Some(calling) = target.and_then(|target| self.targets.get_mut(&target)) {
            (calling.under_way, calling.next) = (false, now + BACK_OFF.1);
        }
    }

    /// A call of [`Self::calls_due`] could not even be begun.
    pub(super) fn cannot_call(&mut self, target: &Target, now: Instant) {
        if let Some(calling) = self.targets.get_mut(target) {
            calling.under_way = false;
            calling.failures += 1;
            calling.next = now + BACK_OFF.1;
        }
    }

    /// A handshake is done: the other side has this key.
    pub(super) fn shaken(&mut self, id: u64, key: TransportKey) {
        let Some(entry) = self.entries.get_mut(&id) else { panic!("connection {id} is shaken and has not begun") };
        entry.key = Some(key);
    }

    /// A peer has said something.
    pub(super) fn spoke(&mut self, id: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.spoke_at = now;
        }
    }

    fn standing_of(&self, claim: Claim, called: bool) -> Standing {
        match claim {
            Claim::Named(name) => self.standing_of_name(name),
            _ if called => Standing::Called,
            Claim::Joining => Standing::Joining,
            Claim::Guest => Standing::Guest,
        }
    }

    /// What a name is; one that can still be proved and is good for nothing any more is a guest's.
    fn standing_of_name(&self, name: u32) -> Standing {
        let good = || self.names.as_ref().is_none_or(|names| names(name));
        let other = || if good() { Standing::Named } else { Standing::Guest };
        self.standings.get(&name).copied().unwrap_or_else(other)
    }

    /// Places of a standing: those with a duty share theirs, since one who is drawn is seated a moment later.
    fn places(&self, standing: Standing) -> (usize, usize) {
        let same = |other: &&Standing| **other == standing || (other.has_duty() && standing.has_duty());
        let all = Standing::ALL;
        let of = all.iter().filter(same);
        of.fold((0, 0), |sum, &of| (sum.0 + self.counts[of as usize], sum.1 + self.limits.of(of).places))
    }

    /// Whether this claim is wanted at all, before anything of it is proved.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn wants(&self, id: u64, claim: Claim, now: Instant) -> Result<(), &'static str> {
        let entry = &self.entries[&id];
        assert_eq!(entry.stage, Stage::Shaking, "connection {id} is to get a place and has one");
        let key = entry.key.expect("a hello is read from an open channel only");
        if key == self.own_key || self.bans.key_banned(&key, now) {
            return Err("not wanted");
        }
        if self.places(self.standing_of(claim, entry.target.is_some())).1 == 0 {
            return Err("no place is free");
        }
        let Claim::Named(name) = claim else { return Ok(()) };
        if self.bans.name_banned(name, now) {
            return Err("not wanted");
        }
        if let Some(there) = self.named(name).and_then(|earlier| self.entries.get(&earlier))
            && there.key == Some(key)
            && there.target.is_some() != entry.target.is_some()
        {
            // Both have called each other: both keep the call of the one with the lower key.
            let keep_new = entry.target.is_some() == (self.own_key < key);
            if !keep_new {
                return Err("called each other");
            }
        }
        Ok(())
    }

    /// A peer whose hello was admitted, and whose claim is proved, gets its place, unless it has a better connection
    /// already.
    pub(super) fn welcome(&mut self, id: u64, claim: Claim, now: Instant) -> Welcome {
        if let Err(why) = self.wants(id, claim, now) {
            return Welcome::Refused(why);
        }
        let entry = &self.entries[&id];
        assert!(entry.key.is_some(), "connection {id} is welcome, and nobody knows its key");
        let standing = self.standing_of(claim, entry.target.is_some());
        let name = if let Claim::Named(name) = claim { Some(name) } else { None };
        let earlier = name.and_then(|name| self.named(name));
        let (taken, places) = self.places(standing);
        // The earlier connection of the same name leaves its place to this one.
        let of_earlier = earlier.and_then(|earlier| self.entries[&earlier].standing());
        let leaves = of_earlier.is_some_and(|of| of == standing || (of.has_duty() && standing.has_duty()));
        let displaced = if taken - usize::from(leaves) < places {
            None
        } else {
            let same = |_, entry: &Entry| {
                let both = |of: Standing| of.has_duty() && standing.has_duty() && of <= standing;
                entry.standing().is_some_and(|of| of == standing || both(of))
            };
            match self.who_goes(same) {
                Some(displaced) => Some(displaced),
                None => return Welcome::Refused("no place is free"),
            }
        };
        if let Some(name) = name {
            self.by_name.insert(name, id);
        }
        // At which of its addresses it can be reached only its own call says.
        if let Some(calling) = entry.target.and_then(|target| self.targets.get_mut(&target)) {
            (calling.failures, calling.under_way) = (0, false);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.stage, entry.spoke_at) = (Stage::Placed(standing, name), now);
        }
        self.shaking.remove(&id);
        self.counts[standing as usize] += 1;
        let has_room = taken - usize::from(leaves) < places;
        assert!(
            has_room || displaced.is_some(),
            "{taken} of {places} places are taken, and nobody goes for a newcomer"
        );
        Welcome::Placed { standing, earlier, displaced: displaced.filter(|&displaced| Some(displaced) != earlier) }
    }

    /// Which names are good for something, from the next standings on.
    pub(super) fn set_names(&mut self, names: Names) {
        self.names = Some(names);
    }

    /// What each name is from now on. Returns the connections that are something else than before, and those that have
    /// to go since too many are now the same.
    pub(super) fn set_standings(&mut self, standings: BTreeMap<u32, Standing>) -> (Vec<(u64, Standing)>, Vec<u64>) {
        self.standings = standings;
        let mut changed: Vec<(u64, Standing)> = Vec::new();
        for (&id, entry) in &self.entries {
            let Stage::Placed(before, Some(name)) = entry.stage else { continue };
            let after = self.standing_of_name(name);
            changed.extend((before != after).then_some((id, after)));
        }
        for (id, after) in &changed {
            let entry = self.entries.get_mut(id).expect("found above");
            let Stage::Placed(before, name) = entry.stage else { unreachable!("connection {id} has a place") };
            entry.stage = Stage::Placed(*after, name);
            self.counts[before as usize] -= 1;
            self.counts[*after as usize] += 1;
        }
        let mut go = BTreeSet::new();
        for standing in [Standing::Guest, Standing::Named, Standing::Forwarder] {
            let (taken, places) = self.places(standing);
            for _ in places..taken {
                let left = |id, entry: &Entry| entry.standing() == Some(standing) && !go.contains(&id);
                let next = self.who_goes(left);
                go.extend(next);
            }
        }
        assert!(go.len() <= self.entries.len(), "more have to go than are here");
        changed.sort_unstable();
        (changed, go.into_iter().collect())
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: u64, now: Instant) {
        let Some(entry) = self.remove(id) else { panic!("connection {id} of the mesh has ended twice") };
        if let Some(calling) = entry.target.and_then(|target| self.targets.get_mut(&target)) {
            calling.under_way = false;
            if entry.stage == Stage::Shaking {
                calling.failures += 1;
            }
            let wait = BACK_OFF.0.saturating_mul(1 << calling.failures.min(10)).min(BACK_OFF.1);
            // A little of it by chance, so that not all call at once.
            calling.next = now + wait / 2 + wait.mul_f64((self.chance % 64) as f64 / 128.0);
            self.chance = self.chance.rotate_left(7) ^ id;
        }
        // Who has a key has said something: it may have been false.
        if let Some(key) = entry.key {
            if self.gone.len() >= GONE_MAX {
                self.gone.pop_front();
            }
            self.gone.push_back((id, entry.ip, key, entry.name()));
        }
        // Its name may have gone to a later connection.
        if let Some(name) = entry.name()
            && self.by_name.get(&name) == Some(&id)
        {
            self.by_name.remove(&name);
        }
    }

    /// Whom to keep connections to from now on. Others stay while they last.
    pub(super) fn set_targets(&mut self, targets: Vec<Target>, now: Instant) {
        let own = self.own_key;
        let kept = std::mem::take(&mut self.targets);
        for target in targets.into_iter().filter(|target| target.key != own).take(TARGETS_MAX) {
            let new = Calling { failures: 0, next: now, under_way: false };
            self.targets.insert(target, kept.get(&target).copied().unwrap_or(new));
        }
        assert!(self.targets.keys().all(|target| target.key != own), "we would call ourselves");
        self.expected = self.targets.keys().map(|target| holder(target.address.ip())).collect();
    }

    /// The calls to make now; each counts as under way until its connection leaves or cannot begin.
    pub(super) fn calls_due(&mut self, now: Instant) -> Vec<Target> {
        let is_due = |calling: &Calling| !calling.under_way && calling.next <= now;
        if !self.targets.values().any(is_due) {
            return Vec::new();
        }
        let open: HashSet<TransportKey> = self.entries.values().filter_map(|entry| entry.key).collect();
        // Those that are still shaking hands: what is placed is under way no more.
        let mut nets: HashMap<Net, usize> = HashMap::new();
        let shaking = |entry: &&Entry| entry.target.is_some() && entry.stage == Stage::Shaking;
        let mut under_way = 0;
        for entry in self.entries.values().filter(shaking) {
            *nets.entry(entry.net).or_insert(0) += 1;
            under_way += 1;
        }
        let mut due = Vec::new();
        for (target, calling) in &mut self.targets {
            if under_way >= CALLS_MAX.0 {
                break;
            }
            let net = Net::of(target.address.ip());
            let of_net = nets.entry(net).or_insert(0);
            let key = &target.key;
            let wanted = is_due(calling) && !open.contains(key) && !self.bans.key_banned(key, now);
            if wanted && (*of_net < CALLS_MAX.1 || net == Net::Loopback) {
                calling.under_way = true;
                (*of_net, under_way) = (*of_net + 1, under_way + 1);
                due.push(*target);
            }
        }
        assert!(due.len() <= CALLS_MAX.0, "{} calls begin at once", due.len());
        due
    }

    /// Connections that end when our hello says something new: guests of ours are told nothing.
    pub(super) fn told(&self) -> Vec<u64> {
        let told = |entry: &Entry| entry.target.is_some() || matches!(entry.stage, Stage::Placed(_, Some(_)));
        self.entries.iter().filter(|(_, entry)| told(entry)).map(|(id, _)| *id).collect()
    }

    /// Every call is due at once.
    pub(super) fn call_all(&mut self, now: Instant) {
        self.targets.values_mut().for_each(|calling| (calling.failures, calling.next) = (0, now));
    }

    /// Books points against a peer, also one that has gone: whoever talks garbage and hangs up has talked garbage. True
    /// if its key or its name is banned now.
    pub(super) fn penalise(&mut self, id: u64, points: u32, now: Instant) -> bool {
        let Some((ip, key, name)) = self.who_was(id) else { return false };
        self.bans.penalise(&ip, (&key, name), points, now)
    }

    fn who_was(&self, id: u64) -> Option<(IpAddr, TransportKey, Option<u32>)> {
        let here = self.entries.get(&id).and_then(|entry| Some((entry.ip, entry.key?, entry.name())));
        here.or_else(|| self.gone.iter().find(|gone| gone.0 == id).map(|gone| (gone.1, gone.2, gone.3)))
    }

    /// The connection that the name of this one has by now.
    pub(super) fn namesake(&self, id: u64) -> Option<u64> {
        self.who_was(id).and_then(|(_, _, name)| self.named(name?))
    }

    /// Forgets points and bans that are over.
    pub(super) fn forget(&mut self, now: Instant) {
        self.bans.forget(now);
    }

    /// The connection of a name.
    pub(super) fn named(&self, name: u32) -> Option<u64> {
        self.by_name.get(&name).copied()
    }

    /// Some peers to tell something: half of them among those with a duty, as far as there are any, so that a crowd of
    /// names does not keep the committee from hearing of it; the others whoever they are. `turn` says where to begin.
    pub(super) fn some(&self, count: usize, turn: usize) -> Vec<u64> {
        let (mut duty, mut others) = (Vec::new(), Vec::new());
        for (&id, entry) in &self.entries {
            match entry.standing() {
                Some(standing) if standing.has_duty() => duty.push(id),
                Some(_) => others.push(id),
                None => {}
            }
        }
        let turned = |row: &mut Vec<u64>| {
            let first = turn % row.len().max(1);
            row.rotate_left(first);
        };
        turned(&mut duty);
        let first: Vec<u64> = duty.drain(..count.div_ceil(2).min(duty.len())).collect();
        others.append(&mut duty);
        turned(&mut others);
        let rest = others.into_iter().take(count - first.len());
        first.iter().copied().chain(rest).collect()
    }

    /// Peers that have a place of this standing.
    pub(super) fn alike(&self, standing: Standing) -> usize {
        self.counts[standing as usize]
    }

    /// Connections in all.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Peers that have a place, by standing.
    pub(super) fn counts(&self) -> [usize; STANDINGS] {
        let (mut counts, mut named) = ([0; STANDINGS], 0);
        for entry in self.entries.values() {
            if let Stage::Placed(standing, name) = entry.stage {
                counts[standing as usize] += 1;
                named += usize::from(name.is_some_and(|name| self.by_name.contains_key(&name)));
            }
        }
        assert_eq!(counts, self.counts, "the mesh has miscounted its peers");
        assert!(named >= self.by_name.len(), "a name of the mesh has no connection under it");
        counts
    }

    /// Peers with a name, and without one.
    pub(super) fn members_and_guests(&self) -> (usize, usize) {
        let placed: usize = self.counts.iter().sum();
        (self.by_name.len(), placed - self.by_name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: TransportKey = [1; 32];
    const HIGH: TransportKey = [2; 32];
    const SEVEN: Claim = Claim::Named(7);

    fn roster(own_key: TransportKey, limits: MeshLimits) -> Roster {
        Roster::new(own_key, limits, 5)
    }

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 4_000))
    }

    fn placed(standing: Standing, earlier: Option<u64>, displaced: Option<u64>) -> Welcome {
        Welcome::Placed { standing, earlier, displaced }
    }

    /// A connection up to its welcome, called by us if `target` says so.
    fn meet(roster: &mut Roster, key: TransportKey, called: bool, claim: Claim, now: Instant) -> (u64, Welcome) {
        meet_at(roster, &address(key[0]), key, called, claim, now)
    }

    fn meet_at(
        roster: &mut Roster,
        at: &SocketAddr,
        key: TransportKey,
        called: bool,
        claim: Claim,
        now: Instant,
    ) -> (u64, Welcome) {
        if !called {
            assert_eq!(roster.arrive(at), Arrival::Taken);
        }
        let id = roster.begin(at, called.then_some(key), now);
        roster.shaken(id, key);
        let welcome = roster.welcome(id, claim, now);
        (id, welcome)
    }

    #[test]
    fn of_two_calls_to_each_other_both_sides_keep_the_same() {
        let now = Instant::now();
        // The call of the lower key is kept, whichever is welcomed first at either side.
        for first_is_lows in [true, false] {
            for (own, other) in [(LOW, HIGH), (HIGH, LOW)] {
                let mut roster = roster(own, MeshLimits::default());
                let called_by_us = |is_lows: bool| is_lows == (own == LOW);
                let (first, welcome) = meet(&mut roster, other, called_by_us(first_is_lows), SEVEN, now);
                assert_eq!(welcome, placed(Standing::Named, None, None));
                let (second, welcome) = meet(&mut roster, other, called_by_us(!first_is_lows), SEVEN, now);
                if first_is_lows {
                    assert_eq!(welcome, Welcome::Refused("called each other"));
                    roster.leave(second, now);
                    assert_eq!(roster.named(7), Some(first));
                } else {
                    assert_eq!(welcome, placed(Standing::Named, Some(first), None));
                    roster.leave(first, now);
                    assert_eq!(roster.named(7), Some(second));
                }
                assert_eq!((roster.members_and_guests(), roster.len()), ((1, 0), 1));
            }
        }
    }

    #[test]
    fn a_second_call_of_the_same_side_takes_the_place_of_the_first() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let (first, _) = meet(&mut roster, HIGH, false, SEVEN, now);
        let (second, welcome) = meet(&mut roster, HIGH, false, SEVEN, now);
        assert_eq!(welcome, placed(Standing::Named, Some(first), None));
        roster.leave(first, now);
        assert_eq!((roster.named(7), roster.some(9, 0), roster.counts()[2]), (Some(second), vec![second], 1));
    }

    #[test]
    fn calls_that_fail_wait_twice_as_long_up_to_a_quarter_of_a_minute() {
        let (start, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let target = Target { key: HIGH, address: address(2) };
        roster.set_targets(vec![target, Target { key: LOW, address: address(1) }], start);
        let mut now = start;
        let mut wait = BACK_OFF.0;
        for _ in 0..12 {
            assert_eq!(roster.calls_due(now), [target], "our own key is never called");
            assert!(roster.calls_due(now).is_empty(), "one call at a time");
            let id = roster.begin(&target.address, Some(HIGH), now);
            roster.leave(id, now);
            wait = (2 * wait).min(BACK_OFF.1);
            assert!(roster.calls_due(now + wait / 2 - Duration::from_millis(1)).is_empty());
            now += wait;
        }
        assert_eq!(wait, BACK_OFF.1);
        // One that succeeds is called again soon after it has ended.
        assert_eq!(roster.calls_due(now), [target]);
        let (id, welcome) = meet(&mut roster, HIGH, true, SEVEN, now);
        assert_eq!(welcome, placed(Standing::Named, None, None));
        assert!(roster.calls_due(now + BACK_OFF.1).is_empty(), "it is connected");
        roster.leave(id, now);
        assert_eq!(roster.calls_due(now + BACK_OFF.0), [target]);
    }

    #[test]
    fn who_names_an_address_of_its_own_for_anothers_key_keeps_nobody_from_calling_it() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let at = |host: u8| Target { key: HIGH, address: address(host) };
        let (liars, own) = (at(8), at(2));
        roster.set_targets(vec![liars, own, liars], now);
        let mut due = roster.calls_due(now);
        due.sort_by_key(|target| target.address);
        assert_eq!(due, [own, liars], "each of its addresses, once");
        let waiting = roster.begin(&liars.address, Some(HIGH), now);
        let (id, welcome) = meet(&mut roster, HIGH, true, SEVEN, now);
        assert_eq!(welcome, placed(Standing::Named, None, None));
        // The liar's address answers with another key, or not at all; and is not asked again while the key is here.
        roster.leave(waiting, now);
        assert!(roster.calls_due(now + BACK_OFF.1).is_empty());
        roster.leave(id, now + BACK_OFF.1);
        assert_eq!(roster.calls_due(now + BACK_OFF.1 + BACK_OFF.0).len(), 2);
        assert!([own, liars].iter().all(|target| roster.caller_at(&target.address, now).expected));
    }

    #[test]
    fn addresses_that_others_have_named_are_not_called_all_at_once() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let targets = |net: u8| {
            (0..200).map(move |host| Target {
                key: [[net; 16], [host; 16]].concat().try_into().unwrap(),
                address: SocketAddr::from(([10, 0, net, host], 80)),
            })
        };
        // One network that a hundred candidates have named is anybody's.
        roster.set_targets(targets(7).collect(), now);
        assert_eq!(roster.calls_due(now).len(), CALLS_MAX.1);
        roster.set_targets((0..40).flat_map(targets).collect(), now);
        let due = roster.calls_due(now);
        assert_eq!(due.len(), CALLS_MAX.0);
        for target in &due {
            roster.begin(&target.address, Some(target.key), now);
        }
        assert!(roster.calls_due(now).is_empty());
        assert_eq!(roster.targets.len(), TARGETS_MAX);
    }

    #[test]
    fn a_banned_key_is_neither_welcome_nor_called_and_its_address_is_only_suspected() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let (id, _) = meet(&mut roster, HIGH, false, Claim::Guest, now);
        // It hangs up before it is judged.
        roster.leave(id, now);
        assert!(!roster.penalise(id, 60, now) && roster.penalise(id, 60, now));
        assert!(!roster.penalise(77, 1_000, now), "nobody has this number");
        // An honest peer behind the same address is welcome, if slowly: its key is another.
        let (honest, welcome) = meet_at(&mut roster, &address(HIGH[0]), [9; 32], false, Claim::Guest, now);
        assert_eq!(welcome, placed(Standing::Guest, None, None));
        assert!(roster.caller(honest).unwrap().suspected);
        let target = Target { key: HIGH, address: address(9) };
        roster.set_targets(vec![target], now);
        assert!(roster.calls_due(now).is_empty());
        // From another address its key gives it away.
        let other = roster.begin(&address(9), None, now);
        roster.shaken(other, HIGH);
        assert_eq!(roster.welcome(other, Claim::Guest, now), Welcome::Refused("not wanted"));
        roster.leave(other, now);
        let later = now + Duration::from_secs(601);
        assert_eq!(roster.calls_due(later), [target]);
        let again = roster.begin(&address(HIGH[0]), None, later);
        assert!(!roster.caller(again).unwrap().suspected);
    }

    #[test]
    fn a_banned_name_is_not_let_in_under_another_key() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let (first, _) = meet(&mut roster, HIGH, false, SEVEN, now);
        assert!(!roster.penalise(first, 60, now));
        roster.leave(first, now);
        let (second, welcome) = meet(&mut roster, [9; 32], false, SEVEN, now);
        assert!(matches!(welcome, Welcome::Placed { .. }));
        // What it has said on the first connection is judged when it has the second.
        assert!(roster.penalise(first, 60, now));
        assert_eq!(roster.namesake(first), Some(second));
        roster.leave(second, now);
        let third = roster.begin(&address(6), None, now);
        roster.shaken(third, [10; 32]);
        assert_eq!(roster.wants(third, SEVEN, now), Err("not wanted"), "before its proof is looked at");
        assert_eq!(roster.wants(third, Claim::Guest, now), Ok(()));
    }

    #[test]
    fn a_hello_that_was_never_admitted_is_paid_for_as_well() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        for banned in [false, false, true] {
            let id = roster.begin(&address(5), None, now);
            roster.shaken(id, HIGH);
            roster.leave(id, now);
            assert_eq!(roster.penalise(id, 34, now), banned);
        }
        let id = roster.begin(&address(6), None, now);
        roster.shaken(id, HIGH);
        assert_eq!(roster.wants(id, SEVEN, now), Err("not wanted"), "before anything of it is looked at");
    }

    #[test]
    fn handshakes_that_fill_all_room_make_room_in_their_own_network() {
        let limits = MeshLimits { shaking_max: 8, ..MeshLimits::default() };
        let (now, mut roster) = (Instant::now(), roster(LOW, limits));
        let honest = roster.begin(&SocketAddr::from(([10, 9, 9, 9], 1)), None, now);
        let flood: Vec<u64> = (1..=7).map(|host| roster.begin(&address(host), None, now)).collect();
        for (host, oldest) in (10..60).zip(&flood) {
            assert_eq!(roster.arrive(&address(host)), Arrival::Instead(*oldest));
            roster.leave(*oldest, now);
            roster.begin(&address(host), None, now + Duration::from_secs(1));
        }
        assert!(roster.entries.contains_key(&honest));
        // Who calls from where we would call goes last of all.
        let expected = SocketAddr::from(([10, 0, 0, 100], 1));
        roster.set_targets(vec![Target { key: HIGH, address: expected }], now);
        let first = roster.entries.keys().copied().min().unwrap();
        assert_eq!(first, honest);
        roster.leave(honest, now);
        let known = roster.begin(&expected, None, now);
        assert!(matches!(roster.arrive(&address(200)), Arrival::Instead(id) if id != known));
        assert!(roster.caller(known).unwrap().expected);
    }

    #[test]
    fn full_places_go_from_the_largest_network_and_there_from_the_longest_silent() {
        let mut limits = MeshLimits::default();
        limits.of_mut(Standing::Guest).places = 6;
        let (start, mut roster) = (Instant::now(), roster(LOW, limits));
        let at = |net: u8, host: u8| SocketAddr::from(([10, 0, net, host], 4_000));
        let key = |net: u8, host: u8| [[net + 100; 16], [host; 16]].concat().try_into().unwrap();
        let later = |seconds: u64| start + Duration::from_secs(seconds);
        let guest = |roster: &mut Roster, net, host, now| {
            meet_at(roster, &at(net, host), key(net, host), false, Claim::Guest, now)
        };
        let honest = guest(&mut roster, 1, 1, start).0;
        let crowd: Vec<u64> = (1..=5).map(|host| guest(&mut roster, 2, host, later(u64::from(host))).0).collect();
        // The oldest of all is not the one to go: it is alone in its network. The one that speaks stays.
        roster.spoke(crowd[0], later(9));
        let (_, welcome) = guest(&mut roster, 3, 1, later(10));
        assert_eq!(welcome, placed(Standing::Guest, None, Some(crowd[1])));
        roster.leave(crowd[1], later(10));
        // A crowd that goes on coming displaces its own.
        for (host, gone) in (6..9).zip(&crowd[2..5]) {
            assert_eq!(guest(&mut roster, 2, host, later(11)).1, placed(Standing::Guest, None, Some(*gone)));
            roster.leave(*gone, later(11));
        }
        assert!(roster.entries.contains_key(&honest));
        assert_eq!(roster.counts()[0], 6);
        // Who fetches what it needs to join, and who has a name, has places of its own.
        let (_, welcome) = meet_at(&mut roster, &at(4, 1), key(4, 1), false, Claim::Joining, later(12));
        assert_eq!(welcome, placed(Standing::Joining, None, None));
        let (_, welcome) = meet_at(&mut roster, &at(2, 99), key(2, 99), false, SEVEN, later(12));
        assert_eq!(welcome, placed(Standing::Named, None, None));
    }

    #[test]
    fn who_has_a_whole_48_displaces_its_own() {
        let mut limits = MeshLimits::default();
        limits.of_mut(Standing::Guest).places = 6;
        let (now, mut roster) = (Instant::now(), roster(LOW, limits));
        let guest = |roster: &mut Roster, text: &str, key: u8, seconds: u64| {
            let at = SocketAddr::new(text.parse().unwrap(), 1);
            meet_at(roster, &at, [key; 32], false, Claim::Guest, now + Duration::from_secs(seconds))
        };
        // Two of one /64, silent for longest, and a crowd of which each has a /64 of its own.
        let honest = [1, 2].map(|host| guest(&mut roster, &format!("2001:db8:1:1::{host}"), 10 + host, 0).0);
        for net in 1..=4u8 {
            guest(&mut roster, &format!("2001:db8:2:{net}::1"), 20 + net, u64::from(net));
        }
        for net in 5..=40u8 {
            let (id, welcome) = guest(&mut roster, &format!("2001:db8:2:{net}::1"), 20 + net, u64::from(net));
            let Welcome::Placed { displaced: Some(gone), .. } = welcome else { panic!("{welcome:?}") };
            assert!(!honest.contains(&gone) && gone != id, "the crowd's own goes");
            roster.leave(gone, now + Duration::from_secs(u64::from(net)));
        }
    }

    #[test]
    fn an_address_and_a_network_have_so_many_and_the_newest_is_not_kept_out_by_the_first() {
        let limits = MeshLimits { address_max: 3, net_max: 5, ..MeshLimits::default() };
        let (now, mut roster) = (Instant::now(), roster(LOW, limits));
        let same: Vec<u64> =
            (1..=3).map(|key| meet_at(&mut roster, &address(50), [key + 9; 32], false, Claim::Guest, now).0).collect();
        assert_eq!(roster.arrive(&address(50)), Arrival::Instead(same[0]));
        // All addresses of a network together.
        for host in 1..=2 {
            roster.begin(&address(host), None, now + Duration::from_secs(1));
        }
        assert_eq!(roster.arrive(&address(60)), Arrival::Instead(same[0]));
        // The many forms of an address are one, and a /64 is one holder.
        let v6 = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        assert_eq!(roster.arrive(&v6("::ffff:10.0.0.60")), Arrival::Instead(same[0]));
        for host in 1..=3 {
            roster.begin(&v6(&format!("2001:db8::{host}")), None, now);
        }
        assert!(matches!(roster.arrive(&v6("2001:db8::ffff:1:1")), Arrival::Instead(_)));
        assert_eq!(roster.arrive(&v6("2001:db8:0:1::1")), Arrival::Taken);
        // Who has a duty does not go for that.
        roster.set_standings((1..=5).map(|name| (name, Standing::Seated)).collect());
        let seat = |name: u8| (SocketAddr::from(([10, 7, 7, name], 1)), [name + 100; 32], Claim::Named(name.into()));
        for (at, key, claim) in (1..=5).map(seat) {
            assert_eq!(meet_at(&mut roster, &at, key, false, claim, now).1, placed(Standing::Seated, None, None));
        }
        assert_eq!(roster.arrive(&SocketAddr::from(([10, 7, 7, 9], 1))), Arrival::Refused);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 1));
        (0..100).for_each(|_| {
            assert_eq!(roster.arrive(&loopback), Arrival::Taken);
            roster.begin(&loopback, None, now);
        });
    }

    #[test]
    fn a_duty_brings_a_place_and_its_end_a_place_among_the_named() {
        let mut limits = MeshLimits::default();
        for standing in Standing::ALL {
            limits.of_mut(standing).places = if standing.has_duty() { 1 } else { 2 };
        }
        let (now, mut roster) = (Instant::now(), roster(LOW, limits));
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        let name = |roster: &mut Roster, name: u8, seconds| {
            meet(roster, [name; 32], false, Claim::Named(name.into()), later(seconds))
        };
        let (a, b) = (name(&mut roster, 10, 0).0, name(&mut roster, 11, 1).0);
        assert_eq!(name(&mut roster, 12, 2).1, placed(Standing::Named, None, Some(a)));
        roster.leave(a, later(2));
        // The same crowd does not keep out who has a duty, and three of those have places among them.
        let duties = [(20, Standing::Seated), (21, Standing::Seated), (22, Standing::Custodian), (23, Standing::Drawn)];
        let standings: BTreeMap<u32, Standing> = duties.into_iter().collect();
        assert_eq!(roster.set_standings(standings), (vec![], vec![]));
        let seated = name(&mut roster, 20, 3);
        assert_eq!(seated.1, placed(Standing::Seated, None, None));
        assert_eq!(name(&mut roster, 21, 3).1, placed(Standing::Seated, None, None));
        let custodian = name(&mut roster, 22, 3);
        assert_eq!(custodian.1, placed(Standing::Custodian, None, None));
        // Among those with a duty who has the lesser one makes room, and never the other way round.
        assert!(matches!(name(&mut roster, 23, 4).1, Welcome::Placed { displaced: Some(id), .. } if id == custodian.0));
        roster.leave(custodian.0, later(4));
        // At the next height other names have seats: who had one is one of many now.
        let (changed, go) = roster.set_standings([(11, Standing::Drawn)].into());
        assert_eq!(changed.iter().filter(|change| change.1 == Standing::Named).count(), 3);
        assert!(changed.contains(&(b, Standing::Drawn)) && changed.contains(&(seated.0, Standing::Named)));
        assert_eq!(go.len(), 2, "four are named now, and two have places");
        go.into_iter().for_each(|id| roster.leave(id, later(5)));
        assert_eq!(roster.counts(), [0, 0, 2, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_name_that_is_good_for_nothing_any_more_is_a_guest() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let (first, welcome) = meet(&mut roster, [7; 32], false, SEVEN, now);
        assert_eq!(welcome, placed(Standing::Named, None, None));
        let (other, _) = meet(&mut roster, [8; 32], false, Claim::Named(8), now);
        roster.set_names(std::sync::Arc::new(|name| name == 8));
        assert_eq!(roster.set_standings(BTreeMap::new()), (vec![(first, Standing::Guest)], vec![]));
        roster.leave(first, now);
        assert_eq!(meet(&mut roster, [7; 32], false, SEVEN, now).1, placed(Standing::Guest, None, None));
        assert_eq!((roster.counts()[0], roster.counts()[2], roster.named(8)), (1, 1, Some(other)));
        // Whoever has something to do is what that makes it.
        let (changed, _) = roster.set_standings([(7, Standing::Custodian)].into());
        assert_eq!(changed.iter().map(|change| change.1).collect::<Vec<_>>(), [Standing::Custodian]);
    }

    #[test]
    fn a_crowd_of_names_does_not_keep_the_committee_from_hearing() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let net = |at: u8| SocketAddr::from(([10, 1, at, 1], 1));
        roster.set_standings([(3, Standing::Seated), (4, Standing::Drawn)].into());
        for name in 3..100u8 {
            meet_at(&mut roster, &net(name), [name; 32], false, Claim::Named(name.into()), now);
        }
        let duty = [roster.named(3).unwrap(), roster.named(4).unwrap()];
        for turn in 0..50 {
            let some = roster.some(4, turn);
            let distinct: BTreeSet<u64> = some.iter().copied().collect();
            assert!((some.len(), distinct.len()) == (4, 4) && duty.iter().all(|id| distinct.contains(id)));
        }
        assert_eq!(roster.some(1_000, 3).len(), 97);
    }
}
