//! What the verbs of `dynemix wallet` show.

use super::output::{Shown, dynes};
use dynemix::minting::tracked::TransactionShown;
use dynemix::wallet::client::ProvedAccount;
use dynemix::wallet::sent::{End, Sent};
use dynemix::wallet::settling::{Effect, Settled, explained};
use dynemix::wallet::transport::plain;
use dynemix_perf::report::{facts, table};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Balance(pub(super) ProvedAccount);

impl Shown for Balance {
    fn text(&self) -> String {
        let ProvedAccount {
            key,
            address,
            height,
            account,
            name,
            spendable_units,
            immature_units,
            mature_at_height,
            stake_units,
            sequence,
            proved,
        } = &self.0;
        facts(&[
            (
                "account",
                account.map_or("none yet: the first payment opens it".to_owned(), |account| {
                    format!("{account}, {}", name.clone().unwrap_or("no name".into()))
                }),
            ),
            ("address", address.clone()),
            ("key", key.clone()),
            ("spendable", format!("{} dynes", dynes(*spendable_units))),
            (
                "not mature yet",
                match mature_at_height {
                    Some(at) => format!("{} dynes, the last of them at height {at}", dynes(*immature_units)),
                    None => format!("{} dynes", dynes(*immature_units)),
                },
            ),
            ("at stake", format!("{} dynes", dynes(*stake_units))),
            ("transactions sent", sequence.to_string()),
            (
                "verified",
                if *proved {
                    format!("by the certificate of height {} and a proof", height + 1)
                } else {
                    "nothing to prove".to_owned()
                },
            ),
        ])
    }
}

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Receipt(pub(super) Settled);

impl Shown for Receipt {
    fn text(&self) -> String {
        let Settled { id, height, takes_effect_height, effect, .. } = &self.0;
        let effect = match effect {
            Effect::Stands if takes_effect_height == height => "it has taken effect".to_owned(),
            Effect::Stands => format!("it has taken effect at height {takes_effect_height}, and its block stands"),
            Effect::Waiting | Effect::Doubtful => {
                format!("whether it took effect at height {takes_effect_height} was not shown: look at the balance")
            }
        };
        format!("paid: {id} is final at height {height}, proved by its path to the certified block; {effect}")
    }
}

/// What `pending` shows when everything that was signed has ended.
#[derive(Serialize)]
pub(super) struct NothingWaits {
    pub(super) pending: bool,
}

impl Shown for NothingWaits {
    fn text(&self) -> String {
        "nothing that was signed here waits for its end".into()
    }
}

#[derive(Serialize)]
pub(super) struct Looked {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) transaction: TransactionShown,
    /// Whether that it is final is proved, and not only the node's word.
    pub(super) proved: bool,
}

impl Shown for Looked {
    fn text(&self) -> String {
        let proof = match (self.proved, self.transaction.state.as_str()) {
            (true, _) => "; proved by its path to the certified block",
            (false, "final" | "void") => {
                "; this is the node's word: it shows no proof, since it does not keep that block's \
                                 transactions, or since it is not so"
            }
            (false, _) => "; this is the node's word",
        };
        checkpoint(&self.transaction) + proof
    }
}

#[derive(Serialize)]
pub(super) struct Wallets {
    pub(super) wallets: Vec<Value>,
}

impl Shown for Wallets {
    fn text(&self) -> String {
        if self.wallets.is_empty() {
            return "no wallets; `dynemix wallet new` makes one".into();
        }
        let rows: Vec<_> = self
            .wallets
            .iter()
            .map(|wallet| ["name", "address"].map(|field| wallet[field].as_str().unwrap_or("").to_owned()).to_vec())
            .collect();
        table(&["wallet", "address"], &rows)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct History(pub(super) Value);

impl Shown for History {
    fn text(&self) -> String {
        let short = |value: &Value| {
            let text = plain(value.as_str().unwrap_or(""));
            if text.is_empty() { text } else { text.chars().take(16).collect::<String>() + ".." }
        };
        let amount = |value: &Value| value.as_u64().filter(|&units| units > 0).map_or(String::new(), dynes);
        let rows_of = |name: &str| self.0[name].as_array().cloned().unwrap_or_default();
        let change = |row: &Value| {
            let kind = plain(row["kind"].as_str().unwrap_or(""));
            let of = row["of"].as_str().map_or_else(|| amount(&row["stake_units"]), plain);
            vec![
                plain(&row["height"].to_string()),
                kind,
                of,
                amount(&row["debited_units"]),
                amount(&row["credited_units"]),
            ]
        };
        let changes: Vec<_> = rows_of("changes").iter().map(change).collect();
        let mut text = table(&["height", "what", "of", "paid", "received"], &changes);
        let transaction = |row: &Value| {
            let height = plain(&row["height"].to_string());
            vec![
                height,
                short(&row["id"]),
                short(&row["sender"]),
                short(&row["recipient"]),
                amount(&row["amount_units"]),
            ]
        };
        let transactions: Vec<_> = rows_of("transactions").iter().map(transaction).collect();
        if !transactions.is_empty() {
            text.push('\n');
            text.push_str(&table(&["height", "transaction", "sender", "recipient", "dynes"], &transactions));
        }
        let first = plain(&self.0["first_height"].to_string());
        format!(
            "{text}\n  the node keeps blocks from height {first} on; all of this is its word alone, what is proved is the \
             balance\n"
        )
    }
}

pub(super) fn checkpoint(shown: &TransactionShown) -> String {
    let after = |at: Option<u64>| {
        at.map_or(String::new(), |at| format!("{:.1} s", at.saturating_sub(shown.received_ms) as f64 / 1e3))
    };
    match shown.state.as_str() {
        "waiting" if shown.accepted_ms.is_none() => "handed in, not looked at yet".into(),
        "waiting" => "taken by the node, waits for its shard".into(),
        "certified" => format!("certified by its shard after {}", after(shown.certified_ms)),
        "final" => format!("final after {}, at height {}", after(shown.final_ms), shown.height.unwrap_or(0)),
        "replaced" => {
            let by = shown.replaced_by.as_deref().map_or_else(|| "another transaction".to_owned(), plain);
            format!("replaced by {by}, which is final in its place")
        }
        "used" => "its sequence is used; by which transaction this node does not know".into(),
        "void" => {
            let back = shown.refunded_units.map_or(String::new(), |units| format!("; {} dynes are back", dynes(units)));
            format!("final, but without effect: {}{back}", plain(shown.void.as_deref().unwrap_or("")))
        }
        "refused" => format!("refused: {}", explained(shown.refusal.as_deref().unwrap_or(""))),
        state => state.to_owned(),
    }
}

/// What was sent from here.
#[derive(Serialize)]
pub(super) struct SentList {
    pub(super) sent: Vec<Sent>,
}

impl Shown for SentList {
    fn text(&self) -> String {
        if self.sent.is_empty() {
            return "nothing was sent from here".into();
        }
        let line = |sent: &Sent| {
            let end = match sent.end {
                Some(End::Final(height)) => format!("final at height {height}, which is proved"),
                Some(End::Never) => "not paid: it can be in no block any more, which is proved".to_owned(),
                None => "not known: `dynemix wallet pending` asks".to_owned(),
            };
            format!("{}\n  {}; {end}", sent.id, sent.what)
        };
        self.sent.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
