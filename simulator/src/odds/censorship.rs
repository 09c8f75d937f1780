//! The slow way to the whole committee: whoever can block the shards that would record an answer keeps honest
//! candidates out, and so has more seats, and blocks more shards, of the next height.
//!
//! Each height is drawn by stake among candidates who all answer. An honest answer is recorded unless every shard that
//! admits it is blocked, which it is where too few of its minters are honest to certify a block. Fewer answers let the
//! next draws take more candidates, as the protocol does.

use crate::seed::dice::Dice;
use dynemix_engine::committee::quorum::{byzantine_max, master_quorum, shard_quorum};
use serde::Serialize;

/// What to ask.
#[derive(Clone, Debug, Serialize)]
pub struct CensorshipOptions {
    /// Share of the stake that is bad.
    pub stake: f64,
    /// Seats that draws aim at.
    pub seats: usize,
    /// Minters of a shard.
    pub shard_minters: usize,
    /// Shards that admit an answer.
    pub record_shards: usize,
    /// Heights that are watched at most.
    pub heights: u64,
    /// Decides the draws.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct CensorshipReport {
    /// What was asked.
    pub options: CensorshipOptions,
    /// First height at which bad seats were more than the committee tolerates.
    pub heights_to_beyond: Option<u64>,
    /// First height at which bad seats alone were a quorum.
    pub heights_to_control: Option<u64>,
    /// Share of honest answers that were kept out, until then.
    pub censored_share: f64,
    /// Bad share of the seats, over all heights.
    pub bad_share: f64,
}

/// Follows one chain until the committee has fallen, or for as many heights as asked.
pub fn censorship(options: &CensorshipOptions) -> CensorshipReport {
    let CensorshipOptions { stake, seats, shard_minters, record_shards, heights, seed } = *options;
    let bad_of_million = (stake * 1e6).round() as u64;
    let mut dice = Dice::new(seed, 21);
    let mut answering = 1_000_000u64;
    // The committee that records: who is bad, seat by seat.
    let mut committee: Vec<bool> = (0..seats).map(|_| dice.below(1_000_000) < bad_of_million).collect();
    let (mut beyond, mut control) = (None, None);
    let (mut honest, mut censored, mut bad_seats, mut all_seats) = (0u64, 0u64, 0u64, 0u64);
    for height in 1..=heights {
        let shards = (committee.len() / shard_minters).max(1);
        for i in (1..committee.len()).rev() {
            committee.swap(i, dice.below(i as u64 + 1) as usize);
        }
        // Dealt in turn, as rows of equal stakes are.
        let blocked: Vec<bool> = (0..shards)
            .map(|shard| {
                let minters: Vec<bool> = committee.iter().skip(shard).step_by(shards).copied().collect();
                minters.iter().filter(|&&bad| !bad).count() < shard_quorum(minters.len())
            })
            .collect();
        let drawn = (seats as u64 * 1_000_000).div_ceil(answering.max(250_000));
        let mut answers = Vec::with_capacity(drawn as usize);
        for _ in 0..drawn {
            let bad = dice.below(1_000_000) < bad_of_million;
            if !bad {
                honest += 1;
                let first = dice.below(shards as u64) as usize;
                // Ranks are a permutation of the shards: neighbours from a random one on are as good as any.
                if (0..record_shards.min(shards)).all(|rank| blocked[(first + rank) % shards]) {
                    censored += 1;
                    continue;
                }
            }
            answers.push(bad);
        }
        answering = (3 * answering + answers.len() as u64 * 1_000_000 / drawn) / 4;
        if answers.len() >= 4 {
            committee = answers;
        }
        let bad = committee.iter().filter(|&&bad| bad).count();
        bad_seats += bad as u64;
        all_seats += committee.len() as u64;
        if bad > byzantine_max(committee.len()) {
            beyond.get_or_insert(height);
        }
        if bad >= master_quorum(committee.len()) {
            control = Some(height);
            break;
        }
    }
    CensorshipReport {
        options: options.clone(),
        heights_to_beyond: beyond,
        heights_to_control: control,
        censored_share: censored as f64 / honest.max(1) as f64,
        bad_share: bad_seats as f64 / all_seats.max(1) as f64,
    }
}

/// The share of stake at which more seats than `tolerated` of `seats` are bad once in so many draws, if candidates are
/// many.
pub fn stake_for(seats: usize, tolerated: usize, draws: f64) -> f64 {
    let tail = |stake: f64| -> f64 {
        let (mut term, mut sum) = (((1.0 - stake).ln() * seats as f64).exp(), 0.0);
        let mut logarithm = (1.0 - stake).ln() * seats as f64;
        for bad in 0..=seats {
            if bad > tolerated {
                sum += term;
            }
            logarithm += ((seats - bad) as f64 / (bad + 1) as f64).ln() + (stake / (1.0 - stake)).ln();
            term = logarithm.exp();
        }
        sum
    };
    let (mut low, mut high) = (0.0, 0.9);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if tail(middle) * draws < 1.0 { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_design_come_out() {
        let draws = 100.0 * crate::odds::takeover::SLOTS_PER_YEAR;
        let tolerated = |seats: usize, quorum: usize| 2 * quorum - seats - 1;
        for (seats, three_fifths, two_thirds) in
            [(20usize, 0.1, 2.1), (100, 4.0, 11.6), (200, 7.2, 16.9), (1_000, 13.3, 25.1)]
        {
            let found = [(3 * seats).div_ceil(5), 2 * seats / 3 + 1]
                .map(|quorum| 100.0 * stake_for(seats, tolerated(seats, quorum), draws));
            assert!((found[0] - three_fifths).abs() < 0.1 && (found[1] - two_thirds).abs() < 0.1, "{seats}: {found:?}");
        }
    }

    #[test]
    fn one_recording_shard_is_taken_with_less_stake_than_three() {
        let options = |stake, record_shards| CensorshipOptions {
            stake,
            seats: 100,
            shard_minters: 10,
            record_shards,
            heights: 3_000,
            seed: 1,
        };
        let control = |stake, record_shards| censorship(&options(stake, record_shards)).heights_to_control;
        assert!(control(0.10, 1).is_none() && control(0.10, 3).is_none());
        let least = |record_shards| {
            (10..60).find(|&percent| control(f64::from(percent) / 100.0, record_shards).is_some()).unwrap()
        };
        assert!(least(1) < least(3), "{} {}", least(1), least(3));
    }
}
