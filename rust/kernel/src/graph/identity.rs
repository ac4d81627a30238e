//! From the address of an object to its number, without looking at the object.
//!
//! Open addressing with linear probing at half load. Nearly all names in a dependency graph are the very objects
//! that are its keys, and an address costs nothing to hash; text is hashed only for the rest.

/// A table from addresses to numbers.
pub trait IdentityTable {
    /// Room for exactly so many entries.
    fn with_capacity(entries: usize) -> Self;
    /// Add an address that is not in the table. More entries than the capacity never return.
    fn insert(&mut self, address: usize, number: u32);
    /// The number of an address.
    fn get(&self, address: usize) -> Option<u32>;
}

/// Objects are at least this far apart, so the bits below say nothing.
const GRANULE_BITS: u32 = 4;

/// The largest number of entries of [`Packed`].
pub const PACKED_ENTRIES: usize = 1 << Packed::NUMBER_BITS;

/// True when addresses up to `highest` (or all their bits together) fit into [`Packed`].
#[must_use]
pub const fn packable(highest: usize) -> bool {
    highest as u64 >> (64 - Packed::NUMBER_BITS + GRANULE_BITS) == 0
}

/// Address and number in one word: 44 bits and 20 bits, 8 bytes an entry.
#[derive(Debug)]
pub struct Packed {
    /// 0 is an empty place: no object lives at address 0.
    entries: Vec<u64>,
    shift: u32,
}

impl Packed {
    const NUMBER_BITS: u32 = 20;
    const NUMBER: u64 = (1 << Self::NUMBER_BITS) - 1;
}

impl IdentityTable for Packed {
    fn with_capacity(entries: usize) -> Self {
        let places = places(entries);
        Self { entries: vec![0; places], shift: shift(places) }
    }

    #[inline]
    fn insert(&mut self, address: usize, number: u32) {
        let granule = address as u64 >> GRANULE_BITS;
        let mask = self.entries.len() - 1;
        let mut place = place(granule, self.shift);
        while self.entries[place & mask] != 0 {
            place += 1;
        }
        self.entries[place & mask] = granule << Self::NUMBER_BITS | u64::from(number);
    }

    #[inline]
    fn get(&self, address: usize) -> Option<u32> {
        let granule = address as u64 >> GRANULE_BITS;
        let mask = self.entries.len() - 1;
        let mut place = place(granule, self.shift);
        loop {
            let entry = self.entries[place & mask];
            if entry >> Self::NUMBER_BITS == granule {
                return u32::try_from(entry & Self::NUMBER).ok();
            }
            if entry == 0 {
                return None;
            }
            place += 1;
        }
    }
}

/// For graphs of more nodes or an address space of more bits than [`Packed`] holds.
#[derive(Debug)]
pub struct Wide {
    entries: Vec<(u64, u32)>,
    shift: u32,
}

impl IdentityTable for Wide {
    fn with_capacity(entries: usize) -> Self {
        let places = places(entries);
        Self { entries: vec![(0, 0); places], shift: shift(places) }
    }

    #[inline]
    fn insert(&mut self, address: usize, number: u32) {
        let granule = address as u64 >> GRANULE_BITS;
        let mask = self.entries.len() - 1;
        let mut place = place(granule, self.shift);
        while self.entries[place & mask].0 != 0 {
            place += 1;
        }
        self.entries[place & mask] = (granule, number);
    }

    #[inline]
    fn get(&self, address: usize) -> Option<u32> {
        let granule = address as u64 >> GRANULE_BITS;
        let mask = self.entries.len() - 1;
        let mut place = place(granule, self.shift);
        loop {
            match self.entries[place & mask] {
                (found, number) if found == granule => return Some(number),
                (0, _) => return None,
                _ => place += 1,
            }
        }
    }
}

/// A power of two that leaves at least half of the places empty, and three quarters where that costs no cache: a
/// wrongly predicted probe is what a look-up costs.
fn places(entries: usize) -> usize {
    let spread = if entries <= SMALL { 4 } else { 2 };
    (entries.max(4) * spread).next_power_of_two()
}

/// Tables of up to so many entries fit into the first-level cache at a quarter load.
const SMALL: usize = 512;

/// The shift that leaves as many high bits as number the places.
fn shift(places: usize) -> u32 {
    64 - places.trailing_zeros()
}

/// Fibonacci hashing: objects allocated in a row are spread evenly.
#[inline]
fn place(granule: u64, shift: u32) -> usize {
    let hash = granule.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    // The hash has as few bits as there are places.
    usize::try_from(hash).unwrap_or(0)
}
