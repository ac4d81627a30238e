//! `MessagePack` by its specification, read recursively. Shared with the fuzz target `msgpack`.

use tekton_kernel::message::msgpack::{from_json, place, to_json};
use tekton_kernel::message::{DEPTH, read, write_text};

struct Reader<'d> {
    rest: &'d [u8],
}

impl<'d> Reader<'d> {
    fn take(&mut self, length: u64) -> Option<&'d [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number * 256 + u64::from(*byte)))
    }

    fn value(&mut self, levels: usize) -> Option<String> {
        let first = self.take(1)?[0];
        let low = u64::from(first);
        Some(match first {
            0..=0x7f => low.to_string(),
            0x80..=0x8f => self.map(low - 0x80, levels)?,
            0x90..=0x9f => self.list(low - 0x90, levels)?,
            0xa0..=0xbf => self.text(low - 0xa0)?,
            0xc0 => "null".to_owned(),
            0xc2 => "false".to_owned(),
            0xc3 => "true".to_owned(),
            0xca => Self::float(f32::from_bits(u32::try_from(self.number(4)?).ok()?).into())?,
            0xcb => Self::float(f64::from_bits(self.number(8)?))?,
            0xcc..=0xcf => self.number(1 << (first - 0xcc))?.to_string(),
            0xd0 => i8::from_be_bytes(self.take(1)?.try_into().ok()?).to_string(),
            0xd1 => i16::from_be_bytes(self.take(2)?.try_into().ok()?).to_string(),
            0xd2 => i32::from_be_bytes(self.take(4)?.try_into().ok()?).to_string(),
            0xd3 => i64::from_be_bytes(self.take(8)?.try_into().ok()?).to_string(),
            0xd9..=0xdb => {
                let length = self.number(1 << (first - 0xd9))?;
                self.text(length)?
            }
            0xdc..=0xdd => {
                let length = self.number(2 << (first - 0xdc))?;
                self.list(length, levels)?
            }
            0xde..=0xdf => {
                let length = self.number(2 << (first - 0xde))?;
                self.map(length, levels)?
            }
            0xe0.. => (low.cast_signed() - 256).to_string(),
            _ => return None,
        })
    }

    fn float(number: f64) -> Option<String> {
        number.is_finite().then(|| format!("{number:?}"))
    }

    fn text(&mut self, length: u64) -> Option<String> {
        let mut json = Vec::new();
        write_text(&mut json, std::str::from_utf8(self.take(length)?).ok()?);
        String::from_utf8(json).ok()
    }

    fn list(&mut self, length: u64, levels: usize) -> Option<String> {
        let mut values = Vec::new();
        for _ in 0..length {
            values.push(self.value(levels.checked_sub(1)?)?);
        }
        (levels > 0).then(|| format!("[{}]", values.join(",")))
    }

    fn map(&mut self, length: u64, levels: usize) -> Option<String> {
        let mut members = Vec::new();
        for _ in 0..length {
            let key = self.value(levels.checked_sub(1)?).filter(|key| key.starts_with('"'))?;
            members.push(format!("{key}:{}", self.value(levels - 1)?));
        }
        (levels > 0).then(|| format!("{{{}}}", members.join(",")))
    }
}

/// The JSON that `data` says.
pub fn translated(data: &[u8]) -> Option<String> {
    let mut reader = Reader { rest: data };
    reader.value(DEPTH).filter(|_| reader.rest.is_empty())
}

/// Any bytes say some JSON or none, whoever translates them, and what they say can be said again.
///
/// # Panics
/// When not.
pub fn check(data: &[u8]) {
    let json = match (to_json(data), translated(data)) {
        (Ok(json), Some(expected)) => {
            assert_eq!(String::from_utf8_lossy(&json), expected);
            json
        }
        (Err(fault), None) => return assert!(fault.at <= data.len()),
        (found, expected) => panic!("{found:?} where {expected:?} was expected"),
    };
    assert!(json.len() <= 6 * data.len());
    assert!((0..json.len()).step_by(json.len() / 8 + 1).all(|at| place(data, at) < data.len()));
    let again = from_json(&json);
    // Of a float of 32 bits it makes one of 64.
    assert!(again.len() <= 2 * data.len());
    assert_eq!(to_json(&again).as_ref(), Ok(&json));
    // Is a message or none, without a panic.
    let _ = read(&json);
}
