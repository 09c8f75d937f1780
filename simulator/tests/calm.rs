//! Without faults every slot is final and every transfer is in its block.

use dynemix_simulator::options::{FaultSet, SimOptions};
use dynemix_simulator::world::World;

#[test]
fn without_faults_every_slot_is_final_with_every_transfer() {
    for seed in 1..=5 {
        let options = SimOptions { seed, slots: 20, faults: FaultSet::None, ..SimOptions::default() };
        let mut lines = Vec::new();
        let mut trace = |line| lines.push(line);
        let outcome = World::new(&options, Some(&mut trace)).run();
        assert!(outcome.failure.is_none(), "{:?}\n{}", outcome.failure, lines.join("\n"));
        assert!(outcome.height >= 30 && outcome.slots_lost == 0, "{outcome:?}");
        assert!(outcome.transfers > 1_200, "{outcome:?}");
    }
}
