//! Messages as JSON, header first: a router need not read further.

use super::special::{special, with_block};
use super::{Context, Kind};
use crate::uuid;

/// What stands in front of `metadata` and `content`.
#[derive(Clone, Copy, Debug)]
pub struct Header<'c> {
    /// The id of the message.
    pub id: u128,
    /// Its type.
    pub kind: Kind,
    /// When it was made, in seconds since 1970. Finite.
    pub timestamp: Option<f64>,
    /// Who says it to whom.
    pub context: &'c Context,
}

impl Header<'_> {
    /// At most so many bytes are written.
    #[must_use]
    pub fn bound(&self) -> usize {
        160 + self.context.json().len()
    }

    /// Append the header, from the first brace on; each member that follows begins with a comma. Without a timestamp
    /// of its own, a message tells that of its id.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"message_id\":\"");
        out.extend_from_slice(&uuid::characters(self.id));
        out.extend_from_slice(b"\",\"message_type\":\"");
        out.extend_from_slice(self.kind.name().as_bytes());
        out.push(b'"');
        match (self.timestamp, uuid::milliseconds(self.id)) {
            (Some(timestamp), _) => out.extend_from_slice(format!(",\"timestamp\":{timestamp:?}").as_bytes()),
            (None, Some(milliseconds)) => {
                out.extend_from_slice(b",\"timestamp\":");
                write_seconds(out, milliseconds);
            }
            (None, None) => {}
        }
        out.extend_from_slice(b",\"context\":");
        out.extend_from_slice(self.context.json().as_bytes());
    }
}

/// Milliseconds as seconds with three decimal places.
fn write_seconds(out: &mut Vec<u8>, milliseconds: u64) {
    write_unsigned(out, milliseconds / 1000);
    out.push(b'.');
    let rest = milliseconds % 1000;
    let digits = [rest / 100, rest / 10 % 10, rest % 10];
    out.extend_from_slice(&digits.map(|digit| b'0' + (digit % 10) as u8));
}

/// Append a number.
pub fn write_unsigned(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut place = digits.len();
    loop {
        place -= 1;
        digits[place] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[place..]);
}

/// Room for `text` as [`write_text`] writes it: mostly enough, and always where it has a MiB or more.
#[must_use]
pub fn text_room(text: &str) -> usize {
    const LARGE: usize = 1 << 20;
    let text = text.as_bytes();
    if text.len() < LARGE {
        // Most have few escapes.
        return text.len() + text.len() / 8 + 32;
    }
    let escapes = |at| with_block(text, at, |block, _| special(block).count_ones() as usize);
    // An escape has six bytes at most, in place of one.
    text.len() + 2 + 5 * (0..text.len()).step_by(64).map(escapes).sum::<usize>()
}

/// Append `text` as JSON: with quotes, and escapes where they have to be (and nowhere else).
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    out.push(b'"');
    // Where what is not yet written begins.
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        let (mut mask, length) = with_block(text, at, |block, length| (special(block), length));
        while mask != 0 {
            let place = at + mask.trailing_zeros() as usize;
            mask &= mask - 1;
            out.extend_from_slice(&text[start..place]);
            write_escape(out, text[place]);
            start = place + 1;
        }
        at += length;
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}

#[inline]
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[
                uuid::DIGITS[usize::from(byte >> 4)],
                uuid::DIGITS[usize::from(byte & 15)],
            ]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
