//! How long a shard, or the whole committee, resists who holds a share of the stake: draws by the million, with the
//! engine's own sampling and division into shards.

use crate::seed::dice::Dice;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::trie::Trie;
use dynemix_engine::committee::draw::{Lots, draw};
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::quorum::{master_quorum, shard_quorum};
use serde::Serialize;

/// Slots of ten seconds in a year.
pub const SLOTS_PER_YEAR: f64 = 3_155_760.0;

/// What to ask.
#[derive(Clone, Debug, Serialize)]
pub struct TakeoverOptions {
    /// Share of the stake that is bad.
    pub stake: f64,
    /// Candidates; the bad stake is spread over as many of them as its share.
    pub candidates: u32,
    /// Seats of a block.
    pub seats: usize,
    /// Shards that the seats are divided into.
    pub shards: usize,
    /// Whether shards are dealt by stake; else by the seed alone.
    pub bin_sort: bool,
    /// Shards that admit a system record: all of them must be captured to keep an answer out.
    pub record_shards: usize,
    /// How many committees to draw.
    pub draws: u64,
    /// Decides the draws.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct TakeoverReport {
    /// What was asked.
    pub options: TakeoverOptions,
    /// Candidates over which the bad stake is spread.
    pub bad_candidates: u32,
    /// Draws in which a shard was captured: its bad minters could approve anything.
    pub captured_draws: u64,
    /// Shards captured, of all.
    pub captured_share: f64,
    /// Shards that could be blocked, of all.
    pub blocked_share: f64,
    /// Draws with more bad seats than are tolerated by the committee.
    pub beyond_draws: u64,
    /// Draws in which the bad have a quorum of the committee.
    pub quorum_draws: u64,
    /// Draws in which the three shards of some record's rank were all captured, so that an answer could be kept out.
    pub censored_share: f64,
    /// Years until a shard is captured, on average; none if it was never seen.
    pub years_to_capture: Option<f64>,
    /// Years until more seats are bad than are tolerated; none if it was never seen.
    pub years_to_beyond: Option<f64>,
}

/// Draws and counts.
pub fn takeover(options: &TakeoverOptions, mut progress: impl FnMut(u64)) -> TakeoverReport {
    let TakeoverOptions { stake, candidates, seats, shards, bin_sort, record_shards, draws, seed } = *options;
    // Equal stakes: the draw is then the hardest to predict, and the share exact.
    let bad_candidates = (stake * f64::from(candidates)).round() as u32;
    let stakes = vec![1_000_000u64; candidates as usize];
    let of_candidates: Trie<u32, u64> = (0..).zip(stakes.iter().copied()).collect();
    let (mut captured_draws, mut captured, mut blocked, mut beyond_draws, mut quorum_draws) =
        (0u64, 0u64, 0u64, 0u64, 0u64);
    let mut censored = 0f64;
    let mut all = 0u64;
    let mut dice = Dice::new(seed, 9);
    // Who is bad has nothing to do with the order of candidates.
    let mut order: Vec<u32> = (0..candidates).collect();
    (1..order.len()).rev().for_each(|i| order.swap(i, dice.below(i as u64 + 1) as usize));
    let mut is_bad = vec![false; candidates as usize];
    order.iter().take(bad_candidates as usize).for_each(|&candidate| is_bad[candidate as usize] = true);
    let bad = |candidate: u32| is_bad[candidate as usize];
    for number in 0..draws {
        let hash = seed_of(seed, number);
        let mut drawn = draw(&mut Lots::new(&hash, b'd', number), &of_candidates, seats);
        let divided = if bin_sort {
            dealt_by_stake(number, &hash, &drawn, &stakes, shards)
        } else {
            dealt_by_seed(&mut dice, &mut drawn, shards)
        };
        let mut captured_here = 0u64;
        for shard in &divided {
            let bad_here = shard.iter().filter(|&&candidate| bad(candidate)).count();
            let quorum = shard_quorum(shard.len());
            captured_here += u64::from(bad_here >= quorum);
            blocked += u64::from(bad_here > shard.len() - quorum);
        }
        all += divided.len() as u64;
        captured += captured_here;
        captured_draws += u64::from(captured_here > 0);
        // Of all choices of that many shards, those that are wholly captured.
        let ranks = record_shards.min(divided.len()) as u64;
        censored += (0..ranks)
            .map(|i| captured_here.saturating_sub(i) as f64 / (divided.len() as u64 - i) as f64)
            .product::<f64>();
        let bad_seats = drawn.iter().filter(|&&candidate| bad(candidate)).count();
        let quorum = master_quorum(drawn.len());
        beyond_draws += u64::from(bad_seats > 2 * quorum - drawn.len() - 1);
        quorum_draws += u64::from(bad_seats >= quorum);
        if number % 1_024 == 1_023 {
            progress(number + 1);
        }
    }
    let years = |events: u64| (events > 0).then(|| draws as f64 / events as f64 / SLOTS_PER_YEAR);
    TakeoverReport {
        options: options.clone(),
        bad_candidates,
        captured_draws,
        captured_share: captured as f64 / all as f64,
        blocked_share: blocked as f64 / all as f64,
        beyond_draws,
        quorum_draws,
        censored_share: censored / draws as f64,
        years_to_capture: years(captured_draws),
        years_to_beyond: years(beyond_draws),
    }
}

/// Shards as the engine makes them.
fn dealt_by_stake(number: u64, hash: &Hash, drawn: &[u32], stakes: &[u64], shards: usize) -> Vec<Vec<u32>> {
    let minters: Vec<_> = drawn.iter().map(|&candidate| (candidate, stakes[candidate as usize])).collect();
    let committee = Committee::new(number, hash, &minters, shards);
    let candidate = |&seat: &u16| committee.members[usize::from(seat)].candidate;
    committee.shards.iter().map(|seats| seats.iter().map(candidate).collect()).collect()
}

/// Shards by chance alone.
fn dealt_by_seed(dice: &mut Dice, drawn: &mut [u32], shards: usize) -> Vec<Vec<u32>> {
    for i in (1..drawn.len()).rev() {
        drawn.swap(i, dice.below(i as u64 + 1) as usize);
    }
    let size = drawn.len().div_ceil(shards);
    drawn.chunks(size).map(<[u32]>::to_vec).collect()
}

fn seed_of(seed: u64, number: u64) -> Hash {
    let mut dice = Dice::new(seed, number.wrapping_add(1_000));
    let mut hash = [0; 32];
    hash.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.roll().to_le_bytes()));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(at least `least` bad among `count` drawn without replacement).
    fn tail(candidates: u64, bad: u64, count: u64, least: u64) -> f64 {
        let choose = |n: u64, k: u64| (0..k).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum::<f64>();
        (least..=count.min(bad))
            .map(|k| (choose(bad, k) + choose(candidates - bad, count - k) - choose(candidates, count)).exp())
            .sum()
    }

    #[test]
    fn simulated_rates_are_the_analytic_ones() {
        let options = TakeoverOptions {
            stake: 0.2,
            candidates: 1_000,
            seats: 20,
            shards: 2,
            bin_sort: false,
            record_shards: 3,
            draws: 60_000,
            seed: 1,
        };
        let report = takeover(&options, |_| {});
        // Ten seats, 20 % bad: about 0.086 % captured, 12 % blocked.
        let (captured, blocked) = (tail(1_000, 200, 10, 7), tail(1_000, 200, 10, 4));
        assert!((captured - 0.000_86).abs() < 0.000_1 && (blocked - 0.12).abs() < 0.005, "{captured} {blocked}");
        assert!((report.captured_share / captured - 1.0).abs() < 0.25, "{} {captured}", report.captured_share);
        assert!((report.blocked_share / blocked - 1.0).abs() < 0.03, "{} {blocked}", report.blocked_share);
    }
}
