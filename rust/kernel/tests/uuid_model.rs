//! UUID text against the formatting and parsing of the standard library.

use proptest::prelude::*;
use tekton_kernel::uuid::{format, parse};

/// The dumb way: all digits, and hyphens where they belong.
fn model(text: &str) -> Option<u128> {
    let shape = |(place, character): (usize, char)| match place {
        8 | 13 | 18 | 23 => character == '-',
        _ => character.is_ascii_hexdigit(),
    };
    let right = text.len() == 36 && text.char_indices().all(shape);
    right.then(|| u128::from_str_radix(&text.replace('-', ""), 16).expect("digits"))
}

proptest! {
    #[test]
    fn parsing_undoes_formatting(value: u128) {
        let text = format(value);
        prop_assert_eq!(parse(&text), Some(value));
        prop_assert_eq!(parse(&text.to_uppercase()), Some(value));
        prop_assert_eq!(model(&text), Some(value));
    }

    #[test]
    fn one_wrong_character_is_noticed(value: u128, place in 0..36_usize, byte in 0..128_u8) {
        let mut text = format(value).into_bytes();
        text[place] = byte;
        let text = String::from_utf8(text).expect("ASCII");
        prop_assert_eq!(parse(&text), model(&text));
    }

    #[test]
    fn anything_else_is_refused(text in "[0-9a-f-é{}]{0,40}") {
        prop_assert_eq!(parse(&text), model(&text));
    }
}
