//! `dynemix wallet`.

use super::args::{DirArgs, parse_hash};
use super::output::{OutputArgs, Shown, dynes};
use super::passphrase::{Asked, passphrase, passphrase_of};
use clap::{Args, Subcommand};
use dynemix::devnet::layout::{Devnet, USERS, user_secret};
use dynemix::minting::tracked::TransactionShown;
use dynemix::setup::genesis::GenesisFile;
use dynemix::setup::keystore::{self, SecretKind};
use dynemix::setup::trust::Trust;
use dynemix::wallet::client::{Client, ClientOptions, ProvedAccount};
use dynemix::wallet::keys;
use dynemix::wallet::order::Order;
use dynemix::wallet::settling::{Effect, Event, PayOptions, Settled};
use dynemix::wallet::transport::plain;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::TransactionKind;
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_perf::report::{facts, table};
use ed25519_dalek::SigningKey;
use hex::FromHex;
use serde::Serialize;
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
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
        /// Keep the key under an empty passphrase: whoever reads the file has it
        #[arg(long)]
        no_passphrase: bool,
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
        /// With a password: something of your own, such as an address, that is needed again beside it
        #[arg(long, value_name = "TEXT", requires = "password")]
        salt: Option<String>,
        #[arg(long, value_name = "FD", help = "Read the passphrase from this open file descriptor")]
        passphrase_fd: Option<i32>,
        /// Keep the key under an empty passphrase: whoever reads the file has it
        #[arg(long)]
        no_passphrase: bool,
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

Shows each finality checkpoint as it comes, and ends when nothing can take the payment back. 'final' is what the chain's
certificates prove, whatever a node says. What was signed is kept until its end is proved: after an interruption
`dynemix wallet pending` hands in the same transaction again, and nothing else is signed before.

Exit code 8: a node's answer is not what the chain has certified. 9: signed, and not proved to have ended.")]
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
    /// What was signed and has not ended: hand in the same again, and follow it to its end
    #[command(after_help = "\
Examples:
  dynemix wallet pending --from alice --devnet
  dynemix wallet pending --forget                  let go what has expired, or whose sequence is used")]
    Pending {
        /// Let it go instead, if it cannot become final any more or its sequence is used
        #[arg(long)]
        forget: bool,
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
    /// The chain's genesis file: what is trusted
    #[arg(long, value_name = "FILE", default_value = "genesis.toml")]
    genesis: PathBuf,
    /// A block that you trust, from another source than the node: the chain is followed from there, not from genesis
    #[arg(long, value_name = "HEIGHT:HASH")]
    trust: Option<Trust>,
    /// Slots in which a transaction may come into a block
    #[arg(long, value_name = "SLOTS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    expires: u64,
    /// Use the devnet of this computer, its users, and its nodes unless --node names others
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
        let devnet = if self.devnet { Some(Devnet::read(&self.dir.directory())?) } else { None };
        let genesis = match &devnet {
            Some(devnet) => devnet.genesis(),
            None => GenesisFile::read(&self.genesis)?,
        };
        let nodes = match devnet {
            _ if !self.node.is_empty() => self.node.clone(),
            Some(devnet) => {
                (0..devnet.shape.nodes).map(|node| format!("http://{}/", devnet.api_address(node))).collect()
            }
            None => vec!["http://127.0.0.1:8645/".to_owned()],
        };
        let options = ClientOptions { nodes, genesis: &genesis, wallets: keys::directory(), trust: self.trust };
        Ok(Client::new(options)?)
    }

    fn is_user(&self, name: &str) -> bool {
        self.devnet && USERS.contains(&name)
    }

    fn signer(&self) -> Result<SigningKey, Box<dyn Error>> {
        if self.is_user(&self.from) {
            return Ok(SigningKey::from_bytes(&user_secret(&self.from)));
        }
        let path = keys::path(&self.from);
        let passphrase = passphrase(self.passphrase_fd, &format!("wallet '{}'", self.from), Asked::ToOpen)?;
        let secret = keystore::open::<32>(&path, SecretKind::Owner, &passphrase)?;
        Ok(SigningKey::from_bytes(&secret))
    }

    /// The own wallet's key, or a devnet's user's; no passphrase is needed for it.
    fn own_key(&self) -> Result<[u8; 32], Box<dyn Error>> {
        if self.is_user(&self.from) {
            return Ok(*SigningKey::from_bytes(&user_secret(&self.from)).verifying_key().as_bytes());
        }
        let (_, public) = keystore::public(&keys::path(&self.from))?;
        FromHex::from_hex(&public).map_err(|_| "the wallet's file names no key".into())
    }

    /// The key of a name, a key, a devnet's user, or the own wallet.
    fn key(&self, client: &mut Client, of: Option<&str>) -> Result<[u8; 32], Box<dyn Error>> {
        match of {
            None => self.own_key(),
            Some(user) if self.is_user(user) => {
                Ok(*SigningKey::from_bytes(&user_secret(user)).verifying_key().as_bytes())
            }
            Some(text) => Ok(client.key(text)?),
        }
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
#[serde(transparent)]
struct Sent(Settled);

impl Shown for Sent {
    fn text(&self) -> String {
        let Settled { id, height, takes_effect_height, effect, .. } = &self.0;
        let effect = match effect {
            Effect::Stands if takes_effect_height == height => "it has taken effect".to_owned(),
            Effect::Stands => format!("it has taken effect at height {takes_effect_height}, and its block stands"),
            Effect::Waiting | Effect::Doubtful => {
                format!("whether it took effect at height {takes_effect_height} was not shown: look at the balance")
            }
        };
        format!("{id}: final at height {height}, proved by its path to the certified block; {effect}")
    }
}

/// What `pending` shows when everything that was signed has ended.
#[derive(Serialize)]
struct NothingWaits {
    pending: bool,
}

impl Shown for NothingWaits {
    fn text(&self) -> String {
        "nothing that was signed here waits for its end".into()
    }
}

#[derive(Serialize)]
struct Looked {
    id: String,
    #[serde(flatten)]
    transaction: TransactionShown,
    /// Whether that it is final is proved, and not only the node's word.
    proved: bool,
}

impl Shown for Looked {
    fn text(&self) -> String {
        let proof = match (self.proved, self.transaction.state.as_str()) {
            (true, _) => "; proved by its path to the certified block",
            (false, "final") => {
                "; this is the node's word: it shows no proof, since it does not keep that block's \
                                 transactions, or since it is not so"
            }
            (false, _) => "; this is the node's word",
        };
        checkpoint(&self.transaction) + proof
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
        let short = |value: &Value| {
            let text = plain(value.as_str().unwrap_or(""));
            if text.is_empty() { text } else { text.chars().take(16).collect::<String>() + ".." }
        };
        let amount = |value: &Value| value.as_u64().filter(|&units| units > 0).map_or(String::new(), dynes);
        let rows_of = |name: &str| self.0[name].as_array().cloned().unwrap_or_default();
        let change = |row: &Value| {
            let kind = plain(row["kind"].as_str().unwrap_or(""));
            let of = row["of"].as_str().map_or_else(|| amount(&row["of"]), plain);
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

/// Tells people what a client wants them to know.
fn warn(client: &mut Client) {
    client.warnings().iter().for_each(|warning| eprintln!("dynemix: note: {warning}"));
}

/// Shows what happens to a transaction, as it comes.
fn tell(event: &Event<'_>, begun: Instant, quiet: bool) {
    let line = match event {
        // Whatever comes later, who paid can name what was signed.
        Event::Signed { id, expires_slot } => {
            return eprintln!("signed {}, to come into a block until slot {expires_slot}", hex::encode(id));
        }
        Event::NodeSays(shown) => format!("the node says: {}", checkpoint(shown)),
        Event::Final(Settled { height, takes_effect_height, .. }) => {
            let later = if takes_effect_height > height {
                format!("; it takes effect at height {takes_effect_height}, unless its block is banned before")
            } else {
                String::new()
            };
            format!("final after {:.1} s, at height {height}, which is proved{later}", begun.elapsed().as_secs_f64())
        }
    };
    if !quiet {
        // Whoever has stopped reading does not stop the payment.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn send(
    with: &WithArgs,
    output: &OutputArgs,
    what: impl FnOnce(&mut Client) -> Result<Order, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut client = with.client()?;
    warn(&mut client);
    let signer = with.signer()?;
    let order = what(&mut client)?;
    let (begun, quiet) = (Instant::now(), output.is_json_alone());
    let options = PayOptions { expires_slots: with.expires };
    let settled = client.pay(&signer, &order, options, &mut |event| tell(&event, begun, quiet));
    warn(&mut client);
    output.show(&Sent(settled?))
}

/// Follows what an earlier command has signed, or lets it go.
fn pending(with: &WithArgs, output: &OutputArgs, forget: bool) -> Result<(), Box<dyn Error>> {
    let mut client = with.client()?;
    let key = with.own_key()?;
    if forget {
        client.forget(&key)?;
        return output.show(&NothingWaits { pending: false });
    }
    let (begun, quiet) = (Instant::now(), output.is_json_alone());
    let settled = client.resume(&key, &mut |event| tell(&event, begun, quiet));
    warn(&mut client);
    match settled? {
        Some(settled) => output.show(&Sent(settled)),
        None => output.show(&NothingWaits { pending: false }),
    }
}

/// Makes a key from new words, and shows them once.
fn make(name: &str, passphrase_fd: Option<i32>, none: bool) -> Result<(), Box<dyn Error>> {
    if keys::path(name).exists() {
        return Err(format!("there is a wallet '{name}' already").into());
    }
    let secret_phrase = passphrase(passphrase_fd, &format!("new wallet '{name}'"), Asked::new(none))?;
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
fn import(
    name: &str,
    password: Option<Option<&str>>,
    passphrase_fd: Option<i32>,
    none: bool,
) -> Result<(), Box<dyn Error>> {
    let mut text = Zeroizing::new(String::new());
    let secret = if let Some(salt) = password {
        // Never that of the environment: there is one, and it is the new file's.
        let password = passphrase_of(passphrase_fd, None, "the account itself (its password)", Asked::Secret)?;
        keys::of_password(&password, salt)?
    } else {
        std::io::stdin().read_line(&mut text)?;
        keys::of_words(&text)?
    };
    let secret_phrase = passphrase(passphrase_fd, &format!("new wallet '{name}'"), Asked::new(none))?;
    println!("wallet '{name}': {}", keys::keep(name, &secret, &secret_phrase)?);
    Ok(())
}

/// Puts dynes at stake, with the voting key of a node's key file.
fn stake(with: &WithArgs, output: &OutputArgs, amount: u64, minting: &Path) -> Result<(), Box<dyn Error>> {
    let passphrase = passphrase(with.passphrase_fd, &minting.display().to_string(), Asked::ToOpen)?;
    let secrets = keystore::open::<64>(minting, SecretKind::Minting, &passphrase)?;
    let (key, possession) = BlsSigning::key_and_possession(&secrets[..32], &with.own_key()?);
    let payload = [&key[..], &possession[..]].concat();
    send(with, output, |_| Ok(Order { kind: TransactionKind::Stake, recipient: [0; 32], amount, payload }))
}

/// Says so when a registration is final and somebody else has the name all the same: of two in one height the lower id
/// counts, and the other's reserve comes back.
fn whose(with: &WithArgs, name: &str) -> Result<(), Box<dyn Error>> {
    let (mut client, own) = (with.client()?, with.own_key()?);
    match client.key(name) {
        Ok(key) if key != own => Err(format!("'{name}' is another's: it was registered in the same height").into()),
        // The name was taken for good; that no node proves it now changes nothing.
        _ => Ok(()),
    }
}

/// A transaction's state, as a node says, and whether that is proved.
fn status(with: &WithArgs, output: &OutputArgs, id: &[u8; 32]) -> Result<(), Box<dyn Error>> {
    let mut client = with.client()?;
    let transaction = client.transaction(id)?;
    let proved = match (transaction.state.as_str(), transaction.height) {
        ("final", Some(height)) => client.proves(id, height)?,
        _ => false,
    };
    warn(&mut client);
    output.show(&Looked { id: hex::encode(id), transaction, proved })
}

impl WalletVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let order = |kind, recipient, amount, payload| Ok(Order { kind, recipient, amount, payload });
        match self {
            WalletVerb::New { name, passphrase_fd, no_passphrase } => make(&name, passphrase_fd, no_passphrase),
            WalletVerb::Import { name, password, salt, passphrase_fd, no_passphrase } => {
                import(&name, password.then_some(salt.as_deref()), passphrase_fd, no_passphrase)
            }
            WalletVerb::List { output } => {
                let wallets =
                    keys::list()?.into_iter().map(|(name, key)| json!({ "name": name, "key": key })).collect();
                output.show(&Wallets { wallets })
            }
            WalletVerb::Balance { of, with, output } => {
                let mut client = with.client()?;
                let key = with.key(&mut client, of.as_deref())?;
                let account = client.account(&key);
                warn(&mut client);
                output.show(&Balance(account?))
            }
            WalletVerb::History { of, with, output } => {
                let mut client = with.client()?;
                let key = with.key(&mut client, of.as_deref())?;
                let history = client.word("history", &json!({ "key": hex::encode(key) }))?;
                warn(&mut client);
                output.show(&History(history))
            }
            WalletVerb::Send { amount, to, with, output } => send(&with, &output, |client| {
                order(TransactionKind::Transfer, with.key(client, Some(&to))?, amount, Vec::new())
            }),
            WalletVerb::Register { name, with, output } => {
                let payload = name.clone().into_bytes();
                send(&with, &output, |client| {
                    let reserve = client.chain.parameters.consensus.register_reserve;
                    order(TransactionKind::Register, [0; 32], reserve, payload)
                })?;
                whose(&with, &name)
            }
            WalletVerb::Stake { amount, minting, with, output } => stake(&with, &output, amount, &minting),
            WalletVerb::Unstake { amount, with, output } => {
                send(&with, &output, |_| order(TransactionKind::Unstake, [0; 32], amount, Vec::new()))
            }
            WalletVerb::Pending { forget, with, output } => pending(&with, &output, forget),
            WalletVerb::Status { id, with, output } => status(&with, &output, &id),
        }
    }
}
