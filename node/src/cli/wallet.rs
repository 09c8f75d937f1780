//! `dynemix wallet`.

use super::args::{DirArgs, parse_hash, variable};
use super::ending::WrongUsage;
use super::output::{OutputArgs, dynes, note, print, say};
use super::passphrase::{Asked, consents, has_words, passphrase, passphrase_of, somebody_is_there, words};
use super::receipts::{Balance, History, Looked, NothingWaits, Receipt, SentList, Wallets, checkpoint};
use clap::{Args, Subcommand};
use dynemix::devnet::hints::{program, quoted};
use dynemix::devnet::layout::{Devnet, USERS, user_secret};
use dynemix::setup::address::{DEVNET_PREFIX, PREFIX, address};
use dynemix::setup::genesis::GenesisFile;
use dynemix::setup::keystore::{self, KeystoreError, SecretKind};
use dynemix::setup::trust::Trust;
use dynemix::wallet::client::{Client, ClientOptions};
use dynemix::wallet::error::WalletError;
use dynemix::wallet::keys;
use dynemix::wallet::order::Order;
use dynemix::wallet::profile::Profile;
use dynemix::wallet::settling::{Event, PayOptions, Settled};
use dynemix::wallet::transport::check_node;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::TransactionKind;
use dynemix_engine::vote::bls::BlsSigning;
use ed25519_dalek::SigningKey;
use hex::FromHex;
use serde_json::json;
use std::error::Error;
use std::io::{ErrorKind, IsTerminal};
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
    /// The wallets on this computer, with their addresses
    List {
        #[command(flatten)]
        chain: ChainArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What was sent from here, and how it ended
    Sent {
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What an account has, verified by certificate and proof
    #[command(after_help = "\
Examples:
  dynemix wallet balance --devnet --from alice
  dynemix wallet balance ada --node http://127.0.0.1:8645/ \\
      --genesis genesis.toml")]
    Balance {
        /// An address, a name or a key [default: the wallet's own]
        of: Option<String>,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Send dynes to an address, a name, a key, or a devnet's user
    #[command(after_help = "\
Examples:
  dynemix wallet send 5 --to bob --from alice --devnet
  dynemix wallet send 1.25 --to ada

Shows each finality checkpoint as it comes, and ends when nothing can take the payment back. 'final' is what the \
chain's certificates prove, whatever a node says. What was signed is kept until its end is proved: after an \
interruption `dynemix wallet pending` hands in the same transaction again, and nothing else is signed before.

Exit code 0: paid, which is proved. 8: it is not known whether it is paid, `dynemix wallet pending` finds \
out. Any other: not paid by this command.")]
    Send {
        /// Dynes, with up to six decimals
        #[arg(value_parser = parse_dynes)]
        amount: u64,
        /// An address, a name, a key, or a devnet's user
        #[arg(long)]
        to: String,
        /// Ask no question: neither whether to open an account nor whether so much is meant
        #[arg(long)]
        yes: bool,
        /// On a terminal, ask before a payment of so many dynes and more
        #[arg(long, value_name = "DYNES", default_value = "1000", value_parser = parse_dynes)]
        ask_from: u64,
        #[command(flatten)]
        with: WithArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Transactions of an account in the blocks that the node keeps
    History {
        /// An address, a name or a key [default: the wallet's own]
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
  dynemix wallet pending --forget     let go what has expired or been replaced")]
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
pub(crate) struct ChainArgs {
    /// The chain's genesis file: what is trusted [default: DYNEMIX_GENESIS, or genesis.toml]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Genesis file, nodes and wallet of this name in profiles.toml of the data home [default: DYNEMIX_PROFILE, or none]
    #[arg(long, value_name = "NAME", conflicts_with = "devnet")]
    profile: Option<String>,
    /// Use the devnet of this computer, its users, and its nodes unless --node names others
    #[arg(long)]
    devnet: bool,
    #[command(flatten)]
    dir: DirArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WithArgs {
    /// The wallet, or a devnet's user [default: 'default']
    #[arg(long, value_name = "WALLET")]
    from: Option<String>,
    /// A node's API; several are tried in turn [default: DYNEMIX_NODE, or http://127.0.0.1:8645/]
    #[arg(long, value_name = "URL")]
    node: Vec<String>,
    /// A block that you trust, from another source than the node: the chain is followed from there, not from genesis
    #[arg(long, value_name = "HEIGHT:HASH")]
    trust: Option<Trust>,
    /// Slots in which a transaction may come into a block
    #[arg(long, value_name = "SLOTS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    expires: u64,
    #[command(flatten)]
    chain: ChainArgs,
    /// Read the passphrase from this open file descriptor, a line each if there are two: the key file's, then the
    /// wallet's
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<i32>,
}

/// Units from dynes as people write them.
fn parse_dynes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no amount; write for example 5 or 1.25");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 || !part.bytes().chain(whole.bytes()).all(|byte| byte.is_ascii_digit()) || whole.is_empty() {
        return Err(wrong());
    }
    let part = format!("{part:0<6}").parse::<u64>().map_err(|_| wrong())?;
    let units = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(DYNE)?.checked_add(part));
    let units = units.ok_or_else(|| format!("{text} dynes are more than there can be"))?;
    if units > 0 { Ok(units) } else { Err(wrong()) }
}

impl ChainArgs {
    fn devnet(&self) -> Result<Option<Devnet>, Box<dyn Error>> {
        Ok(if self.devnet { Some(Devnet::read(&self.dir.directory())?) } else { None })
    }

    /// The profile that is named; on a devnet none, and all is as without one if none is named.
    fn profile(&self) -> Result<Profile, Box<dyn Error>> {
        let named = match &self.profile {
            Some(name) => Some(name.clone()),
            None if self.devnet => None,
            None => variable("DYNEMIX_PROFILE")?.filter(|name| !name.is_empty()),
        };
        Ok(named.map(|name| Profile::named(&name)).transpose()?.unwrap_or_default())
    }

    /// The genesis file: the one that is named, else the profile's, that of the environment, or the one that lies here.
    fn path(&self) -> Result<PathBuf, Box<dyn Error>> {
        let of_environment = || std::env::var_os("DYNEMIX_GENESIS").filter(|path| !path.is_empty()).map(PathBuf::from);
        let of_profile = self.profile()?.genesis;
        let named = self.genesis.clone().or(of_profile).or_else(of_environment);
        Ok(named.unwrap_or_else(|| PathBuf::from("genesis.toml")))
    }

    fn file(&self) -> Result<GenesisFile, Box<dyn Error>> {
        let path = self.path()?;
        if !path.exists() {
            return Err(format!(
                "there is no {}: name the chain's genesis file with --genesis FILE or DYNEMIX_GENESIS, or say --devnet",
                path.display()
            )
            .into());
        }
        Ok(GenesisFile::read(&path)?)
    }

    /// What addresses begin with: of the chain that is named or lies here, else as usual.
    fn prefix(&self) -> Result<String, Box<dyn Error>> {
        if self.devnet {
            return Ok(DEVNET_PREFIX.into());
        }
        if self.genesis.is_none() && !self.path()?.exists() {
            return Ok(PREFIX.into());
        }
        Ok(self.file()?.address_prefix)
    }
}

impl WithArgs {
    fn client(&self) -> Result<Client, Box<dyn Error>> {
        let devnet = self.chain.devnet()?;
        let genesis = devnet.as_ref().map_or_else(|| self.chain.file(), |devnet| Ok(devnet.genesis()))?;
        let nodes = match devnet {
            _ if !self.node.is_empty() => self.node.clone(),
            Some(devnet) => {
                (0..devnet.shape.nodes).map(|node| format!("http://{}/", devnet.api_address(node))).collect()
            }
            None if !self.chain.profile()?.node.is_empty() => self.chain.profile()?.node,
            None => match variable("DYNEMIX_NODE")?.filter(|nodes| !nodes.is_empty()) {
                Some(nodes) => nodes.split_whitespace().map(str::to_owned).collect(),
                None => vec!["http://127.0.0.1:8645/".to_owned()],
            },
        };
        nodes.iter().try_for_each(|node| check_node(node)).map_err(|why| WrongUsage(format!("--node {why}")))?;
        let options = ClientOptions { nodes, genesis: &genesis, wallets: keys::directory(), trust: self.trust };
        let mut client = Client::new(options)?;
        client.ask_command = self.pending_command();
        if std::io::stderr().is_terminal() {
            client.say_waits(|line| note!("{line}"));
        }
        Ok(client)
    }

    /// How the same wallet and chain are asked what has become of what was signed, as it can be typed anywhere.
    fn pending_command(&self) -> String {
        let mut words = vec![program(), "wallet".into(), "pending".into()];
        let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), quoted(value)]);
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        self.from.iter().for_each(|from| flag("--from", from));
        self.node.iter().for_each(|node| flag("--node", node));
        let ChainArgs { genesis, profile, devnet, dir } = &self.chain;
        genesis.iter().for_each(|path| flag("--genesis", &whole(path)));
        profile.iter().for_each(|profile| flag("--profile", profile));
        dir.dir.iter().for_each(|path| flag("--dir", &whole(path)));
        words.extend(devnet.then(|| "--devnet".to_owned()));
        words.join(" ")
    }

    /// The wallet's name, or a devnet's user.
    fn from(&self) -> Result<String, Box<dyn Error>> {
        let of_profile = self.chain.profile()?.from;
        Ok(self.from.clone().or(of_profile).unwrap_or_else(|| "default".into()))
    }

    fn is_user(&self, name: &str) -> bool {
        self.chain.devnet && USERS.contains(&name)
    }

    /// The wallet's file; when there is none, which there are.
    fn wallet(&self) -> Result<(PathBuf, String), Box<dyn Error>> {
        let from = self.from()?;
        let path = keys::path(&from)?;
        match keystore::public(&path) {
            Ok((SecretKind::Owner, public)) => Ok((path, public)),
            Ok((SecretKind::Minting, _)) => Err(KeystoreError::Kind(path).into()),
            Err(KeystoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let names: Vec<String> = keys::list()?.into_iter().map(|(name, _)| name).collect();
                let here = match names.len() {
                    _ if !keys::unreadable()?.is_empty() => {
                        "some of those that are here cannot be read: `dynemix wallet list` says which".to_owned()
                    }
                    0 => "no wallet is here; `dynemix wallet new` makes one".to_owned(),
                    _ => format!("here are: {}", names.join(", ")),
                };
                let users = if self.chain.devnet {
                    format!("; this devnet's users: {}", USERS.join(", "))
                } else {
                    String::new()
                };
                Err(format!("there is no wallet '{from}'; {here}{users}").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn signer(&self) -> Result<SigningKey, Box<dyn Error>> {
        let from = self.from()?;
        if self.is_user(&from) {
            return Ok(SigningKey::from_bytes(&user_secret(&from)));
        }
        let (path, _) = self.wallet()?;
        let passphrase = passphrase(self.passphrase_fd, &format!("wallet '{from}'"), Asked::ToOpen)?;
        let secret = keystore::open::<32>(&path, SecretKind::Owner, &passphrase)?;
        Ok(SigningKey::from_bytes(&secret))
    }

    /// The own wallet's key, or a devnet's user's; no passphrase is needed for it.
    fn own_key(&self) -> Result<[u8; 32], Box<dyn Error>> {
        let from = self.from()?;
        if self.is_user(&from) {
            return Ok(*SigningKey::from_bytes(&user_secret(&from)).verifying_key().as_bytes());
        }
        let (path, public) = self.wallet()?;
        FromHex::from_hex(&public).map_err(|_| format!("{} names no key", path.display()).into())
    }

    /// The key of an address, a name, a key, a devnet's user, or the own wallet.
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

/// Tells people what a client wants them to know.
fn warn(client: &mut Client) {
    client.warnings().iter().for_each(|warning| note!("dynemix: note: {warning}"));
}

/// Shows what happens to a transaction, as it comes.
fn tell(event: &Event<'_>, begun: Instant, quiet: bool) {
    let line = match event {
        // Whatever comes later, who paid can name what was signed.
        Event::Signed { id, expires_slot } => {
            return note!("signed {},\nto come into a block until slot {expires_slot}", hex::encode(id));
        }
        Event::NodeSays(shown) => format!("the node says: {}", checkpoint(shown)),
        Event::Final(Settled { height, takes_effect_height, .. }) => {
            let later = if takes_effect_height > height {
                format!(";\nit takes effect at height {takes_effect_height}, unless its block is banned before")
            } else {
                String::new()
            };
            format!("final after {:.1} s, at height {height}, which is proved{later}", begun.elapsed().as_secs_f64())
        }
    };
    if !quiet {
        // Whoever has stopped reading does not stop the payment.
        let _ = say!("{line}");
    }
}

/// Shows a receipt. That it could not be written makes no payment undone: who reads the exit code alone must not pay
/// again.
fn show_paid(output: &OutputArgs, settled: Settled) {
    let id = settled.id.clone();
    if let Err(error) = output.show(&Receipt(settled)) {
        note!("dynemix: note: {id} is paid, which is proved; this could not be written: {error}");
    }
}

fn send(
    with: &WithArgs,
    output: &OutputArgs,
    what: impl FnOnce(&mut Client) -> Result<Order, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    show_paid(output, settle(with, output, what)?);
    Ok(())
}

/// Signs what was ordered and follows it to its proved end.
fn settle(
    with: &WithArgs,
    output: &OutputArgs,
    what: impl FnOnce(&mut Client) -> Result<Order, Box<dyn Error>>,
) -> Result<Settled, Box<dyn Error>> {
    let mut client = with.client()?;
    warn(&mut client);
    let signer = with.signer()?;
    let order = what(&mut client)?;
    let (begun, quiet) = (Instant::now(), output.is_json_alone());
    let options = PayOptions { expires_slots: with.expires };
    let settled = client.pay(&signer, &order, options, &mut |event| tell(&event, begun, quiet));
    warn(&mut client);
    Ok(settled?)
}

/// What can be asked before a payment that cannot be taken back.
struct Questions {
    yes: bool,
    ask_from: u64,
}

/// A payment, about which whoever sits at a terminal was asked if it opens an account or is large.
fn payment(
    with: &WithArgs,
    client: &mut Client,
    (amount, to): (u64, &str),
    questions: &Questions,
) -> Result<Order, Box<dyn Error>> {
    let recipient = with.key(client, Some(to))?;
    let is_person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if is_person && !questions.yes {
        let whom = address(&client.address_prefix, &recipient);
        let (shown, named) = (dynes(amount), if to == whom { String::new() } else { format!(" ('{to}')") });
        let question = if !client.has_account(&recipient)? {
            Some(format!(
                "{whom}{named} has no account yet: this payment of {shown} dynes opens one, and if the key is mistyped \
                 nobody can ever spend it. Go on?"
            ))
        } else {
            let ask = amount >= questions.ask_from;
            ask.then(|| format!("This pays {shown} dynes to {whom}{named}, and nothing takes it back. Go on?"))
        };
        if let Some(question) = question
            && !consents(&question)?
        {
            return Err("nothing was signed: the answer was no".into());
        }
    }
    Ok(Order { kind: TransactionKind::Transfer, recipient, amount, payload: Vec::new() })
}

/// Follows what an earlier command has signed, or lets it go.
fn pending(with: &WithArgs, output: &OutputArgs, forget: bool) -> Result<(), Box<dyn Error>> {
    let mut client = with.client()?;
    let key = with.own_key()?;
    let waits_not = |client: &Client| -> Result<NothingWaits, Box<dyn Error>> {
        Ok(NothingWaits { pending: false, of: with.from()?, others: client.others_pending(&key)? })
    };
    if forget {
        client.forget(&key)?;
        return output.show(&waits_not(&client)?);
    }
    let (begun, quiet) = (Instant::now(), output.is_json_alone());
    let settled = client.resume(&key, &mut |event| tell(&event, begun, quiet));
    warn(&mut client);
    match settled? {
        Some(settled) => show_paid(output, settled),
        None => output.show(&waits_not(&client)?)?,
    }
    Ok(())
}

/// Makes a key from new words, and shows them once. The file counts when the words have been seen: a person is asked for
/// two of them.
fn make(name: &str, passphrase_fd: Option<i32>, none: bool) -> Result<(), Box<dyn Error>> {
    if keys::path(name)?.exists() {
        return Err(format!("there is a wallet '{name}' already").into());
    }
    let secret_phrase = passphrase(passphrase_fd, &format!("new wallet '{name}'"), Asked::new(none))?;
    let (words, secret) = keys::new_words()?;
    let public = *SigningKey::from_bytes(&secret).verifying_key().as_bytes();
    let mut text = Zeroizing::new(format!(
        "wallet '{name}': {}\n  {}\n\nWrite these words down; whoever has them has the account, and\nnothing else \
         brings it back:\n",
        hex::encode(public),
        address(PREFIX, &public)
    ));
    for (row, line) in words.split(' ').collect::<Vec<_>>().chunks(6).enumerate() {
        text.push_str(&format!("\n  {:>2}  {}", 6 * row + 1, line.join(" ")));
    }
    text.push('\n');
    print(&text)?;
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        let [one, other, ..] = *secret;
        let places = [usize::from(one) % 12, 12 + usize::from(other) % 12];
        if !has_words(&words, places)? {
            return Err("that is another word: no wallet was made, and those words are of no use; begin again".into());
        }
    }
    keys::keep(name, &secret, &secret_phrase)?;
    Ok(())
}

/// Takes a key from its words, or from a password that is the only key.
fn import(
    name: &str,
    password: Option<Option<&str>>,
    passphrase_fd: Option<i32>,
    none: bool,
) -> Result<(), Box<dyn Error>> {
    if keys::path(name)?.exists() {
        return Err(format!("there is a wallet '{name}' already").into());
    }
    let secret = if let Some(salt) = password {
        // That of the environment is the new file's, and of a script that has no other both.
        let variable = (!somebody_is_there()).then_some("DYNEMIX_PASSPHRASE");
        let password = passphrase_of(passphrase_fd, variable, "the account itself (its password)", Asked::Secret)?;
        keys::of_password(&password, salt)?
    } else {
        keys::of_words(&words()?)?
    };
    let secret_phrase = passphrase(passphrase_fd, &format!("new wallet '{name}'"), Asked::new(none))?;
    let public = keys::keep(name, &secret, &secret_phrase)?;
    let key = *SigningKey::from_bytes(&secret).verifying_key().as_bytes();
    say!("wallet '{name}': {public}\n  {}", address(PREFIX, &key))?;
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
        Ok(key) if key != own => Err(format!(
            "'{name}' is another's: it was registered in the same height. This registration is final and without effect, \
             and what was to be locked comes back"
        )
        .into()),
        Ok(_) => Ok(()),
        Err(error) => {
            note!("dynemix: note: whether '{name}' leads to this account was not shown: {error}");
            Ok(())
        }
    }
}

/// A transaction's state, as a node says, and whether that is proved.
fn status(with: &WithArgs, output: &OutputArgs, id: &[u8; 32]) -> Result<(), Box<dyn Error>> {
    let mut client = with.client()?;
    let (transaction, included) = client.looked(id)?;
    warn(&mut client);
    let looked = Looked::of(hex::encode(id), transaction, included);
    let is_unproved = looked.is_unproved();
    output.show(&looked)?;
    if is_unproved { Err(WalletError::Unproved(hex::encode(id)).into()) } else { Ok(()) }
}

impl WalletVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let order = |kind, recipient, amount, payload| Ok(Order { kind, recipient, amount, payload });
        match self {
            WalletVerb::New { name, passphrase_fd, no_passphrase } => make(&name, passphrase_fd, no_passphrase),
            WalletVerb::Import { name, password, salt, passphrase_fd, no_passphrase } => {
                import(&name, password.then_some(salt.as_deref()), passphrase_fd, no_passphrase)
            }
            WalletVerb::List { chain, output } => {
                let prefix = chain.prefix()?;
                let shown = |(name, key): (String, String)| {
                    let address = FromHex::from_hex(&key).ok().map(|key| address(&prefix, &key));
                    json!({ "name": name, "key": key, "address": address })
                };
                let unreadable = keys::unreadable()?;
                let names = unreadable.iter().map(|(name, error)| json!({ "name": name, "error": error.to_string() }));
                let wallets = keys::list()?.into_iter().map(shown).collect();
                output.show(&Wallets { wallets, unreadable: names.collect() })?;
                // It shows what there is, and is not done.
                unreadable.into_iter().next().map_or(Ok(()), |(_, error)| Err(error.into()))
            }
            WalletVerb::Sent { with, output } => {
                let (client, key) = (with.client()?, with.own_key()?);
                let sent = client.sent(&key).map_err(|error| format!("read the list of what was sent: {error}"))?;
                output.show(&SentList { sent, ask: with.pending_command() })
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
                let history = client.history(&key)?;
                warn(&mut client);
                output.show(&History(history))
            }
            WalletVerb::Send { amount, to, yes, ask_from, with, output } => {
                let questions = Questions { yes, ask_from };
                send(&with, &output, |client| payment(&with, client, (amount, &to), &questions))
            }
            WalletVerb::Register { name, with, output } => {
                let payload = name.clone().into_bytes();
                let settled = settle(&with, &output, |client| {
                    let reserve = client.chain.parameters.consensus.register_reserve;
                    order(TransactionKind::Register, [0; 32], reserve, payload)
                })?;
                // Final and without effect is nothing to be glad of.
                whose(&with, &name)?;
                show_paid(&output, settled);
                Ok(())
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
