//! From JSON that was checked.

use super::marker;
use crate::message::scan::{Scanner, float, unescaped};

/// A piece of JSON; commas and colons say nothing that is not known without them.
enum Token<'t> {
    Open {
        object: bool,
    },
    Close,
    /// What is between the quotes, and if that has no escapes.
    Text(&'t [u8], bool),
    Number(&'t [u8]),
    Null,
    Bool(bool),
}

struct Tokens<'t> {
    text: &'t [u8],
    scanner: Scanner<'t>,
}

impl<'t> Tokens<'t> {
    const fn of(text: &'t [u8]) -> Self {
        Self { text, scanner: Scanner::of_text(text) }
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    /// Ends where something is wrong, too.
    fn next(&mut self) -> Option<Token<'t>> {
        let scanner = &mut self.scanner;
        while let Some(b',' | b':') = scanner.next_token() {
            scanner.pass();
        }
        let start = scanner.at();
        match scanner.peek()? {
            open @ (b'{' | b'[') => {
                scanner.pass();
                Some(Token::Open { object: open == b'{' })
            }
            b'}' | b']' => {
                scanner.pass();
                Some(Token::Close)
            }
            b'"' => {
                let plain = scanner.text().ok()?;
                Some(Token::Text(&self.text[start + 1..scanner.at() - 1], plain))
            }
            b't' => scanner.word(b"true").map(|()| Token::Bool(true)).ok(),
            b'f' => scanner.word(b"false").map(|()| Token::Bool(false)).ok(),
            b'n' => scanner.word(b"null").map(|()| Token::Null).ok(),
            _ => {
                scanner.number().ok()?;
                Some(Token::Number(&self.text[start..scanner.at()]))
            }
        }
    }
}

/// What `json`, which was checked, says, as `MessagePack`; texts, numbers and sizes in their shortest form. O(bytes).
#[must_use]
pub fn from_json(json: &[u8]) -> Vec<u8> {
    let mut sizes = sizes(json).into_iter();
    let mut out = Vec::with_capacity(json.len());
    for token in Tokens::of(json) {
        match token {
            Token::Open { object } => open(&mut out, object, sizes.next().unwrap_or_default()),
            Token::Close => {}
            Token::Text(text, true) => write_text(&mut out, text),
            Token::Text(text, false) => write_text(&mut out, &unescaped(text)),
            Token::Number(number) => write_number(&mut out, number),
            Token::Null => out.push(marker::NIL),
            Token::Bool(true) => out.push(marker::TRUE),
            Token::Bool(false) => out.push(marker::FALSE),
        }
    }
    out
}

/// How much is in each array and object, in the order in which they open; keys and values count.
fn sizes(json: &[u8]) -> Vec<u32> {
    let (mut sizes, mut open) = (Vec::new(), Vec::new());
    for token in Tokens::of(json) {
        if let Token::Close = token {
            open.pop();
            continue;
        }
        if let Some(outside) = open.last() {
            sizes[*outside] += 1;
        }
        if let Token::Open { .. } = token {
            open.push(sizes.len());
            sizes.push(0);
        }
    }
    sizes
}

fn open(out: &mut Vec<u8>, object: bool, size: u32) {
    if object {
        head(out, size / 2, (0x80, 16), &[(marker::MAP_16, 2), (marker::MAP_32, 4)]);
    } else {
        head(out, size, (0x90, 16), &[(marker::ARRAY_16, 2), (marker::ARRAY_32, 4)]);
    }
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    // A message has fewer than 2^32 bytes.
    let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
    head(out, size, (0xa0, 32), &[(marker::TEXT_8, 1), (marker::TEXT_16, 2), (marker::TEXT_32, 4)]);
    out.extend_from_slice(text);
}

/// A size in its shortest form: added to a marker when it is below a bound, else after one, in so many bytes.
fn head(out: &mut Vec<u8>, size: u32, (fixed, bound): (u8, u32), longer: &[(u8, usize)]) {
    if size < bound {
        out.push(fixed + size.to_be_bytes()[3]);
        return;
    }
    let fits = |bytes: usize| u64::from(size) < 1 << (8 * bytes);
    if let Some((marker, bytes)) = longer.iter().find(|(_, bytes)| fits(*bytes)) {
        out.push(*marker);
        out.extend_from_slice(&size.to_be_bytes()[4 - bytes..]);
    }
}

fn write_number(out: &mut Vec<u8>, number: &[u8]) {
    let digits = str::from_utf8(number).unwrap_or_default();
    if let Ok(whole) = digits.parse::<u64>() {
        write_unsigned(out, whole);
    } else if let Ok(whole) = digits.parse::<i64>() {
        write_signed(out, whole);
    } else {
        out.push(marker::FLOAT_64);
        out.extend_from_slice(&float(number).unwrap_or_default().to_be_bytes());
    }
}

fn write_unsigned(out: &mut Vec<u8>, number: u64) {
    let (marker, bytes) = match number {
        0..=0x7f => return out.push(number.to_be_bytes()[7]),
        0x80..=0xff => (marker::UNSIGNED_8, 1),
        0x100..=0xffff => (marker::UNSIGNED_16, 2),
        0x1_0000..=0xffff_ffff => (marker::UNSIGNED_32, 4),
        _ => (marker::UNSIGNED_64, 8),
    };
    out.push(marker);
    out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}

/// Zero, or less.
fn write_signed(out: &mut Vec<u8>, number: i64) {
    let (marker, bytes) = match number {
        -32..=0 => return out.push(number.to_be_bytes()[7]),
        -0x80..-32 => (marker::SIGNED_8, 1),
        -0x8000..-0x80 => (marker::SIGNED_16, 2),
        -0x8000_0000..-0x8000 => (marker::SIGNED_32, 4),
        _ => (marker::SIGNED_64, 8),
    };
    out.push(marker);
    out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}
