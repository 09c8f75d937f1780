//! Every interleaving of the lock-free parts that loom can reach: `cargo test -p dynemix-engine --features loom --test
//! loom`.
#![cfg(feature = "loom")]

use dynemix_engine::base::free_list::FreeList;
use loom::sync::Arc;
use loom::thread;

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = None;
    builder.check(test);
}

#[test]
fn a_free_list_gives_each_slot_to_one_owner() {
    model(|| {
        let list = Arc::new(FreeList::full(3));
        let other = list.clone();
        let taker = thread::spawn(move || {
            let mut mine = Vec::new();
            other.pop_into(&mut mine, 2);
            other.push(&mine);
            let mut again = Vec::new();
            other.pop_into(&mut again, 1);
            again
        });
        let mut mine = Vec::new();
        mine.extend(list.pop());
        let theirs = taker.join().unwrap();
        let mut all = [mine, theirs].concat();
        list.pop_into(&mut all, 3);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    });
}

#[test]
fn a_head_that_comes_back_is_not_mistaken_for_itself() {
    // One thread pops two and pushes them back in the other order while another one is between its walk and its claim.
    model(|| {
        let list = Arc::new(FreeList::full(2));
        let other = list.clone();
        let swapper = thread::spawn(move || {
            let mut mine = Vec::new();
            other.pop_into(&mut mine, 2);
            mine.reverse();
            other.push(&mine);
        });
        let mine = list.pop();
        swapper.join().unwrap();
        let mut all: Vec<u32> = mine.into_iter().collect();
        list.pop_into(&mut all, 3);
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}
