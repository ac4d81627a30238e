//! To JSON, from bytes that nobody has checked.

use super::marker;
use crate::message::fault::{DEPTH, Fault, Problem, utf8};
use crate::message::write::{write_text, write_unsigned};

/// What one value of `MessagePack` says, as JSON without spaces. What it says twice, or what is no message, is for
/// [`read`](crate::message::read) to find.
///
/// O(bytes): fewer than 6 are written for one that is read, and nothing is made in advance of what is there.
///
/// # Errors
/// At the first thing that is wrong, or has no JSON.
pub fn to_json(data: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut translation = Translation::of(data);
    while translation.step()? {}
    if translation.at < data.len() {
        return Err(translation.fault(Problem::Trailing));
    }
    Ok(translation.out)
}

/// The place in `data` of what is in the byte `at` of its JSON.
#[must_use]
pub fn place(data: &[u8], at: usize) -> usize {
    let mut translation = Translation::of(data);
    loop {
        let before = translation.at;
        if translation.step() != Ok(true) || translation.out.len() > at {
            return before;
        }
    }
}

/// An array or object that is open. Keys and values count.
#[derive(Clone, Copy)]
struct Open {
    object: bool,
    size: u64,
    left: u64,
}

impl Open {
    const fn is_key_next(self) -> bool {
        self.object && self.left.is_multiple_of(2)
    }
}

struct Translation<'d> {
    data: &'d [u8],
    at: usize,
    out: Vec<u8>,
    open: Vec<Open>,
}

impl<'d> Translation<'d> {
    fn of(data: &'d [u8]) -> Self {
        Self { data, at: 0, out: Vec::with_capacity(data.len() + data.len() / 4), open: Vec::new() }
    }

    const fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }

    /// Translate a value, or the beginning of one, and what ends with it; false after the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let mut key = false;
        if let Some(inside) = self.open.last_mut() {
            key = inside.is_key_next();
            if inside.left < inside.size {
                self.out.push(if key || !inside.object { b',' } else { b':' });
            }
            inside.left -= 1;
        }
        self.value(key)?;
        while let Some(Open { object, left: 0, .. }) = self.open.last() {
            self.out.push(if *object { b'}' } else { b']' });
            self.open.pop();
        }
        Ok(!self.open.is_empty())
    }

    fn value(&mut self, key: bool) -> Result<(), Fault> {
        let first = *self.data.get(self.at).ok_or(self.fault(Problem::Truncated))?;
        if key && !matches!(first, 0xa0..=0xbf | marker::TEXT_8..=marker::TEXT_32) {
            return Err(self.fault(Problem::Expected("a name")));
        }
        self.at += 1;
        match first {
            0..=0x7f => self.unsigned(first.into()),
            0x80..=0x8f => self.open(true, u64::from(first & 15))?,
            0x90..=0x9f => self.open(false, u64::from(first & 15))?,
            0xa0..=0xbf => self.text(usize::from(first & 31))?,
            marker::NIL => self.out.extend_from_slice(b"null"),
            marker::FALSE => self.out.extend_from_slice(b"false"),
            marker::TRUE => self.out.extend_from_slice(b"true"),
            marker::FLOAT_32 => {
                let float = f32::from_be_bytes(self.array()?);
                self.float(float.into(), 5)?;
            }
            marker::FLOAT_64 => {
                let float = f64::from_be_bytes(self.array()?);
                self.float(float, 9)?;
            }
            marker::UNSIGNED_8 => self.sized_unsigned(1)?,
            marker::UNSIGNED_16 => self.sized_unsigned(2)?,
            marker::UNSIGNED_32 => self.sized_unsigned(4)?,
            marker::UNSIGNED_64 => self.sized_unsigned(8)?,
            marker::SIGNED_8 => self.sized_signed(1)?,
            marker::SIGNED_16 => self.sized_signed(2)?,
            marker::SIGNED_32 => self.sized_signed(4)?,
            marker::SIGNED_64 => self.sized_signed(8)?,
            marker::TEXT_8 => self.sized_text(1)?,
            marker::TEXT_16 => self.sized_text(2)?,
            marker::TEXT_32 => self.sized_text(4)?,
            marker::ARRAY_16 => self.sized_open(false, 2)?,
            marker::ARRAY_32 => self.sized_open(false, 4)?,
            marker::MAP_16 => self.sized_open(true, 2)?,
            marker::MAP_32 => self.sized_open(true, 4)?,
            marker::NEGATIVE.. => self.signed(i64::from(first.cast_signed())),
            _ => return Err(Fault { at: self.at - 1, problem: Problem::NoJson }),
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let truncated = Fault { at: self.data.len(), problem: Problem::Truncated };
        let array = *self.data[self.at..].first_chunk().ok_or(truncated)?;
        self.at += N;
        Ok(array)
    }

    /// A number of so many bytes, eight at most.
    fn number(&mut self, bytes: usize) -> Result<u64, Fault> {
        let truncated = Fault { at: self.data.len(), problem: Problem::Truncated };
        let found = self.data[self.at..].get(..bytes).ok_or(truncated)?;
        self.at += bytes;
        Ok(found.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn unsigned(&mut self, number: u64) {
        write_unsigned(&mut self.out, number);
    }

    fn signed(&mut self, number: i64) {
        if number < 0 {
            self.out.push(b'-');
        }
        write_unsigned(&mut self.out, number.unsigned_abs());
    }

    fn sized_unsigned(&mut self, bytes: usize) -> Result<(), Fault> {
        let number = self.number(bytes)?;
        self.unsigned(number);
        Ok(())
    }

    fn sized_signed(&mut self, bytes: usize) -> Result<(), Fault> {
        let unused = 64 - 8 * bytes;
        let number = self.number(bytes)?.cast_signed() << unused >> unused;
        self.signed(number);
        Ok(())
    }

    /// A float that was read from the last `bytes`.
    fn float(&mut self, number: f64, bytes: usize) -> Result<(), Fault> {
        if !number.is_finite() {
            return Err(Fault { at: self.at - bytes, problem: Problem::Range });
        }
        self.out.extend_from_slice(format!("{number:?}").as_bytes());
        Ok(())
    }

    fn sized_text(&mut self, bytes: usize) -> Result<(), Fault> {
        let size = self.number(bytes)?;
        self.text(usize::try_from(size).unwrap_or(usize::MAX))
    }

    fn text(&mut self, size: usize) -> Result<(), Fault> {
        let truncated = Fault { at: self.data.len(), problem: Problem::Truncated };
        let bytes = self.data[self.at..].get(..size).ok_or(truncated)?;
        let text =
            utf8(bytes).map_err(|fault| Fault { at: self.at + fault.at, problem: Problem::NotUtf8 })?;
        write_text(&mut self.out, text);
        self.at += size;
        Ok(())
    }

    fn sized_open(&mut self, object: bool, bytes: usize) -> Result<(), Fault> {
        let size = self.number(bytes)?;
        self.open(object, size)
    }

    fn open(&mut self, object: bool, size: u64) -> Result<(), Fault> {
        if self.open.len() == DEPTH {
            return Err(Fault { at: self.at - 1, problem: Problem::Depth });
        }
        self.out.push(if object { b'{' } else { b'[' });
        let size = if object { 2 * size } else { size };
        self.open.push(Open { object, size, left: size });
        Ok(())
    }
}
