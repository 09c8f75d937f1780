//! What the verbs of `dynemix wallet` show.

use super::output::{Shown, dynes};
use dynemix::face::answers::{Change, HistoryAnswer, KeptTransaction};
use dynemix::minting::tracked::TransactionShown;
use dynemix::wallet::accounts::ProvedAccount;
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
                account.map_or("none yet, as the node says: the first payment opens it".to_owned(), |account| {
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
                    "not: that there is no account has no proof, it is the node's word".to_owned()
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
        format!("paid: {id}\nis final at height {height}, proved by its path to the certified block;\n{effect}")
    }
}

/// What `pending` shows when everything that was signed has ended.
#[derive(Serialize)]
pub(super) struct NothingWaits {
    pub(super) pending: bool,
    /// The wallet that was looked at.
    pub(super) of: String,
    /// Other keys of this computer of which something waits on this chain.
    pub(super) others: Vec<String>,
}

impl Shown for NothingWaits {
    fn text(&self) -> String {
        let mut text = format!("nothing that '{}' has signed on this chain waits for its end", self.of);
        for key in &self.others {
            text.push_str(&format!("\n  something of another key does, which --from names:\n  {key}"));
        }
        text
    }
}

#[derive(Serialize)]
pub(super) struct Looked {
    id: String,
    #[serde(flatten)]
    transaction: TransactionShown,
    /// Whether it is proved that it stands in the block of this height.
    included: bool,
    /// Whether its state is proved, and not only the node's word: what took no effect stands in its block all the same.
    proved: bool,
}

impl Looked {
    pub(super) fn of(id: String, transaction: TransactionShown, included: bool) -> Looked {
        let proved = included && transaction.state == "final";
        Looked { id, transaction, included, proved }
    }

    /// Whether a node says of it what nothing proves, and what somebody may take for a payment.
    pub(super) fn is_unproved(&self) -> bool {
        !self.included && matches!(self.transaction.state.as_str(), "final" | "void" | "used")
    }
}

impl Shown for Looked {
    fn text(&self) -> String {
        let shown = checkpoint(&self.transaction);
        match (self.included, self.proved) {
            (_, true) => format!("{shown};\nproved by its path to the certified block"),
            (true, false) => {
                let height = self.transaction.height.unwrap_or(0);
                format!("that it stands in the block of height {height} is proved;\nthe node says: {shown}")
            }
            (false, _) if self.is_unproved() => {
                format!(
                    "the node says: {shown}.\nThat is its word: it shows no proof, since it does not keep that block's\n\
                     transactions, or since it is not so"
                )
            }
            (false, _) => format!("the node says: {shown};\nthis is the node's word"),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Wallets {
    pub(super) wallets: Vec<Value>,
    /// Those that cannot be read, and why.
    pub(super) unreadable: Vec<Value>,
}

impl Shown for Wallets {
    fn text(&self) -> String {
        if self.wallets.is_empty() && self.unreadable.is_empty() {
            return "no wallets; `dynemix wallet new` makes one".into();
        }
        let rows: Vec<_> = self
            .wallets
            .iter()
            .map(|wallet| ["name", "address"].map(|field| wallet[field].as_str().unwrap_or("").to_owned()).to_vec())
            .chain(self.unreadable.iter().map(|wallet| {
                let error = wallet["error"].as_str().unwrap_or("");
                vec![wallet["name"].as_str().unwrap_or("").to_owned(), format!("cannot be read: {error}")]
            }))
            .collect();
        table(&["wallet", "address"], &rows)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct History(pub(super) HistoryAnswer);

impl Shown for History {
    fn text(&self) -> String {
        let short = |text: &str| {
            let text = plain(text);
            if text.is_empty() { text } else { text.chars().take(16).collect::<String>() + ".." }
        };
        let amount = |units: u64| if units > 0 { dynes(units) } else { String::new() };
        let HistoryAnswer { first_height, changes, transactions, .. } = &self.0;
        let change = |row: &Change| {
            let kind = serde_json::to_value(row.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
            let of = row.of.as_deref().map_or_else(|| amount(row.stake_units.unwrap_or(0)), plain);
            let (paid, received) = (amount(row.debited_units), amount(row.credited_units));
            vec![row.height.to_string(), kind.unwrap_or_default(), of, paid, received]
        };
        let changes: Vec<_> = changes.iter().map(change).collect();
        let mut text = table(&["height", "what", "of", "paid", "received"], &changes);
        let transaction = |row: &KeptTransaction| {
            let (id, sender, recipient) = (short(&row.id), short(&row.sender), short(&row.recipient));
            vec![row.height.to_string(), id, sender, recipient, amount(row.amount_units)]
        };
        let rows: Vec<_> = transactions.iter().map(transaction).collect();
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&table(&["height", "transaction", "sender", "recipient", "dynes"], &rows));
        }
        format!(
            "{text}\n  the node keeps blocks from height {first_height} on; all of this is its word alone,\n  what is proved \
             is the balance\n"
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
    /// The command that asks for the end of what has none yet.
    pub(super) ask: String,
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
                None => format!("not known; this asks:\n  {}", self.ask),
            };
            format!("{}\n  {}; {end}", sent.id, sent.what)
        };
        self.sent.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
