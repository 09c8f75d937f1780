//! The arena: every transaction of a user that a node knows of stands in one of its places, from the socket to whoever
//! reads it last.
//!
//! ```text
//!   places  [ cell 192 B | id 32 B | payload 16 B | home 8 B | readers 4 B, kind 1 B ]  256 bytes each, four lines
//!   free    which of them are free
//! ```
//!
//! A place is written once, by whoever takes it, before anybody else knows of it; from then on it is read by as many as
//! hold a `Shared`, a counted right to do so, and the last of them gives it back. So pool, sets, blocks, the bodies that
//! are kept and the frame that is being encoded stand on the same 192 bytes, none copies them, and none needs a lock.
//! The count is kept as `std::sync::Arc` keeps its own.
//!
//! What consensus itself brings (blocks of other shards, records, bodies) has its own bounds by what it costs, and stands
//! in places of the same form on the heap: a flood of users' transactions takes none of them away.

use super::cell::Cell;
use crate::base::free_list::FreeList;
use crate::base::hash::Hash;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

/// Rights to one place at most: far more than any node has rows that hold items, far fewer than would overflow.
const READERS_MAX: u32 = 1 << 30;

/// What a place holds.
#[repr(C, align(64))]
pub(super) struct Place {
    /// Zeros of what is no transaction.
    pub(super) cell: Cell,
    /// Hash of the bytes.
    pub(super) id: Hash,
    /// The payload of a transaction, or all bytes of something else.
    pub(super) rest: Box<[u8]>,
    /// The arena that it is a place of; none of one on the heap.
    home: Option<Arc<Arena>>,
    readers: AtomicU32,
    pub(super) is_transaction: bool,
}

const _: () = assert!(size_of::<Place>() == 256 && std::mem::offset_of!(Place, cell) == 0);
// Whoever counts, or looks at an id, reads one line.
const _: () = assert!(std::mem::offset_of!(Place, id) / 64 == std::mem::offset_of!(Place, readers) / 64);

impl Place {
    pub(super) fn new(cell: Cell, id: Hash, rest: Box<[u8]>, is_transaction: bool) -> Place {
        Place { cell, id, rest, home: None, readers: AtomicU32::new(1), is_transaction }
    }
}

/// Places for transactions, allocated together; memory is taken as they are used. Payloads stand beside, bounded in bytes.
pub struct Arena {
    places: Box<[UnsafeCell<MaybeUninit<Place>>]>,
    free: FreeList,
    payload_bytes: AtomicUsize,
    payload_bytes_max: usize,
}

// SAFETY: a place is written by whoever has popped its number from the free-list, and read through `Shared` alone until
// the last of these has pushed the number back; the list orders one owner's accesses before the next one's. What a place
// holds may be shared and sent: a cell, bytes, an `Arc` of this.
unsafe impl Sync for Arena {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena of so many places, and so many bytes of payloads.
    ///
    /// # Panics
    /// When there are none, or more than a free-list numbers.
    pub fn new(places: u32, payload_bytes_max: usize) -> Arc<Arena> {
        let free = FreeList::full(places);
        let row = Box::<[UnsafeCell<MaybeUninit<Place>>]>::new_uninit_slice(places as usize);
        // SAFETY: a place that may be uninitialised is initialised whatever it holds.
        let places = unsafe { row.assume_init() };
        Arc::new(Arena { places, free, payload_bytes: AtomicUsize::new(0), payload_bytes_max })
    }

    /// Bytes of one of so many places, its free-list included.
    pub fn bytes(places: u32) -> u64 {
        u64::from(places) * (size_of::<Place>() + size_of::<u32>()) as u64
    }

    /// How many places there are.
    pub fn places(&self) -> u32 {
        self.places.len() as u32
    }

    /// How many are free; exact when nobody is at work.
    pub fn free(&self) -> u64 {
        self.free.free()
    }

    /// Bytes of payloads now; exact when nobody is at work.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes.load(Ordering::Relaxed)
    }

    /// Counts a payload; false if there is no room for it. Most transactions have none, and nothing is counted.
    fn takes_payload(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let before = self.payload_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.payload_bytes_max;
        if !fits {
            self.gives_payload_back(bytes);
        }
        fits
    }

    fn gives_payload_back(&self, bytes: usize) {
        if bytes > 0 {
            let before = self.payload_bytes.fetch_sub(bytes, Ordering::Relaxed);
            assert!(bytes <= before, "{bytes} bytes of payload are given back of {before}");
        }
    }

    /// Puts this into a free place; none if there is none, or no room for its payload.
    pub(super) fn place(self: &Arc<Arena>, mut place: Place) -> Option<Shared> {
        let payload = place.rest.len();
        if !self.takes_payload(payload) {
            return None;
        }
        let Some(number) = self.free.pop() else {
            self.gives_payload_back(payload);
            return None;
        };
        place.home = Some(self.clone());
        let at = self.places[number as usize].get().cast::<Place>();
        // SAFETY: in range; nobody reads or writes a place whose number was popped, and it holds nothing that would have
        // to be dropped.
        unsafe { at.write(place) };
        NonNull::new(at).map(Shared)
    }
}

/// A right to read what stands in a place.
pub(super) struct Shared(NonNull<Place>);

// SAFETY: it gives nothing but `&Place`, whose parts may be shared among threads; the count is atomic, and the last right
// drops the place on whichever thread it is.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// On the heap.
    pub(super) fn on_heap(place: Place) -> Shared {
        Shared(NonNull::from(Box::leak(Box::new(place))))
    }
}

impl Deref for Shared {
    type Target = Place;

    fn deref(&self) -> &Place {
        // SAFETY: the place is initialised and stays so as long as a right to it exists, and nobody writes it meanwhile.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Shared {
    fn clone(&self) -> Shared {
        // Whoever holds a right may make another: nothing has to be seen of what others did.
        let before = self.readers.fetch_add(1, Ordering::Relaxed);
        assert!(before < READERS_MAX, "a place has {before} readers");
        Shared(self.0)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What each reader did comes before the place is given back.
        if self.readers.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        let place = self.0.as_ptr();
        // SAFETY: this was the last right, so nobody else reaches the place; `home` is taken out of it before it is dropped.
        let home = unsafe { (*place).home.take() };
        match home {
            // SAFETY: made by `on_heap` from a box, and given back once.
            None => drop(unsafe { Box::from_raw(place) }),
            Some(arena) => {
                arena.gives_payload_back(self.rest.len());
                // SAFETY: initialised by `place`, and dropped once: its number is in nobody's hands until it is pushed.
                unsafe { place.drop_in_place() };
                // SAFETY: both point into the arena's row, this one to its beginning.
                let number = unsafe { place.offset_from(arena.places.as_ptr().cast()) };
                arena.free.push(&[number as u32]);
            }
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn of(number: u64) -> Place {
        Place::new(Cell { sequence: number, ..Cell::zeroed() }, [number as u8; 32], vec![7; 3].into(), true)
    }

    #[test]
    fn a_place_comes_back_when_its_last_reader_goes() {
        let arena = Arena::new(2, 6);
        let one = arena.place(of(1)).unwrap();
        let (other, copy) = (arena.place(of(2)).unwrap(), one.clone());
        assert!(arena.place(of(3)).is_none(), "both are taken");
        assert_eq!(arena.payload_bytes(), 6);
        drop(one);
        assert_eq!((arena.free(), copy.cell.sequence, &copy.rest[..]), (0, 1, &[7; 3][..]));
        drop(copy);
        assert_eq!(arena.free(), 1);
        let third = arena.place(of(3)).unwrap();
        assert_eq!((third.cell.sequence, other.cell.sequence), (3, 2));
        // It stays as long as somebody reads.
        let places = Arc::downgrade(&arena);
        drop(arena);
        assert_eq!(third.id, [3; 32]);
        drop((third, other));
        assert!(places.upgrade().is_none(), "and no longer");
        assert_eq!(Shared::on_heap(of(9)).clone().cell.sequence, 9);
    }

    #[test]
    fn payloads_have_room_of_their_own_and_give_it_back() {
        let arena = Arena::new(8, 7);
        let long = |bytes: usize| Place::new(Cell::zeroed(), [1; 32], vec![7; bytes].into(), true);
        let held = (arena.place(long(4)).unwrap(), arena.place(long(3)).unwrap());
        assert!(arena.place(long(1)).is_none(), "no room for a byte more");
        let none = arena.place(long(0)).expect("what has no payload takes a place alone");
        assert_eq!((arena.free(), arena.payload_bytes()), (5, 7), "what was refused has taken nothing");
        drop(held);
        assert_eq!((arena.free(), arena.payload_bytes()), (7, 0));
        drop(none);
        assert!(arena.place(long(8)).is_none() && arena.place(long(7)).is_some());
    }

    #[test]
    fn no_reader_sees_what_another_writes() {
        let arena = Arena::new(16, 48);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let arena = &arena;
                scope.spawn(move || {
                    let mut held: Vec<(u64, Shared)> = Vec::new();
                    for round in 0..20_000u64 {
                        let number = round * 4 + thread;
                        held.extend(arena.place(of(number)).map(|place| (number, place)));
                        if held.len() > 2 + (round % 3) as usize {
                            let (number, place) = held.swap_remove((round % 2) as usize);
                            let copy = place.clone();
                            drop(place);
                            assert_eq!((copy.cell.sequence, copy.id[0]), (number, number as u8));
                        }
                    }
                });
            }
        });
        assert_eq!(arena.free(), 16);
    }
}
