//! Guests who together fill their share to the brim, each with no more than its part, keep nobody from being heard.

mod common;

use common::{ByHand, start_with};
use dynemix_net::mesh::MeshLimits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Guests of the crowd: what they hold is more than may be read of the share, a 64th of it for each less than a part.
const CROWD: u8 = 63;

#[test]
fn who_brings_a_few_bytes_is_heard_while_a_crowd_holds_its_share_full() {
    let limits = MeshLimits { budget_bytes: 256 << 20, ..MeshLimits::default() };
    let a = start_with(1, Some(1), b"chain", limits, "");
    let mut honest = ByHand::introduced(a.address(), &[99; 32], None).unwrap();
    let mut crowd: Vec<ByHand> =
        (101..101 + CROWD).map(|number| ByHand::introduced(a.address(), &[number; 32], None).unwrap()).collect();
    // Of a frame of 250 KiB each 145: a guest's may be as long.
    for attacker in &mut crowd {
        attacker.say(3, &(250u32 << 10).to_le_bytes());
        let pieces = (0..29).filter(|_| attacker.say(3, &[7; 5 << 10])).count();
        assert!(pieces > 0, "one of the crowd was not let in");
    }
    std::thread::sleep(Duration::from_secs(2));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Who is gone by now says nothing.
                crowd.retain_mut(|attacker| attacker.say(3, &[7; 16]));
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let begun = Instant::now();
        assert!(honest.say(3, &[&100u32.to_le_bytes()[..], &[9; 100]].concat()));
        // The only frame that is ever whole.
        let heard = || a.handle.counters().frames[3].load(Ordering::Relaxed) == 1;
        while !heard() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(heard(), "a hundred bytes were not heard in {:?}", begun.elapsed());
    });
}
