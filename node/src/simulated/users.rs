//! Users of simulated nodes: they hand payments in by the API, hand in again what was refused, and remember what was
//! accepted.

use super::chain::{SLOT_MS, World};
use super::machine::Machine;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::Cell;
use dynemix_simulator::dice::Dice;
use std::collections::BTreeMap;

/// Connections to the API of each node.
const CONNECTIONS: u64 = 64;
/// Of a thousand payments so many are of who spends twice, in a calm scene.
const TWICE: u64 = 30;

/// A payment that has not ended.
struct Payment {
    user: usize,
    sequence: u64,
    cell: Cell,
    id: Hash,
    node: u32,
    /// When it was said to be accepted, microseconds.
    accepted_us: Option<u64>,
}

/// What users have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Payments handed in.
    pub(super) offered: u64,
    /// Said to be accepted.
    pub(super) accepted: u64,
    /// Of those: final.
    pub(super) finals: u64,
    /// Refused, by name; handed in where there was no room for it: `full`.
    pub(super) refused: BTreeMap<String, u64>,
    /// Final ones by how many slots they waited for since they were accepted.
    pub(super) waits: BTreeMap<u64, u64>,
}

/// Users of all nodes.
pub(super) struct Users {
    /// The next sequence of each, and whether one of its payments is under way.
    next: Vec<(u64, bool)>,
    cursor: usize,
    payments: Vec<Payment>,
    pub(super) seen: Seen,
    /// Two payments of one sequence are handed in now and then.
    twice: bool,
}

impl Users {
    pub(super) fn new(count: usize, twice: bool) -> Users {
        Users { next: vec![(0, false); count], cursor: 0, payments: Vec::new(), seen: Seen::default(), twice }
    }

    /// Hands in so many, each to one of these nodes; `true` of a node in the answer: something came to it.
    pub(super) fn offer(
        &mut self,
        world: &World,
        (now_us, count): (u64, u64),
        machines: &mut [Option<Machine>],
        dice: &mut Dice,
    ) {
        let running: Vec<u32> = (0..machines.len() as u32).filter(|&node| machines[node as usize].is_some()).collect();
        for _ in 0..count {
            let free = (0..self.next.len()).map(|step| (self.cursor + step) % self.next.len());
            let Some(user) = free.into_iter().find(|&user| !self.next[user].1) else { return };
            self.cursor = user + 1;
            let sequence = self.next[user].0;
            let slot = now_us / 1_000 / SLOT_MS;
            let cell = world.pay(user, sequence, DYNE, slot);
            let node = running[dice.below(running.len() as u64) as usize];
            let machine = machines[node as usize].as_mut().expect("it runs");
            self.seen.offered += 1;
            if !machine.submit(user as u64 % CONNECTIONS, &cell) {
                *self.seen.refused.entry("full".into()).or_insert(0) += 1;
                continue;
            }
            self.next[user].1 = true;
            let id = cell.id(&world.chain.transaction_prefix);
            self.payments.push(Payment { user, sequence, cell, id, node, accepted_us: None });
            if self.twice && dice.chance(TWICE) {
                let other = running[dice.below(running.len() as u64) as usize];
                let machine = machines[other as usize].as_mut().expect("it runs");
                // What becomes of this one alone nobody asks.
                machine.submit(user as u64 % CONNECTIONS, &world.pay(user, sequence, 2 * DYNE, slot));
            }
        }
    }

    /// Looks at what became of what was handed in; `sequence`: of an account, at the newest height. What is wrong, if
    /// anything is.
    pub(super) fn look(
        &mut self,
        now_us: u64,
        machines: &[Option<Machine>],
        sequence: impl Fn(usize) -> u64,
    ) -> Option<String> {
        let Users { next, payments, seen, .. } = self;
        let mut wrong = None;
        payments.retain_mut(|payment| {
            let shown = machines[payment.node as usize].as_ref().and_then(|machine| machine.shown(&payment.id));
            let state = shown.as_ref().map(|shown| shown.0.as_str());
            if matches!(state, Some("waiting" | "certified" | "final")) && payment.accepted_us.is_none() {
                payment.accepted_us = Some(now_us);
                seen.accepted += 1;
            }
            let used = sequence(payment.user);
            if used > payment.sequence {
                next[payment.user] = (used, false);
                if let Some(accepted_us) = payment.accepted_us {
                    seen.finals += 1;
                    *seen.waits.entry((now_us - accepted_us) / 1_000 / SLOT_MS).or_insert(0) += 1;
                }
                return false;
            }
            match (state, payment.accepted_us) {
                (Some("refused"), None) => {
                    let name = shown.and_then(|shown| shown.1).unwrap_or_default();
                    *seen.refused.entry(name).or_insert(0) += 1;
                    next[payment.user].1 = false;
                    return false;
                }
                (Some(state @ ("refused" | "expired" | "final" | "replaced" | "used")), _) => {
                    let Payment { user, sequence, node, .. } = payment;
                    wrong.get_or_insert(format!(
                        "payment {sequence} of user {user} was accepted by node {node}, is {state} there now, and final \
                         nowhere"
                    ));
                }
                _ => {}
            }
            true
        });
        let Seen { offered, accepted, finals, .. } = *seen;
        assert!(finals <= accepted && accepted <= offered, "{finals} final, {accepted} accepted, {offered} handed in");
        wrong
    }

    /// A node has started again: what it has not judged is handed in again.
    pub(super) fn hand_in_again(&mut self, node: u32, machine: &mut Machine) {
        for payment in self.payments.iter().filter(|payment| payment.node == node && payment.accepted_us.is_none()) {
            machine.submit(payment.user as u64 % CONNECTIONS, &payment.cell);
        }
    }

    /// How long the oldest of what was accepted and is not final waits, in slots.
    pub(super) fn oldest_slots(&self, now_us: u64) -> u64 {
        let accepted = self.payments.iter().filter_map(|payment| payment.accepted_us);
        accepted.map(|accepted_us| (now_us - accepted_us) / 1_000 / SLOT_MS).max().unwrap_or(0)
    }

    /// Accepted ones that are not final: user, sequence, node.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (usize, u64, u32)> {
        let accepted = self.payments.iter().filter(|payment| payment.accepted_us.is_some());
        accepted.map(|payment| (payment.user, payment.sequence, payment.node))
    }
}
