//! The keys of objects that are open: no object may have two that say the same, however they are escaped.

use super::Scanner;
use super::quoted::unescaped;
use crate::message::fault::{Fault, Problem, Span};

/// Objects with more members than this are searched for twins by sorting.
const FEW: usize = 16;

/// A key of an object that is open.
#[derive(Clone, Copy)]
pub(super) struct Key {
    print: u64,
    span: Span,
}

impl Scanner<'_> {
    pub(super) fn noted_key(&mut self) -> Result<(), Fault> {
        let (span, plain) = self.key()?;
        let bytes = span.of(self.text);
        let print = if plain { fingerprint(bytes) } else { fingerprint(&unescaped(bytes)) };
        self.keys.push(Key { print, span });
        Ok(())
    }

    /// The innermost object ends: no two of its keys may be equal.
    pub(super) fn close(&mut self, before: usize) -> Result<(), Fault> {
        let text = self.text;
        let keys = &mut self.keys[before..];
        let twin = if keys.len() <= FEW {
            let same = |key: &Key, other: &Key| key.print == other.print && equal(text, *key, *other);
            (1..keys.len()).find(|last| keys[..*last].iter().any(|key| same(key, &keys[*last])))
        } else {
            // By the text where fingerprints are equal: who makes them collide on purpose gains nothing.
            keys.sort_unstable_by(|one, two| {
                one.print.cmp(&two.print).then_with(|| compare(text, *one, *two))
            });
            (1..keys.len()).find(|last| {
                keys[last - 1].print == keys[*last].print && equal(text, keys[last - 1], keys[*last])
            })
        };
        if let Some(twin) = twin {
            return Err(Fault { at: keys[twin].span.start() - 1, problem: Problem::Twice });
        }
        self.keys.truncate(before);
        Ok(())
    }
}

/// Different for most keys that differ.
#[inline]
fn fingerprint(key: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (first, last) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (key.first_chunk::<4>(), key.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
            }
            _ => (key.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)), 0),
        },
    };
    (first ^ last.rotate_left(29) ^ key.len() as u64).wrapping_mul(ODD)
}

/// The key is escaped where a backslash is in it.
fn plain_key(text: &[u8], key: Key) -> std::borrow::Cow<'_, [u8]> {
    let bytes = key.span.of(text);
    if bytes.contains(&b'\\') { unescaped(bytes).into() } else { bytes.into() }
}

fn equal(text: &[u8], one: Key, two: Key) -> bool {
    one.span.of(text) == two.span.of(text) || plain_key(text, one) == plain_key(text, two)
}

fn compare(text: &[u8], one: Key, two: Key) -> std::cmp::Ordering {
    plain_key(text, one).cmp(&plain_key(text, two))
}
