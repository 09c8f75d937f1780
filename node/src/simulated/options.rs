//! What a run of whole nodes is: its size, and what happens to it.

use serde::Serialize;

/// What happens to the nodes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scene {
    /// Nothing; some accounts spend twice, at two nodes at once.
    Calm,
    /// Nodes are killed and come back, a computer is slow for a while, lines lose what they carry.
    Crashes,
    /// Users offer what the nodes carry, twice and five times as much, and then little; a minter lies about its room.
    Overload,
}

impl Scene {
    /// All of them, in the order in which seeds take them.
    pub const ALL: [Scene; 3] = [Scene::Calm, Scene::Crashes, Scene::Overload];

    /// What a run of this seed is.
    pub fn of_seed(seed: u64) -> Scene {
        Scene::ALL[(seed % Scene::ALL.len() as u64) as usize]
    }
}

/// What a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WholeOptions {
    /// Decides everything that happens.
    pub seed: u64,
    /// Nodes, each a minter.
    pub nodes: u32,
    /// Slots in which something happens; twelve calm ones follow.
    pub slots: u64,
    /// Transactions that users offer in a slot, where they offer what the nodes carry.
    pub load: u64,
    /// What happens in it.
    pub scene: Scene,
}

impl Default for WholeOptions {
    fn default() -> Self {
        WholeOptions { seed: 1, nodes: 4, slots: 24, load: 850, scene: Scene::of_seed(1) }
    }
}

impl WholeOptions {
    /// The same of another seed; `scene`: this one, or what the seed says.
    pub fn of_seed(&self, seed: u64, scene: Option<Scene>) -> WholeOptions {
        WholeOptions { seed, scene: scene.unwrap_or_else(|| Scene::of_seed(seed)), ..self.clone() }
    }

    /// How many times the load is offered in a slot, in tenths.
    pub fn tenths_offered(&self, slot: u64) -> u64 {
        if slot >= self.slots {
            return 0;
        }
        match self.scene {
            Scene::Calm | Scene::Crashes => 3,
            Scene::Overload => match 4 * slot / self.slots.max(1) {
                0 => 10,
                1 => 20,
                2 => 50,
                _ => 3,
            },
        }
    }
}
