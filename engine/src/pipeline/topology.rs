//! What runs beside what: stages, the rings between them and the pools they share, declared in one value.
//!
//! A topology is checked before a thread starts or a byte is allocated, and its sums are what the node prints and holds
//! itself to.

use serde::Serialize;
use std::collections::BTreeSet;

/// A stage: one or more threads that do one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageSpec {
    /// Its name, in threads, counters and reports.
    pub name: &'static str,
    /// How many threads do it.
    pub threads: usize,
}

/// A ring from one stage to another; a stage of several threads has one ring for each thread it writes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RingSpec {
    /// The writing stage.
    pub from: &'static str,
    /// The reading stage.
    pub to: &'static str,
    /// Entries of each ring.
    pub depth: usize,
    /// How many rings: the writing threads.
    pub rings: usize,
}

/// Memory that is allocated once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolSpec {
    /// What it holds.
    pub name: &'static str,
    /// Bytes.
    pub bytes: u64,
}

/// Everything together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// The stages, in the order in which a transaction meets them.
    pub stages: Vec<StageSpec>,
    /// The rings.
    pub rings: Vec<RingSpec>,
    /// The pools.
    pub pools: Vec<PoolSpec>,
    /// Cell slots: nothing in the pipeline can hold more transactions.
    pub slots: u32,
}

/// Why a topology cannot run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// A stage without threads.
    #[error("stage '{0}' has no threads")]
    NoThreads(&'static str),
    /// Two stages of one name.
    #[error("stage '{0}' is declared twice")]
    StageTwice(&'static str),
    /// A ring that names no stage.
    #[error("the ring {from} -> {to} names a stage that does not exist")]
    UnknownStage {
        /// The writing stage.
        from: &'static str,
        /// The reading stage.
        to: &'static str,
    },
    /// A depth that is not a power of two.
    #[error("the ring {from} -> {to} has depth {depth}, which is not a power of two")]
    Depth {
        /// The writing stage.
        from: &'static str,
        /// The reading stage.
        to: &'static str,
        /// As declared.
        depth: usize,
    },
    /// Not as many rings as writing threads.
    #[error("the ring {from} -> {to} is declared {rings} times for {threads} writing threads")]
    Rings {
        /// The writing stage.
        from: &'static str,
        /// The reading stage.
        to: &'static str,
        /// As declared.
        rings: usize,
        /// Threads of the writing stage.
        threads: usize,
    },
    /// A ring back to an earlier stage that could fill up: two stages might wait for each other for ever.
    #[error("the ring {from} -> {to} leads back and must hold all {slots} slots, not {depth}")]
    Cycle {
        /// The writing stage.
        from: &'static str,
        /// The reading stage.
        to: &'static str,
        /// As declared.
        depth: usize,
        /// The arena's slots.
        slots: u32,
    },
    /// A stage that no ring leads to or from.
    #[error("stage '{0}' is connected to nothing")]
    Unconnected(&'static str),
}

impl Topology {
    /// Checks that the topology can run without a deadlock.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), TopologyError> {
        let mut names = BTreeSet::new();
        for stage in &self.stages {
            if stage.threads == 0 {
                return Err(TopologyError::NoThreads(stage.name));
            }
            if !names.insert(stage.name) {
                return Err(TopologyError::StageTwice(stage.name));
            }
        }
        for &RingSpec { from, to, depth, rings } in &self.rings {
            let position = |name| self.stages.iter().position(|stage| stage.name == name);
            let (Some(from_at), Some(to_at)) = (position(from), position(to)) else {
                return Err(TopologyError::UnknownStage { from, to });
            };
            if !depth.is_power_of_two() {
                return Err(TopologyError::Depth { from, to, depth });
            }
            let threads = self.stages[from_at].threads;
            if rings != threads {
                return Err(TopologyError::Rings { from, to, rings, threads });
            }
            if to_at <= from_at && depth < self.slots as usize {
                return Err(TopologyError::Cycle { from, to, depth, slots: self.slots });
            }
        }
        let connected: BTreeSet<_> = self.rings.iter().flat_map(|ring| [ring.from, ring.to]).collect();
        match self.stages.iter().find(|stage| !connected.contains(stage.name)) {
            Some(stage) => Err(TopologyError::Unconnected(stage.name)),
            None => Ok(()),
        }
    }

    /// Bytes of the rings.
    pub fn rings_bytes(&self) -> u64 {
        self.rings.iter().map(|ring| 8 * ring.depth as u64 * ring.rings as u64).sum()
    }

    /// Bytes of rings and pools: what the node allocates at start.
    pub fn bytes(&self) -> u64 {
        self.rings_bytes() + self.pools.iter().map(|pool| pool.bytes).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let stage = |name, threads| StageSpec { name, threads };
        let ring = |from, to, depth, rings| RingSpec { from, to, depth, rings };
        Topology {
            stages: vec![stage("receive", 1), stage("verify", 2)],
            rings: vec![ring("receive", "verify", 64, 1), ring("verify", "receive", 1024, 2)],
            pools: vec![PoolSpec { name: "cells", bytes: 1000 }],
            slots: 1024,
        }
    }

    #[test]
    fn a_sound_topology_sums_up() {
        let topology = topology();
        assert_eq!(topology.validate(), Ok(()));
        assert_eq!(topology.bytes(), 8 * 64 + 8 * 1024 * 2 + 1000);
    }

    #[test]
    fn every_mistake_is_named() {
        let broken = |change: &dyn Fn(&mut Topology)| {
            let mut topology = topology();
            change(&mut topology);
            topology.validate().unwrap_err()
        };
        assert_eq!(broken(&|t| t.stages[1].threads = 0), TopologyError::NoThreads("verify"));
        assert_eq!(broken(&|t| t.stages[1].name = "receive"), TopologyError::StageTwice("receive"));
        assert!(matches!(broken(&|t| t.rings[0].to = "verfy"), TopologyError::UnknownStage { to: "verfy", .. }));
        assert!(matches!(broken(&|t| t.rings[0].depth = 65), TopologyError::Depth { depth: 65, .. }));
        assert!(matches!(broken(&|t| t.rings[1].rings = 1), TopologyError::Rings { threads: 2, .. }));
        assert!(matches!(broken(&|t| t.rings[1].depth = 512), TopologyError::Cycle { depth: 512, slots: 1024, .. }));
        assert_eq!(
            broken(&|t| t.stages.push(StageSpec { name: "alone", threads: 1 })),
            TopologyError::Unconnected("alone")
        );
    }
}
