//! The identity tables against a hash map.

use std::collections::{HashMap, HashSet};

use proptest::collection::hash_set;
use proptest::prelude::*;
use tekton_kernel::graph::identity::{IdentityTable, PACKED_ENTRIES, Packed, Wide, packable};

fn agrees<T: IdentityTable>(addresses: &HashSet<usize>, others: &HashSet<usize>) {
    let mut table = T::with_capacity(addresses.len());
    let mut model = HashMap::new();
    for (address, number) in addresses.iter().zip(0..) {
        table.insert(address * 16, number);
        model.insert(*address, number);
    }
    for address in addresses.union(others) {
        assert_eq!(table.get(address * 16), model.get(address).copied());
    }
}

/// Neighbours (as allocated in a row) and scattered ones.
fn addresses() -> impl Strategy<Value = HashSet<usize>> {
    prop_oneof![hash_set(1..64_usize, 0..40), hash_set(1..1_usize << 44, 0..40)]
}

proptest! {
    #[test]
    fn tables_know_exactly_what_was_inserted(addresses in addresses(), others in addresses()) {
        agrees::<Packed>(&addresses, &others);
        agrees::<Wide>(&addresses, &others);
    }
}

#[test]
fn packed_holds_48_bits_of_address() {
    assert!(packable((1 << 48) - 1));
    assert!(!packable(1 << 48));
}

#[test]
fn packed_holds_numbers_of_20_bits() {
    let largest = u32::try_from(PACKED_ENTRIES - 1).expect("20 bits");
    let mut table = Packed::with_capacity(1);
    table.insert((1 << 48) - 16, largest);

    assert_eq!(largest, (1 << 20) - 1);
    assert_eq!(table.get((1 << 48) - 16), Some(largest));
}
