//! Which account has which name. Names are for good, so the table only ever grows: a copy for the next height costs
//! nothing, and a registration a few nodes.

use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::AccountIndex;
use crate::base::trie::{Trie, TrieValue};
use std::sync::{Arc, LazyLock};

static PATH_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix name path v1"));

/// A name and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: Arc<[u8]>,
    account: AccountIndex,
}

impl TrieValue for Named {
    fn weight(&self) -> u64 {
        0
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.account.to_le_bytes());
        out.extend_from_slice(&self.name);
    }
}

/// Names, both ways. What is committed to is the way from a name to its account; the other follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By the path of the name: a hash, so that nobody can make the tree deep where others' names are.
    by_name: Trie<Hash, Named>,
    by_account: Trie<AccountIndex, Named>,
}

impl Names {
    /// Where a name stands in the tree, and so in the order of [`Self::iter`].
    pub fn path(name: &[u8]) -> Hash {
        keyed(&PATH_KEY, name)
    }

    /// Gives an account a name; false if either is taken.
    pub fn register(&mut self, name: &[u8], account: AccountIndex) -> bool {
        let path = Self::path(name);
        if self.by_name.contains_key(&path) || self.by_account.contains_key(&account) {
            return false;
        }
        let named = Named { name: name.into(), account };
        self.by_name.insert(path, named.clone());
        self.by_account.insert(account, named);
        assert_eq!(self.by_name.len(), self.by_account.len(), "names lead both ways, each once: invariant 2");
        assert_eq!(self.account_of(name), Some(account), "a name leads to its account: invariant 2");
        true
    }

    /// The account of a name.
    pub fn account_of(&self, name: &[u8]) -> Option<AccountIndex> {
        self.by_name.get(&Self::path(name)).map(|named| named.account)
    }

    /// The name of an account.
    pub fn name_of(&self, account: AccountIndex) -> Option<&[u8]> {
        self.by_account.get(&account).map(|named| &*named.name)
    }

    /// How many are registered.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All names with their accounts, ascending by [`Self::path`].
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], AccountIndex)> {
        self.by_name.iter().map(|(_, named)| (&*named.name, named.account))
    }

    /// Commits to every name and its account.
    pub fn root(&self) -> Hash {
        self.by_name.root()
    }
}
