//! What a devnet's run came to, and whether that is good.

use super::flood::FloodShown;
use dynemix_perf::report::{bytes, counted, facts, grouped};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// Percentiles of a latency, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half are below.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// The slowest of all.
    pub max: f64,
}

impl Percentiles {
    /// Of a histogram of milliseconds.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64;
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: histogram.max() as f64 }
    }
}

/// Time from when a transaction was due to its finality checkpoints.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct FinalityMs {
    /// Until its shard-block was certified.
    pub shard: Percentiles,
    /// Until its master-block was final and whoever sent it was told.
    pub master: Percentiles,
}

/// What became of a load that may be more than the network carries, and of a lesser one after it.
#[derive(Clone, Debug, Serialize)]
pub struct Overload {
    /// Offered a second.
    pub tps: u64,
    /// Final a second, while it was offered.
    pub tps_final: f64,
    /// Share of what was taken that is in a block of its own slot or the next.
    pub in_time_share: f64,
    /// Of these so many were taken by the nodes that they were offered to.
    pub admitted: u64,
    /// The others, which were answered "busy".
    pub busy: u64,
    /// From when it was due to finality, of what was taken: 99 of a hundred are below; none if more than that never
    /// became final.
    pub p99_ms: Option<u64>,
    /// Slots of the lesser load until all was taken and in time; none if that did not come.
    pub recovery_slots: Option<u64>,
}

/// A slot of the live table.
#[derive(Clone, Debug, Serialize)]
pub struct SlotRow {
    /// Which slot, counted from the chain's start.
    pub slot: u64,
    /// What became final in it: the height; none if the slot was lost.
    pub height: Option<u64>,
    /// Shard-blocks in it; 0 if the slot was lost.
    pub shards: usize,
    /// Transactions and records in them.
    pub transactions: u64,
    /// Of them: transactions of users, whoever they are.
    pub payments: u64,
    /// Transactions offered in the slot.
    pub offered: u64,
    /// The load's transactions that became final in the slot.
    pub final_transactions: u64,
    /// Milliseconds into the slot until half of the nodes had the block.
    pub final_after_ms: u64,
    /// Median latency to the shard's certificate, of what became final.
    pub shard_ms: f64,
    /// Median latency to finality.
    pub master_ms: f64,
    /// Bytes that a node sent, on average.
    pub sent_per_node: u64,
    /// Share of the processors that all nodes used.
    pub cpu_share: f64,
}

impl SlotRow {
    /// Records of the system in its block.
    pub fn records(&self) -> u64 {
        self.transactions.saturating_sub(self.payments)
    }
}

/// What a run came to, as `--json` has it.
#[derive(Clone, Debug, Serialize)]
pub struct DevnetReport {
    /// Processes, each a minter.
    pub nodes: u32,
    /// Shards that there were at the end: one for ten minters, no more than asked for.
    pub shards: u32,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// quilt or blockchain.
    pub mode: String,
    /// The line of each node; empty: this computer's own.
    pub link: String,
    /// Slots with a final block, of those watched.
    pub slots_final: u64,
    /// Slots without a block.
    pub slots_lost: u64,
    /// Transactions of users in the blocks that were watched, whoever they are.
    pub payments: u64,
    /// Records of the system in them.
    pub records: u64,
    /// Whether it was asked for how long: who only watches asks for no judgement.
    pub is_judged: bool,
    /// Transactions offered a second.
    pub tps_offered: f64,
    /// Final a second, over the slots that the load was offered in.
    pub tps_final: f64,
    /// Transactions that were sent.
    pub offered: u64,
    /// Of them final.
    pub final_transactions: u64,
    /// Of them refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Of them answered "busy": nobody took them, and their senders tried again.
    pub busy: u64,
    /// Share of those that were taken that is in a block of its own slot or the next, and final.
    pub included_next_slot_share: f64,
    /// What became of a load, and of another one after it.
    pub overload: Option<Overload>,
    /// Time from when a transaction was due to each checkpoint, milliseconds.
    pub finality_ms: FinalityMs,
    /// Bytes that a node sent for a final transaction, on average.
    pub bytes_per_tx_sent: f64,
    /// Bytes that a node received.
    pub bytes_per_tx_received: f64,
    /// Signatures of transactions that all nodes verified.
    pub verified: u64,
    /// Time that took on their threads, seconds.
    pub verify_s: f64,
    /// Processor time of each node, seconds.
    pub cpu_s: Vec<f64>,
    /// Resident memory of each node, bytes.
    pub rss_bytes: Vec<u64>,
    /// Whether all nodes came to one state; none if not all could be asked.
    pub state_roots_equal: Option<bool>,
    /// The height that was compared.
    pub compared_height: u64,
    /// Whether no unit was made or lost; none if not all could be asked.
    pub supply_conserved: Option<bool>,
    /// Transactions that were handed in again, since the node that had them was killed before it had answered.
    pub handed_in_again: u64,
    /// Of them: those that had become final meanwhile, as nodes say of their accounts. They are among the final ones.
    pub used: u64,
    /// Transactions of which nodes could say only that their sequence is used up: nobody has shown in time by what. Nothing
    /// but this load has signed anything of these accounts, so that they are final if their accounts say so.
    pub unproved: u64,
    /// Transactions of which nobody knows what became of them.
    pub without_outcome: u64,
    /// Nodes that were killed and started again.
    pub kills: u64,
    /// Of them: those that minted again before the end.
    pub minted_again: u64,
    /// What became of the liar, if there was one.
    pub flood: Option<FloodShown>,
    /// How late the load itself was at most, milliseconds: a generator that cannot keep up measures itself.
    pub generator_late_ms: u64,
    /// Slot by slot.
    pub slots: Vec<SlotRow>,
    /// Why the run is not good; empty if it is.
    pub failures: Vec<String>,
}

/// The head of the live table: of a load, or of a network that is only watched.
pub fn live_head(load: bool) -> String {
    let common = format!("{:>5} {:>6} {:>6} {:>8} {:>7}", "slot", "height", "shards", "payments", "records");
    if load {
        let of_load = format!("{:>9} {:>8} {:>8}", "offered/s", "shard ms", "final ms");
        return format!("{common} {of_load} {:>10} {:>4}", "sent/node", "CPU");
    }
    format!("{common} {:>8} {:>10} {:>4}", "after ms", "sent/node", "CPU")
}

/// A line of it.
pub fn live_row(row: &SlotRow, slot_ms: u64, load: bool) -> String {
    let height = row.height.map_or("LOST".to_owned(), |height| height.to_string());
    let ms = |value: f64| if value > 0.0 { format!("{value:.0}") } else { "-".to_owned() };
    let (payments, records) = (grouped(row.payments), grouped(row.records()));
    let common = format!("{:>5} {height:>6} {:>6} {payments:>8} {records:>7}", row.slot, row.shards);
    let cost = format!("{:>10} {:>3.0}%", bytes(row.sent_per_node), row.cpu_share * 100.0);
    if load {
        let offered = grouped(row.offered * 1_000 / slot_ms.max(1));
        return format!("{common} {offered:>9} {:>8} {:>8} {cost}", ms(row.shard_ms), ms(row.master_ms));
    }
    format!("{common} {:>8} {cost}", ms(row.final_after_ms as f64))
}

/// Columns of a terminal that everybody has.
const COLUMNS: usize = 80;

/// Names and values, the values in one column and no line longer than a terminal has columns.
fn within_columns(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    let room = COLUMNS.saturating_sub(width + 4);
    let mut lines = Vec::new();
    for (name, value) in rows {
        let (mut name, mut line) = (*name, String::new());
        for word in value.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push((name, std::mem::take(&mut line)));
                name = "";
            }
            line = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        }
        lines.push((name, line));
    }
    facts(&lines)
}

/// A row of the table for people.
type Row = (&'static str, String);

impl DevnetReport {
    /// The table and the verdict, for people.
    pub fn text(&self) -> String {
        let mut rows = vec![
            (
                "network",
                format!(
                    "{}, {}, {} mode, {} ms slots{}",
                    counted(self.nodes.into(), "node"),
                    counted(self.shards.into(), "shard"),
                    self.mode,
                    grouped(self.slot_ms),
                    if self.link.is_empty() { String::new() } else { format!(", {}", self.link) }
                ),
            ),
            ("slots", format!("{} final, {} lost", self.slots_final, self.slots_lost)),
            (
                "in their blocks",
                format!(
                    "{} of users, {} of the system",
                    counted(self.payments, "payment"),
                    counted(self.records, "record")
                ),
            ),
        ];
        if self.offered > 0 {
            rows.extend(self.of_load());
        }
        // What the load itself was late counts as latency of the network.
        if self.generator_late_ms > self.slot_ms / 10 {
            rows.push(("the load itself", format!("late by {} ms at most", grouped(self.generator_late_ms))));
        }
        if self.kills > 0 {
            rows.push((
                "killed and restarted",
                format!("{}, {} of them minted again", counted(self.kills, "time"), self.minted_again),
            ));
            rows.push((
                "handed in again after that",
                format!("{}, of which {} were final already", grouped(self.handed_in_again), grouped(self.used)),
            ));
        }
        if self.unproved > 0 {
            rows.push((
                "final by account alone",
                format!("{}, which nobody has shown in a block", grouped(self.unproved)),
            ));
        }
        if let Some(FloodShown { kind, frames, closed, gone_after_ms }) = &self.flood {
            let gone = match gone_after_ms {
                Some(ms) => format!("no node heard it any more after {ms} ms"),
                None => "nodes hear it still".to_owned(),
            };
            let frames = grouped(*frames);
            rows.push(("liar", format!("{frames} frames of {kind}; {} ended; {gone}", counted(*closed, "connection"))));
        }
        rows.extend(self.of_nodes());
        for (reason, count) in &self.refused {
            rows.insert(rows.len() - 1, ("refused", format!("{} {reason}", grouped(*count))));
        }
        within_columns(&rows)
    }

    /// What became of the load.
    fn of_load(&self) -> [Row; 5] {
        let spread = |percentiles: &Percentiles| {
            format!(
                "p50 {:.0}, p90 {:.0}, p99 {:.0}, max {:.0} ms",
                percentiles.p50, percentiles.p90, percentiles.p99, percentiles.max
            )
        };
        [
            ("offered", format!("{}, {:.0} a second", counted(self.offered, "transaction"), self.tps_offered)),
            (
                "final",
                format!(
                    "{}, {:.0} a second; of those taken {:.3} % in their slot or the next, {} busy",
                    counted(self.final_transactions, "transaction"),
                    self.tps_final,
                    self.included_next_slot_share * 100.0,
                    grouped(self.busy)
                ),
            ),
            ("to the shard's certificate", spread(&self.finality_ms.shard)),
            ("to finality", spread(&self.finality_ms.master)),
            (
                "traffic of a transaction",
                format!("a node sent {:.0}, received {:.0} bytes", self.bytes_per_tx_sent, self.bytes_per_tx_received),
            ),
        ]
    }

    /// What it cost the nodes, and whether they agree.
    fn of_nodes(&self) -> [Row; 5] {
        let cpu: f64 = self.cpu_s.iter().sum();
        let unknown = |what: &str| match self.compared_height {
            0 => format!("not {what}: no block was final yet"),
            _ => format!("not {what}: not every node could be asked"),
        };
        let most = self.rss_bytes.iter().max().copied().unwrap_or(0);
        [
            (
                "processor time",
                format!(
                    "{cpu:.1} s of all nodes; {} verified in {:.1} s",
                    counted(self.verified, "signature"),
                    self.verify_s
                ),
            ),
            ("memory", format!("{} in the largest node", bytes(most))),
            (
                "state roots",
                match self.state_roots_equal {
                    Some(true) => format!("equal at height {}", self.compared_height),
                    Some(false) => format!("DIFFERENT at height {}", self.compared_height),
                    None => unknown("compared"),
                },
            ),
            (
                "supply",
                match self.supply_conserved {
                    Some(true) => "conserved".to_owned(),
                    Some(false) => "NOT CONSERVED".to_owned(),
                    None => unknown("counted"),
                },
            ),
            ("verdict", self.verdict()),
        ]
    }

    fn verdict(&self) -> String {
        match (self.is_judged, self.slots_final, self.slots_lost) {
            _ if !self.failures.is_empty() => self.failures.join("; "),
            (_, 0, 0) => "none: it was stopped before a slot was over".to_owned(),
            (false, _, lost) if lost > 0 => {
                format!("{} lost, which only a run with --duration is judged by", counted(lost, "slot"))
            }
            _ => "good".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: u64) -> SlotRow {
        SlotRow {
            slot: figure,
            height: Some(figure),
            shards: 40,
            transactions: figure + 5,
            payments: figure,
            offered: figure,
            final_transactions: figure,
            final_after_ms: 9_999,
            shard_ms: 19_999.0,
            master_ms: 19_999.0,
            sent_per_node: 1_000 << 10,
            cpu_share: 1.0,
        }
    }

    #[test]
    fn the_table_stands_in_its_columns_and_counts_users_and_system_apart() {
        for load in [false, true] {
            let (head, line) = (live_head(load), live_row(&row(99_999), 1_000, load));
            assert!(head.chars().count() <= COLUMNS && line.chars().count() <= COLUMNS, "{head}\n{line}");
            assert_eq!(head.chars().count(), line.chars().count(), "{head}\n{line}");
            assert!(line.contains("99 999       5"), "{line}");
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!((counted(1, "slot"), counted(0, "slot")), ("1 slot".into(), "0 slots".into()));
        assert_eq!(counted(1_000, "node"), "1 000 nodes");
    }

    #[test]
    fn a_long_sentence_goes_on_in_its_column() {
        let rows = [("verdict", "no slot is lost; ".repeat(9)), ("a long name of a row", "short".into())];
        let text = within_columns(&rows);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with(&" ".repeat(24)), "{text}");
    }
}
