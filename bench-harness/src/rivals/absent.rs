//! In the place of rivals that were not built.

use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::transaction::cell::Cell;
use std::error::Error;
use std::ops::Range;
use std::path::Path;

/// No value exists: the program is built without databases.
pub enum Databases {}

impl Databases {
    /// None.
    ///
    /// # Errors
    /// Never.
    pub fn create(_: &Path, _: u64, _: u64, _: impl FnMut(&str)) -> Result<Option<Databases>, Box<dyn Error>> {
        Ok(None)
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// Never.
    pub fn commit(&mut self, _: &Quilt) -> Result<[f64; 2], Box<dyn Error>> {
        match *self {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// Never.
    pub fn balances(&self, _: u32) -> Result<[u64; 2], Box<dyn Error>> {
        match *self {}
    }
}

/// No value exists: the program is built without other verifiers.
pub enum Verifiers {}

impl Verifiers {
    /// Always none, since there are no rivals to measure.
    pub fn new(_: &[Cell], _: &[u8; 32]) -> Option<Verifiers> {
        None
    }

    /// Cannot be called.
    pub fn dalek_batches(&self, _: Range<usize>, _: usize) {
        match *self {}
    }

    /// Cannot be called.
    pub fn dalek_singles(&self, _: Range<usize>) {
        match *self {}
    }

    /// Cannot be called.
    pub fn commonware_batches(&self, _: Range<usize>, _: usize) {
        match *self {}
    }
}
