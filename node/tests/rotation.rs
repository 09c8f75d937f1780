//! Room and pace where committees rotate: most who tell have no seat, and minters have seen nothing of each other.
// With small limits what is told here fits no window: see `limits.rs`.
#![cfg(not(feature = "tiny-limits"))]

mod scene;

use dynemix::intake::duties::told_share;
use dynemix::minting::fate::Fate;
use dynemix::minting::own::Own;
use dynemix::minting::pool::{HeightPool, Teller};
use dynemix::minting::room::Room;
use dynemix::peer::frames::Frame;
use dynemix::peer::frames::read_cells;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::To;
use scene::{ACCOUNTS, Scene, caller, due, follow};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const STAKERS: u32 = 100;
const SEATS: u32 = 10;
const SLOT_MS: u64 = 2_000;

/// What a node has for its users, and for its duty.
struct Node {
    own: Own,
    room: Room,
    pool: HeightPool,
    /// Senders of what it was told for the pending height, and of what it has taken.
    told: usize,
    taken: BTreeSet<AccountIndex>,
}

struct Net {
    scene: Scene,
    nodes: Vec<Node>,
}

impl Net {
    fn new() -> Net {
        let node = || {
            let (mut own, room) = (Own::default(), Room::new(SLOT_MS));
            own.begin(SLOT_MS);
            Node { own, room, pool: HeightPool::default(), told: 0, taken: BTreeSet::new() }
        };
        let mut scene = Scene::of(ACCOUNTS, STAKERS, SEATS);
        scene.system.drawn = scene.system.draw(&[9; 32], 2, SEATS as usize);
        Net { scene, nodes: (0..STAKERS).map(|_| node()).collect() }
    }

    fn seated(&self) -> Vec<AccountIndex> {
        self.scene.system.committee.members.iter().map(|member| member.candidate).collect()
    }

    /// A minter is told for the pending height.
    fn hear(&mut self, minter: AccountIndex, teller: AccountIndex, cells: &[(Cell, &[u8])]) {
        let (height, scene) = (self.scene.system.height + 1, &self.scene);
        let share = told_share(&scene.system, SLOT_MS, teller, height);
        let node = &mut self.nodes[minter as usize];
        node.told += cells.len();
        let taken = node.room.take(height, teller, share, cells.len());
        node.room.came(height, teller, taken);
        for (cell, payload) in &cells[..taken] {
            let item = Item::transaction(cell, payload);
            scene.admit_from(&mut node.pool, &item, height, &Teller { name: teller, share }).unwrap();
            node.taken.insert(scene.state.find(&cell.sender).unwrap());
        }
    }

    /// A node tells what it may; who is handed something.
    fn tell(&mut self, teller: AccountIndex) -> Vec<AccountIndex> {
        let node = &mut self.nodes[teller as usize];
        let (frames, mine) = node.own.tell(&self.scene.state, &self.scene.system, Some(teller));
        let cell = |item: &Item| item.cell_and_payload().map(|(cell, payload)| (*cell, payload.to_vec()));
        let mine: Vec<(Cell, Vec<u8>)> = mine.iter().map(|(item, ..)| cell(item).unwrap()).collect();
        let mine: Vec<(Cell, &[u8])> = mine.iter().map(|(cell, payload)| (*cell, &payload[..])).collect();
        self.hear(teller, teller, &mine);
        let mut handed = Vec::new();
        for (to, _, frame) in &frames as &[Frame] {
            let To::Name(minter) = *to else { panic!("minters are told by name") };
            let (told, _, cells) = read_cells(&frame[1..]).unwrap();
            let cells: Vec<_> = cells.into_iter().map(|(cell, payload, _)| (cell, payload)).collect();
            if told.is_some() {
                self.hear(minter, teller, &cells);
                continue;
            }
            handed.push(minter);
            for (cell, payload) in cells {
                let account = self.scene.state.find(&cell.sender).unwrap();
                let item = Item::transaction(&cell, payload);
                let of = caller(u64::from(teller));
                follow(&mut self.nodes[minter as usize].own, &item, due(account, 2 * DYNE), of).unwrap();
            }
        }
        handed
    }

    /// Each tells, in an order of its own; minters what they are handed as well.
    fn tell_all(&mut self, first: u32) {
        let handed: BTreeSet<_> = (0..STAKERS).flat_map(|number| self.tell((first + number) % STAKERS)).collect();
        for minter in handed {
            assert!(self.tell(minter).is_empty(), "a minter hands nothing in");
        }
    }

    /// Sets close: who has a seat measures, who was drawn for the next height says how much it takes.
    fn close(&mut self) {
        let (system, seated) = (&self.scene.system, self.seated());
        let height = system.height + 1;
        for &minter in &seated {
            self.nodes[minter as usize].room.close(height * SLOT_MS + 1_140, 240, &seated);
        }
        for &minter in &system.drawn {
            for (teller, room) in self.nodes[minter as usize].room.say(height + 1, &system.drawn) {
                self.nodes[teller as usize].own.pace.hear(minter, height + 1, room);
            }
        }
    }

    /// All that was taken is final, and those who were drawn have the seats.
    fn finish(&mut self, used: &BTreeSet<AccountIndex>) {
        let parent = self.scene.block(&used.iter().copied().collect::<Vec<_>>());
        let system = &mut self.scene.system;
        (system.seed, system.hash) = ([system.height as u8; 32], [system.height as u8; 32]);
        let parameters = &self.scene.chain.parameters.consensus;
        let committee = system.seat(parameters, &system.seed, system.height + 1, &system.drawn);
        system.committee = Arc::new(committee);
        system.drawn = system.draw(&system.seed, system.height + 2, SEATS as usize);
        for node in &mut self.nodes {
            node.own.settle(
                &[0; 32],
                &self.scene.state,
                &parent,
                &self.scene.system,
                |_, _| Ok(()),
                |_, _| Fate::Final,
            );
            node.pool.settle(&self.scene.system);
            node.room.begin(self.scene.system.height + 1, SEATS as usize, self.scene.system.height * SLOT_MS);
            (node.told, node.taken) = (0, BTreeSet::new());
        }
    }
}

#[test]
fn where_committees_rotate_what_is_told_is_taken_and_all_minters_take_the_same() {
    let mut net = Net::new();
    let mut seats: BTreeMap<AccountIndex, u32> = BTreeMap::new();
    for node in &mut net.nodes {
        node.room.begin(1, SEATS as usize, 0);
    }
    for height in 1..=24 {
        // How much users may bring is known from who has a seat.
        net.tell_all(height);
        // Users come to all nodes, most of which have no seat: eight or nine to each.
        let users: Vec<AccountIndex> = (STAKERS..ACCOUNTS - 240).collect();
        for &user in &users {
            let own = &mut net.nodes[(user % STAKERS) as usize].own;
            follow(own, &net.scene.pay(user, 2 * DYNE), due(user, 2 * DYNE), caller(u64::from(user))).unwrap();
        }
        net.tell_all(height * 7);
        let seated = net.seated();
        let taken = net.nodes[seated[0] as usize].taken.clone();
        for &minter in &seated {
            *seats.entry(minter).or_default() += 1;
            let node = &net.nodes[minter as usize];
            assert_eq!(node.taken.len(), node.told, "height {height}: minter {minter} takes what it is told");
            assert_eq!(node.taken, taken, "height {height}: minter {minter} takes what the others take");
        }
        assert_eq!(taken.len(), users.len(), "height {height}: all that users have brought");
        net.close();
        net.finish(&taken);
    }
    assert!(seats.len() > 60, "{} have had a seat, the others never", seats.len());
}
