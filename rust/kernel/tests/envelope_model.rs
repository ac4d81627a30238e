//! Batches against their layout, sound ones and others; frames against the grammar of JSON.

#[path = "models/envelope.rs"]
mod model;

#[allow(dead_code, reason = "of the messages only the grammar is needed")]
#[path = "models/message.rs"]
mod json;

use model::Envelope;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tekton_kernel::envelope::{Batch, Head, Problem, frame_bound, write_frame};
use tekton_kernel::message::DEPTH;

fn subject() -> impl Strategy<Value = String> {
    vec("[a-z0-9_é\"\\\\]{1,8}", 1..5).prop_map(|tokens| tokens.join("."))
}

prop_compose! {
    fn envelope()(
        subject in subject(), reply in option::of(subject()), stream in option::of("[a-z]{1,9}"), sequence: u64,
        time in -1e12..1e12_f64, attempt: u32, packed: bool, body in vec(any::<u8>(), 0..40),
    ) -> Envelope {
        let (reply, stream) = (reply.unwrap_or_default(), stream.unwrap_or_default());
        Envelope { subject, reply, stream, sequence, time, attempt, packed, body }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(id: u64, envelopes in vec(envelope(), 0..6)) {
        let data = model::write(id, &envelopes);
        prop_assert_eq!(model::read(&data), Some((id, envelopes)));
        model::check(&data);
    }

    #[test]
    fn a_batch_that_is_cut_off_anywhere_is_refused(envelopes in vec(envelope(), 1..3)) {
        let data = model::write(1, &envelopes);
        for length in 0..data.len() {
            model::check(&data[..length]);
            prop_assert_eq!(model::read(&data[..length]), None);
        }
    }

    #[test]
    fn a_batch_with_bytes_changed_is_read_as_the_layout_says(
        envelopes in vec(envelope(), 0..4), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut data = model::write(1, &envelopes);
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        model::check(&data);
    }

    #[test]
    fn a_batch_with_a_piece_moved_is_read_as_the_layout_says(
        envelopes in vec(envelope(), 0..4), from: prop::sample::Index, to: prop::sample::Index,
        at: prop::sample::Index, twice: bool,
    ) {
        let data = model::write(1, &envelopes);
        let (from, to) = (from.index(data.len()), to.index(data.len()));
        let piece = &data[from.min(to)..from.max(to)];
        let rest = if twice { data.clone() } else { [&data[..from.min(to)], &data[from.max(to)..]].concat() };
        let at = at.index(rest.len() + 1);
        model::check(&[&rest[..at], piece, &rest[at..]].concat());
    }

    #[test]
    fn noise_is_read_as_the_layout_says(noise in vec(any::<u8>(), 0..200)) {
        model::check(&noise);
        model::check(&[b"TKB\x01", &noise[..]].concat());
    }

    #[test]
    fn a_frame_is_json_and_has_the_message_in_it(id: u64, envelope in envelope()) {
        let head = envelope.head();
        let mut out = Vec::new();
        write_frame(&mut out, id, &head, b"{\"a\":[1]}");
        prop_assert!(out.len() <= frame_bound(&head) + 9);
        prop_assert!(json::is_value(&out, DEPTH), "{}", String::from_utf8_lossy(&out));
        let end = b",\"message\":{\"a\":[1]}}";
        prop_assert_eq!(&out[out.len() - end.len()..], end);
    }
}

/// What is wrong with a batch of one envelope whose byte `place` is `byte`.
fn problem(place: usize, byte: u8) -> (Problem, usize) {
    let (subject, reply, stream) = ("a.b".to_owned(), "c".to_owned(), "s".to_owned());
    let envelope = Envelope {
        subject,
        reply,
        stream,
        sequence: 1,
        time: 0.5,
        attempt: 1,
        packed: false,
        body: vec![0; 3],
    };
    let mut data = model::write(1, &[envelope]);
    data[place] = byte;
    let batch = Batch::open(&data);
    let fault = batch.map_or_else(Some, |mut batch| batch.find_map(Result::err)).expect("a fault");
    (fault.problem, fault.at)
}

#[test]
fn a_batch_says_what_is_wrong_with_it_and_where() {
    assert_eq!(problem(0, b'X'), (Problem::NoBatch, 0));
    assert_eq!(problem(3, 2), (Problem::NoBatch, 0));
    assert_eq!(problem(15, 255), (Problem::Count(0xff00_0001), 16));
    assert_eq!(problem(12, 0), (Problem::Trailing, 16));
    assert_eq!(problem(16, 200), (Problem::Truncated, 52));
    assert_eq!(problem(16, 20), (Problem::Short, 16));
    assert_eq!(problem(16, 28), (Problem::Short, 16));
    assert_eq!(problem(40, 2), (Problem::Format(2), 40));
    assert_eq!(problem(44, 0xff), (Problem::NotUtf8, 44));
    assert!(matches!(problem(44, b'.'), (Problem::Subject(_), 44)));
    assert!(matches!(problem(47, b'*'), (Problem::Reply(_), 47)));
    assert_eq!(problem(48, b'"'), (Problem::Stream, 48));
    assert!(matches!(problem(41, 0), (Problem::Subject(_), 44)));
}

#[test]
fn a_head_that_could_not_be_read_again_is_not_made() {
    let long = "a".repeat(256);
    let head = |subject, reply, stream, time| Head::new(subject, reply, stream, 1, time, 1).map(|_| ());
    assert_eq!(head("a", "", "", 0.0), Ok(()));
    assert!(matches!(head("", "", "", 0.0), Err(Problem::Subject(_))));
    assert!(matches!(head(&long, "", "", 0.0), Err(Problem::Subject(_))));
    assert!(matches!(head("a", "b.", "", 0.0), Err(Problem::Reply(_))));
    assert_eq!(head("a", "", "é", 0.0), Err(Problem::Stream));
    assert_eq!(head("a", "", "", f64::NAN), Err(Problem::Time));
}
