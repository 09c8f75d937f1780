//! Embedded databases that make the same changes durable as the state under test.

use dynemix_engine::accounts::quilt::Quilt;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rusqlite::Connection;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// redb and SQLite, side by side.
pub struct Databases {
    redb: Redb,
    sqlite: Sqlite,
}

impl Databases {
    /// Two databases of so many accounts, each with this balance, in new files of this directory.
    ///
    /// # Errors
    /// Their own.
    pub fn create(
        directory: &Path,
        accounts: u64,
        balance: u64,
        mut progress: impl FnMut(&str),
    ) -> Result<Option<Databases>, Box<dyn Error>> {
        progress("filling redb");
        let redb = Redb::create(&directory.join("redb"), accounts, balance)?;
        progress("filling SQLite");
        let sqlite = Sqlite::create(&directory.join("sqlite"), accounts, balance)?;
        Ok(Some(Databases { redb, sqlite }))
    }

    /// Makes a quilt's changes durable in each; the seconds that redb and SQLite took.
    ///
    /// # Errors
    /// Their own.
    pub fn commit(&mut self, quilt: &Quilt) -> Result<[f64; 2], Box<dyn Error>> {
        let start = Instant::now();
        self.redb.commit(quilt)?;
        let redb_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        self.sqlite.commit(quilt)?;
        Ok([redb_s, start.elapsed().as_secs_f64()])
    }

    /// An account's balance in redb and in SQLite.
    ///
    /// # Errors
    /// Their own.
    pub fn balances(&self, account: u32) -> Result<[u64; 2], Box<dyn Error>> {
        Ok([self.redb.balance(account)?, self.sqlite.balance(account)?])
    }
}

const REDB_TABLE: TableDefinition<'_, u32, (u64, u32, u32)> = TableDefinition::new("accounts");

/// redb: a B-tree from account to (balance, sequence, slot), each batch one transaction with its default, immediate
/// durability.
pub struct Redb(Database);

impl Redb {
    /// A database of so many accounts in a new file.
    ///
    /// # Errors
    /// Its own.
    pub fn create(path: &Path, accounts: u64, balance: u64) -> Result<Redb, Box<dyn Error>> {
        let database = Database::builder().set_cache_size(4 << 30).create(path)?;
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(REDB_TABLE)?;
            for account in 0..accounts as u32 {
                table.insert(account, (balance, 0, 0))?;
            }
        }
        write.commit()?;
        Ok(Redb(database))
    }

    /// Makes a quilt's changes durable.
    ///
    /// # Errors
    /// Its own.
    pub fn commit(&mut self, quilt: &Quilt) -> Result<(), Box<dyn Error>> {
        let slot = quilt.slot as u32;
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(REDB_TABLE)?;
            for (account, amount) in quilt.delta.debits.iter() {
                let (balance, sequence, _) = table.get(account)?.ok_or("no such account")?.value();
                table.insert(account, (balance.checked_sub(amount).ok_or("balance")?, sequence + 1, slot))?;
            }
            for (account, amount) in quilt.delta.credits.iter() {
                let (balance, sequence, _) = table.get(account)?.ok_or("no such account")?.value();
                table.insert(account, (balance.checked_add(amount).ok_or("balance")?, sequence, slot))?;
            }
        }
        write.commit()?;
        Ok(())
    }

    fn balance(&self, account: u32) -> Result<u64, Box<dyn Error>> {
        let table = self.0.begin_read()?.open_table(REDB_TABLE)?;
        Ok(table.get(account)?.ok_or("no such account")?.value().0)
    }
}

/// SQLite: a table by integer key in write-ahead mode, each batch one transaction, `synchronous = FULL`.
struct Sqlite(Connection);

impl Sqlite {
    fn create(path: &Path, accounts: u64, balance: u64) -> Result<Sqlite, Box<dyn Error>> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1000000;
             CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER, sequence INTEGER, slot INTEGER);",
        )?;
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO accounts VALUES (?1, ?2, 0, 0)")?;
            for account in 0..accounts {
                insert.execute((account as i64, balance as i64))?;
            }
        }
        transaction.commit()?;
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(Sqlite(connection))
    }

    fn commit(&mut self, quilt: &Quilt) -> Result<(), Box<dyn Error>> {
        let slot = quilt.slot as i64;
        let transaction = self.0.transaction()?;
        {
            let mut debit = transaction.prepare_cached(
                "UPDATE accounts SET balance = balance - ?2, sequence = sequence + 1, slot = ?3 WHERE id = ?1",
            )?;
            for (account, amount) in quilt.delta.debits.iter() {
                debit.execute((i64::from(account), amount as i64, slot))?;
            }
            let mut credit =
                transaction.prepare_cached("UPDATE accounts SET balance = balance + ?2, slot = ?3 WHERE id = ?1")?;
            for (account, amount) in quilt.delta.credits.iter() {
                credit.execute((i64::from(account), amount as i64, slot))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn balance(&self, account: u32) -> Result<u64, Box<dyn Error>> {
        let balance: i64 =
            self.0.query_row("SELECT balance FROM accounts WHERE id = ?1", [account], |row| row.get(0))?;
        Ok(balance as u64)
    }
}
