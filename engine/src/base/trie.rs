//! A map that is cheap to copy, to change and to commit to: what grows with the number of users is kept in it.
//!
//! ```text
//!   branch        forks at one hexadecimal digit of the key; knows the sum of the weights below it
//!   ├─ 0 ─► leaf      key, value
//!   ├─ 7 ─► branch
//!   └─ f ─► leaf
//! ```
//!
//! A copy shares every node with its original; a change makes anew the nodes between the root and the leaf, five of
//! them among a hundred thousand. Digits in which nothing forks have no node, so the shape follows from the keys alone,
//! whatever the order in which they came, and so does the root.

use super::hash::{Hash, keyed, purpose_key};
use std::sync::{Arc, LazyLock, OnceLock};

static LEAF_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix trie leaf v1"));
static BRANCH_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix trie branch v1"));
static ROOT_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix trie v1"));

/// Children of a branch: one for each hexadecimal digit.
const DIGITS: usize = 16;

/// A key of a trie: a fixed number of hexadecimal digits, the most significant first, so that entries ascend by key.
pub trait TrieKey: Copy + Ord {
    /// Digits of each key.
    const LENGTH: usize;

    /// One of them.
    fn digit(&self, place: usize) -> usize;

    /// Appends the key to what is hashed.
    fn put(&self, out: &mut Vec<u8>);
}

impl TrieKey for u32 {
    const LENGTH: usize = 8;

    fn digit(&self, place: usize) -> usize {
        (self >> (28 - 4 * place)) as usize % DIGITS
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

impl TrieKey for Hash {
    const LENGTH: usize = 64;

    fn digit(&self, place: usize) -> usize {
        let byte = self[place / 2];
        usize::from(if place.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

/// A value of a trie.
pub trait TrieValue: Clone + PartialEq {
    /// What it adds to the sums of the branches above it; see [`Trie::at_weight`].
    fn weight(&self) -> u64;

    /// Appends the value to what is hashed: no two values may append the same.
    fn put(&self, out: &mut Vec<u8>);
}

/// A bare weight, where only that counts.
impl TrieValue for u64 {
    fn weight(&self) -> u64 {
        *self
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

#[derive(Clone, Debug)]
struct Leaf<K, V> {
    key: K,
    value: V,
    /// Computed when it is first asked for.
    hash: OnceLock<Hash>,
}

#[derive(Clone, Debug)]
struct Branch<K, V> {
    /// All keys below agree in so many digits, and not in the next one.
    depth: usize,
    /// Any key below, for the digits in which they agree.
    sample: K,
    children: [Option<Arc<Node<K, V>>>; DIGITS],
    weight: u64,
    hash: OnceLock<Hash>,
}

#[derive(Clone, Debug)]
enum Node<K, V> {
    Leaf(Leaf<K, V>),
    Branch(Branch<K, V>),
}

/// The map. Its nodes keep to this:
///  1. a branch has at least two children, and its keys agree in its depth;
///  2. its weight is the sum of its children's;
///  3. a hash that was computed is that of the node as it is.
#[derive(Clone, Debug)]
pub struct Trie<K, V> {
    top: Option<Arc<Node<K, V>>>,
    len: usize,
}

impl<K, V> Default for Trie<K, V> {
    fn default() -> Self {
        Trie { top: None, len: 0 }
    }
}

fn leaf<K, V>(key: K, value: V) -> Arc<Node<K, V>> {
    Arc::new(Node::Leaf(Leaf { key, value, hash: OnceLock::new() }))
}

/// The first digit, from `from` and before `until`, in which two keys differ.
fn fork<K: TrieKey>(a: &K, b: &K, from: usize, until: usize) -> Option<usize> {
    (from..until).find(|&place| a.digit(place) != b.digit(place))
}

impl<K: TrieKey, V: TrieValue> Node<K, V> {
    fn weight(&self) -> u64 {
        match self {
            Node::Leaf(leaf) => leaf.value.weight(),
            Node::Branch(branch) => branch.weight,
        }
    }

    /// Some key below.
    fn sample(&self) -> &K {
        match self {
            Node::Leaf(leaf) => &leaf.key,
            Node::Branch(branch) => &branch.sample,
        }
    }

    fn hash(&self) -> Hash {
        match self {
            Node::Leaf(Leaf { key, value, hash }) => *hash.get_or_init(|| {
                let mut bytes = Vec::with_capacity(160);
                key.put(&mut bytes);
                value.put(&mut bytes);
                keyed(&LEAF_KEY, &bytes)
            }),
            // Where it forks, then each child with its digit. The digits that all keys share are in the leaves.
            Node::Branch(branch) => *branch.hash.get_or_init(|| {
                let mut bytes = Vec::with_capacity(1 + 33 * DIGITS);
                bytes.push(branch.depth as u8);
                for (digit, child) in (0u8..).zip(&branch.children) {
                    if let Some(child) = child {
                        bytes.push(digit);
                        bytes.extend_from_slice(&child.hash());
                    }
                }
                keyed(&BRANCH_KEY, &bytes)
            }),
        }
    }

    /// A branch of two nodes whose keys first differ in this digit.
    fn of_two(depth: usize, a: Arc<Node<K, V>>, b: Arc<Node<K, V>>) -> Arc<Node<K, V>> {
        let sample = *a.sample();
        let mut children = [const { None }; DIGITS];
        let places = [a.sample().digit(depth), b.sample().digit(depth)];
        assert_ne!(places[0], places[1], "a branch has at least two children: invariant 1");
        (children[places[0]], children[places[1]]) = (Some(a), Some(b));
        let mut branch = Branch { depth, sample, children, weight: 0, hash: OnceLock::new() };
        branch.changed();
        Arc::new(Node::Branch(branch))
    }
}

impl<K: TrieKey, V: TrieValue> Branch<K, V> {
    /// Something below is another: sums and hashes follow.
    fn changed(&mut self) {
        assert!(self.children.iter().flatten().count() > 1, "a branch has at least two children: invariant 1");
        let weights = self.children.iter().flatten().map(|child| child.weight());
        self.weight = weights.fold(0u64, |sum, weight| sum.checked_add(weight).expect("weights fit 64 bits together"));
        self.hash = OnceLock::new();
    }
}

fn insert<K: TrieKey, V: TrieValue>(node: &mut Arc<Node<K, V>>, from: usize, key: K, value: V) -> Option<V> {
    let until = match &**node {
        Node::Leaf(_) => K::LENGTH,
        Node::Branch(branch) => branch.depth,
    };
    if let Some(depth) = fork(&key, node.sample(), from, until) {
        *node = Node::of_two(depth, node.clone(), leaf(key, value));
        return None;
    }
    match Arc::make_mut(node) {
        Node::Leaf(leaf) => {
            leaf.hash = OnceLock::new();
            Some(std::mem::replace(&mut leaf.value, value))
        }
        Node::Branch(branch) => {
            let before = match &mut branch.children[key.digit(branch.depth)] {
                Some(child) => insert(child, branch.depth + 1, key, value),
                place @ None => {
                    *place = Some(leaf(key, value));
                    None
                }
            };
            branch.changed();
            before
        }
    }
}

/// Takes a key out that is there; what is left of the node, if anything is.
fn remove<K: TrieKey, V: TrieValue>(node: &mut Arc<Node<K, V>>, key: &K) -> Option<Arc<Node<K, V>>> {
    let Node::Branch(branch) = Arc::make_mut(node) else { return None };
    let place = &mut branch.children[key.digit(branch.depth)];
    *place = place.as_mut().and_then(|child| remove(child, key));
    let mut left = branch.children.iter().flatten();
    if let (Some(only), None) = (left.next(), left.next()) {
        return Some(only.clone());
    }
    branch.changed();
    Some(node.clone())
}

fn update<K: TrieKey, V: TrieValue>(node: &mut Arc<Node<K, V>>, key: &K, change: impl FnOnce(&mut V)) {
    match Arc::make_mut(node) {
        Node::Leaf(leaf) => {
            change(&mut leaf.value);
            leaf.hash = OnceLock::new();
        }
        Node::Branch(branch) => {
            let child = branch.children[key.digit(branch.depth)].as_mut().expect("the key was found before");
            update(child, key, change);
            branch.changed();
        }
    }
}

impl<K: TrieKey, V: TrieValue> Trie<K, V> {
    /// Entries in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of all weights.
    pub fn weight(&self) -> u64 {
        self.top.as_ref().map_or(0, |top| top.weight())
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut node = self.top.as_deref()?;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf.key == *key).then_some(&leaf.value),
                Node::Branch(branch) => node = branch.children[key.digit(branch.depth)].as_deref()?,
            }
        }
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Gives a key its value; the one it had before.
    ///
    /// # Panics
    /// When the weights together leave 64 bits.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = match &mut self.top {
            Some(top) => insert(top, 0, key, value),
            top @ None => {
                *top = Some(leaf(key, value));
                None
            }
        };
        self.len += usize::from(before.is_none());
        assert!(self.top.is_some() && self.len > 0, "a map has what was put into it");
        before
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let before = self.get(key)?.clone();
        self.top = self.top.as_mut().and_then(|top| remove(top, key));
        self.len -= 1;
        assert_eq!(self.top.is_none(), self.len == 0, "a map without entries has no nodes");
        Some(before)
    }

    /// Changes the value of a key; false if it is not there.
    ///
    /// # Panics
    /// As [`Self::insert`].
    pub fn update(&mut self, key: &K, change: impl FnOnce(&mut V)) -> bool {
        let there = self.contains_key(key);
        if let Some(top) = self.top.as_mut().filter(|_| there) {
            update(top, key, change);
        }
        there
    }

    /// The entry that holds a place among all weights, laid end to end in the order of the keys.
    ///
    /// # Panics
    /// When the place is beyond [`Self::weight`].
    pub fn at_weight(&self, mut at: u64) -> (&K, &V) {
        assert!(at < self.weight(), "place {at} among weights of {}", self.weight());
        let mut node = self.top.as_deref().expect("it has weight");
        loop {
            match node {
                Node::Leaf(leaf) => return (&leaf.key, &leaf.value),
                Node::Branch(branch) => {
                    let mut children = branch.children.iter().flatten();
                    node = children
                        .find(|child| {
                            let below = at < child.weight();
                            at -= if below { 0 } else { child.weight() };
                            below
                        })
                        .expect("a branch's weight is the sum of its children's: invariant 2");
                }
            }
        }
    }

    /// The entries, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut stack: Vec<&Node<K, V>> = self.top.as_deref().into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                match stack.pop()? {
                    Node::Leaf(leaf) => return Some((&leaf.key, &leaf.value)),
                    Node::Branch(branch) => stack.extend(branch.children.iter().rev().flatten().map(|child| &**child)),
                }
            }
        })
    }

    /// The entries that are new or have another value than in `before`, ascending by key. What both share is not looked
    /// at: of a large map that changed a little it takes as long as the change.
    pub fn changed_since<'a>(&'a self, before: &Trie<K, V>) -> Vec<(&'a K, &'a V)> {
        let mut changed = Vec::new();
        let mut pairs: Vec<_> = self.top.iter().map(|top| (top, before.top.as_ref())).collect();
        while let Some((now, then)) = pairs.pop() {
            match (&**now, then.map(|then| &**then)) {
                _ if then.is_some_and(|then| Arc::ptr_eq(now, then)) => {}
                (Node::Leaf(leaf), _) => {
                    if before.get(&leaf.key) != Some(&leaf.value) {
                        changed.push((&leaf.key, &leaf.value));
                    }
                }
                (Node::Branch(now), Some(Node::Branch(then)))
                    if now.depth == then.depth && fork(&now.sample, &then.sample, 0, now.depth).is_none() =>
                {
                    let children = now.children.iter().zip(&then.children).rev();
                    pairs.extend(children.filter_map(|(now, then)| Some((now.as_ref()?, then.as_ref()))));
                }
                // They fork elsewhere: leaf by leaf, or a part of the one against the other as it is.
                (Node::Branch(now), then_node) => {
                    let then = then.filter(|_| matches!(then_node, Some(Node::Branch(then)) if then.depth > now.depth));
                    let place = then.map(|then| then.sample().digit(now.depth));
                    let children = now.children.iter().enumerate().rev();
                    let beside = |digit| then.filter(|_| place == Some(digit));
                    pairs.extend(children.filter_map(|(digit, child)| Some((child.as_ref()?, beside(digit)))));
                }
            }
        }
        changed
    }

    /// Commits to every entry: equal maps have equal roots, and only they.
    pub fn root(&self) -> Hash {
        let mut bytes = [0u8; 40];
        bytes[..8].copy_from_slice(&(self.len as u64).to_le_bytes());
        bytes[8..].copy_from_slice(&self.top.as_ref().map_or([0; 32], |top| top.hash()));
        keyed(&ROOT_KEY, &bytes)
    }
}

impl<K: TrieKey, V: TrieValue> PartialEq for Trie<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.changed_since(other).is_empty()
    }
}

impl<K: TrieKey, V: TrieValue + Eq> Eq for Trie<K, V> {}

impl<K: TrieKey, V: TrieValue> FromIterator<(K, V)> for Trie<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut trie = Trie::default();
        for (key, value) in entries {
            trie.insert(key, value);
        }
        trie
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32, u64),
        Remove(u32),
        Add(u32, u64),
    }

    /// Few keys, some close together and some far apart, so that every kind of fork comes up.
    fn key() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..24, (0u32..4).prop_map(|high| high << 28), (0u32..4).prop_map(|middle| middle << 12)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (key(), 0u64..50).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => key().prop_map(Step::Remove),
            1 => (key(), 0u64..50).prop_map(|(key, more)| Step::Add(key, more)),
        ]
    }

    fn wide(key: u32) -> Hash {
        *blake3::hash(&key.to_le_bytes()).as_bytes()
    }

    /// What a map must be, whatever led to it.
    fn assert_is(trie: &Trie<u32, u64>, model: &BTreeMap<u32, u64>) {
        assert!(trie.iter().eq(model.iter()));
        assert_eq!((trie.len(), trie.weight()), (model.len(), model.values().sum()));
        let fresh: Trie<u32, u64> = model.iter().rev().map(|(&key, &value)| (key, value)).collect();
        assert_eq!((trie.root(), trie == &fresh), (fresh.root(), true), "the root is that of the entries alone");
        let mut sum = 0;
        for (key, &value) in model {
            assert_eq!(trie.get(key), Some(&value));
            if value > 0 {
                assert_eq!(trie.at_weight(sum), (key, &value));
                assert_eq!(trie.at_weight(sum + value - 1), (key, &value));
            }
            sum += value;
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_whatever_was_done_to_it(steps in prop::collection::vec(step(), 0..80)) {
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            let mut wide_trie = Trie::<Hash, u64>::default();
            for step in &steps {
                // The copy must not see what is done to the original.
                let (before, model_before) = (trie.clone(), model.clone());
                match *step {
                    Step::Insert(key, value) => {
                        assert_eq!(trie.insert(key, value), model.insert(key, value));
                        wide_trie.insert(wide(key), value);
                    }
                    Step::Remove(key) => {
                        assert_eq!(trie.remove(&key), model.remove(&key));
                        wide_trie.remove(&wide(key));
                    }
                    Step::Add(key, more) => {
                        let there = trie.update(&key, |value| *value += more);
                        assert_eq!(there, model.get_mut(&key).map(|value| *value += more).is_some());
                        wide_trie.update(&wide(key), |value| *value += more);
                    }
                }
                assert_is(&trie, &model);
                assert_is(&before, &model_before);
                let changed = trie.changed_since(&before);
                let expected = model.iter().filter(|(key, value)| model_before.get(key) != Some(value));
                assert!(changed.into_iter().eq(expected));
                assert_eq!(trie == before, model == model_before);
            }
            let fresh: Trie<Hash, u64> = model.iter().map(|(&key, &value)| (wide(key), value)).collect();
            assert_eq!(wide_trie.root(), fresh.root());
        }
    }

    #[test]
    fn roots_differ_where_maps_do() {
        let of = |entries: &[(u32, u64)]| entries.iter().copied().collect::<Trie<u32, u64>>().root();
        let all = [
            of(&[]),
            of(&[(0, 0)]),
            of(&[(0, 1)]),
            of(&[(1, 0)]),
            of(&[(0, 0), (1, 0)]),
            of(&[(0, 0), (16, 0)]),
            of(&[(0, 0), (1, 0), (16, 0)]),
        ];
        let different: std::collections::BTreeSet<Hash> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
