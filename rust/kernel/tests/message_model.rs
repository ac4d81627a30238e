//! Messages against the grammar of JSON, and against what was written.

#[path = "models/message.rs"]
mod model;

use proptest::collection::vec;
use proptest::prelude::*;
use tekton_kernel::message::{
    Context, Header, Kind, Problem, Shape, is_identifier, read, route, seconds, shape, text_room, write_text,
};
use tekton_kernel::uuid::{Sequence, milliseconds, parse};

const ID: u128 = 0x01a2_1676_7bdb_7d3e_a691_4608_0e50_1c23;

/// Pieces of which texts that nearly are JSON are made.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "\"a\":",
        "\"\\u0061\":1",
        "\"a\":2",
        "{\"a\":1,",
        "0",
        "1",
        "-",
        ".5",
        "e9",
        "1e400",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "true",
        "nul",
        "null",
        "\"x\"",
        "\\n",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\ude00",
        "\\x",
        "é",
        "😀",
        "\u{1}",
        "[[[[[[[[[[[[[[[[",
        "]]]]]]]]]]]]]]]]",
        "\"0123456789012345678901234567890123456789012345678901234567890123456789\"",
    ];
    prop_oneof![4 => proptest::sample::select(fixed.to_vec()).prop_map(String::from), 1 => ".{0,3}"]
}

/// JSON, with spaces and escapes where they may be.
fn json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-c]{0,2}",
        "[ -!#-\\[\\]-~é😀]{0,90}",
        "(\\\\[nrt/\\\\\"bf]|\\\\u[0-9a-cA-C][0-9a-f]{3}|x){0,40}",
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just(" true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        text.prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(6, 60, 20, |inner| {
        let key = "[a-z]{0,3}|\\\\u006[1-9]|[a-z]{7,12}";
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|values| format!("[{} ]", values.join(","))),
            vec((key, inner), 0..24).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

fn written(text: &str) -> String {
    let mut out = Vec::new();
    write_text(&mut out, text);
    String::from_utf8(out).expect("UTF-8 in, UTF-8 out")
}

#[test]
fn there_is_room_for_a_large_text() {
    for part in ["x", "\u{1}", "\"", "é", "\u{1}x\\"] {
        for length in [1 << 20, (1 << 20) + 63] {
            let text = part.repeat(length);
            assert!(written(&text).len() <= text_room(&text));
        }
    }
}

/// How many arrays and objects are open at most, and if there is a null.
fn walked(json: &str) -> (u32, bool) {
    let (mut open, mut most, mut null, mut in_text, mut escaped) = (0_u32, 0, false, false, false);
    for character in json.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '[' | '{' => open += 1,
            ']' | '}' => open -= 1,
            other => null |= other == 'n',
        }
        most = most.max(open);
    }
    (most, null)
}

fn identifier() -> impl Strategy<Value = String> {
    "[!#-\\[\\]-~]{1,60}"
}

proptest! {
    #[test]
    fn pieces_are_accepted_as_the_grammar_says(pieces in vec(piece(), 0..24)) {
        model::check(pieces.concat().as_bytes());
    }

    #[test]
    fn json_is_accepted_unless_a_member_is_there_twice(json in json()) {
        model::check(json.as_bytes());
    }

    #[test]
    fn json_with_a_byte_changed_is_accepted_as_the_grammar_says(json in json(), place: usize, byte: u8) {
        let mut bytes = json.into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        model::check(&bytes);
    }

    #[test]
    fn the_shape_of_json_is_what_a_walk_over_it_says(json in json(), before in 0..70_usize, levels in 0..9_u32) {
        let json = format!("{}{json}", " ".repeat(before));
        let walked = walked(&json);
        prop_assert_eq!(shape(json.as_bytes(), levels), Shape { deep: walked.0 > levels, null: walked.1 });
    }

    #[test]
    fn text_is_written_as_json_that_says_the_same(text in "(.|[\\x00-\\x20\"\\\\]){0,200}") {
        let json = written(&text);
        prop_assert!(model::is_value(json.as_bytes(), 0));
        let plain = json.bytes().filter(|byte| *byte == b'\\').count() == 0;
        prop_assert_eq!(plain, text.chars().all(|c| c >= ' ' && c != '"' && c != '\\'));
        if plain {
            prop_assert_eq!(json, format!("\"{text}\""));
        }
    }

    #[test]
    fn what_was_written_is_found_again(
        id: u128, kind in 0..6_usize, timestamp in proptest::option::of(0.0..1e12_f64), sender in identifier(),
        recipient in proptest::option::of(identifier()), trace in proptest::option::of(identifier()), parent: Option<u128>,
        deadline in proptest::option::of(-1e12..1e300_f64), hops: u8,
    ) {
        let (recipient, trace) = (recipient.unwrap_or_default(), trace.unwrap_or_default());
        let context = Context::new(&sender, &recipient, &trace, parent, deadline, hops).expect("all is sound");
        let header = Header { id, kind: Kind::ALL[kind], timestamp, context: &context };
        let mut out = Vec::new();
        header.write(&mut out);
        prop_assert!(out.len() <= header.bound());
        out.extend_from_slice(b",\"content\":[1]}");

        let found = read(&out).expect("a message");

        #[allow(clippy::cast_precision_loss, reason = "48 bits fit")]
        let of_id = milliseconds(id).map(|milliseconds| milliseconds as f64 / 1000.0);
        prop_assert_eq!((found.id, found.kind), (id, Kind::ALL[kind]));
        prop_assert_eq!(seconds(&out, found.timestamp), timestamp.or(of_id));
        prop_assert_eq!(found.sender.of(&out), sender.as_bytes());
        prop_assert_eq!(found.recipient.of(&out), recipient.as_bytes());
        prop_assert_eq!(found.trace_id.of(&out), trace.as_bytes());
        prop_assert_eq!((found.parent, seconds(&out, found.deadline), found.hops), (parent, deadline, hops));
        let path = route(&out).expect("a route");
        prop_assert_eq!((path.kind, path.sender, path.recipient), (found.kind, found.sender, found.recipient));
        prop_assert_eq!(found.content.of(&out), b"[1]");
    }

    #[test]
    fn ids_increase_whatever_the_clock_does(steps in vec((0..5_u64, any::<u64>()), 1..50)) {
        let mut sequence = Sequence::new();
        let mut last = 0;
        for (now, random) in steps {
            let id = sequence.next(1_764_136_800_000 + now, || random);
            prop_assert!(id > last);
            prop_assert_eq!((id >> 76 & 15, id >> 62 & 3), (7, 2));
            last = id;
        }
    }
}

/// The problem of a message, with these members after a sound id, type and context; and where it was noticed.
fn refusal(members: &str) -> (Problem, usize) {
    let text = format!(
        "{{\"message_id\":\"01a21676-7bdb-7d3e-a691-46080e501c23\",\"message_type\":\"event\",\"context\":{{\"sender\":\"a\"}}{members}"
    );
    let fault = read(text.as_bytes()).expect_err("not acceptable");
    (fault.problem, fault.at)
}

#[test]
fn a_message_says_what_is_wrong_with_it() {
    let problem = |members| refusal(members).0;
    assert_eq!(problem(",\"content\":1,\"other\":2}"), Problem::Unknown("/"));
    assert_eq!(problem(",\"content\":1,\"content\":2}"), Problem::Twice);
    assert_eq!(problem(",\"content\":{\"a\":1,\"\\u0061\":2}}"), Problem::Twice);
    assert_eq!(problem("}"), Problem::Missing("/content"));
    assert_eq!(problem(",\"metadata\":[],\"content\":1}"), Problem::Invalid("/metadata", "an object"));
    assert_eq!(problem(",\"content\":1} 2"), Problem::Trailing);
    assert_eq!(problem(",\"content\":1"), Problem::Truncated);
    assert_eq!(problem(",\"content\":1e999}"), Problem::Range);
}

#[test]
fn sixty_four_levels_are_accepted_and_no_more() {
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let message = |content: String| {
        format!(
            "{{\"message_id\":\"01a21676-7bdb-7d3e-a691-46080e501c23\",\"message_type\":\"event\",\"context\":{{\"sender\":\"a\"}},\"content\":{content}}}"
        )
    };
    assert!(read(message(nested(63)).as_bytes()).is_ok());
    assert_eq!(read(message(nested(64)).as_bytes()).map_err(|fault| fault.problem), Err(Problem::Depth));
    assert_eq!(parse("01a21676-7bdb-7d3e-a691-46080e501c23"), Some(ID));
    assert!(
        is_identifier(b"a") && !is_identifier(b"") && !is_identifier(b"a b") && !is_identifier(&[b'a'; 256])
    );
}

#[test]
fn many_members_are_searched_for_twins_too() {
    let members = |last: usize| {
        let all: Vec<_> = (0..40).map(|n| format!("\"key number {n}\":0")).collect();
        format!(",\"content\":{{{},\"key number {last}\":1}}}}", all.join(","))
    };
    assert_eq!(refusal(&members(7)).0, Problem::Twice);
}
