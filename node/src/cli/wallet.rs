//! `dynemix wallet`.

use super::args::{DirArgs, parse_hash};
use super::output::{OutputArgs, Shown, dynes};
use super::passphrase::passphrase;
use clap::{Args, Subcommand};
use dynemix::devnet::layout::{Devnet, USERS, user_secret};
use dynemix::minting::tracked::TransactionShown;
use dynemix::setup::genesis::GenesisFile;
use dynemix::setup::keystore::{self, SecretKind};
use dynemix::wallet::client::{Client, ProvedAccount};
use dynemix::wallet::keys;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::TransactionKind;
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_perf::report::{facts, table};
use ed25519_dalek::SigningKey;
use hex::FromHex;
use serde::Serialize;
use serde_json::{Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub(crate) enum WalletVerb {
    /// Make a key from new words, which are shown once
    #[command(after_help = "Examples:\n  dynemix wallet new\n  dynemix wallet new savings")]
    New {
        /// What to call it
        #[arg(default_value = "default")]
        name: String,
        #[arg(long, value_name = "FD", help = "Read the passphrase from this open file descriptor")]
        passphrase_fd: Option<i32>,
    },
    /// Take a key from its 24 words, or from a password that is the only key
    #[command(
        after_help = "Examples:\n  dynemix wallet import savings < words.txt\n  dynemix wallet import mine --password"
    )]
    Import {
        /// What to call it
        #[arg(default_value = "default")]
        name: String,
        /// From a password, by Argon2, as the paper offers
        #[arg(long)]
        password: bool,
        #[arg(long, value_name = "FD", help = "Read the passphrase from this open file descriptor")]
        passphrase_fd: Option<i32>,
    },
    /// The wallets on this computer
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What an account has, verified by certificate and proof
    #[command(after_help = "\
Examples:
  dynemix wallet balance --devnet --from alice
  dynemix wallet balance ada --node http://127.0.0.1:8645/ --genesis genesis.toml")]
    Balance {
        /// A name or key [default: the wallet's own]
        of: Option<String>,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Send dynes to a name, a key, or a devnet's user
    #[command(after_help = "\
Examples:
  dynemix wallet send 5 --to bob --from alice --devnet
  dynemix wallet send 0.5 --to ada

Shows each finality checkpoint as it comes.")]
    Send {
        /// Dynes, with up to six decimals
        #[arg(value_parser = parse_dynes)]
        amount: u64,
        /// A name, a key, or a devnet's user
        #[arg(long)]
        to: String,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Transactions of an account in the blocks that the node keeps
    History {
        /// A name or key [default: the wallet's own]
        of: Option<String>,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take a name, for good; a reserve is locked with it
    #[command(after_help = "Examples:\n  dynemix wallet register ada --from alice --devnet")]
    Register {
        /// 1 to 32 of a-z, 0-9, dot, dash, underscore; a letter first
        name: String,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Put dynes at stake, to mint with a node's voting key
    #[command(after_help = "Examples:\n  dynemix wallet stake 1000 --minting keys/minting.json")]
    Stake {
        /// Dynes to put at stake, with up to six decimals
        #[arg(value_parser = parse_dynes)]
        amount: u64,
        /// The node's key file
        #[arg(long, value_name = "FILE")]
        minting: PathBuf,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take dynes from the stake
    Unstake {
        /// Dynes to take from it, with up to six decimals
        #[arg(value_parser = parse_dynes)]
        amount: u64,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// How far a transaction is
    Status {
        /// Its id, 64 digits
        #[arg(value_parser = parse_hash)]
        id: [u8; 32],
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WithArgs {
    /// The wallet, or a devnet's user
    #[arg(long, value_name = "WALLET", default_value = "default")]
    from: String,
    /// A node's API; several are tried in turn [default: http://127.0.0.1:8645/]
    #[arg(long, value_name = "URL")]
    node: Vec<String>,
    /// The chain's genesis file: all that is trusted
    #[arg(long, value_name = "FILE", default_value = "genesis.toml")]
    genesis: PathBuf,
    /// Use the devnet of this computer, its nodes and its users
    #[arg(long)]
    devnet: bool,
    #[command(flatten)]
    dir: DirArgs,
    /// Read the passphrase from this open file descriptor, a line each if there are two: the key file's, then the
    /// wallet's
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<i32>,
}

/// Units from dynes as people write them.
fn parse_dynes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no amount; write for example 5 or 0.25");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 || !part.bytes().chain(whole.bytes()).all(|byte| byte.is_ascii_digit()) || whole.is_empty() {
        return Err(wrong());
    }
    let part = format!("{part:0<6}").parse::<u64>().map_err(|_| wrong())?;
    let units = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(DYNE)?.checked_add(part));
    units.filter(|&units| units > 0).ok_or_else(wrong)
}

impl WithArgs {
    fn client(&self) -> Result<Client, Box<dyn Error>> {
        if self.devnet {
            let directory = self.dir.directory();
            let devnet = Devnet::read(&directory)?;
            let nodes = (0..devnet.shape.nodes).map(|node| format!("http://{}/", devnet.api_address(node))).collect();
            return Ok(Client::new(nodes, &devnet.genesis())?);
        }
        let nodes = if self.node.is_empty() { vec!["http://127.0.0.1:8645/".to_owned()] } else { self.node.clone() };
        Ok(Client::new(nodes, &GenesisFile::read(&self.genesis)?)?)
    }

    fn is_user(&self, name: &str) -> bool {
        self.devnet && USERS.contains(&name)
    }

    fn signer(&self) -> Result<SigningKey, Box<dyn Error>> {
        if self.is_user(&self.from) {
            return Ok(SigningKey::from_bytes(&user_secret(&self.from)));
        }
        let path = keys::path(&self.from);
        let passphrase = passphrase(self.passphrase_fd, &format!("wallet '{}'", self.from))?;
        let secret = keystore::open::<32>(&path, SecretKind::Owner, &passphrase)?;
        Ok(SigningKey::from_bytes(&secret))
    }

    /// The key of a name, a key, a devnet's user, or the own wallet; no passphrase is needed for it.
    fn key(&self, client: &mut Client, of: Option<&str>) -> Result<[u8; 32], Box<dyn Error>> {
        let text = of.unwrap_or(&self.from);
        if self.is_user(text) {
            return Ok(*SigningKey::from_bytes(&user_secret(text)).verifying_key().as_bytes());
        }
        if of.is_none() {
            let (_, public) = keystore::public(&keys::path(&self.from))?;
            return FromHex::from_hex(&public).map_err(|_| "the wallet's file names no key".into());
        }
        Ok(client.key(text)?)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Balance(ProvedAccount);

impl Shown for Balance {
    fn text(&self) -> String {
        let ProvedAccount {
            key,
            height,
            account,
            name,
            spendable_units,
            immature_units,
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
            ("key", key.clone()),
            ("spendable", format!("{} dynes", dynes(*spendable_units))),
            ("not mature yet", format!("{} dynes", dynes(*immature_units))),
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
struct Sent {
    id: String,
    #[serde(flatten)]
    transaction: TransactionShown,
    /// Height up to which the wallet has verified the chain itself.
    verified_height: u64,
}

impl Shown for Sent {
    fn text(&self) -> String {
        format!(
            "{}: {} at height {}, verified by its certificate",
            self.id,
            self.transaction.state,
            self.transaction.height.unwrap_or(0)
        )
    }
}

#[derive(Serialize)]
struct Looked {
    id: String,
    #[serde(flatten)]
    transaction: TransactionShown,
}

impl Shown for Looked {
    fn text(&self) -> String {
        checkpoint(&self.transaction)
    }
}

#[derive(Serialize)]
struct Wallets {
    wallets: Vec<Value>,
}

impl Shown for Wallets {
    fn text(&self) -> String {
        if self.wallets.is_empty() {
            return "no wallets; `dynemix wallet new` makes one".into();
        }
        let rows: Vec<_> = self
            .wallets
            .iter()
            .map(|wallet| ["name", "key"].map(|field| wallet[field].as_str().unwrap_or("").to_owned()).to_vec())
            .collect();
        table(&["wallet", "key"], &rows)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct History(Value);

impl Shown for History {
    fn text(&self) -> String {
        let short =
            |value: &Value| value.as_str().map_or(String::new(), |text| format!("{}..", &text[..16.min(text.len())]));
        let amount = |value: &Value| value.as_u64().filter(|&units| units > 0).map_or(String::new(), dynes);
        let rows_of = |name: &str| self.0[name].as_array().cloned().unwrap_or_default();
        let change = |row: &Value| {
            let kind = row["kind"].as_str().unwrap_or("").to_owned();
            let of = row["of"].as_str().map_or_else(|| amount(&row["of"]), str::to_owned);
            vec![row["height"].to_string(), kind, of, amount(&row["debited_units"]), amount(&row["credited_units"])]
        };
        let changes: Vec<_> = rows_of("changes").iter().map(change).collect();
        let mut text = table(&["height", "what", "of", "paid", "received"], &changes);
        let transaction = |row: &Value| {
            let height = row["height"].to_string();
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
        format!("{text}\n  the node keeps blocks from height {} on\n", self.0["first_height"])
    }
}

fn checkpoint(shown: &TransactionShown) -> String {
    let after = |at: Option<u64>| {
        at.map_or(String::new(), |at| format!("{:.1} s", at.saturating_sub(shown.received_ms) as f64 / 1e3))
    };
    match shown.state.as_str() {
        "waiting" => "taken by the node, waits for its shard".into(),
        "certified" => format!("certified by its shard after {}", after(shown.certified_ms)),
        "final" => format!("final after {}, at height {}", after(shown.final_ms), shown.height.unwrap_or(0)),
        "refused" => format!("refused: {}", shown.refusal.as_deref().unwrap_or("")),
        state => state.to_owned(),
    }
}

fn send(
    with: &WithArgs,
    output: &OutputArgs,
    what: impl FnOnce(&mut Client) -> Result<(TransactionKind, [u8; 32], u64, Vec<u8>), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut client = with.client()?;
    let signer = with.signer()?;
    let (kind, recipient, amount, payload) = what(&mut client)?;
    let id = client.submit(&signer, kind, recipient, amount, &payload)?;
    let quiet = output.is_json_alone();
    let transaction = client.follow(&id, |shown| {
        if !quiet {
            println!("{}", checkpoint(shown));
        }
    })?;
    output.show(&Sent { id: hex::encode(id), transaction, verified_height: client.height() })
}

/// Makes a key from new words, and shows them once.
fn make(name: &str, passphrase_fd: Option<i32>) -> Result<(), Box<dyn Error>> {
    if keys::path(name).exists() {
        return Err(format!("there is a wallet '{name}' already").into());
    }
    let secret_phrase = passphrase(passphrase_fd, &format!("new wallet '{name}'"))?;
    let (words, secret) = keys::new_words()?;
    let public = keys::keep(name, &secret, &secret_phrase)?;
    println!(
        "wallet '{name}': {public}\n\nWrite these words down; whoever has them has the account, and \
         nothing else brings it back:\n"
    );
    for (row, line) in words.split(' ').collect::<Vec<_>>().chunks(6).enumerate() {
        println!("  {:>2}  {}", 6 * row + 1, line.join(" "));
    }
    Ok(())
}

/// Takes a key from its words, or from a password that is the only key.
fn import(name: &str, password: bool, passphrase_fd: Option<i32>) -> Result<(), Box<dyn Error>> {
    let mut text = Zeroizing::new(String::new());
    let secret = if password {
        let password = passphrase(None, "the account itself (its password)")?;
        keys::of_password(&password)?
    } else {
        std::io::stdin().read_line(&mut text)?;
        keys::of_words(&text)?
    };
    let secret_phrase = passphrase(passphrase_fd, &format!("new wallet '{name}'"))?;
    println!("wallet '{name}': {}", keys::keep(name, &secret, &secret_phrase)?);
    Ok(())
}

/// Puts dynes at stake, with the voting key of a node's key file.
fn stake(with: &WithArgs, output: &OutputArgs, amount: u64, minting: &Path) -> Result<(), Box<dyn Error>> {
    let passphrase = passphrase(with.passphrase_fd, &minting.display().to_string())?;
    let secrets = keystore::open::<64>(minting, SecretKind::Minting, &passphrase)?;
    send(with, output, |client| {
        let (key, possession) = BlsSigning::key_and_possession(&secrets[..32], &with.key(client, None)?);
        client.sync()?;
        Ok((TransactionKind::Stake, client.newest_hash(), amount, [&key[..], &possession[..]].concat()))
    })
}

impl WalletVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            WalletVerb::New { name, passphrase_fd } => make(&name, passphrase_fd),
            WalletVerb::Import { name, password, passphrase_fd } => import(&name, password, passphrase_fd),
            WalletVerb::List { output } => {
                let wallets =
                    keys::list()?.into_iter().map(|(name, key)| json!({ "name": name, "key": key })).collect();
                output.show(&Wallets { wallets })
            }
            WalletVerb::Balance { of, with, output } => {
                let mut client = with.client()?;
                let key = with.key(&mut client, of.as_deref())?;
                output.show(&Balance(client.account(&key)?))
            }
            WalletVerb::History { of, with, output } => {
                let mut client = with.client()?;
                let key = with.key(&mut client, of.as_deref())?;
                output.show(&History(client.call("history", json!({ "key": hex::encode(key) }))?))
            }
            WalletVerb::Send { amount, to, with, output } => send(&with, &output, |client| {
                Ok((TransactionKind::Transfer, with.key(client, Some(&to))?, amount, Vec::new()))
            }),
            WalletVerb::Register { name, with, output } => send(&with, &output, |client| {
                Ok((
                    TransactionKind::Register,
                    [0; 32],
                    client.chain.parameters.consensus.register_reserve,
                    name.into_bytes(),
                ))
            }),
            WalletVerb::Stake { amount, minting, with, output } => stake(&with, &output, amount, &minting),
            WalletVerb::Unstake { amount, with, output } => send(&with, &output, |client| {
                client.sync()?;
                Ok((TransactionKind::Unstake, client.newest_hash(), amount, Vec::new()))
            }),
            WalletVerb::Status { id, with, output } => {
                let transaction = with.client()?.transaction(&id)?;
                output.show(&Looked { id: hex::encode(id), transaction })
            }
        }
    }
}
