//! `MessagePack` against its specification: of trees, of such with bytes changed, and of noise.

#[path = "models/msgpack.rs"]
mod model;

use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::message::msgpack::{from_json, to_json};
use tekton_kernel::message::{DEPTH, Problem, write_text};

/// JSON without spaces, as it is written of what was translated.
fn json() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[a-cé😀\n\"]{0,6}", "[a-z]{30,34}", "[ -~]{250,260}"].prop_map(|text| {
        let mut json = Vec::new();
        write_text(&mut json, &text);
        String::from_utf8(json).expect("UTF-8 in, UTF-8 out")
    });
    let whole = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
    let leaf = prop_oneof![
        proptest::sample::select(vec!["null", "true", "false", "-1", "0"]).prop_map(String::from),
        whole.clone().prop_map(|number| number.to_string()),
        whole.prop_map(|number| (!number.cast_signed() | i64::MIN >> 1).to_string()),
        (any::<i64>(), 0..64_u32).prop_map(|(number, shift)| (number >> shift).to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:?}")),
        text.clone(),
    ];
    leaf.prop_recursive(5, 60, 18, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..18).prop_map(|values| format!("[{}]", values.join(","))),
            vec((text.clone(), inner), 0..18).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_translated_says_the_same(json in json()) {
        let data = from_json(json.as_bytes());
        prop_assert_eq!(model::translated(&data), Some(json));
        model::check(&data);
    }

    #[test]
    fn what_has_bytes_changed_is_read_as_the_specification_says(
        json in json(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut data = from_json(json.as_bytes());
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        model::check(&data);
    }

    #[test]
    fn what_is_cut_off_is_refused(json in json()) {
        let data = from_json(json.as_bytes());
        for length in (0..data.len()).take(300) {
            prop_assert!(to_json(&data[..length]).is_err());
        }
    }

    #[test]
    fn noise_is_read_as_the_specification_says(noise in vec(any::<u8>(), 0..60)) {
        model::check(&noise);
    }
}

fn problem(data: &[u8]) -> (Problem, usize) {
    let fault = to_json(data).expect_err("not acceptable");
    (fault.problem, fault.at)
}

#[test]
fn what_json_does_not_have_is_refused() {
    for first in [0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8] {
        assert_eq!(problem(&[0x91, first, 0, 0, 0, 0, 0, 0]), (Problem::NoJson, 1), "{first:x}");
    }
    assert_eq!(problem(&[0xca, 0x7f, 0xc0, 0, 0]), (Problem::Range, 0));
    assert_eq!(problem(b"\xcb\xff\xf0\0\0\0\0\0\0"), (Problem::Range, 0));
    assert_eq!(problem(&[0x81, 1, 1]), (Problem::Expected("a name"), 1));
    assert_eq!(problem(b"\xa2a\xff"), (Problem::NotUtf8, 2));
    assert_eq!(problem(b"\x01\x01"), (Problem::Trailing, 1));
    assert_eq!(problem(b"\xdf\xff\xff\xff\xff"), (Problem::Truncated, 5));
    assert_eq!(problem(&[0x91; 65]), (Problem::Depth, DEPTH));
}
