//! Rows and tables: what they take that have grown, and how far ahead of who goes through them memory is asked for.

/// Of a row that is gone through, the memory of the one that stands so far ahead is asked for.
pub(super) const AHEAD: usize = 16;

/// Slots of a hash table that has grown to so many entries: a power of two, of which seven eighths may be taken.
pub(super) fn buckets(entries: usize) -> usize {
    (entries * 8).div_ceil(7).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashSet;

    #[test]
    fn tables_have_as_many_slots_as_is_said() {
        for entries in [1_000u32, 7_168, 7_169, 50_000, 114_688, 114_689] {
            let mut grown = HashSet::new();
            for entry in 0..entries {
                grown.insert(entry);
            }
            assert_eq!(grown.capacity(), buckets(entries as usize) / 8 * 7, "{entries} entries");
            assert_eq!(HashSet::<u32>::with_capacity(entries as usize).capacity(), grown.capacity());
        }
    }
}
