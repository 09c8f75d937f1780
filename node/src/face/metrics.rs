//! Metrics in Prometheus' text form: one table, from which both the page and its documentation come.

use crate::minting::status::StatusShown;
use crate::minting::view::NodeView;
use dynemix_engine::base::refusal::Refusal;
use dynemix_net::mesh::{Share, Standing};
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// A metric: name, kind, what it is, its values with their labels.
type Metric = (&'static str, &'static str, &'static str, fn(&NodeView, &StatusShown) -> Vec<(String, f64)>);

fn plain(value: f64) -> Vec<(String, f64)> {
    vec![(String::new(), value)]
}

fn classes(of: impl Fn(usize) -> u64) -> Vec<(String, f64)> {
    let names = ["votes", "rounds", "bodies", "cells"];
    (0..names.len()).map(|class| (format!("{{class=\"{}\"}}", names[class]), of(class) as f64)).collect()
}

fn shares(of: impl Fn(Share) -> usize) -> Vec<(String, f64)> {
    Share::ALL.iter().map(|&share| (format!("{{share=\"{}\"}}", share.word()), of(share) as f64)).collect()
}

/// The metrics, as the page and docs/metrics.md list them.
pub const METRICS: &[Metric] = &[
    ("dynemix_build_info", "gauge", "1, with the program's version", |_, shown| {
        vec![(format!("{{version=\"{}\"}}", shown.version), 1.0)]
    }),
    ("dynemix_slot", "gauge", "the slot by this node's clock", |_, shown| plain(shown.slot as f64)),
    ("dynemix_finalized_height", "gauge", "newest final height", |_, shown| plain(shown.height as f64)),
    ("dynemix_stored_height", "gauge", "newest height that is on disk", |_, shown| plain(shown.stored as f64)),
    ("dynemix_heard_height", "gauge", "highest height that peers have spoken of", |_, shown| plain(shown.heard as f64)),
    ("dynemix_slot_lag", "gauge", "slots since the one in which the newest block became final", |_, shown| {
        plain(shown.slot.saturating_sub(shown.blocks.last().map_or(0, |block| block.attempt / 2)) as f64)
    }),
    ("dynemix_final_after_seconds", "gauge", "when in its slot the newest block became final here", |_, shown| {
        plain(shown.blocks.last().map_or(0.0, |block| (block.final_ms % shown.slot_ms) as f64 / 1e3))
    }),
    ("dynemix_seated", "gauge", "1 if this node mints the next height", |_, shown| {
        plain(f64::from(u8::from(shown.seated)))
    }),
    ("dynemix_committee_seats", "gauge", "seats of the next height", |_, shown| plain(shown.seats as f64)),
    ("dynemix_committee_shards", "gauge", "shards of the next height", |_, shown| plain(shown.shards as f64)),
    ("dynemix_minting_duty_total", "counter", "shard-blocks of own shards that were certified", |_, shown| {
        plain(shown.duties as f64)
    }),
    ("dynemix_tx_admitted_total", "counter", "transactions taken", |view, _| {
        plain(view.status.admitted.load(Relaxed) as f64)
    }),
    ("dynemix_tx_refused_total", "counter", "transactions refused, by reason", |view, _| {
        let counted = Refusal::ALL.iter().map(|&refusal| (refusal, view.status.refused(refusal)));
        counted
            .filter(|counted| counted.1 > 0)
            .map(|(refusal, count)| (format!("{{reason=\"{}\"}}", refusal.name()), count as f64))
            .collect()
    }),
    ("dynemix_tx_final_total", "counter", "transactions in final blocks that users have signed", |view, _| {
        plain(view.status.final_transactions.load(Relaxed) as f64)
    }),
    ("dynemix_records_final_total", "counter", "records of the chain itself in final blocks", |view, _| {
        plain(view.status.final_records.load(Relaxed) as f64)
    }),
    (
        "dynemix_tx_own_final_total",
        "counter",
        "of this node's own users, transactions that stand in a final block",
        |view, _| plain(view.status.own_final.load(Relaxed) as f64),
    ),
    (
        "dynemix_tx_own_unproved_total",
        "counter",
        "of this node's own users, sequences used up by final blocks, nobody has shown by what",
        |view, _| plain(view.status.own_unproved.load(Relaxed) as f64),
    ),
    ("dynemix_mempool_tx", "gauge", "transactions that wait", |_, shown| plain(shown.pool as f64)),
    ("dynemix_own_tx", "gauge", "transactions of own users that are followed", |_, shown| plain(shown.own as f64)),
    ("dynemix_sigverify_total", "counter", "signatures of transactions verified", |_, shown| {
        plain(shown.verified as f64)
    }),
    ("dynemix_sigverify_seconds_total", "counter", "time spent on them", |_, shown| plain(shown.verify_s)),
    ("dynemix_sigverify_batches_total", "counter", "batches of them", |view, _| {
        plain(view.prepared.iter().map(|counters| counters.batches.load(Relaxed)).sum::<u64>() as f64)
    }),
    ("dynemix_malformed_frames_total", "counter", "frames that were no messages", |view, _| {
        plain(view.prepared.iter().map(|counters| counters.malformed.load(Relaxed)).sum::<u64>() as f64)
    }),
    ("dynemix_state_accounts", "gauge", "accounts", |view, _| {
        plain(view.accounts.with(|state| state.header().accounts) as f64)
    }),
    ("dynemix_peers", "gauge", "peers, by kind", |_, shown| {
        vec![("{kind=\"member\"}".into(), shown.members as f64), ("{kind=\"guest\"}".into(), shown.guests as f64)]
    }),
    ("dynemix_peers_standing", "gauge", "peers, by what they are to this node at this height", |view, _| {
        let shown = &view.mesh.counters().standings;
        Standing::ALL
            .iter()
            .map(|&standing| {
                (format!("{{standing=\"{}\"}}", standing.word()), shown[standing as usize].load(Relaxed) as f64)
            })
            .collect()
    }),
    ("dynemix_peer_memory_bytes", "gauge", "memory of connections with peers, by share of the budget", |view, _| {
        shares(|share| view.mesh.ledger().used(share))
    }),
    ("dynemix_peer_memory_limit_bytes", "gauge", "what each share may be at most", |view, _| {
        shares(|share| view.mesh.ledger().ceiling(share))
    }),
    ("dynemix_peer_memory_most_bytes", "gauge", "the most that all shares have been together", |view, _| {
        plain(view.mesh.ledger().most() as f64)
    }),
    ("dynemix_peer_ended_total", "counter", "peers that had to go for others, by what was short", |view, _| {
        let counters = view.mesh.counters();
        vec![
            ("{short=\"places\"}".into(), counters.displaced.load(Relaxed) as f64),
            ("{short=\"memory\"}".into(), counters.overfull.load(Relaxed) as f64),
        ]
    }),
    ("dynemix_peer_passed_over_bytes_total", "counter", "bytes of long frames that nobody had asked for", |view, _| {
        plain(view.mesh.counters().passed_over.load(Relaxed) as f64)
    }),
    ("dynemix_peer_over_budget_total", "counter", "frames whose decoded form did not fit the budget", |view, _| {
        plain(view.mesh.counters().over_budget.load(Relaxed) as f64)
    }),
    ("dynemix_handshake_delays_total", "counter", "times that a handshake waited for its network's rate", |view, _| {
        plain(view.mesh.counters().delayed.load(Relaxed) as f64)
    }),
    ("dynemix_hello_proofs_total", "counter", "signatures in hellos that were looked at", |view, _| {
        plain(view.mesh.counters().proofs.load(Relaxed) as f64)
    }),
    ("dynemix_peer_bytes_total", "counter", "bytes on the wire, by direction", |_, shown| {
        vec![
            ("{dir=\"sent\"}".into(), shown.bytes_sent as f64),
            ("{dir=\"received\"}".into(), shown.bytes_received as f64),
        ]
    }),
    ("dynemix_peer_frames_total", "counter", "frames received, by class", |view, _| {
        classes(|class| view.mesh.counters().frames[class].load(Relaxed))
    }),
    ("dynemix_peer_frame_bytes_total", "counter", "their bytes", |view, _| {
        classes(|class| view.mesh.counters().frame_bytes[class].load(Relaxed))
    }),
    ("dynemix_handshake_failures_total", "counter", "calls that came to nothing, by reason", |view, _| {
        let counters = view.mesh.counters();
        let of = [
            ("handshake", &counters.handshakes_failed),
            ("hello", &counters.turned_away),
            ("refused", &counters.refused),
            ("evicted", &counters.evicted),
        ];
        of.iter().map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), count.load(Relaxed) as f64)).collect()
    }),
    ("dynemix_peer_dropped_bytes_total", "counter", "bytes that were not sent since too much waited", |view, _| {
        plain(view.mesh.counters().dropped.load(Relaxed) as f64)
    }),
    ("dynemix_inbox_bytes", "gauge", "bytes of frames that nobody has worked off", |view, _| {
        plain(view.mesh.pending() as f64)
    }),
    ("dynemix_clock_offset_seconds", "gauge", "what is added to the computer's clock", |_, shown| {
        plain(shown.clock_offset_ms as f64 / 1e3)
    }),
    ("dynemix_clock_trusted", "gauge", "1 if the clock is good enough to mint by", |_, shown| {
        plain(f64::from(u8::from(shown.clock_trusted)))
    }),
    ("dynemix_process_cpu_seconds_total", "counter", "processor time of the process", |_, shown| plain(shown.cpu_s)),
    ("dynemix_process_resident_bytes", "gauge", "memory of the process that is resident", |_, shown| {
        plain(shown.rss_bytes as f64)
    }),
];

/// Labels of the metrics that have one, and their values.
const LABELS: &[(&str, &str)] = &[
    ("dynemix_build_info", "version"),
    ("dynemix_tx_refused_total", "reason: the name of a refusal"),
    ("dynemix_peers", "kind: member, guest"),
    ("dynemix_peers_standing", "standing"),
    ("dynemix_peer_memory_bytes", "share"),
    ("dynemix_peer_memory_limit_bytes", "share"),
    ("dynemix_peer_ended_total", "short: places, memory"),
    ("dynemix_peer_bytes_total", "dir: sent, received"),
    ("dynemix_peer_frames_total", "class: votes, rounds, bodies, cells"),
    ("dynemix_peer_frame_bytes_total", "class: votes, rounds, bodies, cells"),
    ("dynemix_handshake_failures_total", "reason: handshake, hello, refused, evicted"),
];

/// The unit of a metric, which its name ends with.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or("")
}

/// The page: each metric's value now, in Prometheus' text form.
pub fn text(view: &NodeView) -> String {
    let shown = view.shown(1);
    let mut out = String::new();
    for (name, kind, what, values) in METRICS {
        let _ = writeln!(out, "# HELP {name} {what}\n# TYPE {name} {kind}");
        for (labels, value) in values(view, &shown) {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
    out
}

/// What docs/metrics.md says: each metric, its kind, its unit, its label, what it counts.
pub fn documentation() -> String {
    let mut out = String::from(
        "# Metrics\n\nAt `/metrics` of the API, in Prometheus' text form. This page is made from the program's own \
         table. What has no unit is counted.\n\n| metric | kind | unit | label | what |\n|---|---|---|---|---|\n",
    );
    for (name, kind, what, _) in METRICS {
        let label = LABELS.iter().find(|of| of.0 == *name).map_or("", |of| of.1);
        let _ = writeln!(out, "| `{name}` | {kind} | {} | {label} | {what} |", unit(name));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_that_of_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("DYNEMIX_BLESS").is_some() {
            std::fs::write(&path, documentation()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            documentation(),
            "run again with DYNEMIX_BLESS=1"
        );
        let dashboard = include_str!("../../../docs/grafana.json");
        for name in dashboard.split("dynemix_").skip(1) {
            let name = name.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric()).next().unwrap();
            let is_there = METRICS.iter().any(|metric| metric.0.strip_prefix("dynemix_") == Some(name));
            assert!(is_there, "the dashboard shows {name}");
        }
        assert!(LABELS.iter().all(|(name, _)| METRICS.iter().any(|metric| metric.0 == *name)), "a label of no metric");
        for (name, kind, ..) in METRICS {
            assert!(name.starts_with("dynemix_") && (name.ends_with("_total") == (*kind == "counter")), "{name}");
        }
    }
}
