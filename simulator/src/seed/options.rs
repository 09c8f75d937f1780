//! What a run does to its nodes; drawn from the seed unless the caller says otherwise.

use super::dice::Dice;
use serde::Serialize;

/// Which faults a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultSet {
    /// None: every slot must be final, every transaction in the next block.
    None,
    /// Byzantine nodes on a calm network: what they can spoil is bounded.
    Liars,
    /// Those that must be survived.
    Survivable,
    /// A calm network in which again and again a whole shard falls to one attacker who takes what it can.
    Captured,
    /// More Byzantine seats than are tolerated: it may halt, and tells forks apart.
    Beyond,
}

/// What travels between shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Whole blocks in even seeds, patches in odd ones.
    Both,
    /// Whole blocks in every seed.
    Blockchain,
    /// Patches in every seed.
    Quilt,
}

/// A run's shape.
#[derive(Clone, Debug, Serialize)]
pub struct SimOptions {
    /// Decides everything that happens in the run.
    pub seed: u64,
    /// Candidates; as many nodes run.
    pub candidates: u32,
    /// Seats drawn for a block.
    pub seats: usize,
    /// Shards that each committee is divided into, if it has the seats.
    pub shards: usize,
    /// Slots with faults; as many without follow as it takes to see that all is well.
    pub slots: u64,
    /// Transfers offered in a slot.
    pub transfers: u64,
    /// Length of a slot.
    pub slot_ms: u64,
    /// Which faults its nodes and network have.
    pub faults: FaultSet,
    /// Whether shards show each other whole blocks or patches.
    pub mode: Mode,
    /// Whether the bytes of each message are counted: it takes longer than sending them.
    pub measure_bytes: bool,
    /// Every so many seeds votes are real BLS signatures; here: whether this one is.
    pub real_signatures: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        SimOptions {
            seed: 1,
            candidates: 20,
            seats: 20,
            shards: 2,
            slots: 60,
            transfers: 50,
            slot_ms: 10_000,
            faults: FaultSet::Survivable,
            mode: Mode::Both,
            measure_bytes: false,
            real_signatures: false,
        }
    }
}

/// How the network and the nodes of one run behave while it is troubled.
#[derive(Clone, Debug, Serialize)]
pub struct Troubles {
    /// Messages lost, of a thousand.
    pub loss: u64,
    /// Messages that come twice, of a thousand.
    pub replay: u64,
    /// Delay of a message, milliseconds, lowest and highest.
    pub delay_ms: (u64, u64),
    /// Partitions a run, of a thousand slots.
    pub partition: u64,
    /// Crashes a node and slot, of a thousand.
    pub crash: u64,
    /// Pauses a node and slot, of a thousand.
    pub pause: u64,
    /// Clock offsets at most, milliseconds, of those nodes whose clock is off.
    pub clock_ms: u64,
    /// Nodes whose clock is off, of a thousand.
    pub clock_off: u64,
    /// Clocks of running nodes that go wrong by up to a year for a while, of a thousand nodes and slots; and all at
    /// once, of a thousand slots.
    pub clock_jump: u64,
    /// Share of Byzantine stake, of a thousand.
    pub byzantine: u64,
    /// Crashes right after a second vote, of a thousand votes.
    pub crash_after_vote: u64,
    /// Total outages, of a thousand slots: nearly everyone crashes at one moment.
    pub blackout: u64,
    /// Milliseconds until a record is durable, at most.
    pub disk_ms: u64,
}

impl SimOptions {
    /// The command line that shows this seed's history.
    pub fn replay_command(&self, seed: u64, slots: u64, real_signatures: bool) -> String {
        let SimOptions { candidates, seats, shards, transfers, faults, mode, .. } = self;
        let (faults, mode) = (format!("{faults:?}").to_lowercase(), format!("{mode:?}").to_lowercase());
        let real = if real_signatures { " --real-signatures" } else { "" };
        format!(
            "dynemix simulate --seed {seed} --nodes {candidates} --seats {seats} --shards {shards} --slots {slots} \
             --transfers {transfers} --faults {faults} --mode {mode}{real} --replay"
        )
    }

    /// Accounts of the chain: enough that in each slot a part of them pays.
    pub fn accounts(&self) -> u64 {
        (4 * self.transfers).max(2_000).max(2 * u64::from(self.candidates))
    }

    /// Whether this run is one in quilt mode.
    pub fn quilt(&self) -> bool {
        match self.mode {
            Mode::Both => self.seed % 2 == 1,
            Mode::Blockchain => false,
            Mode::Quilt => true,
        }
    }
}

impl Troubles {
    /// A calm network of good lines.
    pub fn calm() -> Troubles {
        Troubles {
            loss: 0,
            replay: 0,
            delay_ms: (20, 120),
            partition: 0,
            crash: 0,
            pause: 0,
            clock_ms: 0,
            clock_off: 0,
            clock_jump: 0,
            byzantine: 0,
            crash_after_vote: 0,
            blackout: 0,
            disk_ms: 10,
        }
    }

    /// Troubles of a seed: each kind is absent in some runs, so that others are seen alone.
    pub fn draw(options: &SimOptions) -> Troubles {
        let mut dice = Dice::new(options.seed, 1);
        let calm = Troubles::calm();
        if matches!(options.faults, FaultSet::None | FaultSet::Captured) {
            return calm;
        }
        let mut sometimes = |high: u64| if dice.chance(500) { dice.between(1, high) } else { 0 };
        let (loss, replay, partition, crash, pause) =
            (sometimes(300), sometimes(100), sometimes(300), sometimes(40), sometimes(40));
        let (clock_ms, clock_off) = (sometimes(5_000), sometimes(300));
        let many = options.candidates as usize > options.seats;
        let byzantine =
            if options.faults == FaultSet::Beyond { 450 } else { sometimes(190).max(if many { 50 } else { 0 }) };
        let (slow, crash_after_vote, blackout) = (sometimes(600), sometimes(30), sometimes(120));
        if options.faults == FaultSet::Liars {
            // On every second network a message takes as long as the table of sub-slots has room for.
            let delay_ms = if options.seed % 4 < 2 { calm.delay_ms } else { (60, 240) };
            return Troubles { byzantine: 150, delay_ms, ..calm };
        }
        Troubles {
            loss,
            replay,
            delay_ms: (10, 60 + slow),
            partition,
            crash,
            pause,
            clock_ms,
            clock_off,
            byzantine,
            crash_after_vote,
            blackout,
            disk_ms: 10 + sometimes(200),
            clock_jump: sometimes(30),
        }
    }
}
